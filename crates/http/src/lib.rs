//! HTTP/1.x without input and output: the rules for both sides, and what HTTP needs of texts.
//!
//! - [`server::Connection`] reads requests and writes the heads of answers; [`client::Connection`] does the reverse.
//!   They are state machines: they are given what has come, say what to do with it, and never touch a body.
//! - [`Uri`] takes a URI or a relative reference of RFC 3986 apart, changes its parts, and puts it together again
//!   (libevent: `evhttp_uri_parse`, `evhttp_uri_join` and the functions between them).
//! - [`query::parse`] gives the names and values of a query (`evhttp_parse_query_str`).
//! - [`percent`] encodes and decodes (`evhttp_uriencode`, `evhttp_uridecode`).
//! - [`header`] says which names and values a header may have (`evhttp_add_header`).
//! - [`host`] has the names of hosts (`evhttp_add_virtual_host`, `evhttp_request_get_host`).
//! - [`html::escape`] makes a text harmless in HTML (`evhttp_htmlescape`).
//!
//! Nothing here does input or output, and nothing panics, whatever the bytes are.
//!
//! ```
//! use ferrevent_http::{Uri, query};
//!
//! let uri: Uri = "http://example.com:8042/over/there?name=ferret&of=the+year#nose".parse()?;
//! assert_eq!(uri.host(), Some("example.com"));
//! assert_eq!(uri.port(), Some(8042));
//! let pairs = query::parse(uri.query().unwrap_or_default())?;
//! assert_eq!(pairs[1].name, b"of");
//! assert_eq!(pairs[1].value, b"the year");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod body;
pub mod client;
mod date;
mod head;
pub mod header;
pub mod host;
pub mod html;
mod message;
mod method;
mod parts;
pub mod percent;
pub mod query;
pub mod server;
pub mod status;
mod uri;
mod write;

pub use date::Date;
pub use head::{Fields, RequestHead, ResponseHead, Version};
pub use message::{BadMessage, Left, Limits, Step};
pub use method::Method;
pub use uri::{BadUri, Conformance, Uri};
pub use write::BadHead;
