//! Percent coding: `%20` for a byte that may not stand for itself.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// What stands for itself: what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// How a space is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// As `%20`.
    Percent,
    /// As `+`, as forms do it in queries.
    Plus,
}

/// What a `+` means when it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plus {
    /// Itself.
    Plus,
    /// A space, as in the query of a form.
    Space,
    /// A space behind the first `?`, and itself before: for whole URIs. (libevent: `evhttp_decode_uri`.)
    SpaceInQuery,
}

/// Encodes everything but letters, digits and `-._~`. (libevent: `evhttp_uriencode`.)
///
/// ```
/// use ferrevent_http::percent::{self, Space};
///
/// assert_eq!(percent::encode(b"a b+c", Space::Percent), "a%20b%2Bc");
/// assert_eq!(percent::encode(b"a b+c", Space::Plus), "a+b%2Bc");
/// ```
pub fn encode(text: &[u8], space: Space) -> String {
    match space {
        Space::Percent => percent_encode(text, RESERVED).to_string(),
        Space::Plus => {
            let words = text.split(|&byte| byte == b' ');
            let words = words.map(|word| percent_encode(word, RESERVED).to_string());
            words.collect::<Vec<_>>().join("+")
        }
    }
}

/// Decodes. A `%` without two hexadecimal digits behind it stands for itself. The result may have any bytes in it,
/// zeros too. (libevent: `evhttp_uridecode`.)
///
/// ```
/// use ferrevent_http::percent::{self, Plus};
///
/// assert_eq!(percent::decode(b"a%20b+c%", Plus::Space), b"a b c%");
/// ```
pub fn decode(text: &[u8], plus: Plus) -> Vec<u8> {
    let first_space = match plus {
        Plus::Plus => text.len(),
        Plus::Space => 0,
        Plus::SpaceInQuery => text.iter().position(|&b| b == b'?').unwrap_or(text.len()),
    };
    let mut text = Cow::Borrowed(text);
    // Before the decoding: a `%2B` is a `+` that stays.
    if text[first_space..].contains(&b'+') {
        for byte in &mut text.to_mut()[first_space..] {
            if *byte == b'+' {
                *byte = b' ';
            }
        }
    }
    percent_decode(&text).collect()
}
