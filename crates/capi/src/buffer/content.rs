//! Bytes in and out: adding, looking, taking.

use std::ffi::{c_int, c_void};

use ferrevent_core::buffer::{Buffer, End};
use libc::ssize_t;

use super::{change, evbuffer, look, status};
use crate::abi::{evbuffer_iovec, evbuffer_ptr};
use crate::lock;

/// The most that a function returning an `int` can tell of.
const INT_MAX: usize = c_int::MAX as usize;

/// `evbuffer_get_length`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_get_length(buf: *const evbuffer) -> usize {
    // SAFETY: by the C API's contract.
    unsafe { look(buf, Buffer::len) }
}

/// `evbuffer_get_contiguous_space`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_get_contiguous_space(buf: *const evbuffer) -> usize {
    // SAFETY: by the C API's contract.
    unsafe { look(buf, Buffer::contiguous_len) }
}

/// `evbuffer_add`
///
/// # Safety
/// The C API's contract: `buf` is alive; `data` has `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add(
    buf: *mut evbuffer,
    data: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let Some(data) = bytes(data, len) else {
            return -1;
        };
        status(change(buf, |buffer| buffer.append(data)))
    }
}

/// `evbuffer_prepend`
///
/// # Safety
/// The C API's contract: `buf` is alive; `data` has `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_prepend(
    buf: *mut evbuffer,
    data: *const c_void,
    len: usize,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let Some(data) = bytes(data, len) else {
            return -1;
        };
        status(change(buf, |buffer| buffer.prepend(data)))
    }
}

/// `evbuffer_add_iovec`: how many bytes were added. Callbacks are told of each piece by itself.
///
/// # Safety
/// The C API's contract: `buf` is alive; `pieces` has `count` elements, each of which describes readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add_iovec(
    buf: *mut evbuffer,
    pieces: *mut evbuffer_iovec,
    count: c_int,
) -> usize {
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 {
        return 0;
    }
    // SAFETY: by the C API's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        let mut total = 0_usize;
        for index in 0..count {
            total = total.saturating_add((*pieces.add(index)).iov_len);
        }
        if (*buf).buffer.expand(total).is_err() {
            return 0;
        }
        // Callbacks may free the buffer between two pieces.
        super::retain(buf);
        let mut added = 0;
        for index in 0..count {
            let piece = *pieces.add(index);
            if evbuffer_add(buf, piece.iov_base, piece.iov_len) != 0 {
                break;
            }
            added += piece.iov_len;
        }
        super::release_held(buf);
        added
    }
}

/// `evbuffer_copyout`
///
/// # Safety
/// The C API's contract: `buf` is alive; `out` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_copyout(
    buf: *mut evbuffer,
    out: *mut c_void,
    len: usize,
) -> ssize_t {
    // SAFETY: by the C API's contract.
    unsafe { look(buf, |buffer| copied(buffer, 0, out, len)) }
}

/// `evbuffer_copyout_from`
///
/// # Safety
/// The C API's contract: `buf` is alive; `position` is NULL or valid; `out` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_copyout_from(
    buf: *mut evbuffer,
    position: *const evbuffer_ptr,
    out: *mut c_void,
    len: usize,
) -> ssize_t {
    // SAFETY: by the C API's contract.
    unsafe {
        let position = if position.is_null() {
            0
        } else {
            (*position).pos
        };
        let Ok(position) = usize::try_from(position) else {
            return -1;
        };
        look(buf, |buffer| copied(buffer, position, out, len))
    }
}

/// `evbuffer_remove`: at most `INT_MAX` bytes.
///
/// # Safety
/// The C API's contract: `buf` is alive; `out` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_remove(
    buf: *mut evbuffer,
    out: *mut c_void,
    len: usize,
) -> c_int {
    let len = len.min(INT_MAX);
    // SAFETY: by the C API's contract.
    unsafe {
        change(buf, |buffer| {
            let n = copied(buffer, 0, out, len);
            if n > 0 && buffer.drain(n.unsigned_abs()).is_err() {
                return -1;
            }
            // `len` was an `int`.
            n as c_int
        })
    }
}

/// `evbuffer_drain`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_drain(buf: *mut evbuffer, len: usize) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { status(change(buf, |buffer| buffer.drain(len))) }
}

/// `evbuffer_pullup`: NULL for no bytes, and for more than there are.
///
/// # Safety
/// The C API's contract: `buf` is alive; what is returned is used only until the buffer changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_pullup(buf: *mut evbuffer, size: ssize_t) -> *mut u8 {
    // SAFETY: by the C API's contract.
    unsafe { change(buf, |buffer| pulled_up(buffer, usize::try_from(size).ok())) }
}

/// The first `size` bytes (`None`: all) in one piece; NULL if that is none, or more than there are.
pub(super) fn pulled_up(buffer: &mut Buffer, size: Option<usize>) -> *mut u8 {
    match buffer.pullup(size) {
        // Not `pullup_mut`: memory that was added by reference must stay where it is, and whether the program may write
        // to such memory is for the program to know.
        Some(bytes) if !bytes.is_empty() => bytes.as_ptr().cast_mut(),
        _ => std::ptr::null_mut(),
    }
}

/// Copies up to `len` bytes from `position` on to `out` and says how many; -1 from a frozen front,
/// and if a file cannot be read.
///
/// # Safety
/// `out` has room for `len` bytes.
#[inline]
unsafe fn copied(buffer: &Buffer, position: usize, out: *mut c_void, len: usize) -> ssize_t {
    // Nearly always, all of it lies in the first chunk.
    if !buffer.is_frozen(End::Front)
        && let Some(front) = buffer.own_front()
        && position <= front.len()
        && len <= front.len() - position
    {
        // SAFETY: by this function's contract; the program's memory is not the buffer's free room.
        unsafe { std::ptr::copy(front.as_ptr().add(position), out.cast(), len) };
        return len as ssize_t;
    }
    // SAFETY: by this function's contract.
    unsafe { copied_pieces(buffer, position, out, len) }
}

/// As [`copied`], in general.
///
/// # Safety
/// As for [`copied`].
#[inline(never)]
unsafe fn copied_pieces(buffer: &Buffer, position: usize, out: *mut c_void, len: usize) -> ssize_t {
    let n = len.min(buffer.len().saturating_sub(position));
    if n == 0 {
        return 0;
    }
    if buffer.is_frozen(End::Front) || !buffer.can_load_files(position + n) {
        return -1;
    }
    // SAFETY: by this function's contract; `n` is not more than `len`.
    unsafe { copy(buffer, position, out.cast(), n) };
    n as ssize_t
}

/// Copies `n` bytes from `position` on, of which there must be as many, to `out`, which need not be initialised.
///
/// # Safety
/// `out` has room for `n` bytes.
#[inline]
pub(super) unsafe fn copy(buffer: &Buffer, position: usize, out: *mut u8, n: usize) {
    // Nearly always, all of it lies in the first chunk.
    let front = buffer.front();
    if position <= front.len() && n <= front.len() - position {
        // SAFETY: by this function's contract; the program's memory is not the buffer's free room.
        unsafe { std::ptr::copy(front.as_ptr().add(position), out, n) };
        return;
    }
    // SAFETY: by this function's contract.
    unsafe { copy_pieces(buffer, position, out, n) };
}

/// As [`copy`], for bytes in several chunks.
///
/// # Safety
/// As for [`copy`].
unsafe fn copy_pieces(buffer: &Buffer, position: usize, out: *mut u8, n: usize) {
    let mut done = 0;
    for piece in buffer.chunks_from(position) {
        let here = piece.len().min(n - done);
        // SAFETY: `done + here` is at most `n`; the program's memory is not the buffer's free room.
        unsafe { std::ptr::copy(piece.as_ptr(), out.add(done), here) };
        done += here;
        if done == n {
            break;
        }
    }
}

/// The program's bytes; `None` if they are more than memory can hold.
///
/// # Safety
/// `data` has `len` readable bytes for as long as the result is used.
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    if len == 0 {
        return Some(&[]);
    }
    if data.is_null() || isize::try_from(len).is_err() {
        return None;
    }
    // SAFETY: by this function's contract, and what has just been checked.
    Some(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}
