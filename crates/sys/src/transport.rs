//! Bytes to and from descriptors.

use std::io::{self, IoSlice};

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Fd, Kind, Received, Sent, Transport};

use crate::socket;

/// Reads and writes with one system call each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posix {
    /// Writing to a socket whose peer is gone gives `EPIPE` without raising `SIGPIPE` (`MSG_NOSIGNAL`). There is no such
    /// way for pipes. libevent does not suppress the signal.
    pub suppress_sigpipe: bool,
}

impl Posix {
    fn send_flags(self) -> i32 {
        if self.suppress_sigpipe {
            libc::MSG_NOSIGNAL
        } else {
            0
        }
    }

    fn write_slices(self, fd: Fd, kind: Kind, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = match (kind, slices) {
            (Kind::Other, [slice]) => {
                // SAFETY: the slice is valid for reading.
                unsafe { libc::write(fd, slice.as_ptr().cast(), slice.len()) }
            }
            (Kind::Other, slices) => {
                // SAFETY: an IoSlice has the layout of an iovec, and each is valid for reading.
                unsafe { libc::writev(fd, slices.as_ptr().cast(), slices.len() as i32) }
            }
            (_, [slice]) => {
                // SAFETY: the slice is valid for reading.
                unsafe { libc::send(fd, slice.as_ptr().cast(), slice.len(), self.send_flags()) }
            }
            (_, slices) => {
                // SAFETY: all bytes zero is a valid msghdr: no address, no pieces, no control data.
                let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
                // An IoSlice has the layout of an iovec; sendmsg does not write through it.
                message.msg_iov = slices.as_ptr().cast_mut().cast();
                message.msg_iovlen = slices.len() as _;
                // SAFETY: `message` is valid for reading, as are its pieces.
                unsafe { libc::sendmsg(fd, &message, self.send_flags()) }
            }
        };
        transferred(written)
    }
}

impl Transport for Posix {
    fn kind(&self, fd: Fd) -> Kind {
        match socket::socket_type(fd) {
            Ok(libc::SOCK_STREAM) => Kind::Stream,
            Ok(_) => Kind::Message,
            Err(_) => Kind::Other,
        }
    }

    fn read(&self, fd: Fd, kind: Kind, into: &mut Buffer, limit: usize) -> io::Result<Received> {
        let mut offered = 0;
        let bytes = into.receive(limit, |room| {
            if room.is_empty() {
                // Reading nothing would look like the end of the stream.
                return Err(io::ErrorKind::InvalidInput.into());
            }
            offered = room.len();
            let received = match kind {
                // SAFETY: `room` is valid for writing.
                Kind::Other => unsafe { libc::read(fd, room.as_mut_ptr().cast(), room.len()) },
                // SAFETY: `room` is valid for writing.
                _ => unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), 0) },
            };
            transferred(received)
        })?;
        Ok(Received {
            bytes,
            drained: bytes < offered,
        })
    }

    fn write(&self, fd: Fd, kind: Kind, from: &mut Buffer, limit: usize) -> io::Result<Sent> {
        if kind == Kind::Message {
            // A message is made of all pieces together.
            from.load_files(1)?;
        } else if let Some(bytes) = send_file(fd, from, limit)? {
            // Whether the file or the room has ended when it is less than was asked for, the next call tells.
            return Ok(Sent {
                bytes,
                blocked: false,
            });
        }
        let mut offered = 0;
        let bytes = from.transmit(limit, |slices| {
            if slices.is_empty() {
                return Ok(0);
            }
            offered = slices.iter().map(|slice| slice.len()).sum();
            self.write_slices(fd, kind, slices)
        })?;
        Ok(Sent {
            bytes,
            blocked: bytes < offered,
        })
    }

    fn take_error(&self, fd: Fd) -> io::Result<()> {
        socket::take_error(fd)
    }

    fn shutdown(&self, fd: Fd) -> io::Result<()> {
        socket::shutdown(fd, std::net::Shutdown::Write)
    }

    fn close(&self, fd: Fd) {
        socket::close(fd);
    }
}

/// Sends what `from` has of a file at its front, at most `limit` bytes, without bringing it into memory (`sendfile`), and
/// says how many bytes that was: none if the file is shorter than it was said to be. `None` if the bytes at the front are
/// in memory, or are there now, since the two descriptors do not go together.
///
/// There is no way to keep `SIGPIPE` from being raised here: Rust programs ignore it from the start.
///
/// # Errors
/// What the system says.
pub fn send_file(fd: Fd, from: &mut Buffer, limit: usize) -> io::Result<Option<usize>> {
    let Some(piece) = from.front_file(limit).filter(|piece| piece.len > 0) else {
        return Ok(None);
    };
    let Ok(mut offset) = libc::off_t::try_from(piece.offset) else {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    };
    // SAFETY: `offset` is valid for writing. That the descriptors are open is not a matter of memory.
    let sent = unsafe { libc::sendfile(fd, piece.fd, &raw mut offset, piece.len) };
    match transferred(sent) {
        Ok(sent) => {
            from.sent(sent);
            Ok(Some(sent))
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE) => {
                from.load_files(1)?;
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

/// The number of bytes that a call says it has transferred.
fn transferred(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
