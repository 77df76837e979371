//! Setting events up, and letting them go.

use std::ffi::{c_int, c_short, c_void};
use std::ptr;

use ferrevent_core::{Place, What};
use libc::timeval;

use super::{
    EVLIST_INIT, Mark, event_del, is_finalizing, is_free, may_be_in_block, own_place, owners,
    tell_freed,
};
use crate::abi::{event, event_callback_fn, evutil_socket_t};
use crate::base::{current, event_base, give_back_found, renew};
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
    mut arg: *mut c_void,
) -> *mut event {
    if mixes(what) {
        return ptr::null_mut();
    }
    let base = if base.is_null() { current() } else { base };
    // SAFETY: by this function's contract; the memory was just got, and is nobody's.
    unsafe {
        let (ev, place, priority) = if alone(base) {
            let ev = memory::allocate(size_of::<event>()).cast();
            (ev, 0, default_priority(base))
        } else {
            let timer = fd < 0 && what & What::SIGNAL.bits() as c_short == 0;
            event_base::take_event(base, timer)
        };
        if ev.is_null() {
            return ev;
        }
        if ptr::eq(arg, event_self_cbarg()) {
            arg = ev.cast();
        }
        debug::check_assign(ev, fd, what);
        let mark = if place == 0 {
            Mark::Alone
        } else {
            Mark::InBlock
        };
        set_up(ev, base, priority, mark.of(ev), place);
        fill(ev, fd, what, callback, arg);
        ev
    }
}

/// Whether an event of this base gets memory of its own: the program has its own functions for memory, or looks for
/// mistakes, which a checker of memory can then see; or the base is not there, or cannot be touched from here.
#[inline]
unsafe fn alone(base: *mut event_base) -> bool {
    // SAFETY: the caller's `base` is NULL or live.
    base.is_null()
        || memory::is_foreign()
        || debug::is_on()
        || unsafe { event_base::is_elsewhere(base) }
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
    // SAFETY: by this function's contract. An event that was freed before is in a block that is still there, or this is
    // as bad as with any memory.
    unsafe {
        debug::check_set_up(ev, "event_free");
        let base = (*ev).ev_base;
        if base.is_null() && is_free(ev) {
            return tell_freed("event_free");
        }
        // Where it does not stand in the event, it is in the core's table while it is pending or active.
        let at_once = Place::from_number(own_place(ev))
            .filter(|_| !base.is_null() && !event_base::is_elsewhere(base));
        if let Some(place) = at_once {
            let freed = event_base::try_with(base, |inner| {
                (inner.has_in(place, ev) && !inner.runs_elsewhere(ev)).then(|| {
                    inner.cancel_calls(ev);
                    inner.put_back(place, ev)
                })
            });
            match freed.flatten() {
                Some(None) => return,
                Some(Some(block)) => return owners().release(block),
                None => {}
            }
        }
        event_del(ev);
        debug::forget(ev);
        give_back(ev);
    }
}

/// Gives the memory of an event back to where [`event_new`] had it from.
///
/// # Safety
/// It is neither pending nor active, and not used any more.
pub(crate) unsafe fn give_back(ev: *mut event) {
    // SAFETY: by this function's contract.
    unsafe {
        let base = (*ev).ev_base;
        if (*ev).ev_evcallback.mark == Mark::Alone.of(ev) {
            return memory::release(ev.cast());
        }
        if let Some(place) = Place::from_number((*ev).ev_evcallback.place)
            && !base.is_null()
            && !event_base::is_elsewhere(base)
        {
            let given = event_base::try_with(base, |inner| {
                inner.has_in(place, ev).then(|| inner.put_back(place, ev))
            });
            match given.flatten() {
                Some(None) => return,
                Some(Some(block)) => return owners().release(block),
                None => {}
            }
        }
        let in_block = may_be_in_block(ev) && give_back_found(&mut owners(), ev);
        if !in_block {
            // It was initialised anew, and is not marked any more.
            memory::release(ev.cast());
        }
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
        if (*ev).ev_base.is_null() && is_free(ev) {
            tell_freed("event_base_set");
            return -1;
        }
        if (*ev).ev_evcallback.key != 0 || is_finalizing(ev) {
            return -1;
        }
        (*ev).ev_base = base;
        (*ev).ev_evcallback.evcb_pri =
            event_base::with(base, |inner| inner.core.default_priority());
    }
    0
}

/// Sets up a struct of the library's own, which is in no block.
pub(crate) unsafe fn assign_own(
    ev: *mut event,
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) {
    debug::check_assign(ev, fd, what);
    // SAFETY: the caller gives the memory of a `struct event`; every bit pattern of zeros is one. The base is live.
    unsafe {
        ev.write_bytes(0, 1);
        set_up(ev, base, default_priority(base), Mark::Assigned.of(ev), 0);
        fill(ev, fd, what, callback, arg);
    }
}

/// Sets up a struct that may hold anything.
unsafe fn assign(
    ev: *mut event,
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) -> c_int {
    if mixes(what) {
        return -1;
    }
    let base = if base.is_null() { current() } else { base };
    debug::check_assign(ev, fd, what);
    // SAFETY: the caller gives the memory of a `struct event`, which nothing is known of; a base is live.
    unsafe {
        let mut place = 0;
        if may_be_in_block(ev) {
            let renewed = renew(ev);
            if renewed.is_free {
                tell_freed("event_assign");
                return -1;
            }
            if renewed.was_added {
                log::warn("event_assign: the event was pending or active; it is deleted first");
            }
            place = renewed.place;
        }
        let mark = if place == 0 {
            // Every bit pattern of zeros is a valid `event`.
            ev.write_bytes(0, 1);
            Mark::Assigned
        } else {
            Mark::InBlock
        };
        set_up(ev, base, default_priority(base), mark.of(ev), place);
        fill(ev, fd, what, callback, arg);
    }
    0
}

/// Whether this is for a signal and for a descriptor, which is refused.
fn mixes(what: c_short) -> bool {
    let signal = What::SIGNAL.bits() as c_short;
    let mixes = what & signal != 0 && what & (What::IO.bits() as c_short) != 0;
    if mixes {
        log::warn("event_assign: EV_SIGNAL is not compatible with EV_READ, EV_WRITE or EV_CLOSED");
    }
    mixes
}

unsafe fn default_priority(base: *mut event_base) -> u8 {
    if base.is_null() {
        return 0;
    }
    // SAFETY: the caller's `base` is NULL or live; the closure runs no user code.
    unsafe { event_base::with(base, |inner| inner.core.default_priority()) }
}

/// Writes what the library needs. The core's own parts stay as they are.
#[inline]
unsafe fn set_up(ev: *mut event, base: *mut event_base, priority: u8, mark: u64, place: u32) {
    // SAFETY: the caller gives the memory of a `struct event`.
    unsafe {
        let head = &raw mut (*ev).ev_evcallback;
        (*head).key = 0;
        (*head).mark = mark;
        (*head).evcb_flags = EVLIST_INIT;
        (*head).evcb_pri = priority;
        (*head).evcb_closure = 0;
        (*head).place = place;
        (*ev).ev_base = base;
        (*ev).ev_res = 0;
        (*ev).ev_timeout = timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
    }
}

/// Writes what the program gives.
#[inline]
unsafe fn fill(
    ev: *mut event,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) {
    // SAFETY: the caller gives the memory of a `struct event`.
    unsafe {
        (*ev).ev_evcallback.evcb_callback = callback;
        (*ev).ev_evcallback.evcb_arg = arg;
        (*ev).ev_fd = fd;
        (*ev).ev_events = what;
    }
}
