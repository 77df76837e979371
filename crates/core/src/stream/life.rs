//! Making bufferevents, references to them, and freeing them.

use super::{Callbacks, Connecting, Half, Listens, Side, Stream, Suspend, Turn};
use crate::active::NO_NODE;
use crate::base::{Core, Host, Item, StreamKey};
use crate::driver::{Fd, Kind};
use crate::flags::{Dirs, Options};

impl<H: Host> Core<H> {
    /// A bufferevent's state.
    pub fn stream(&self, key: StreamKey) -> Option<&Stream<H::Stream>> {
        self.streams.get(key)
    }

    /// All bufferevents that are not finalized.
    pub fn stream_cookies(&self) -> impl Iterator<Item = (StreamKey, H::Stream)> {
        self.streams
            .iter()
            .map(|(key, stream)| (key, stream.cookie))
    }

    /// Makes a bufferevent (`bufferevent_socket_new`), with writing enabled and nothing armed. `None` if
    /// `UNLOCK_CALLBACKS` comes without `DEFER_CALLBACKS`.
    pub fn new_stream(
        &mut self,
        cookie: H::Stream,
        fd: Fd,
        kind: Kind,
        options: Options,
    ) -> Option<StreamKey> {
        if options.contains(Options::UNLOCK_CALLBACKS)
            && !options.contains(Options::DEFER_CALLBACKS)
        {
            return None;
        }
        Some(self.streams.insert(Stream {
            cookie,
            fd,
            kind,
            options,
            enabled: Dirs::WRITE,
            connecting: Connecting::No,
            lens: [0; 2],
            half: [Half::new(Side::Read), Half::new(Side::Write)],
            rare: None,
            priority: self.default_priority(),
            references: 1,
            freed: false,
            end_seen: false,
            write_first: false,
            call_again: false,
            in_again: false,
            in_unsent: false,
            listens: Listens::empty(),
            told: Dirs::empty(),
            deferred: Callbacks::NONE,
            deferred_queued: false,
            turn: Turn::Over,
            extra: None,
        }))
    }

    /// Takes a bufferevent out, to put it into another base (`bufferevent_base_set`). Nothing of it may be armed.
    pub fn take_stream(&mut self, key: StreamKey) -> Option<Stream<H::Stream>> {
        let stream = self.streams.get(key)?;
        let busy = Side::BOTH.iter().any(|&side| stream.side(side).armed);
        if busy
            || stream.deferred_queued
            || stream.freed
            || stream.extra.is_some()
            || stream.is_secure()
            || stream.carries_session()
        {
            return None;
        }
        self.detach(key);
        let stream = self.streams.remove(key)?;
        self.timed -= usize::from(stream.is_timed());
        Some(stream)
    }

    /// Puts a bufferevent in that [`take_stream`](Self::take_stream) took out of another base.
    pub fn insert_stream(&mut self, mut stream: Stream<H::Stream>) -> StreamKey {
        stream.in_again = false;
        stream.in_unsent = false;
        stream.call_again = false;
        stream.priority = stream.priority.min((self.priorities() - 1) as u8);
        self.timed += usize::from(stream.is_timed());
        self.streams.insert(stream)
    }

    /// Takes another reference (`bufferevent_incref`).
    pub fn retain(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.references += 1;
        }
    }

    /// Drops a reference (`bufferevent_decref`). Returns whether it was the last: the loop then gives the shell the
    /// cookie in [`Step::Finalize`](crate::Step::Finalize), and the key is stale.
    pub fn release(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        stream.references -= 1;
        if stream.references > 0 {
            return false;
        }
        self.silence(key);
        self.detach(key);
        self.forget_ending(key);
        self.forget_pipes(key);
        self.unlink(key);
        self.leave_lower(key);
        self.forget_rate(key);
        let Some(mut stream) = self.streams.remove(key) else {
            return false;
        };
        self.timed -= usize::from(stream.is_timed());
        self.drop_link(stream.extra.take());
        self.active
            .push(stream.priority, Item::Finalize(stream.cookie));
        true
    }

    /// Frees it (`bufferevent_free`): no callback runs any more, output is dropped but for its
    /// [last words](Self::last_words), and one reference goes. Returns whether it was the last, as [`release`](Self::release) does.
    pub fn free_stream(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        if stream.freed {
            return false;
        }
        stream.freed = true;
        self.silence(key);
        // At once, even if it lives on: its user may close the descriptor, and have the number back for another.
        self.detach(key);
        self.forget_ending(key);
        self.forget_pipes(key);
        self.unlink(key);
        self.leave_lower(key);
        self.forget_rate(key);
        self.release(key)
    }

    /// No callback runs any more.
    pub(super) fn silence(&mut self, key: StreamKey) {
        self.set_listening(key, false, false, false);
        let stream = &mut self.streams[key];
        stream.call_again = false;
        stream.deferred_queued = false;
    }
}

impl Half {
    fn new(side: Side) -> Self {
        Self {
            suspended: Suspend::empty(),
            armed: false,
            // Reading waits for a report; writing is simply tried.
            ready: side == Side::Write,
            watched: false,
            node: NO_NODE,
            timer: None,
        }
    }
}
