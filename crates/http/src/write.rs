//! Writing heads.

use thiserror::Error;

use crate::body::length;
use crate::header::{self, Connection, Kind};

/// Why a head is not written. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadHead {
    /// A name or a value that no header can have: it would be read as something else ([`header`](crate::header)).
    #[error("a header cannot be written")]
    Field,
    /// A status that has not three digits.
    #[error("the status is none")]
    Code,
    /// A target with control characters, or none; a method without a name.
    #[error("the target or the method is none")]
    Target,
    /// A body in parts that HTTP/1.0 could not find the end of, since it has no `Content-Length`; or the end of one that is
    /// shorter than its `Content-Length`.
    #[error("the length of the body is missing, or not reached")]
    Length,
    /// The answer has been given, or nothing was asked; the last request is not answered yet.
    #[error("it is not the time for it")]
    NotNow,
}

/// What the fields that a program sets say about what HTTP itself would set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    pub(crate) date: bool,
    pub(crate) host: bool,
    pub(crate) content_type: bool,
    pub(crate) codings: bool,
    pub(crate) length: GivenLength,
    pub(crate) connection: Connection,
    /// `Expect: 100-continue`
    pub(crate) expects_continue: bool,
    /// Which of the first 64 fields are known to HTTP.
    known: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GivenLength {
    #[default]
    Missing,
    Of(u64),
    /// It is none, or there are several.
    Bad,
}

impl Given {
    /// # Errors
    /// [`BadHead::Field`]
    pub(crate) fn of<'a>(
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, BadHead> {
        let mut given = Self::default();
        for (i, (name, value)) in fields.enumerate() {
            if !header::is_name(name) || !header::is_value(value) {
                return Err(BadHead::Field);
            }
            let kind = Kind::of(name);
            if kind != Kind::Plain {
                given.note(kind, value);
                given.known |= 1_u64.checked_shl(i as u32).unwrap_or(0);
            }
        }
        Ok(given)
    }

    /// The kind of the field `name`, the one with the number `i`.
    pub(crate) fn kind(&self, i: usize, name: &[u8]) -> Kind {
        match i {
            0..64 if self.known >> i & 1 == 0 => Kind::Plain,
            _ => Kind::of(name),
        }
    }

    fn note(&mut self, kind: Kind, value: &[u8]) {
        match kind {
            Kind::Date => self.date = true,
            Kind::Host => self.host = true,
            Kind::Type => self.content_type = true,
            Kind::Codings => self.codings = true,
            Kind::Connection => self.connection.note(value),
            Kind::Length => {
                self.length = match (self.length, length(value)) {
                    (GivenLength::Missing, Some(n)) => GivenLength::Of(n),
                    _ => GivenLength::Bad,
                }
            }
            Kind::Expect => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            Kind::ProxyConnection | Kind::Plain => {}
        }
    }
}

/// A line of a head.
pub(crate) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The field `Content-Length`.
pub(crate) fn length_field(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(b"Content-Length: ");
    decimal(out, n);
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn decimal(out: &mut Vec<u8>, n: u64) {
    digits(out, n, 10);
}

/// The line before a chunk.
pub(crate) fn chunk_size(out: &mut Vec<u8>, n: u64) {
    digits(out, n, 16);
    out.extend_from_slice(b"\r\n");
}

fn digits(out: &mut Vec<u8>, mut n: u64, base: u64) {
    let mut text = [0; 20];
    let mut start = text.len();
    loop {
        start -= 1;
        text[start] = b"0123456789abcdef"[(n % base) as usize];
        n /= base;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[start..]);
}
