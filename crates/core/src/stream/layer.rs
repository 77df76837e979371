//! Stages: bufferevents that stand on another bufferevent (libevent's filters, TLS).
//!
//! A stage has no descriptor. Its transport is the bufferevent **below** it: *inbound*, the shell takes bytes from the
//! input below and puts what it makes of them into the stage's own input; *outbound*, from the stage's own output into
//! the output below. The core says when, how much and how ([`Io::Process`]); it never sees a byte.
//!
//! What the rules are:
//!
//! * The bufferevent below calls nobody while a stage stands on it. That it has read, or written down to its low mark,
//!   has the stage run; its events are the stage's ([`Io::Below`], or passed on unchanged).
//! * Below, reading is suspended while the stage could not take anything: its reading is disabled, or its input is at
//!   the high mark. Writing goes on until the output below is at its high mark (0: no limit).
//! * In normal mode a stage runs only in a direction that is enabled, has bytes to work on and room for more. A flush
//!   runs it in any case, and without a limit.
//! * Of all stages that stand on each other one works at a time, to its end, callbacks included; what becomes due
//!   meanwhile comes after it. So nothing nests, however high the stack is, and whatever its functions write where.
//!
//! Work that is due comes out of [`Core::take_due`], for calls that do it before they return, or else as the first
//! steps of the loop.

use bitflags::bitflags;
use smallvec::SmallVec;

use super::ending::Ending;
use super::pair::Pair;
use super::pipe::Pipe;
use super::rate::Rate;
use super::{Callbacks, Io, Side, Stream, StreamWork, Suspend};
use crate::base::{Core, Host, StreamKey};
use crate::driver::{Driver, Kind};
use crate::flags::{Dirs, Options, StreamEvent};

/// How high stages may be stacked. What they tell each other goes from one to the next by recursion.
const MAX_HEIGHT: usize = 64;

/// How a stage is to work (`enum bufferevent_flush_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// As much as is good, within the watermarks.
    #[default]
    Normal = 0,
    /// Hold back as little as possible.
    Flush = 1,
    /// Nothing comes after this: hold back nothing.
    Finished = 2,
}

/// What a stage has made of its work (`enum bufferevent_filter_result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processed {
    /// It has done something.
    Some,
    /// It could do nothing without more bytes.
    NeedMore,
    /// The stream is broken in this direction, with the operating system's error number or 0.
    Failed(i32),
}

/// What follows on a stage's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterProcess {
    /// More of the same, before anybody is called: within this limit.
    Again {
        /// As in [`Io::Process`].
        limit: Option<usize>,
    },
    /// That is all for now. These are to be called, then [`Core::work_done`].
    Call(Callbacks),
}

bitflags! {
    /// What kind of stage it is.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct StageKind: u8 {
        /// What happens below is told to the stage's event callback unchanged; otherwise the shell gets it as
        /// [`Io::Below`], and tells what it makes of it by [`Core::stage_event`].
        const PASSES_EVENTS = 1;
        /// It is run inbound with [`Mode::Finished`] at the end of the stream below, also if there is nothing left
        /// there; otherwise only if there is.
        const HEARS_END = 2;
    }
}

/// What few bufferevents have; boxed, so that those on plain sockets do not pay for it.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(super) link: Link,
    /// The stage that stands on this one.
    above: Option<StreamKey>,
    pub(super) rate: Option<Box<Rate>>,
    pub(super) ending: Option<Box<Ending>>,
    pub(super) pipe: Option<Box<Pipe>>,
    pub(super) piped_from: Option<StreamKey>,
}

/// What the bytes of a bufferevent go to and come from.
#[derive(Debug, Default)]
pub(super) enum Link {
    /// A descriptor, or none yet.
    #[default]
    Socket,
    Over(Over),
    Pair(Pair),
}

/// A stage's state.
#[derive(Debug)]
pub(super) struct Over {
    below: StreamKey,
    kind: StageKind,
    /// It has let go of the one below: it is freed.
    unlinked: bool,
    /// Directions that run although they are disabled or have nothing to work on: a handshake is under way.
    eager: Dirs,
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

impl Over {
    /// Whether there is anything that it could begin with.
    #[inline]
    fn has_work(&self) -> bool {
        self.due != [None; 2]
            || !self.heard.is_empty()
            || self.flush_below.is_some()
            || !self.owed.is_empty()
    }
}

impl<H: Host> Core<H> {
    /// Makes a stage over `below` (`bufferevent_filter_new`), with writing enabled, and enables both directions below.
    /// It holds a reference to `below`, which calls nobody any more. With `CLOSE_ON_FREE`, freeing the stage frees
    /// `below`.
    ///
    /// `None` if `below` is freed or carries a stage already, if the stack is 64 high, or if `UNLOCK_CALLBACKS` comes
    /// without `DEFER_CALLBACKS`.
    pub fn new_stage(
        &mut self,
        cookie: H::Stream,
        below: StreamKey,
        options: Options,
        kind: StageKind,
        driver: Option<&mut dyn Driver>,
    ) -> Option<StreamKey> {
        let taken = self.above_key(below).is_some_and(|above| {
            let above = self.streams.get(above);
            above.is_some_and(|stage| !stage.freed)
        });
        if taken || self.streams.get(below)?.freed || self.height(below) >= MAX_HEIGHT {
            return None;
        }
        let key = self.new_stream(cookie, -1, Kind::Stream, options)?;
        self.streams[key].extra().link = Link::Over(Over {
            below,
            kind,
            unlinked: false,
            eager: Dirs::empty(),
            due: [None; 2],
            heard: StreamEvent::empty(),
            error: 0,
            owed: Callbacks::NONE,
            flush_below: None,
            silent: false,
            at_work: false,
            mode: Mode::Normal,
            lens: [0; 2],
            progress: false,
            flushed: false,
        });
        self.streams[key].side_mut(Side::Write).armed = true;
        self.retain(below);
        self.set_listening(below, false, false, false);
        self.streams[below].extra().above = Some(key);
        self.set_suspended(below, Side::Read, Suspend::FILTER, true);
        // A descriptor that cannot be watched shows when it is enabled by its user, as in libevent.
        let _ = self.enable(below, Dirs::all(), driver);
        Some(key)
    }

    /// The bufferevent that a stage stands on (`bufferevent_get_underlying`).
    pub fn below(&self, key: StreamKey) -> Option<(StreamKey, H::Stream)> {
        let below = self.over(key)?.below;
        Some((below, self.streams.get(below)?.cookie))
    }

    /// The stage that stands on a bufferevent.
    pub fn above(&self, key: StreamKey) -> Option<(StreamKey, H::Stream)> {
        let above = self.above_key(key)?;
        Some((above, self.streams.get(above)?.cookie))
    }

    /// Whether the time matters to what is done with a bufferevent: it has a timeout, or one that it is connected with
    /// inside the process.
    #[inline]
    pub fn needs_time_for(&self, key: StreamKey) -> bool {
        self.rated > 0 || self.timed > 0 && self.stack_is_timed(key)
    }

    fn stack_is_timed(&self, key: StreamKey) -> bool {
        let timed = |key| self.streams.get(key).is_some_and(Stream::is_timed);
        let alone = |stream: &Stream<H::Stream>| stream.extra.is_none();
        if self.streams.get(key).is_none_or(alone) {
            return timed(key);
        }
        let bottom = self.bottom(key);
        let mut at = Some(bottom);
        while let Some(stage) = at {
            if timed(stage) {
                return true;
            }
            at = self.above_key(stage);
        }
        self.partner(bottom)
            .is_some_and(|(partner, _)| timed(partner))
    }

    /// The lowest of a stack: the one with the descriptor, if any has one.
    pub fn bottom(&self, key: StreamKey) -> StreamKey {
        let mut bottom = key;
        while let Some(over) = self.over(bottom) {
            bottom = over.below;
        }
        bottom
    }

    /// Freeing a stage will not free what is below it.
    pub fn keep_below(&mut self, key: StreamKey) {
        if let Some(stage) = self.streams.get_mut(key) {
            stage.options -= Options::CLOSE_ON_FREE;
        }
    }

    /// Its user has set callbacks of its own on a bufferevent that carries a stage: from now on those are called, and
    /// the stage hears nothing any more.
    pub fn unstage(&mut self, below: StreamKey) {
        if let Some(above) = self.above_key(below) {
            self.part(above, below);
        }
    }

    /// Has a stage run in these directions even while they are disabled or there is nothing to work on, for as long as
    /// it is set: for a handshake, which has bytes of its own to send and to receive.
    pub fn set_eager(&mut self, key: StreamKey, dirs: Dirs) {
        let Some(over) = self.over_mut(key) else {
            return;
        };
        let below = over.below;
        over.eager = dirs;
        self.weigh_below(key, below);
        if dirs.contains(Dirs::READ) && self.streams[below].len(Side::Read) > 0 {
            self.request_process(key, Dirs::READ, Mode::Normal);
        }
    }

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
    /// The two ends of a pair exchange what they have in these directions, whatever their marks and even if nobody reads
    /// (not in normal mode), and the other end is told if this was the end. Returns false for an end that is alone.
    pub fn flush(&mut self, key: StreamKey, dirs: Dirs, mode: Mode, silent: bool) -> bool {
        let Some(over) = self.over_mut(key) else {
            let layered = self.streams.get(key).is_some_and(Stream::is_layered);
            return !layered || self.flush_pair(key, dirs, mode);
        };
        over.flushed = false;
        over.silent = silent;
        over.flush_below = Some((dirs, mode));
        self.request_process(key, dirs, mode);
        true
    }

    /// Whether the last flush had anything done, once the work is.
    pub fn has_flushed(&self, key: StreamKey) -> bool {
        self.over(key).is_some_and(|over| over.flushed)
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

    /// A stage was run as [`Io::Process`] said. How it has changed the lengths of its two buffers was reported before.
    pub fn handle_processed(
        &mut self,
        key: StreamKey,
        dir: Dirs,
        processed: Processed,
    ) -> AfterProcess {
        let side = if dir == Dirs::READ {
            Side::Read
        } else {
            Side::Write
        };
        let lens = self.stage_lens(key, side);
        let Some(over) = self.over_mut(key) else {
            return AfterProcess::Call(Callbacks::NONE);
        };
        over.progress |= processed == Processed::Some;
        over.flushed |= processed == Processed::Some;
        let (mode, progress) = (over.mode, over.progress);
        let silent = over.silent && mode != Mode::Normal;
        // What came before the end is told before the end, even if nobody wants to read now.
        let ended = StreamEvent::EOF | StreamEvent::READING;
        let last = side == Side::Read && mode == Mode::Finished && over.heard.contains(ended);
        // One that says it has done something, and has not, would be asked for ever.
        let moved = std::mem::replace(&mut over.lens, lens) != lens;
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
        let callbacks = self.emit(key, callbacks);
        if callbacks.is_empty() {
            return AfterProcess::Call(callbacks);
        }
        // What it has produced goes all the way down before anybody is called.
        let below = self.over(key).map(|over| over.below);
        let busy = below
            .and_then(|below| self.over(below))
            .is_some_and(|over| over.due[Side::Write as usize].is_some());
        if busy && let Some(over) = self.over_mut(key) {
            over.owed = callbacks;
            return AfterProcess::Call(Callbacks::NONE);
        }
        AfterProcess::Call(callbacks)
    }

    /// The work that [`take_due`](Self::take_due) or the loop gave for a stage is done, its callbacks have returned.
    pub fn work_done(&mut self, key: StreamKey) {
        if let Some(over) = self.over_mut(key) {
            over.at_work = false;
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
        if callbacks.write {
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
                over.heard |= callbacks.event;
                over.error = callbacks.error;
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

    /// Lets reading go on below while the stage can take what is read.
    pub(super) fn weigh_below(&mut self, key: StreamKey, below: StreamKey) {
        let eager = self
            .over(key)
            .is_some_and(|over| over.eager.contains(Dirs::READ));
        let takes = eager || self.streams[key].side(Side::Read).armed;
        if self.above_key(below) == Some(key) {
            self.set_suspended(below, Side::Read, Suspend::FILTER, !takes);
        }
    }

    /// It is freed: what is below is its own again, or is freed too; the other end of a pair is alone.
    pub(super) fn unlink(&mut self, key: StreamKey) {
        self.part_pair(key);
        let Some(over) = self.over_mut(key) else {
            return;
        };
        let below = over.below;
        over.due = [None; 2];
        over.owed = Callbacks::NONE;
        over.flush_below = None;
        if std::mem::replace(&mut over.unlinked, true) {
            return;
        }
        self.part(key, below);
        if self.streams[key].options.contains(Options::CLOSE_ON_FREE) {
            self.free_stream(below);
        }
    }

    /// The last reference to a stage is gone: so is its own to what is below.
    pub(super) fn drop_link(&mut self, extra: Option<Box<Extra>>) {
        if let Some(extra) = extra
            && let Link::Over(over) = extra.link
        {
            self.release(over.below);
        }
    }

    /// What is below does not tell the stage anything any more.
    fn part(&mut self, key: StreamKey, below: StreamKey) {
        if self.above_key(below) == Some(key) {
            self.streams[below].extra().above = None;
            self.set_suspended(below, Side::Read, Suspend::FILTER, false);
        }
    }

    pub(super) fn above_key(&self, key: StreamKey) -> Option<StreamKey> {
        self.streams.get(key)?.extra.as_ref()?.above
    }

    fn over(&self, key: StreamKey) -> Option<&Over> {
        self.streams.get(key)?.over()
    }

    fn over_mut(&mut self, key: StreamKey) -> Option<&mut Over> {
        self.streams.get_mut(key)?.over_mut()
    }

    pub(super) fn is_at_work(&self, key: StreamKey) -> bool {
        self.over(key)
            .is_some_and(|over| over.at_work || over.due[Side::Write as usize].is_some())
    }

    /// How many stages there are from here down.
    fn height(&self, key: StreamKey) -> usize {
        let (mut at, mut height) = (key, 0);
        while let Some(over) = self.over(at) {
            at = over.below;
            height += 1;
        }
        height
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

    fn note_due(&mut self, key: StreamKey, side: Side, mode: Mode) {
        let mode = match side {
            // What it has not taken yet is the last, too.
            Side::Write if self.is_finishing(key) => Mode::Finished,
            _ => mode,
        };
        if let Some(over) = self.over_mut(key) {
            let due = &mut over.due[side as usize];
            *due = Some(due.map_or(mode, |noted| noted.max(mode)));
        }
    }

    /// Begins with what is due in the stack that `key` belongs to, unless somebody there is at work.
    fn start_stack(&mut self, key: StreamKey) {
        let mut at = Some(self.bottom(key));
        let mut next = None;
        while let Some(stage) = at {
            let Some(extra) = self.streams.get(stage).and_then(|s| s.extra.as_deref()) else {
                break;
            };
            if let Link::Over(over) = &extra.link {
                if over.at_work {
                    return;
                }
                if next.is_none() && over.has_work() {
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
        if !over.owed.is_empty() {
            let owed = std::mem::take(&mut over.owed);
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
            if let Some(mode) = over.due[side as usize].take()
                && let Some(limit) = self.room(key, side, mode)
            {
                let dir = side.dirs();
                let lens = self.stage_lens(key, side);
                if let Some(over) = self.over_mut(key) {
                    over.mode = mode;
                    over.lens = lens;
                    over.progress = false;
                }
                self.launch(key, Io::Process { dir, mode, limit });
                return true;
            }
        }
        let Some(over) = self.over_mut(key) else {
            return false;
        };
        let below = over.below;
        let Some((dirs, mode)) = over.flush_below.take() else {
            return false;
        };
        self.flush(below, dirs, mode, false);
        self.over(below).is_some_and(|over| over.at_work)
    }

    /// Tells a stage what was heard from below.
    fn start_hearing(&mut self, key: StreamKey) -> bool {
        let Some(over) = self.over_mut(key) else {
            return false;
        };
        if over.heard.is_empty() {
            return false;
        }
        let event = std::mem::take(&mut over.heard);
        let error = std::mem::take(&mut over.error);
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
            .is_some_and(|above| self.over(above).is_some_and(|over| over.at_work))
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
        let (from, into) = match side {
            Side::Read => (below, stage),
            Side::Write => (stage, below),
        };
        if !eager && (from.len(side) == 0 || !stage.side(side).armed) {
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
            over.at_work = true;
        }
        let cookie = stream.cookie;
        self.due.push(StreamWork { key, cookie, io });
    }
}

impl<S> Stream<S> {
    /// Whether its transport is no descriptor, but another bufferevent.
    pub fn is_layered(&self) -> bool {
        let link = self.extra.as_ref().map(|extra| &extra.link);
        !matches!(link, None | Some(Link::Socket))
    }

    /// Whether a stage stands on it.
    #[inline]
    pub(super) fn has_above(&self) -> bool {
        self.extra
            .as_ref()
            .is_some_and(|extra| extra.above.is_some())
    }

    /// The most that it may read at a time, if its bytes go somewhere else.
    #[inline]
    pub(super) fn pipe_limit(&self) -> Option<usize> {
        let pipe = self.extra.as_ref()?.pipe.as_ref()?;
        Some(pipe.limit)
    }

    #[inline]
    pub(super) fn has_ending(&self) -> bool {
        let extra = self.extra.as_ref();
        extra.is_some_and(|extra| extra.ending.is_some())
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    fn over(&self) -> Option<&Over> {
        match &self.extra.as_ref()?.link {
            Link::Over(over) => Some(over),
            Link::Socket | Link::Pair(_) => None,
        }
    }

    fn over_mut(&mut self) -> Option<&mut Over> {
        match &mut self.extra.as_mut()?.link {
            Link::Over(over) => Some(over),
            Link::Socket | Link::Pair(_) => None,
        }
    }

    /// The bufferevent below, of a stage.
    pub(super) fn below(&self) -> Option<StreamKey> {
        Some(self.over()?.below)
    }
}
