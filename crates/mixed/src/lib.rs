//! Moving a C program that uses libevent to Rust, one file at a time.
//!
//! Files of C and files of Rust work on the same `struct event_base`, in the same loop. This crate is the Rust side: the
//! names and shapes of the crate `ferrevent`, on the objects of the libevent that the program links, which may be libevent
//! itself or ferrevent's `libevent-2.1.so.7`. When no C file is left, `use ferrevent_mixed::…` becomes `use ferrevent::…`,
//! and nothing is `unsafe` any more.
//!
//! ```no_run
//! use ferrevent_mixed::raw::{bufferevent, event_base};
//! use ferrevent_mixed::{Base, BufferEvent, Callbacks, Dirs};
//!
//! /// Declared in a C header as `void echo_start(struct event_base *, struct bufferevent *);`
//! ///
//! /// # Safety
//! /// Both are live, and the bufferevent is ours from now on.
//! #[unsafe(no_mangle)]
//! pub unsafe extern "C" fn echo_start(base: *mut event_base, bev: *mut bufferevent) {
//!     // SAFETY: the caller's promise.
//!     let mut base = unsafe { Base::from_raw(base) };
//!     // SAFETY: the caller's promise.
//!     let bev = unsafe { BufferEvent::from_raw(&mut base, bev) };
//!     let echo = Callbacks::new()
//!         .read(|base, bev| _ = bev.forward(base, bev))
//!         .event(|base, bev, _condition| _ = bev.free(base));
//!     bev.set_handler(&mut base, echo);
//!     if bev.enable(&mut base, Dirs::READ).is_err() {
//!         bev.free(&mut base);
//!     }
//! }
//! ```
//!
//! The guide is `docs/migrating.md` of the repository: in which order to move files, how they are linked, and an example
//! with all its steps.
//!
//! # Who owns what
//!
//! Each object has one owner, which frees it; the other side may use it as long as it is there. The names of the functions
//! say which:
//!
//! | function | before | after |
//! |---|---|---|
//! | `from_raw` | C owns it | Rust owns it; C may use it, but neither frees it nor sets its callbacks |
//! | `borrow_raw` | C owns it | C owns it, and frees it after Rust has forgotten it (`free`) |
//! | `as_raw` | Rust owns it | Rust owns it; C may use it while it exists |
//! | `into_raw` | Rust owns it | C owns it; the key is stale |
//!
//! [`Base::from_raw`] is the exception: a base that C has made stays C's. [`Base::new`] makes one that Rust owns, and
//! `as_raw` gives C its address.
//!
//! Keys ([`Event`], [`BufferEvent`], [`Listener`]) never dangle: one of what was freed gives `None`, `false` or
//! [`Error::Stale`]. Closures belong to the object that they were given to, and are dropped exactly once: with it, when
//! another one takes their place, or after they have returned if either happens while they run.
//!
//! What Rust cannot see is what C does with Rust's objects against this table, and it is what the `unsafe` of `from_raw`
//! is about. One case is noticed: a bufferevent that Rust owns and C frees. Its memory stays until Rust has seen it.
//!
//! # Panics
//!
//! A panic in a callback never enters C. Under a loop that Rust runs ([`Base::run`]) it ends the loop and goes on from
//! there; the closure is dropped, and its event freed. Under a loop that C runs there is nowhere to go, and the program is
//! aborted, with a message.
//!
//! # Threads
//!
//! A base, and whatever Rust has on it, stays on the thread that runs its loop: nothing here is `Send`. That a callback
//! comes on another thread aborts the program. To reach the loop from elsewhere there is [`Base::remote`], which needs no
//! locks in libevent.
//!
//! # Linking
//!
//! Programs link `-levent`; with `FERREVENT_LIB_DIR` set while this crate is built, that of this folder. A static library
//! of Rust (`crate-type = ["staticlib"]`) leaves that to the C linker.

mod address;
mod base;
mod buffer;
mod bufferevent;
mod error;
mod event;
mod ffi;
mod http;
mod listener;
mod remote;
mod seat;
mod shared;
mod state;

pub use ferrevent_core::buffer::{BufferError, Eol, EolStyle};
pub use ferrevent_core::{Dirs, LoopEnd, LoopFlags, Watermark, What};

pub use crate::base::Base;
pub use crate::buffer::{Buffer, OwnedBuffer};
pub use crate::bufferevent::{
    BufferEvent, BufferEventBuilder, BufferMut, Callbacks, Condition, Handler, Listens,
};
pub use crate::error::{Error, Result};
pub use crate::event::{Event, Pending};
pub use crate::http::HttpRequest;
pub use crate::listener::Listener;
pub use crate::remote::Remote;
pub use crate::state::{State, StateMut};

/// libevent's own types, as they are in the signatures of functions that C calls and Rust defines, or the reverse. There is
/// nothing to be done with them but to point to them.
pub mod raw {
    pub use crate::ffi::{
        bufferevent, evbuffer, evconnlistener, event, event_base, evhttp_request,
    };
}
