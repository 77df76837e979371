//! Endings and pipes.

use std::time::Duration;

use ferrevent_core::{Dirs, StreamKey};

use super::BufferEvent;
use crate::base::Base;
use crate::seat::Seat;

/// Endings and pipes, which libevent does not have.
impl BufferEvent {
    /// Ends writing. Once everything that was written is gone, through all that is below, the receiver is told the end of
    /// the stream: a [`Stage`](crate::Stage) is run with [`Mode::Finished`](crate::Mode::Finished), TLS sends its
    /// `close_notify` (after its handshake, if that is still under way), a socket is shut down for sending, the other end
    /// of a pair gets [`Condition::Eof`](crate::Condition::Eof). Then the handler is told `Eof` of writing, with writing
    /// disabled.
    ///
    /// If that takes longer than `patience`, it is told [`Condition::Timeout`](crate::Condition::Timeout) of writing
    /// instead; if writing fails, what it is told then in any case. Reading goes on. Do not write any more.
    ///
    /// Returns false if it has been freed, is ending already, or another one stands over it, and if its TLS handshake has
    /// failed.
    pub fn finish(self, base: &mut Base, patience: Option<Duration>) -> bool {
        base.tick();
        let key = base.live_key(self);
        key.is_some_and(|key| base.core.finish(key, patience.map(crate::nanos)))
    }

    /// Frees it once everything that was written is gone, and its end is told as [`finish`](Self::finish) does; or after
    /// `patience`; or when writing fails. For its user it is freed at once: no handler is called any more.
    ///
    /// Returns whether it existed.
    pub fn free_when_drained(self, base: &mut Base, patience: Option<Duration>) -> bool {
        base.tick();
        let key = base.live_key(self);
        let Some(key) = key else {
            return false;
        };
        let Some(slot) = base.slot_mut(self) else {
            return false;
        };
        let handler = std::mem::replace(&mut slot.handler, Seat::Gone);
        base.core.free_when_drained(key, patience.map(crate::nanos));
        drop(handler);
        true
    }

    /// Has everything that it reads go to the output of `to`, from the loop, instead of to its handler's `read`. While
    /// `to` holds `limit` bytes or more, this one is not read, until half of that is gone: the two never hold more than
    /// twice the limit, apart from the records that TLS is at. At the end of the stream, `to` is [finished](Self::finish), and the handler told as ever.
    ///
    /// Enable reading yourself. Returns false if either has been freed, or another one's bytes go to `to` already.
    pub fn pipe(self, base: &mut Base, to: Self, limit: usize) -> bool {
        base.tick();
        let keys = (base.live_key(self), base.live_key(to));
        let (Some(from), Some(to)) = keys else {
            return false;
        };
        base.core.pipe(from, to, limit)
    }

    /// Ends a [pipe](Self::pipe): its handler is called again. Returns whether it exists.
    pub fn unpipe(self, base: &mut Base) -> bool {
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.core.unpipe(key);
        true
    }
}

impl Base {
    /// Moves the whole input of one to the output of another.
    pub(super) fn pipe_bytes(&mut self, bev: BufferEvent, key: StreamKey) {
        let Some((to_key, to)) = self.core.pipe_target(key) else {
            return;
        };
        let (moved, input, output) = if bev == to {
            let slot = &mut self.streams[bev];
            let moved = slot.output.transfer_from(&mut slot.input, usize::MAX);
            (moved, slot.input.len(), slot.output.len())
        } else {
            let Some([from, to]) = self.streams.get_disjoint_mut([bev, to]) else {
                return;
            };
            let moved = to.output.transfer_from(&mut from.input, usize::MAX);
            (moved, from.input.len(), to.output.len())
        };
        for (bev, dir) in [(bev, Dirs::READ), (to, Dirs::WRITE)] {
            if let Some(slot) = self.streams.get_mut(bev) {
                slot.buffer_mut(dir).forget_change();
            }
        }
        self.core.handle_piped(key, to_key, moved, input, output);
    }
}
