//! Deadlines, earliest first and FIFO among equals.
//!
//! By hand, because the order of equal deadlines is observable through the C API, and because nothing but the heap's
//! own array may be touched on the way: with 10^6 timers every other line of memory is a miss. So a timer does not know
//! where it stands in the heap. Removing one only makes a note of it, moving one later only notes the new deadline (an idle
//! timeout moves on every read), moving one earlier adds a second entry; entries that do not tell the truth any more
//! are put right or dropped when they come to the top, and swept out when they are the majority.

use std::num::NonZeroU32;

use crate::arena::push_slowly_growing;
use crate::heap::Entry;
use crate::places::{BLOCK, Places};
use crate::schedule::{Clock, REMOVED, SWEEP_FROM, Schedule};

/// The timers of a base: each event has one by its number, others are made and removed.
#[derive(Debug)]
pub(crate) struct Timers<T, C> {
    /// Which of them run.
    pub(crate) schedule: Schedule,
    pub(crate) clocks: Clocks<C>,
    /// How many places were made for timers.
    expected: usize,
    others: Vec<Other<T>>,
    /// Of the others, those that are not in use.
    free: Vec<u32>,
}

/// The timers of events.
#[derive(Debug)]
pub(crate) struct Clocks<C> {
    /// Of the events that have a place.
    pub(crate) places: C,
    /// Of the others, by their slots, as far as any of them has had a timeout.
    pub(crate) events: Vec<Clock>,
}

/// Names one of the other timers; stays valid until [`Timers::remove`] or until [`Timers::expire`] has returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(NonZeroU32);

/// Whose deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired<T> {
    /// The event in this slot.
    Event(u32),
    Other(T),
}

#[derive(Debug)]
struct Other<T> {
    clock: Clock,
    owner: T,
}

/// In an entry's `id`: one of the other timers.
const OTHER: u32 = 1 << 31;

/// Room for so many others is kept when none is left.
const KEPT: usize = 1024;

impl TimerId {
    fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    #[inline]
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl<T: Copy, C: Places<Clock>> Timers<T, C> {
    pub(crate) fn new() -> Self {
        Self {
            schedule: Schedule::new(),
            clocks: Clocks {
                places: C::default(),
                events: Vec::new(),
            },
            expected: 0,
            others: Vec::new(),
            free: Vec::new(),
        }
    }

    /// A block of places comes, or goes. No timer of one that goes runs.
    pub(crate) fn put_block(&mut self, number: u32, block: Option<C::Block>, timers: bool) {
        self.clocks.places.put(number, block);
        if !timers {
            return;
        }
        self.expected = if block.is_some() {
            self.expected + BLOCK as usize
        } else {
            self.expected.saturating_sub(BLOCK as usize)
        };
        self.schedule.agenda.make_room(self.expected);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.schedule.len == 0
    }

    /// How many run.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.schedule.len
    }

    /// Many timers will have this timeout.
    pub(crate) fn share(&mut self, timeout: u64) {
        self.schedule.agenda.share(timeout);
    }

    /// Starts the timer of an event, which must not run. `timeout` is what has been added to some moment, to make the
    /// deadline.
    #[inline(always)]
    pub(crate) fn start_event(&mut self, event: u32, timeout: u64, deadline: u64) {
        let (schedule, clock) = self.with_clock(event);
        if schedule.start(clock, event, timeout, deadline) {
            self.look();
        }
    }

    /// Moves the timer of an event, which must run, as if it had been removed and started again.
    #[inline]
    pub(crate) fn move_event(&mut self, event: u32, timeout: u64, deadline: u64) {
        let (schedule, clock) = self.with_clock(event);
        if schedule.postpone(clock, event, timeout, deadline) {
            self.look();
        }
    }

    /// Stops the timer of an event, which must run.
    #[inline]
    pub(crate) fn remove_event(&mut self, slot: u32) {
        let (schedule, clock) = self.with_clock(slot);
        if schedule.stop(clock) {
            self.clear();
        }
    }

    /// The deadline of an event whose timer runs, or the last one.
    #[inline]
    pub(crate) fn event_deadline(&self, slot: u32) -> u64 {
        self.find_clock(slot).map_or(0, |clock| clock.deadline)
    }

    /// What an event wants to be added to a deadline that has passed; 0: nothing.
    #[inline]
    pub(crate) fn event_interval(&self, slot: u32) -> u64 {
        self.find_clock(slot).map_or(0, |clock| clock.interval)
    }

    pub(crate) fn set_event_interval(&mut self, slot: u32, interval: u64) {
        self.with_clock(slot).1.interval = interval;
    }

    /// Makes a timer, and starts it.
    pub(crate) fn insert(&mut self, deadline: u64, owner: T) -> TimerId {
        let clock = Clock::default();
        let other = Other { clock, owner };
        let id = match self.free.pop() {
            Some(index) => {
                self.others[index as usize] = other;
                TimerId::new(index)
            }
            None => {
                push_slowly_growing(&mut self.others, other);
                TimerId::new((self.others.len() - 1) as u32)
            }
        };
        self.set(id, deadline);
        id
    }

    /// Moves a timer, as if it had been removed and inserted again.
    pub(crate) fn set(&mut self, id: TimerId, deadline: u64) {
        let clock = &mut self.others[id.index()].clock;
        let runs = clock.entry != REMOVED;
        let name = id.index() as u32 | OTHER;
        let crowded = if runs {
            self.schedule.postpone(clock, name, 0, deadline)
        } else {
            self.schedule.start(clock, name, 0, deadline)
        };
        if crowded {
            self.look();
        }
    }

    pub(crate) fn remove(&mut self, id: TimerId) {
        self.free.push(id.index() as u32);
        if self.schedule.stop(&mut self.others[id.index()].clock) {
            self.clear();
        }
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        while let Some(top) = self.schedule.agenda.top() {
            match self.clock_of(&top) {
                None => self.schedule.agenda.pop(),
                Some(clock) if clock.order == top.order => return Some(top.deadline),
                Some(clock) => {
                    let moved = clock.take_entry(top.id);
                    self.schedule.agenda.replace_top(moved);
                }
            }
        }
        None
    }

    /// The events whose timers are about to expire, some of them at a time.
    #[inline]
    pub(crate) fn next_expiring(&self) -> impl ExactSizeIterator<Item = u32> {
        let next = self.schedule.agenda.next_gathered();
        next.iter().map(|entry| entry.id)
    }

    /// Takes out the earliest timer if it is due at `now`.
    pub(crate) fn expire(&mut self, now: u64) -> Option<Expired<T>> {
        while let Some(entry) = self.schedule.agenda.pop_due(now) {
            let id = entry.id;
            let Some(clock) = self.clock_of(&entry) else {
                continue;
            };
            if clock.order != entry.order {
                let moved = clock.take_entry(id);
                self.schedule.agenda.push(moved);
                continue;
            }
            clock.entry = REMOVED;
            let expired = if id & OTHER == 0 {
                Expired::Event(id)
            } else {
                let index = id & !OTHER;
                self.free.push(index);
                Expired::Other(self.others[index as usize].owner)
            };
            self.schedule.len -= 1;
            if self.schedule.len == 0 {
                self.clear();
            }
            return Some(expired);
        }
        // Removing timers leaves their entries behind, which nothing else may ever come upon.
        if self.schedule.agenda.len() >= SWEEP_FROM
            && self.schedule.agenda.len() / 4 > self.schedule.len
        {
            self.sweep();
        }
        None
    }

    #[inline]
    fn find_clock(&self, event: u32) -> Option<&Clock> {
        match self.clocks.places.get(event) {
            Some(clock) => Some(clock),
            None => self.clocks.events.get(event as usize),
        }
    }

    #[inline]
    fn with_clock(&mut self, event: u32) -> (&mut Schedule, &mut Clock) {
        let index = event as usize;
        let Self {
            schedule, clocks, ..
        } = self;
        let Clocks { places, events } = clocks;
        if let Some(clock) = places.get_mut(event) {
            return (schedule, clock);
        }
        if index >= events.len() {
            grow(events, index);
        }
        (schedule, &mut events[index])
    }

    /// The clock that an entry stands for, if it still does.
    #[inline]
    fn clock_of(&mut self, entry: &Entry) -> Option<&mut Clock> {
        let clock = if entry.id & OTHER != 0 {
            let index = (entry.id & !OTHER) as usize;
            self.others.get_mut(index).map(|other| &mut other.clock)
        } else if let Some(clock) = self.clocks.places.get_mut(entry.id) {
            Some(clock)
        } else {
            self.clocks.events.get_mut(entry.id as usize)
        };
        clock.filter(|clock| clock.entry == entry.order)
    }

    /// None runs any more.
    #[cold]
    pub(crate) fn clear(&mut self) {
        self.schedule.agenda.clear();
        self.others.clear();
        self.free.clear();
        if self.others.capacity() > KEPT {
            self.others.shrink_to(KEPT);
            self.free.shrink_to(KEPT);
        }
    }

    /// Sweeps if most entries stand for nothing.
    #[cold]
    #[inline(never)]
    pub(crate) fn look(&mut self) {
        let Schedule { agenda, len, .. } = &self.schedule;
        if agenda.len() >= SWEEP_FROM && agenda.len() > 2 * len {
            self.sweep();
        }
        self.schedule.unlooked = self.schedule.len.max(SWEEP_FROM);
    }

    /// Drops all entries that stand for nothing.
    #[cold]
    fn sweep(&mut self) {
        let mut agenda = std::mem::take(&mut self.schedule.agenda);
        agenda.retain(|entry| self.clock_of(entry).is_some());
        self.schedule.agenda = agenda;
    }
}

#[cold]
#[inline(never)]
fn grow(events: &mut Vec<Clock>, index: usize) {
    while index >= events.len() {
        push_slowly_growing(events, Clock::default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::places::memory::Memory;
    use crate::places::{NoPlaces, Place};

    #[test]
    fn equal_deadlines_are_fifo() {
        let mut timers: Timers<_, NoPlaces> = Timers::new();
        for n in 0..100 {
            timers.insert(7, n);
        }
        for n in 0..100 {
            assert_eq!(timers.expire(7), Some(Expired::Other(n)));
        }
        assert_eq!(timers.expire(7), None);
    }

    #[test]
    fn a_re_armed_timer_goes_behind_its_equals() {
        let mut timers: Timers<_, NoPlaces> = Timers::new();
        let a = timers.insert(5, 'a');
        timers.insert(9, 'b');
        timers.set(a, 9);
        assert_eq!(timers.next_deadline(), Some(9));
        assert_eq!(timers.expire(9), Some(Expired::Other('b')));
        assert_eq!(timers.expire(9), Some(Expired::Other('a')));
    }

    const SHARED: [u64; 2] = [5, 20];

    /// As many come and go.
    const MANY: u32 = 100_000;

    /// One stays, at a deadline far off.
    fn crowd() -> Timers<u32, NoPlaces> {
        let mut timers = Timers::new();
        timers.share(7);
        timers.start_event(0, 0, u64::MAX);
        for n in 1..=MANY {
            let deadline = u64::from(n);
            match n % 3 {
                0 => timers.start_event(n, 0, u64::from(MANY) - deadline),
                1 => timers.start_event(n, 7, deadline),
                _ => _ = timers.insert(deadline, n),
            }
        }
        assert!(timers.schedule.agenda.room() >= MANY as usize);
        timers
    }

    #[test]
    fn memory_of_timers_that_have_passed_is_given_back() {
        let mut timers = crowd();
        let expired = std::iter::from_fn(|| timers.expire(u64::from(MANY))).count();
        assert_eq!(expired, MANY as usize);
        assert!(timers.schedule.agenda.room() <= MANY as usize / 2);
        timers.remove_event(0);
        assert!(timers.others.capacity() <= KEPT && timers.free.capacity() <= KEPT);
    }

    #[test]
    fn memory_of_timers_that_were_removed_is_given_back() {
        let mut timers = crowd();
        // The numbers of the others are given in the order in which they are made.
        let others = (1..=MANY).filter(|n| n % 3 == 2).zip(0..);
        let ids: Vec<TimerId> = others.map(|(_, index)| TimerId::new(index)).collect();
        for n in (1..=MANY).filter(|n| n % 3 != 2) {
            timers.remove_event(n);
        }
        for id in ids {
            timers.remove(id);
        }
        assert_eq!(timers.expire(0), None);
        assert!(timers.schedule.agenda.room() <= MANY as usize / 2);
        assert_eq!(timers.next_deadline(), Some(u64::MAX));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Set(usize, u64),
        SetEvent(u32, u64),
        SetShared(u32, usize),
        Remove(usize),
        Expire(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0u64..50).prop_map(Op::Insert),
            (any::<usize>(), 0u64..50).prop_map(|(i, d)| Op::Set(i, d)),
            (0u32..100, 0u64..50).prop_map(|(i, d)| Op::SetEvent(i, d)),
            (0u32..100, 0usize..2).prop_map(|(i, which)| Op::SetShared(i, which)),
            any::<usize>().prop_map(Op::Remove),
            (0u64..150).prop_map(Op::Expire),
        ]
    }

    /// A timer of the model: the deadline, the order of arming, which one it is, and what is expected of it.
    #[derive(Clone, Copy)]
    struct Armed {
        deadline: u64,
        order: usize,
        id: Option<TimerId>,
        expired: Expired<usize>,
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn agrees_with_a_sorted_list(ops in prop::collection::vec(op(), 1..400)) {
            let mut timers: Timers<_, Memory<Clock>> = Timers::new();
            timers.put_block(0, Some(()), true);
            for timeout in SHARED {
                timers.share(timeout);
            }
            let mut model: Vec<Armed> = Vec::new();
            for (order, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(deadline) => {
                        let id = Some(timers.insert(deadline, order));
                        let expired = Expired::Other(order);
                        model.push(Armed { deadline, order, id, expired });
                    }
                    Op::SetEvent(..) | Op::SetShared(..) => {
                        let (event, timeout, deadline) = match op {
                            Op::SetEvent(event, deadline) => (event, SHARED[0], deadline),
                            Op::SetShared(event, which) => {
                                (event, SHARED[which], order as u64 / 4 + SHARED[which])
                            }
                            _ => unreachable!("one of these"),
                        };
                        // Every other one has a place.
                        let place = (event % 2 == 1).then(|| Place::new(0, event / 2)).flatten();
                        let slot = place.map_or(event, Place::number);
                        let expired = Expired::Event(slot);
                        let runs = model.iter().any(|armed| armed.expired == expired);
                        if runs {
                            timers.move_event(slot, timeout, deadline);
                        } else {
                            timers.start_event(slot, timeout, deadline);
                        }
                        model.retain(|armed| armed.expired != expired);
                        model.push(Armed { deadline, order, id: None, expired });
                    }
                    Op::Set(index, deadline) if !model.is_empty() => {
                        let index = index % model.len();
                        match (model[index].id, model[index].expired) {
                            (Some(id), _) => timers.set(id, deadline),
                            (None, Expired::Event(slot)) => timers.move_event(slot, 0, deadline),
                            (None, Expired::Other(_)) => unreachable!("others have an id"),
                        }
                        (model[index].deadline, model[index].order) = (deadline, order);
                    }
                    Op::Remove(index) if !model.is_empty() => {
                        let gone = model.swap_remove(index % model.len());
                        match (gone.id, gone.expired) {
                            (Some(id), _) => timers.remove(id),
                            (None, Expired::Event(slot)) => timers.remove_event(slot),
                            (None, Expired::Other(_)) => unreachable!("others have an id"),
                        }
                    }
                    Op::Expire(now) => {
                        let first = model.iter().min_by_key(|armed| (armed.deadline, armed.order));
                        let expected = first.filter(|armed| armed.deadline <= now).copied();
                        prop_assert_eq!(timers.expire(now), expected.map(|armed| armed.expired));
                        if let Some(Armed { expired: Expired::Event(slot), deadline, .. }) = expected {
                            prop_assert_eq!(timers.event_deadline(slot), deadline);
                        }
                        model.retain(|armed| expected.is_none_or(|gone| gone.order != armed.order));
                    }
                    _ => {}
                }
                prop_assert_eq!(timers.len(), model.len());
                let first = model.iter().map(|armed| armed.deadline).min();
                prop_assert_eq!(timers.next_deadline(), first);
            }
        }
    }
}
