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

use super::ending::Ending;
use super::pair::Pair;
use super::pipe::Pipe;
use super::process::Work;
use super::rate::Rate;
use super::{Callbacks, Side, Stream, Suspend};
use crate::active::NO_NODE;
use crate::base::{Core, Host, StreamKey};
use crate::driver::{Driver, Kind};
use crate::flags::{Dirs, Options};

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
        /// As in [`Io::Process`](super::Io::Process).
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
    pub(super) above: Option<StreamKey>,
    pub(super) rate: Option<Box<Rate>>,
    pub(super) ending: Option<Box<Ending>>,
    pub(super) pipe: Option<Box<Pipe>>,
    pub(super) piped_from: Option<StreamKey>,
}

impl Extra {
    /// Whether nothing stands on it, and nothing else is connected with its bytes or their end.
    #[inline]
    pub(super) fn is_bare(&self) -> bool {
        self.above.is_none()
            && self.ending.is_none()
            && self.pipe.is_none()
            && self.piped_from.is_none()
    }
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
    pub(super) below: StreamKey,
    pub(super) kind: StageKind,
    /// What is below is no stage itself.
    pub(super) lowest: bool,
    /// It has let go of the one below: it is freed.
    unlinked: bool,
    /// Directions that run although they are disabled or have nothing to work on: a handshake is under way.
    pub(super) eager: Dirs,
    pub(super) work: Work,
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
        let lowest = self.over(below).is_none();
        let key = self.new_stream(cookie, -1, Kind::Stream, options)?;
        self.streams[key].extra().link = Link::Over(Over {
            below,
            kind,
            lowest,
            unlinked: false,
            eager: Dirs::empty(),
            work: Work::default(),
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
        over.work.forget();
        if std::mem::replace(&mut over.unlinked, true) {
            return;
        }
        self.part(key, below);
        if self.streams[key].options.contains(Options::CLOSE_ON_FREE) {
            self.free_below(below);
        }
    }

    /// The stage's write callback comes when its own output is empty, so programs free it with its last bytes still below.
    /// Those get their turn to be sent; what the transport does not take then is dropped.
    fn free_below(&mut self, below: StreamKey) {
        let sends = self.streams.get(below).is_some_and(|stream| {
            let limited = stream.extra.as_ref().is_some_and(|e| e.rate.is_some());
            let write = stream.side(Side::Write);
            write.armed
                && stream.len(Side::Write) > 0
                && stream.is_usable()
                // Both may have it wait for more than its turn, without an end.
                && !(limited || stream.is_secure())
                // The turn comes. It is that of a timeout only if there was no room for long.
                && (stream.in_unsent || write.node != NO_NODE)
        });
        if sends {
            self.free_when_offered(below);
        } else {
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
        self.streams.get(key)?.above()
    }

    pub(super) fn over(&self, key: StreamKey) -> Option<&Over> {
        self.streams.get(key)?.over()
    }

    pub(super) fn over_mut(&mut self, key: StreamKey) -> Option<&mut Over> {
        self.streams.get_mut(key)?.over_mut()
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
        self.above().is_some()
    }

    /// The stage that stands on it.
    #[inline]
    pub(super) fn above(&self) -> Option<StreamKey> {
        self.extra.as_ref()?.above
    }

    /// The most that it may read at a time, if its bytes go somewhere else.
    #[inline]
    pub(super) fn pipe_limit(&self) -> Option<usize> {
        let pipe = self.extra.as_ref()?.pipe.as_ref()?;
        Some(pipe.limit)
    }

    /// Whether what another one reads goes to its output.
    #[inline]
    pub(super) fn is_piped_to(&self) -> bool {
        let extra = self.extra.as_ref();
        extra.is_some_and(|extra| extra.piped_from.is_some())
    }

    #[inline]
    pub(super) fn has_ending(&self) -> bool {
        let extra = self.extra.as_ref();
        extra.is_some_and(|extra| extra.ending.is_some())
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(super) fn over(&self) -> Option<&Over> {
        match &self.extra.as_ref()?.link {
            Link::Over(over) => Some(over),
            Link::Socket | Link::Pair(_) => None,
        }
    }

    pub(super) fn over_mut(&mut self) -> Option<&mut Over> {
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
