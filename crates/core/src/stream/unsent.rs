//! Output that nobody has tried to send yet, and when its turn comes.

use super::{Io, Listens, Side, StreamWork};
use crate::active::NO_NODE;
use crate::base::{Core, Host, StreamKey};

impl<H: Host> Core<H> {
    /// Output that nobody has tried to send yet has come to the front of its queue.
    pub(crate) fn begin_unsent(&mut self, key: StreamKey) -> Option<StreamWork<H::Stream>> {
        if !self.take_unsent(key) {
            return None;
        }
        let cookie = self.streams[key].cookie;
        let io = self.begin_write(key);
        Some(StreamWork { key, cookie, io })
    }

    /// Has it sent in its turn, behind what is queued already.
    pub(crate) fn queue_send(&mut self, key: StreamKey) {
        if self.take_unsent(key) {
            self.push_ready(key, Side::Write);
        }
    }

    /// Whether what is taken off the list of those that have something to send still has.
    fn take_unsent(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        stream.in_unsent = false;
        let half = stream.side(Side::Write);
        let stale = !half.armed
            || stream.len(Side::Write) == 0
            || half.node != NO_NODE
            || !stream.is_usable();
        if stale {
            // On a descriptor that reports levels it may have been left out while it waited here.
            self.note_fd(key);
        }
        !stale
    }

    /// What a read callback has written goes out at once, while it is in the cache, instead of at the end of the pass;
    /// but only where no write callback can see the difference.
    pub(crate) fn answer(&mut self, key: StreamKey) -> Option<StreamWork<H::Stream>> {
        let stream = self.streams.get(key)?;
        if !stream.in_unsent || stream.listens.contains(Listens::WRITE) {
            return None;
        }
        self.send_now(key)
    }

    /// A connection stands, and whoever is told of that at once has been told. What is to be sent by now goes before
    /// anything is read, as in libevent.
    pub(crate) fn greet(&mut self, key: StreamKey) -> Option<StreamWork<H::Stream>> {
        if !self.streams.get(key)?.in_unsent {
            return None;
        }
        self.send_now(key)
    }

    /// What is to be sent at once, and reported, before a bufferevent is [freed](Self::free_stream): one that is freed in
    /// the callback that tells it of its connection has its output sent as ever, as far as one write goes (not a session's).
    ///
    /// In libevent that comes after the callback; but then the descriptor may be another one.
    pub fn last_words(&mut self, key: StreamKey) -> Option<StreamWork<H::Stream>> {
        if self.run.telling != Some(key) || !self.run.tells_connected(key) {
            return None;
        }
        let stream = self.streams.get(key)?;
        if stream.freed || stream.is_secure() || stream.is_layered() || stream.has_above() {
            return None;
        }
        let work = self.greet(key)?;
        matches!(work.io, Io::Write { .. }).then_some(work)
    }

    fn send_now(&mut self, key: StreamKey) -> Option<StreamWork<H::Stream>> {
        let position = self.unsent.iter().rposition(|&other| other == key)?;
        self.unsent.remove(position);
        self.begin_unsent(key)
    }
}
