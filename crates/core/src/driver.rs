//! What the core asks of an operating system: readiness ([`Driver`]) and bytes ([`Transport`]).
//!
//! The core decides *what* is registered and *when* a descriptor is read or written; a driver only does it. There are
//! five: epoll, poll, select and io_uring in `ferrevent-sys`, and the simulated one in `ferrevent-sim`. All keep to the
//! contract written here, so that everything above them behaves the same.

use std::io;
use std::time::Duration;

use bitflags::bitflags;

use crate::buffer::Buffer;
use crate::flags::What;

/// A descriptor number, as the operating system counts them; negative means "none".
pub type Fd = i32;

bitflags! {
    /// What a registration waits for.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Interest: u8 {
        /// Bytes to read, a connection to accept, or the end of the stream.
        const READ = 1;
        /// Room to write, or a connection attempt that has ended.
        const WRITE = 2;
        /// The peer has shut down its sending side (`EPOLLRDHUP`).
        const CLOSED = 4;
        /// Report changes only (`EPOLLET`); a driver without [`Features::EDGE`] may report levels instead.
        const EDGE = 8;
    }
}

bitflags! {
    /// What a wait reported of one descriptor.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    ///
    /// The numbers are those of what an event waits for.
    pub struct Readiness: u32 {
        /// Reading would not block.
        const READ = What::READ.bits() as u32;
        /// Writing would not block.
        const WRITE = What::WRITE.bits() as u32;
        /// The peer has shut down its sending side.
        const CLOSED = What::CLOSED.bits() as u32;
        /// Error or hang-up: whoever waits for either direction is to look (`EPOLLERR`, or `EPOLLHUP` without RDHUP).
        const FAILED = 1 << 16;
    }
}

bitflags! {
    /// What a driver can do beyond level-triggered reading and writing (libevent's `enum event_method_feature`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u8 {
        /// Edge-triggered registrations.
        const EDGE = 1;
        /// Adding, deleting and reporting one event costs O(1).
        const O1 = 2;
        /// Works on any kind of descriptor, regular files included.
        const FDS = 4;
        /// Reports [`Readiness::CLOSED`] without reading.
        const EARLY_CLOSE = 8;
    }
}

/// Carried by a registration and given back by each report: the descriptor and the generation of its registration, so
/// that a report of a registration that is gone (a closed and reused number) is told from a current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The descriptor.
    pub fd: Fd,
    /// Grows with each new registration.
    pub generation: u32,
}

/// One report of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Whose registration it is.
    pub token: Token,
    /// What is ready.
    pub readiness: Readiness,
}

/// Readiness of descriptors, the clock, and the wait.
///
/// `register`, `reregister` and `deregister` never block. A driver may be moved to another thread between calls.
pub trait Driver: Send {
    /// The method's name, as `event_base_get_method` gives it ("epoll", "poll", ...).
    fn name(&self) -> &'static str;

    /// What it can do.
    fn features(&self) -> Features;

    /// Nanoseconds of the monotonic clock.
    fn now(&self) -> u64;

    /// Starts to watch `token.fd`.
    ///
    /// # Errors
    /// What the system says: `EPERM` of a descriptor that cannot be watched (a regular file under epoll), `EBADF`,
    /// `EEXIST` when it is watched already, `ENOMEM`, `ENOSPC`.
    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()>;

    /// Changes what is watched for. With [`Interest::EDGE`], a condition that already holds is reported again.
    ///
    /// # Errors
    /// `ENOENT` when this descriptor is not watched (it was closed, and its number reused).
    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()>;

    /// Stops watching.
    ///
    /// # Errors
    /// `ENOENT` or `EBADF` when it was not watched any more.
    fn deregister(&mut self, fd: Fd) -> io::Result<()>;

    /// So many changes are about to come, each of another descriptor, and then [`settle`](Self::settle). Returns whether
    /// the driver makes use of that: until then, [`reregister`](Self::reregister) and [`deregister`](Self::deregister)
    /// may put off what they are asked for, and give `Ok`. If not, there will be no `settle`.
    fn put_off(&mut self, changes: usize) -> bool {
        let _ = changes;
        false
    }

    /// Does what was put off, and appends what has failed to `refused`, with the error that the call would have given.
    fn settle(&mut self, refused: &mut Vec<(Fd, io::Error)>) {
        let _ = refused;
    }

    /// The descriptor is about to be closed. A driver whose registrations go with the descriptor does nothing.
    fn closing(&mut self, fd: Fd) {
        // Whether it was watched does not matter to somebody who closes it.
        let _ = self.deregister(fd);
    }

    /// Forgets every registration, also those of descriptors that are closed here but alive in another process; the
    /// core then registers anew what it still wants. For `fork`, and for stale registrations that cannot be removed.
    ///
    /// # Errors
    /// What the system says when it cannot make a new instance.
    fn reset(&mut self) -> io::Result<()>;

    /// Waits until something is ready, `timeout` has passed (`None`: for ever, zero: do not wait), or the base's
    /// waker was used, and appends what is ready to `ready`. Being interrupted by a signal is not an error: it returns.
    ///
    /// # Errors
    /// A failure of the wait itself, which is fatal for the loop.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;
}

/// What kind of thing a bufferevent's descriptor is; it decides how it is read, and whether edges may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A connected byte stream (TCP, unix stream): `recv`/`send`, and a short read means "drained".
    Stream,
    /// Another kind of socket: `recv`/`send`, one message a call.
    Message,
    /// No socket (a pipe, a terminal): `read`/`write`.
    Other,
}

/// How a connection attempt began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connect {
    /// It stands already (unix sockets).
    Done,
    /// It is under way; writability tells when it has ended.
    Started,
    /// Refused at once (`ECONNREFUSED`).
    Refused,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// So many bytes; 0 is the end of the stream.
    pub bytes: usize,
    /// There was room for more: of a [`Kind::Stream`], nothing is left for now.
    pub drained: bool,
}

/// What a write took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// So many bytes.
    pub bytes: usize,
    /// It took less than was offered: there is no more room for now.
    pub blocked: bool,
}

/// Bytes to and from a descriptor. Nothing here blocks on a non-blocking descriptor.
pub trait Transport {
    /// Learns what `fd` is.
    fn kind(&self, fd: Fd) -> Kind;

    /// Reads once, at most `limit` bytes, and appends them to `into` (whose ends need not be unfrozen: the transport
    /// is not the user). Zero bytes are the end of the stream.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when there is nothing, `Interrupted`.
    fn read(&self, fd: Fd, kind: Kind, into: &mut Buffer, limit: usize) -> io::Result<Received>;

    /// Writes once, at most `limit` bytes from the front of `from`, and drains what was taken.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` when there is no room, `Interrupted`.
    fn write(&self, fd: Fd, kind: Kind, from: &mut Buffer, limit: usize) -> io::Result<Sent>;

    /// The descriptor's pending error (`SO_ERROR`), which is how a connection attempt ended.
    ///
    /// # Errors
    /// The error itself, or what the system says.
    fn take_error(&self, fd: Fd) -> io::Result<()>;

    /// Ends the sending direction of a connection.
    ///
    /// # Errors
    /// What the system says: `ENOTCONN`, `ENOTSOCK`.
    fn shutdown(&self, fd: Fd) -> io::Result<()>;

    /// Closes `fd`.
    fn close(&self, fd: Fd);
}
