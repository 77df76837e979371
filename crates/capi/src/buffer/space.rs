//! Memory of a buffer that the program uses directly: `evbuffer_reserve_space`, `evbuffer_peek`.

use std::ffi::c_int;

use ferrevent_core::buffer::End;
use libc::ssize_t;

use super::search::offset;
use super::{change, evbuffer, look, status};
use crate::abi::{evbuffer_iovec, evbuffer_ptr};

/// `evbuffer_expand`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_expand(buf: *mut evbuffer, len: usize) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { status(change(buf, |buffer| buffer.expand(len))) }
}

/// `evbuffer_reserve_space`: one or two pieces, or none if it need not be any room and more than one is allowed.
///
/// # Safety
/// The C API's contract: `buf` is alive; `pieces` has room for `count` elements; what they show is written to only until
/// the buffer changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_reserve_space(
    buf: *mut evbuffer,
    size: ssize_t,
    pieces: *mut evbuffer_iovec,
    count: c_int,
) -> c_int {
    let (Ok(size), Ok(count)) = (usize::try_from(size), usize::try_from(count)) else {
        return -1;
    };
    // SAFETY: by the C API's contract; the core gives no more pieces than were asked for.
    unsafe {
        change(buf, |buffer| {
            if size == 0 && count > 1 && !buffer.is_frozen(End::Back) {
                return 0;
            }
            let Ok(mut reserved) = buffer.reserve(size, count) else {
                return -1;
            };
            let mut used = 0;
            for piece in &mut reserved {
                pieces.add(used).write(evbuffer_iovec {
                    iov_base: piece.as_mut_ptr().cast(),
                    iov_len: piece.len(),
                });
                used += 1;
            }
            // No more than two.
            used as c_int
        })
    }
}

/// `evbuffer_commit_space`
///
/// # Safety
/// The C API's contract: `buf` is alive; `pieces` has `count` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_commit_space(
    buf: *mut evbuffer,
    pieces: *mut evbuffer_iovec,
    count: c_int,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: by the C API's contract.
    unsafe {
        change(buf, |buffer| {
            if count == 0 {
                // What is reserved stays, and may still be committed.
                return if buffer.is_frozen(End::Back) { -1 } else { 0 };
            }
            if count == 1 {
                let given = *pieces;
                return match buffer.first_reserved() {
                    Some(room) if room.as_ptr() == given.iov_base.cast() => {
                        status(buffer.commit(&[given.iov_len]))
                    }
                    _ => -1,
                };
            }
            let mut lengths = [0; 2];
            {
                let reserved = buffer.reserved();
                if count > reserved.len() {
                    return -1;
                }
                for (index, piece) in reserved.iter().enumerate().take(count) {
                    let given = *pieces.add(index);
                    if given.iov_base.cast_const() != piece.as_ptr().cast() {
                        return -1;
                    }
                    lengths[index] = given.iov_len;
                }
            }
            status(buffer.commit(&lengths[..count]))
        })
    }
}

/// `evbuffer_peek`: how many pieces there are, of which the first `count` are shown.
///
/// # Safety
/// The C API's contract: `buf` is alive; `start` is NULL or valid; `pieces` has room for `count` elements, which are
/// used only until the buffer changes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_peek(
    buf: *mut evbuffer,
    len: ssize_t,
    start: *mut evbuffer_ptr,
    pieces: *mut evbuffer_iovec,
    count: c_int,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        // Nearly always, all of it lies in the first chunk, and nobody locks the buffer.
        if (*buf).lock.is_none()
            && count > 0
            && let Some(front) = (*buf).buffer.own_front()
        {
            let from = if start.is_null() {
                0
            } else {
                // A position that is no number of bytes is behind everything.
                (*start).pos as usize
            };
            let asked = len as usize;
            if from < front.len() && asked > 0 {
                let (here, all) = (front.len() - from, (*buf).buffer.len() - from);
                // A length below zero is larger than any buffer.
                if here >= all || here >= asked {
                    pieces.write(evbuffer_iovec {
                        iov_base: front.as_ptr().add(from).cast_mut().cast(),
                        iov_len: here,
                    });
                    return 1;
                }
            }
        }
        peek_pieces(buf, len, start, pieces, count)
    }
}

/// As [`evbuffer_peek`], in general.
///
/// # Safety
/// As for [`evbuffer_peek`].
#[inline(never)]
unsafe fn peek_pieces(
    buf: *mut evbuffer,
    len: ssize_t,
    start: *mut evbuffer_ptr,
    pieces: *mut evbuffer_iovec,
    count: c_int,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: by this function's contract.
    unsafe {
        let Some(from) = offset(start) else { return 0 };
        look(buf, |buffer| {
            let asked = usize::try_from(len).unwrap_or(usize::MAX);
            if !buffer.can_load_files(from.saturating_add(asked)) {
                return 0;
            }
            // Without a length, what fits is shown; if nothing may be shown, everything is counted.
            let most = if len < 0 && count > 0 {
                count
            } else {
                usize::MAX
            };
            let mut wanted = asked;
            let mut needed = 0;
            for piece in buffer.chunks_from(from).take(most) {
                if wanted == 0 {
                    break;
                }
                if needed < count {
                    pieces.add(needed).write(evbuffer_iovec {
                        iov_base: piece.as_ptr().cast_mut().cast(),
                        iov_len: piece.len(),
                    });
                }
                needed += 1;
                wanted = wanted.saturating_sub(piece.len());
            }
            c_int::try_from(needed).unwrap_or(c_int::MAX)
        })
    }
}
