//! The state machines of ferrevent: no input or output, no locks, no user code, no unsafe code.
//!
//! A shell (the Rust crate, or the C library) owns a [`Core`] and a [`Driver`](driver::Driver), and runs the loop:
//!
//! ```text
//!    core.begin_loop(flags);
//!    loop { match core.step() {
//!        Step::Wait { until }    => core.sync(driver); driver.wait(..); core.handle_ready(..); core.wait_done(now)
//!        Step::Event(fired)      => call the user's function
//!        Step::Stream(work)      => read, write, finish connecting, or call back
//!        Step::Task(task)        => whatever the shell queued
//!        Step::Finalize(stream)  => close and give back the memory
//!        Step::Done(end)         => return
//!    } }
//! ```
//!
//! The core changes state and says what is to be done; the shell does it, with the core unborrowed, and tells the core
//! how it went. So a callback may do anything: the core trusts only keys, and a stale key is skipped.
#![forbid(unsafe_code)]

mod active;
mod agenda;
pub mod arena;
mod base;
pub mod buffer;
pub mod driver;
mod event;
mod fds;
mod firing;
mod flags;
mod heap;
mod lanes;
mod looper;
mod places;
mod run;
mod schedule;
mod short;
mod slots;
mod spread;
mod stream;
pub mod tag;
mod timer;
mod users;

pub use crate::base::{Core, Counts, EventKey, Host, StreamKey};
pub use crate::event::{AddError, Added, EventInfo, EventSpec, Fired};
pub use crate::fds::SyncError;
pub use crate::flags::{Dirs, LoopFlags, Options, StreamEvent, Trigger, What};
pub use crate::looper::{LoopEnd, SignalChange, Step, timeout_until};
pub use crate::places::{BLOCK, NoPlaces, Place, Places};
pub use crate::schedule::Clock;
pub use crate::slots::{Slot, Standing};
pub use crate::stream::{
    AfterProcess, Callbacks, Dialed, GroupKey, Handshake, Io, Mode, Processed, RateLimit,
    StageKind, Stream, StreamWork, Watermark,
};
