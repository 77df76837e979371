//! Pairs: two bufferevents that are each other's transport.
//!
//! Bytes move from the output of one to the input of the other as soon as the one writes and the other reads, and has
//! room: inside the call that makes it so ([`Io::Move`] is due at once). Whom that concerns is told from the loop,
//! always: so two that write to each other do not nest.

use super::layer::Link;
use super::{Callbacks, Io, Side, StreamWork};
use crate::base::{Core, Host, StreamKey};
use crate::driver::Kind;
use crate::flags::{Dirs, Options, StreamEvent};
use crate::stream::Mode;

/// One end's state.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// The other end, as long as it is there.
    pub(super) partner: Option<StreamKey>,
    /// Where the shell is moving bytes to.
    pub(super) moving_to: Option<StreamKey>,
    /// What is to be moved next, if a flush came meanwhile.
    due: Reach,
    /// It is to be told that the stream has ended, once the bytes before it have moved.
    end_due: StreamEvent,
    /// What is being moved is told even if it is nothing.
    flushing: bool,
}

/// How much is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// What the other end reads and has room for.
    #[default]
    Room,
    /// Even if nobody reads; beyond the high mark only if that is reached already.
    Mark,
    /// Everything.
    All,
}

impl<H: Host> Core<H> {
    /// Makes a pair (`bufferevent_pair_new`), both ends with writing enabled. Their callbacks are always deferred.
    pub fn new_pair(
        &mut self,
        cookies: [H::Stream; 2],
        options: Options,
    ) -> Option<[StreamKey; 2]> {
        let options = options | Options::DEFER_CALLBACKS;
        let [a, b] = cookies.map(|cookie| self.new_stream(cookie, -1, Kind::Stream, options));
        let keys = [a?, b?];
        for (key, partner) in [(keys[0], keys[1]), (keys[1], keys[0])] {
            self.streams[key].side_mut(Side::Write).armed = true;
            self.streams[key].extra().link = Link::Pair(Pair {
                partner: Some(partner),
                ..Pair::default()
            });
        }
        Some(keys)
    }

    /// The other end of a pair, as long as it is not freed (`bufferevent_pair_get_partner`).
    pub fn partner(&self, key: StreamKey) -> Option<(StreamKey, H::Stream)> {
        let partner = self.pair(key)?.partner?;
        Some((partner, self.streams.get(partner)?.cookie))
    }

    /// Whether it is one end of a pair, also if the other one is freed.
    pub fn is_paired(&self, key: StreamKey) -> bool {
        self.pair(key).is_some()
    }

    /// Where [`Io::Move`] is to move the bytes of `key` to.
    pub fn move_target(&self, key: StreamKey) -> Option<(StreamKey, H::Stream)> {
        let target = self.pair(key)?.moving_to?;
        Some((target, self.streams.get(target)?.cookie))
    }

    /// So many bytes were moved from the output of `key` to the other end's input, as [`Io::Move`] said; the two hold
    /// `output` and `input` bytes now.
    pub fn handle_moved(&mut self, key: StreamKey, moved: usize, output: usize, input: usize) {
        let Some(pair) = self.pair_mut(key) else {
            return;
        };
        let Some(target) = pair.moving_to.take() else {
            return;
        };
        let flushing = std::mem::take(&mut pair.flushing);
        self.streams[key].lens[Side::Write as usize] = output;
        if let Some(stream) = self.streams.get_mut(target) {
            stream.lens[Side::Read as usize] = input;
        }
        if moved > 0 || flushing {
            self.tell_moved(key, target);
        }
        let again = self.pair_mut(key).map(|pair| std::mem::take(&mut pair.due));
        self.start_move(key, again.unwrap_or_default());
        if flushing {
            for end in [key, target] {
                self.tell_end(end);
            }
        }
        self.weigh_sink(key);
        self.weigh_ending(key);
        self.release(target);
        self.release(key);
    }

    /// Moves what can be moved.
    pub(super) fn consider_move(&mut self, key: StreamKey) {
        self.start_move(key, Reach::Room);
    }

    /// One direction of an end has begun to wait for the other end.
    pub(super) fn pair_armed(&mut self, key: StreamKey, side: Side) {
        match (side, self.pair(key).and_then(|pair| pair.partner)) {
            (Side::Write, _) => self.consider_move(key),
            (Side::Read, Some(partner)) => self.consider_move(partner),
            (Side::Read, None) => {}
        }
    }

    /// Moves what there is in these directions, as far as `reach` says. Tells the other end if this was the end, also where
    /// there is nothing to move.
    /// Returns whether there is another end.
    pub(super) fn flush_pair(
        &mut self,
        key: StreamKey,
        dirs: Dirs,
        mode: Mode,
        reach: Reach,
    ) -> bool {
        let Some(partner) = self.pair(key).and_then(|pair| pair.partner) else {
            return false;
        };
        if mode == Mode::Normal {
            return true;
        }
        if dirs.contains(Dirs::READ) {
            self.start_move(partner, reach);
        }
        if dirs.contains(Dirs::WRITE) {
            self.start_move(key, reach);
        }
        if mode == Mode::Finished {
            let mut event = StreamEvent::EOF;
            event.set(StreamEvent::WRITING, dirs.contains(Dirs::READ));
            event.set(StreamEvent::READING, dirs.contains(Dirs::WRITE));
            if let Some(pair) = self.pair_mut(partner) {
                pair.end_due |= event;
            }
            // What is moved first tells it then.
            self.tell_end(partner);
        }
        true
    }

    /// An end is freed: the other one is alone.
    pub(super) fn part_pair(&mut self, key: StreamKey) {
        let partner = self.pair_mut(key).and_then(|pair| pair.partner.take());
        if let Some(other) = partner.and_then(|partner| self.pair_mut(partner)) {
            other.partner = None;
        }
    }

    fn start_move(&mut self, key: StreamKey, reach: Reach) {
        let Some(pair) = self.pair_mut(key) else {
            return;
        };
        if pair.moving_to.is_some() {
            pair.due = pair.due.max(reach);
            return;
        }
        let Some(partner) = pair.partner else { return };
        let Some(limit) = self.move_limit(key, partner, reach) else {
            return;
        };
        if let Some(pair) = self.pair_mut(key) {
            pair.moving_to = Some(partner);
            pair.flushing = reach > Reach::Room;
        }
        self.retain(key);
        self.retain(partner);
        let cookie = self.streams[key].cookie;
        let io = Io::Move { limit };
        self.due.push(StreamWork { key, cookie, io });
    }

    /// How much may move; `None`: nothing is to be done.
    fn move_limit(&self, from: StreamKey, to: StreamKey, reach: Reach) -> Option<usize> {
        let (from, to) = (self.streams.get(from)?, self.streams.get(to)?);
        let armed = from.side(Side::Write).armed && to.side(Side::Read).armed;
        if reach == Reach::Room && (!armed || from.len(Side::Write) == 0) {
            return None;
        }
        let room = match to.set_for(Side::Read).mark.high {
            0 => usize::MAX,
            high => high.saturating_sub(to.len(Side::Read)),
        };
        match (reach, room) {
            (Reach::All, _) | (Reach::Mark, 0) => Some(usize::MAX),
            (Reach::Room, 0) => None,
            (_, room) => Some(room),
        }
    }

    fn tell_moved(&mut self, from: StreamKey, to: StreamKey) {
        let written = &self.streams[from];
        let write = written.len(Side::Write) <= written.set_for(Side::Write).mark.low;
        if let Some(stream) = self.streams.get(to) {
            let mark = stream.set_for(Side::Read).mark;
            let (read, marked) = (stream.len(Side::Read) >= mark.low, mark.high != 0);
            self.restart_stream_timer(to, Side::Read);
            if marked {
                self.weigh_input(to);
            }
            let callbacks = Callbacks {
                read,
                ..Callbacks::NONE
            };
            // Deferred, as all of a pair's.
            let _ = self.emit(to, callbacks);
        }
        self.restart_stream_timer(from, Side::Write);
        let callbacks = Callbacks {
            write,
            ..Callbacks::NONE
        };
        let _ = self.emit(from, callbacks);
    }

    fn tell_end(&mut self, key: StreamKey) {
        let moving = |end: StreamKey| self.pair(end).is_some_and(|pair| pair.moving_to.is_some());
        let partner = self.pair(key).and_then(|pair| pair.partner);
        if moving(key) || partner.is_some_and(moving) {
            return;
        }
        let Some(pair) = self.pair_mut(key) else {
            return;
        };
        let event = std::mem::take(&mut pair.end_due);
        let callbacks = Callbacks {
            event,
            ..Callbacks::NONE
        };
        // Deferred, as all of a pair's.
        let _ = self.emit(key, callbacks);
    }

    fn pair(&self, key: StreamKey) -> Option<&Pair> {
        match &self.streams.get(key)?.extra.as_ref()?.link {
            Link::Pair(pair) => Some(pair),
            Link::Socket | Link::Over(_) => None,
        }
    }

    fn pair_mut(&mut self, key: StreamKey) -> Option<&mut Pair> {
        match &mut self.streams.get_mut(key)?.extra.as_mut()?.link {
            Link::Pair(pair) => Some(pair),
            Link::Socket | Link::Over(_) => None,
        }
    }
}
