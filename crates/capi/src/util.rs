//! `event2/util.h`: what libevent offers beside its own objects.
//!
//! `evutil_gettimeofday`, `evutil_socket_geterror`, the `evutil_timer...` functions and some more are macros of that
//! header on this system; there is nothing to export for them.

pub mod address;
pub mod clock;
pub mod random;
pub mod resolve;
pub mod socket;
pub mod text;

pub(crate) use address::socket_address;
pub(crate) use random::random_bytes;
pub(crate) use resolve::{evutil_freeaddrinfo, evutil_getaddrinfo};
