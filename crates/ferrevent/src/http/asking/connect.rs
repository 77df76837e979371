//! Connecting, trying again, and what follows the end of a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ferrevent_core::Dirs;

use super::{Client, ClientSlot, Exchange, Phase};
use crate::base::Base;
use crate::bufferevent::{BufferEvent, Condition, Handler};
use crate::error::{Error, Result};
use crate::http::Failure;

/// The handler of a client's bufferevent.
struct Line(Client);

impl Handler for Line {
    fn read(&mut self, base: &mut Base, _: BufferEvent) {
        self.0.advance(base);
    }

    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        self.0.written(base, bev);
    }

    fn event(&mut self, base: &mut Base, _: BufferEvent, condition: Condition) {
        let failure = match condition {
            Condition::Connected => return self.0.connected(base),
            Condition::Eof { dirs } if !dirs.contains(Dirs::READ) => return,
            Condition::Eof { .. } => return self.0.server_ended(base),
            // The server may have said why it takes no more.
            Condition::Error { dirs, .. }
                if dirs == Dirs::WRITE && self.0.may_be_answered(base) =>
            {
                return;
            }
            Condition::Timeout { .. } => Failure::Timeout,
            Condition::Error { error, .. } => Failure::Connection(Arc::new(error)),
        };
        self.0.line_failed(base, failure);
    }
}

impl Client {
    /// Makes a connection for what is asked.
    pub(super) fn connect(self, base: &mut Base) {
        let bev = BufferEvent::unconnected(base);
        let Some(slot) = base.asking.clients.get_mut(self) else {
            bev.free(base);
            return;
        };
        slot.phase = Phase::Connecting;
        slot.bev = Some(bev);
        slot.ended = false;
        slot.used = false;
        slot.machine.reset();
        let (timer, patience) = (slot.timer, slot.settings.connect_timeout);
        bev.set_handler(base, Line(self));
        if patience.is_some() {
            base.tick();
            // Not one of the bufferevent's: TLS that is being made has none. A timer is always taken.
            let _ = timer.add(base, patience);
        }
        if let Err(error) = self.dial(base, bev) {
            // It is told from the loop.
            let dirs = Dirs::empty();
            bev.trigger_event(base, Condition::Error { dirs, error });
        }
    }

    fn dial(self, base: &mut Base, bev: BufferEvent) -> Result<()> {
        let slot = base.asking.clients.get(self).ok_or(Error::Stale)?;
        let (origin, resolver) = (slot.origin.clone(), slot.settings.resolver);
        bev.enable(base, Dirs::READ)?;
        #[cfg(feature = "tls")]
        if origin.secure {
            let slot = base.asking.clients.get(self).ok_or(Error::Stale)?;
            let config = slot.settings.tls.clone();
            let config = config.unwrap_or_else(|| crate::tls_client_config(&[b"http/1.1"]));
            bev.secure(base, crate::TlsSession::client(config, &origin.host)?)?;
        }
        if let Ok(address) = origin.host.parse::<IpAddr>() {
            return bev.connect(base, SocketAddr::new(address, origin.port));
        }
        let resolver = match resolver {
            Some(resolver) => resolver,
            None => base.resolver()?,
        };
        bev.connect_host_with(base, resolver, &origin.host, origin.port)
    }

    /// The request cannot be sent to its end: whether there can be an answer all the same.
    fn may_be_answered(self, base: &mut Base) -> bool {
        let Some(slot) = base.asking.clients.get(self) else {
            return false;
        };
        let (Phase::Asked, Some(bev)) = (slot.phase, slot.bev) else {
            return false;
        };
        let timeout = slot.settings.timeout;
        let reads = bev
            .enabled(base)
            .is_some_and(|dirs| dirs.contains(Dirs::READ));
        bev.set_timeouts(base, timeout, None);
        self.stop_body(base);
        reads
    }

    fn connected(self, base: &mut Base) {
        if let Some(slot) = base.asking.clients.get_mut(self)
            && slot.phase == Phase::Connecting
        {
            slot.phase = Phase::Idle;
            slot.retried = 0;
            let timer = slot.timer;
            timer.del(base);
            self.proceed(base);
        }
    }

    /// It has been waited for long enough: to try again, or for a connection.
    pub(super) fn time_is_up(self, base: &mut Base) {
        let phase = base.asking.clients.get(self).map(|slot| slot.phase);
        match phase {
            Some(Phase::Waiting) => self.proceed(base),
            Some(Phase::Connecting) => self.connecting_failed(base, Failure::Timeout),
            _ => {}
        }
    }

    /// There is nothing to ask: whatever comes now is the end of the connection.
    pub(super) fn rest(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get(self) else {
            return;
        };
        if slot.ends {
            self.free(base);
            return;
        }
        let Some(bev) = slot.bev else {
            return;
        };
        let idle = slot.settings.idle_timeout;
        bev.set_timeouts(base, idle, None);
        if bev.enable(base, Dirs::READ).is_err() {
            self.disconnect(base);
        }
    }

    /// The connection has failed, or could not be made.
    fn line_failed(self, base: &mut Base, failure: Failure) {
        let Some(slot) = base.asking.clients.get(self) else {
            return;
        };
        match slot.phase {
            Phase::Connecting => self.connecting_failed(base, failure),
            Phase::Asked => self.fail(base, failure),
            _ => self.disconnect(base),
        }
    }

    /// Tries again, or tells all who wait.
    pub(super) fn connecting_failed(self, base: &mut Base, failure: Failure) {
        self.disconnect(base);
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        if let Some(wait) = slot.next_try() {
            slot.phase = Phase::Waiting;
            // A timer is always taken.
            let _ = slot.timer.add(base, Some(wait));
            return;
        }
        // Those who ask again when they are told have another try of their own.
        slot.retried = 0;
        slot.phase = Phase::Ending;
        let waiting: Vec<u64> = slot.queue.iter().map(|asked| asked.number).collect();
        for number in waiting {
            let exchange = Exchange {
                client: self,
                number,
            };
            exchange.tell_end(base, Err(failure.clone()));
        }
        self.over(base);
    }

    /// The first request is over, without an answer.
    pub(super) fn fail(self, base: &mut Base, failure: Failure) {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        let lost = matches!(failure, Failure::Eof | Failure::Connection(_));
        // Once: a new connection has not been used.
        let may_ask_again = lost && slot.used && !slot.heard;
        let Some(asked) = slot.queue.front() else {
            return self.disconnect(base);
        };
        if may_ask_again && asked.may_be_repeated() {
            self.disconnect(base);
            return self.proceed(base);
        }
        let exchange = Exchange {
            client: self,
            number: asked.number,
        };
        slot.phase = Phase::Ending;
        if let Some(bev) = slot.bev.take() {
            bev.free(base);
        }
        exchange.tell_end(base, Err(failure));
        self.disconnect(base);
        self.go_on(base);
    }

    /// Closes the connection, if there is one.
    pub(super) fn disconnect(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        slot.phase = Phase::Apart;
        slot.machine.reset();
        slot.untold = false;
        let (timer, bev) = (slot.timer, slot.bev.take());
        timer.del(base);
        if let Some(bev) = bev {
            bev.free(base);
        }
    }

    /// What was told is over.
    fn over(self, base: &mut Base) {
        if let Some(slot) = base.asking.clients.get_mut(self) {
            if slot.phase == Phase::Ending {
                slot.phase = Phase::Apart;
            }
            self.go_on(base);
        }
    }

    /// Goes on with what is asked next, or ends.
    pub(super) fn go_on(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get(self) else {
            return;
        };
        if slot.ends && slot.queue.is_empty() && slot.phase != Phase::Ending {
            self.free(base);
            return;
        }
        // One that waits to connect goes on when the timer comes.
        if slot.phase != Phase::Waiting {
            self.proceed(base);
        }
    }
}

impl ClientSlot {
    /// How long to wait for the next try to connect, if there is one.
    fn next_try(&mut self) -> Option<Duration> {
        if self.queue.is_empty() || self.retried >= self.settings.retries {
            return None;
        }
        let times = 1_u32.checked_shl(self.retried.min(31)).unwrap_or(u32::MAX);
        self.retried += 1;
        Some(self.settings.first_retry.saturating_mul(times))
    }
}

impl super::Asked {
    /// Whether it does no harm to ask once more what may have been asked already.
    fn may_be_repeated(&self) -> bool {
        self.ask.method.is_safe() && !self.has_body
    }
}
