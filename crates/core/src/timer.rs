//! Deadlines, earliest first and FIFO among equals.
//!
//! By hand, because the order of equal deadlines is observable through the C API and because of the lazy re-arm: an
//! idle timeout moves forward on every read, so moving a deadline *later* only notes the new one (O(1)); the heap entry
//! is put right when it comes to the top.

/// Names a timer; stays valid until [`Timers::remove`] or until [`Timers::expire`] has returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(u32);

/// A 4-ary heap of deadlines in nanoseconds, each with what it belongs to.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: Vec<HeapEntry>,
    timers: Vec<Timer<T>>,
    free: Vec<u32>,
    next_order: u32,
}

/// Where the heap *believes* the timer stands: never later than the truth in [`Timer::deadline`].
#[derive(Clone, Copy, Debug)]
struct HeapEntry {
    deadline: u64,
    order: u32,
    id: u32,
}

#[derive(Debug)]
struct Timer<T> {
    deadline: u64,
    /// Order of arming among equal deadlines; wraps, and is compared as a difference.
    order: u32,
    position: u32,
    owner: T,
}

impl<T: Copy> Timers<T> {
    pub(crate) const fn new() -> Self {
        Self {
            heap: Vec::new(),
            timers: Vec::new(),
            free: Vec::new(),
            next_order: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn insert(&mut self, deadline: u64, owner: T) -> TimerId {
        let order = self.take_order();
        let position = self.heap.len() as u32;
        let timer = Timer {
            deadline,
            order,
            position,
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
        self.heap.push(HeapEntry {
            deadline,
            order,
            id,
        });
        self.sift_up(position as usize);
        TimerId(id)
    }

    /// Moves a timer, as if it had been removed and inserted again.
    pub(crate) fn set(&mut self, id: TimerId, deadline: u64) {
        let order = self.take_order();
        let timer = &mut self.timers[id.0 as usize];
        timer.deadline = deadline;
        timer.order = order;
        let position = timer.position as usize;
        if deadline < self.heap[position].deadline {
            self.heap[position] = HeapEntry {
                deadline,
                order,
                id: id.0,
            };
            self.sift_up(position);
        }
    }

    pub(crate) fn deadline(&self, id: TimerId) -> u64 {
        self.timers[id.0 as usize].deadline
    }

    pub(crate) fn remove(&mut self, id: TimerId) {
        let position = self.timers[id.0 as usize].position as usize;
        self.free.push(id.0);
        let Some(last) = self.heap.pop() else { return };
        if position == self.heap.len() {
            return;
        }
        self.heap[position] = last;
        self.timers[last.id as usize].position = position as u32;
        if !self.sift_up(position) {
            self.sift_down(position);
        }
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        self.settle_top();
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Takes out the earliest timer if it is due at `now`, with its deadline.
    pub(crate) fn expire(&mut self, now: u64) -> Option<(u64, T)> {
        let deadline = self.next_deadline().filter(|&deadline| deadline <= now)?;
        let id = self.heap[0].id;
        let owner = self.timers[id as usize].owner;
        self.remove(TimerId(id));
        Some((deadline, owner))
    }

    fn take_order(&mut self) -> u32 {
        self.next_order = self.next_order.wrapping_add(1);
        self.next_order
    }

    /// Puts entries at the top right until the top one tells the truth.
    fn settle_top(&mut self) {
        while let Some(top) = self.heap.first().copied() {
            let timer = &self.timers[top.id as usize];
            if timer.order == top.order {
                return;
            }
            self.heap[0] = HeapEntry {
                deadline: timer.deadline,
                order: timer.order,
                id: top.id,
            };
            self.sift_down(0);
        }
    }

    /// Returns whether the entry moved.
    fn sift_up(&mut self, mut position: usize) -> bool {
        let start = position;
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / 4;
            if !earlier(&entry, &self.heap[parent]) {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
        position != start
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
            self.place(position, self.heap[least]);
            position = least;
        }
        self.place(position, entry);
    }

    fn place(&mut self, position: usize, entry: HeapEntry) {
        self.heap[position] = entry;
        self.timers[entry.id as usize].position = position as u32;
    }
}

fn earlier(a: &HeapEntry, b: &HeapEntry) -> bool {
    (a.deadline, 0) < (b.deadline, 0)
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
