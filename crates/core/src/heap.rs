//! A 4-ary heap of places in time, the earliest on top.
//!
//! By hand, because with 10^6 timers its cost is in the lines of memory that it touches: the four children of an entry
//! fill one line, and which of them comes first is found without a branch. And what is due at once is not taken out one
//! by one: it is gathered, sorted, and the heap put in order once. What is pushed is not put in order either, before somebody
//! asks what is on top: until then it may be one of very many.

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
    /// Up to here they are a heap; what has been pushed since stands behind.
    settled: usize,
    /// There are or will be so many timers, for which room is kept.
    room: usize,
    /// Memory for so many entries has been fetched.
    touched: usize,
    /// Taken out of the entries by [`gather`](Self::gather), and still of the heap: the earliest is the last.
    due: Vec<Entry>,
}

/// Room for so many entries is kept.
const KEPT: usize = 16 << 10;

/// If more than one of so many entries is due, they are gathered by going through all.
const FEW: usize = 8;

/// So many gathered ones are told of at once.
const BATCH: usize = 64;

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

    /// Makes room for so many entries, or gives up what was made for more.
    pub(crate) fn make_room(&mut self, entries: usize) {
        self.room = entries;
        if entries > self.touched {
            self.touched = with_reserve(entries);
            let len = self.entries.len();
            // There may be more already: not all who push were counted.
            if let Some(missing) = (self.touched + ROOT).checked_sub(len) {
                self.entries.reserve_exact(missing);
                // Writing fetches the memory.
                self.entries.resize(len + missing, Entry::default());
                self.entries.truncate(len);
            }
        }
        self.shrink();
    }

    /// Puts in order what has been pushed.
    #[inline]
    fn settle(&mut self) {
        if self.settled < self.entries.len() {
            self.settle_pushed();
        }
    }

    #[inline(never)]
    fn settle_pushed(&mut self) {
        let pushed = self.settled.max(ROOT)..self.entries.len();
        if pushed.len() > self.waiting() / 4 {
            self.restore();
        } else {
            pushed.for_each(|position| self.sift_up(position));
        }
        self.settled = self.entries.len();
    }

    #[inline]
    pub(crate) fn top(&mut self) -> Option<Entry> {
        self.settle();
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
        self.settle();
        let Some(waiting) = self.entries.get(ROOT).filter(|entry| entry.deadline <= now) else {
            let due = self.due.pop_if(|due| due.deadline <= now);
            if due.is_none() {
                self.shrink();
            }
            return due;
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

    /// Of those that are gathered, the next ones; nothing if the same have been told before.
    #[inline]
    pub(crate) fn next_gathered(&self) -> &[Entry] {
        let left = self.due.len();
        if left.is_multiple_of(BATCH) {
            &self.due[left.saturating_sub(BATCH)..]
        } else {
            &[]
        }
    }

    #[cold]
    #[inline(never)]
    fn gather(&mut self, now: u64) {
        if let Some(positions) = self.few_due(now) {
            let mut due = Vec::with_capacity(positions.len());
            // What is put in the place of one that goes down is due by no means, and what is above it goes next.
            for &position in positions.iter().rev() {
                due.push(self.entries.swap_remove(position));
                self.settled = self.entries.len();
                if position < self.entries.len() {
                    self.sift_down(position);
                }
            }
            self.due = spread::sort(due);
        } else {
            let all = self.entries[ROOT..].iter().copied();
            self.due = spread::sorted(all.filter(|entry| entry.deadline <= now));
            let mut position = 0;
            self.entries.retain(|entry| {
                position += 1;
                position <= ROOT || entry.deadline > now
            });
            self.restore();
        }
        self.shrink();
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

    /// Pushes an entry, and puts it in order unless others are not: it may be due in no time.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) {
        let is_heap = self.settled == self.entries.len();
        if !self.push_at_once(true, entry) {
            self.push_and_grow(entry);
        }
        if is_heap {
            self.sift_up(self.entries.len() - 1);
            self.settled = self.entries.len();
        }
    }

    #[cold]
    #[inline(never)]
    fn push_and_grow(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.fill();
        }
        crate::arena::push_slowly_growing(&mut self.entries, entry);
    }

    /// Pushes an entry, if it is `wanted`: without a branch, where that may hang on memory that is still to come. Returns false, and
    /// has done nothing, if there is more to do than to write it.
    ///
    /// Inlined, so that the entry stays in registers: put together in memory, it could not be copied as a whole until it
    /// has left the processor's store buffer.
    #[inline(always)]
    pub(crate) fn push_at_once(&mut self, wanted: bool, entry: Entry) -> bool {
        let len = self.entries.len();
        if len == 0 || len == self.entries.capacity() {
            return false;
        }
        self.entries.push(entry);
        self.entries.truncate(len + usize::from(wanted));
        true
    }

    fn fill(&mut self) {
        self.entries.resize(ROOT, Entry::default());
        self.settled = ROOT;
    }

    /// Takes the [top](Self::top) out, which has been looked at.
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
        self.settled = self.entries.len();
        if let Some(last) = last
            && self.waiting() > 0
        {
            self.replace_root(last);
        }
        self.shrink();
    }

    /// Puts another entry in the place of the [top](Self::top), which has been looked at.
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
        self.settled = 0;
        self.due.clear();
        self.shrink();
    }

    /// Gives memory back that few entries have been left in.
    #[inline]
    fn shrink(&mut self) {
        let loose = |table: &Vec<Entry>| {
            let has = table.capacity();
            has > KEPT && table.len() < has / 4
        };
        let roomy = self.entries.capacity() > 2 * self.room;
        if loose(&self.due) || roomy && loose(&self.entries) {
            self.shrink_large();
        }
    }

    #[cold]
    #[inline(never)]
    fn shrink_large(&mut self) {
        self.due.shrink_to((2 * self.due.len()).max(KEPT));
        let needed = (2 * self.entries.len()).max(with_reserve(self.room));
        let needed = needed.max(KEPT);
        self.entries.shrink_to(needed + ROOT);
        self.touched = self.touched.min(needed);
    }

    /// For how many entries it has memory.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.entries.capacity() + self.due.capacity()
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
        self.shrink();
    }

    /// Makes a heap of the entries, in whatever order they stand.
    fn restore(&mut self) {
        let parents = self.waiting().div_ceil(4);
        for position in (ROOT..ROOT + parents).rev() {
            self.sift_down(position);
        }
        self.settled = self.entries.len();
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

/// For how many entries room is made where there are so many to come: a few more, so that it is not made for each.
pub(crate) const fn with_reserve(entries: usize) -> usize {
    let part = entries / 4;
    let few = if entries < 1024 { entries } else { 1024 };
    entries + if part > few { part } else { few }
}

#[inline]
fn first_child(position: usize) -> usize {
    4 * (position - ROOT) + ROOT + 1
}

/// Whether `a` comes first.
#[inline]
pub(crate) fn before(a: &Entry, b: &Entry) -> bool {
    let order = (a.order.wrapping_sub(b.order) as i32) < 0;
    (a.deadline < b.deadline) | ((a.deadline == b.deadline) & order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn room_for_fewer_than_there_are_changes_nothing() {
        let mut heap = Heap::default();
        for order in 1..=1000 {
            heap.push(Entry {
                deadline: u64::from(order),
                order,
                id: order,
            });
        }
        heap.make_room(64);
        assert_eq!(heap.len(), 1000);
        assert_eq!(heap.top().map(|entry| entry.id), Some(1));
    }

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

    /// As many as stand for timers that came and went.
    const MANY: u32 = 100_000;

    fn full() -> Heap {
        let mut heap = Heap::default();
        for order in 1..=MANY {
            let deadline = u64::from(order.wrapping_mul(7919) % MANY);
            heap.push(Entry {
                deadline,
                order,
                id: order,
            });
        }
        assert!(heap.room() >= MANY as usize);
        heap
    }

    #[test]
    fn room_for_those_to_come_is_kept_until_there_are_fewer() {
        let mut heap = full();
        heap.make_room(MANY as usize);
        heap.clear();
        let kept = heap.room();
        assert!(kept >= MANY as usize);
        for order in 1..=MANY {
            heap.push(Entry {
                deadline: 7,
                order,
                id: 0,
            });
        }
        while heap.pop_due(7).is_some() {}
        assert!(heap.entries.capacity() == kept);
        heap.make_room(100);
        assert!(heap.room() <= 2 * (KEPT + ROOT));
    }

    #[test]
    fn memory_is_given_back() {
        let mut removed = full();
        removed.clear();
        let mut swept = full();
        swept.retain(|entry| entry.id % 16 == 0);
        let mut popped = full();
        while popped.len() > 0 {
            popped.pop();
        }
        let mut due = full();
        while due.pop_due(u64::from(MANY)).is_some() {}
        let mut mostly_due = full();
        while mostly_due.pop_due(u64::from(MANY - 99)).is_some() {}
        assert_eq!(mostly_due.len(), 98);
        for heap in [removed, swept, popped, due, mostly_due] {
            assert!(
                heap.room() <= 2 * (KEPT + ROOT),
                "{} entries in {}",
                heap.len(),
                heap.room()
            );
        }
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
