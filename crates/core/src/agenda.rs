//! All places in time that a base has something to do at: the heap, and the lanes beside it.

use crate::heap::{Entry, Heap, before};
use crate::lanes::Lanes;

/// Entries, the earliest first; of equal deadlines the one with the earlier order.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: Heap,
    lanes: Lanes,
}

impl Agenda {
    /// Many timers will have this timeout.
    pub(crate) fn share(&mut self, timeout: u64) {
        self.lanes.add(timeout);
    }

    /// Whether there are timeouts that many timers have.
    #[inline(always)]
    pub(crate) fn shares(&self) -> bool {
        self.lanes.are_there()
    }

    /// Makes room for so many entries, or gives up what was made for more.
    pub(crate) fn make_room(&mut self, entries: usize) {
        let shared = self.shares();
        self.heap.make_room(if shared { 0 } else { entries });
        self.lanes.make_room(entries);
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.heap.len() + self.lanes.len()
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, entry: Entry) {
        self.heap.push(entry);
    }

    /// As [`push`](Self::push), of an entry whose deadline is `timeout` from now on.
    #[inline]
    pub(crate) fn push_timeout(&mut self, timeout: u64, entry: Entry) {
        if !self.lanes.push(timeout, entry) {
            self.heap.push(entry);
        }
    }

    /// As [`push_timeout`](Self::push_timeout), if the entry is `wanted` at all. Returns false, and has done nothing, if there is
    /// more to do than to write it.
    #[inline(always)]
    pub(crate) fn push_at_once(&mut self, wanted: bool, timeout: u64, entry: Entry) -> bool {
        if self.shares() {
            !wanted || self.lanes.push_at_once(timeout, entry)
        } else {
            self.heap.push_at_once(wanted, entry)
        }
    }

    #[inline]
    pub(crate) fn top(&mut self) -> Option<Entry> {
        match self.top_of_lanes() {
            None => self.heap.top(),
            first => first,
        }
    }

    /// The top, if it is in a lane.
    #[inline]
    fn top_of_lanes(&mut self) -> Option<Entry> {
        let first = self.lanes.top()?;
        let waits = self.heap.top().is_some_and(|top| before(&top, &first));
        (!waits).then_some(first)
    }

    /// See [`Heap::next_gathered`].
    #[inline]
    pub(crate) fn next_gathered(&self) -> &[Entry] {
        self.heap.next_gathered()
    }

    /// Takes the top out if its deadline has passed at `now`.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Entry> {
        match self.top_of_lanes() {
            None => self.heap.pop_due(now),
            Some(first) if first.deadline <= now => self.lanes.pop(),
            Some(_) => None,
        }
    }

    /// Takes the top out; there must be one.
    pub(crate) fn pop(&mut self) {
        if self.top_of_lanes().is_some() {
            self.lanes.pop();
        } else {
            self.heap.pop();
        }
    }

    /// Puts another entry in the place of the top; there must be one.
    pub(crate) fn replace_top(&mut self, entry: Entry) {
        if self.top_of_lanes().is_some() {
            self.lanes.pop();
            self.heap.push(entry);
        } else {
            self.heap.replace_top(entry);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.heap.clear();
        self.lanes.clear();
    }

    /// Drops all entries of which `keep` says no.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        self.heap.retain(&mut keep);
        self.lanes.retain(keep);
    }

    /// For how many entries it has memory.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.heap.room() + self.lanes.room()
    }
}
