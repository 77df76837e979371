//! A notice board: notes by name, which are told of, kept in a journal, and may expire. Its Rust files, in the order in
//! which they take the place of C files. They are the same at each step, with C around them and without: only which crate
//! they use changes, here.

// Which modules nobody uses yet depends on the step.
#![cfg_attr(not(feature = "alone"), allow(dead_code))]
#![cfg_attr(feature = "alone", forbid(unsafe_code))]

#[cfg(feature = "alone")]
mod event {
    pub(crate) use ferrevent::{
        Base, Buffer as OwnedBuffer, Buffer, BufferEvent, Callbacks, Condition, Dirs, EolStyle,
        Event, Handler, Listener,
    };
}
#[cfg(not(feature = "alone"))]
mod event {
    pub(crate) use ferrevent_mixed::{
        Base, Buffer, BufferEvent, Callbacks, Condition, Dirs, EolStyle, Event, Handler, Listener,
        OwnedBuffer,
    };
}

#[cfg(not(feature = "alone"))]
pub mod for_c;
pub mod journal;
pub mod run;
pub mod server;
pub mod session;
pub mod store;
