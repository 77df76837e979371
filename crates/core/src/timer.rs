//! Deadlines, earliest first and FIFO among equals.
//!
//! By hand, because the order of equal deadlines is observable through the C API, and because nothing but the heap's
//! own array may be touched on the way: with 10^6 timers every other line of memory is a miss. So a timer does not know
//! where it stands in the heap. Removing one only marks it, moving one later only notes the new deadline (an idle
//! timeout moves on every read), moving one earlier adds a second entry; entries that do not tell the truth any more
//! are put right or dropped when they come to the top, and swept out when they are the majority.

use std::num::NonZeroU32;

/// Names a timer; stays valid until [`Timers::remove`] or until [`Timers::expire`] has returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(NonZeroU32);

impl TimerId {
    fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    #[inline]
    fn index(self) -> u32 {
        self.0.get() - 1
    }
}

/// A 4-ary heap of deadlines in nanoseconds, each with what it belongs to.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: Vec<Entry>,
    timers: Vec<Timer<T>>,
    free: Vec<u32>,
    next_order: u32,
}

/// A place in the heap. It stands for its timer only as long as [`Timer::entry`] is its order.
#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: u64,
    order: u32,
    id: u32,
}

#[derive(Debug)]
struct Timer<T> {
    deadline: u64,
    /// Order of arming among equal deadlines; wraps, and is compared as a difference.
    order: u32,
    /// The order of the entry that stands for this timer, and is never later than its deadline; [`REMOVED`]: none.
    entry: u32,
    owner: T,
}

/// No entry has this order.
const REMOVED: u32 = 0;

/// So few entries are never worth a sweep.
const SWEEP_FROM: usize = 64;

impl<T: Copy> Timers<T> {
    pub(crate) const fn new() -> Self {
        Self {
            heap: Vec::new(),
            timers: Vec::new(),
            free: Vec::new(),
            next_order: REMOVED,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.timers.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, deadline: u64, owner: T) -> TimerId {
        let order = self.take_order();
        let timer = Timer {
            deadline,
            order,
            entry: order,
            owner,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.timers[id as usize] = timer;
                id
            }
            None => {
                self.timers.push(timer);
                (self.timers.len() - 1) as u32
            }
        };
        self.push(Entry {
            deadline,
            order,
            id,
        });
        TimerId::new(id)
    }

    /// Moves a timer, as if it had been removed and inserted again.
    pub(crate) fn set(&mut self, id: TimerId, deadline: u64) {
        let order = self.take_order();
        let timer = &mut self.timers[id.index() as usize];
        let earlier = deadline < timer.deadline;
        timer.deadline = deadline;
        timer.order = order;
        if earlier {
            timer.entry = order;
            self.push(Entry {
                deadline,
                order,
                id: id.index(),
            });
        }
    }

    pub(crate) fn deadline(&self, id: TimerId) -> u64 {
        self.timers[id.index() as usize].deadline
    }

    pub(crate) fn remove(&mut self, id: TimerId) {
        self.timers[id.index() as usize].entry = REMOVED;
        self.free.push(id.index());
        if self.is_empty() {
            self.heap.clear();
        }
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        while let Some(top) = self.heap.first().copied() {
            let timer = &mut self.timers[top.id as usize];
            if timer.entry == top.order && timer.order == top.order {
                return Some(top.deadline);
            }
            if timer.entry == top.order {
                timer.entry = timer.order;
                self.heap[0] = Entry {
                    deadline: timer.deadline,
                    order: timer.order,
                    id: top.id,
                };
                self.sift_down(0);
            } else {
                self.pop();
            }
        }
        None
    }

    /// Takes out the earliest timer if it is due at `now`, with its deadline.
    pub(crate) fn expire(&mut self, now: u64) -> Option<(u64, T)> {
        let deadline = self.next_deadline().filter(|&deadline| deadline <= now)?;
        let id = self.heap[0].id;
        let owner = self.timers[id as usize].owner;
        self.pop();
        self.remove(TimerId::new(id));
        Some((deadline, owner))
    }

    fn take_order(&mut self) -> u32 {
        self.next_order = self.next_order.wrapping_add(1);
        if self.next_order == REMOVED {
            self.next_order += 1;
        }
        self.next_order
    }

    fn push(&mut self, entry: Entry) {
        if self.heap.len() >= SWEEP_FROM && self.heap.len() > 2 * self.len() {
            self.sweep();
        }
        self.heap.push(entry);
        self.sift_up(self.heap.len() - 1);
    }

    fn pop(&mut self) {
        self.heap.swap_remove(0);
        if !self.heap.is_empty() {
            self.sift_down(0);
        }
    }

    /// Drops all entries that stand for nothing.
    fn sweep(&mut self) {
        let timers = &self.timers;
        self.heap
            .retain(|entry| timers[entry.id as usize].entry == entry.order);
        for position in (0..self.heap.len().div_ceil(4)).rev() {
            self.sift_down(position);
        }
    }

    fn sift_up(&mut self, mut position: usize) {
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / 4;
            if !earlier(&entry, &self.heap[parent]) {
                break;
            }
            self.heap[position] = self.heap[parent];
            position = parent;
        }
        self.heap[position] = entry;
    }

    fn sift_down(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let first = 4 * position + 1;
            let end = (first + 4).min(self.heap.len());
            let Some(least) = (first..end).reduce(|a, b| {
                if earlier(&self.heap[b], &self.heap[a]) {
                    b
                } else {
                    a
                }
            }) else {
                break;
            };
            if !earlier(&self.heap[least], &entry) {
                break;
            }
            self.heap[position] = self.heap[least];
            position = least;
        }
        self.heap[position] = entry;
    }
}

fn earlier(a: &Entry, b: &Entry) -> bool {
    a.deadline < b.deadline
        || a.deadline == b.deadline && (a.order.wrapping_sub(b.order) as i32) < 0
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
            assert_eq!(timers.expire(7), Some((7, n)));
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
        assert_eq!(timers.expire(9), Some((9, 'b')));
        assert_eq!(timers.expire(9), Some((9, 'a')));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Set(usize, u64),
        Remove(usize),
        Expire(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0u64..50).prop_map(Op::Insert),
            (any::<usize>(), 0u64..50).prop_map(|(i, d)| Op::Set(i, d)),
            any::<usize>().prop_map(Op::Remove),
            (0u64..50).prop_map(Op::Expire),
        ]
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn agrees_with_a_sorted_list(ops in prop::collection::vec(op(), 1..200)) {
            let mut timers = Timers::new();
            let mut model: Vec<(u64, usize, TimerId)> = Vec::new();
            let mut order = 0;
            let mut owners = std::collections::HashMap::new();
            for op in ops {
                order += 1;
                match op {
                    Op::Insert(deadline) => {
                        let id = timers.insert(deadline, order);
                        owners.insert(id.0, order);
                        model.push((deadline, order, id));
                    }
                    Op::Set(index, deadline) if !model.is_empty() => {
                        let index = index % model.len();
                        let id = model[index].2;
                        timers.set(id, deadline);
                        model[index] = (deadline, order, id);
                    }
                    Op::Remove(index) if !model.is_empty() => {
                        let (_, _, id) = model.swap_remove(index % model.len());
                        timers.remove(id);
                    }
                    Op::Expire(now) => {
                        let first = model.iter().copied().min_by_key(|&(d, o, _)| (d, o));
                        let expected = first.filter(|&(d, _, _)| d <= now);
                        let expired = timers.expire(now);
                        prop_assert_eq!(expired, expected.map(|(d, _, id)| (d, owners[&id.0])));
                        if let Some(gone) = expected {
                            model.retain(|&(_, o, _)| o != gone.1);
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(timers.len(), model.len());
                let first = model.iter().map(|&(d, _, _)| d).min();
                prop_assert_eq!(timers.next_deadline(), first);
            }
        }
    }
}
