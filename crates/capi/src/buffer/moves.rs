//! Bytes from buffer to buffer.

use std::ffi::c_int;

use ferrevent_core::buffer::{Buffer, BufferError};

use super::{evbuffer, look, notify, reference, release_held, retain, status};
use crate::lock::{self, Held};

/// `evbuffer_add_buffer`
///
/// # Safety
/// The C API's contract: both are alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add_buffer(
    target: *mut evbuffer,
    source: *mut evbuffer,
) -> c_int {
    if target == source {
        return 0;
    }
    // SAFETY: by the C API's contract; the two are different.
    unsafe {
        status(change_both(target, source, Buffer::append_buffer, |_| {
            First::Source
        }))
    }
}

/// `evbuffer_remove_buffer`: at most `INT_MAX` bytes.
///
/// # Safety
/// The C API's contract: both are alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_remove_buffer(
    source: *mut evbuffer,
    target: *mut evbuffer,
    len: usize,
) -> c_int {
    if target == source {
        return 0;
    }
    let len = len.min(c_int::MAX as usize);
    let moved = |target: &mut Buffer, source: &mut Buffer| target.append_from(source, len);
    // SAFETY: by the C API's contract; the two are different.
    let moved = unsafe {
        change_both(target, source, moved, |source| {
            if source.is_empty() {
                First::Source
            } else {
                First::Target
            }
        })
    };
    // `len` was an `int`.
    moved.map_or(-1, |n| n as c_int)
}

/// `evbuffer_prepend_buffer`
///
/// # Safety
/// The C API's contract: both are alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_prepend_buffer(
    target: *mut evbuffer,
    source: *mut evbuffer,
) -> c_int {
    if target == source {
        return 0;
    }
    // SAFETY: by the C API's contract; the two are different.
    unsafe {
        status(change_both(target, source, Buffer::prepend_buffer, |_| {
            First::Source
        }))
    }
}

/// `evbuffer_add_buffer_reference`: -1 for a buffer into itself, unless it is empty. A buffer that holds such references may be added again,
/// which libevent refuses.
///
/// # Safety
/// The C API's contract: both are alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add_buffer_reference(
    target: *mut evbuffer,
    source: *mut evbuffer,
) -> c_int {
    if target == source {
        // SAFETY: by the C API's contract.
        return if unsafe { look(source, Buffer::is_empty) } {
            0
        } else {
            -1
        };
    }
    // SAFETY: by the C API's contract; the two are different.
    unsafe {
        status(change_both(target, source, Buffer::append_shared, |_| {
            First::Source
        }))
    }
}

/// Whose callbacks run first.
#[derive(PartialEq, Eq)]
enum First {
    Source,
    Target,
}

/// Changes two buffers under both locks and reports what happened to them.
///
/// # Safety
/// Both are alive, and not the same.
#[inline]
unsafe fn change_both<R>(
    target: *mut evbuffer,
    source: *mut evbuffer,
    change: impl FnOnce(&mut Buffer, &mut Buffer) -> Result<R, BufferError>,
    first: impl FnOnce(&Buffer) -> First,
) -> Result<R, BufferError> {
    // SAFETY: by this function's contract.
    unsafe {
        if !(*target).is_private() || !(*source).is_private() {
            return change_both_watched(target, source, change, first);
        }
        // Nobody to be told in any order, and nothing to be locked.
        let result = change(&mut (*target).buffer, &mut (*source).buffer);
        (*target).buffer.forget_change();
        (*source).buffer.forget_change();
        reference::clean_up();
        result
    }
}

/// As [`change_both`], where others may have to do with the buffers.
///
/// # Safety
/// As for [`change_both`].
#[inline(never)]
unsafe fn change_both_watched<R>(
    target: *mut evbuffer,
    source: *mut evbuffer,
    change: impl FnOnce(&mut Buffer, &mut Buffer) -> Result<R, BufferError>,
    first: impl FnOnce(&Buffer) -> First,
) -> Result<R, BufferError> {
    // SAFETY: by this function's contract; references to the buffers end before `notify`, and the callbacks of one may
    // free the other.
    unsafe {
        let _held = hold_both(target, source);
        let result = change(&mut (*target).buffer, &mut (*source).buffer);
        let (one, other) = match first(&(*source).buffer) {
            First::Source => (source, target),
            First::Target => (target, source),
        };
        retain(other);
        notify(one);
        notify(other);
        release_held(other);
        result
    }
}

/// Takes two locks in the order of their buffers' addresses, so that two threads cannot wait for each other.
///
/// # Safety
/// Both are alive.
unsafe fn hold_both(one: *mut evbuffer, other: *mut evbuffer) -> (Held, Held) {
    let (low, high) = if one.addr() < other.addr() {
        (one, other)
    } else {
        (other, one)
    };
    // SAFETY: by this function's contract.
    unsafe { (lock::hold(&(*low).lock), lock::hold(&(*high).lock)) }
}
