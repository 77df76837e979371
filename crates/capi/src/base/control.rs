//! Ending the loop, from inside and outside, and having things run from it.

use std::ffi::c_int;

use ferrevent_core::What;
use libc::timeval;

use super::{Address, Task, event_base};
use crate::abi::event_callback_fn;
use crate::buffer::evbuffer;
use crate::dns::{self, evdns_request};
use crate::event::{self as events, nanoseconds};

/// `event_base_loopexit`: after the pass in which `tv` has passed; NULL: after this one.
///
/// # Safety
/// `base` is live; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopexit(base: *mut event_base, tv: *const timeval) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let delay = tv.as_ref().map_or(0, nanoseconds);
        event_base::with(base, |inner| {
            inner.refresh_clock();
            inner.core.loop_exit(delay);
            inner.settle();
        });
    }
    0
}

/// `event_base_loopbreak`: after the callback that runs now.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopbreak(base: *mut event_base) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.loop_break();
            inner.settle();
        });
    }
    0
}

/// `event_base_loopcontinue`: looks for new events after the callback that runs now.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopcontinue(base: *mut event_base) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.loop_continue();
            inner.settle();
        });
    }
    0
}

/// `event_base_got_exit`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_got_exit(base: *mut event_base) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| c_int::from(inner.core.got_exit())) }
}

/// `event_base_got_break`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_got_break(base: *mut event_base) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| c_int::from(inner.core.got_break())) }
}

/// `event_base_active_by_fd`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_active_by_fd(base: *mut event_base, fd: c_int, what: i16) {
    let what = What::from_bits_truncate(what as u16);
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.activate_fd(fd, what);
            inner.settle();
        });
    }
}

/// `event_base_active_by_signal`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_active_by_signal(base: *mut event_base, signal: c_int) {
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.activate_signal(signal, 1);
            inner.settle();
        });
    }
}

/// `event_base_once`
///
/// # Safety
/// `base` is live; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_once(
    base: *mut event_base,
    fd: c_int,
    what: i16,
    callback: event_callback_fn,
    arg: *mut std::ffi::c_void,
    tv: *const timeval,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { events::once(base, fd, what, callback, arg, tv) }
}

/// `event_base_priority_init`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_priority_init(base: *mut event_base, n: c_int) -> c_int {
    let Ok(n) = usize::try_from(n) else { return -1 };
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            if inner.core.set_priorities(n).is_ok() {
                0
            } else {
                -1
            }
        })
    }
}

/// Has a buffer's deferred callbacks run from the loop.
///
/// # Safety
/// `base` is live; `buf` holds a reference for this.
pub(crate) unsafe fn push_buffer_task(base: *mut event_base, buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            let priority = inner.core.default_priority();
            inner.core.push_task(priority, Task::Buffer(Address(buf)));
            inner.settle();
        });
    }
}

/// Has a look-up's callback called from the loop. A base that has been freed calls nobody.
///
/// # Safety
/// `base` is or was live; the task takes `request` over.
pub(crate) unsafe fn push_dns_task(base: *mut event_base, request: *mut evdns_request) {
    // SAFETY: by this function's contract.
    unsafe {
        let pushed = event_base::try_with(base, |inner| {
            let priority = inner.core.default_priority();
            inner.core.push_task(priority, Task::Dns(Address(request)));
            inner.settle();
        });
        if pushed.is_none() {
            dns::discard(request);
        }
    }
}
