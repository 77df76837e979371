//! Buffers and descriptors: `evbuffer_read`, `evbuffer_write`.

use std::ffi::c_int;
use std::io::{self, IoSlice};

use ferrevent_core::buffer::End;
use libc::ssize_t;

use super::{change, evbuffer};
use crate::abi::evutil_socket_t;

/// What one read gets at most, in bytes.
const MAX_READ: usize = 4096;

/// `evbuffer_read`: one read of at most `most` bytes (less than 0: what there is), and no more than 4096. 0 at the end
/// of the stream.
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_read(
    buf: *mut evbuffer,
    fd: evutil_socket_t,
    most: c_int,
) -> c_int {
    let limit = usize::try_from(most).map_or(MAX_READ, |most| most.min(MAX_READ));
    // SAFETY: by the C API's contract.
    let read = unsafe {
        change(buf, |buffer| {
            if buffer.is_frozen(End::Back) {
                return Ok(None);
            }
            buffer.receive(limit, |room| read_once(fd, room)).map(Some)
        })
    };
    transferred(read)
}

/// `evbuffer_write`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_write(buf: *mut evbuffer, fd: evutil_socket_t) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { evbuffer_write_atmost(buf, fd, -1) }
}

/// `evbuffer_write_atmost`: one write of at most `most` bytes (less than 0: all). -1 also when there is nothing to write.
/// 0 when a file at the front is shorter than it was said to be.
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_write_atmost(
    buf: *mut evbuffer,
    fd: evutil_socket_t,
    most: ssize_t,
) -> c_int {
    let limit = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .min(c_int::MAX as usize);
    // SAFETY: by the C API's contract.
    let written = unsafe {
        change(buf, |buffer| {
            if buffer.is_frozen(End::Front) || limit == 0 || buffer.is_empty() {
                return Ok(None);
            }
            if let Some(sent) = ferrevent_sys::send_file(fd, buffer, limit)? {
                return Ok(Some(sent));
            }
            buffer
                .transmit(limit, |pieces| write_once(fd, pieces))
                .map(Some)
        })
    };
    transferred(written)
}

/// What is returned for a transfer: its size, or -1 with `errno` set if the system refused it.
fn transferred(result: io::Result<Option<usize>>) -> c_int {
    match result {
        // Limits are `int`s.
        Ok(Some(n)) => n as c_int,
        Ok(None) => -1,
        Err(error) => {
            if let Some(code) = error.raw_os_error() {
                // SAFETY: the address of this thread's `errno` is always valid. Callbacks and the allocator may have
                // changed it since the call.
                unsafe { *libc::__errno_location() = code };
            }
            -1
        }
    }
}

fn read_once(fd: evutil_socket_t, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `room` is writable.
    let n = unsafe { libc::read(fd, room.as_mut_ptr().cast(), room.len()) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

fn write_once(fd: evutil_socket_t, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // The core passes few enough pieces for any system.
    let count = pieces.len() as c_int;
    // SAFETY: `IoSlice` has the layout of `iovec`, and the pieces are readable.
    let n = unsafe { libc::writev(fd, pieces.as_ptr().cast(), count) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}
