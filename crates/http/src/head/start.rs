//! The first line of a message.

use super::{Span, Version};
use crate::message::BadMessage;
use crate::{BadUri, Conformance, Method, Uri, header};

/// `GET /index.html HTTP/1.1`
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    pub(crate) method_name: Span,
    pub(crate) target: Span,
    pub(crate) version: Version,
}

/// `HTTP/1.1 200 OK`
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusLine {
    pub(crate) version: Version,
    pub(crate) code: u16,
    pub(crate) reason: Span,
}

impl RequestLine {
    /// Exactly one space between its parts, and none elsewhere: whoever takes a line with more of them for a request
    /// may see another target in it than the next one does.
    pub(super) fn parse(line: &[u8]) -> Result<Self, BadMessage> {
        let bad = BadMessage::FirstLine;
        let name_end = header::token_len(line);
        let (name, rest) = line.split_at(name_end);
        let ([_, ..], [b' ', rest @ ..]) = (name, rest) else {
            return Err(bad);
        };
        let target_len = memchr::memchr(b' ', rest).ok_or(bad)?;
        let (target, version) = (&rest[..target_len], &rest[target_len + 1..]);
        let version = version_of(version).ok_or(BadMessage::Version)?;
        let method = Method::of(name);
        if !is_target(method, target) {
            return Err(BadMessage::Target);
        }
        Ok(Self {
            method,
            method_name: Span::new(0, name_end),
            target: Span::new(name_end + 1, name_end + 1 + target_len),
            version,
        })
    }
}

impl StatusLine {
    /// The reason may be missing, and so may the space before it.
    pub(super) fn parse(line: &[u8]) -> Result<Self, BadMessage> {
        let bad = BadMessage::FirstLine;
        let (version, rest) = line.split_at_checked(8).ok_or(bad)?;
        let version = version_of(version).ok_or(BadMessage::Version)?;
        let [b' ', code @ ..] = rest else {
            return Err(bad);
        };
        let (digits, reason) = code.split_at_checked(3).ok_or(bad)?;
        if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
            return Err(bad);
        }
        let number = |sum: u16, digit: &u8| sum * 10 + u16::from(digit - b'0');
        let code = digits.iter().fold(0, number);
        let reason_start = match reason {
            [] => line.len(),
            [b' ', text @ ..] if header::is_value(text) => line.len() - text.len(),
            _ => return Err(bad),
        };
        Ok(Self {
            version,
            code,
            reason: Span::new(reason_start, line.len()),
        })
    }
}

/// A higher minor version than 1 is refused too: what it would change about the end of a message is not known.
fn version_of(text: &[u8]) -> Option<Version> {
    match text {
        b"HTTP/1.1" => Some(Version::Http11),
        b"HTTP/1.0" => Some(Version::Http10),
        _ => None,
    }
}

fn is_target(method: Method, target: &[u8]) -> bool {
    // Without an early end, which lets the compiler look at many bytes at once.
    let odd = |odd: bool, &byte: &u8| odd | (byte <= b' ') | (byte == 0x7f);
    if target.is_empty() || target.iter().fold(false, odd) {
        return false;
    }
    match target {
        // A path with whatever behind it needs no closer look.
        [b'/'] => method != Method::Connect,
        [b'/', second, ..] if *second != b'/' && method != Method::Connect => true,
        _ => uri(method, target).is_ok(),
    }
}

/// libevent takes the targets of clients leniently, as [`Conformance::Lenient`].
pub(super) fn uri(method: Method, target: &[u8]) -> Result<Uri, BadUri> {
    if method != Method::Connect {
        return Uri::parse_with(target, Conformance::Lenient);
    }
    let uri = Uri::parse([b"//", target].concat())?;
    let only_authority = uri.path().unwrap_or_default().is_empty()
        && uri.query().is_none()
        && uri.fragment().is_none()
        && uri.user_info().is_none()
        && uri.host().is_some_and(|host| !host.is_empty());
    only_authority.then_some(uri).ok_or(BadUri::Path)
}

/// What a client may send as a target: no control characters, and something.
pub(crate) fn is_sendable_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().all(|&byte| byte >= b' ' && byte != 0x7f)
}
