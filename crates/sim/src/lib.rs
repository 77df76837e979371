//! A simulated operating system for ferrevent: a virtual clock, stream sockets in memory, and faults drawn from a seed.
//!
//! A [`World`] is shared by the code under test, which sees it through a [`SimDriver`] and a [`SimTransport`], and by
//! the test, which plays the remote ends of connections through [`Peer`]s. Nothing here depends on anything but the
//! calls made and the seed: the same seed gives the same [trace](World::trace).
//!
//! ```
//! use std::time::Duration;
//! use ferrevent_core::driver::{Driver, Interest, Token};
//! use ferrevent_sim::{Faults, World};
//!
//! let world = World::new(7, Faults::none());
//! let mut driver = world.driver();
//! let (fd, peer) = world.pair();
//! driver.register(Token { fd, generation: 0 }, Interest::READ)?;
//! world.after(Duration::from_secs(3600), move |_| {
//!     peer.send(b"an hour later").expect("connected");
//! });
//! let mut ready = Vec::new();
//! driver.wait(None, &mut ready)?;
//! assert_eq!(ready[0].token.fd, fd);
//! assert!(driver.now() >= 3_600_000_000_000);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What is modelled is what Linux does with TCP: bounded buffers, room reported from a third free on, edges that come
//! with changes only, unread bytes that survive a reset, the lowest free descriptor number given out first.
#![forbid(unsafe_code)]

mod driver;
mod endpoint;
mod errors;
mod faults;
mod peer;
mod random;
mod state;
mod transport;
mod world;

pub use driver::SimDriver;
pub use faults::Faults;
pub use peer::Peer;
pub use random::Random;
pub use transport::SimTransport;
pub use world::{Dial, World};
