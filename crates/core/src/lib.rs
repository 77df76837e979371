//! The state machines of ferrevent: no input or output, no locks, no user code, no unsafe code.
#![forbid(unsafe_code)]

pub mod buffer;
pub mod driver;
