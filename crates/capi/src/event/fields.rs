//! What an event was set up with.

use std::ffi::{c_int, c_short, c_void};

use super::EVLIST_INIT;
use crate::abi::{event, event_callback_fn, evutil_socket_t};
use crate::base::event_base;
use crate::debug;

/// `event_initialized`
///
/// # Safety
/// `ev` can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_initialized(ev: *const event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { c_int::from((*ev).ev_evcallback.evcb_flags & EVLIST_INIT != 0) }
}

/// `event_get_fd`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_fd(ev: *const event) -> evutil_socket_t {
    debug::check_set_up(ev, "event_get_fd");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_fd }
}

/// `event_get_base`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_base(ev: *const event) -> *mut event_base {
    debug::check_set_up(ev, "event_get_base");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_base }
}

/// `event_get_events`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_events(ev: *const event) -> c_short {
    debug::check_set_up(ev, "event_get_events");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_events }
}

/// `event_get_callback`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_callback(ev: *const event) -> event_callback_fn {
    debug::check_set_up(ev, "event_get_callback");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_evcallback.evcb_callback }
}

/// `event_get_callback_arg`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_callback_arg(ev: *const event) -> *mut c_void {
    debug::check_set_up(ev, "event_get_callback_arg");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_evcallback.evcb_arg }
}

/// `event_get_priority`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_priority(ev: *const event) -> c_int {
    debug::check_set_up(ev, "event_get_priority");
    // SAFETY: by this function's contract.
    unsafe { c_int::from((*ev).ev_evcallback.evcb_pri) }
}

/// `event_get_assignment`
///
/// # Safety
/// `ev` is initialised; every other pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_assignment(
    ev: *const event,
    base: *mut *mut event_base,
    fd: *mut evutil_socket_t,
    what: *mut c_short,
    callback: *mut event_callback_fn,
    arg: *mut *mut c_void,
) {
    debug::check_set_up(ev, "event_get_assignment");
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(base) = base.as_mut() {
            *base = (*ev).ev_base;
        }
        if let Some(fd) = fd.as_mut() {
            *fd = (*ev).ev_fd;
        }
        if let Some(what) = what.as_mut() {
            *what = (*ev).ev_events;
        }
        if let Some(callback) = callback.as_mut() {
            *callback = (*ev).ev_evcallback.evcb_callback;
        }
        if let Some(arg) = arg.as_mut() {
            *arg = (*ev).ev_evcallback.evcb_arg;
        }
    }
}

/// `event_get_struct_event_size`
#[unsafe(no_mangle)]
pub extern "C" fn event_get_struct_event_size() -> usize {
    size_of::<event>()
}
