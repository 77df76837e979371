//! The C interface of libevent 2.1, one module per header.
//!
//! Every exported function is a thin shell around `ferrevent-core`: it finds the object behind a pointer, lets the core
//! change its state, and then, with nothing borrowed, does what the core asked for. No Rust reference to an object is
//! alive while user code runs; a callback may free the object that calls it.
//!
//! Pointers that a C program passes in are trusted as far as C must trust them: they are NULL where libevent allows it,
//! or point to a live object that this library made (or initialised). That contract is what "the C API's contract"
//! means in the `SAFETY` comments.

pub mod abi;
pub mod base;
pub mod buffer;
pub mod bufferevent;
pub mod config;
pub mod debug;
pub mod dns;
pub mod event;
pub mod finalize;
mod held;
pub mod http;
pub mod inspect;
mod large;
pub mod listener;
mod lock;
pub mod log;
pub mod memory;
pub mod rpc;
pub mod shared_timeout;
pub mod tag;
pub mod thread;
pub mod util;
