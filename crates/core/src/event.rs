//! Events on descriptors, signals and timers.
//!
//! An event has a slot only while it is pending (added) or active (about to run): a C program may reuse the memory of
//! its `struct event` unseen by us once it is neither.

use std::io;

use crate::active::NO_NODE;
use crate::base::{Core, EventKey, Host, Item, interest_of};
use crate::driver::{Driver, Fd};
use crate::flags::What;
use crate::looper::SignalChange;
use crate::places::{Place, Places};
use crate::schedule::Clock;
use crate::slots::{Slot, Standing};

/// An event to add: what the shell knows of it.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec<E> {
    /// Handed back when it fires.
    pub cookie: E,
    /// A descriptor, or a signal's number; a negative descriptor never fires by itself.
    pub fd: Fd,
    /// What to wait for.
    pub what: What,
    /// Lower numbers run first.
    pub priority: u8,
    /// The [number](Place::number) of the place where the core may keep what it knows of it, if the event there has this
    /// cookie; 0 if there is none.
    pub place: u32,
}

/// An event that is to run now.
#[derive(Clone, Copy, Debug)]
pub struct Fired<E> {
    /// The event's cookie.
    pub cookie: E,
    /// Its key when it was queued.
    pub fired: EventKey,
    /// Its key now, or `None` if it is not pending any more: a one-shot event has been deleted before it runs.
    pub key: Option<EventKey>,
    /// What happened.
    pub what: What,
    /// How often to call back: a signal may have arrived several times.
    pub calls: u16,
}

/// What is known of a pending or active event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventInfo {
    /// What it waits for, if it is added.
    pub waits: What,
    /// What it is about to run for, if it is active.
    pub active: What,
    /// When its timeout passes, in nanoseconds of the base's clock.
    pub deadline: Option<u64>,
}

/// Why an event was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The driver refuses the descriptor.
    #[error("the descriptor cannot be watched: {0}")]
    Driver(#[from] io::Error),
    /// One event wants changes, another one levels, on the same descriptor.
    #[error("edge-triggered and level-triggered events on the same descriptor")]
    MixedTriggers,
    /// No such signal.
    #[error("signal {0} is out of range")]
    Signal(i32),
}

/// An event has been added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its key, or `None` if there is nothing to wait for.
    pub key: Option<EventKey>,
    /// How it stands now.
    pub standing: Standing,
}

/// Signals are numbered 1 to 64 on Linux.
const MAX_SIGNAL: i32 = 64;

impl<H: Host> Core<H> {
    /// The cookie of a pending or active event.
    #[inline]
    pub fn event_cookie(&self, key: EventKey) -> Option<H::Event> {
        self.events
            .index(key)
            .map(|index| self.events.cookie(index))
    }

    /// The shell has memory for [`BLOCK`](crate::BLOCK) more events, under this number; or it takes that memory back, in
    /// which no event is pending or active then. If all of them may be timers, there is room for those too.
    pub fn put_block(&mut self, number: u32, block: Option<H::Block>, timers: bool) {
        self.events.put_block(number, block);
        self.timers.put_block(number, block, timers);
    }

    /// The key of the event in a place, if it is pending or active.
    pub fn key_in(&self, place: Place) -> Option<EventKey> {
        self.events.key_in(place)
    }

    /// Somebody has written to a place whose event was neither pending nor active; so it is again.
    pub fn reset_place(&mut self, place: Place) {
        self.events.reset_place(place);
        if let Some(clock) = self.timers.clocks.places.get_mut(place.number()) {
            *clock = Clock::default();
        }
    }

    /// The cookie that the event in this place has, or would have.
    #[inline]
    pub fn event_in(&self, place: Place) -> Option<H::Event> {
        H::event_in(self.events.places(), place.number())
    }

    /// What is known of an event, or `None` if it is neither pending nor active (`event_pending`).
    pub fn event_info(&self, key: EventKey) -> Option<EventInfo> {
        let index = self.events.index(key)?;
        let slot = self.events.at(index);
        let standing = slot.standing();
        let mut info = EventInfo {
            waits: What::empty(),
            active: What::empty(),
            deadline: None,
        };
        if standing.contains(Standing::INSERTED) {
            info.waits = slot.what() & (What::IO | What::SIGNAL);
        }
        if standing.contains(Standing::ACTIVE) {
            info.active = slot.happened();
        }
        if standing.contains(Standing::TIMED) {
            info.deadline = Some(self.timers.event_deadline(index));
        }
        Some(info)
    }

    /// How an event stands; not at all if it is neither pending nor active.
    pub fn event_standing(&self, key: EventKey) -> Standing {
        self.events.get(key).map(Slot::standing).unwrap_or_default()
    }

    /// All events that are pending or active.
    pub fn events(&self) -> impl Iterator<Item = (EventKey, H::Event)> {
        self.events.iter()
    }

    /// Whether the event waits already, and has this cookie: then [`add_event`](Self::add_event) without a timeout would
    /// find nothing to do.
    #[inline]
    pub fn is_event_waiting(&mut self, key: EventKey, cookie: H::Event) -> bool {
        let own = self.events.find_own(key, cookie);
        own.is_some_and(|(_, slot)| slot.state.contains(Standing::INSERTED))
    }

    /// Many events will be added with this timeout, in nanoseconds: they need not be kept in order with all others
    /// (`event_base_init_common_timeout`). It changes nothing but what they cost.
    pub fn share_timeout(&mut self, timeout: u64) {
        self.timers.share(timeout);
    }

    /// What [`add_event`](Self::add_event) does most often, and quickly: moves the deadline of an event that is added with
    /// one, is not active, and has this cookie. Returns whether it did.
    #[inline]
    pub fn move_timeout(&mut self, key: EventKey, cookie: H::Event, timeout: u64) -> bool {
        let Some((index, slot)) = self.events.find_own(key, cookie) else {
            return false;
        };
        if !slot.only_moves() {
            return false;
        }
        if slot.what().contains(What::PERSIST) {
            slot.state.set(Standing::REPEATS, timeout > 0);
            self.timers.set_event_interval(index, timeout);
        }
        let deadline = self.now.saturating_add(timeout);
        self.timers.move_event(index, timeout, deadline);
        true
    }

    /// Adds an event, or changes the timeout of one that is added already (`event_add`).
    ///
    /// `timeout` is in nanoseconds from [`now`](Self::now); `None` leaves a timeout that runs alone. Without a `driver`
    /// a new descriptor is registered before the next wait, and a refusal then comes too late for this call.
    ///
    /// # Errors
    /// See [`AddError`]; an event that was not pending before is not pending after.
    #[inline]
    pub fn add_event(
        &mut self,
        key: Option<EventKey>,
        spec: EventSpec<H::Event>,
        timeout: Option<u64>,
        driver: Option<&mut dyn Driver>,
    ) -> Result<Added, AddError> {
        let known = key.and_then(|key| self.events.index(key));
        let waits = spec.what.intersects(What::IO | What::SIGNAL);
        if let Some(timeout) = timeout
            && known.is_none()
            && !waits
        {
            return Ok(self.add_timer(&spec, timeout));
        }
        let index = match known {
            Some(index) => index,
            None => self.events.insert(&spec).0,
        };
        let slot = self.events.at(index);
        let before = slot.standing();
        let waits = slot.what().intersects(What::IO | What::SIGNAL);
        if waits
            && !before.contains(Standing::INSERTED)
            && let Err(error) = self.insert_event(index, driver)
        {
            if known.is_none() {
                self.events.remove(index);
            }
            return Err(error);
        }
        if let Some(timeout) = timeout {
            self.start_timeout(index, timeout);
        }
        let standing = self.events.at(index).standing();
        if standing != before {
            self.note_peak();
        }
        Ok(Added {
            key: self.release_idle(index),
            standing,
        })
    }

    /// Adds an event that has nothing but a timeout, and is neither pending nor active.
    #[inline]
    fn add_timer(&mut self, spec: &EventSpec<H::Event>, timeout: u64) -> Added {
        let (index, slot) = self.events.insert(spec);
        slot.state = Standing::TIMED;
        if spec.what.contains(What::PERSIST) {
            slot.state.set(Standing::REPEATS, timeout > 0);
            self.timers.set_event_interval(index, timeout);
        }
        let added = Added {
            key: Some(slot.key(index)),
            standing: slot.state,
        };
        self.timed_only += 1;
        let deadline = self.now.saturating_add(timeout);
        self.timers.start_event(index, timeout, deadline);
        self.note_peak();
        added
    }

    /// Deletes an event: it is neither pending nor active then (`event_del`). Returns whether it was either.
    pub fn del_event(&mut self, key: EventKey) -> bool {
        let Some(index) = self.events.index(key) else {
            return false;
        };
        let gone = self.events.at_mut(index).leave();
        self.let_go(index, &gone);
        true
    }

    /// The same, if this is the event's cookie.
    #[inline]
    pub fn del_event_of(&mut self, key: EventKey, cookie: H::Event) -> bool {
        let Some((index, slot)) = self.events.find_own(key, cookie) else {
            return false;
        };
        let gone = slot.leave();
        self.let_go(index, &gone);
        true
    }

    /// Takes an event that has left its slot out of everything.
    #[inline(always)]
    fn let_go(&mut self, index: u32, gone: &Slot) {
        let key = gone.key(index);
        if gone.state.intersects(Standing::INSERTED | Standing::TIMED) {
            self.take_out(index, key, gone);
        }
        if gone.node != NO_NODE {
            self.remove_active(gone.priority, gone.node);
        }
        if self.run.running == Some(key) {
            self.run.running = None;
        }
        self.events.recycle(index);
    }

    /// Stops only the timeout (`event_remove_timer`).
    pub fn remove_event_timer(&mut self, key: EventKey) {
        let Some(index) = self.events.index(key) else {
            return;
        };
        let slot = self.events.at_mut(index);
        let state = slot.state;
        // One that has passed is not taken back: its event is about to run.
        if state.contains(Standing::TIMED) {
            slot.state -= Standing::TIMED | Standing::REPEATS;
            self.timers.remove_event(index);
            if !state.contains(Standing::INSERTED) {
                self.timed_only -= 1;
            }
        }
        self.release_idle(index);
    }

    /// Makes an event run, as if `happened` had (`event_active`); `calls` counts for signals.
    #[inline]
    pub fn activate_event(
        &mut self,
        key: Option<EventKey>,
        spec: EventSpec<H::Event>,
        happened: What,
        calls: u16,
    ) -> EventKey {
        if let Some(key) = key
            && let Some(index) = self.events.index(key)
        {
            self.activate(index, happened, calls);
            return key;
        }
        let (index, slot) = self.events.insert(&spec);
        slot.set_happened(happened);
        let item = Item::Event(index, spec.what.calls(calls));
        slot.node = self.active.push(slot.priority, item);
        let key = slot.key(index);
        self.run.yield_to(spec.priority);
        self.note_peak();
        key
    }

    /// Changes the priority (`event_priority_set`). Returns whether it could: not while the event is active.
    pub fn set_event_priority(&mut self, key: EventKey, priority: u8) -> bool {
        if usize::from(priority) >= self.priorities() {
            return false;
        }
        let Some(index) = self.events.index(key) else {
            return true;
        };
        let slot = self.events.at_mut(index);
        if slot.node != NO_NODE {
            return false;
        }
        slot.priority = priority;
        true
    }

    /// Makes it wait for its descriptor or signal.
    #[inline(never)]
    pub(crate) fn insert_event(
        &mut self,
        index: u32,
        driver: Option<&mut dyn Driver>,
    ) -> Result<(), AddError> {
        let slot = self.events.at(index);
        let (fd, what) = (slot.fd, slot.what());
        if what.contains(What::SIGNAL) {
            self.insert_signal(index, fd)?;
        } else if fd >= 0 {
            self.insert_io(index, fd, what, driver)?;
        }
        let slot = self.events.at_mut(index);
        slot.state |= Standing::INSERTED;
        self.waiting += 1;
        if slot.state.contains(Standing::TIMED) {
            self.timed_only -= 1;
        }
        Ok(())
    }

    fn insert_signal(&mut self, index: u32, signal: i32) -> Result<(), AddError> {
        if !(1..=MAX_SIGNAL).contains(&signal) {
            return Err(AddError::Signal(signal));
        }
        let keys = self.signals.entry(signal).or_default();
        if keys.is_empty() {
            self.signal_changes.push(SignalChange::Watch(signal));
        }
        keys.push(self.events.key(index));
        Ok(())
    }

    fn insert_io(
        &mut self,
        index: u32,
        fd: Fd,
        what: What,
        driver: Option<&mut dyn Driver>,
    ) -> Result<(), AddError> {
        if !self.mixed_triggers && self.fds.mixes_triggers(fd, what.contains(What::EDGE)) {
            return Err(AddError::MixedTriggers);
        }
        let wants = interest_of(what);
        self.fds.add_event(fd, index, wants)?;
        if let Err(error) = self.update_fd(fd, driver) {
            self.fds.remove_event(fd, index, wants);
            return Err(error.into());
        }
        Ok(())
    }

    #[inline(always)]
    fn start_timeout(&mut self, index: u32, timeout: u64) {
        let deadline = self.now.saturating_add(timeout);
        let slot = self.events.at_mut(index);
        if slot.what().contains(What::PERSIST) {
            slot.state.set(Standing::REPEATS, timeout > 0);
            self.timers.set_event_interval(index, timeout);
        }
        if slot.node != NO_NODE && slot.happened().contains(What::TIMEOUT) {
            let node = std::mem::replace(&mut slot.node, NO_NODE);
            let priority = slot.priority;
            self.remove_active(priority, node);
        }
        self.set_event_timer(index, timeout, deadline);
    }

    #[inline(always)]
    pub(crate) fn set_event_timer(&mut self, index: u32, timeout: u64, deadline: u64) {
        let slot = self.events.at_mut(index);
        if slot.state.contains(Standing::TIMED) {
            return self.timers.move_event(index, timeout, deadline);
        }
        slot.state |= Standing::TIMED;
        if !slot.state.contains(Standing::INSERTED) {
            self.timed_only += 1;
        }
        self.timers.start_event(index, timeout, deadline);
    }

    /// Takes an event that waits, as its slot `was`, out of what it waits for.
    #[inline(always)]
    pub(crate) fn take_out(&mut self, index: u32, key: EventKey, was: &Slot) {
        if was.state.contains(Standing::TIMED) {
            self.timers.remove_event(index);
        }
        self.end_waiting(index, key, was);
    }

    /// An event that waited, as its slot `was`, does not any more; its timer does not run.
    #[inline(always)]
    pub(crate) fn end_waiting(&mut self, index: u32, key: EventKey, was: &Slot) {
        if was.state.contains(Standing::INSERTED) {
            self.waiting -= 1;
            self.withdraw(index, key, was.fd, was.what());
        } else {
            self.timed_only -= 1;
        }
    }

    /// Takes it out of its descriptor's or signal's users.
    #[inline(never)]
    fn withdraw(&mut self, index: u32, key: EventKey, fd: Fd, what: What) {
        if what.contains(What::SIGNAL) {
            self.withdraw_signal(key, fd);
        } else if fd >= 0 {
            self.fds.remove_event(fd, index, interest_of(what));
            // With no driver this only takes a note, which cannot fail.
            let _ = self.update_fd(fd, None);
        }
    }

    fn withdraw_signal(&mut self, key: EventKey, signal: i32) {
        let Some(keys) = self.signals.get_mut(&signal) else {
            return;
        };
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            self.signals.remove(&signal);
            self.signal_changes.push(SignalChange::Unwatch(signal));
        }
    }

    /// Gives the slot back if nothing needs it any more.
    #[inline]
    fn release_idle(&mut self, index: u32) -> Option<EventKey> {
        let waits = Standing::INSERTED | Standing::TIMED | Standing::ACTIVE;
        if self.events.at(index).standing().intersects(waits) {
            return Some(self.events.key(index));
        }
        self.events.remove(index);
        None
    }
}
