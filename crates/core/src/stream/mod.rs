//! Bufferevents: a transport, two buffers, four watermarks, callbacks.
//!
//! A [`Stream`] is the rules only. The bytes are in the shell's two [`Buffer`](crate::buffer::Buffer)s: the shell tells
//! the core each change of their lengths, and the core says what to read, what to write, and whom to call.
//!
//! * `life` — making, references, freeing;
//! * `control` — enabling, watermarks, timeouts, connecting: what the user asks for;
//! * `arm` — waiting for the transport;
//! * `dial` — connecting to a host that has several addresses;
//! * `transfer` — what the transport answered;
//! * `callback` — who is called when, deferred callbacks;
//! * `layer` — bufferevents over bufferevents; `process` — how they are run;
//! * `pair` — bufferevents that are each other's transport; `direct` — their usual writes, and those of a stage;
//! * `rate` — rate limits;
//! * `ending` — what comes once everything is written;
//! * `pipe` — what one reads another one writes;
//! * `secure` — TLS: the handshake, and what else a session asks of its transport.

mod arm;
mod callback;
mod control;
mod dial;
mod direct;
mod ending;
mod layer;
mod life;
mod pair;
mod pipe;
mod process;
mod rate;
mod secure;
mod transfer;
mod unsent;

use bitflags::bitflags;

use self::dial::Dial;
pub use self::dial::Dialed;
use crate::active::{NO_NODE, NodeId};
use crate::driver::{Fd, Interest, Kind};
use crate::flags::{Dirs, Options, StreamEvent};
use crate::timer::TimerId;

pub(crate) use self::layer::Extra;
pub use self::layer::{AfterProcess, Mode, Processed, StageKind};
pub(crate) use self::rate::Group;
pub use self::rate::{GroupKey, RateLimit};
pub use self::secure::Handshake;
use self::secure::{Secured, Security};

/// The low and the high mark of one direction, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Reading: call back from this length on. Writing: call back down to this length.
    pub low: usize,
    /// Reading: read no more than this; 0 is no limit. Writing: a hint to a layer above.
    pub high: usize,
}

/// Which callbacks are to run, in this order: read, write, event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a callback that nobody runs is lost"]
pub struct Callbacks {
    /// The read callback.
    pub read: bool,
    /// The write callback.
    pub write: bool,
    /// The event callback, with these flags, unless they are empty.
    pub event: StreamEvent,
    /// The operating system's error number that belongs to the event; 0: none.
    pub error: i32,
}

impl Callbacks {
    /// None at all.
    pub const NONE: Self = Self {
        read: false,
        write: false,
        event: StreamEvent::empty(),
        error: 0,
    };

    /// Whether nothing is to run.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }
}

/// What the shell is to do for a bufferevent now.
#[derive(Clone, Copy, Debug)]
pub struct StreamWork<S> {
    /// Whose.
    pub key: crate::StreamKey,
    /// The bufferevent's cookie.
    pub cookie: S,
    /// What.
    pub io: Io,
}

/// One piece of a bufferevent's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Read once, at most so many bytes, into the input buffer; then
    /// [`handle_read`](crate::Core::handle_read).
    Read {
        /// From where.
        fd: Fd,
        /// How.
        kind: Kind,
        /// At most so many bytes.
        limit: usize,
    },
    /// Write once, at most so many bytes, from the output buffer; then
    /// [`handle_written`](crate::Core::handle_written).
    Write {
        /// To where.
        fd: Fd,
        /// How.
        kind: Kind,
        /// At most so many bytes.
        limit: usize,
    },
    /// Ask the descriptor how its connection attempt ended; then
    /// [`handle_connected`](crate::Core::handle_connected).
    FinishConnect {
        /// Which.
        fd: Fd,
    },
    /// Begin the connection attempts that [`next_attempt`](crate::Core::next_attempt) gives, until it gives none; then
    /// see what has come of it ([`dialed`](crate::Core::dialed)).
    Dial,
    /// Ask the descriptor how this one of several attempts ended; then
    /// [`handle_attempt`](crate::Core::handle_attempt), and go on as for [`Dial`](Self::Dial).
    FinishAttempt {
        /// Which.
        fd: Fd,
    },
    /// Do what the session's handshake can do now; then
    /// [`handle_handshake`](crate::Core::handle_handshake).
    Handshake {
        /// On which descriptor; negative if it is a bufferevent.
        fd: Fd,
        /// What that is.
        kind: Kind,
    },
    /// Only call back.
    Call(Callbacks),
    /// Deferred callbacks are due: run what [`next_deferred`](crate::Core::next_deferred) gives, until it gives none.
    CallDeferred,
    /// Run a stage on what is in its two buffers; then [`handle_processed`](crate::Core::handle_processed), callbacks,
    /// and [`work_done`](crate::Core::work_done).
    Process {
        /// Reading: from the input below into its own. Writing: from its own output into the one below.
        dir: Dirs,
        /// How.
        mode: Mode,
        /// It may make so many bytes; `None`: as many as it likes.
        limit: Option<usize>,
    },
    /// Something has happened below a stage that does not pass events on; then
    /// [`work_done`](crate::Core::work_done).
    Below {
        /// What.
        event: StreamEvent,
        /// The operating system's error number that belongs to it; 0: none.
        error: i32,
    },
    /// Move bytes from the output of a pair's end to the input of [`move_target`](crate::Core::move_target); then
    /// [`handle_moved`](crate::Core::handle_moved).
    Move {
        /// At most so many.
        limit: usize,
    },
    /// Move the whole input to the output of [`pipe_target`](crate::Core::pipe_target); then
    /// [`handle_piped`](crate::Core::handle_piped). The shell holds nothing of either when this comes.
    Pipe,
    /// Have the session tell its peer that nothing more comes (`close_notify`), and send that; then
    /// [`handle_session_end`](crate::Core::handle_session_end).
    EndSession {
        /// On which descriptor; negative if it is a bufferevent.
        fd: Fd,
        /// What that is.
        kind: Kind,
    },
    /// Shut down the sending side of a socket, if there is one; then
    /// [`handle_shutdown`](crate::Core::handle_shutdown).
    Shutdown {
        /// Which; negative: none.
        fd: Fd,
    },
    /// Only call back; then [`work_done`](crate::Core::work_done).
    Announce(Callbacks),
}

/// A direction, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Read = 0,
    Write = 1,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Read, Self::Write];

    fn of(dir: Dirs) -> Self {
        if dir == Dirs::WRITE {
            Self::Write
        } else {
            Self::Read
        }
    }

    pub(crate) fn dirs(self) -> Dirs {
        match self {
            Self::Read => Dirs::READ,
            Self::Write => Dirs::WRITE,
        }
    }

    fn event(self) -> StreamEvent {
        match self {
            Self::Read => StreamEvent::READING,
            Self::Write => StreamEvent::WRITING,
        }
    }
}

bitflags! {
    /// Why a direction stands still although it is enabled; it moves when no reason is left.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Suspend: u8 {
        /// The input has reached the high mark.
        const WATERMARK = 1;
        /// The host name is being looked up.
        const LOOKUP = 2;
        /// The stage above takes nothing now.
        const FILTER = 4;
        /// Its bucket is empty.
        const RATE = 8;
        /// The bucket of its group is empty.
        const GROUP = 16;
        /// The session above takes nothing now.
        const ABOVE = 32;
        /// Where its bytes go, there is no room.
        const PIPE = 64;
    }
}

/// Where a connection attempt of ours stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connecting {
    No,
    /// Under way; the descriptor becomes writable when it has ended.
    Started,
    /// It stood at once; only the callback is missing.
    Done,
    /// The transport stands; the session's handshake is under way.
    Handshake,
    /// The handshake has failed: nothing will ever move.
    Failed,
}

/// The order in which deferred callbacks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Connected,
    Read,
    Write,
    /// All other events.
    Event,
    Over,
}

/// Half of a bufferevent.
#[derive(Debug)]
pub(crate) struct Half {
    /// Where it is in the active queue.
    node: NodeId,
    timer: Option<TimerId>,
    suspended: Suspend,
    /// Enabled, not suspended, and (writing) with something to do: libevent's "event is pending".
    armed: bool,
    /// The transport can be read or written, as far as we know; cleared when it says that it would block.
    ready: bool,
    /// The driver is to watch this direction.
    watched: bool,
}

/// What the user has set for one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Settings {
    mark: Watermark,
    /// Nanoseconds; 0: no timeout.
    timeout: u64,
    /// The most bytes in one transfer; 0: as many as is good.
    max_single: usize,
}

#[derive(Debug, Default)]
struct Rare {
    /// For reading and for writing.
    settings: [Settings; 2],
    /// While it connects to one of several addresses.
    dial: Option<Dial>,
    /// Of a secured one.
    secured: Option<Secured>,
    /// The priority whose active queue a direction stands in, if it has been changed since.
    queues: [Option<u8>; 2],
}

impl Settings {
    const UNSET: Self = Self {
        mark: Watermark { low: 0, high: 0 },
        timeout: 0,
        max_single: 0,
    };
}

/// The state of a bufferevent on a descriptor.
#[derive(Debug)]
pub struct Stream<S> {
    pub(crate) cookie: S,
    pub(crate) fd: Fd,
    pub(crate) kind: Kind,
    pub(crate) options: Options,
    pub(crate) enabled: Dirs,
    pub(crate) connecting: Connecting,
    /// Bytes in the two buffers, as the shell reported last.
    lens: [usize; 2],
    half: [Half; 2],
    /// Many connections have none, and then take less memory.
    rare: Option<Box<Rare>>,
    pub(crate) priority: u8,
    references: u32,
    /// Freed by the user; lives on until the last reference goes.
    freed: bool,
    /// The peer's end of the stream is known to be there, behind what can still be read.
    end_seen: bool,
    /// The writing half was armed after the reading one, and goes first when both are ready.
    write_first: bool,
    /// The read callback is to run again in the next pass: it left the input at the high mark.
    call_again: bool,
    in_again: bool,
    in_unsent: bool,
    /// Which of the three callbacks exist, so that what nobody hears is not queued.
    listens: Listens,
    /// Which directions were watched when the table heard of it last.
    told: Dirs,
    deferred: Callbacks,
    deferred_queued: bool,
    /// Whose turn is next while deferred callbacks run.
    turn: Turn,
    /// What few have.
    extra: Option<Box<Extra>>,
}

bitflags! {
    /// Which callbacks are set.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Listens: u8 {
        const READ = 1;
        const WRITE = 2;
        const EVENT = 4;
    }
}

// There may be very many, and each is to take 800 bytes at most with all that the C library has for it.
const _: () = assert!(size_of::<Stream<usize>>() <= 96);

impl<S> Stream<S> {
    /// Its descriptor, or a negative number.
    pub fn fd(&self) -> Fd {
        self.fd
    }

    /// What its descriptor is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The flags that it was made with.
    pub fn options(&self) -> Options {
        self.options
    }

    /// The enabled directions (`bufferevent_get_enabled`).
    pub fn enabled(&self) -> Dirs {
        self.enabled
    }

    /// A direction stands in the active queue of the stream's priority.
    fn queued(&mut self, side: Side, node: NodeId) {
        self.side_mut(side).node = node;
        if let Some(rare) = &mut self.rare {
            rare.queues[side as usize] = None;
        }
    }

    /// The priority of the active queue that a direction stands in, if it does.
    fn queue_of(&self, side: Side) -> u8 {
        let before = self
            .rare
            .as_ref()
            .and_then(|rare| rare.queues[side as usize]);
        before.unwrap_or(self.priority)
    }

    fn set_priority(&mut self, priority: u8) {
        for side in [Side::Read, Side::Write] {
            if self.side(side).node != NO_NODE {
                let queue = self.queue_of(side);
                self.rare.get_or_insert_default().queues[side as usize] = Some(queue);
            }
        }
        self.priority = priority;
    }

    /// It stands elsewhere in the same queue.
    pub(crate) fn requeued(&mut self, side: Side, node: NodeId) {
        self.side_mut(side).node = node;
    }

    /// Its priority (`bufferevent_get_priority`).
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// The watermarks of the reading or the writing side.
    pub fn watermark(&self, dir: Dirs) -> Watermark {
        self.set_for(Side::of(dir)).mark
    }

    /// The most bytes that one transfer moves, if the user has limited it.
    pub fn max_single(&self, dir: Dirs) -> Option<usize> {
        Some(self.set_for(Side::of(dir)).max_single).filter(|&max| max > 0)
    }

    /// The timeout of a direction in nanoseconds, if it has one.
    pub fn timeout(&self, dir: Dirs) -> Option<u64> {
        Some(self.set_for(Side::of(dir)).timeout).filter(|&timeout| timeout > 0)
    }

    /// Whether it has a timeout, so that the time matters to it.
    pub fn is_timed(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| rare.settings.iter().any(|settings| settings.timeout > 0))
    }

    /// Whether the user has freed it; other references may still keep it.
    pub fn is_freed(&self) -> bool {
        self.freed
    }

    /// Whether a direction waits for its transport (libevent: its event is pending).
    pub fn is_armed(&self, dir: Dirs) -> bool {
        self.side(Side::of(dir)).armed
    }

    /// What the user has set.
    #[inline]
    fn set_for(&self, side: Side) -> &Settings {
        match &self.rare {
            Some(rare) => &rare.settings[side as usize],
            None => &Settings::UNSET,
        }
    }

    fn change_settings(&mut self, side: Side, change: impl FnOnce(&mut Settings)) {
        let mut settings = *self.set_for(side);
        change(&mut settings);
        if self.rare.is_some() || settings != Settings::UNSET {
            self.rare.get_or_insert_default().settings[side as usize] = settings;
        }
    }

    fn dial_mut(&mut self) -> Option<&mut Dial> {
        self.rare.as_mut()?.dial.as_mut()
    }

    fn take_dial(&mut self) -> Option<Dial> {
        self.rare.as_mut()?.dial.take()
    }

    /// Bytes in one of the buffers.
    #[inline]
    fn len(&self, side: Side) -> usize {
        self.lens[side as usize]
    }

    fn side(&self, side: Side) -> &Half {
        &self.half[side as usize]
    }

    fn side_mut(&mut self, side: Side) -> &mut Half {
        &mut self.half[side as usize]
    }

    /// What the driver is to watch for this bufferevent. Where edges can be trusted (a byte stream that nobody else
    /// watches) the registration stays for good, so that the hot path never changes it.
    pub(crate) fn interest(&self, edge: bool, alone: bool) -> Interest {
        let mut interest = Interest::empty();
        let (read, write) = (self.side(Side::Read), self.side(Side::Write));
        if edge && alone && self.kind == Kind::Stream {
            interest.set(Interest::READ | Interest::CLOSED, read.watched);
            interest.set(Interest::WRITE, write.watched);
            if !interest.is_empty() {
                interest |= Interest::EDGE;
            }
            return interest;
        }
        if self.connecting == Connecting::Handshake {
            return if write.armed { self.wants() } else { interest };
        }
        interest.set(
            Interest::READ,
            self.connecting == Connecting::No
                && (read.armed || self.write_wants_read() && write.armed),
        );
        interest.set(
            Interest::WRITE,
            write.armed && !self.in_unsent && !self.write_wants_read(),
        );
        interest
    }

    /// Whether bytes may move: there is a descriptor, and no connection attempt under way on it.
    fn is_usable(&self) -> bool {
        self.has_transport() && self.connecting == Connecting::No
    }

    fn has_transport(&self) -> bool {
        self.fd >= 0 || self.lower().is_some()
    }

    /// Whether a report is worth remembering: the driver tells of a condition once, when it comes true.
    pub(crate) fn trusts_edges(&self, edge: bool) -> bool {
        self.lower().is_some() || edge && self.kind == Kind::Stream
    }
}
