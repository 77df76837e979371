//! The functions that take no base (`event2/event_compat.h`), and the library's version.

use std::ffi::{c_char, c_int, c_short, c_void};
use std::ptr;

use libc::timeval;

use super::once::once;
use crate::abi::{event_callback_fn, evutil_socket_t};
use crate::base::{
    current, event_base_get_method, event_base_loop, event_base_loopbreak, event_base_loopexit,
    event_base_priority_init,
};

/// `event_dispatch`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_dispatch() -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loop(current(), 0) }
}

/// `event_loop`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loop(flags: c_int) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loop(current(), flags) }
}

/// `event_loopexit`
///
/// # Safety
/// There is a current base; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loopexit(tv: *const timeval) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loopexit(current(), tv) }
}

/// `event_loopbreak`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loopbreak() -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loopbreak(current()) }
}

/// `event_once`
///
/// # Safety
/// There is a current base; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_once(
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
    tv: *const timeval,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { once(ptr::null_mut(), fd, what, callback, arg, tv) }
}

/// `event_priority_init`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_priority_init(n: c_int) -> c_int {
    if current().is_null() {
        return -1;
    }
    // SAFETY: the current base is live.
    unsafe { event_base_priority_init(current(), n) }
}

/// `event_get_method`: of the current base.
#[unsafe(no_mangle)]
pub extern "C" fn event_get_method() -> *const c_char {
    if current().is_null() {
        return c"".as_ptr();
    }
    // SAFETY: the current base is live.
    unsafe { event_base_get_method(current()) }
}

/// `event_get_version`: the version whose interface this is.
#[unsafe(no_mangle)]
pub extern "C" fn event_get_version() -> *const c_char {
    c"2.1.12-stable".as_ptr()
}

/// `event_get_version_number`
#[unsafe(no_mangle)]
pub extern "C" fn event_get_version_number() -> u32 {
    0x02010c00
}
