//! The side that answers.

mod page;
mod reply;

pub use page::error_page;
pub use reply::{Reply, ReplyBody, Sends, USUAL_TYPE};

use bytes::Buf;
use thiserror::Error;

use crate::Date;
use crate::body::Body;
use crate::head::{Expect, Known, Mode, RequestHead, Version};
use crate::message::{BadMessage, Left, Limits, Reader, Step};
pub use crate::parts::Part;
use reply::Replying;

/// What [`Step::Continue`] asks to write.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The server's side of a connection: it reads a request, takes the answer, and so on, as long as the connection can be
/// kept.
///
/// ```
/// use ferrevent_http::server::{Connection, Next, Reply, ReplyBody, Sends};
/// use ferrevent_http::{Method, Step};
///
/// let mut input = &b"POST /there HTTP/1.1\r\nHost: example\r\nContent-Length: 5\r\n\r\nhello"[..];
/// let mut connection = Connection::new();
/// assert_eq!(connection.read(&mut input)?, Step::Head);
/// let request = connection.request().unwrap();
/// assert_eq!((request.method(), request.target()), (Method::Post, &b"/there"[..]));
/// assert_eq!(connection.read(&mut input)?, Step::Body(5));
/// input = &input[5..];
/// assert_eq!(connection.read(&mut input)?, Step::Complete);
///
/// let mut output = Vec::new();
/// let reply = Reply { code: 200, body: ReplyBody::Whole(2), ..Reply::default() };
/// let sends = connection.reply(&reply, [].into_iter(), &mut output)?;
/// assert_eq!(sends, Sends::Body(2));
/// output.extend(b"hi");
/// assert_eq!(connection.written(), Next::Request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Connection {
    reader: Reader,
    limits: Limits,
    lingering: bool,
    phase: Phase,
    /// Whether the request lets the connection live.
    keep: bool,
    /// `100-continue` is still to be thought about.
    expects: bool,
    /// The last answer's time, which is likely to be that of the next one.
    date: Date,
    /// The request was refused with this; a body that is in the way is read first.
    refused: Option<BadMessage>,
    /// The answer may be given although the body is still being read.
    ahead: bool,
    /// No request is taken after this one.
    last: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// A request is being read.
    #[default]
    Reading,
    /// It is complete, or refused, and not answered.
    Owed,
    /// The answer has begun.
    Replying(Replying),
    /// The answer is complete; not all may have been written.
    Replied {
        close: bool,
    },
    Closed,
}

/// A request that is not carried out. It is to be answered with an error, then the connection is to be closed, since
/// what follows cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refusal(pub BadMessage);

impl Refusal {
    /// The status of the answer.
    pub fn code(&self) -> u16 {
        match self.0 {
            BadMessage::BodyTooLong => 413,
            BadMessage::Expectation => 417,
            _ => 400,
        }
    }
}

/// What to do after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the next request, which may be in the input already.
    Request,
    /// Close the connection.
    Close,
}

impl Connection {
    /// Nothing was read, and there are no limits but [`Limits::MOST_HEAD`].
    pub fn new() -> Self {
        Self::default()
    }

    /// How long requests may be, from now on (`evhttp_set_max_headers_size`, `evhttp_set_max_body_size`).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether a body whose `Content-Length` is too long is read to its end before the request is refused, so that the
    /// client gets to see the answer (`EVHTTP_SERVER_LINGERING_CLOSE`). A chunked body is refused as soon as it is too
    /// long.
    pub fn set_lingering(&mut self, lingering: bool) {
        self.lingering = lingering;
    }

    /// The request's head, from [`Step::Head`] until the answer [is written](Self::written).
    pub fn request(&self) -> Option<RequestHead<'_>> {
        let lines = self.reader.lines();
        let line = lines.request_line()?;
        Some(RequestHead { lines, line })
    }

    /// Whether a request is being read of which something is there already. If not, the connection may be closed
    /// without loss.
    pub fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Reading) && !self.reader.is_untouched()
    }

    /// Lets the request be answered although its body is still to come: from [`Step::Head`] on, unless it has been refused.
    /// [`read`](Self::read) goes on with the body, also during the answer and after it. If the answer
    /// [is written](Self::written) first, the connection ends: what comes then could be the body or the next request.
    ///
    /// Who was not told to [continue](Step::Continue) yet will not be, and the connection ends after the answer, which says
    /// so. So does one that is given as a whole while the body is still to come.
    ///
    /// Returns whether there is a body still to come; if not, the request is complete, and there is no
    /// [`Step::Complete`] of it any more.
    pub fn answer_early(&mut self) -> bool {
        if self.may_answer_early() {
            self.phase = Phase::Owed;
            self.ahead = !self.reader.is_at_end();
            self.keep &= !self.expects;
            self.expects = false;
        }
        self.ahead
    }

    /// Who is refused is asked nothing ([`judge_head`](Self::judge_head)), and answered when the body is out of the way.
    fn may_answer_early(&self) -> bool {
        matches!(self.phase, Phase::Reading) && self.reader.is_past_head() && self.refused.is_none()
    }

    /// Takes no request after this one, or none at all if none is being read: its answer says that the connection ends.
    pub fn set_last(&mut self) {
        self.last = true;
        self.end_here();
    }

    /// How much of the request's body has not been announced yet.
    pub fn left(&self) -> Left {
        self.reader.left()
    }

    /// Whether there can be something to [`read`](Self::read) now.
    pub fn wants_input(&self) -> bool {
        matches!(self.phase, Phase::Reading) || self.ahead
    }

    /// Whether the answer is complete. (Then [`written`](Self::written) is due once all of it has been sent.)
    pub fn is_replied(&self) -> bool {
        matches!(self.phase, Phase::Replied { .. })
    }

    /// Whether the connection lives on after the answer, as far as is known now.
    pub fn keep_alive(&self) -> bool {
        match self.phase {
            Phase::Reading | Phase::Owed => self.keep && self.refused.is_none(),
            Phase::Replying(replying) => !replying.close,
            Phase::Replied { close } => !close && !self.ahead,
            Phase::Closed => false,
        }
    }

    /// Reads on. Call it again until it says [`Step::Wait`] or [`Step::Complete`]; what it has not taken out of `input`
    /// belongs there the next time. [`Step::Complete`] comes once for each request; requests behind it stay in the
    /// input.
    ///
    /// # Errors
    /// The request is to be answered with [`Refusal::code`].
    pub fn read(&mut self, input: &mut impl Buf) -> Result<Step, Refusal> {
        if !self.wants_input() {
            return Ok(Step::Wait);
        }
        let step = self.read_request(input);
        if step.is_err() || step == Ok(Step::Complete) {
            if !self.ahead {
                self.phase = Phase::Owed;
            }
            self.ahead = false;
        }
        step.map_err(|reason| {
            self.refused = Some(reason);
            self.end_here();
            Refusal(reason)
        })
    }

    /// The connection is not kept after this answer, as far as that can still be said.
    fn end_here(&mut self) {
        self.keep = false;
        match &mut self.phase {
            Phase::Replying(replying) => replying.close = true,
            Phase::Replied { close } => *close = true,
            Phase::Reading | Phase::Owed | Phase::Closed => {}
        }
    }

    fn read_request(&mut self, input: &mut impl Buf) -> Result<Step, BadMessage> {
        if self.expects {
            // Not before a look at the input: whoever has sent the body already does not wait.
            self.expects = false;
            if !input.has_remaining() {
                return Ok(Step::Continue);
            }
        }
        let step = self.reader.read(input, Mode::Request, &self.limits)?;
        match (step, self.refused) {
            (Step::Head, _) => self.judge_head()?,
            (Step::Complete, Some(reason)) => return Err(reason),
            _ => {}
        }
        Ok(step)
    }

    /// Says what follows the head.
    fn judge_head(&mut self) -> Result<(), BadMessage> {
        let lines = self.reader.lines();
        let known = *lines.known();
        let version = lines.request_line().ok_or(BadMessage::FirstLine)?.version;
        let body = Body::of_request(&known, version)?;
        // That there is none, which HTTP/1.1 does not allow, is taken: libevent's own client does not send it.
        if known.hosts > 1 {
            return Err(BadMessage::Host);
        }
        self.keep = !self.last && wants_to_live(&known, version);
        let too_long = body.is_longer_than(self.limits.body);
        if too_long && !self.lingering {
            return Err(BadMessage::BodyTooLong);
        }
        if !body.is_empty() && version == Version::Http11 {
            match known.expect {
                Expect::Unknown => return Err(BadMessage::Expectation),
                // Nobody is asked to send what is refused: there is nothing to linger for.
                Expect::Continue if too_long => return Err(BadMessage::BodyTooLong),
                Expect::Continue => self.expects = true,
                Expect::Nothing => {}
            }
        }
        self.refused = too_long.then_some(BadMessage::BodyTooLong);
        self.reader.begin_body(body, too_long);
        Ok(())
    }

    /// All of the answer has been sent.
    pub fn written(&mut self) -> Next {
        match self.phase {
            Phase::Replied { close: false } if !self.ahead => {
                self.reader.clear();
                self.phase = Phase::Reading;
                Next::Request
            }
            _ => {
                self.ahead = false;
                self.reader.release();
                self.phase = Phase::Closed;
                Next::Close
            }
        }
    }
}

fn wants_to_live(known: &Known, version: Version) -> bool {
    match version {
        Version::Http11 => !known.connection.close,
        Version::Http10 => known.connection.keep_alive && !known.connection.close,
    }
}
