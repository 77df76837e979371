//! Events on descriptors, signals and timers.
//!
//! An event has a slot only while it is pending (added) or active (about to run): a C program may reuse the memory of
//! its `struct event` unseen by us once it is neither.

use std::io;

use crate::active::{NO_NODE, NodeId};
use crate::base::{Core, EventKey, Host, Item, TimerOwner, interest_of};
use crate::driver::{Driver, Fd};
use crate::flags::What;
use crate::looper::SignalChange;
use crate::timer::TimerId;
use crate::users::Who;

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

#[derive(Clone, Copy, Debug)]
pub(crate) struct EventSlot<E> {
    cookie: E,
    fd: Fd,
    pub(crate) what: What,
    happened: What,
    priority: u8,
    inserted: bool,
    calls: u16,
    node: NodeId,
    timer: Option<TimerId>,
    /// The timeout of a persistent event, in nanoseconds; 0: none.
    interval: u64,
    /// The deadline that passed last.
    passed: u64,
}

/// Signals are numbered 1 to 64 on Linux.
const MAX_SIGNAL: i32 = 64;

impl<H: Host> Core<H> {
    /// The cookie of a pending or active event.
    pub fn event_cookie(&self, key: EventKey) -> Option<H::Event> {
        Some(self.events.get(key)?.cookie)
    }

    /// What is known of an event, or `None` if it is neither pending nor active (`event_pending`).
    pub fn event_info(&self, key: EventKey) -> Option<EventInfo> {
        let slot = self.events.get(key)?;
        let waits = if slot.inserted {
            slot.what & (What::IO | What::SIGNAL)
        } else {
            What::empty()
        };
        let active = if slot.node == NO_NODE {
            What::empty()
        } else {
            slot.happened
        };
        Some(EventInfo {
            waits,
            active,
            deadline: slot.timer.map(|id| self.timers.deadline(id)),
        })
    }

    /// All events that are pending or active.
    pub fn events(&self) -> impl Iterator<Item = (EventKey, H::Event)> {
        self.events.iter().map(|(key, slot)| (key, slot.cookie))
    }

    /// Adds an event, or changes the timeout of one that is added already (`event_add`).
    ///
    /// `timeout` is in nanoseconds from [`now`](Self::now); `None` leaves a timeout that runs alone. Without a `driver`
    /// a new descriptor is registered before the next wait, and a refusal then comes too late for this call.
    ///
    /// Returns the event's key, or `None` if there is nothing to wait for.
    ///
    /// # Errors
    /// See [`AddError`]; an event that was not pending before is not pending after.
    pub fn add_event(
        &mut self,
        key: Option<EventKey>,
        spec: EventSpec<H::Event>,
        timeout: Option<u64>,
        driver: Option<&mut dyn Driver>,
    ) -> Result<Option<EventKey>, AddError> {
        let known = key.filter(|&key| self.events.contains_key(key));
        let key = known.unwrap_or_else(|| self.insert_slot(spec));
        if let Err(error) = self.insert_event(key, driver) {
            if known.is_none() {
                self.events.remove(key);
            }
            return Err(error);
        }
        if let Some(timeout) = timeout {
            self.start_timeout(key, timeout);
        }
        self.note_peak();
        Ok(self.release_idle(key))
    }

    /// Deletes an event: it is neither pending nor active then (`event_del`). Returns whether it was either.
    pub fn del_event(&mut self, key: EventKey) -> bool {
        if !self.events.contains_key(key) {
            return false;
        }
        if let Some(mut slot) = self.take_out(key) {
            self.remove_active(&mut slot.node);
        }
        if self.run.running == Some(key) {
            self.run.running = None;
        }
        true
    }

    /// Stops only the timeout (`event_remove_timer`).
    pub fn remove_event_timer(&mut self, key: EventKey) {
        let Some(slot) = self.events.get_mut(key) else {
            return;
        };
        slot.interval = 0;
        if let Some(timer) = slot.timer.take() {
            self.timers.remove(timer);
            if !slot.inserted {
                self.pending -= 1;
                self.timed_only -= 1;
            }
        }
        self.release_idle(key);
    }

    /// Makes an event run, as if `happened` had (`event_active`); `calls` counts for signals.
    pub fn activate_event(
        &mut self,
        key: Option<EventKey>,
        spec: EventSpec<H::Event>,
        happened: What,
        calls: u16,
    ) -> EventKey {
        let known = key.filter(|&key| self.events.contains_key(key));
        let key = known.unwrap_or_else(|| self.insert_slot(spec));
        self.activate(key, happened, calls);
        key
    }

    /// Changes the priority (`event_priority_set`). Returns whether it could: not while the event is active.
    pub fn set_event_priority(&mut self, key: EventKey, priority: u8) -> bool {
        if usize::from(priority) >= self.priorities() {
            return false;
        }
        match self.events.get_mut(key) {
            Some(slot) if slot.node != NO_NODE => false,
            Some(slot) => {
                slot.priority = priority;
                true
            }
            None => true,
        }
    }

    /// Whether the event whose callback runs now has not been deleted since it began: a signal that arrived several
    /// times is called back for as long.
    pub fn still_running(&self, key: Option<EventKey>) -> bool {
        key.is_none() || self.run.running == key
    }

    /// A signal has arrived `calls` times.
    pub fn handle_signal(&mut self, signal: i32, calls: u16) {
        let Some(keys) = self.signals.get(&signal) else {
            return;
        };
        // Who came last goes first, as with descriptors.
        for key in keys.clone().into_iter().rev() {
            self.activate(key, What::SIGNAL, calls);
        }
    }

    /// Acts as if a descriptor's condition had come true, or its events had timed out (`event_base_active_by_fd`).
    pub fn activate_fd(&mut self, fd: Fd, what: What) {
        for user in self.fds.users(fd).to_vec() {
            let Who::Event(index) = user.who() else {
                continue;
            };
            let Some(key) = self.events.key_at(index) else {
                continue;
            };
            self.activate_io(key, what & What::IO);
            let timed = self
                .events
                .get(key)
                .is_some_and(|slot| slot.timer.is_some());
            if what.contains(What::TIMEOUT) && timed {
                self.activate(key, What::TIMEOUT, 1);
            }
        }
    }

    /// A descriptor's condition has come true; [`What::EDGE`] if that was told as an edge to those who want edges.
    pub(crate) fn activate_io(&mut self, key: EventKey, happened: What) {
        let Some(slot) = self.events.get(key) else {
            return;
        };
        let happened = happened & slot.what & (What::IO | What::EDGE);
        if happened.intersects(What::IO) {
            self.activate(key, happened, 1);
        }
    }

    pub(crate) fn activate(&mut self, key: EventKey, happened: What, calls: u16) {
        let Some(slot) = self.events.get_mut(key) else {
            return;
        };
        if slot.node != NO_NODE {
            slot.happened |= happened;
            return;
        }
        slot.happened = happened;
        slot.calls = calls;
        slot.node = self.active.push(slot.priority, Item::Event(key));
        self.run.yield_to(slot.priority);
        self.note_peak();
    }

    /// The event has come to the front of its queue.
    pub(crate) fn fire(&mut self, key: EventKey) -> Option<Fired<H::Event>> {
        let slot = self.events.get_mut(key)?;
        slot.node = NO_NODE;
        let happened = slot.happened;
        let signal = slot.what.contains(What::SIGNAL);
        let mut fired = Fired {
            cookie: slot.cookie,
            fired: key,
            key: Some(key),
            what: happened,
            calls: if signal { slot.calls } else { 1 },
        };
        if slot.what.contains(What::PERSIST) {
            if slot.interval > 0 && !signal {
                self.restart_interval(key, happened);
            }
            // Activated by hand while it was not added: nothing is left to persist.
            fired.key = self.release_idle(key);
        } else {
            self.take_out(key);
            fired.key = None;
        }
        self.run.running = fired.key;
        Some(fired)
    }

    /// The event's timeout has passed.
    pub(crate) fn expire_event(&mut self, key: EventKey, deadline: u64) {
        let Some(slot) = self.events.get_mut(key) else {
            return;
        };
        slot.timer = None;
        slot.passed = deadline;
        let persistent_signal = slot.what.contains(What::SIGNAL | What::PERSIST);
        if !slot.inserted {
            self.pending -= 1;
            self.timed_only -= 1;
        }
        // As libevent does: a timeout hides what else happened in the same pass.
        let node = std::mem::replace(&mut slot.node, NO_NODE);
        if node != NO_NODE {
            self.active.remove(node);
        }
        self.activate(key, What::TIMEOUT, 1);
        if persistent_signal {
            // As libevent does: the timeout of a persistent signal event ends it.
            self.withdraw(key);
        }
    }

    fn insert_slot(&mut self, spec: EventSpec<H::Event>) -> EventKey {
        self.events.insert(EventSlot {
            cookie: spec.cookie,
            fd: spec.fd,
            what: spec.what,
            happened: What::empty(),
            priority: spec.priority,
            inserted: false,
            calls: 0,
            node: NO_NODE,
            timer: None,
            interval: 0,
            passed: 0,
        })
    }

    /// Makes it wait for its descriptor or signal, unless it does already.
    fn insert_event(
        &mut self,
        key: EventKey,
        driver: Option<&mut dyn Driver>,
    ) -> Result<(), AddError> {
        let slot = &self.events[key];
        let (fd, what) = (slot.fd, slot.what);
        if slot.inserted || !what.intersects(What::IO | What::SIGNAL) {
            return Ok(());
        }
        if what.contains(What::SIGNAL) {
            self.insert_signal(key, fd)?;
        } else if fd >= 0 {
            self.insert_io(key, fd, what, driver)?;
        }
        let slot = &mut self.events[key];
        slot.inserted = true;
        if slot.timer.is_none() {
            self.pending += 1;
        } else {
            self.timed_only -= 1;
        }
        Ok(())
    }

    fn insert_signal(&mut self, key: EventKey, signal: i32) -> Result<(), AddError> {
        if !(1..=MAX_SIGNAL).contains(&signal) {
            return Err(AddError::Signal(signal));
        }
        let keys = self.signals.entry(signal).or_default();
        if keys.is_empty() {
            self.signal_changes.push(SignalChange::Watch(signal));
        }
        keys.push(key);
        Ok(())
    }

    fn insert_io(
        &mut self,
        key: EventKey,
        fd: Fd,
        what: What,
        driver: Option<&mut dyn Driver>,
    ) -> Result<(), AddError> {
        if !self.mixed_triggers && self.fds.mixes_triggers(fd, what.contains(What::EDGE)) {
            return Err(AddError::MixedTriggers);
        }
        let wants = interest_of(what);
        self.fds.add_event(fd, key, wants)?;
        if let Err(error) = self.update_fd(fd, driver) {
            self.fds.remove_event(fd, key, wants);
            return Err(error.into());
        }
        Ok(())
    }

    fn start_timeout(&mut self, key: EventKey, timeout: u64) {
        let deadline = self.now.saturating_add(timeout);
        let slot = &mut self.events[key];
        if slot.what.contains(What::PERSIST) {
            slot.interval = timeout;
        }
        if slot.node != NO_NODE && slot.happened.contains(What::TIMEOUT) {
            let node = std::mem::replace(&mut slot.node, NO_NODE);
            self.active.remove(node);
        }
        self.set_event_timer(key, deadline);
    }

    fn set_event_timer(&mut self, key: EventKey, deadline: u64) {
        let slot = &mut self.events[key];
        match slot.timer {
            Some(timer) => self.timers.set(timer, deadline),
            None => {
                slot.timer = Some(self.timers.insert(deadline, TimerOwner::Event(key)));
                if !slot.inserted {
                    self.pending += 1;
                    self.timed_only += 1;
                }
            }
        }
    }

    /// A persistent event's timeout counts from the deadline that has passed, or from now if something else happened.
    fn restart_interval(&mut self, key: EventKey, happened: What) {
        let slot = &self.events[key];
        let interval = slot.interval;
        let from_now = self.now.saturating_add(interval);
        let deadline = if happened.contains(What::TIMEOUT) && slot.timer.is_none() {
            let next = slot.passed.saturating_add(interval);
            if next < self.now { from_now } else { next }
        } else {
            from_now
        };
        self.set_event_timer(key, deadline);
    }

    /// Takes the event out of everything that waits for it, but not out of the active queue.
    fn withdraw(&mut self, key: EventKey) {
        let Some(slot) = self.events.get_mut(key) else {
            return;
        };
        let before = *slot;
        slot.timer = None;
        slot.inserted = false;
        slot.interval = 0;
        self.unhook(key, &before);
    }

    /// As [`withdraw`](Self::withdraw), and gives the slot back.
    fn take_out(&mut self, key: EventKey) -> Option<EventSlot<H::Event>> {
        let slot = self.events.remove(key)?;
        self.unhook(key, &slot);
        Some(slot)
    }

    #[inline]
    fn unhook(&mut self, key: EventKey, slot: &EventSlot<H::Event>) {
        if !slot.inserted && slot.timer.is_none() {
            return;
        }
        self.pending -= 1;
        if let Some(timer) = slot.timer {
            self.timers.remove(timer);
        }
        if !slot.inserted {
            self.timed_only -= 1;
            return;
        }
        if slot.what.contains(What::SIGNAL) {
            self.withdraw_signal(key, slot.fd);
        } else if slot.fd >= 0 {
            self.fds.remove_event(slot.fd, key, interest_of(slot.what));
            // With no driver this only takes a note, which cannot fail.
            let _ = self.update_fd(slot.fd, None);
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
    fn release_idle(&mut self, key: EventKey) -> Option<EventKey> {
        let slot = self.events.get(key)?;
        if slot.inserted || slot.timer.is_some() || slot.node != NO_NODE {
            return Some(key);
        }
        self.events.remove(key);
        None
    }
}
