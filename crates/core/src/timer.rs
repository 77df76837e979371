//! Deadlines, earliest first and FIFO among equals.
//!
//! By hand, because the order of equal deadlines is observable through the C API, and because nothing but the heap's
//! own array may be touched on the way: with 10^6 timers every other line of memory is a miss. So a timer does not know
//! where it stands in the heap. Removing one only clears a bit, moving one later only notes the new deadline (an idle
//! timeout moves on every read), moving one earlier adds a second entry; entries that do not tell the truth any more
//! are put right or dropped when they come to the top, and swept out when they are the majority.

use std::num::NonZeroU32;

use crate::arena::push_slowly_growing;
use crate::heap::{Entry, Heap};

/// The timers of a base: each event has one by the number of its slot, others are made and removed.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: Heap,
    /// By the slots of the events, as far as any of them has had a timeout.
    events: Vec<Clock>,
    /// Which of them run, by bits: stopping one touches nothing else, and this is small enough for a cache.
    running: Vec<u64>,
    others: Vec<Other<T>>,
    /// Of the others, those that are not in use.
    free: Vec<u32>,
    len: usize,
    next_order: u32,
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

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// Once it has passed or been removed, the last one.
    deadline: u64,
    /// What an event wants to be added to it when it has passed, in nanoseconds; 0: nothing.
    interval: u64,
    /// Order of arming among equal deadlines.
    order: u32,
    /// The order of the heap's entry that stands for this timer while it runs, and is never later than its deadline;
    /// of another timer than an event's, [`REMOVED`] while it does not run.
    entry: u32,
}

#[derive(Debug)]
struct Other<T> {
    clock: Clock,
    owner: T,
}

/// No entry has this order.
const REMOVED: u32 = 0;

/// In an entry's `id`: one of the other timers.
const OTHER: u32 = 1 << 31;

/// So few entries are never worth a sweep.
const SWEEP_FROM: usize = 64;

impl TimerId {
    fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    #[inline]
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl<T: Copy> Timers<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: Heap::default(),
            events: Vec::new(),
            running: Vec::new(),
            others: Vec::new(),
            free: Vec::new(),
            len: 0,
            next_order: REMOVED,
        }
    }

    /// Makes room for the timers of so many events.
    pub(crate) fn make_room(&mut self, events: usize) {
        if let Some(missing) = events.checked_sub(self.events.len()) {
            self.events.reserve_exact(missing);
            self.events.resize(events, Clock::default());
        }
        if events.div_ceil(64) > self.running.len() {
            self.running.resize(events.div_ceil(64), 0);
        }
        self.heap.make_room(events);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Starts the timer of an event, or moves it as if it had been removed first.
    #[inline(always)]
    pub(crate) fn set_event(&mut self, slot: u32, deadline: u64) {
        let order = self.take_order();
        let runs = self.set_running(slot);
        self.len += usize::from(!runs);
        if self.clock_of_event(slot).move_to(runs, deadline, order) {
            self.push(Entry {
                deadline,
                order,
                id: slot,
            });
        }
    }

    /// Stops the timer of an event, which must run.
    #[inline]
    pub(crate) fn remove_event(&mut self, slot: u32) {
        self.clear_running(slot);
        self.count_removed();
    }

    /// The deadline of an event whose timer runs, or the last one.
    #[inline]
    pub(crate) fn event_deadline(&self, slot: u32) -> u64 {
        self.events.get(slot as usize).map_or(0, |c| c.deadline)
    }

    /// What an event wants to be added to a deadline that has passed; 0: nothing.
    #[inline]
    pub(crate) fn event_interval(&self, slot: u32) -> u64 {
        self.events.get(slot as usize).map_or(0, |c| c.interval)
    }

    pub(crate) fn set_event_interval(&mut self, slot: u32, interval: u64) {
        self.clock_of_event(slot).interval = interval;
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
        let order = self.take_order();
        let clock = &mut self.others[id.index()].clock;
        let runs = clock.entry != REMOVED;
        let earlier = clock.move_to(runs, deadline, order);
        self.len += usize::from(!runs);
        if earlier {
            self.push(Entry {
                deadline,
                order,
                id: id.index() as u32 | OTHER,
            });
        }
    }

    pub(crate) fn deadline(&self, id: TimerId) -> u64 {
        self.others[id.index()].clock.deadline
    }

    pub(crate) fn remove(&mut self, id: TimerId) {
        self.others[id.index()].clock.entry = REMOVED;
        self.free.push(id.index() as u32);
        self.count_removed();
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        while let Some(top) = self.heap.top() {
            if !self.runs(top.id) {
                self.heap.pop();
                continue;
            }
            let clock = self.clock(top.id);
            if clock.entry != top.order {
                self.heap.pop();
            } else if clock.order == top.order {
                return Some(top.deadline);
            } else {
                let moved = clock.take_entry(top.id);
                self.heap.replace_top(moved);
            }
        }
        None
    }

    /// Takes out the earliest timer if it is due at `now`.
    pub(crate) fn expire(&mut self, now: u64) -> Option<Expired<T>> {
        while let Some(entry) = self.heap.pop_due(now) {
            let id = entry.id;
            if !self.runs(id) {
                continue;
            }
            let clock = self.clock(id);
            if clock.entry != entry.order {
                continue;
            }
            if clock.order != entry.order {
                let moved = clock.take_entry(id);
                self.heap.push(moved);
                continue;
            }
            if id & OTHER == 0 {
                self.clear_running(id);
                self.count_removed();
                return Some(Expired::Event(id));
            }
            let index = id & !OTHER;
            clock.entry = REMOVED;
            self.count_removed();
            self.free.push(index);
            return Some(Expired::Other(self.others[index as usize].owner));
        }
        None
    }

    /// Whether the timer of an entry may run; of the other timers their clock tells.
    #[inline]
    fn runs(&self, id: u32) -> bool {
        id & OTHER != 0 || is_set(&self.running, id)
    }

    /// Returns whether it ran before.
    #[inline]
    fn set_running(&mut self, slot: u32) -> bool {
        let word = slot as usize / 64;
        if word >= self.running.len() {
            self.grow_running(word);
        }
        let bit = 1 << (slot % 64);
        let runs = self.running[word] & bit != 0;
        self.running[word] |= bit;
        runs
    }

    #[cold]
    #[inline(never)]
    fn grow_running(&mut self, word: usize) {
        self.running.resize(word + 1, 0);
    }

    #[inline]
    fn clear_running(&mut self, slot: u32) {
        if let Some(word) = self.running.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    #[inline]
    fn take_order(&mut self) -> u32 {
        self.next_order = self.next_order.wrapping_add(1);
        if self.next_order == REMOVED {
            self.next_order += 1;
        }
        self.next_order
    }

    #[inline]
    fn clock_of_event(&mut self, slot: u32) -> &mut Clock {
        let index = slot as usize;
        if index >= self.events.len() {
            self.grow_events(index);
        }
        &mut self.events[index]
    }

    #[cold]
    #[inline(never)]
    fn grow_events(&mut self, index: usize) {
        while index >= self.events.len() {
            push_slowly_growing(&mut self.events, Clock::default());
        }
    }

    #[inline]
    fn clock(&mut self, id: u32) -> &mut Clock {
        if id & OTHER == 0 {
            &mut self.events[id as usize]
        } else {
            &mut self.others[(id & !OTHER) as usize].clock
        }
    }

    #[inline]
    fn count_removed(&mut self) {
        self.len -= 1;
        if self.len == 0 {
            self.heap.clear();
        }
    }

    #[inline(always)]
    fn push(&mut self, entry: Entry) {
        if self.heap.len() >= SWEEP_FROM && self.heap.len() > 2 * self.len {
            self.sweep();
        }
        self.heap.push(entry);
    }

    /// Drops all entries that stand for nothing.
    #[cold]
    fn sweep(&mut self) {
        let (events, others) = (&self.events, &self.others);
        let running = &self.running;
        self.heap.retain(|entry| {
            let clock = match entry.id & OTHER {
                0 if !is_set(running, entry.id) => return false,
                0 => &events[entry.id as usize],
                _ => &others[(entry.id & !OTHER) as usize].clock,
            };
            clock.entry == entry.order
        });
    }
}

#[inline]
fn is_set(bits: &[u64], slot: u32) -> bool {
    bits.get(slot as usize / 64)
        .is_some_and(|word| word & 1 << (slot % 64) != 0)
}

impl Clock {
    /// Returns whether the timer, which may have run before, needs an entry in the heap with this order.
    #[inline]
    fn move_to(&mut self, runs: bool, deadline: u64, order: u32) -> bool {
        let earlier = !runs | (deadline < self.deadline);
        self.deadline = deadline;
        self.order = order;
        if earlier {
            self.entry = order;
        }
        earlier
    }

    /// Its entry has come to the top, and it has been moved since: this is the one that stands for it now.
    fn take_entry(&mut self, id: u32) -> Entry {
        self.entry = self.order;
        Entry {
            deadline: self.deadline,
            order: self.order,
            id,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_deadlines_are_fifo() {
        let mut timers = Timers::new();
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
        let mut timers = Timers::new();
        let a = timers.insert(5, 'a');
        timers.insert(9, 'b');
        timers.set(a, 9);
        assert_eq!(timers.next_deadline(), Some(9));
        assert_eq!(timers.expire(9), Some(Expired::Other('b')));
        assert_eq!(timers.expire(9), Some(Expired::Other('a')));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Set(usize, u64),
        SetEvent(u32, u64),
        Remove(usize),
        Expire(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0u64..50).prop_map(Op::Insert),
            (any::<usize>(), 0u64..50).prop_map(|(i, d)| Op::Set(i, d)),
            (0u32..100, 0u64..50).prop_map(|(i, d)| Op::SetEvent(i, d)),
            any::<usize>().prop_map(Op::Remove),
            (0u64..50).prop_map(Op::Expire),
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
            let mut timers = Timers::new();
            // Some of the events have their room from the beginning.
            timers.make_room(50);
            let mut model: Vec<Armed> = Vec::new();
            for (order, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(deadline) => {
                        let id = Some(timers.insert(deadline, order));
                        let expired = Expired::Other(order);
                        model.push(Armed { deadline, order, id, expired });
                    }
                    Op::SetEvent(slot, deadline) => {
                        timers.set_event(slot, deadline);
                        let expired = Expired::Event(slot);
                        model.retain(|armed| armed.expired != expired);
                        model.push(Armed { deadline, order, id: None, expired });
                    }
                    Op::Set(index, deadline) if !model.is_empty() => {
                        let index = index % model.len();
                        match (model[index].id, model[index].expired) {
                            (Some(id), _) => timers.set(id, deadline),
                            (None, Expired::Event(slot)) => timers.set_event(slot, deadline),
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
