//! Where one part ends and the next one begins. What is in them is checked later.

use super::{BadUri, grammar};

/// A text in pieces.
pub(super) struct Pieces<'a> {
    pub(super) scheme: Option<&'a [u8]>,
    pub(super) authority: Option<Authority<'a>>,
    pub(super) path: &'a [u8],
    pub(super) query: Option<&'a [u8]>,
    pub(super) fragment: Option<&'a [u8]>,
}

/// What is between `//` and the path.
pub(super) struct Authority<'a> {
    pub(super) user_info: Option<&'a [u8]>,
    pub(super) host: &'a [u8],
    port: Option<&'a [u8]>,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        let (scheme, rest) = match split_at_first(text, b':') {
            (scheme, Some(rest)) if grammar::scheme(scheme).is_some() => (Some(scheme), rest),
            _ => (None, text),
        };
        let (rest, fragment) = split_at_first(rest, b'#');
        let (rest, query) = split_at_first(rest, b'?');
        let (authority, path) = match rest.strip_prefix(b"//") {
            Some(rest) => {
                let end = position(rest, b'/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                (Some(Authority::of(authority)), path)
            }
            None => (None, rest),
        };
        Self {
            scheme,
            authority,
            path,
            query,
            fragment,
        }
    }
}

impl<'a> Authority<'a> {
    fn of(text: &'a [u8]) -> Self {
        let (user_info, rest) = match split_at_first(text, b'@') {
            (user_info, Some(rest)) => (Some(user_info), rest),
            (rest, None) => (None, rest),
        };
        // An address in brackets has colons of its own.
        let address = match rest {
            [b'[', ..] => position(rest, b']').unwrap_or(0),
            _ => 0,
        };
        match rest.iter().rposition(|&byte| byte == b':') {
            Some(colon) if colon >= address => Self {
                user_info,
                host: &rest[..colon],
                port: Some(&rest[colon + 1..]),
            },
            _ => Self {
                user_info,
                host: rest,
                port: None,
            },
        }
    }

    /// The port, which may be left out behind its colon.
    pub(super) fn port(&self) -> Result<Option<u32>, BadUri> {
        let Some(digits) = self.port.filter(|digits| !digits.is_empty()) else {
            return Ok(None);
        };
        let mut port = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(BadUri::Port);
            }
            port = port * 10 + u32::from(digit - b'0');
            if port > u32::from(u16::MAX) {
                return Err(BadUri::Port);
            }
        }
        Ok(Some(port))
    }
}

/// What is before the first `mark`, and what is behind it, if there is one.
fn split_at_first(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match position(text, mark) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn position(text: &[u8], byte: u8) -> Option<usize> {
    text.iter().position(|&other| other == byte)
}
