//! An event loop, segmented buffers and buffered connections: libevent's ideas, as a safe Rust library.
//!
//! A [`Base`] runs callbacks as things happen. A [`BufferEvent`] is a connection that the base reads and writes for you: bytes
//! come in by one [`Buffer`], go out by another one, and your [`Handler`] is told. A [`Listener`] takes connections, an
//! [`Event`] waits for anything else: a descriptor, a timer, a signal.
//!
//! ```
//! use ferrevent::{Base, BufferEvent, Condition, Dirs, Handler, Listener};
//!
//! /// Sends back whatever comes.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn read(&mut self, base: &mut Base, bev: BufferEvent) {
//!         if bev.forward(base, bev).is_err() {
//!             bev.free(base);
//!         }
//!     }
//!
//!     fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
//!         println!("{condition}");
//!         bev.free(base);
//! #       base.loop_break();
//!     }
//! }
//!
//! # fn main() -> ferrevent::Result<()> {
//! let mut base = Base::new()?;
//! let anywhere = "127.0.0.1:0".parse().expect("an address");
//! let listener = Listener::bind(&mut base, anywhere, |base, _, stream, peer| {
//!     println!("{peer} has come");
//!     let bev = BufferEvent::new(base, stream).and_then(|bev| {
//!         bev.set_handler(base, Echo);
//!         bev.enable(base, Dirs::READ)
//!     });
//!     if let Err(error) = bev {
//!         eprintln!("{peer}: {error}");
//!     }
//! })?;
//! # let address = listener.address(&base).expect("it listens");
//! # drop(std::net::TcpStream::connect(address)?);
//! base.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! Everything belongs to the base; you hold small keys, which are copied freely and never dangle. A callback gets the
//! base as `&mut Base` and may do anything with it: free the very object that calls, write to another connection, make new
//! ones. No locks, no `Rc<RefCell<..>>`.
//!
//! The [guide] explains it all: [the loop](guide::event_loop), [buffers](guide::buffers),
//! [bufferevents](guide::bufferevents), [names](guide::names), [HTTP](guide::http), and [where libevent's names have gone](guide::coming_from_libevent). The
//! examples are programs that one would really start: an echo server, a TCP proxy with back-pressure, a chat room, an
//! HTTP server, an HTTP client.
#![forbid(unsafe_code)]

mod base;
mod bufferevent;
mod builder;
pub mod dns;
mod error;
mod event;
mod file;
pub mod http;
mod inspect;
mod listener;
mod remote;
mod run;
mod seat;

use std::time::Duration;

pub use ferrevent_core::buffer::{
    Buffer, BufferError, Change, End, Eol, EolStyle, FileContent, FilePiece,
};
pub use ferrevent_core::driver;
pub use ferrevent_core::{Counts, Dirs, LoopEnd, LoopFlags, Mode, Watermark, What};
pub use ferrevent_sys::{Appender, Method};

pub use crate::base::Base;
#[cfg(feature = "tls-native-roots")]
pub use crate::bufferevent::tls_native_client_config;
pub use crate::bufferevent::{
    BufferEvent, BufferEventBuilder, BufferMut, Callbacks, Condition, Handler, Listens, Progress,
    RateGroup, RateLimit, Stage,
};
#[cfg(feature = "tls")]
pub use crate::bufferevent::{TlsSession, tls_client_config};
pub use crate::builder::{Builder, Warning};
pub use crate::error::{Error, Result};
pub use crate::event::{Event, Pending};
pub use crate::file::FileSegment;
pub use crate::inspect::Dump;
pub use crate::listener::{Listener, ListenerBuilder};
pub use crate::remote::Remote;

/// How it works, and how to use it.
pub mod guide {
    #[doc = include_str!("../docs/loop.md")]
    pub mod event_loop {}

    #[doc = include_str!("../docs/buffers.md")]
    pub mod buffers {}

    #[doc = include_str!("../docs/bufferevents.md")]
    pub mod bufferevents {}

    #[doc = include_str!("../docs/names.md")]
    pub mod names {}

    #[doc = include_str!("../docs/http.md")]
    pub mod http {}

    #[cfg(feature = "tls")]
    #[doc = include_str!("../docs/tls.md")]
    pub mod tls {}

    #[doc = include_str!("../docs/coming_from_libevent.md")]
    pub mod coming_from_libevent {}
}

/// The core counts time in nanoseconds; 584 years are for ever.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
