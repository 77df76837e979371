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
use crate::places::{BLOCK, Place, Places};

/// The timers of a base: each event has one by its number, others are made and removed.
#[derive(Debug)]
pub(crate) struct Timers<T, C> {
    heap: Heap,
    /// Of the events that have a place.
    places: C,
    /// Of the others, by their slots, as far as any of them has had a timeout.
    events: Vec<Clock>,
    running: Running,
    /// How many places were made for timers.
    expected: usize,
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

/// Which events' timers run, by bits: stopping one touches nothing else, and this is small enough for a cache.
#[derive(Debug, Default)]
struct Running {
    placed: Vec<u64>,
    others: Vec<u64>,
}

/// The timer of an event; opaque to shells, which have memory for it where an event has a
/// [`Place`]. Any bytes are a clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
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

impl<T: Copy, C: Places<Clock>> Timers<T, C> {
    pub(crate) fn new() -> Self {
        Self {
            heap: Heap::default(),
            places: C::default(),
            events: Vec::new(),
            running: Running::default(),
            expected: 0,
            others: Vec::new(),
            free: Vec::new(),
            len: 0,
            next_order: REMOVED,
        }
    }

    /// A block of places comes, or goes. No timer of one that goes runs.
    pub(crate) fn put_block(&mut self, number: u32, block: Option<C::Block>, timers: bool) {
        self.places.put(number, block);
        self.running.make_room(number);
        if !timers {
            return;
        }
        if block.is_some() {
            self.expected += BLOCK as usize;
            self.heap.make_room(self.expected);
        } else {
            self.expected = self.expected.saturating_sub(BLOCK as usize);
        }
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
        let runs = self.running.set(slot);
        self.len += usize::from(!runs);
        if self.clock_of_event(slot).move_to(runs, deadline, order) {
            self.push(Entry {
                deadline,
                order,
                id: slot,
            });
        }
    }

    /// Moves the timer of an event, which must run.
    #[inline]
    pub(crate) fn move_event(&mut self, event: u32, deadline: u64) {
        let order = self.take_order();
        if self.clock_of_event(event).move_to(true, deadline, order) {
            self.push(Entry {
                deadline,
                order,
                id: event,
            });
        }
    }

    /// Stops the timer of an event, which must run.
    #[inline]
    pub(crate) fn remove_event(&mut self, slot: u32) {
        self.running.clear(slot);
        self.count_removed();
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
                self.running.clear(id);
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
        id & OTHER != 0 || self.running.is_set(id)
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
    fn find_clock(&self, event: u32) -> Option<&Clock> {
        match self.places.get(event) {
            Some(clock) => Some(clock),
            None => self.events.get(event as usize),
        }
    }

    #[inline]
    fn clock_of_event(&mut self, event: u32) -> &mut Clock {
        let index = event as usize;
        let Self { places, events, .. } = self;
        if let Some(clock) = places.get_mut(event) {
            return clock;
        }
        if index >= events.len() {
            grow(events, index);
        }
        &mut events[index]
    }

    #[inline]
    fn clock(&mut self, id: u32) -> &mut Clock {
        if id & OTHER == 0 {
            self.clock_of_event(id)
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
        let mut heap = std::mem::take(&mut self.heap);
        heap.retain(|entry| {
            let clock = match entry.id & OTHER {
                0 if !self.running.is_set(entry.id) => return false,
                0 => self.find_clock(entry.id),
                _ => Some(&self.others[(entry.id & !OTHER) as usize].clock),
            };
            clock.is_some_and(|clock| clock.entry == entry.order)
        });
        self.heap = heap;
    }
}

#[cold]
#[inline(never)]
fn grow(events: &mut Vec<Clock>, index: usize) {
    while index >= events.len() {
        push_slowly_growing(events, Clock::default());
    }
}

impl Running {
    #[inline]
    fn is_set(&self, event: u32) -> bool {
        let (bits, position) = match Place::from_number(event) {
            Some(place) => (&self.placed, place.block() * BLOCK + place.position()),
            None => (&self.others, event),
        };
        let word = bits.get(position as usize / 64);
        word.is_some_and(|word| word & 1 << (position % 64) != 0)
    }

    /// The word that has the event's bit, and the bit.
    #[inline]
    fn bit(&mut self, event: u32) -> (&mut u64, u64) {
        let (bits, position) = match Place::from_number(event) {
            Some(place) => (&mut self.placed, place.block() * BLOCK + place.position()),
            None => (&mut self.others, event),
        };
        let (word, bit) = (position as usize / 64, 1 << (position % 64));
        if word < bits.len() {
            return (&mut bits[word], bit);
        }
        (grow_bits(bits, word), bit)
    }

    /// Returns whether it was set before.
    #[inline]
    fn set(&mut self, event: u32) -> bool {
        let (word, bit) = self.bit(event);
        let was_set = *word & bit != 0;
        *word |= bit;
        was_set
    }

    #[inline]
    fn clear(&mut self, event: u32) {
        let (word, bit) = self.bit(event);
        *word &= !bit;
    }

    /// There is a block of places with this number.
    fn make_room(&mut self, block: u32) {
        let words = (block + 1) as usize * BLOCK as usize / 64;
        if words > self.placed.len() {
            self.placed.resize(words, 0);
        }
    }
}

#[cold]
#[inline(never)]
fn grow_bits(bits: &mut Vec<u64>, word: usize) -> &mut u64 {
    bits.resize(word + 1, 0);
    &mut bits[word]
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
    use crate::places::NoPlaces;
    use crate::places::memory::Memory;

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
            let mut timers: Timers<_, Memory<Clock>> = Timers::new();
            timers.put_block(0, Some(()), true);
            let mut model: Vec<Armed> = Vec::new();
            for (order, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(deadline) => {
                        let id = Some(timers.insert(deadline, order));
                        let expired = Expired::Other(order);
                        model.push(Armed { deadline, order, id, expired });
                    }
                    Op::SetEvent(event, deadline) => {
                        // Every other one has a place.
                        let place = (event % 2 == 1).then(|| Place::new(0, event / 2)).flatten();
                        let slot = place.map_or(event, Place::number);
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
