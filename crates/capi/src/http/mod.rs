//! `event2/http.h`: what works on texts and lists of headers. (Connections and servers are not there yet.)
//!
//! The rules are those of `ferrevent-http`.

pub mod headers;
pub mod text;
pub mod uri;

use std::ffi::{CStr, c_char};

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
