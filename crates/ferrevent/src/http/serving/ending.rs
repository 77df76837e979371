//! How requests, connections and servers end.

use std::time::Duration;

use ferrevent_http::server::Next;

use super::connection::Phase;
use super::deadline::{PATIENCE, Waits};
use super::{ConnectionKey, Server};
use crate::base::Base;
use crate::event::Event;
use crate::http::Failure;
use crate::seat::Seat;

/// A server that takes no requests any more.
pub(super) struct Shutdown {
    told: Box<dyn FnOnce(&mut Base)>,
    deadline: Option<Event>,
}

/// The end.
impl Server {
    /// Takes no more connections and no more requests: frees the listeners, closes the connections on which nothing is
    /// asked, and lets those go on that have begun a request, until they have the answer (which says that the connection
    /// ends). Then the server is freed, and `told` is called from the loop.
    ///
    /// What is not done after `patience` is ended as it is; its handlers are told [`Failure::Shutdown`]. `None` waits for
    /// ever.
    ///
    /// Returns false, and drops `told`, if the server does not exist or is shutting down already.
    pub fn shut_down(
        self,
        base: &mut Base,
        patience: Option<Duration>,
        told: impl FnOnce(&mut Base) + 'static,
    ) -> bool {
        let Some(slot) = base.serving.servers.get_mut(self) else {
            return false;
        };
        if slot.shutdown.is_some() {
            return false;
        }
        let listeners = std::mem::take(&mut slot.listeners);
        slot.shutdown = Some(Shutdown {
            told: Box::new(told),
            deadline: None,
        });
        for listener in listeners {
            listener.free(base);
        }
        let deadline =
            patience.map(|patience| base.after(patience, move |base| self.lose_patience(base)));
        if let Some(shutdown) = self.shutdown_of(base) {
            shutdown.deadline = deadline;
        }
        for key in self.connections_of(base) {
            key.let_end(base);
        }
        self.end_if_deserted(base);
        true
    }

    /// Frees it, with its listeners and connections (`evhttp_free`). Answers that were not sent are lost, and nobody is
    /// called. Returns whether it existed.
    pub fn free(self, base: &mut Base) -> bool {
        let Some(slot) = base.serving.servers.remove(self) else {
            return false;
        };
        if let Some(deadline) = slot
            .shutdown
            .as_ref()
            .and_then(|shutdown| shutdown.deadline)
        {
            deadline.free(base);
        }
        for listener in &slot.listeners {
            listener.free(base);
        }
        for key in self.connections_of(base) {
            key.discard(base);
        }
        true
    }
}

impl ConnectionKey {
    /// All of an answer is with the system, or a part of it.
    pub(super) fn answer_written(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get(self) else {
            return;
        };
        if connection.bev.output_len(base) != Some(0) {
            return;
        }
        match (connection.phase, connection.request(self)) {
            (Phase::Replied, _) => {
                self.finish(base);
                self.advance(base);
            }
            // There would be no end of parts that nobody gets, not even once the client is gone.
            (Phase::Replying, Some(_)) if connection.is_all_sent() => {
                self.finish(base);
                self.advance(base);
            }
            (Phase::Replying, Some(request)) => {
                request.with_handler(base, |handler, base| handler.drained(base, request));
            }
            (Phase::Closing, _) => self.close(base),
            _ => {}
        }
    }

    /// An answer has been written, or nobody needs to know when it is: the end of its request.
    pub(super) fn finish(self, base: &mut Base) {
        self.end_request(base, Ok(()));
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.phase = Phase::Reading;
        // An answer without a body may not have been ended by the program.
        connection.machine.end(&mut Vec::new());
        connection.machine.set_limits(connection.settings.limits());
        let next = connection.machine.written();
        let (bev, lingers, ended) = (connection.bev, connection.lingers, connection.ended);
        // Where there is something behind the last request, there may be more of it.
        let lingers = lingers || bev.input_len(base).is_some_and(|len| len > 0);
        match next {
            Next::Request => {}
            Next::Close if lingers && !ended => self.linger(base),
            Next::Close => self.close(base),
        }
    }

    /// Tells the request's handler, and forgets the request.
    pub(super) fn end_request(self, base: &mut Base, outcome: Result<(), Failure>) {
        let Some(connection) = base.serving.connections.get(self) else {
            return;
        };
        let Some(request) = connection.request(self) else {
            return;
        };
        if !matches!(connection.handler, Seat::Empty) {
            request.with_handler(base, |handler, base| {
                handler.end(base, request, outcome);
            });
        }
        if let Some(connection) = request.served_mut(base) {
            let left = connection.end_request();
            // Whatever the program's code does when it is dropped.
            drop(left);
        }
    }

    /// Nothing more can be sent, or is to be. The request's handler is told.
    pub(super) fn fail(self, base: &mut Base, failure: Failure) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.phase = Phase::Failed;
        connection.bev.free(base);
        self.end_request(base, Err(failure));
        self.forget(base);
    }

    /// Ends it once everything is sent.
    pub(super) fn close(self, base: &mut Base) {
        let Some(bev) = base.serving.connections.get(self).map(|it| it.bev) else {
            return;
        };
        if bev.output_len(base).unwrap_or(0) == 0 {
            bev.free_when_drained(base, Some(PATIENCE));
            return self.forget(base);
        }
        // Until then it is one of the server's.
        if let Some(connection) = base.serving.connections.get_mut(self) {
            connection.phase = Phase::Closing;
        }
        self.set_deadline(base, Waits::Sent);
    }

    /// Tells the client the end, and waits for its own.
    fn linger(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.phase = Phase::Lingering;
        if !connection.bev.finish(base, Some(PATIENCE)) {
            return self.close(base);
        }
        self.set_deadline(base, Waits::End);
    }

    /// Ends it at once.
    pub(super) fn discard(self, base: &mut Base) {
        if let Some(connection) = base.serving.connections.get(self) {
            connection.bev.free(base);
            self.forget(base);
        }
    }

    /// Its bufferevent is freed, or somebody else's.
    pub(super) fn forget(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.remove(self) else {
            return;
        };
        base.serving.served.remove(connection.bev);
        connection.timer.free(base);
        connection.server.connection_went(base);
        // The request's handler, of the program's code, at last.
        drop(connection);
    }
}

impl Server {
    /// There is one less.
    fn connection_went(self, base: &mut Base) {
        let Some(slot) = base.serving.servers.get_mut(self) else {
            return;
        };
        slot.connections = slot.connections.saturating_sub(1);
        if slot.full && slot.connections < slot.settings.max_connections {
            slot.full = false;
            for listener in slot.listeners.clone() {
                // One that the kernel does not watch now is none any more.
                let _ = listener.enable(base);
            }
        }
        self.end_if_deserted(base);
    }

    fn connections_of(self, base: &Base) -> Vec<ConnectionKey> {
        let all = base.serving.connections.iter();
        all.filter(|(_, connection)| connection.server == self)
            .map(|(key, _)| key)
            .collect()
    }

    fn shutdown_of(self, base: &mut Base) -> Option<&mut Shutdown> {
        base.serving.servers.get_mut(self)?.shutdown.as_mut()
    }

    /// A server that shuts down has no connections any more.
    fn end_if_deserted(self, base: &mut Base) {
        let Some(slot) = base.serving.servers.get(self) else {
            return;
        };
        if slot.shutdown.is_none() || slot.connections > 0 {
            return;
        }
        let slot = base.serving.servers.remove(self);
        let Some(shutdown) = slot.and_then(|slot| slot.shutdown) else {
            return;
        };
        if let Some(deadline) = shutdown.deadline {
            deadline.free(base);
        }
        base.push_task(shutdown.told);
    }

    fn lose_patience(self, base: &mut Base) {
        if let Some(shutdown) = self.shutdown_of(base) {
            shutdown.deadline = None;
        }
        for key in self.connections_of(base) {
            key.fail(base, Failure::Shutdown);
        }
    }
}

impl ConnectionKey {
    /// Lets a connection end after the request that it has begun.
    fn let_end(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.machine.set_last();
        let bev = connection.bev;
        let idle = connection.phase == Phase::Reading && !connection.machine.is_reading();
        if !bev.exists(base) {
            // Somebody else has freed it.
            return self.forget(base);
        }
        // A request that has come just now is served.
        if idle && bev.input_len(base).unwrap_or(0) == 0 {
            self.close(base);
        }
    }
}
