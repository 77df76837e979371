//! Answers: their heads, and what may follow those.

use super::{Connection, Phase};
use crate::head::Version;
use crate::header::Kind;
use crate::parts::{Framing, Part};
use crate::write::{self, BadHead, Given, GivenLength};
use crate::{Date, Method, header, status};

/// What a server answers, apart from the header fields.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status, of three digits. One below 200 is no final answer: the connection ends after it, except after 101.
    pub code: u16,
    /// What is written behind the status. The usual text for `None`, and for one that has a line's end or a zero byte.
    pub reason: Option<&'a [u8]>,
    /// How the body comes.
    pub body: ReplyBody,
    /// The time, in seconds since the beginning of 1970.
    pub date: u64,
    /// The type of a body that has none in its header fields (`evhttp_set_default_content_type`).
    pub content_type: Option<&'a [u8]>,
    /// The version in the first line; `None` for the request's, or 1.1 if there is none.
    pub version: Option<Version>,
}

/// The type that libevent gives to a body if the program does not say another one.
pub const USUAL_TYPE: &[u8] = b"text/html; charset=ISO-8859-1";

impl Default for Reply<'_> {
    /// 200, with an empty body.
    fn default() -> Self {
        Self {
            code: 200,
            reason: None,
            body: ReplyBody::Whole(0),
            date: 0,
            content_type: Some(USUAL_TYPE),
            version: None,
        }
    }
}

/// How the body of an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// All of it now, so many bytes (`evhttp_send_reply`).
    Whole(u64),
    /// In [parts](Connection::part), until there are [no more](Connection::end) (`evhttp_send_reply_start`).
    Parts,
}

/// What is to be sent behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// The first so many bytes of the body. Fewer than there are if the header fields say so, or if there can be no
    /// body; what is behind them is thrown away.
    Body(u64),
    /// What [`Connection::part`] and [`Connection::end`] say.
    Parts,
}

/// An answer in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replying {
    framing: Framing,
    pub(super) close: bool,
}

impl Connection {
    /// Answers: appends the head to `out`, which the body is to follow as the result says.
    ///
    /// `fields` are the program's header fields. Those that are missing are added: `Date`, `Content-Length`,
    /// `Content-Type`, `Connection`, `Transfer-Encoding`. Those that would make the client misread where the answer
    /// ends are left out. A length that is not the body's makes the connection end after the answer.
    ///
    /// # Errors
    /// Nothing is appended then, and another answer can be given.
    pub fn reply<'f>(
        &mut self,
        reply: &Reply<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<Sends, BadHead> {
        if !matches!(self.phase, Phase::Owed) {
            return Err(BadHead::NotNow);
        }
        let given = judge(reply, fields.clone())?;
        Ok(self.write(reply, &given, fields, out))
    }

    /// As [`reply`](Self::reply), also before the request is complete: [`answer_early`](Self::answer_early) comes with it,
    /// unless the answer is refused. Then whoever waits for `100 Continue` still gets it.
    ///
    /// # Errors
    /// Those of [`reply`](Self::reply). Nothing has changed then.
    pub fn reply_early<'f>(
        &mut self,
        reply: &Reply<'_>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        out: &mut Vec<u8>,
    ) -> Result<Sends, BadHead> {
        if !matches!(self.phase, Phase::Owed) && !self.may_answer_early() {
            return Err(BadHead::NotNow);
        }
        let given = judge(reply, fields.clone())?;
        self.answer_early();
        Ok(self.write(reply, &given, fields, out))
    }

    fn write<'f>(
        &mut self,
        reply: &Reply<'_>,
        given: &Given,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        out: &mut Vec<u8>,
    ) -> Sends {
        let plan = self.plan(reply, given);
        if self.date.unix_seconds() != reply.date {
            self.date = Date::new(reply.date);
        }
        self.write_head(reply, given, &plan, fields, out);
        match reply.body {
            ReplyBody::Whole(_) => {
                self.phase = Phase::Replied { close: plan.close };
                Sends::Body(plan.sends)
            }
            ReplyBody::Parts => {
                self.phase = Phase::Replying(Replying {
                    framing: plan.framing,
                    close: plan.close,
                });
                Sends::Parts
            }
        }
    }

    /// A part of the answer, of `len` bytes: appends to `out` what is to be sent before it (`evhttp_send_reply_chunk`).
    pub fn part(&mut self, len: u64, out: &mut Vec<u8>) -> Part {
        match &mut self.phase {
            Phase::Replying(replying) => replying.framing.part(len, out),
            _ => Framing::Nothing.part(len, out),
        }
    }

    /// There are no more parts: appends to `out` what ends the answer (`evhttp_send_reply_end`).
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let Phase::Replying(replying) = self.phase else {
            return;
        };
        replying.framing.end(out);
        self.phase = Phase::Replied {
            close: replying.close || replying.framing.is_short(),
        };
    }

    /// Whether an answer in parts has begun of which no part is sent, since it can have no body: one to `HEAD`, or whose
    /// status says so. Its head is all of it.
    pub fn is_without_parts(&self) -> bool {
        matches!(self.phase, Phase::Replying(replying) if matches!(replying.framing, Framing::Nothing))
    }

    fn plan(&self, reply: &Reply<'_>, given: &Given) -> Plan {
        let request = self.request();
        let method = request.map(|request| request.method());
        let requested = request.map_or(Version::Http11, |request| request.version());
        let mut plan = Plan {
            version: reply.version.unwrap_or(requested),
            requested,
            framing: Framing::Nothing,
            // After an interim answer the client waits for the final one, and would take the next request's for it.
            close: !self.keep
                || given.connection.close
                || is_interim(reply.code)
                || (self.ahead && matches!(reply.body, ReplyBody::Whole(_))),
            sends: 0,
            // Only the end of HTTP: nobody has asked for that of the connection.
            switches: reply.code == 101
                && request
                    .is_some_and(|request| super::wants_to_live(request.lines.known(), requested)),
            tunnel: false,
            bodiless: false,
            keeps_length: false,
            keeps_codings: false,
            adds_length: false,
        };
        if !status::may_have_body(reply.code) || method == Some(Method::Head) {
            // The length of a body that is not there may be told, but not where there never is one.
            plan.bodiless = true;
            plan.keeps_length = (reply.code == 304 || status::may_have_body(reply.code))
                && matches!(given.length, GivenLength::Of(_));
            return plan;
        }
        if method == Some(Method::Connect) && reply.code < 300 {
            // What follows is the tunnel's.
            plan.tunnel = true;
            plan.framing = Framing::UntilClose;
            if let ReplyBody::Whole(len) = reply.body {
                plan.sends = len;
            }
            return plan;
        }
        match reply.body {
            ReplyBody::Whole(len) => plan.whole(len, given),
            ReplyBody::Parts => plan.parts(given),
        }
        plan
    }

    fn write_head<'f>(
        &self,
        reply: &Reply<'_>,
        given: &Given,
        plan: &Plan,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        out: &mut Vec<u8>,
    ) {
        out.reserve(256);
        out.extend_from_slice(plan.version.text());
        out.push(b' ');
        write::decimal(out, u64::from(reply.code));
        out.push(b' ');
        let usual = status::reason(reply.code).as_bytes();
        let reason = reply.reason.filter(|reason| header::is_value(reason));
        out.extend_from_slice(reason.unwrap_or(usual));
        out.extend_from_slice(b"\r\n");
        for (i, (name, value)) in fields.enumerate() {
            let writes = match given.kind(i, name) {
                Kind::Length => plan.keeps_length,
                Kind::Codings => plan.keeps_codings,
                Kind::Connection => !plan.close || plan.switches || given.connection.close,
                _ => true,
            };
            if writes {
                write::field(out, name, value);
            }
        }
        plan.write_own(reply, given, &self.date, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the program's fields say, if there can be such an answer.
fn judge<'f>(
    reply: &Reply<'_>,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) -> Result<Given, BadHead> {
    if !(100..=999).contains(&reply.code) {
        return Err(BadHead::Code);
    }
    let given = Given::of(fields)?;
    let content_type = reply.content_type;
    content_type
        .is_none_or(header::is_value)
        .then_some(given)
        .ok_or(BadHead::Field)
}

fn is_interim(code: u16) -> bool {
    code < 200 && code != 101
}

/// What becomes of an answer.
struct Plan {
    /// In the first line.
    version: Version,
    /// What the client understands.
    requested: Version,
    framing: Framing,
    close: bool,
    /// What follows is another protocol, and no end.
    switches: bool,
    /// Bytes of a body that is there as a whole.
    sends: u64,
    tunnel: bool,
    bodiless: bool,
    keeps_length: bool,
    keeps_codings: bool,
    adds_length: bool,
}

impl Plan {
    fn whole(&mut self, len: u64, given: &Given) {
        self.sends = len;
        if given.codings {
            // The program has done that itself; where the body ends is known to nobody but it.
            self.keeps_codings = self.requested == Version::Http11;
            self.close = true;
            return;
        }
        match given.length {
            GivenLength::Of(n) => {
                self.keeps_length = true;
                self.sends = len.min(n);
                self.close |= n != len;
            }
            // Without a length the end of the connection is the end of the body, as HTTP/1.0 has it.
            GivenLength::Missing if self.version == Version::Http10 && self.close => {}
            GivenLength::Missing | GivenLength::Bad => self.adds_length = true,
        }
    }

    fn parts(&mut self, given: &Given) {
        self.framing = match (given.length, self.requested) {
            (GivenLength::Of(n), _) if !given.codings => {
                self.keeps_length = true;
                Framing::Length(n)
            }
            (_, Version::Http11) => Framing::Chunked,
            (_, Version::Http10) => {
                self.close = true;
                Framing::UntilClose
            }
        };
    }

    /// The fields that the program has not set, in the order in which libevent has them.
    fn write_own(&self, reply: &Reply<'_>, given: &Given, date: &Date, out: &mut Vec<u8>) {
        if matches!(self.framing, Framing::Chunked) {
            write::field(out, b"Transfer-Encoding", b"chunked");
        }
        if self.requested == Version::Http10 && !self.close && !given.connection.keep_alive {
            write::field(out, b"Connection", b"keep-alive");
        }
        if self.version == Version::Http11 && !given.date {
            write::field(out, b"Date", date.as_bytes());
        }
        if self.adds_length {
            write::length_field(out, self.sends);
        }
        let has_type = self.bodiless || self.tunnel || given.content_type;
        if let Some(content_type) = reply.content_type.filter(|_| !has_type) {
            write::field(out, b"Content-Type", content_type);
        }
        // Without it, HTTP/1.0 closes.
        let says_close = given.connection.close
            || (self.version == Version::Http10 && !given.connection.keep_alive);
        if self.close && !self.switches && !says_close {
            write::field(out, b"Connection", b"close");
        }
    }
}
