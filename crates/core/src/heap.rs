//! A 4-ary heap of places in time, the earliest on top.
//!
//! By hand, because with 10^6 timers its cost is in the lines of memory that it touches: the four children of an entry
//! fill one line, and which of them comes first is found without a branch. And what is due at once is not taken out one
//! by one: it is gathered, sorted, and the heap put in order once.

use crate::arena::reserve_slowly_growing;
use crate::spread;

/// A moment, and what it belongs to. Of equal moments the one with the earlier order comes first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    /// Nanoseconds.
    pub(crate) deadline: u64,
    /// Wraps, and is compared as a difference.
    pub(crate) order: u32,
    pub(crate) id: u32,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Heap {
    /// From [`ROOT`] on; empty, or begins with fillers.
    entries: Vec<Entry>,
    /// Taken out of the entries by [`gather`](Self::gather), and still of the heap: the earliest is the last.
    due: Vec<Entry>,
}

/// If more than one of so many entries is due, they are gathered by going through all.
const FEW: usize = 8;

/// Where the earliest is. An allocator puts a large table 16 bytes behind the beginning of a page, so that with two
/// fillers, children begin on a line of memory of 64 bytes.
const ROOT: usize = 2;

impl Heap {
    pub(crate) fn len(&self) -> usize {
        self.waiting() + self.due.len()
    }

    /// Those that are not gathered.
    fn waiting(&self) -> usize {
        self.entries.len().saturating_sub(ROOT)
    }

    /// Makes room for so many entries.
    pub(crate) fn make_room(&mut self, entries: usize) {
        reserve_slowly_growing(&mut self.entries, entries + ROOT);
    }

    #[inline]
    pub(crate) fn top(&self) -> Option<Entry> {
        if self.tops_due() {
            self.due.last().copied()
        } else {
            self.entries.get(ROOT).copied()
        }
    }

    /// Whether the top is a gathered one: something earlier may have been pushed since.
    #[inline]
    fn tops_due(&self) -> bool {
        match (self.due.last(), self.entries.get(ROOT)) {
            (Some(due), Some(waiting)) => !before(waiting, due),
            (due, _) => due.is_some(),
        }
    }

    /// Takes the top out if its deadline has passed at `now`. Where several are due, all of them are gathered first.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Entry> {
        let Some(waiting) = self.entries.get(ROOT).filter(|entry| entry.deadline <= now) else {
            return self.due.pop_if(|due| due.deadline <= now);
        };
        let waiting = *waiting;
        if let Some(due) = self.due.pop_if(|due| before(due, &waiting)) {
            return Some(due);
        }
        let mut next = self.entries[ROOT..].iter().skip(1).take(4);
        if self.due.is_empty() && next.any(|entry| entry.deadline <= now) {
            self.gather(now);
            return self.due.pop();
        }
        self.pop_waiting();
        Some(waiting)
    }

    #[cold]
    #[inline(never)]
    fn gather(&mut self, now: u64) {
        if let Some(positions) = self.few_due(now) {
            // What is put in the place of one that goes down is due by no means, and what is above it goes next.
            for &position in positions.iter().rev() {
                self.due.push(self.entries.swap_remove(position));
                if position < self.entries.len() {
                    self.sift_down(position);
                }
            }
        } else {
            let due = &mut self.due;
            let mut position = 0;
            self.entries.retain(|entry| {
                position += 1;
                let stays = position <= ROOT || entry.deadline > now;
                if !stays {
                    due.push(*entry);
                }
                stays
            });
            self.restore();
        }
        spread::sort(&mut self.due);
    }

    /// Where the entries are that are due at `now`, in ascending order; `None` if it is quicker to look at all.
    fn few_due(&self, now: u64) -> Option<Vec<usize>> {
        let most = self.waiting() / FEW;
        let mut found = vec![ROOT];
        let mut at = 0;
        // The children of what is not due are not due.
        while let Some(&position) = found.get(at) {
            if found.len() > most {
                return None;
            }
            let children =
                first_child(position)..(first_child(position) + 4).min(self.entries.len());
            found.extend(children.filter(|&child| self.entries[child].deadline <= now));
            at += 1;
        }
        Some(found)
    }

    /// Inlined, so that the entry stays in registers: put together in memory, it could not be copied as a whole until it
    /// has left the processor's store buffer.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.fill();
        }
        let mut position = self.entries.len();
        crate::arena::push_slowly_growing(&mut self.entries, entry);
        while position > ROOT {
            let parent = (position - ROOT - 1) / 4 + ROOT;
            if !before(&entry, &self.entries[parent]) {
                break;
            }
            self.entries[position] = self.entries[parent];
            self.entries[parent] = entry;
            position = parent;
        }
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self) {
        self.entries.resize(ROOT, Entry::default());
    }

    /// Takes the top out; there must be one.
    #[inline]
    pub(crate) fn pop(&mut self) {
        if self.tops_due() {
            self.due.pop();
        } else {
            self.pop_waiting();
        }
    }

    fn pop_waiting(&mut self) {
        let last = self.entries.pop();
        if let Some(last) = last
            && self.waiting() > 0
        {
            self.replace_root(last);
        }
    }

    /// Puts another entry in the place of the top, and makes it stand where it belongs; there must be one.
    pub(crate) fn replace_top(&mut self, entry: Entry) {
        if self.tops_due() {
            self.due.pop();
            self.push(entry);
        } else {
            self.replace_root(entry);
        }
    }

    fn replace_root(&mut self, entry: Entry) {
        // Most come from the bottom, or go far down: the way down is cheaper without looking at the entry.
        let mut hole = ROOT;
        while let Some(least) = self.least_child(hole) {
            self.entries[hole] = self.entries[least];
            hole = least;
        }
        self.entries[hole] = entry;
        self.sift_up(hole);
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.due.clear();
    }

    /// Drops all entries of which `keep` says no.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let mut position = 0;
        self.entries.retain(|entry| {
            position += 1;
            position <= ROOT || keep(entry)
        });
        self.due.retain(keep);
        self.restore();
    }

    /// Makes a heap of the entries, in whatever order they stand.
    fn restore(&mut self) {
        let parents = self.waiting().div_ceil(4);
        for position in (ROOT..ROOT + parents).rev() {
            self.sift_down(position);
        }
    }

    #[inline]
    fn sift_up(&mut self, mut position: usize) {
        let entry = self.entries[position];
        while position > ROOT {
            let parent = (position - ROOT - 1) / 4 + ROOT;
            if !before(&entry, &self.entries[parent]) {
                break;
            }
            self.entries[position] = self.entries[parent];
            position = parent;
        }
        self.entries[position] = entry;
    }

    fn sift_down(&mut self, mut position: usize) {
        let entry = self.entries[position];
        while let Some(least) = self.least_child(position) {
            if !before(&self.entries[least], &entry) {
                break;
            }
            self.entries[position] = self.entries[least];
            position = least;
        }
        self.entries[position] = entry;
    }

    #[inline]
    fn least_child(&self, position: usize) -> Option<usize> {
        let first = first_child(position);
        if let Some([a, b, c, d]) = self.entries.get(first..first + 4) {
            let ab = usize::from(before(b, a));
            let cd = usize::from(before(d, c));
            let (one, other) = (if ab == 0 { a } else { b }, if cd == 0 { c } else { d });
            let least = if before(other, one) { 2 + cd } else { ab };
            return Some(first + least);
        }
        let children = first..self.entries.len();
        children.reduce(|a, b| {
            if before(&self.entries[b], &self.entries[a]) {
                b
            } else {
                a
            }
        })
    }
}

#[inline]
fn first_child(position: usize) -> usize {
    4 * (position - ROOT) + ROOT + 1
}

#[inline]
fn before(a: &Entry, b: &Entry) -> bool {
    let order = (a.order.wrapping_sub(b.order) as i32) < 0;
    (a.deadline < b.deadline) | ((a.deadline == b.deadline) & order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Push(u64, usize),
        Pop,
        ReplaceTop(u64),
        /// Pops so many.
        PopDue(u64, usize),
        KeepOdd,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0u64..1000, 1usize..60).prop_map(|(deadline, times)| Op::Push(deadline, times)),
            1 => Just(Op::Pop),
            1 => (0u64..1000).prop_map(Op::ReplaceTop),
            4 => (0u64..400, 0usize..60).prop_map(|(now, times)| Op::PopDue(now, times)),
            1 => Just(Op::KeepOdd),
        ]
    }

    proptest! {
        /// Against a sorted list. It gathers a few of many, and many of few.
        #[test]
        fn the_earliest_comes_first(ops in prop::collection::vec(op(), 1..60)) {
            let mut heap = Heap::default();
            // The deadlines and the orders, which are the ids too.
            let mut model: Vec<(u64, u32)> = Vec::new();
            let mut order = 0;
            let mut new = |deadline| {
                order += 1;
                (Entry { deadline, order, id: order }, (deadline, order))
            };
            for op in ops {
                match op {
                    Op::Push(deadline, times) => {
                        for n in 0..times as u64 {
                            let (entry, of_model) = new((deadline + 13 * n) % 1000);
                            heap.push(entry);
                            model.push(of_model);
                        }
                    }
                    Op::Pop if !model.is_empty() => {
                        heap.pop();
                        model.remove(0);
                    }
                    Op::ReplaceTop(deadline) if !model.is_empty() => {
                        let (entry, of_model) = new(deadline);
                        heap.replace_top(entry);
                        model[0] = of_model;
                    }
                    Op::PopDue(now, times) => {
                        for _ in 0..times {
                            let due = model.first().filter(|(deadline, _)| *deadline <= now).copied();
                            let popped = heap.pop_due(now).map(|entry| (entry.deadline, entry.id));
                            prop_assert_eq!(popped, due);
                            if due.is_some() {
                                model.remove(0);
                            }
                        }
                    }
                    Op::KeepOdd => {
                        heap.retain(|entry| entry.id % 2 == 1);
                        model.retain(|(_, order)| order % 2 == 1);
                    }
                    _ => {}
                }
                model.sort_unstable();
                prop_assert_eq!(heap.len(), model.len());
                let top = heap.top().map(|entry| (entry.deadline, entry.id));
                prop_assert_eq!(top, model.first().copied());
            }
        }
    }
}
