//! Positions, and what is found at them.

use std::ffi::{c_char, c_int, c_uint};

use ferrevent_core::buffer::{Buffer, End, EolStyle};
use libc::ssize_t;

use super::content::{bytes, copy, pulled_up};
use super::{change, evbuffer, look, notify, release_held, retain};
use crate::abi::evbuffer_ptr;
use crate::{lock, memory};

/// `EVBUFFER_PTR_SET`
const PTR_SET: c_uint = 0;
/// `EVBUFFER_PTR_ADD`
const PTR_ADD: c_uint = 1;

/// `evbuffer_ptr_set`: a position behind the end is -1, and makes the pointer invalid unless an addition overflows.
///
/// # Safety
/// The C API's contract: `buf` is alive; `pointer` is writable, and initialised for `EVBUFFER_PTR_ADD`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_ptr_set(
    buf: *mut evbuffer,
    pointer: *mut evbuffer_ptr,
    position: usize,
    how: c_uint,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let position = match how {
            PTR_SET => Some(position),
            PTR_ADD => {
                let Some(sum) = usize::try_from((*pointer).pos)
                    .ok()
                    .and_then(|start| start.checked_add(position))
                    .filter(|sum| isize::try_from(*sum).is_ok())
                else {
                    return -1;
                };
                Some(sum)
            }
            _ => None,
        };
        let position = position.filter(|position| *position <= look(buf, Buffer::len));
        pointer.write(pointer_to(position));
        if position.is_some() { 0 } else { -1 }
    }
}

/// `evbuffer_search`
///
/// # Safety
/// The C API's contract: `buf` is alive; `what` has `len` readable bytes; `start` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_search(
    buf: *mut evbuffer,
    what: *const c_char,
    len: usize,
    start: *const evbuffer_ptr,
) -> evbuffer_ptr {
    // SAFETY: by the C API's contract.
    unsafe { evbuffer_search_range(buf, what, len, start, std::ptr::null()) }
}

/// `evbuffer_search_range`
///
/// # Safety
/// The C API's contract: `buf` is alive; `what` has `len` readable bytes; `start` and `end` are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_search_range(
    buf: *mut evbuffer,
    what: *const c_char,
    len: usize,
    start: *const evbuffer_ptr,
    end: *const evbuffer_ptr,
) -> evbuffer_ptr {
    // SAFETY: by the C API's contract.
    unsafe {
        let Some(pattern) = bytes(what.cast(), len) else {
            return pointer_to(None);
        };
        let Some(from) = offset(start) else {
            return pointer_to(None);
        };
        let to = match (end.is_null(), offset(end)) {
            (true, _) => None,
            (false, Some(to)) => Some(to),
            (false, None) => return pointer_to(None),
        };
        pointer_to(look(buf, |buffer| {
            if !buffer.can_load_files(usize::MAX) {
                return None;
            }
            buffer.search(pattern, from, to)
        }))
    }
}

/// `evbuffer_search_eol`
///
/// # Safety
/// The C API's contract: `buf` is alive; `start` is NULL or valid; `eol_len` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_search_eol(
    buf: *mut evbuffer,
    start: *mut evbuffer_ptr,
    eol_len: *mut usize,
    style: c_uint,
) -> evbuffer_ptr {
    // SAFETY: by the C API's contract.
    unsafe {
        let found = match (offset(start), eol_style(style)) {
            (Some(from), Some(style)) => look(buf, |buffer| {
                if !buffer.can_load_files(usize::MAX) {
                    return None;
                }
                buffer.search_eol(style, from)
            }),
            _ => None,
        };
        if !eol_len.is_null() {
            eol_len.write(found.map_or(0, |eol| eol.len));
        }
        pointer_to(found.map(|eol| eol.position))
    }
}

/// `evbuffer_readln`: the line ends with a zero byte and is the caller's to free.
///
/// # Safety
/// The C API's contract: `buf` is alive; `line_len` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_readln(
    buf: *mut evbuffer,
    line_len: *mut usize,
    style: c_uint,
) -> *mut c_char {
    // SAFETY: by the C API's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        let line = eol_style(style).and_then(|style| take_line(buf, style));
        let (line, len) = line.unwrap_or((std::ptr::null_mut(), 0));
        if !line_len.is_null() {
            line_len.write(len);
        }
        line
    }
}

/// `evbuffer_readline` of `event2/buffer_compat.h`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_readline(buf: *mut evbuffer) -> *mut c_char {
    // SAFETY: by the C API's contract.
    unsafe { evbuffer_readln(buf, std::ptr::null_mut(), 0) }
}

/// `evbuffer_find` of `event2/buffer_compat.h`: makes everything up to the end of what was found contiguous.
///
/// # Safety
/// The C API's contract: `buf` is alive; `what` has `len` readable bytes; what is returned is used only until the buffer
/// changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_find(buf: *mut evbuffer, what: *const u8, len: usize) -> *mut u8 {
    let null = std::ptr::null_mut();
    // SAFETY: by the C API's contract; `position` lies within what was pulled up.
    unsafe {
        let Some(pattern) = bytes(what.cast(), len) else {
            return null;
        };
        change(buf, |buffer| {
            if !buffer.can_load_files(usize::MAX) {
                return null;
            }
            let Some(position) = buffer.search(pattern, 0, None) else {
                return null;
            };
            let start = pulled_up(buffer, Some(position + len));
            if start.is_null() {
                null
            } else {
                start.add(position)
            }
        })
    }
}

/// Takes out the first line, its end being dropped; gives memory of the program's allocator.
///
/// # Safety
/// `buf` is alive and its lock held.
unsafe fn take_line(buf: *mut evbuffer, style: EolStyle) -> Option<(*mut c_char, usize)> {
    // SAFETY: by this function's contract; references to the buffer end before each report, and the buffer is retained
    // over the first.
    unsafe {
        let buffer = &mut (*buf).buffer;
        if !buffer.can_load_files(usize::MAX) {
            return None;
        }
        let eol = buffer.search_eol(style, 0)?;
        if buffer.is_frozen(End::Front) {
            return None;
        }
        let line = memory::allocate(eol.position + 1).cast::<u8>();
        if line.is_null() {
            return None;
        }
        copy(buffer, 0, line, eol.position);
        line.add(eol.position).write(0);
        if (*buf).is_unwatched() {
            // One step, since nobody sees two.
            let drained = (*buf).buffer.drain(eol.position + eol.len);
            notify(buf);
            debug_assert!(drained.is_ok());
            return Some((line.cast(), eol.position));
        }
        // The line and its end are two changes, as programs with callbacks have always seen. The front is not frozen; if
        // a callback freezes it in between, that is its wish.
        retain(buf);
        for n in [eol.position, eol.len] {
            if (*buf).buffer.drain(n).is_ok() {
                notify(buf);
            }
        }
        release_held(buf);
        Some((line.cast(), eol.position))
    }
}

/// Where `pointer` points to: the front if it is NULL; `None` if it is invalid.
///
/// # Safety
/// `pointer` is NULL or readable.
pub(super) unsafe fn offset(pointer: *const evbuffer_ptr) -> Option<usize> {
    if pointer.is_null() {
        return Some(0);
    }
    // SAFETY: by this function's contract.
    usize::try_from(unsafe { (*pointer).pos }).ok()
}

fn pointer_to(position: Option<usize>) -> evbuffer_ptr {
    // No buffer is longer than a signed number tells.
    let pos = position.map_or(-1, |position| position as ssize_t);
    evbuffer_ptr {
        pos,
        internal: [0; 2],
    }
}

/// `enum evbuffer_eol_style`
fn eol_style(style: c_uint) -> Option<EolStyle> {
    Some(match style {
        0 => EolStyle::Any,
        1 => EolStyle::Crlf,
        2 => EolStyle::CrlfStrict,
        3 => EolStyle::Lf,
        4 => EolStyle::Nul,
        _ => return None,
    })
}
