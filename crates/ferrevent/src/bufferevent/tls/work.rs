//! What the loop does with secured bufferevents.

use std::io;

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Fd, Kind, Readiness, Received, Sent};
use ferrevent_core::{Dirs, Handshake};

use super::super::handler::error_number;
use super::session::{Secure, Wire};
use super::{BufferEvent, Condition, Handler};
use crate::base::Base;
use crate::error::{Error, Result};
use crate::seat;

/// How long a freed bufferevent is kept at most while its last message cannot be sent, in nanoseconds.
const PATIENCE: u64 = 30_000_000_000;

/// The handler of a bufferevent with TLS over it.
pub(super) struct Below(pub(super) BufferEvent);

impl Handler for Below {
    fn read(&mut self, base: &mut Base, _: BufferEvent) {
        base.tell_secure(self.0, Readiness::READ);
    }

    fn write(&mut self, base: &mut Base, _: BufferEvent) {
        base.tell_secure(self.0, Readiness::WRITE);
    }

    fn event(&mut self, base: &mut Base, below: BufferEvent, condition: Condition) {
        let failure = match condition {
            Condition::Connected => {
                return base.tell_secure(self.0, Readiness::READ | Readiness::WRITE);
            }
            Condition::Timeout { .. } => {
                self.0.trigger_event(base, condition);
                return;
            }
            Condition::Eof { .. } => None,
            Condition::Error { error, .. } => Some(error),
        };
        let Some([slot, under]) = base.streams.get_disjoint_mut([self.0, below]) else {
            return;
        };
        if let Some(secure) = slot.secure_mut() {
            // What came before the end counts.
            secure.incoming.transfer_from(&mut under.input, usize::MAX);
            secure.ended = true;
            secure.failure = failure;
        }
        let ready = Readiness::READ | Readiness::WRITE | Readiness::CLOSED | Readiness::FAILED;
        base.tell_secure(self.0, ready);
    }
}

/// What the loop does with secured bufferevents.
impl Base {
    fn tell_secure(&mut self, bev: BufferEvent, readiness: Readiness) {
        // Also of one that its user has freed, and that lives on until its output is gone.
        if let Some(slot) = self.streams.get(bev) {
            let key = slot.key;
            self.core.lower_ready(key, readiness);
        }
    }

    pub(in crate::bufferevent) fn secure_handshake(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
    ) -> Handshake {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, _, _| secure.handshake(wire));
        match outcome {
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => Handshake::Failed {
                error: self.keep_error(bev, error),
                reading: false,
            },
            None => Handshake::WantsRead,
        }
    }

    pub(in crate::bufferevent) fn secure_read(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
        limit: usize,
    ) -> io::Result<Received> {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, input, _| {
            input.unfreeze(crate::End::Back);
            let outcome = secure.read(wire, input, limit);
            input.freeze(crate::End::Back);
            input.forget_change();
            outcome
        });
        self.outcome(bev, outcome)
    }

    pub(in crate::bufferevent) fn secure_write(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
        limit: usize,
    ) -> io::Result<Sent> {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, _, output| {
            let outcome = secure.write(wire, output, limit);
            output.forget_change();
            outcome
        });
        self.outcome(bev, outcome)
    }

    /// The bytes that are still to be sent: what the session has to say for itself counts as well.
    pub(in crate::bufferevent) fn secure_unsent(&self, bev: BufferEvent) -> usize {
        let slot = self.streams.get(bev);
        slot.map_or(0, |slot| {
            let secure = slot.secure();
            let own = secure.map_or(0, |secure| secure.outgoing.len().min(1));
            match secure {
                // What was written after the end stays where it is.
                Some(secure) if secure.said_end => own,
                _ => slot.output.len().max(own),
            }
        })
    }

    /// Tells the peer the end, as the core has asked for.
    pub(in crate::bufferevent) fn secure_end(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
    ) -> io::Result<usize> {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, _, _| secure.shut_down(wire));
        match outcome {
            Some(outcome) => self.outcome(bev, Some(outcome)),
            None => Ok(0),
        }
    }

    /// It is freed: tells the peer, if that was all. Returns whether the core has been told.
    pub(in crate::bufferevent) fn secure_free(&mut self, bev: BufferEvent) -> bool {
        let Some(slot) = self.streams.get(bev) else {
            return false;
        };
        let key = slot.key;
        let Some(secure) = slot.secure() else {
            return false;
        };
        let lower = secure.lower;
        let stream = self.core.stream(key);
        let ends = stream.filter(|stream| stream.is_at_rest());
        let ends = ends.map(|stream| (stream.fd(), stream.kind()));
        let mut unsent = 0;
        if let Some((fd, kind)) = ends {
            let said = self.with_secure(bev, fd, kind, |secure, wire, _, _| secure.shut_down(wire));
            unsent = said.and_then(Result::ok).unwrap_or(0);
        }
        if let Some(lower) = lower {
            self.core.leave_lower(key);
            self.free_below(lower, ends.is_some());
            return false;
        }
        if unsent > 0 {
            self.core.linger_and_free(key, unsent, PATIENCE);
        }
        unsent > 0
    }

    fn free_below(&mut self, lower: BufferEvent, drains: bool) {
        let Some(slot) = self.slot_mut(lower) else {
            return;
        };
        let (key, unsent) = (slot.key, slot.output.len());
        let on_socket = self.core.stream(key).is_some_and(|s| s.fd() >= 0);
        if !drains || !on_socket || unsent == 0 {
            lower.free(self);
            return;
        }
        if let Some(slot) = self.slot_mut(lower) {
            slot.handler = seat::Seat::Gone;
        }
        self.core.linger_and_free(key, unsent, PATIENCE);
    }

    /// Runs `f` on a session, its transport, and its two buffers.
    fn with_secure<R>(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
        f: impl FnOnce(&mut Secure, &mut Wire<'_>, &mut Buffer, &mut Buffer) -> Result<R>,
    ) -> Option<Result<R>> {
        let slot = self.streams.get_mut(bev)?;
        let lower = slot.secure()?.lower;
        if lower.is_some_and(|lower| !self.streams.contains_key(lower)) {
            return None;
        }
        let slot = self.streams.get_mut(bev)?;
        let mut secure = slot.rare.as_mut()?.secure.take()?;
        let outcome = match lower {
            None => {
                let mut wire = Wire::Descriptor {
                    transport: &*self.transport,
                    fd,
                    kind,
                };
                f(&mut secure, &mut wire, &mut slot.input, &mut slot.output)
            }
            Some(lower) => {
                let [slot, under] = self.streams.get_disjoint_mut([bev, lower])?;
                let key = under.key;
                let stream = self.core.stream(key);
                let high = stream.map_or(0, |stream| stream.watermark(Dirs::WRITE).high);
                let room = if high == 0 { usize::MAX } else { high };
                under.output.forget_change();
                let mut wire = Wire::Lower {
                    input: &mut under.input,
                    output: &mut under.output,
                    room,
                };
                let outcome = f(&mut secure, &mut wire, &mut slot.input, &mut slot.output);
                under.input.forget_change();
                let added = under.output.take_change().map_or(0, |change| change.added);
                self.core.input_changed(key, under.input.len());
                self.core.output_changed(key, under.output.len(), added);
                outcome
            }
        };
        if let Some(slot) = self.streams.get_mut(bev) {
            slot.rare.get_or_insert_default().secure = Some(secure);
        }
        Some(outcome)
    }

    /// What the core is told of a transfer; what the handler will be told of it is kept.
    fn outcome<R>(&mut self, bev: BufferEvent, outcome: Option<Result<R>>) -> io::Result<R> {
        match outcome {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Some(Err(error)) => {
                let number = self.keep_error(bev, error);
                Err(io::Error::from_raw_os_error(number))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn keep_error(&mut self, bev: BufferEvent, error: Error) -> i32 {
        let number = error_number(&error);
        if let Some(slot) = self.streams.get_mut(bev) {
            slot.rare.get_or_insert_default().error = Some(error);
        }
        number
    }
}
