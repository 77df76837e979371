//! What comes on a connection: requests, and what becomes of them.

use ferrevent_core::Dirs;
use ferrevent_http::server::{CONTINUE, Refusal};
use ferrevent_http::{Left, Step};

use super::connection::{MOST_UNTAKEN, Phase};
use super::deadline::Waits;
use super::{Body, ConnectionKey, Request, Server, Service};
use crate::base::Base;
use crate::bufferevent::lend;
use crate::http::Failure;

/// How many bytes of answers may be waiting while another request is read.
const MOST_UNSENT: usize = 64 << 10;

impl ConnectionKey {
    /// Works on what has come, until more is needed, or an answer.
    pub(super) fn advance(self, base: &mut Base) {
        base.tick();
        while self.take_step(base) {}
        self.rest(base);
    }

    /// Does one thing. Whether there may be more to do.
    fn take_step(self, base: &mut Base) -> bool {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return false;
        };
        let bev = connection.bev;
        let Some(mut input) = lend(&mut base.streams, &mut base.core, bev, Dirs::READ) else {
            return false;
        };
        if matches!(connection.phase, Phase::Lingering | Phase::Closing) {
            // There is nothing that could refuse it.
            let _ = input.drain(usize::MAX);
            return false;
        }
        let holds = connection.holds();
        let step = match holds {
            true => Ok(Step::Wait),
            false => connection.machine.read(&mut *input),
        };
        match step {
            Ok(Step::Body(n)) if connection.wants_body() => {
                // The chunks move; no byte is copied.
                let moved = connection.body.append_from(&mut input, n);
                debug_assert_eq!(moved.ok(), Some(n));
                connection.untold = connection.streams;
            }
            Ok(Step::Body(n) | Step::Discard(n)) => {
                let drained = input.drain(n);
                debug_assert!(drained.is_ok());
            }
            _ => {}
        }
        drop(input);
        if connection.untold && matches!(step, Ok(Step::Wait | Step::Complete)) {
            self.tell_body(base);
        }
        match step {
            Ok(Step::Wait) => return self.may_read_on(base, holds),
            Ok(Step::Head) => self.begin(base),
            Ok(Step::Continue) => {
                // A connection that cannot take it tells so by itself.
                let _ = bev.write(base, CONTINUE);
            }
            Ok(Step::Complete) => self.complete(base),
            Ok(Step::Body(_) | Step::Discard(_) | Step::Interim) => {}
            Err(refusal) => self.refuse(base, refusal),
        }
        true
    }

    /// Whether the body was taken that has stood in the way.
    fn may_read_on(self, base: &Base, held: bool) -> bool {
        let connection = base.serving.connections.get(self);
        held && connection.is_some_and(|connection| connection.body.len() < MOST_UNTAKEN)
    }

    fn tell_body(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.untold = false;
        if let Some(request) = connection.request(self) {
            request.with_handler(base, |handler, base| handler.body(base, request));
        }
    }

    /// The head of a request has been read.
    fn begin(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.begin_request();
        let server = connection.server;
        let method = connection.machine.request().map(|head| head.method());
        let (Some(request), Some(method)) = (connection.request(self), method) else {
            return;
        };
        if !connection.settings.allows(method) {
            let refusal = connection.settings.refusal_of(method);
            return request.reply_or_give_up(base, refusal);
        }
        let body = server.with_service(base, |service, base| service.head(base, request));
        let Some(connection) = request.served_mut(base) else {
            return;
        };
        if connection.phase != Phase::Reading {
            return;
        }
        match body {
            Some(Body::Stream) => {
                connection.streams = true;
                connection.phase = Phase::Asked;
                request.ask(base, server);
            }
            Some(Body::Collect) => request.collect(base),
            None => request.have_no_service(base),
        }
    }

    /// All of the request has come.
    fn complete(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        let server = connection.server;
        let Some(request) = connection.request(self) else {
            return;
        };
        match connection.phase {
            Phase::Reading => {
                connection.phase = Phase::Asked;
                request.ask(base, server);
            }
            Phase::Asked | Phase::Replying => {
                request.with_handler(base, |handler, base| {
                    handler.complete(base, request);
                });
                if request.served(base).is_some_and(|it| it.is_all_sent()) {
                    request.tell_if_drained(base);
                }
            }
            Phase::Replied | Phase::Closing | Phase::Lingering | Phase::Failed => {}
        }
        if request.may_go_on(base) {
            self.finish(base);
        }
    }

    /// What has come is no request, or the rest of one is none.
    fn refuse(self, base: &mut Base, refusal: Refusal) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.lingers = true;
        match connection.phase {
            Phase::Reading | Phase::Asked => {
                let page = connection.settings.error(refusal.code(), None);
                connection.phase = Phase::Replied;
                self.end_request(base, Err(Failure::Message(refusal.0)));
                self.send_last(base, page);
            }
            Phase::Replying => self.fail(base, Failure::Message(refusal.0)),
            Phase::Replied | Phase::Closing | Phase::Lingering | Phase::Failed => {}
        }
    }

    /// What is read from now on, and for how long the client may be silent.
    fn rest(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get(self) else {
            return;
        };
        let bev = connection.bev;
        let Some(has_input) = bev.input_len(base).map(|len| len > 0) else {
            // Somebody has freed it.
            return self.forget(base);
        };
        let (ended, wants_input) = (connection.ended, connection.machine.wants_input());
        let holds = connection.holds();
        let (reads, waits) = match connection.phase {
            Phase::Reading if ended => return self.end_halfway(base),
            Phase::Asked | Phase::Replying if wants_input && ended && !holds => {
                return self.fail(base, Failure::Eof);
            }
            Phase::Reading if connection.has_request => (true, Waits::Body),
            Phase::Reading if connection.machine.is_reading() || connection.is_fresh() => {
                (true, Waits::Head)
            }
            Phase::Reading => (true, Waits::Next),
            Phase::Closing => (false, Waits::Sent),
            Phase::Lingering => (true, Waits::End),
            Phase::Asked | Phase::Replying if wants_input => match holds {
                true => (false, Waits::Nothing),
                false => (true, Waits::Body),
            },
            Phase::Replied if wants_input => (true, Waits::Nothing),
            // Nothing can be done with more input: that there is some is enough. Without any, the end of it is to be known.
            Phase::Asked | Phase::Replying | Phase::Replied => (!has_input, Waits::Nothing),
            Phase::Failed => return,
        };
        let enabled = bev
            .enabled(base)
            .is_some_and(|dirs| dirs.contains(Dirs::READ));
        if !reads && enabled {
            bev.disable(base, Dirs::READ);
        }
        if reads && !enabled && !ended && bev.enable(base, Dirs::READ).is_err() {
            return self.fail(base, Failure::Eof);
        }
        self.set_deadline(base, waits);
    }
}

impl ConnectionKey {
    /// The client sends nothing more, and there is no request, or the beginning of one. Answers to what came before may still
    /// be on their way.
    fn end_halfway(self, base: &mut Base) {
        if let Some(connection) = base.serving.connections.get_mut(self) {
            connection.phase = Phase::Replied;
            self.end_request(base, Err(Failure::Eof));
            self.close(base);
        }
    }
}

impl Request {
    /// The body is collected.
    fn collect(self, base: &mut Base) {
        let Some(connection) = self.served_mut(base) else {
            return;
        };
        let mut limits = connection.settings.limits();
        limits.body = connection.settings.max_body;
        let too_long = matches!(connection.machine.left(), Left::Bytes(n) if n > limits.body);
        connection.machine.set_limits(limits);
        if too_long {
            let refusal = connection.settings.error(413, None);
            self.reply_or_give_up(base, refusal);
        }
    }

    /// It is the program's turn.
    fn ask(self, base: &mut Base, server: Server) {
        let asked = server.with_service(base, |service, base| service.request(base, self));
        if asked.is_none() {
            self.have_no_service(base);
        }
    }

    /// The service has panicked, some time ago.
    fn have_no_service(self, base: &mut Base) {
        if let Some(connection) = self.served_mut(base) {
            let refusal = connection.settings.error(500, None);
            self.reply_or_give_up(base, refusal);
        }
    }

    /// Whether the next request can be read before the answer to this one has been written. Then the answers leave together;
    /// one by one they would be small packets.
    fn may_go_on(self, base: &Base) -> bool {
        let Some(connection) = self.served(base) else {
            return false;
        };
        let bev = connection.bev;
        connection.phase == Phase::Replied
            && connection.machine.keep_alive()
            && matches!(connection.handler, crate::seat::Seat::Empty)
            && bev.input_len(base).is_some_and(|len| len > 0)
            && bev.output_len(base).is_some_and(|len| len <= MOST_UNSENT)
    }
}

impl Server {
    /// Takes the service out for the time that it runs. `None` if it has panicked.
    fn with_service<R>(
        self,
        base: &mut Base,
        run: impl FnOnce(&mut dyn Service, &mut Base) -> R,
    ) -> Option<R> {
        let slot = base.serving.servers.get_mut(self)?;
        let mut service = slot.service.take()?;
        let result = run(&mut *service, base);
        if let Some(slot) = base.serving.servers.get_mut(self) {
            slot.service.put_back(service);
        }
        Some(result)
    }
}

impl super::Connection {
    /// Whether more of the body is not read before some of it is taken.
    fn holds(&self) -> bool {
        self.streams && self.wants_body() && self.body.len() >= MOST_UNTAKEN
    }

    /// Whether anybody wants the body.
    fn wants_body(&self) -> bool {
        match self.phase {
            Phase::Reading => true,
            Phase::Asked | Phase::Replying => self.streams,
            Phase::Replied | Phase::Closing | Phase::Lingering | Phase::Failed => false,
        }
    }
}
