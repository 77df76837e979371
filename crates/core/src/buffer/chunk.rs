//! One link of a chain: a piece of memory, and which part of it holds bytes.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::pool::Block;

/// Memory with the content at `start..end`.
pub(super) struct Chunk {
    store: Store,
    start: usize,
    end: usize,
}

enum Store {
    /// Ours alone: what lies before `start` and behind `end` is room.
    Owned(Block),
    /// Seen by several chunks, so read-only.
    Shared(Arc<Block>),
    /// The user's memory, read-only.
    Foreign(Bytes),
}

impl Chunk {
    /// A chunk whose content is `block[start..end]`.
    #[inline]
    pub(super) fn owned(block: Block, start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= block.len());
        Self {
            store: Store::Owned(block),
            start,
            end,
        }
    }

    /// A chunk that refers to `bytes`.
    pub(super) fn foreign(bytes: Bytes) -> Self {
        let end = bytes.len();
        Self {
            store: Store::Foreign(bytes),
            start: 0,
            end,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Whether the memory is this chunk's alone.
    pub(super) fn is_owned(&self) -> bool {
        matches!(self.store, Store::Owned(_))
    }

    /// Whether the memory is the user's, who is told when it is let go.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.store, Store::Foreign(_))
    }

    /// Where the room behind the content begins.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.end
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        let memory: &[u8] = match &self.store {
            Store::Owned(block) => block,
            Store::Shared(block) => block,
            Store::Foreign(bytes) => bytes,
        };
        &memory[self.start..self.end]
    }

    /// The content for writing, if the memory is owned.
    pub(super) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.store {
            Store::Owned(block) => Some(&mut block[self.start..self.end]),
            Store::Shared(_) | Store::Foreign(_) => None,
        }
    }

    /// How many bytes still fit behind the content.
    #[inline]
    pub(super) fn room(&self) -> usize {
        match &self.store {
            Store::Owned(block) => block.len() - self.end,
            Store::Shared(_) | Store::Foreign(_) => 0,
        }
    }

    /// How many bytes still fit before the content.
    pub(super) fn room_front(&self) -> usize {
        match &self.store {
            Store::Owned(_) => self.start,
            Store::Shared(_) | Store::Foreign(_) => 0,
        }
    }

    /// The room behind the content.
    #[inline]
    pub(super) fn space(&mut self) -> &mut [u8] {
        match &mut self.store {
            Store::Owned(block) => &mut block[self.end..],
            Store::Shared(_) | Store::Foreign(_) => &mut [],
        }
    }

    /// Makes the first `n` bytes of the room part of the content.
    #[inline]
    pub(super) fn grow(&mut self, n: usize) {
        debug_assert!(n <= self.room());
        self.end += n;
    }

    /// Copies as much of `data` as fits behind the content, and says how much that was.
    #[inline]
    pub(super) fn fill(&mut self, data: &[u8]) -> usize {
        let Store::Owned(block) = &mut self.store else {
            return 0;
        };
        let n = data.len().min(block.len() - self.end);
        block[self.end..self.end + n].copy_from_slice(&data[..n]);
        self.end += n;
        n
    }

    /// Copies the end of `data`, as much as fits, before the content, and says how much that was.
    pub(super) fn fill_front(&mut self, data: &[u8]) -> usize {
        let Store::Owned(block) = &mut self.store else {
            return 0;
        };
        let n = data.len().min(self.start);
        block[self.start - n..self.start].copy_from_slice(&data[data.len() - n..]);
        self.start -= n;
        n
    }

    /// Forgets the first `n` bytes.
    #[inline]
    pub(super) fn skip(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start += n;
    }

    /// A second chunk with bytes `from..to` of the content, on the same memory.
    pub(super) fn share(&mut self, from: usize, to: usize) -> Self {
        debug_assert!(from <= to && to <= self.len());
        let store = match &mut self.store {
            Store::Foreign(bytes) => Store::Foreign(bytes.clone()),
            Store::Shared(block) => Store::Shared(Arc::clone(block)),
            Store::Owned(block) => {
                let block = Arc::new(mem::take(block));
                self.store = Store::Shared(Arc::clone(&block));
                Store::Shared(block)
            }
        };
        Self {
            store,
            start: self.start + from,
            end: self.start + to,
        }
    }

    /// Takes `next` into this chunk when it shows the bytes right behind this one's in the same shared memory;
    /// otherwise gives it back.
    ///
    /// Only for memory of ours: two references to a user's memory are two, even where their addresses meet.
    pub(super) fn rejoin(&mut self, next: Self) -> Result<(), Self> {
        let same = match (&self.store, &next.store) {
            (Store::Shared(mine), Store::Shared(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        };
        if !same || self.end != next.start {
            return Err(next);
        }
        self.end = next.end;
        Ok(())
    }

    /// Makes shared memory owned again if nobody else refers to it any more, and says whether it is owned now.
    pub(super) fn reclaim(&mut self) -> bool {
        if let Store::Shared(block) = &mut self.store
            && let Some(block) = Arc::get_mut(block)
        {
            self.store = Store::Owned(mem::take(block));
        }
        self.is_owned()
    }
}
