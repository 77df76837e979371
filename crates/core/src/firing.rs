//! What makes events run: signals and descriptors that have come true, timeouts that have passed, and what becomes of an
//! event when its turn has come.

use crate::active::{ActiveQueues, NO_NODE};
use crate::base::{Core, EventKey, Host, Item, TimerOwner};
use crate::driver::Fd;
use crate::event::Fired;
use crate::flags::What;
use crate::places::Places;
use crate::slots::{Slot, Standing};
use crate::timer::Expired;
use crate::users::Who;

impl<H: Host> Core<H> {
    /// Whether the event whose callback runs now has not been deleted since it began: a signal that arrived several
    /// times is called back for as long.
    pub fn still_running(&self, key: Option<EventKey>) -> bool {
        key.is_none() || self.run.running == key
    }

    /// A signal has arrived `calls` times. When its turn comes in the next pass, its events are queued behind the descriptors
    /// and timers of that pass, as in libevent: what a child has written is read before its end is told.
    pub fn handle_signal(&mut self, signal: i32, calls: u16) {
        self.arrived.push((signal, calls));
    }

    /// Queues the events of the signals that have arrived.
    #[inline(never)]
    pub(crate) fn activate_arrived(&mut self) {
        self.signals_queued = false;
        for (signal, calls) in std::mem::take(&mut self.arrived) {
            self.activate_signal(signal, calls);
        }
    }

    /// Acts as if a signal had arrived `calls` times, and queues its events at once (`event_base_active_by_signal`).
    pub fn activate_signal(&mut self, signal: i32, calls: u16) {
        let Some(keys) = self.signals.get(&signal) else {
            return;
        };
        // Who came last goes first, as with descriptors.
        for key in keys.clone().into_iter().rev() {
            if let Some(index) = self.events.index(key) {
                self.activate(index, What::SIGNAL, calls);
            }
        }
    }

    /// Acts as if a descriptor's condition had come true, or its events had timed out (`event_base_active_by_fd`).
    pub fn activate_fd(&mut self, fd: Fd, what: What) {
        // Who came last goes first, as when it is reported.
        for user in self.fds.users(fd).to_vec().into_iter().rev() {
            let Who::Event(index) = user.who() else {
                continue;
            };
            self.activate_io(index, what & What::IO);
            let timed = self.events.at(index).state.contains(Standing::TIMED);
            if what.contains(What::TIMEOUT) && timed {
                self.activate(index, What::TIMEOUT, 1);
            }
        }
    }

    /// A descriptor's condition has come true; [`What::EDGE`] if that was told as an edge to those who want edges.
    #[inline]
    pub(crate) fn activate_io(&mut self, index: u32, happened: What) {
        if self.queue_io(index, happened) {
            self.note_queued(index);
        }
    }

    /// As [`activate_io`](Self::activate_io), where no pass runs; whoever calls [notes the peak](Self::note_peak). Returns whether
    /// it was not queued already.
    #[inline(always)]
    pub(crate) fn queue_io(&mut self, index: u32, happened: What) -> bool {
        let slot = self.events.at_mut(index);
        let happened = happened & slot.what() & (What::IO | What::EDGE);
        happened.intersects(What::IO) && slot.activate(&mut self.active, index, happened, 1)
    }

    #[inline]
    pub(crate) fn activate(&mut self, index: u32, happened: What, calls: u16) {
        let slot = self.events.at_mut(index);
        if slot.activate(&mut self.active, index, happened, calls) {
            self.note_queued(index);
        }
    }

    #[inline]
    fn note_queued(&mut self, index: u32) {
        let priority = self.events.at(index).priority;
        self.run.yield_to(priority);
        self.note_peak();
    }

    /// The event has come to the front of its queue.
    #[inline(always)]
    pub(crate) fn fire(&mut self, index: u32, calls: u16) -> Fired<H::Event> {
        let cookie = self.events.cookie(index);
        let slot = self.events.at_mut(index);
        let key = slot.key(index);
        let (what, happened, state) = (slot.what(), slot.happened(), slot.state);
        let signal = what.contains(What::SIGNAL);
        let mut fired = Fired {
            cookie,
            fired: key,
            key: Some(key),
            what: happened,
            calls,
        };
        let waits = state.intersects(Standing::INSERTED | Standing::TIMED);
        let repeats = state.contains(Standing::REPEATS) && !signal;
        if what.contains(What::PERSIST) && (waits || repeats) {
            slot.node = NO_NODE;
            if repeats {
                self.restart_interval(index, happened);
            }
        } else {
            // A persistent one here was activated by hand while it was not added: nothing is left to persist.
            let gone = slot.leave();
            if waits {
                self.take_out(index, key, &gone);
            }
            self.events.recycle(index);
            fired.key = None;
        }
        self.run.running = fired.key;
        fired
    }

    /// Has the memory of events come whose timers expire next. One after the other, each would be waited for; in a loop that does
    /// nothing else, the processor asks for all of them at once.
    #[cold]
    #[inline(never)]
    fn fetch_expiring(&self) {
        let places = (&self.events.places, &self.timers.clocks.places);
        let mut seen = 0;
        for number in self.timers.next_expiring() {
            if let (Some(slot), Some(clock)) = (places.0.get(number), places.1.get(number)) {
                seen ^= slot.fd as u32 ^ clock.look();
            }
        }
        std::hint::black_box(seen);
    }

    #[inline(never)]
    pub(crate) fn expire_timers(&mut self) {
        while let Some(expired) = self.timers.expire(self.now) {
            if self.timers.next_expiring().len() > 0 {
                self.fetch_expiring();
            }
            let owner = match expired {
                Expired::Event(slot) => {
                    self.expire_event(slot);
                    continue;
                }
                Expired::Other(owner) => owner,
            };
            match owner {
                TimerOwner::Stream(key, side) => self.expire_stream(key, side),
                TimerOwner::Refill(key) => self.refill_stream(key),
                TimerOwner::GroupRefill(group) => self.refill_group(group),
                TimerOwner::Ending(key) => self.expire_ending(key),
                TimerOwner::Dial(key) => self.expire_dial(key),
                TimerOwner::LoopExit => {
                    self.timed_only -= 1;
                    self.queue_exit();
                }
            }
        }
    }

    /// The event's timeout has passed. As in libevent, it does not wait for its descriptor or signal any more: the timeout
    /// hides what else happens until it has run, and then only a persistent one on a descriptor is added again.
    pub(crate) fn expire_event(&mut self, index: u32) {
        let slot = self.events.at_mut(index);
        // Read before it is written to: with many timers this is the first look at the event, and a copy of what has just been
        // written in part would wait until its memory has come.
        let was = *slot;
        slot.state -= Standing::TIMED | Standing::INSERTED;
        if was.node != NO_NODE {
            slot.node = NO_NODE;
            self.remove_active(was.priority, was.node);
        }
        self.end_waiting(index, was.key(index), &was);
        self.activate(index, What::TIMEOUT, 1);
    }

    /// A persistent event's timeout counts from its last deadline, or from now if something else happened. Who says by hand
    /// that it has timed out skips a turn, as in libevent.
    #[inline(never)]
    fn restart_interval(&mut self, index: u32, happened: What) {
        let slot = self.events.at(index);
        if !slot.state.contains(Standing::INSERTED) && slot.what().intersects(What::IO) {
            // Its timeout has passed. If the others on the descriptor want another trigger by now, it is a mere timer.
            let _ = self.insert_event(index, None);
        }
        let interval = self.timers.event_interval(index);
        let from_now = self.now.saturating_add(interval);
        let deadline = if happened.contains(What::TIMEOUT) {
            let next = self.timers.event_deadline(index).saturating_add(interval);
            if next < self.now { from_now } else { next }
        } else {
            from_now
        };
        self.set_event_timer(index, interval, deadline);
    }
}

impl Slot {
    /// Queues it, unless it is queued. Returns whether it was not.
    #[inline(always)]
    fn activate<T: Copy, S: Copy>(
        &mut self,
        active: &mut ActiveQueues<Item<T, S>>,
        index: u32,
        happened: What,
        calls: u16,
    ) -> bool {
        if self.node != NO_NODE {
            self.set_happened(self.happened() | happened);
            return false;
        }
        let calls = self.what().calls(calls);
        self.node = active.push(self.priority, Item::Event(index, calls));
        self.set_happened(happened);
        true
    }
}
