//! The operating system under ferrevent: readiness, wakers, signals, clocks and sockets of Linux.
//!
//! This is the only crate below the C library in which `unsafe` is allowed, and it consists of little else than calls to
//! the C library's wrappers. They are preferred to raw system calls because programs interpose them (fake clocks,
//! sanitizers, recorders), and because `errno` is part of what the C shell promises to its callers.
//!
//! Descriptors are plain numbers here, as in the contract of [`ferrevent_core::driver`]: a number that is not open gives
//! an error from the system, never undefined behaviour.

mod address;
mod appender;
mod clock;
mod datagram;
mod epoll;
mod poll;
mod readiness;
mod select;
mod signal;
mod socket;
mod system;
mod transport;
mod uring;
mod waker;

pub use address::{Address, resolve};
pub use appender::Appender;
pub use clock::{monotonic, realtime};
pub use datagram::{
    client_socket, configured_families, datagram_socket, is_stream, receive_datagram, send_datagram,
};
pub use epoll::Epoll;
pub use poll::Poll;
pub use select::Select;
pub use signal::{SIGNAL_LIMIT, SignalInbox, fork_generation};
pub use socket::{
    DEFAULT_BACKLOG, Listen, Mode, accept, bind, close, connect, listen, local_address,
    peer_address, set_close_on_exec, set_nodelay, set_nonblocking, set_option, shutdown,
    socket_pair, stream_socket, take_error,
};
pub use system::{Method, Options, System};
pub use transport::{Posix, send_file};
pub use uring::Uring;
pub use waker::Waker;
