//! Reading a head, line by line, from whatever pieces it comes in.
//!
//! By hand, and not with the crate `httparse`, because what is refused here is more than it refuses, and other things:
//! the ends of lines are all alike, a line is judged when it is complete instead of when the head is (so nothing is read
//! twice), and the number of fields is limited by their size only. A test compares the two (`tests/two_readers.rs`).

use memchr::{memchr, memchr2};

use super::{FieldSpan, Fields, RequestLine, Span, StatusLine};
use crate::body::{Codings, Length};
use crate::header;
use crate::message::BadMessage;

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A request: lines all end as its first one does, and none goes on in the next (`obs-fold`).
    Request,
    /// A response. Old servers are taken as they are: either end of a line, and lines that go on.
    Response,
    /// What follows the last chunk. It is checked, counted, and forgotten.
    Trailer,
}

/// The lines of a head. The memory is kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The lines, without their ends. What is behind `line` is the beginning of one that is not complete.
    block: Vec<u8>,
    line: usize,
    fields: Vec<FieldSpan>,
    /// Of all lines, trailers included.
    size: usize,
    end: Option<End>,
    start: Start,
    known: Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    CrLf,
    Lf,
}

#[derive(Clone, Copy, Debug, Default)]
enum Start {
    #[default]
    Missing,
    Request(RequestLine),
    Response(StatusLine),
}

/// What the fields say that HTTP itself has to know; gathered while they are read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// How many `Host` there are, 2 standing for any more.
    pub(crate) hosts: u8,
    pub(crate) length: Length,
    pub(crate) codings: Codings,
    pub(crate) connection: header::Connection,
    pub(crate) expect: Expect,
}

/// What the client waits for before it sends the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expect {
    #[default]
    Nothing,
    Continue,
    Unknown,
}

/// A block that is larger is not kept for the next head.
const KEPT: usize = 4096;

/// So many fields are enough. Each costs its reader a multiple of the few bytes that it needs at least.
const MOST_FIELDS: usize = 10_000;

impl Lines {
    /// Forgets the head.
    pub(crate) fn clear(&mut self) {
        if self.block.capacity() > KEPT {
            self.block = Vec::new();
        }
        if self.fields.capacity() * size_of::<FieldSpan>() > KEPT {
            self.fields = Vec::new();
        }
        self.block.clear();
        self.fields.clear();
        *self = Self {
            block: std::mem::take(&mut self.block),
            fields: std::mem::take(&mut self.fields),
            ..Self::default()
        };
    }

    /// Forgets the head, and gives its memory back.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn block(&self) -> &[u8] {
        &self.block
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            block: &self.block,
            spans: &self.fields,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) fn request_line(&self) -> Option<&RequestLine> {
        match &self.start {
            Start::Request(line) => Some(line),
            _ => None,
        }
    }

    pub(crate) fn status_line(&self) -> Option<&StatusLine> {
        match &self.start {
            Start::Response(line) => Some(line),
            _ => None,
        }
    }

    /// Whether nothing of a head is there yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.block.is_empty() && matches!(self.start, Start::Missing)
    }

    /// Takes what there is of the head from the front of `input`, and says how much that was, and whether the head, or
    /// the trailer, is complete. `limit` is what [`size`](Self::size) may be at most.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        mode: Mode,
        limit: usize,
    ) -> Result<(usize, bool), BadMessage> {
        let mut rest = input;
        while let Some(len) = memchr(b'\n', rest) {
            let (line, behind) = (&rest[..len], &rest[len + 1..]);
            rest = behind;
            if self.take_line(line, mode, limit)? {
                return Ok((input.len() - rest.len(), true));
            }
        }
        self.check_size(rest, limit)?;
        self.block.extend_from_slice(rest);
        Ok((input.len(), false))
    }

    /// Before anything is copied, so that memory has a limit too.
    fn check_size(&self, more: &[u8], limit: usize) -> Result<(), BadMessage> {
        let len = self.block.len() - self.line + more.len();
        let last = more.last().or(self.block[self.line..].last());
        // The first byte of a line's end does not count, also if the second one is still to come.
        let len = len - usize::from(last == Some(&b'\r'));
        match self.size.checked_add(len) {
            Some(size) if size <= limit => Ok(()),
            _ => Err(BadMessage::HeadTooLong),
        }
    }

    /// `more` is the last piece of the line. Whether it is the one that ends the head.
    fn take_line(&mut self, more: &[u8], mode: Mode, limit: usize) -> Result<bool, BadMessage> {
        self.check_size(more, limit)?;
        self.block.extend_from_slice(more);
        let end = match self.block[self.line..].last() {
            Some(b'\r') => {
                self.block.pop();
                End::CrLf
            }
            _ => End::Lf,
        };
        self.check_end(end, mode)?;
        let start = self.line;
        self.size += self.block.len() - start;
        let complete = match self.block.get(start) {
            Some(b' ' | b'\t') => self.go_on(start, mode)?,
            None => !matches!(self.start, Start::Missing),
            Some(_) => self.take_text(start, mode)?,
        };
        if self.block.is_empty() {
            return Err(BadMessage::FirstLine);
        }
        if mode == Mode::Trailer {
            self.block.truncate(start);
        }
        self.line = self.block.len();
        Ok(complete)
    }

    fn check_end(&mut self, end: End, mode: Mode) -> Result<(), BadMessage> {
        let wanted = match mode {
            Mode::Request => *self.end.get_or_insert(end),
            Mode::Trailer => End::CrLf,
            Mode::Response => end,
        };
        (end == wanted).then_some(()).ok_or(BadMessage::LineEnd)
    }

    fn take_text(&mut self, start: usize, mode: Mode) -> Result<bool, BadMessage> {
        let line = &self.block[start..];
        if mode != Mode::Trailer && matches!(self.start, Start::Missing) {
            self.start = match mode {
                Mode::Request => Start::Request(RequestLine::parse(line)?),
                _ => Start::Response(StatusLine::parse(line)?),
            };
            return Ok(false);
        }
        let (name_len, value) = field(line)?;
        if mode == Mode::Trailer {
            return Ok(false);
        }
        if self.fields.len() == MOST_FIELDS {
            return Err(BadMessage::HeadTooLong);
        }
        let (name, text) = (&line[..name_len], &line[value.0..value.1]);
        self.known.note(name, text);
        self.fields.push(FieldSpan {
            name: Span::new(start, start + name_len),
            value: Span::new(start + value.0, start + value.1),
        });
        Ok(false)
    }

    /// The line from `start` on belongs to the value of the field before it.
    fn go_on(&mut self, start: usize, mode: Mode) -> Result<bool, BadMessage> {
        let Some(field) = self.fields.last_mut() else {
            return Err(match self.start {
                Start::Missing => BadMessage::FirstLine,
                _ => BadMessage::Fold,
            });
        };
        if mode != Mode::Response {
            return Err(BadMessage::Fold);
        }
        let (from, to) = trim(&self.block[start..]);
        if !header::is_value(&self.block[start..]) {
            return Err(BadMessage::FieldValue);
        }
        if known_to_http(field.name.of(&self.block)) {
            return Err(BadMessage::Fold);
        }
        let value_end = field.value.end as usize;
        if from == to {
            self.block.truncate(start);
            return Ok(false);
        }
        // There is room for the space: this line begins with at least one blank.
        let separator = usize::from(field.value.start != field.value.end);
        if let Some(place) = self.block.get_mut(value_end) {
            *place = b' ';
        }
        self.block
            .copy_within(start + from..start + to, value_end + separator);
        let end = value_end + separator + (to - from);
        self.block.truncate(end);
        field.value.end = end as u32;
        Ok(false)
    }
}

impl Known {
    /// The length tells nearly all of the others apart.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"Host") => {
                self.hosts = (self.hosts + 1).min(2);
                if !header::is_host(value) {
                    self.hosts = 2;
                }
            }
            6 if is(b"Expect") => {
                let known = value.eq_ignore_ascii_case(b"100-continue");
                self.expect = match (self.expect, known) {
                    (Expect::Unknown, _) | (_, false) => Expect::Unknown,
                    _ => Expect::Continue,
                };
            }
            10 if is(b"Connection") => self.connection.note(value),
            14 if is(b"Content-Length") => self.length.note(value),
            17 if is(b"Transfer-Encoding") => self.codings.note(value),
            _ => {}
        }
    }
}

/// Fields whose value must not be put together from several lines: it has been noted already, and that some see more of
/// it than others is what smugglers want.
fn known_to_http(name: &[u8]) -> bool {
    [
        &b"Content-Length"[..],
        b"Transfer-Encoding",
        b"Connection",
        b"Expect",
        b"Host",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

/// The length of a field's name, and from where to where its value is.
fn field(line: &[u8]) -> Result<(usize, (usize, usize)), BadMessage> {
    let name_len = header::token_len(line);
    if name_len == 0 || line.get(name_len) != Some(&b':') {
        return Err(BadMessage::FieldName);
    }
    let value = &line[name_len + 1..];
    if memchr2(b'\r', 0, value).is_some() {
        return Err(BadMessage::FieldValue);
    }
    let (from, to) = trim(value);
    Ok((name_len, (name_len + 1 + from, name_len + 1 + to)))
}

/// Where the text begins and ends that is without blanks around it.
fn trim(text: &[u8]) -> (usize, usize) {
    let is_text = |byte: &u8| *byte != b' ' && *byte != b'\t';
    let Some(from) = text.iter().position(is_text) else {
        return (0, 0);
    };
    let to = text.iter().rposition(is_text).map_or(from, |last| last + 1);
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of lines that never end, or of which there are too many, is not much more than the limit.
    #[test]
    fn memory_has_a_limit() {
        for piece in [
            &b"x"[..],
            b"a:\r\n",
            b"a: b\n c\n",
            b"\r",
            b"xxxxxxxxxxxxxxxx: \r\n",
        ] {
            for first in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
                let limit = 1000;
                let mut lines = Lines::default();
                let mut input = first.to_vec();
                input.extend(piece.repeat(100_000));
                assert!(lines.feed(&input, Mode::Response, limit).is_err());
                assert!(lines.block.capacity() <= 4 * limit);
                assert!(lines.fields.capacity() <= limit);
            }
        }
        let mut lines = Lines::default();
        let input = [
            b"GET / HTTP/1.1\r\n",
            &b"a:\r\n".repeat(MOST_FIELDS + 1)[..],
        ]
        .concat();
        let fed = lines.feed(&input, Mode::Request, usize::MAX);
        assert_eq!(fed, Err(BadMessage::HeadTooLong));
    }

    #[test]
    fn the_memory_of_an_ordinary_head_is_used_again() {
        let mut lines = Lines::default();
        let input = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(
            lines.feed(input, Mode::Request, 100),
            Ok((input.len(), true))
        );
        let place = lines.block.as_ptr();
        lines.clear();
        assert!(lines.is_untouched());
        assert_eq!(
            lines.feed(input, Mode::Request, 100),
            Ok((input.len(), true))
        );
        assert_eq!(lines.block.as_ptr(), place);

        lines.clear();
        let long = [b"GET /", &b"x".repeat(10_000)[..], b" HTTP/1.1\r\n\r\n"].concat();
        assert!(lines.feed(&long, Mode::Request, usize::MAX).is_ok());
        lines.clear();
        assert_eq!(lines.block.capacity(), 0);
    }
}
