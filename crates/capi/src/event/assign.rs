//! Setting events up, and letting them go.

use std::ffi::{c_int, c_short, c_void};
use std::ptr;

use ferrevent_core::What;

use super::{EVLIST_INIT, MAGIC, event_del, is_finalizing};
use crate::abi::{event, event_callback_fn, evutil_socket_t};
use crate::base::{current, event_base};
use crate::{debug, log, memory};

/// `event_assign`: initialises a struct that is neither pending nor active.
///
/// # Safety
/// `ev` is the memory of a `struct event`; `base` is NULL, for the current one, or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_assign(
    ev: *mut event,
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    mut arg: *mut c_void,
) -> c_int {
    if ptr::eq(arg, event_self_cbarg()) {
        arg = ev.cast();
    }
    // SAFETY: by this function's contract.
    unsafe { assign(ev, base, fd, what, callback, arg) }
}

/// `event_new`
///
/// # Safety
/// `base` is NULL, for the current one, or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_new(
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) -> *mut event {
    let ev: *mut event = memory::allocate(size_of::<event>()).cast();
    if ev.is_null() {
        return ev;
    }
    // SAFETY: the memory was just allocated; the rest is by this function's contract.
    unsafe {
        if event_assign(ev, base, fd, what, callback, arg) < 0 {
            memory::release(ev.cast());
            return ptr::null_mut();
        }
        if !(*ev).ev_base.is_null() {
            event_base::count_made((*ev).ev_base, ev);
        }
    }
    ev
}

/// `event_free`
///
/// # Safety
/// `ev` came from [`event_new`] and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_free(ev: *mut event) {
    if ev.is_null() {
        return;
    }
    // SAFETY: by this function's contract.
    unsafe {
        debug::check_set_up(ev, "event_free");
        event_del(ev);
        debug::forget(ev);
        if !(*ev).ev_base.is_null() {
            event_base::count_freed((*ev).ev_base, ev);
        }
        memory::release(ev.cast());
    }
}

/// `event_set`: [`event_assign`] for the current base.
///
/// # Safety
/// As [`event_assign`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_set(
    ev: *mut event,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe { assign(ev, ptr::null_mut(), fd, what, callback, arg) };
}

/// `event_self_cbarg`: as an argument it stands for the event itself.
#[unsafe(no_mangle)]
pub extern "C" fn event_self_cbarg() -> *mut c_void {
    static SELF: u8 = 0;
    ptr::from_ref(&SELF).cast_mut().cast()
}

/// `event_base_set`: moves an idle event to another base.
///
/// # Safety
/// `ev` is initialised, `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_set(base: *mut event_base, ev: *mut event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        debug::check_set_up(ev, "event_base_set");
        if (*ev).ev_evcallback.key != 0 || is_finalizing(ev) {
            return -1;
        }
        (*ev).ev_base = base;
        (*ev).ev_evcallback.evcb_pri =
            event_base::with(base, |inner| inner.core.default_priority());
    }
    0
}

/// Sets up a struct that may hold anything.
pub(super) unsafe fn assign(
    ev: *mut event,
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) -> c_int {
    let signal = What::SIGNAL.bits() as c_short;
    if what & signal != 0 && what & (What::IO.bits() as c_short) != 0 {
        log::warn("event_assign: EV_SIGNAL is not compatible with EV_READ, EV_WRITE or EV_CLOSED");
        return -1;
    }
    let base = if base.is_null() { current() } else { base };
    debug::check_assign(ev, fd, what);
    // SAFETY: the caller gives the memory of a `struct event`; a base is live.
    unsafe {
        // Every bit pattern of zeros is a valid `event`.
        ev.write_bytes(0, 1);
        (*ev).ev_evcallback.magic = MAGIC;
        (*ev).ev_evcallback.evcb_flags = EVLIST_INIT;
        (*ev).ev_evcallback.evcb_callback = callback;
        (*ev).ev_evcallback.evcb_arg = arg;
        (*ev).ev_fd = fd;
        (*ev).ev_base = base;
        (*ev).ev_events = what;
        if !base.is_null() {
            (*ev).ev_evcallback.evcb_pri =
                event_base::with(base, |inner| inner.core.default_priority());
        }
    }
    0
}
