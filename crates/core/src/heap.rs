//! A 4-ary heap of places in time, the earliest on top.
//!
//! By hand, because with 10^6 timers its cost is in the lines of memory that it touches: the four children of an entry
//! fill one line, and which of them comes first is found without a branch.

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
}

/// Where the earliest is. An allocator puts a large table 16 bytes behind the beginning of a page, so that with two
/// fillers, children begin on a line of memory of 64 bytes.
const ROOT: usize = 2;

impl Heap {
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_sub(ROOT)
    }

    /// Makes room for so many entries.
    pub(crate) fn make_room(&mut self, entries: usize) {
        let len = self.entries.len();
        if let Some(missing) = (entries + ROOT).checked_sub(len) {
            self.entries.reserve_exact(missing);
            // Writing fetches the memory.
            self.entries.resize(len + missing, Entry::default());
            self.entries.truncate(len);
        }
    }

    #[inline]
    pub(crate) fn top(&self) -> Option<Entry> {
        self.entries.get(ROOT).copied()
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
    pub(crate) fn pop(&mut self) {
        let last = self.entries.pop();
        if let Some(last) = last
            && self.len() > 0
        {
            self.replace_top(last);
        }
    }

    /// Puts another entry in the place of the top, and makes it stand where it belongs; there must be one.
    pub(crate) fn replace_top(&mut self, entry: Entry) {
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
    }

    /// Drops all entries of which `keep` says no.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let mut position = 0;
        self.entries.retain(|entry| {
            position += 1;
            position <= ROOT || keep(entry)
        });
        for position in (ROOT..self.entries.len()).rev() {
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
        let first = 4 * (position - ROOT) + ROOT + 1;
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
fn before(a: &Entry, b: &Entry) -> bool {
    let order = (a.order.wrapping_sub(b.order) as i32) < 0;
    (a.deadline < b.deadline) | ((a.deadline == b.deadline) & order)
}
