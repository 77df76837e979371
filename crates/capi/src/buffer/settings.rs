//! What a buffer is told about itself: locks, flags, frozen ends, and where its callbacks run.

use std::ffi::{c_int, c_void};

use ferrevent_core::buffer::End;

use super::{change, evbuffer, set_lock};
use crate::base::event_base;
use crate::lock::{self, Lock};
use crate::log;

/// `EVBUFFER_FLAG_DRAINS_TO_FD`
const DRAINS_TO_FD: u64 = 1;

/// `evbuffer_enable_locking`: gives the buffer a lock of its own. -1 if it has one, before `evthread_use_pthreads`, and
/// for a lock that the caller has made (libevent leaves open what such a lock is).
///
/// # Safety
/// The C API's contract: `buf` is alive and not in use by another thread yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_enable_locking(buf: *mut evbuffer, lock: *mut c_void) -> c_int {
    if !lock.is_null() {
        log::warn("evbuffer_enable_locking: locks of the caller's are not supported");
        return -1;
    }
    // SAFETY: by the C API's contract.
    unsafe {
        if (*buf).lock.is_some() {
            return -1;
        }
        let Some(lock) = Lock::new() else { return -1 };
        set_lock(buf, Some(lock));
    }
    0
}

/// `evbuffer_lock`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_lock(buf: *mut evbuffer) {
    // SAFETY: by the C API's contract. The lock is cloned so that no reference into the buffer exists while waiting.
    let lock = unsafe { (*buf).lock.clone() };
    if let Some(lock) = lock {
        lock.acquire();
    }
}

/// `evbuffer_unlock`
///
/// # Safety
/// The C API's contract: `buf` is alive, and locked by the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_unlock(buf: *mut evbuffer) {
    // SAFETY: by the C API's contract.
    let lock = unsafe { (*buf).lock.clone() };
    if let Some(lock) = lock {
        lock.release();
    }
}

/// `evbuffer_set_flags`: `EVBUFFER_FLAG_DRAINS_TO_FD` lets files be sent without bringing them into memory.
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_set_flags(buf: *mut evbuffer, flags: u64) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        (*buf).drains_to_fd |= flags & DRAINS_TO_FD != 0;
    }
    0
}

/// `evbuffer_clear_flags`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_clear_flags(buf: *mut evbuffer, flags: u64) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        (*buf).drains_to_fd &= flags & DRAINS_TO_FD == 0;
    }
    0
}

/// `evbuffer_freeze`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_freeze(buf: *mut evbuffer, at_front: c_int) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { change(buf, |buffer| buffer.freeze(end(at_front))) };
    0
}

/// `evbuffer_unfreeze`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_unfreeze(buf: *mut evbuffer, at_front: c_int) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { change(buf, |buffer| buffer.unfreeze(end(at_front))) };
    0
}

/// `evbuffer_defer_callbacks`: from now on the loop of `base` runs the callbacks.
///
/// # Safety
/// The C API's contract: both are alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_defer_callbacks(
    buf: *mut evbuffer,
    base: *mut event_base,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        (*buf).extras().deferred_to = base;
    }
    0
}

fn end(at_front: c_int) -> End {
    if at_front == 0 { End::Back } else { End::Front }
}
