//! Bodies that are sent in parts: what goes around each of them.

use crate::write;

/// What to send of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// So many bytes of the part, from its beginning. The rest is thrown away.
    pub send: u64,
    /// This behind them.
    pub after: &'static [u8],
}

impl Part {
    const NOTHING: Self = Self::bare(0);

    const fn bare(send: u64) -> Self {
        Self { send, after: b"" }
    }
}

/// How the reader finds the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body, or none any more.
    Nothing,
    Chunked,
    /// The header fields promise so many more bytes.
    Length(u64),
    UntilClose,
}

impl Framing {
    /// A part of `len` bytes: appends to `out` what is to be sent before it.
    pub(crate) fn part(&mut self, len: u64, out: &mut Vec<u8>) -> Part {
        match self {
            Self::Nothing => Part::NOTHING,
            // An empty chunk would be the last one.
            Self::Chunked if len == 0 => Part::NOTHING,
            Self::Chunked => {
                write::chunk_size(out, len);
                Part {
                    send: len,
                    after: b"\r\n",
                }
            }
            Self::Length(left) => {
                let send = len.min(*left);
                *left -= send;
                Part::bare(send)
            }
            Self::UntilClose => Part::bare(len),
        }
    }

    /// There are no more parts: appends to `out` what says so.
    pub(crate) fn end(self, out: &mut Vec<u8>) {
        if self == Self::Chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Whether more was promised than has come.
    pub(crate) fn is_short(self) -> bool {
        matches!(self, Self::Length(1..))
    }
}
