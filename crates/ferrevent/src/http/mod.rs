//! HTTP/1.1 in the loop: servers and clients, and the rules without input and output that they are made of.
//!
//! A [`Server`] takes connections and hands out what is asked as [`Request`]s: small keys, as everything else that a
//! [`Base`](crate::Base) owns. A request is answered at once or later, as a whole or in parts.
//!
//! ```
//! use ferrevent::Base;
//! use ferrevent::http::{Reply, Server};
//!
//! # fn main() -> ferrevent::Result<()> {
//! let mut base = Base::new()?;
//! let server = Server::new(&mut base, |base, request| {
//!     let text = match request.target(base) {
//!         Some(b"/") => Reply::new(200).field("Content-Type", "text/plain").body("hello\n"),
//!         _ => Reply::new(404),
//!     };
//!     if let Err(error) = request.reply(base, text) {
//!         eprintln!("{error}");
//!     }
//! });
//! let listener = server.bind(&mut base, "127.0.0.1:0".parse().expect("an address"))?;
//! println!("listening on {:?}", listener.address(&base));
//! # server.free(&mut base);
//! base.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] asks, and [`get`] is the short way.
//!
//! The [guide](crate::guide::http) has the rest. What is not about connections comes from the crate `ferrevent-http`: the
//! state machines of both sides ([`server`], [`client`]), [`Uri`], [`query`], [`percent`] and their like. They can be used
//! without a loop.

mod asking;
mod fields;
mod serving;

use std::sync::Arc;

pub use ferrevent_http::{
    BadHead, BadMessage, BadUri, Conformance, Date, Fields, Left, Limits, Method, RequestHead,
    ResponseHead, Step, Uri, Version, client, header, host, html, percent, query, server, status,
};

pub(crate) use self::asking::Asking;
pub use self::asking::{Ask, Client, ClientBuilder, Exchange, Response, ResponseHandler, get};
pub(crate) use self::serving::Serving;
pub use self::serving::{
    Body, Reply, Request, RequestCallbacks, RequestHandler, Server, ServerBuilder, Service,
};
use crate::error::Error;

/// Why a request has come to an end before its answer did.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The other side has ended the connection (`EVREQ_HTTP_EOF`).
    #[error("the other side has ended the connection")]
    Eof,
    /// The other side was silent for too long (`EVREQ_HTTP_TIMEOUT`).
    #[error("the other side was silent for too long")]
    Timeout,
    /// What the other side sent is none, or too long (`EVREQ_HTTP_INVALID_HEADER`, `EVREQ_HTTP_DATA_TOO_LONG`).
    #[error("{0}")]
    Message(BadMessage),
    /// The connection has failed (`EVREQ_HTTP_BUFFER_ERROR`).
    #[error("{0}")]
    Connection(Arc<Error>),
    /// The server was shut down, and its patience has come to an end.
    #[error("the server was shut down")]
    Shutdown,
}
