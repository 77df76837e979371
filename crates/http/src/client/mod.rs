//! The side that asks.

mod sending;

pub use sending::Sending;

use bytes::Buf;
use thiserror::Error;

use crate::body::Body;
use crate::head::{Known, Mode, ResponseHead, Version, is_sendable_target};
use crate::header::Kind;
use crate::message::{BadMessage, Left, Limits, Reader, Step};
use crate::parts::Framing;
pub use crate::parts::Part;
use crate::server::Next;
use crate::write::{self, BadHead, Given, GivenLength};
use crate::{Method, header, status};

/// The client's side of a connection: it writes the head of a request, reads the answer, and so on, as long as the
/// connection can be kept. There is one request at a time.
///
/// ```
/// use ferrevent_http::client::{Connection, Request};
/// use ferrevent_http::server::Next;
/// use ferrevent_http::{Method, Step};
///
/// let mut connection = Connection::new();
/// let mut output = Vec::new();
/// let request = Request { host: Some(b"example"), ..Request::new(Method::Get, b"/there") };
/// connection.request(&request, [].into_iter(), &mut output)?;
/// assert_eq!(output, b"GET /there HTTP/1.1\r\nHost: example\r\n\r\n");
///
/// let mut input = &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..];
/// assert_eq!(connection.read(&mut input)?, Step::Head);
/// assert_eq!(connection.response().unwrap().code(), 200);
/// assert_eq!(connection.read(&mut input)?, Step::Body(2));
/// input = &input[2..];
/// assert_eq!(connection.read(&mut input)?, Step::Complete);
/// assert_eq!(connection.finish(&input, true), Next::Request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    limits: Limits,
    /// How many answers that are not the final one are still taken for this request, and for each.
    interim_left: u32,
    max_interim: u32,
    phase: Phase,
    /// Of the request.
    method: Option<Method>,
    /// Whether the connection can be kept.
    keep: bool,
    /// Whether one of the two heads says that it cannot.
    told_to_close: bool,
    /// The body is held back until the server wants it.
    holds_body: bool,
    /// The head that was read is not the final one.
    interim: bool,
    /// What follows is no HTTP, or at least not ours.
    tunnel: bool,
}

/// How many answers that are not the final one (`100 Continue`, `103 Early Hints` and their like) are taken for one
/// request if nothing else is [set](Connection::set_max_interim). A server that sends them for ever would keep its client
/// busy, and keep every limit of silence from coming.
pub const MOST_INTERIM: u32 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing was asked.
    #[default]
    Idle,
    /// The answer is being read.
    Asked,
    /// The answer is complete.
    Answered,
    Closed,
}

/// What a client asks, apart from the header fields.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Not [`Method::Other`].
    pub method: Method,
    /// A path, a URI, or for `CONNECT` a host and a port, as it is to be written. A blank is written as `%20`.
    pub target: &'a [u8],
    /// The version.
    pub version: Version,
    /// What `Host` says if it is not among the header fields; `None` leaves it away.
    pub host: Option<&'a [u8]>,
    /// The bytes of the body, which is to be sent behind the head.
    pub body: u64,
}

impl<'a> Request<'a> {
    /// HTTP/1.1, without a host and a body.
    pub fn new(method: Method, target: &'a [u8]) -> Self {
        Self {
            method,
            target,
            version: Version::Http11,
            host: None,
            body: 0,
        }
    }
}

/// Why there is no answer. The connection is to be closed. (libevent: `enum evhttp_request_error`, of which the others
/// are not about what was read.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The connection ended before the answer did (`EVREQ_HTTP_EOF`).
    #[error("the connection ended before the answer did")]
    Eof,
    /// The answer is none (`EVREQ_HTTP_INVALID_HEADER`).
    #[error("{0}")]
    Invalid(BadMessage),
    /// The body is longer than [`Limits::body`] (`EVREQ_HTTP_DATA_TOO_LONG`).
    #[error("the body is too long")]
    TooLong,
}

/// Whether a client can ask for it ([`Request::target`]).
pub fn is_target(target: &[u8]) -> bool {
    is_sendable_target(target)
}

impl From<BadMessage> for Error {
    fn from(reason: BadMessage) -> Self {
        match reason {
            BadMessage::BodyTooLong => Self::TooLong,
            reason => Self::Invalid(reason),
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            reader: Reader::default(),
            limits: Limits::default(),
            interim_left: 0,
            max_interim: MOST_INTERIM,
            phase: Phase::Idle,
            method: None,
            keep: false,
            told_to_close: false,
            holds_body: false,
            interim: false,
            tunnel: false,
        }
    }
}

impl Connection {
    /// Nothing was asked, and there are no limits but [`Limits::MOST_HEAD`] and [`MOST_INTERIM`].
    pub fn new() -> Self {
        Self::default()
    }

    /// How many answers that are not the final one there may be for each request from now on.
    pub fn set_max_interim(&mut self, answers: u32) {
        self.max_interim = answers;
    }

    /// How long answers may be, from now on (`evhttp_connection_set_max_headers_size`,
    /// `evhttp_connection_set_max_body_size`).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Asks: appends the head to `out`, which the body is to follow, unless it is to be [held back](Self::holds_body).
    ///
    /// `fields` are the program's header fields. `Host` and `Content-Length` are added if they are missing; a length
    /// that is not the body's is replaced. Where there is a transfer coding, the body is the program's to code, and there
    /// is no length. libevent writes the body of a `GET`, a `DELETE` or an `OPTIONS` without saying how long it is, so
    /// that the server takes it for another request. `Proxy-Connection`, which no server should see, is left out.
    ///
    /// # Errors
    /// Nothing is appended then, and another request can be made.
    pub fn request<'f>(
        &mut self,
        request: &Request<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<(), BadHead> {
        let given = self.judge(request, fields.clone())?;
        Plan::whole(request, &given).write_head(request, &given, fields, out);
        self.begin(request, &given, request.body > 0);
        // Whether the program's coding ends where the program thinks is not known.
        self.keep &= !given.codings;
        Ok(())
    }

    /// As [`request`](Self::request), but the body is sent in parts, as the result says; [`Request::body`] has no meaning.
    /// With a `Content-Length` among the fields it is that long, otherwise it is sent in chunks. A transfer coding of the
    /// program's is left out.
    ///
    /// # Errors
    /// Those of [`request`](Self::request); [`BadHead::Length`] of HTTP/1.0, which has no chunks, without a length.
    pub fn start<'f>(
        &mut self,
        request: &Request<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<Sending, BadHead> {
        let given = self.judge(request, fields.clone())?;
        let framing = match (given.length, request.version) {
            (GivenLength::Of(n), _) if !given.codings => Framing::Length(n),
            (_, Version::Http11) => Framing::Chunked,
            (_, Version::Http10) => return Err(BadHead::Length),
        };
        Plan::parts(framing).write_head(request, &given, fields, out);
        self.begin(request, &given, framing != Framing::Length(0));
        Ok(Sending::new(framing))
    }

    /// What the program's fields say, if this can be asked.
    fn judge<'f>(
        &self,
        request: &Request<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Given, BadHead> {
        if self.phase != Phase::Idle {
            return Err(BadHead::NotNow);
        }
        if request.method == Method::Other || !is_sendable_target(request.target) {
            return Err(BadHead::Target);
        }
        let given = Given::of(fields)?;
        if !request.host.is_none_or(header::is_value) {
            return Err(BadHead::Field);
        }
        Ok(given)
    }

    /// It is asked.
    fn begin(&mut self, request: &Request<'_>, given: &Given, has_body: bool) {
        self.reader.clear();
        self.method = Some(request.method);
        self.keep = match request.version {
            Version::Http11 => !given.connection.close,
            Version::Http10 => given.connection.keep_alive && !given.connection.close,
        };
        self.told_to_close = given.connection.close;
        self.holds_body = given.expects_continue && has_body && request.version == Version::Http11;
        self.interim = false;
        self.interim_left = self.max_interim;
        self.tunnel = false;
        self.phase = Phase::Asked;
    }

    /// Whether the body is not to be sent yet: the request says `Expect: 100-continue`, and no [`Step::Interim`] has said
    /// yet that it may come. If the final answer comes first, it never is.
    pub fn holds_body(&self) -> bool {
        self.holds_body
    }

    /// Whether the answer says, from [`Step::Head`] on, that it is no use to send more of the body: its status is 400 or
    /// higher.
    pub fn refuses_body(&self) -> bool {
        let response = self.response();
        response.is_some_and(|head| head.code() >= 400)
    }

    /// The answer's head, from [`Step::Head`] until the next request; after [`Step::Interim`] that of the response that
    /// is not the final one, until [`read`](Self::read) is called.
    pub fn response(&self) -> Option<ResponseHead<'_>> {
        let lines = self.reader.lines();
        let line = lines.status_line()?;
        Some(ResponseHead { lines, line })
    }

    /// Whether an answer is waited for, or being read.
    pub fn is_asked(&self) -> bool {
        self.phase == Phase::Asked
    }

    /// Whether the connection can be kept, as far as is known now.
    pub fn keep_alive(&self) -> bool {
        self.keep && self.phase != Phase::Closed
    }

    /// Whether one of the two heads says `Connection: close`.
    pub fn is_told_to_close(&self) -> bool {
        self.told_to_close
    }

    /// How much of the body is still to be announced by [`Step::Body`], from [`Step::Head`] on.
    pub fn left(&self) -> Left {
        self.reader.left()
    }

    /// Whether what follows the answer belongs to another protocol: after 101, and after a `CONNECT` that went well.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel
    }

    /// Reads on. Call it again until it says [`Step::Wait`] or [`Step::Complete`]; what it has not taken out of `input`
    /// belongs there the next time. [`Step::Complete`] comes once for each answer.
    ///
    /// # Errors
    /// There will be no answer. Something that comes while nothing is asked is one too, except in a
    /// [tunnel](Self::is_tunnel).
    pub fn read(&mut self, input: &mut impl Buf) -> Result<Step, Error> {
        match self.phase {
            Phase::Idle if input.has_remaining() && !self.tunnel => {
                self.fail(BadMessage::Unasked.into())
            }
            Phase::Idle | Phase::Answered | Phase::Closed => Ok(Step::Wait),
            Phase::Asked => match self.read_response(input) {
                Ok(step) => {
                    if step == Step::Complete {
                        self.phase = Phase::Answered;
                    }
                    Ok(step)
                }
                Err(reason) => self.fail(reason.into()),
            },
        }
    }

    /// The server has ended the connection. [`read`](Self::read) must have said [`Step::Wait`] to all input.
    ///
    /// It is [`Step::Complete`] if that is what ends the answer, and [`Step::Wait`] if nothing was asked.
    ///
    /// # Errors
    /// [`Error::Eof`]
    pub fn closed(&mut self) -> Result<Step, Error> {
        self.keep = false;
        if self.phase != Phase::Asked {
            self.phase = Phase::Closed;
            return Ok(Step::Wait);
        }
        if !self.reader.is_until_close() {
            return self.fail(Error::Eof);
        }
        self.reader.end_body();
        self.phase = Phase::Answered;
        Ok(Step::Complete)
    }

    /// After an answer: whether there can be another request. `sent` says whether all of the last one has been; what is
    /// in `input` is no answer to it.
    pub fn finish(&mut self, input: &impl Buf, sent: bool) -> Next {
        let clean = self.tunnel || !input.has_remaining();
        if self.phase == Phase::Answered && self.keep && clean && sent && !self.holds_body {
            self.phase = Phase::Idle;
            return Next::Request;
        }
        self.phase = Phase::Closed;
        Next::Close
    }

    /// For a new connection. The answer is forgotten.
    pub fn reset(&mut self) {
        self.reader.release();
        *self = Self {
            reader: std::mem::take(&mut self.reader),
            limits: self.limits,
            max_interim: self.max_interim,
            ..Self::default()
        };
    }

    fn fail(&mut self, error: Error) -> Result<Step, Error> {
        self.keep = false;
        self.phase = Phase::Closed;
        Err(error)
    }

    fn read_response(&mut self, input: &mut impl Buf) -> Result<Step, BadMessage> {
        if std::mem::take(&mut self.interim) {
            self.reader.clear();
        }
        let step = self.reader.read(input, Mode::Response, &self.limits)?;
        match step {
            Step::Head => self.judge_head(),
            step => Ok(step),
        }
    }

    /// Says what follows the head.
    fn judge_head(&mut self) -> Result<Step, BadMessage> {
        let lines = self.reader.lines();
        let known = *lines.known();
        let line = *lines.status_line().ok_or(BadMessage::FirstLine)?;
        if matches!(line.code, 100..=199) && line.code != 101 {
            let left = self.interim_left.checked_sub(1);
            self.interim_left = left.ok_or(BadMessage::TooManyInterim)?;
            self.holds_body &= line.code != 100;
            self.interim = true;
            return Ok(Step::Interim);
        }
        let connected = self.method == Some(Method::Connect) && line.code / 100 == 2;
        self.tunnel = connected || line.code == 101;
        let body = if self.tunnel
            || !status::may_have_body(line.code)
            || self.method == Some(Method::Head)
        {
            Body::NONE
        } else {
            Body::of_response(&known, line.version)?
        };
        if body.is_longer_than(self.limits.body) {
            return Err(BadMessage::BodyTooLong);
        }
        self.told_to_close |= known.connection.close;
        self.keep &= self.tunnel || stays(&known, line.version, &body);
        self.reader.begin_body(body, false);
        Ok(Step::Head)
    }
}

fn stays(known: &Known, version: Version, body: &Body) -> bool {
    let kept = match version {
        Version::Http11 => true,
        // Chunks are no part of it: whoever sends them anyway may be wrong about other things too.
        Version::Http10 => known.connection.keep_alive && !matches!(body, Body::Chunked(_)),
    };
    kept && !known.connection.close && !matches!(body, Body::UntilClose)
}

/// What is said about the body.
struct Plan {
    keeps_length: bool,
    keeps_codings: bool,
    /// `Content-Length`
    adds_length: Option<u64>,
    /// `Transfer-Encoding: chunked`
    chunked: bool,
}

impl Plan {
    fn whole(request: &Request<'_>, given: &Given) -> Self {
        let keeps_length = given.length == GivenLength::Of(request.body) && !given.codings;
        let expects_body = matches!(request.method, Method::Post | Method::Put);
        let is_told = request.body > 0 || expects_body || given.length != GivenLength::Missing;
        let adds = is_told && !keeps_length && !given.codings;
        Self {
            keeps_length,
            keeps_codings: true,
            adds_length: adds.then_some(request.body),
            chunked: false,
        }
    }

    fn parts(framing: Framing) -> Self {
        Self {
            keeps_length: matches!(framing, Framing::Length(_)),
            keeps_codings: false,
            adds_length: None,
            chunked: framing == Framing::Chunked,
        }
    }

    fn write_head<'f>(
        &self,
        request: &Request<'_>,
        given: &Given,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        out: &mut Vec<u8>,
    ) {
        out.reserve(256);
        out.extend_from_slice(request.method.name().as_bytes());
        out.push(b' ');
        write_target(request.target, out);
        out.push(b' ');
        out.extend_from_slice(request.version.text());
        out.extend_from_slice(b"\r\n");
        if let Some(host) = request.host.filter(|_| !given.host) {
            write::field(out, b"Host", host);
        }
        for (i, (name, value)) in fields.enumerate() {
            let writes = match given.kind(i, name) {
                Kind::Length => self.keeps_length,
                Kind::Codings => self.keeps_codings,
                Kind::ProxyConnection => false,
                _ => true,
            };
            if writes {
                write::field(out, name, value);
            }
        }
        if self.chunked {
            write::field(out, b"Transfer-Encoding", b"chunked");
        }
        if let Some(length) = self.adds_length {
            write::length_field(out, length);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Blanks are coded.
fn write_target(target: &[u8], out: &mut Vec<u8>) {
    for part in target.split_inclusive(|&byte| byte == b' ') {
        match part.split_last() {
            Some((b' ', part)) => {
                out.extend_from_slice(part);
                out.extend_from_slice(b"%20");
            }
            _ => out.extend_from_slice(part),
        }
    }
}
