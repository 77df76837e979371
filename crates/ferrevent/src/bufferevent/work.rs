//! What the loop does for bufferevents: transfers as the core asks for them, and callbacks.

use std::io;

use ferrevent_core::{Callbacks, Io, StreamEvent, StreamKey, StreamWork};

use super::{BufferEvent, Condition, Descriptor, Handler};
use crate::base::Base;
use crate::error::Error;

impl Base {
    pub(crate) fn work(&mut self, work: StreamWork<BufferEvent>) {
        let StreamWork { key, cookie, io } = work;
        let Some(slot) = self.streams.get_mut(cookie) else {
            return;
        };
        let callbacks = match io {
            #[cfg(feature = "tls")]
            Io::Read { fd, kind, limit } if slot.secure().is_some() => {
                let outcome = self.secure_read(cookie, fd, kind, limit);
                let len = self.streams.get(cookie).map_or(0, |slot| slot.input.len());
                self.core.handle_read(key, outcome, len)
            }
            #[cfg(feature = "tls")]
            Io::Write { fd, kind, limit } if slot.secure().is_some() => {
                let outcome = self.secure_write(cookie, fd, kind, limit);
                let len = self.secure_unsent(cookie);
                self.core.handle_written(key, outcome, len)
            }
            #[cfg(feature = "tls")]
            Io::Handshake { fd, kind } => {
                let outcome = self.secure_handshake(cookie, fd, kind);
                self.core.handle_handshake(key, outcome)
            }
            Io::Read { fd, kind, limit } => {
                let outcome = self.transport.read(fd, kind, &mut slot.input, limit);
                self.core.handle_read(key, outcome, slot.input.len())
            }
            Io::Write { fd, kind, limit } => {
                let outcome = self.transport.write(fd, kind, &mut slot.output, limit);
                self.core.handle_written(key, outcome, slot.output.len())
            }
            Io::FinishConnect { fd } => {
                let outcome = self.transport.take_error(fd);
                self.core.handle_connected(key, outcome)
            }
            Io::Dial => self.dial(cookie, key),
            Io::FinishAttempt { fd } => self.finish_attempt(cookie, key, fd),
            #[cfg(feature = "tls")]
            Io::EndSession { fd, kind } => {
                let outcome = self.secure_end(cookie, fd, kind);
                return self.core.handle_session_end(key, Some(outcome));
            }
            #[cfg(not(feature = "tls"))]
            Io::Handshake { .. } | Io::EndSession { .. } => return,
            Io::Call(callbacks) => callbacks,
            Io::Process { dir, mode, limit } => {
                return self.process(cookie, key, dir, mode, limit);
            }
            Io::Pipe => return self.pipe_bytes(cookie, key),
            Io::Shutdown { fd } => {
                #[cfg(feature = "tls")]
                if let Some(secure) = slot.secure_mut() {
                    secure.close_sending();
                }
                if fd >= 0 {
                    // One that is not connected any more has no end to be told of.
                    let _ = self.transport.shutdown(fd);
                }
                return self.core.handle_shutdown(key);
            }
            Io::Move { limit } => return self.move_bytes(cookie, key, limit),
            Io::Announce(callbacks) => {
                self.call(cookie, key, callbacks);
                return self.core.work_done(key);
            }
            // All stages pass on what they hear.
            Io::Below { .. } => return self.core.work_done(key),
            Io::CallDeferred => {
                while let Some(callbacks) = self.core.next_deferred(key) {
                    self.call(cookie, key, callbacks);
                }
                return;
            }
        };
        self.call(cookie, key, callbacks);
    }

    /// What is sent before a bufferevent is freed, if anything.
    pub(super) fn say_last_words(&mut self, bev: BufferEvent, key: StreamKey) {
        let Some(StreamWork { io, .. }) = self.core.last_words(key) else {
            return;
        };
        if let (Io::Write { fd, kind, limit }, Some(slot)) = (io, self.streams.get_mut(bev)) {
            let outcome = self.transport.write(fd, kind, &mut slot.output, limit);
            // Nobody is called for it any more.
            let _ = self.core.handle_written(key, outcome, slot.output.len());
        }
    }

    /// The core has let go of a bufferevent: its descriptor is closed, its memory given back.
    pub(crate) fn finalize(&mut self, bev: BufferEvent) {
        if let Some(slot) = self.streams.remove(bev) {
            self.close(slot.descriptor);
            #[cfg(feature = "tls")]
            if let Some(secure) = slot.rare.and_then(|rare| rare.secure) {
                // Only if it was freed by its end, of which the core decided.
                secure.free_lower(self);
            }
        }
    }

    pub(super) fn close(&mut self, descriptor: Descriptor) {
        let fd = descriptor.number();
        if fd >= 0 {
            self.core.closing_fd(fd, Some(&mut *self.driver));
        }
        if let Descriptor::Adopted(fd) = descriptor {
            self.transport.close(fd);
        }
    }

    pub(super) fn call(&mut self, bev: BufferEvent, key: StreamKey, callbacks: Callbacks) {
        if callbacks.read {
            let before = self.streams.get(bev).map_or(0, |slot| slot.input.len());
            self.with_handler(bev, |handler, base| handler.read(base, bev));
            self.core.read_callback_done(key, before);
        }
        if callbacks.write {
            self.with_handler(bev, |handler, base| handler.write(base, bev));
        }
        if callbacks.event.is_empty() {
            return;
        }
        let special = self
            .slot_mut(bev)
            .and_then(|slot| slot.rare.as_mut()?.error.take());
        let system = || Error::Io(io::Error::from_raw_os_error(callbacks.error));
        let conditions = Condition::all_of(callbacks.event, || special.unwrap_or_else(system));
        for condition in conditions {
            self.with_handler(bev, |handler, base| handler.event(base, bev, condition));
        }
        if callbacks.event.contains(StreamEvent::CONNECTED) {
            self.core.connected_callback_done(key);
        }
    }

    /// Takes the handler out for the time that it runs, so that it can have the whole base.
    fn with_handler(&mut self, bev: BufferEvent, run: impl FnOnce(&mut dyn Handler, &mut Self)) {
        let Some(mut handler) = self.slot_mut(bev).and_then(|slot| slot.handler.take()) else {
            return;
        };
        run(&mut *handler, self);
        if let Some(slot) = self.streams.get_mut(bev) {
            let unseated = slot.handler.put_back(handler);
            drop(unseated);
        }
    }
}
