//! Sockets: making, connecting, listening, asking.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use ferrevent_core::driver::{Connect, Fd};

use crate::address::Address;

/// Connections that wait to be accepted, where the caller has no wish of its own (libevent's choice).
pub const DEFAULT_BACKLOG: i32 = 128;

/// How new descriptors are made. By default they do not block, and programs that are executed do not inherit them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// Calls wait until they can be served (`LEV_OPT_LEAVE_SOCKETS_BLOCKING`).
    pub blocking: bool,
    /// Stays open over `exec` (no `LEV_OPT_CLOSE_ON_EXEC`).
    pub inheritable: bool,
}

impl Mode {
    pub(crate) fn bits(self) -> i32 {
        let blocking = if self.blocking {
            0
        } else {
            libc::SOCK_NONBLOCK
        };
        let inheritable = if self.inheritable {
            0
        } else {
            libc::SOCK_CLOEXEC
        };
        blocking | inheritable
    }
}

/// Options of a listening socket, as `evconnlistener_new_bind` takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// How its descriptor is made.
    pub mode: Mode,
    /// `SO_REUSEADDR`: bind although connections of an earlier listener linger.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: share the port with other listeners; the kernel spreads connections over them.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: take no IPv4 connections.
    pub v6_only: bool,
    /// `TCP_DEFER_ACCEPT`: announce a connection when its first bytes are there.
    pub defer_accept: bool,
    /// `SO_KEEPALIVE`, which accepted sockets inherit.
    pub keep_alive: bool,
}

impl Listen {
    /// Makes a stream socket with these options and binds it to `address`. It does not listen yet.
    ///
    /// # Errors
    /// What the system says: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`, `EAFNOSUPPORT` ...
    pub fn bind(&self, address: &Address) -> io::Result<OwnedFd> {
        let socket = stream_socket(address.family(), self.mode)?;
        let fd = socket.as_raw_fd();
        let internet = matches!(address.family(), libc::AF_INET | libc::AF_INET6);
        if self.keep_alive {
            set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        }
        if self.reuse_address {
            set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        }
        if self.reuse_port {
            set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        if self.v6_only && address.family() == libc::AF_INET6 {
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        if self.defer_accept && internet {
            set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)?;
        }
        bind(fd, address)?;
        Ok(socket)
    }
}

/// Makes a stream socket of an address family.
///
/// # Errors
/// What the system says: `EAFNOSUPPORT`, `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn stream_socket(family: i32, mode: Mode) -> io::Result<OwnedFd> {
    // SAFETY: takes no memory.
    owned(unsafe { libc::socket(family, libc::SOCK_STREAM | mode.bits(), 0) })
}

/// Makes two unix stream sockets that are connected with each other (`evutil_socketpair`).
///
/// # Errors
/// What the system says: `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn socket_pair(mode: Mode) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    // SAFETY: `pair` is valid for writing two descriptors.
    check(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_STREAM | mode.bits(),
            0,
            pair.as_mut_ptr(),
        )
    })?;
    Ok((owned(pair[0])?, owned(pair[1])?))
}

/// Begins to connect a socket.
///
/// # Errors
/// What the system says, other than that the connection was refused: `ENOENT`, `ENETUNREACH`, `EAGAIN` of a unix
/// socket whose backlog is full ...
pub fn connect(fd: Fd, address: &Address) -> io::Result<Connect> {
    let bytes = address.as_bytes();
    // SAFETY: `bytes` is valid for reading as many bytes as it is long.
    let result =
        unsafe { libc::connect(fd, bytes.as_ptr().cast(), bytes.len() as libc::socklen_t) };
    let Err(error) = check(result) else {
        return Ok(Connect::Done);
    };
    match error.raw_os_error() {
        // An interrupted attempt goes on by itself.
        Some(libc::EINPROGRESS | libc::EINTR) => Ok(Connect::Started),
        Some(libc::ECONNREFUSED) => Ok(Connect::Refused),
        _ => Err(error),
    }
}

/// Gives a socket its own address.
///
/// # Errors
/// What the system says: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` ...
pub fn bind(fd: Fd, address: &Address) -> io::Result<()> {
    let bytes = address.as_bytes();
    // SAFETY: `bytes` is valid for reading as many bytes as it is long.
    check(unsafe { libc::bind(fd, bytes.as_ptr().cast(), bytes.len() as libc::socklen_t) })
}

/// Lets a bound socket take connections.
///
/// # Errors
/// What the system says: `EADDRINUSE`, `ENOTSOCK`, `EOPNOTSUPP`.
pub fn listen(fd: Fd, backlog: i32) -> io::Result<()> {
    // SAFETY: takes no memory.
    check(unsafe { libc::listen(fd, backlog) })
}

/// Takes a connection and its peer's address.
///
/// # Errors
/// What the system says. `WouldBlock`, `Interrupted` and `ConnectionAborted` mean: later; `EMFILE` and `ENFILE`: the
/// connection stays in the backlog, and the listener goes on being readable.
pub fn accept(fd: Fd, mode: Mode) -> io::Result<(OwnedFd, Address)> {
    let (mut address, mut len) = Address::buffer();
    // SAFETY: `address` is valid for writing `len` bytes, and `len` for reading and writing.
    let socket = owned(unsafe { libc::accept4(fd, address.as_mut_ptr(), &mut len, mode.bits()) })?;
    Ok((socket, address.filled(len)))
}

/// The socket's own address.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`.
pub fn local_address(fd: Fd) -> io::Result<Address> {
    let (mut address, mut len) = Address::buffer();
    // SAFETY: `address` is valid for writing `len` bytes, and `len` for reading and writing.
    check(unsafe { libc::getsockname(fd, address.as_mut_ptr(), &mut len) })?;
    Ok(address.filled(len))
}

/// The address that the socket is connected to.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`, `ENOTCONN`.
pub fn peer_address(fd: Fd) -> io::Result<Address> {
    let (mut address, mut len) = Address::buffer();
    // SAFETY: `address` is valid for writing `len` bytes, and `len` for reading and writing.
    check(unsafe { libc::getpeername(fd, address.as_mut_ptr(), &mut len) })?;
    Ok(address.filled(len))
}

/// Ends one direction of a connection, or both.
///
/// # Errors
/// `EBADF`, `ENOTSOCK`, `ENOTCONN`.
pub fn shutdown(fd: Fd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: takes no memory.
    check(unsafe { libc::shutdown(fd, how) })
}

/// The socket's pending error (`SO_ERROR`), which this clears.
///
/// # Errors
/// That error, or `EBADF`, `ENOTSOCK`.
pub fn take_error(fd: Fd) -> io::Result<()> {
    match option(fd, libc::SOL_SOCKET, libc::SO_ERROR)? {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Makes calls on a descriptor fail with `WouldBlock` rather than wait, or the reverse (`evutil_make_socket_nonblocking`).
///
/// # Errors
/// `EBADF`.
pub fn set_nonblocking(fd: Fd, nonblocking: bool) -> io::Result<()> {
    set_flag(
        fd,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::O_NONBLOCK,
        nonblocking,
    )
}

/// Closes a descriptor when a program is executed, or keeps it open (`evutil_make_socket_closeonexec`).
///
/// # Errors
/// `EBADF`.
pub fn set_close_on_exec(fd: Fd, close: bool) -> io::Result<()> {
    set_flag(fd, libc::F_GETFD, libc::F_SETFD, libc::FD_CLOEXEC, close)
}

/// Sends small segments at once rather than gathers them (`TCP_NODELAY`).
///
/// # Errors
/// `EBADF`, `ENOTSOCK`, `EOPNOTSUPP` of a socket that is not TCP.
pub fn set_nodelay(fd: Fd, nodelay: bool) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, i32::from(nodelay))
}

/// Sets an option that is an `int` (`setsockopt`).
///
/// # Errors
/// What the system says: `EBADF`, `ENOTSOCK`, `ENOPROTOOPT`, `EINVAL`.
pub fn set_option(fd: Fd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is valid for reading as many bytes as said.
    check(unsafe { libc::setsockopt(fd, level, name, ptr::from_ref(&value).cast(), size) })
}

/// Closes a descriptor. That it was not open is a matter for its owner, and a failed write-back cannot be made good
/// here, so there is no result.
pub fn close(fd: Fd) {
    // SAFETY: takes no memory. On Linux the number is free after any result, so it is not tried again.
    unsafe { libc::close(fd) };
}

/// The type of a socket (`SOCK_STREAM` ...).
pub(crate) fn socket_type(fd: Fd) -> io::Result<i32> {
    option(fd, libc::SOL_SOCKET, libc::SO_TYPE)
}

/// `EBADF` if the number is of no open descriptor.
pub(crate) fn check_open(fd: Fd) -> io::Result<()> {
    // SAFETY: takes no memory.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })
}

fn option(fd: Fd, level: i32, name: i32) -> io::Result<i32> {
    let mut value = MaybeUninit::<i32>::zeroed();
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is valid for writing `size` bytes, and `size` for reading and writing.
    check(unsafe { libc::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &mut size) })?;
    // SAFETY: an i32 of any bytes, which were zero before the call, is valid.
    Ok(unsafe { value.assume_init() })
}

fn set_flag(fd: Fd, get: i32, set: i32, flag: i32, on: bool) -> io::Result<()> {
    // SAFETY: takes no memory.
    let old = unsafe { libc::fcntl(fd, get) };
    check(old)?;
    let new = if on { old | flag } else { old & !flag };
    if new == old {
        return Ok(());
    }
    // SAFETY: takes no memory.
    check(unsafe { libc::fcntl(fd, set, new) })
}

pub(crate) fn owned(fd: i32) -> io::Result<OwnedFd> {
    check(fd)?;
    // SAFETY: the kernel has just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The system's error if a call's result is negative.
pub(crate) fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
