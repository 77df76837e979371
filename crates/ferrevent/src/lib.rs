//! ferrevent: libevent's event loop, buffers and bufferevents, for Rust.
#![forbid(unsafe_code)]

mod base;
mod bufferevent;
mod builder;
mod error;
mod event;
mod listener;
mod remote;
mod run;
mod seat;

use std::time::Duration;

pub use ferrevent_core::buffer::{Buffer, BufferError, Change, End, Eol, EolStyle};
pub use ferrevent_core::driver;
pub use ferrevent_core::{Dirs, LoopEnd, LoopFlags, Watermark, What};
pub use ferrevent_sys::Method;

pub use crate::base::Base;
pub use crate::bufferevent::{
    BufferEvent, BufferEventBuilder, BufferMut, Callbacks, Condition, Handler, Listens,
};
pub use crate::builder::{Builder, Warning};
pub use crate::error::{Error, Result};
pub use crate::event::{Event, Pending};
pub use crate::listener::{Listener, ListenerBuilder};
pub use crate::remote::Remote;

/// The core counts time in nanoseconds; 584 years are for ever.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
