//! Reading a message: its head, its body, its trailer.

use bytes::Buf;
use thiserror::Error;

use crate::body::{Body, Chunk};
use crate::head::{Lines, Mode};

/// Why a message is refused. What is behind it cannot be read either: nobody knows where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadMessage {
    /// The lines are more than [`Limits::head`], trailers included.
    #[error("the head is too long")]
    HeadTooLong,
    /// The first line is none of a request, or of a response: garbage, an empty line, more blanks than it should have.
    #[error("the first line is none")]
    FirstLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("it has another version than 1.0 and 1.1")]
    Version,
    /// What is asked for is neither a path nor a URI; or the method is `CONNECT`, and it is no host.
    #[error("the target is none")]
    Target,
    /// Some lines end with CR LF, and others with LF.
    #[error("the lines end in several ways")]
    LineEnd,
    /// A line without a colon, or with something else than a token before it; a blank before the colon is enough.
    #[error("a field has no name, or one that is none")]
    FieldName,
    /// There is a CR or a zero byte in it.
    #[error("the value of a field is none")]
    FieldValue,
    /// A line begins with a blank.
    #[error("a field goes on in the next line")]
    Fold,
    /// There are several, or it has characters that no host has.
    #[error("the host is none, or not the only one")]
    Host,
    /// A length that is no number, or several lengths.
    #[error("the length of the body is none")]
    Length,
    /// A transfer coding of which `chunked` is not the last, with a length beside it, or in HTTP/1.0.
    #[error("where the body ends is not clear")]
    Codings,
    /// What should be a chunk is none.
    #[error("a chunk is none")]
    Chunk,
    /// More than [`Limits::body`].
    #[error("the body is too long")]
    BodyTooLong,
    /// It expects something else than `100-continue`.
    #[error("it expects what is not known")]
    Expectation,
    /// More than [`MOST_INTERIM`](crate::client::MOST_INTERIM) answers came that are not the final one, or more than were
    /// [set](crate::client::Connection::set_max_interim).
    #[error("too many answers came that are not the final one")]
    TooManyInterim,
    /// There is an answer, or a part of one, that nobody has asked for.
    #[error("nothing was asked for")]
    Unasked,
}

/// How long messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For the lines of a head and a trailer together, in bytes without the ends of lines
    /// (`evhttp_set_max_headers_size`). More than [`MOST_HEAD`](Self::MOST_HEAD) is taken for that. There is also a limit
    /// of 10 000 fields.
    pub head: usize,
    /// For a body, in bytes without the framing of chunks (`evhttp_set_max_body_size`).
    pub body: u64,
}

impl Limits {
    /// What a head may have at most, since it is kept in memory: 16 MiB. libevent has no such limit.
    pub const MOST_HEAD: usize = 16 << 20;
}

impl Default for Limits {
    /// [`MOST_HEAD`](Self::MOST_HEAD), and bodies of any length.
    fn default() -> Self {
        Self {
            head: Self::MOST_HEAD,
            body: u64::MAX,
        }
    }
}

/// What is to be done with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until there is more input. For a server also: until what was asked for is answered.
    Wait,
    /// The head is complete, and can be looked at. Then read on.
    Head,
    /// Servers only: write [`CONTINUE`](crate::server::CONTINUE), then read on.
    Continue,
    /// Clients only: a response came that is not the final one. Read on.
    Interim,
    /// So many of the bytes that are now the next ones of the input are body. Move all of these out of the input, then
    /// read on.
    Body(usize),
    /// As [`Body`](Self::Body), but nobody wants them: throw them away.
    Discard(usize),
    /// The message is complete.
    Complete,
}

/// How much of a body has not been announced yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// So many bytes.
    Bytes(u64),
    /// So many bytes of a chunk, and perhaps more chunks. Between two chunks it is 0.
    OfChunk(u64),
    /// Whatever comes before the connection ends.
    UntilClose,
}

/// Reads one message after the other.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    lines: Lines,
    state: State,
    /// Bytes of the body that have been announced.
    total: u64,
    /// Whether the body is read only so that it is out of the way.
    discard: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// The head is complete; nobody has said what follows it.
    Between,
    Body(Body),
    Trailer,
    Complete,
}

impl Reader {
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Whether nothing has come of the next message.
    pub(crate) fn is_untouched(&self) -> bool {
        matches!(self.state, State::Head) && self.lines.is_untouched()
    }

    /// Whether the head is complete and judged.
    pub(crate) fn is_past_head(&self) -> bool {
        !matches!(self.state, State::Head | State::Between)
    }

    /// Whether nothing of the message is to come any more.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.state, State::Body(Body::Length(0)) | State::Complete)
    }

    pub(crate) fn left(&self) -> Left {
        match &self.state {
            State::Body(Body::Length(left)) => Left::Bytes(*left),
            State::Body(Body::UntilClose) => Left::UntilClose,
            State::Body(Body::Chunked(chunks)) => Left::OfChunk(chunks.left()),
            State::Trailer => Left::OfChunk(0),
            State::Head | State::Between | State::Complete => Left::Bytes(0),
        }
    }

    /// Whether the body goes on until the connection ends.
    pub(crate) fn is_until_close(&self) -> bool {
        matches!(self.state, State::Body(Body::UntilClose))
    }

    /// For the next message.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.state = State::Head;
        self.total = 0;
        self.discard = false;
    }

    /// What was read is not needed any more, and nothing more will be read soon.
    pub(crate) fn release(&mut self) {
        self.clear();
        self.lines.release();
    }

    /// The head is judged: this follows it. A body that is to be discarded may have any length.
    pub(crate) fn begin_body(&mut self, body: Body, discard: bool) {
        self.discard = discard;
        self.state = State::Body(body);
    }

    /// The connection has ended, and with it the body.
    pub(crate) fn end_body(&mut self) {
        self.state = State::Complete;
    }

    /// [`Step::Head`] once, after which [`begin_body`](Self::begin_body) is due.
    pub(crate) fn read(
        &mut self,
        input: &mut impl Buf,
        mode: Mode,
        limits: &Limits,
    ) -> Result<Step, BadMessage> {
        loop {
            match &mut self.state {
                State::Head if read_lines(&mut self.lines, input, mode, limits)? => {
                    self.state = State::Between;
                    return Ok(Step::Head);
                }
                State::Trailer if read_lines(&mut self.lines, input, Mode::Trailer, limits)? => {
                    self.state = State::Complete;
                }
                State::Head | State::Trailer | State::Between => return Ok(Step::Wait),
                State::Complete => return Ok(Step::Complete),
                State::Body(Body::Length(0)) => self.state = State::Complete,
                State::Body(Body::Length(left)) => {
                    let n = (*left).min(input.remaining() as u64);
                    *left -= n;
                    return self.announce(n, limits);
                }
                State::Body(Body::UntilClose) => {
                    let n = input.remaining() as u64;
                    return self.announce(n, limits);
                }
                State::Body(Body::Chunked(chunks)) => match chunks.read(input)? {
                    Chunk::Wait => return Ok(Step::Wait),
                    Chunk::Size(size) => self.check_total(size, limits)?,
                    Chunk::Data(n) => return self.announce(n as u64, limits),
                    Chunk::Last => self.state = State::Trailer,
                },
            }
        }
    }

    /// The next `n` bytes are body.
    fn announce(&mut self, n: u64, limits: &Limits) -> Result<Step, BadMessage> {
        if n == 0 {
            return Ok(Step::Wait);
        }
        self.check_total(n, limits)?;
        self.total = self.total.saturating_add(n);
        // It is at most what the input has.
        let n = n as usize;
        Ok(match self.discard {
            true => Step::Discard(n),
            false => Step::Body(n),
        })
    }

    fn check_total(&self, more: u64, limits: &Limits) -> Result<(), BadMessage> {
        let fits = self.total.saturating_add(more) <= limits.body;
        (fits || self.discard)
            .then_some(())
            .ok_or(BadMessage::BodyTooLong)
    }
}

/// Whether the head, or the trailer, is complete.
fn read_lines(
    lines: &mut Lines,
    input: &mut impl Buf,
    mode: Mode,
    limits: &Limits,
) -> Result<bool, BadMessage> {
    let limit = limits.head.min(Limits::MOST_HEAD);
    while input.has_remaining() {
        let (n, complete) = lines.feed(input.chunk(), mode, limit)?;
        input.advance(n);
        if complete {
            return Ok(true);
        }
    }
    Ok(false)
}
