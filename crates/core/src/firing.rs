//! What makes events run: signals and descriptors that have come true, timeouts that have passed, and what becomes of an
//! event when its turn has come.

use crate::active::NO_NODE;
use crate::base::{Core, EventKey, Host, Item};
use crate::driver::Fd;
use crate::event::Fired;
use crate::flags::What;
use crate::slots::Standing;
use crate::users::Who;

impl<H: Host> Core<H> {
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
            if let Some(index) = self.events.index(key) {
                self.activate(index, What::SIGNAL, calls);
            }
        }
    }

    /// Acts as if a descriptor's condition had come true, or its events had timed out (`event_base_active_by_fd`).
    pub fn activate_fd(&mut self, fd: Fd, what: What) {
        for user in self.fds.users(fd).to_vec() {
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
        let happened = happened & self.events.at(index).what() & (What::IO | What::EDGE);
        if happened.intersects(What::IO) {
            self.activate(index, happened, 1);
        }
    }

    #[inline(always)]
    pub(crate) fn activate(&mut self, index: u32, happened: What, calls: u16) {
        let slot = self.events.at_mut(index);
        if slot.node != NO_NODE {
            slot.set_happened(slot.happened() | happened);
            return;
        }
        slot.set_happened(happened);
        slot.node = self.active.push(slot.priority, Item::Event(index, calls));
        self.run.yield_to(slot.priority);
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
            calls: if signal { calls } else { 1 },
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

    /// The event's timeout has passed.
    pub(crate) fn expire_event(&mut self, index: u32) {
        let slot = self.events.at_mut(index);
        slot.state -= Standing::TIMED;
        let persistent_signal = slot.what().contains(What::SIGNAL | What::PERSIST);
        if !slot.state.contains(Standing::INSERTED) {
            self.pending -= 1;
            self.timed_only -= 1;
        }
        // As libevent does: a timeout hides what else happened in the same pass.
        let node = std::mem::replace(&mut slot.node, NO_NODE);
        if node != NO_NODE {
            self.active.remove(node);
        }
        self.activate(index, What::TIMEOUT, 1);
        if persistent_signal {
            // As libevent does: the timeout of a persistent signal event ends it.
            self.unhook(index);
        }
    }

    /// A persistent event's timeout counts from the deadline that has passed, or from now if something else happened.
    #[inline(never)]
    fn restart_interval(&mut self, index: u32, happened: What) {
        let runs = self.events.at(index).state.contains(Standing::TIMED);
        let interval = self.timers.event_interval(index);
        let from_now = self.now.saturating_add(interval);
        let deadline = if happened.contains(What::TIMEOUT) && !runs {
            let next = self.timers.event_deadline(index).saturating_add(interval);
            if next < self.now { from_now } else { next }
        } else {
            from_now
        };
        self.set_event_timer(index, interval, deadline);
    }
}
