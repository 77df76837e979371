//! DNS as state machines: a resolver, and what a server needs.
//!
//! [`Resolver`] looks names up. It opens no socket and reads no clock; its shell does, and tells it what came of that:
//!
//! 1. start something: [`look_up`](Resolver::look_up), [`get_address_info`](Resolver::get_address_info);
//! 2. do what [`poll_action`](Resolver::poll_action) says until it says nothing: send, and close sockets;
//! 3. take the results from [`poll_finished`](Resolver::poll_finished), and call whoever asked, with nothing borrowed;
//! 4. wait until [`next_timeout`](Resolver::next_timeout), or until a socket has something, and report that:
//!    [`handle_datagram`](Resolver::handle_datagram), [`handle_stream`](Resolver::handle_stream),
//!    [`handle_failure`](Resolver::handle_failure), [`handle_timeout`](Resolver::handle_timeout). Then go on at 2.
//!
//! Times are nanoseconds on any clock that does not go back. Randomness comes from the shell ([`Random`]), so that the
//! same bytes and times lead to the same queries.
//!
//! The wire format is read and written with the crate `domain` of NLnet Labs: it parses lazily and without allocating,
//! has no runtime, and brings few dependencies (`hickory-proto` needs `idna` and `url` even in its smallest form). Its
//! types do not appear in this crate's interface.

#![forbid(unsafe_code)]

mod addresses;
mod answer;
mod cache;
mod config;
mod frames;
mod hosts;
mod message;
mod name;
mod options;
mod random;
mod resolv_conf;
mod resolver;
pub mod server;

pub use addresses::{AddressError, AddressList, AddressQuery, Family};
pub use answer::{Answer, Failure, Finished, LookupResult, Records};
pub use config::Config;
pub use frames::Frames;
pub use hosts::Hosts;
pub use name::{BadName, Name};
pub use options::BadOption;
pub use random::Random;
pub use resolv_conf::{ConfParts, ResolvConf, domain, server_address};
pub use resolver::{Action, LookupKey, Protocol, Question, Resolver, SocketKey, Transmit};
