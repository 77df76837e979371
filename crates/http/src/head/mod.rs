//! The heads of messages: the first line, and the header fields.

mod judged;
mod lines;
mod start;

pub(crate) use judged::{Expect, Known};
pub(crate) use lines::{Lines, Mode};
pub(crate) use start::{RequestLine, StatusLine, is_sendable_target};

use std::fmt;

use crate::{BadUri, Method, Uri};

/// The version of a message. There are no others that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// What is behind the point.
    pub fn minor(self) -> u8 {
        match self {
            Self::Http10 => 0,
            Self::Http11 => 1,
        }
    }

    pub(crate) fn text(self) -> &'static [u8] {
        match self {
            Self::Http10 => b"HTTP/1.0",
            Self::Http11 => b"HTTP/1.1",
        }
    }
}

/// Where something is in the block of a head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The limit of a head ([`Limits::MOST_HEAD`](crate::Limits::MOST_HEAD)) keeps all of its positions in 32 bits.
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    fn of(self, block: &[u8]) -> &[u8] {
        block
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FieldSpan {
    name: Span,
    value: Span,
}

/// The header fields of a message, in their order.
///
/// Names are tokens. Values have no CR, no LF, no zero byte, and no blanks around them.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    block: &'a [u8],
    spans: &'a [FieldSpan],
}

impl<'a> Fields<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let block = self.block;
        let parts = move |span: &FieldSpan| (span.name.of(block), span.value.of(block));
        self.spans.iter().map(parts)
    }

    /// The value of the first one of that name, in any case of letters (`evhttp_find_header`).
    pub fn find(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The values of all of that name, in any case of letters.
    pub fn all<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let named = move |field: &(&[u8], &[u8])| field.0.eq_ignore_ascii_case(name);
        self.iter().filter(named).map(|(_, value)| value)
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = |(name, value): (&[u8], &[u8])| {
            (
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(value).into_owned(),
            )
        };
        f.debug_map().entries(self.iter().map(texts)).finish()
    }
}

/// The head of a request.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub(crate) lines: &'a Lines,
    pub(crate) line: &'a RequestLine,
}

impl<'a> RequestHead<'a> {
    /// What is asked for (`evhttp_request_get_command`).
    pub fn method(&self) -> Method {
        self.line.method
    }

    /// The method's name, which is that of [`method`](Self::method) unless it is another one.
    pub fn method_name(&self) -> &'a [u8] {
        self.line.method_name.of(self.lines.block())
    }

    /// The target as it stands in the request (`evhttp_request_get_uri`): printable ASCII, or any byte from 0x80 on.
    pub fn target(&self) -> &'a [u8] {
        self.line.target.of(self.lines.block())
    }

    /// The target's parts (`evhttp_request_get_evhttp_uri`). That of a `CONNECT` has a host and a port only.
    ///
    /// # Errors
    /// None for a request that was read: the reader refuses a target that is none.
    pub fn uri(&self) -> Result<Uri, BadUri> {
        start::uri(self.method(), self.target())
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The header fields (`evhttp_request_get_input_headers`).
    pub fn fields(&self) -> Fields<'a> {
        self.lines.fields()
    }

    /// The length of the lines without their ends, trailers included: what libevent's `max_headers_size` limits.
    pub fn size(&self) -> usize {
        self.lines.size()
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &String::from_utf8_lossy(self.method_name()))
            .field("target", &String::from_utf8_lossy(self.target()))
            .field("version", &self.version())
            .field("fields", &self.fields())
            .finish()
    }
}

/// The head of a response.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    pub(crate) lines: &'a Lines,
    pub(crate) line: &'a StatusLine,
}

impl<'a> ResponseHead<'a> {
    /// The version.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The status, from 100 to 999 (`evhttp_request_get_response_code`).
    pub fn code(&self) -> u16 {
        self.line.code
    }

    /// What is behind the status, which may be empty (`evhttp_request_get_response_code_line`).
    pub fn reason(&self) -> &'a [u8] {
        self.line.reason.of(self.lines.block())
    }

    /// The header fields. A value that went on in the next lines (`obs-fold`) is one line, with a space between them.
    pub fn fields(&self) -> Fields<'a> {
        self.lines.fields()
    }

    /// The length of the lines without their ends, trailers included: what libevent's `max_headers_size` limits.
    pub fn size(&self) -> usize {
        self.lines.size()
    }
}

impl fmt::Debug for ResponseHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("version", &self.version())
            .field("code", &self.code())
            .field("reason", &String::from_utf8_lossy(self.reason()))
            .field("fields", &self.fields())
            .finish()
    }
}
