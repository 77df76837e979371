//! The core's data, and what its parts share.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::io;

use slotmap::{SlotMap, new_key_type};
use smallvec::SmallVec;

use crate::active::{ActiveQueues, NodeId};
use crate::arena::Arena;
use crate::driver::{Driver, Fd, Features, Interest};
use crate::fds::{FdTable, SyncError};
use crate::flags::What;
use crate::looper::SignalChange;
use crate::places::Places;
use crate::run::Run;
use crate::schedule::Clock;
use crate::slots::{EventSlots, Slot};
use crate::stream::{Group, GroupKey, Side, Stream, StreamWork};
use crate::timer::Timers;
use crate::users::User;

new_key_type! {
    /// Names an event while it is pending or active. Where a function wants a cookie beside it, it must be the last key that the
    /// event with that cookie was given.
    pub struct EventKey;
    /// Names a bufferevent until it is finalized.
    pub struct StreamKey;
}

/// The cookies by which a shell finds its own objects again: small, copied, never looked into.
pub trait Host {
    /// Belongs to an event.
    type Event: Copy + Debug + PartialEq;
    /// Belongs to a bufferevent.
    type Stream: Copy + Debug + PartialEq;
    /// Something that the shell wants to run from the loop.
    type Task: Copy + Debug + PartialEq;
    /// A block of the shell's memory for events; [`NoPlaces`](crate::NoPlaces) for the three if it has none.
    type Block: Copy + Debug;
    /// The slots in those blocks.
    type Slots: Places<Slot, Block = Self::Block>;
    /// The clocks in those blocks.
    type Clocks: Places<Clock, Block = Self::Block>;

    /// The cookie of the event whose number this is, if that is the number of a place.
    fn event_in(_slots: &Self::Slots, _event: u32) -> Option<Self::Event> {
        None
    }

    /// Both parts of the event with this cookie, if it has a place, and that has this number. In both, the same blocks were put.
    /// The number is that of the [last](EventKey) key of this event, or one for which [`event_in`](Self::event_in) has just given
    /// this cookie. It is the same as asking for each part, in one go.
    #[inline]
    fn parts_of<'a>(
        slots: &'a mut Self::Slots,
        clocks: &'a mut Self::Clocks,
        number: u32,
        cookie: Self::Event,
    ) -> Option<(&'a mut Slot, &'a mut Clock)> {
        let is_there = Self::event_in(slots, number) == Some(cookie);
        is_there.then_some((slots.get_mut(number)?, clocks.get_mut(number)?))
    }
}

/// An event base without its driver: events, bufferevents, timers, and what is to run.
#[derive(Debug)]
pub struct Core<H: Host> {
    pub(crate) events: EventSlots<H>,
    pub(crate) streams: Arena<StreamKey, Stream<H::Stream>>,
    /// Bufferevents that share a rate limit.
    pub(crate) groups: SlotMap<GroupKey, Group>,
    /// How many bufferevents have a rate limit: then the time matters.
    pub(crate) rated: usize,
    /// How many bufferevents have a timeout.
    pub(crate) timed: usize,
    pub(crate) fds: FdTable,
    pub(crate) signals: HashMap<i32, SmallVec<[EventKey; 2]>>,
    pub(crate) signal_changes: Vec<SignalChange>,
    /// Signals that the wait has told of, and how often each came.
    pub(crate) arrived: SmallVec<[(i32, u16); 2]>,
    /// Whether they have been given a turn.
    pub(crate) signals_queued: bool,
    pub(crate) timers: Timers<TimerOwner, H::Clocks>,
    pub(crate) active: ActiveQueues<Item<H::Task, H::Stream>>,
    /// Runs in the next pass and counts as active.
    pub(crate) later: Vec<(u8, Item<H::Task, H::Stream>)>,
    /// Runs in the next pass, which then does not wait, but does not keep `EVLOOP_ONCE` from returning.
    pub(crate) again: Vec<StreamKey>,
    /// Bufferevents with output that nobody has tried to send yet.
    pub(crate) unsent: Vec<StreamKey>,
    /// Work on bufferevents that is due at once.
    pub(crate) due: SmallVec<[StreamWork<H::Stream>; 2]>,
    /// Work that was due at once, and that nobody but the loop may do any more.
    pub(crate) left: VecDeque<StreamWork<H::Stream>>,
    pub(crate) run: Run,
    /// Events that wait for a descriptor or signal, directions that are armed: while there are any, the loop has something to
    /// wait for.
    pub(crate) waiting: usize,
    /// Events that have nothing but a timer, and what counts like them.
    pub(crate) timed_only: usize,
    /// The largest [`counts`](Self::counts) so far.
    pub(crate) peak: Counts,
    /// Whether one descriptor may have edge-triggered and level-triggered events.
    pub(crate) mixed_triggers: bool,
    pub(crate) now: u64,
    pub(crate) edge: bool,
}

/// How busy a base is, as libevent counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// An event counts once for its descriptor or signal, again for its timeout, and again while it is active
    /// (`EVENT_BASE_COUNT_ADDED`).
    pub added: usize,
    /// Callbacks that wait to run (`EVENT_BASE_COUNT_ACTIVE`).
    pub active: usize,
}

/// What stands in the active queues.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<T, S> {
    /// The event in this slot; how often it is to be called back.
    Event(u32, u16),
    Ready(StreamKey, Side),
    TimedOut(StreamKey, Side),
    Deferred(StreamKey),
    Pipe(StreamKey),
    Dial(StreamKey),
    Attempt(StreamKey, Fd),
    Finalize(S),
    Task(T),
    /// The signals that have [arrived](Core::arrived).
    Signals,
    Exit,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum TimerOwner {
    Stream(StreamKey, Side),
    Refill(StreamKey),
    GroupRefill(GroupKey),
    Ending(StreamKey),
    Dial(StreamKey),
    LoopExit,
}

impl<H: Host> Core<H> {
    /// A core for a driver with these features.
    pub fn new(features: Features) -> Self {
        Self {
            events: EventSlots::new(),
            streams: Arena::default(),
            groups: SlotMap::with_key(),
            rated: 0,
            timed: 0,
            fds: FdTable::default(),
            signals: HashMap::new(),
            signal_changes: Vec::new(),
            arrived: SmallVec::new(),
            signals_queued: false,
            timers: Timers::new(),
            active: ActiveQueues::new(1),
            later: Vec::new(),
            again: Vec::new(),
            unsent: Vec::new(),
            due: SmallVec::new(),
            left: VecDeque::new(),
            run: Run::default(),
            waiting: 0,
            timed_only: 0,
            peak: Counts::default(),
            mixed_triggers: false,
            now: 0,
            edge: features.contains(Features::EDGE),
        }
    }

    /// The time that timeouts count from, in nanoseconds of the driver's clock.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Sets the time. Shells do so before a call that may start a timeout, unless a callback is running: the time
    /// stands still within a pass.
    pub fn set_now(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.run.timed = true;
    }

    /// How many priorities there are.
    pub fn priorities(&self) -> usize {
        self.active.priorities()
    }

    /// Sets the number of priorities (`event_base_priority_init`).
    ///
    /// # Errors
    /// While something is active, and for 0 or 256 and more.
    pub fn set_priorities(&mut self, priorities: usize) -> Result<(), io::Error> {
        if priorities == self.active.priorities() {
            return Ok(());
        }
        if self.active_len() > 0 || priorities == 0 || priorities >= 256 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.active.set_priorities(priorities);
        Ok(())
    }

    /// The priority that new events get: the middle one.
    pub fn default_priority(&self) -> u8 {
        (self.active.priorities() / 2) as u8
    }

    /// Has events with [`What::EDGE`] and without it be added to one descriptor; all of them then get changes only. A
    /// driver knows one way for a descriptor, so that [`AddError::MixedTriggers`](crate::AddError::MixedTriggers) is
    /// the rule; C programs that mixed them found out late, if ever.
    pub fn allow_mixed_triggers(&mut self, allow: bool) {
        self.mixed_triggers = allow;
    }

    /// What libevent counts (`event_base_get_num_events`).
    pub fn counts(&self) -> Counts {
        let mut counts = self.raw_counts();
        // The signals that wait for their turn are no event.
        counts.added -= usize::from(self.signals_queued);
        counts
    }

    #[inline]
    fn raw_counts(&self) -> Counts {
        let active = self.active_len();
        Counts {
            added: self.waiting + self.timers.len() + active,
            active,
        }
    }

    /// The most that there ever was of each (`event_base_get_max_events`).
    pub fn peak(&self) -> Counts {
        self.peak
    }

    /// Begins to look for the most of `added`, or of `active`, anew.
    pub fn clear_peak(&mut self, added: bool, active: bool) {
        if added {
            self.peak.added = 0;
        }
        if active {
            self.peak.active = 0;
        }
    }

    /// To be called where the counts grow.
    #[inline]
    pub(crate) fn note_peak(&mut self) {
        let counts = self.raw_counts();
        self.peak.added = self.peak.added.max(counts.added);
        self.peak.active = self.peak.active.max(counts.active);
    }

    /// Events added and directions armed: the loop goes on while there are any.
    #[inline]
    pub fn pending_len(&self) -> usize {
        self.waiting + self.timed_only
    }

    /// Callbacks that wait to run.
    pub fn active_len(&self) -> usize {
        self.active.len() + self.later.len()
    }

    /// Queues something of the shell's own to run from the loop, in this pass if the loop is in one.
    pub fn push_task(&mut self, priority: u8, task: H::Task) {
        self.push_deferred(priority, Item::Task(task));
    }

    /// Applies noted changes to the driver. To be called before each wait.
    ///
    /// Each failure is passed to `failed`: a descriptor that cannot be watched any more stays unwatched.
    #[inline]
    pub fn sync(&mut self, driver: &mut dyn Driver, failed: impl FnMut(SyncError)) {
        if self.fds.has_changes() {
            self.apply_changes(driver, failed);
        }
    }

    #[inline(never)]
    fn apply_changes(&mut self, driver: &mut dyn Driver, mut failed: impl FnMut(SyncError)) {
        if self.fds.haunted {
            match driver.reset() {
                Ok(()) => self.fds.forget_registrations(),
                Err(error) => failed(SyncError { fd: -1, error }),
            }
        }
        let put_off = driver.put_off(self.fds.changes());
        while let Some(fd) = self.fds.pop_dirty() {
            let desired = self.desired_interest(fd);
            if let Err(error) = self.fds.apply(fd, desired, driver) {
                failed(error);
            }
        }
        if put_off {
            let mut refused = Vec::new();
            driver.settle(&mut refused);
            for (fd, error) in refused {
                let desired = self.desired_interest(fd);
                if let Err(error) = self.fds.refused(fd, desired, error, driver) {
                    failed(error);
                }
            }
        }
    }

    /// A descriptor is about to be closed that nobody waits on any more: it needs no deregistration of its own.
    pub fn closing_fd(&mut self, fd: Fd, driver: Option<&mut dyn Driver>) {
        if let Some(driver) = driver
            && self.fds.forget_closed(fd)
        {
            driver.closing(fd);
        }
    }

    /// There is a new driver, which knows of nothing: everything is registered anew at the next wait (`event_reinit`).
    pub fn driver_replaced(&mut self) {
        self.fds.forget_registrations();
    }

    /// The signals that events wait for.
    pub fn watched_signals(&self) -> impl Iterator<Item = i32> {
        self.signals.keys().copied()
    }

    /// Whether [`take_signal_changes`](Self::take_signal_changes) has anything to give.
    pub fn has_signal_changes(&self) -> bool {
        !self.signal_changes.is_empty()
    }

    /// Changes of the signals that the base listens to, to be applied by the shell.
    pub fn take_signal_changes(&mut self) -> Vec<SignalChange> {
        std::mem::take(&mut self.signal_changes)
    }

    /// What the users of `fd` need, all together.
    #[inline]
    pub(crate) fn desired_interest(&self, fd: Fd) -> Interest {
        match self.fds.wanted_by_events(fd) {
            Some(interest) => interest,
            None => self.interest_of_all(fd),
        }
    }

    #[inline(never)]
    fn interest_of_all(&self, fd: Fd) -> Interest {
        let (mut desired, streams) = self.fds.wanted(fd);
        for index in streams {
            if let Some(key) = self.streams.key_at(index) {
                let alone = self.fds.is_alone(fd, User::stream(key));
                desired |= self.streams[key].interest(self.edge, alone);
            }
        }
        desired
    }

    /// Tells the table that what `fd` waits for may have changed.
    pub(crate) fn update_fd(&mut self, fd: Fd, driver: Option<&mut dyn Driver>) -> io::Result<()> {
        let desired = self.desired_interest(fd);
        self.fds.update(fd, desired, driver)
    }

    /// Queues a deferred item: at most [`MAX_DEFERRED`] of them run in the pass that queues them. What comes of sending
    /// stands behind what the wait that follows finds, so that one call hears of both.
    pub(crate) fn push_deferred(&mut self, priority: u8, item: Item<H::Task, H::Stream>) {
        if self.run.deferred < MAX_DEFERRED && !self.run.is_sending() {
            self.run.deferred += 1;
            self.active.push(priority, item);
        } else {
            self.later.push((priority, item));
        }
        self.note_peak();
    }

    /// Takes out what was queued with this priority and got this id.
    #[inline]
    pub(crate) fn remove_active(&mut self, priority: u8, node: NodeId) {
        if self.active.remove(priority, node) {
            self.close_gaps(priority);
        }
    }

    #[cold]
    fn close_gaps(&mut self, priority: u8) {
        let Self {
            active,
            events,
            streams,
            ..
        } = self;
        active.close_gaps(priority, |item, node| match *item {
            Item::Event(index, _) => events.at_mut(index).node = node,
            Item::Ready(key, side) | Item::TimedOut(key, side) => {
                if let Some(stream) = streams.get_mut(key) {
                    stream.requeued(side, node);
                }
            }
            // Nobody takes the others out.
            _ => {}
        });
    }
}

/// Deferred callbacks that may run in the very pass that queued them, so that two which keep queueing each other do
/// not starve descriptors and timers.
const MAX_DEFERRED: usize = 32;

pub(crate) fn interest_of(what: What) -> Interest {
    let mut interest = Interest::empty();
    interest.set(Interest::READ, what.contains(What::READ));
    interest.set(Interest::WRITE, what.contains(What::WRITE));
    interest.set(Interest::CLOSED, what.contains(What::CLOSED));
    interest.set(Interest::EDGE, what.contains(What::EDGE));
    interest
}
