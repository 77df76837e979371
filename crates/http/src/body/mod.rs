//! Where the body of a message ends (RFC 9112, section 6).

mod chunked;

pub(crate) use chunked::{Chunk, Chunks};

use crate::head::{Known, Version};
use crate::header;
use crate::message::BadMessage;

/// What follows a head.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many more bytes.
    Length(u64),
    /// All that comes.
    UntilClose,
    Chunked(Chunks),
}

impl Body {
    pub(crate) const NONE: Self = Self::Length(0);

    /// That of a request, whatever its method is. libevent takes the body of a `HEAD` for the next request.
    pub(crate) fn of_request(known: &Known, version: Version) -> Result<Self, BadMessage> {
        match (known.length, known.codings) {
            (Length::Missing, Codings::Missing) => Ok(Self::NONE),
            (Length::Of { n, repeated: false }, Codings::Missing) => Ok(Self::Length(n)),
            (Length::Missing, Codings::ChunkedLast) if version == Version::Http11 => {
                Ok(Self::Chunked(Chunks::default()))
            }
            (_, Codings::Missing) => Err(BadMessage::Length),
            _ => Err(BadMessage::Codings),
        }
    }

    /// That of a response, if its status and the request's method let it have one.
    pub(crate) fn of_response(known: &Known, version: Version) -> Result<Self, BadMessage> {
        match (known.length, known.codings) {
            (Length::Missing, Codings::Missing) => Ok(Self::UntilClose),
            (Length::Of { n, .. }, Codings::Missing) => Ok(Self::Length(n)),
            (Length::Bad, Codings::Missing) => Err(BadMessage::Length),
            (Length::Missing, Codings::ChunkedLast) => Ok(Self::Chunked(Chunks::lenient())),
            (Length::Missing, Codings::NotChunked) if version == Version::Http11 => {
                Ok(Self::UntilClose)
            }
            _ => Err(BadMessage::Codings),
        }
    }

    /// Whether its length is already known to be more than `limit`.
    pub(crate) fn is_longer_than(&self, limit: u64) -> bool {
        matches!(self, Self::Length(n) if *n > limit)
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Length(0))
    }
}

/// What the fields `Content-Length` say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Length {
    #[default]
    Missing,
    Of {
        n: u64,
        /// Several times the same.
        repeated: bool,
    },
    Bad,
}

impl Length {
    pub(crate) fn note(&mut self, value: &[u8]) {
        *self = match (*self, length(value)) {
            (Self::Missing, Some(n)) => Self::Of { n, repeated: false },
            (Self::Of { n: before, .. }, Some(n)) if before == n => Self::Of { n, repeated: true },
            _ => Self::Bad,
        };
    }
}

/// Digits only: no sign, no list, no blanks. What is more than a number can be is the largest one, which is over any
/// limit, or is never reached.
pub(crate) fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(value.iter().fold(0, number))
}

/// What the fields `Transfer-Encoding` say, all of them together as one list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Codings {
    #[default]
    Missing,
    /// There are some, without `chunked`.
    NotChunked,
    /// `chunked`, once, as the last one.
    ChunkedLast,
    /// `chunked` before others or twice, or nothing at all in the field.
    Bad,
}

impl Codings {
    pub(crate) fn note(&mut self, value: &[u8]) {
        let mut members = header::list(value).peekable();
        if members.peek().is_none() {
            *self = Self::Bad;
        }
        for coding in members {
            let chunked = coding.eq_ignore_ascii_case(b"chunked");
            *self = match (*self, chunked) {
                (Self::Missing | Self::NotChunked, true) => Self::ChunkedLast,
                (Self::Missing | Self::NotChunked, false) => Self::NotChunked,
                _ => Self::Bad,
            };
        }
    }
}
