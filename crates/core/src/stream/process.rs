//! How stages are run: what is due, in which order, and what follows on it.
//!
//! The rules are in [`layer`](super::layer).

use smallvec::SmallVec;

use super::layer::{AfterProcess, Link, Mode, Processed, StageKind};
use super::pair::Reach;
use super::{Callbacks, Io, Side, Stream, StreamWork};
use crate::base::{Core, Host, StreamKey};
use crate::flags::{Dirs, StreamEvent};

/// What is to be done with a stage, and what is being done.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// What is to be done, by direction.
    due: [Option<Mode>; 2],
    /// What was heard from below, and comes after the bytes that came before it.
    heard: StreamEvent,
    error: i32,
    /// What is to be called once the stages below have worked on what this one has produced.
    owed: Callbacks,
    /// Flushes the one below once this one is through.
    flush_below: Option<(Dirs, Mode)>,
    /// The input that the flush makes is not announced.
    silent: bool,
    /// A flush has it run inbound for what there is, also if that is nothing.
    asked: bool,
    /// The shell works on it.
    at_work: bool,
    mode: Mode,
    /// The lengths of source and destination before the stage was run last.
    lens: [usize; 2],
    /// It has done something since the work began.
    progress: bool,
    /// It has done something since the flush began.
    flushed: bool,
}

impl Work {
    /// Whether there is anything that it could begin with.
    #[inline]
    fn is_due(&self) -> bool {
        self.due != [None; 2]
            || !self.heard.is_empty()
            || self.flush_below.is_some()
            || !self.owed.is_empty()
    }

    /// Whether it neither works nor has anything to do.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        !self.at_work && !self.is_due()
    }

    /// Whether it works normally, with nothing to come after that.
    #[inline]
    pub(super) fn is_normal(&self) -> bool {
        self.mode == Mode::Normal && !self.is_due()
    }

    /// The shell works on it, from a source to a destination of these lengths.
    #[inline]
    pub(super) fn begin(&mut self, mode: Mode, lens: [usize; 2]) {
        self.at_work = true;
        self.mode = mode;
        self.lens = lens;
        self.progress = false;
    }

    /// It has done something, and that is all.
    #[inline]
    pub(super) fn end(&mut self, is_done: bool) {
        self.flushed = true;
        self.at_work = !is_done;
    }

    /// Nothing is due any more: the stage is freed.
    pub(super) fn forget(&mut self) {
        self.due = [None; 2];
        self.owed = Callbacks::NONE;
        self.flush_below = None;
    }
}

impl<H: Host> Core<H> {
    /// Has a stage run, as far as `mode` allows that.
    pub fn request_process(&mut self, key: StreamKey, dirs: Dirs, mode: Mode) {
        for side in Side::BOTH {
            if dirs.contains(side.dirs()) {
                self.note_due(key, side, mode);
            }
        }
        self.start_stack(key);
    }

    /// Flushes (`bufferevent_flush`): a stage is run in this mode, and then the one below it is flushed. The bottom
    /// sends what it has in any case.
    ///
    /// `silent`: the caller looks at the input when this is done, so that the read callback is not called.
    ///
    /// The two ends of a pair exchange what they have in these directions, even if nobody reads (not in normal mode): as
    /// much as the reader's high mark has room for, and if it has none, everything. The other end is told if this was the
    /// end. Returns false for an end that is alone.
    pub fn flush(&mut self, key: StreamKey, dirs: Dirs, mode: Mode, silent: bool) -> bool {
        let Some(over) = self.over_mut(key) else {
            let layered = self.streams.get(key).is_some_and(Stream::is_layered);
            return !layered || self.flush_pair(key, dirs, mode, Reach::Mark);
        };
        over.work.flushed = false;
        over.work.silent = silent;
        over.work.asked = dirs.contains(Dirs::READ);
        over.work.flush_below = Some((dirs, mode));
        self.request_process(key, dirs, mode);
        true
    }

    /// Whether the last flush had anything done, once the work is.
    pub fn has_flushed(&self, key: StreamKey) -> bool {
        self.over(key).is_some_and(|over| over.work.flushed)
    }

    /// Tells a stage's event callback something that the stage has found out (`CONNECTED` after a handshake).
    pub fn stage_event(&mut self, key: StreamKey, event: StreamEvent, error: i32) -> Callbacks {
        self.emit(
            key,
            Callbacks {
                event,
                error,
                ..Callbacks::NONE
            },
        )
    }

    /// Work that is due at once, in order; whoever takes it does it, and with it what each report of it makes due. The
    /// bufferevents that it is for are kept alive until then.
    #[inline]
    pub fn take_due(&mut self) -> SmallVec<[StreamWork<H::Stream>; 2]> {
        std::mem::take(&mut self.due)
    }

    /// Whether [`take_due`](Self::take_due) would give something.
    #[inline]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Leaves what is due to the loop, and to nobody else: whoever takes it does it with the lock of one stack held, and
    /// this may be of another. A shell with locks does so whenever it lets go of the core.
    pub fn leave_due(&mut self) {
        self.left.extend(self.due.drain(..));
    }

    /// Leaves work to the loop that has been taken and cannot be done here.
    pub fn leave_work(&mut self, work: StreamWork<H::Stream>) {
        self.left.push_back(work);
    }

    /// Whether the loop has work that was due at once.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.due.is_empty() | !self.left.is_empty()
    }

    /// A stage was run as [`Io::Process`] said. How it has changed the lengths of its two buffers was reported before.
    pub fn handle_processed(
        &mut self,
        key: StreamKey,
        dir: Dirs,
        processed: Processed,
    ) -> AfterProcess {
        let side = Side::of(dir);
        let lens = self.stage_lens(key, side);
        let Some(over) = self.over_mut(key) else {
            return AfterProcess::Call(Callbacks::NONE);
        };
        over.work.progress |= processed == Processed::Some;
        over.work.flushed |= processed == Processed::Some;
        let (mode, progress) = (over.work.mode, over.work.progress);
        let silent = over.work.silent && (mode != Mode::Normal || over.work.asked);
        // What came before the end is told before the end, even if nobody wants to read now.
        let ended = StreamEvent::EOF | StreamEvent::READING;
        let last = side == Side::Read && mode == Mode::Finished && over.work.heard.contains(ended);
        // One that says it has done something, and has not, would be asked for ever.
        let moved = std::mem::replace(&mut over.work.lens, lens) != lens;
        if processed == Processed::Some
            && moved
            && lens[0] > 0
            && (last || self.streams[key].side(side).armed)
            && let Some(limit) = self.room(key, side, mode)
        {
            return AfterProcess::Again { limit };
        }
        let mut callbacks = Callbacks::NONE;
        if progress {
            let stream = &self.streams[key];
            let (len, low) = (stream.len(side), stream.set_for(side).mark.low);
            match side {
                Side::Read => callbacks.read = !silent && len >= low,
                Side::Write => callbacks.write = len <= low,
            }
            self.restart_stream_timer(key, side);
        }
        if let Processed::Failed(error) = processed {
            self.disable(key, dir);
            if side == Side::Write {
                self.fail_ending(key, Some(error));
            }
            callbacks.event = StreamEvent::ERROR | side.event();
            callbacks.error = error;
        }
        if let Some(over) = self.over_mut(key)
            && side == Side::Read
        {
            over.work.asked = false;
        }
        let callbacks = self.emit(key, callbacks);
        if callbacks.is_empty() {
            return AfterProcess::Call(callbacks);
        }
        // What it has produced goes all the way down before anybody is called.
        let below = self.over(key).map(|over| over.below);
        let busy = below
            .and_then(|below| self.over(below))
            .is_some_and(|over| over.work.due[Side::Write as usize].is_some());
        if busy && let Some(over) = self.over_mut(key) {
            over.work.owed = callbacks;
            return AfterProcess::Call(Callbacks::NONE);
        }
        AfterProcess::Call(callbacks)
    }

    /// The work that [`take_due`](Self::take_due) or the loop gave for a stage is done, its callbacks have returned.
    pub fn work_done(&mut self, key: StreamKey) {
        if let Some(stage) = self.streams.get_mut(key)
            && let Some(over) = stage.over_mut()
        {
            over.work.at_work = false;
        }
        self.start_stack(key);
        self.weigh_ending(key);
        self.release(key);
    }

    /// What would have been callbacks of the bufferevent below is for the stage.
    pub(super) fn tell_above(&mut self, above: StreamKey, callbacks: Callbacks) {
        if callbacks.read {
            self.note_due(above, Side::Read, Mode::Normal);
        }
        if callbacks.write && self.waits_for_room(above) {
            self.note_due(above, Side::Write, Mode::Normal);
        }
        if !callbacks.event.is_empty() {
            if callbacks
                .event
                .contains(StreamEvent::EOF | StreamEvent::READING)
            {
                let rest = self.stage_lens(above, Side::Read)[0];
                let kind = self.over(above).map(|over| over.kind);
                if rest > 0 || kind.is_some_and(|kind| kind.contains(StageKind::HEARS_END)) {
                    self.note_due(above, Side::Read, Mode::Finished);
                }
            }
            if let Some(over) = self.over_mut(above) {
                over.work.heard |= callbacks.event;
                over.work.error = callbacks.error;
            }
        }
        self.start_stack(above);
    }

    /// A direction of a stage has begun to wait for its transport.
    pub(super) fn stage_armed(&mut self, key: StreamKey, below: StreamKey, side: Side) {
        if side == Side::Read {
            self.weigh_below(key, below);
        }
        // What waits for this is worked on by the loop: whoever enables a direction, or takes bytes out of the input,
        // does not expect to be called back before that returns.
        if self.stage_lens(key, side)[0] > 0 {
            self.queue_again(key);
        }
    }

    /// The loop has come to a stage whose transport it waited for.
    pub(super) fn resume_stage(&mut self, key: StreamKey) {
        self.request_process(key, Dirs::all(), Mode::Normal);
    }

    /// There may be output to go down, or over to the other end.
    pub(super) fn layered_output(&mut self, key: StreamKey) {
        if self.over(key).is_none() {
            return self.consider_move(key);
        }
        if self.streams[key].len(Side::Write) > 0 {
            self.note_due(key, Side::Write, Mode::Normal);
            self.start_stack(key);
        }
    }

    pub(super) fn is_at_work(&self, key: StreamKey) -> bool {
        self.over(key)
            .is_some_and(|over| over.work.at_work || over.work.due[Side::Write as usize].is_some())
    }

    /// The lengths of a stage's source and destination.
    fn stage_lens(&self, key: StreamKey, side: Side) -> [usize; 2] {
        let len = |key| self.streams.get(key).map_or(0, |s| s.len(side));
        let below = self.over(key).map_or(key, |over| over.below);
        match side {
            Side::Read => [len(below), len(key)],
            Side::Write => [len(key), len(below)],
        }
    }

    /// Whether a stage has a use for room below.
    fn waits_for_room(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stage| {
            let eager = stage.over().map_or(Dirs::empty(), |over| over.eager);
            stage.len(Side::Write) > 0 || eager.contains(Dirs::WRITE) || stage.has_ending()
        })
    }

    fn note_due(&mut self, key: StreamKey, side: Side, mode: Mode) {
        let mode = match side {
            // What it has not taken yet is the last, too.
            Side::Write if self.is_finishing(key) => Mode::Finished,
            _ => mode,
        };
        if let Some(over) = self.over_mut(key) {
            let due = &mut over.work.due[side as usize];
            *due = Some(due.map_or(mode, |noted| noted.max(mode)));
        }
    }

    /// Begins with what is due in the stack that `key` belongs to, unless somebody there is at work.
    fn start_stack(&mut self, key: StreamKey) {
        if let Some(extra) = self.streams.get(key).and_then(|s| s.extra.as_deref())
            && let Link::Over(over) = &extra.link
            && over.lowest
            && extra.above.is_none()
        {
            if !over.work.at_work && over.work.is_due() {
                self.start_stage(key);
            }
            return;
        }
        let mut at = Some(self.bottom(key));
        let mut next = None;
        while let Some(stage) = at {
            let Some(extra) = self.streams.get(stage).and_then(|s| s.extra.as_deref()) else {
                break;
            };
            if let Link::Over(over) = &extra.link {
                if over.work.at_work {
                    return;
                }
                if next.is_none() && over.work.is_due() {
                    next = Some(stage);
                }
            }
            at = extra.above;
        }
        while let Some(stage) = next {
            if self.start_stage(stage) {
                return;
            }
            next = self.above_key(stage);
        }
    }

    /// Returns whether somebody of its stack is at work now.
    fn start_stage(&mut self, key: StreamKey) -> bool {
        let Some(stage) = self.streams.get_mut(key).filter(|stage| !stage.freed) else {
            return false;
        };
        let Some(over) = stage.over_mut() else {
            return false;
        };
        if !over.work.owed.is_empty() {
            let owed = std::mem::take(&mut over.work.owed);
            self.launch(key, Io::Announce(owed));
            return true;
        }
        for side in Side::BOTH {
            if side == Side::Write && self.start_hearing(key) {
                return true;
            }
            let Some(over) = self.over_mut(key) else {
                return false;
            };
            if let Some(mode) = over.work.due[side as usize].take()
                && let Some(limit) = self.room(key, side, mode)
            {
                let dir = side.dirs();
                let lens = self.stage_lens(key, side);
                if let Some(over) = self.over_mut(key) {
                    over.work.begin(mode, lens);
                }
                self.launch(key, Io::Process { dir, mode, limit });
                return true;
            }
        }
        let Some(over) = self.over_mut(key) else {
            return false;
        };
        // Had it been run for a flush, it would not have come here before that was done.
        over.work.asked = false;
        let below = over.below;
        let Some((dirs, mode)) = over.work.flush_below.take() else {
            return false;
        };
        self.flush(below, dirs, mode, false);
        self.over(below).is_some_and(|over| over.work.at_work)
    }

    /// Tells a stage what was heard from below.
    fn start_hearing(&mut self, key: StreamKey) -> bool {
        let Some(over) = self.over_mut(key) else {
            return false;
        };
        if over.work.heard.is_empty() {
            return false;
        }
        let event = std::mem::take(&mut over.work.heard);
        let error = std::mem::take(&mut over.work.error);
        let passes = over.kind.contains(StageKind::PASSES_EVENTS);
        if !passes {
            self.launch(key, Io::Below { event, error });
            return true;
        }
        let callbacks = self.stage_event(key, event, error);
        if !callbacks.is_empty() {
            self.launch(key, Io::Announce(callbacks));
            return true;
        }
        // It may have been heard by the next one above, which is at work on it now.
        self.above_key(key)
            .is_some_and(|above| self.over(above).is_some_and(|over| over.work.at_work))
    }

    /// How much a stage may produce; `None`: it is not to be run.
    fn room(&self, key: StreamKey, side: Side, mode: Mode) -> Option<Option<usize>> {
        if mode != Mode::Normal {
            return Some(None);
        }
        let stage = self.streams.get(key)?;
        let over = stage.over()?;
        let below = self.streams.get(over.below)?;
        let eager = over.eager.contains(side.dirs());
        let asked = over.work.asked && side == Side::Read;
        let (from, into) = match side {
            Side::Read => (below, stage),
            Side::Write => (stage, below),
        };
        if !eager && (from.len(side) == 0 && !asked || !stage.side(side).armed) {
            return None;
        }
        let piped = match side {
            Side::Read => stage.pipe_limit(),
            Side::Write => None,
        };
        let len = into.len(side);
        match into.set_for(side).mark.high {
            0 => Some(piped),
            high if high > len => Some(Some(high - len)),
            _ => None,
        }
    }

    fn launch(&mut self, key: StreamKey, io: Io) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.references += 1;
        if let Some(over) = stream.over_mut() {
            over.work.at_work = true;
        }
        let cookie = stream.cookie;
        self.due.push(StreamWork { key, cookie, io });
    }
}
