//! Which timers run, and the clocks by which they are known.

use std::hint::select_unpredictable;

use crate::agenda::Agenda;
use crate::heap::Entry;

/// The timers that run, in order. A clock is not in here: whoever calls has it at hand.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) agenda: Agenda,
    pub(crate) len: usize,
    /// After so many more pushes it is looked whether most entries stand for nothing.
    pub(crate) unlooked: usize,
    next_order: u32,
}

/// The timer of an event; opaque to shells, which have memory for it where an event has a
/// [`Place`](crate::Place). Any bytes are a clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Once it has passed or been removed, the last one.
    pub(crate) deadline: u64,
    /// What an event wants to be added to it when it has passed, in nanoseconds; 0: nothing.
    pub(crate) interval: u64,
    /// Order of arming among equal deadlines.
    pub(crate) order: u32,
    /// The order of the entry that stands for this timer while it runs, and is never later than its deadline. While it does
    /// not run, no entry has it: it is [`REMOVED`] then, if the clock has not been written to by others.
    pub(crate) entry: u32,
}

/// No entry has this order.
pub(crate) const REMOVED: u32 = 0;

/// So few entries are never worth a sweep.
pub(crate) const SWEEP_FROM: usize = 64;

impl Schedule {
    pub(crate) fn new() -> Self {
        Self {
            agenda: Agenda::default(),
            len: 0,
            unlooked: SWEEP_FROM,
            next_order: REMOVED,
        }
    }

    /// Whether a clock can be stopped, and others still run.
    #[inline(always)]
    pub(crate) fn has_several(&self) -> bool {
        self.len > 1
    }

    /// Starts a clock, which must not run; it may hold anything. `timeout` is what has been added to some moment, to make the
    /// deadline. Returns whether it is time to [look](crate::timer::Timers::look).
    #[inline]
    pub(crate) fn start(
        &mut self,
        clock: &mut Clock,
        id: u32,
        timeout: u64,
        deadline: u64,
    ) -> bool {
        self.len += 1;
        let order = self.next_order();
        self.next_order = order;
        clock.deadline = deadline;
        clock.order = order;
        self.push(clock, id, timeout)
    }

    /// As [`start`](Self::start). Returns false, and has done nothing, if there is more to do than to write.
    #[inline(always)]
    pub(crate) fn start_at_once(
        &mut self,
        clock: &mut Clock,
        id: u32,
        timeout: u64,
        deadline: u64,
    ) -> bool {
        let Some(order) = self.push_at_once(true, id, timeout, deadline) else {
            return false;
        };
        self.len += 1;
        clock.deadline = deadline;
        clock.order = order;
        clock.entry = order;
        true
    }

    /// Moves the deadline of a clock, which must run, as [`start`](Self::start) does.
    #[inline]
    pub(crate) fn postpone(
        &mut self,
        clock: &mut Clock,
        id: u32,
        timeout: u64,
        deadline: u64,
    ) -> bool {
        let order = self.next_order();
        self.next_order = order;
        let before = std::mem::replace(&mut clock.deadline, deadline);
        clock.order = order;
        // Its entry is found when it comes to the top, if that is not too late.
        deadline < before && self.push(clock, id, timeout)
    }

    /// As [`postpone`](Self::postpone). Returns false, and has done nothing, if there is more to do than to write.
    #[inline(always)]
    pub(crate) fn postpone_at_once(
        &mut self,
        clock: &mut Clock,
        id: u32,
        timeout: u64,
        deadline: u64,
    ) -> bool {
        // Which it is hangs on memory that may be still to come: to guess wrong would undo what has been begun of the next calls.
        let earlier = deadline < clock.deadline;
        let Some(order) = self.push_at_once(earlier, id, timeout, deadline) else {
            return false;
        };
        clock.deadline = deadline;
        clock.order = order;
        clock.entry = select_unpredictable(earlier, order, clock.entry);
        true
    }

    /// Stops a clock, which must run. Returns whether none is left: then all is to be [cleared](crate::timer::Timers::clear).
    #[inline(always)]
    pub(crate) fn stop(&mut self, clock: &mut Clock) -> bool {
        clock.entry = REMOVED;
        self.len -= 1;
        self.len == 0
    }

    /// A clock gets an entry of its own.
    fn push(&mut self, clock: &mut Clock, id: u32, timeout: u64) -> bool {
        let Clock {
            deadline, order, ..
        } = *clock;
        clock.entry = order;
        let entry = Entry {
            deadline,
            order,
            id,
        };
        self.agenda.push_timeout(timeout, entry);
        self.unlooked = self.unlooked.saturating_sub(1);
        self.unlooked == 0
    }

    /// Takes an order for a clock, and gives it an entry of its own if that is `wanted`.
    #[inline(always)]
    fn push_at_once(&mut self, wanted: bool, id: u32, timeout: u64, deadline: u64) -> Option<u32> {
        let order = self.next_order();
        let entry = Entry {
            deadline,
            order,
            id,
        };
        if self.unlooked <= 1 || !self.agenda.push_at_once(wanted, timeout, entry) {
            return None;
        }
        self.unlooked -= usize::from(wanted);
        self.next_order = order;
        Some(order)
    }

    #[inline(always)]
    fn next_order(&self) -> u32 {
        // Never `REMOVED`.
        self.next_order.checked_add(1).unwrap_or(REMOVED + 1)
    }
}

impl Clock {
    /// Anything that stands in it.
    #[inline]
    pub(crate) fn look(&self) -> u32 {
        self.entry
    }

    /// What the event wants to be added to a deadline that has passed, in nanoseconds.
    #[inline]
    pub(crate) fn set_interval(&mut self, interval: u64) {
        self.interval = interval;
    }

    /// Its entry has come to the top, and it has been moved since: this is the one that stands for it now.
    pub(crate) fn take_entry(&mut self, id: u32) -> Entry {
        self.entry = self.order;
        Entry {
            deadline: self.deadline,
            order: self.order,
            id,
        }
    }
}
