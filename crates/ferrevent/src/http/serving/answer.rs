//! Giving answers.

use std::time::SystemTime;

use ferrevent_core::Dirs;
use ferrevent_core::buffer::Buffer;
use ferrevent_http::server::{self, ReplyBody, Sends};
use ferrevent_http::{BadHead, Left, Method};

use super::connection::Phase;
use super::{ConnectionKey, Reply, Request};
use crate::base::Base;
use crate::bufferevent::{BufferEvent, lend};
use crate::error::{Error, Result};

/// Answers. None of these calls anybody; what is sent leaves when the loop goes on.
impl Request {
    /// Gives the whole answer (`evhttp_send_reply`). If the request's body is still to come, the connection ends after it.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Head`] if it has been answered already, or the answer has a status or a field that there
    /// cannot be: then another one can be given.
    pub fn reply(self, base: &mut Base, mut reply: Reply) -> Result<()> {
        self.write_whole(base, &mut reply)?;
        if let Some(connection) = self.served_mut(base) {
            connection.phase = Phase::Replied;
            // A body that nobody wants goes its way.
            connection.lingers |= connection.machine.wants_input();
        }
        Ok(())
    }

    /// Answers that something went wrong, with the server's [page](super::ServerBuilder::error_page) of this status
    /// (`evhttp_send_error`). `None` for the usual reason.
    ///
    /// # Errors
    /// Those of [`reply`](Self::reply).
    pub fn error(self, base: &mut Base, code: u16, reason: Option<&str>) -> Result<()> {
        let connection = self.served(base).ok_or(Error::Stale)?;
        let page = connection.settings.error(code, reason.map(str::as_bytes));
        self.reply(base, page)
    }

    /// Begins an answer in parts, of which the body that `reply` has is the first (`evhttp_send_reply_start`). Without a
    /// `Content-Length` among its fields, it is sent in chunks, or to HTTP/1.0 until the connection ends. The request's body
    /// may still be coming.
    ///
    /// # Errors
    /// Those of [`reply`](Self::reply).
    pub fn start(self, base: &mut Base, mut reply: Reply) -> Result<()> {
        self.write_head(base, &reply, ReplyBody::Parts)?;
        let connection = self.served_mut(base).ok_or(Error::Stale)?;
        connection.phase = Phase::Replying;
        self.write_part(base, &mut reply.body)
    }

    /// Sends a copy of `data` as a part of the answer (`evhttp_send_reply_chunk`). What is beyond a `Content-Length` that
    /// was given is thrown away. To send no more than the client takes, wait for
    /// [`RequestHandler::drained`](super::RequestHandler::drained) or look at [`unsent`](Self::unsent).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Head`] if no answer in parts has begun.
    pub fn part(self, base: &mut Base, data: impl AsRef<[u8]>) -> Result<()> {
        self.part_buffer(base, &mut data.as_ref().into())
    }

    /// As [`part`](Self::part), without a copy: takes everything out of `data`.
    ///
    /// # Errors
    /// Those of [`part`](Self::part).
    pub fn part_buffer(self, base: &mut Base, data: &mut Buffer) -> Result<()> {
        let connection = self.served(base).ok_or(Error::Stale)?;
        if connection.phase != Phase::Replying {
            return Err(BadHead::NotNow.into());
        }
        self.write_part(base, data)?;
        self.tell_if_drained(base);
        Ok(())
    }

    /// There are no more parts (`evhttp_send_reply_end`). If there were fewer bytes than a `Content-Length` has promised, or
    /// the request's body is still to come, the connection ends.
    ///
    /// # Errors
    /// Those of [`part`](Self::part).
    pub fn end(self, base: &mut Base) -> Result<()> {
        base.tick();
        let connection = base
            .serving
            .connections
            .get_mut(self.connection)
            .filter(|connection| connection.is_at(self))
            .ok_or(Error::Stale)?;
        if connection.phase != Phase::Replying {
            return Err(BadHead::NotNow.into());
        }
        connection.out.clear();
        connection.lingers |= connection.machine.wants_input();
        connection.machine.end(&mut connection.out);
        connection.phase = Phase::Replied;
        let bev = connection.bev;
        let output = lend(&mut base.streams, &mut base.core, bev, Dirs::WRITE);
        output.ok_or(Error::Stale)?.append(&connection.out)?;
        self.tell_if_drained(base);
        Ok(())
    }

    /// Ends HTTP on its connection, and gives that out: with a 101 to a request that asked for another protocol, or with a
    /// 2xx to a `CONNECT`. `reply` has the fields that go with it (`Upgrade`, `Connection`).
    ///
    /// The bufferevent is yours. It has no handler and no timeouts; what the client has sent behind its request is in the
    /// input, and the answer on its way. The request's own handler is dropped without a call.
    ///
    /// # Errors
    /// Those of [`reply`](Self::reply); [`BadHead::NotNow`] also while the request's body is still to come, [`BadHead::Code`]
    /// for another status.
    pub fn upgrade(self, base: &mut Base, mut reply: Reply) -> Result<BufferEvent> {
        let connection = self.served_mut(base).ok_or(Error::Stale)?;
        let method = connection.machine.request().map(|head| head.method());
        let connects = method == Some(Method::Connect) && matches!(reply.code, 200..=299);
        if reply.code != 101 && !connects {
            return Err(BadHead::Code.into());
        }
        if connection.machine.left() != Left::Bytes(0) {
            return Err(BadHead::NotNow.into());
        }
        self.write_whole(base, &mut reply)?;
        let bev = self.served(base).ok_or(Error::Stale)?.bev;
        self.connection.forget(base);
        bev.clear_handler(base);
        bev.set_timeouts(base, None, None);
        Ok(bev)
    }

    /// Closes its connection without an answer (or without the rest of one), and calls nobody. Returns whether it existed.
    pub fn abort(self, base: &mut Base) -> bool {
        let exists = self.exists(base);
        if exists {
            self.connection.discard(base);
        }
        exists
    }
}

impl Request {
    /// Gives an answer of the server's own. If it is none, the program's page of errors is to blame.
    pub(super) fn reply_or_give_up(self, base: &mut Base, reply: Reply) {
        if self.reply(base, reply).is_err() && self.served(base).is_some() {
            self.connection.discard(base);
        }
    }

    fn write_whole(self, base: &mut Base, reply: &mut Reply) -> Result<()> {
        let body = ReplyBody::Whole(reply.body.len() as u64);
        let sends = self.write_head(base, reply, body)?;
        let bev = self.served(base).ok_or(Error::Stale)?.bev;
        let output = lend(&mut base.streams, &mut base.core, bev, Dirs::WRITE);
        if let Sends::Body(n) = sends {
            let n = usize::try_from(n).unwrap_or(usize::MAX);
            output
                .ok_or(Error::Stale)?
                .append_from(&mut reply.body, n)?;
        }
        Ok(())
    }

    fn write_head(self, base: &mut Base, reply: &Reply, body: ReplyBody) -> Result<Sends> {
        base.tick();
        let connection = base
            .serving
            .connections
            .get_mut(self.connection)
            .filter(|connection| connection.is_at(self))
            .ok_or(Error::Stale)?;
        if matches!(connection.phase, Phase::Replying | Phase::Replied) {
            return Err(BadHead::NotNow.into());
        }
        let bev = connection.bev;
        let mut output =
            lend(&mut base.streams, &mut base.core, bev, Dirs::WRITE).ok_or(Error::Stale)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let head = server::Reply {
            code: reply.code,
            reason: reply.reason.as_deref(),
            body,
            date: now.unwrap_or_default().as_secs(),
            content_type: connection.settings.content_type.as_deref(),
            version: None,
        };
        connection.out.clear();
        let fields = reply.fields.iter();
        let sends = connection
            .machine
            .reply_early(&head, fields, &mut connection.out)?;
        output.append(&connection.out)?;
        Ok(sends)
    }

    fn write_part(self, base: &mut Base, data: &mut Buffer) -> Result<()> {
        base.tick();
        let connection = base
            .serving
            .connections
            .get_mut(self.connection)
            .filter(|connection| connection.is_at(self))
            .ok_or(Error::Stale)?;
        let bev = connection.bev;
        let mut output =
            lend(&mut base.streams, &mut base.core, bev, Dirs::WRITE).ok_or(Error::Stale)?;
        connection.out.clear();
        let part = connection
            .machine
            .part(data.len() as u64, &mut connection.out);
        let send = usize::try_from(part.send).unwrap_or(usize::MAX);
        output.append(&connection.out)?;
        output.append_from(data, send)?;
        output.append(part.after)?;
        // What is beyond the promised length.
        data.drain(usize::MAX)?;
        Ok(())
    }

    /// What was given may have been nothing that could be reported as sent.
    pub(super) fn tell_if_drained(self, base: &mut Base) {
        if let Some(connection) = self.served(base) {
            if connection.machine.is_without_parts() && !connection.is_all_sent() {
                // One part after the other would be nothing. It ends with the request's body.
                return;
            }
            let bev = connection.bev;
            if bev.output_len(base) == Some(0) {
                bev.trigger(base, Dirs::WRITE, true);
            }
        }
    }
}

impl ConnectionKey {
    /// Answers what is no request.
    pub(super) fn send_last(self, base: &mut Base, mut page: Reply) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        // For the moment of the answer it is one.
        connection.phase = Phase::Asked;
        connection.begin_request();
        let Some(request) = connection.request(self) else {
            return;
        };
        if request.write_whole(base, &mut page).is_err() {
            return self.discard(base);
        }
        if let Some(connection) = base.serving.connections.get_mut(self) {
            connection.phase = Phase::Replied;
            drop(connection.end_request());
        }
    }
}
