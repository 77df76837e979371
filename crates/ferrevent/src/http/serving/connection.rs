//! A connection of a server, and what its bufferevent tells.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ferrevent_core::Dirs;
use ferrevent_core::buffer::Buffer;
use ferrevent_http::server;

use super::deadline::Waits;
use super::{ConnectionKey, Request, RequestHandler, Server, Settings};
use crate::base::Base;
use crate::bufferevent::{BufferEvent, Condition, Handler};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::http::Failure;
use crate::seat::Seat;

/// How much of a streamed body may wait to be taken before no more is read.
pub(super) const MOST_UNTAKEN: usize = 64 << 10;

pub(crate) struct Connection {
    pub(super) server: Server,
    pub(super) settings: Rc<Settings>,
    pub(super) bev: BufferEvent,
    pub(super) peer: Option<SocketAddr>,
    pub(super) machine: server::Connection,
    /// Of the request that is there now, or that comes next.
    number: u64,
    pub(super) phase: Phase,
    /// There is a request, of which at least the head has come.
    pub(super) has_request: bool,
    /// The request's body is told as it comes.
    pub(super) streams: bool,
    /// Something of it has come that was not told.
    pub(super) untold: bool,
    pub(super) body: Buffer,
    pub(super) handler: Seat<dyn RequestHandler>,
    /// The client will send nothing more.
    pub(super) ended: bool,
    /// When it ends, there may be something of the client's on its way.
    pub(super) lingers: bool,
    /// Memory for heads.
    pub(super) out: Vec<u8>,
    pub(super) timer: Event,
    /// When the client's time is over, and for what it is.
    pub(super) deadline: Option<(u64, Waits)>,
    /// When the timer comes, if it will.
    pub(super) armed: Option<u64>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reading a request, or waiting for one.
    Reading,
    /// The program has a request, and has not begun to answer it.
    Asked,
    /// The program sends the parts of an answer.
    Replying,
    /// All of the answer is in the output.
    Replied,
    /// What is in the output is all that there will be.
    Closing,
    /// Everything is sent, and the client was told the end. What still comes is thrown away, so that the answer is not lost
    /// with it: who gets bytes on a closed connection tells the sender, who then forgets what it has not read.
    Lingering,
    /// The connection has failed, which the program is being told.
    Failed,
}

impl Connection {
    pub(super) fn is_at(&self, request: Request) -> bool {
        self.has_request && self.number == request.number
    }

    /// The request that has begun.
    pub(super) fn request(&self, key: ConnectionKey) -> Option<Request> {
        self.has_request.then_some(Request {
            connection: key,
            number: self.number,
        })
    }

    /// A request begins.
    pub(super) fn begin_request(&mut self) {
        self.has_request = true;
        self.streams = false;
    }

    /// A request has ended; its key finds nothing any more. What it leaves is the caller's to drop.
    #[must_use]
    pub(super) fn end_request(&mut self) -> (Buffer, Seat<dyn RequestHandler>) {
        self.has_request = false;
        self.number += 1;
        self.streams = false;
        self.untold = false;
        let body = std::mem::take(&mut self.body);
        (body, std::mem::replace(&mut self.handler, Seat::Empty))
    }

    /// Whether there is nothing to come in an answer in parts, because it can have no body; what the client sends may be
    /// awaited all the same.
    pub(super) fn is_all_sent(&self) -> bool {
        self.machine.is_without_parts() && !self.machine.wants_input()
    }

    /// Whether nothing has come of any request.
    pub(super) fn is_fresh(&self) -> bool {
        self.number == 0
    }
}

/// The handler of a connection's bufferevent.
struct Served(ConnectionKey);

impl Handler for Served {
    fn read(&mut self, base: &mut Base, _: BufferEvent) {
        self.0.advance(base);
    }

    fn write(&mut self, base: &mut Base, _: BufferEvent) {
        self.0.answer_written(base);
    }

    fn event(&mut self, base: &mut Base, _: BufferEvent, condition: Condition) {
        match condition {
            Condition::Connected => {}
            // Of what this side has ended itself.
            Condition::Eof { dirs } if !dirs.contains(Dirs::READ) => {}
            Condition::Eof { .. } => self.0.client_ended(base),
            Condition::Timeout { .. } => self.0.fail(base, Failure::Timeout),
            Condition::Error { error, .. } => {
                self.0.fail(base, Failure::Connection(Arc::new(error)));
            }
        }
    }
}

impl Server {
    /// One more connection is its own.
    pub(super) fn take(
        self,
        base: &mut Base,
        bev: BufferEvent,
        peer: Option<SocketAddr>,
    ) -> Result<()> {
        let slot = base.serving.servers.get(self).ok_or(Error::Stale)?;
        let settings = slot.settings.clone();
        let mut machine = server::Connection::new();
        machine.set_limits(settings.limits());
        if !bev.exists(base) {
            return Err(Error::Stale);
        }
        if base.serving.served.contains_key(bev) {
            return Err(Error::Served);
        }
        bev.set_timeouts(base, None, settings.write_timeout);
        bev.enable(base, Dirs::READ | Dirs::WRITE)?;
        let key = base.serving.connections.insert(Connection {
            server: self,
            settings,
            bev,
            peer,
            machine,
            number: 0,
            phase: Phase::Reading,
            has_request: false,
            streams: false,
            untold: false,
            body: Buffer::new(),
            handler: Seat::Empty,
            ended: false,
            lingers: false,
            out: Vec::new(),
            timer: Event::default(),
            deadline: None,
            armed: None,
        });
        if !bev.set_handler(base, Served(key)) {
            base.serving.connections.remove(key);
            return Err(Error::Layered);
        }
        base.serving.served.insert(bev, ());
        let timer = Event::timer(base, move |base, _| key.deadline_may_be_over(base));
        if let Some(connection) = base.serving.connections.get_mut(key) {
            connection.timer = timer;
        }
        self.connection_came(base);
        key.set_deadline(base, Waits::Head);
        if bev.input_len(base).unwrap_or(0) > 0 {
            bev.trigger(base, Dirs::READ, true);
        }
        Ok(())
    }

    /// There is one more.
    fn connection_came(self, base: &mut Base) {
        let Some(slot) = base.serving.servers.get_mut(self) else {
            return;
        };
        slot.connections += 1;
        if slot.connections < slot.settings.max_connections || slot.full {
            return;
        }
        slot.full = true;
        for listener in slot.listeners.clone() {
            listener.disable(base);
        }
    }
}

impl ConnectionKey {
    /// The client has ended its direction.
    fn client_ended(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.ended = true;
        if connection.phase == Phase::Lingering {
            return self.discard(base);
        }
        // What came last may not have been announced. Whoever is in the middle of a request is done with.
        self.advance(base);
        let Some(connection) = base.serving.connections.get(self) else {
            return;
        };
        if matches!(connection.phase, Phase::Asked | Phase::Replying)
            && !connection.machine.wants_input()
            && let Some(request) = connection.request(self)
        {
            request.with_handler(base, |handler, base| {
                handler.client_ended(base, request);
            });
        }
    }
}
