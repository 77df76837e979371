//! Reading a head, line by line, from whatever pieces it comes in.
//!
//! By hand, and not with the crate `httparse`, because what is refused here is more than it refuses, and other things:
//! the ends of lines are all alike, a line is judged when it is complete instead of when the head is (so nothing is read
//! twice), and the number of fields is limited by their size only. A test compares the two (`tests/two_readers.rs`).

use memchr::memchr;

use super::judged::{Judged, Known};
use super::{Fields, RequestLine, StatusLine};
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
    /// The lines as they came. What is behind `line` is the beginning of one that is not complete.
    block: Vec<u8>,
    line: usize,
    /// Of all lines without their ends, trailers included.
    size: usize,
    end: Option<End>,
    judged: Judged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    CrLf,
    Lf,
}

/// A block that is larger is not kept for the next head.
const KEPT: usize = 4096;

impl Lines {
    /// Forgets the head.
    pub(crate) fn clear(&mut self) {
        if self.block.capacity() > KEPT {
            self.block = Vec::new();
        }
        self.block.clear();
        self.line = 0;
        self.size = 0;
        self.end = None;
        self.judged.clear();
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
            spans: self.judged.fields(),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn known(&self) -> &Known {
        self.judged.known()
    }

    pub(crate) fn request_line(&self) -> Option<&RequestLine> {
        self.judged.request_line()
    }

    pub(crate) fn status_line(&self) -> Option<&StatusLine> {
        self.judged.status_line()
    }

    /// Whether nothing of a head is there yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.block.is_empty()
    }

    /// Takes what there is of the head from the front of `input`, and says how much that was, and whether the head, or
    /// the trailer, is complete. `limit` is what [`size`](Self::size) may be at most.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        mode: Mode,
        limit: usize,
    ) -> Result<(usize, bool), BadMessage> {
        let mut taken = 0;
        loop {
            if self.line == self.block.len() && mode != Mode::Trailer {
                let mut complete = Ok(false);
                let n = self.take_lines(&input[taken..], mode, limit, &mut complete);
                self.block.extend_from_slice(&input[taken..taken + n]);
                self.line = self.block.len();
                taken += n;
                if complete? {
                    return Ok((taken, true));
                }
            }
            let rest = &input[taken..];
            let Some(len) = memchr(b'\n', rest) else {
                self.check_size(rest, limit)?;
                self.block.extend_from_slice(rest);
                return Ok((input.len(), false));
            };
            taken += len + 1;
            if self.take_line(&rest[..len], mode, limit)? {
                return Ok((taken, true));
            }
        }
    }

    /// Judges the lines that are in `input` as a whole, where they are, up to one that goes on in another way. How many
    /// bytes that were, which will be the next ones of the block.
    fn take_lines(
        &mut self,
        input: &[u8],
        mode: Mode,
        limit: usize,
        complete: &mut Result<bool, BadMessage>,
    ) -> usize {
        let mut taken = 0;
        while let Some(len) = memchr(b'\n', &input[taken..]) {
            let line = &input[taken..taken + len];
            if goes_on(line) {
                break;
            }
            let start = self.block.len() + taken;
            taken += len + 1;
            *complete = self
                .count(line, mode, limit)
                .and_then(|text| self.judged.take(text, start, mode));
            if *complete != Ok(false) {
                break;
            }
        }
        taken
    }

    /// Judges one line, of which `more` is the last piece, and the others are in the block already. Whether it ends the
    /// head.
    fn take_line(&mut self, more: &[u8], mode: Mode, limit: usize) -> Result<bool, BadMessage> {
        self.check_size(more, limit)?;
        self.block.extend_from_slice(more);
        let start = self.line;
        let block = std::mem::take(&mut self.block);
        let complete =
            self.count(&block[start..], mode, limit)
                .and_then(|text| match goes_on(text) {
                    true => Ok(false),
                    false => self.judged.take(text, start, mode),
                });
        self.block = block;
        let complete = complete?;
        if self.block.last() == Some(&b'\r') {
            self.block.pop();
        }
        if goes_on(&self.block[start..]) {
            self.judged.go_on(&mut self.block, start, mode)?;
        }
        if mode == Mode::Trailer {
            self.block.truncate(start);
        }
        self.line = self.block.len();
        Ok(complete)
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

    /// The text of a line that ended with an LF.
    fn count<'l>(
        &mut self,
        line: &'l [u8],
        mode: Mode,
        limit: usize,
    ) -> Result<&'l [u8], BadMessage> {
        let (text, end) = match line {
            [text @ .., b'\r'] => (text, End::CrLf),
            text => (text, End::Lf),
        };
        match self.size.checked_add(text.len()) {
            Some(size) if size <= limit => self.size = size,
            _ => return Err(BadMessage::HeadTooLong),
        }
        let wanted = match mode {
            Mode::Request => *self.end.get_or_insert(end),
            Mode::Trailer => End::CrLf,
            Mode::Response => end,
        };
        (end == wanted).then_some(text).ok_or(BadMessage::LineEnd)
    }
}

/// Whether it belongs to the line before it.
fn goes_on(line: &[u8]) -> bool {
    matches!(line, [b' ' | b'\t', ..])
}

#[cfg(test)]
mod tests {
    use super::super::judged::MOST_FIELDS;
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
                assert!(lines.judged.capacity() <= limit);
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
