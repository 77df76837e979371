//! Who is called when.
//!
//! Within one call the core asks for at most one kind of callback; deferred ones are collected, and come from the loop
//! in the order CONNECTED, read, write, all other events in one.

use super::{Callbacks, Listens, Side, Turn};
use crate::base::{Core, Host, Item, StreamKey};
use crate::flags::{Dirs, Options, StreamEvent, Trigger};

impl<H: Host> Core<H> {
    /// Calls back as if bytes had been read or written (`bufferevent_trigger`). Returns what to call at once.
    pub fn trigger(&mut self, key: StreamKey, dirs: Dirs, how: Trigger) -> Callbacks {
        let Some(stream) = self.streams.get(key) else {
            return Callbacks::NONE;
        };
        let ignore = how.contains(Trigger::IGNORE_WATERMARKS);
        let callbacks = Callbacks {
            read: dirs.contains(Dirs::READ)
                && (ignore || stream.len(Side::Read) >= stream.set_for(Side::Read).mark.low),
            write: dirs.contains(Dirs::WRITE)
                && (ignore || stream.len(Side::Write) <= stream.set_for(Side::Write).mark.low),
            ..Callbacks::NONE
        };
        self.emit_how(key, callbacks, how)
    }

    /// Calls the event callback with these flags (`bufferevent_trigger_event`). Returns what to call at once.
    pub fn trigger_event(
        &mut self,
        key: StreamKey,
        event: StreamEvent,
        error: i32,
        how: Trigger,
    ) -> Callbacks {
        self.emit_how(
            key,
            Callbacks {
                event,
                error,
                ..Callbacks::NONE
            },
            how,
        )
    }

    /// The next deferred callback of a bufferevent, one kind at a time; `None` when none is left.
    ///
    /// Each kind has one turn. What a callback defers for one whose turn is over comes when the loop gets to it again,
    /// behind what others have deferred meanwhile: one that defers itself in every call does not keep them waiting.
    pub fn next_deferred(&mut self, key: StreamKey) -> Option<Callbacks> {
        let above = self.above_key(key);
        let stream = self.streams.get_mut(key)?;
        let deferred = &mut stream.deferred;
        if let Some(above) = above {
            let callbacks = std::mem::take(deferred);
            self.tell_above(above, callbacks);
            return None;
        }
        let turn = stream.turn;
        if turn == Turn::Connected && deferred.event.contains(StreamEvent::CONNECTED) {
            stream.turn = Turn::Read;
            deferred.event -= StreamEvent::CONNECTED;
            return Some(Callbacks {
                event: StreamEvent::CONNECTED,
                ..Callbacks::NONE
            });
        }
        if turn <= Turn::Read && std::mem::take(&mut deferred.read) {
            stream.turn = Turn::Write;
            return Some(Callbacks {
                read: true,
                ..Callbacks::NONE
            });
        }
        if turn <= Turn::Write && std::mem::take(&mut deferred.write) {
            stream.turn = Turn::Event;
            return Some(Callbacks {
                write: true,
                ..Callbacks::NONE
            });
        }
        stream.turn = Turn::Over;
        if turn > Turn::Event || deferred.event.is_empty() {
            return None;
        }
        Some(Callbacks {
            event: std::mem::take(&mut deferred.event),
            error: std::mem::take(&mut deferred.error),
            ..Callbacks::NONE
        })
    }

    /// The read callback has returned; it was called with `before` bytes of input.
    ///
    /// It is called again in the next pass if it has left the input at the high mark, or above it, but has taken
    /// something: libevent calls it again in any case, and spins (#891).
    pub fn read_callback_done(&mut self, key: StreamKey, before: usize) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let len = stream.len(Side::Read);
        let high = stream.set_for(Side::Read).mark.high;
        let full = high != 0 && len >= high;
        if !full || stream.freed || !stream.enabled.contains(Dirs::READ) {
            return;
        }
        if len < before {
            stream.call_again = stream.listens.contains(Listens::READ);
            self.queue_again(key);
        }
    }

    /// The event callback has returned, which was told `CONNECTED` (not a deferred one).
    ///
    /// With nothing to write, writing that it has enabled calls nobody back, as in libevent: what it was called for is
    /// that the descriptor became writable.
    pub fn connected_callback_done(&mut self, key: StreamKey) {
        self.run.telling = None;
        if !self.run.tells_connected(key) {
            return;
        }
        if self.run.is_broken()
            && let Some(work) = self.greet(key)
        {
            // Whoever leaves the loop with this may believe its output sent, as in libevent.
            self.leave_work(work);
        }
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.side(Side::Write).armed && stream.len(Side::Write) == 0 && stream.is_usable() {
            self.disarm(key, Side::Write);
            self.note_fd(key);
        }
    }

    /// Deferred callbacks have come to the front of the queue. Returns whether there are any still.
    pub(crate) fn begin_deferred(&mut self, key: StreamKey) -> Option<H::Stream> {
        let stream = self.streams.get_mut(key)?;
        let queued = std::mem::take(&mut stream.deferred_queued);
        stream.turn = Turn::Connected;
        Some(stream.cookie).filter(|_| queued && !stream.deferred.is_empty())
    }

    /// Callbacks that are due now: at once, or deferred if the bufferevent wants that.
    pub(super) fn emit(&mut self, key: StreamKey, callbacks: Callbacks) -> Callbacks {
        self.emit_how(key, callbacks, Trigger::empty())
    }

    pub(super) fn emit_how(
        &mut self,
        key: StreamKey,
        mut callbacks: Callbacks,
        how: Trigger,
    ) -> Callbacks {
        if callbacks.is_empty() {
            return Callbacks::NONE;
        }
        let Some(stream) = self.streams.get(key) else {
            return Callbacks::NONE;
        };
        if stream.has_above() {
            return self.emit_above(key, callbacks, how);
        }
        if stream.pipe_limit().is_some() {
            let ended = StreamEvent::EOF | StreamEvent::READING;
            if callbacks.read || callbacks.event.contains(ended) {
                self.queue_pipe(key, callbacks.event.contains(ended));
            }
            callbacks.read = false;
        }
        let Some(stream) = self.streams.get(key) else {
            return Callbacks::NONE;
        };
        callbacks.read &= stream.listens.contains(Listens::READ);
        callbacks.write &= stream.listens.contains(Listens::WRITE);
        if !stream.listens.contains(Listens::EVENT) {
            callbacks.event = StreamEvent::empty();
            callbacks.error = 0;
        }
        if callbacks.is_empty() {
            return Callbacks::NONE;
        }
        if stream.options.contains(Options::DEFER_CALLBACKS) || how.contains(Trigger::DEFER) {
            self.defer(key, callbacks);
            return Callbacks::NONE;
        }
        callbacks
    }

    /// A stage stands on it: that is what hears.
    fn emit_above(&mut self, key: StreamKey, callbacks: Callbacks, how: Trigger) -> Callbacks {
        let deferring = self.streams[key].options.contains(Options::DEFER_CALLBACKS);
        if callbacks.is_empty() {
            return Callbacks::NONE;
        }
        if deferring || how.contains(Trigger::DEFER) {
            self.defer(key, callbacks);
        } else if let Some(above) = self.above_key(key) {
            self.tell_above(above, callbacks);
        }
        Callbacks::NONE
    }

    pub(super) fn defer(&mut self, key: StreamKey, callbacks: Callbacks) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.deferred.read |= callbacks.read;
        stream.deferred.write |= callbacks.write;
        stream.deferred.event |= callbacks.event;
        if callbacks.error != 0 {
            stream.deferred.error = callbacks.error;
        }
        self.queue_deferred(key);
    }

    /// Has the loop come to the deferred callbacks.
    #[inline]
    pub(super) fn queue_deferred(&mut self, key: StreamKey) {
        let stream = &mut self.streams[key];
        let priority = stream.priority;
        if !std::mem::replace(&mut stream.deferred_queued, true) {
            self.push_deferred(priority, Item::Deferred(key));
        }
    }
}
