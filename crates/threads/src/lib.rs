//! How ferrevent's threads wake, post to and wait for each other.
//!
//! These are the protocols, without the locks that they run on: the library gives them POSIX mutexes, `std`'s, or
//! atomics, and the tests give them loom's, which try every order in which threads can run. So what is checked is what
//! runs, and not a copy of it.
//!
//! - [`Notice`]: a wake-up that is made at most once until it is seen.
//! - [`Mailbox`]: what other threads have posted to a loop.
//! - [`Turns`]: whose turn it is on a base that several threads use: which thread loops, whether it waits, and which
//!   event's callback runs.
//!
//! Nothing here makes a system call or runs user code.

#![forbid(unsafe_code)]

mod mailbox;
mod notice;
mod primitives;
mod turns;

pub use mailbox::Mailbox;
pub use notice::Notice;
pub use primitives::{Flag, Locked, Primitives, Std};
pub use turns::{Monitor, Turns, wait_until_returned};
