//! Timers that share a timeout, in queues.
//!
//! A timer that is started with the same timeout as the one before it, and later, is due later too. So those of one
//! timeout are in order as they come, and taking the first one out costs the same for any number of them, where a heap
//! fetches a line of memory for each of its levels.

use std::collections::VecDeque;

use crate::heap::{Entry, Heap, with_reserve};

/// The queues of a base, one for each timeout that it has been told of (`event_base_init_common_timeout`).
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// The first entry of each lane that has one; its `id` is the lane's.
    fronts: Heap,
    len: usize,
    /// There are or will be so many timers: the first lane has room for them.
    room: usize,
    /// Memory for so many has been fetched.
    touched: usize,
}

/// An [`Entry`] that travels in two registers, and not by way of memory.
#[derive(Clone, Copy, Debug, Default)]
struct Packed(u128);

impl Packed {
    #[inline(always)]
    fn of(entry: Entry) -> Self {
        let low = u64::from(entry.order) << 32 | u64::from(entry.id);
        Self(u128::from(entry.deadline) << 64 | u128::from(low))
    }

    #[inline(always)]
    fn entry(self) -> Entry {
        Entry {
            deadline: (self.0 >> 64) as u64,
            order: (self.0 >> 32) as u32,
            id: self.0 as u32,
        }
    }
}

#[derive(Debug)]
struct Lane {
    timeout: u64,
    queue: VecDeque<Packed>,
    /// The deadline of the last entry that was queued.
    latest: u64,
}

/// Looking for one among more would take too long.
const MOST: usize = 16;

/// Room for so many entries is kept.
const KEPT: usize = 4 << 10;

impl Lanes {
    /// Many timers will have this timeout. Beyond [`MOST`] of them it is not believed.
    pub(crate) fn add(&mut self, timeout: u64) {
        if self.lanes.len() < MOST && !self.lanes.iter().any(|lane| lane.timeout == timeout) {
            self.lanes.push(Lane {
                timeout,
                queue: VecDeque::new(),
                latest: 0,
            });
        }
    }

    /// Whether there are any, with entries or without.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Makes room for so many entries, or gives up what was made for more. All is for the first lane: mostly there is one.
    pub(crate) fn make_room(&mut self, entries: usize) {
        self.room = entries;
        let Some(Lane { queue, .. }) = self.lanes.first_mut() else {
            return;
        };
        if entries > self.touched {
            self.touched = with_reserve(entries);
            let len = queue.len();
            queue.reserve_exact(self.touched.saturating_sub(len));
            // Writing fetches the memory.
            queue.resize(self.touched.max(len), Packed::default());
            queue.truncate(len);
        } else if queue.capacity() > 2 * with_reserve(entries).max(KEPT) {
            self.shrink(0);
        }
    }

    /// Gives memory back that few entries have been left in.
    fn shrink(&mut self, id: usize) {
        let queue = &mut self.lanes[id].queue;
        let room = if id == 0 { with_reserve(self.room) } else { 0 };
        let needed = (2 * queue.len()).max(room).max(KEPT);
        queue.shrink_to(needed);
        if id == 0 {
            self.touched = self.touched.min(needed);
        }
    }

    /// How many entries there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Queues an entry, and returns whether it did: if there is nothing to do but to write it.
    #[inline(always)]
    pub(crate) fn push_at_once(&mut self, timeout: u64, entry: Entry) -> bool {
        let Some(lane) = self.lanes.first_mut() else {
            return false;
        };
        let fits = lane.timeout == timeout && lane.latest <= entry.deadline;
        let room = lane.queue.len() < lane.queue.capacity() && !lane.queue.is_empty();
        if fits && room {
            lane.latest = entry.deadline;
            lane.queue.push_back(Packed::of(entry));
            self.len += 1;
        }
        fits && room
    }

    /// Queues an entry, and returns whether it did: if there is a lane for its timeout, in which it would be the latest.
    #[inline]
    pub(crate) fn push(&mut self, timeout: u64, entry: Entry) -> bool {
        self.are_there()
            && (self.push_at_once(timeout, entry) || self.push_somewhere(timeout, entry))
    }

    #[cold]
    #[inline(never)]
    fn push_somewhere(&mut self, timeout: u64, entry: Entry) -> bool {
        let known = self.lanes.iter_mut().enumerate();
        let Some((id, lane)) = { known }.find(|(_, lane)| lane.timeout == timeout) else {
            return false;
        };
        if lane.queue.is_empty() {
            lane.latest = 0;
            let id = id as u32;
            self.fronts.push(Entry { id, ..entry });
        }
        let pushed = lane.push(entry);
        self.len += usize::from(pushed);
        pushed
    }

    /// The earliest entry.
    #[inline]
    pub(crate) fn top(&mut self) -> Option<Entry> {
        let front = self.fronts.top()?;
        self.lanes[front.id as usize]
            .queue
            .front()
            .map(|packed| packed.entry())
    }

    /// Takes the earliest entry out.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let id = self.fronts.top()?.id;
        let queue = &mut self.lanes[id as usize].queue;
        let first = queue.pop_front();
        match queue.front() {
            Some(next) => self.fronts.replace_top(Entry { id, ..next.entry() }),
            None => {
                self.fronts.pop();
                if queue.capacity() > KEPT {
                    self.shrink(id as usize);
                }
            }
        }
        self.len -= 1;
        first.map(Packed::entry)
    }

    pub(crate) fn clear(&mut self) {
        if self.len > 0 {
            self.retain(|_| false);
        }
    }

    /// Drops all entries of which `keep` says no.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        self.fronts.clear();
        self.len = 0;
        for id in 0..self.lanes.len() {
            let queue = &mut self.lanes[id].queue;
            queue.retain(|packed| keep(&packed.entry()));
            self.len += queue.len();
            if let Some(first) = queue.front() {
                let id = id as u32;
                self.fronts.push(Entry {
                    id,
                    ..first.entry()
                });
            }
            self.shrink(id);
        }
    }

    /// For how many entries it has memory.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.lanes.iter().map(|lane| lane.queue.capacity()).sum()
    }
}

impl Lane {
    fn push(&mut self, entry: Entry) -> bool {
        let is_latest = self.latest <= entry.deadline;
        if is_latest {
            self.latest = entry.deadline;
            self.queue.push_back(Packed::of(entry));
        }
        is_latest
    }
}
