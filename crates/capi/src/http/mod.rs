//! `event2/http.h`.
//!
//! * `uri`, `text`, `headers`: what works on texts and lists of headers;
//! * `request` and `connection`: what servers and clients share;
//! * `server`: servers;
//! * `client`: clients.
//!
//! The rules are those of `ferrevent-http`. Connections, requests and servers belong to the thread that runs their base's
//! loop, as in libevent: they have no locks.

pub mod client;
pub mod connection;
pub mod headers;
pub mod request;
pub mod server;
pub mod text;
pub mod uri;

use std::ffi::{CStr, c_char};

pub use server::evhttp;

/// The bytes of a string, or `None` for NULL.
///
/// # Safety
/// `text` is NULL or a string that lives and stays the same as long as the result is used.
unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}
