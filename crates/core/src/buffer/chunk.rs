//! One link of a chain: a piece of memory, and which part of it holds bytes.

use std::io;
use std::mem;
use std::sync::Arc;

use super::file::{FileContent, FilePiece};
use super::pool::Block;

/// Memory with the content at `start..end`.
pub(super) struct Chunk {
    store: Store,
    start: usize,
    end: usize,
}

/// The user's memory. One allocation holds the owner and the count of the chunks that show it.
pub(super) type Foreign = Arc<dyn AsRef<[u8]> + Send + Sync>;

enum Store {
    /// Ours alone: what lies before `start` and behind `end` is room.
    Owned(Block),
    /// Seen by several chunks, so read-only.
    Shared(Arc<Block>),
    /// The user's memory, read-only.
    Foreign(Foreign),
    /// A part of a file, which need not be in memory; read-only.
    File(Arc<dyn FileContent>),
}

impl Chunk {
    /// A chunk whose content is `block[start..end]`.
    #[inline]
    pub(super) fn owned(block: Block, start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= block.written().len());
        Self {
            store: Store::Owned(block),
            start,
            end,
        }
    }

    /// A chunk that shows the first `len` bytes of `memory`.
    #[inline]
    pub(super) fn foreign(memory: Foreign, len: usize) -> Self {
        Self {
            store: Store::Foreign(memory),
            start: 0,
            end: len,
        }
    }

    /// A chunk that shows bytes `start..end` of `content`.
    pub(super) fn file(content: Arc<dyn FileContent>, start: usize, end: usize) -> Self {
        Self {
            store: Store::File(content),
            start,
            end,
        }
    }

    /// The same chunk. Memory of ours is taken apart and put together again, as happens where a chunk is made: the
    /// compiler then moves it in the same pieces, none of which goes over the border of a page (see
    /// [`Buffer`](super::Buffer)).
    #[inline(always)]
    pub(super) fn moved(self) -> Self {
        match self {
            Self {
                store: Store::Owned(block),
                start,
                end,
            } => Self {
                store: Store::Owned(block.moved()),
                start,
                end,
            },
            other => other,
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
    #[inline]
    pub(super) fn is_owned(&self) -> bool {
        matches!(self.store, Store::Owned(_))
    }

    /// Whether the memory is the user's, who is told when it is let go.
    #[inline]
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.store, Store::Foreign(_) | Store::File(_))
    }

    /// Where in a file the first bytes lie, if they are to be taken from there.
    pub(super) fn file_piece(&self, limit: usize) -> Option<FilePiece> {
        let Store::File(content) = &self.store else {
            return None;
        };
        let (fd, offset) = content.place()?;
        Some(FilePiece {
            fd,
            offset: offset.checked_add(self.start as u64)?,
            len: self.len().min(limit),
        })
    }

    /// Whether looking at the bytes would bring them into memory.
    #[inline]
    pub(super) fn is_unloaded(&self) -> bool {
        match &self.store {
            Store::File(content) => content.place().is_some(),
            _ => false,
        }
    }

    /// Brings the bytes into memory.
    pub(super) fn load(&self) -> io::Result<()> {
        match &self.store {
            Store::File(content) => content.load(),
            _ => Ok(()),
        }
    }

    /// Where the room behind the content begins.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.end
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        let memory: &[u8] = match &self.store {
            Store::Owned(block) => block.written(),
            Store::Shared(block) => block.written(),
            Store::Foreign(memory) => (**memory).as_ref(),
            Store::File(content) => (**content).as_ref(),
        };
        &memory[self.start..self.end]
    }

    /// The content, if the memory is owned.
    #[inline]
    pub(super) fn own_bytes(&self) -> Option<&[u8]> {
        match &self.store {
            Store::Owned(block) => block.written().get(self.start..self.end),
            Store::Shared(_) | Store::Foreign(_) | Store::File(_) => None,
        }
    }

    /// The content for writing, if the memory is owned.
    pub(super) fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.store {
            Store::Owned(block) => Some(&mut block.written_mut()[self.start..self.end]),
            Store::Shared(_) | Store::Foreign(_) | Store::File(_) => None,
        }
    }

    /// How many bytes still fit behind the content.
    #[inline]
    pub(super) fn room(&self) -> usize {
        match &self.store {
            Store::Owned(block) => block.size() - self.end,
            Store::Shared(_) | Store::Foreign(_) | Store::File(_) => 0,
        }
    }

    /// How many bytes still fit before the content.
    #[inline]
    pub(super) fn room_front(&self) -> usize {
        match &self.store {
            Store::Owned(_) => self.start,
            Store::Shared(_) | Store::Foreign(_) | Store::File(_) => 0,
        }
    }

    /// The room behind the content, at least `n` bytes of it if there are as many: the part that was never written is
    /// not shown beyond that, since it would have to be cleared first.
    #[inline]
    pub(super) fn space(&mut self, n: usize) -> &mut [u8] {
        match &mut self.store {
            Store::Owned(block) => {
                block.clear_to(self.end.saturating_add(n));
                &mut block.written_mut()[self.end..]
            }
            Store::Shared(_) | Store::Foreign(_) | Store::File(_) => &mut [],
        }
    }

    /// Makes the first `n` bytes of the room that [`space`](Self::space) has shown part of the content.
    #[inline]
    pub(super) fn grow(&mut self, n: usize) {
        debug_assert!(n <= self.room());
        self.end += n;
    }

    /// Copies `data` behind the content if all of it fits, and says whether it did.
    #[inline]
    pub(super) fn fill_whole(&mut self, data: &[u8]) -> bool {
        let Store::Owned(block) = &mut self.store else {
            return false;
        };
        if data.len() > block.size() - self.end {
            return false;
        }
        block.write(self.end, data);
        self.end += data.len();
        true
    }

    /// Copies as much of `data` as fits behind the content, and says how much that was.
    pub(super) fn fill(&mut self, data: &[u8]) -> usize {
        let n = data.len().min(self.room());
        if n > 0 {
            self.fill_whole(&data[..n]);
        }
        n
    }

    /// Copies the end of `data`, as much as fits, before the content, and says how much that was.
    #[inline]
    pub(super) fn fill_front(&mut self, data: &[u8]) -> usize {
        let Store::Owned(block) = &mut self.store else {
            return 0;
        };
        let n = data.len().min(self.start);
        let at = self.start - n;
        block.written_mut()[at..self.start].copy_from_slice(&data[data.len() - n..]);
        self.start = at;
        n
    }

    /// Forgets the first `n` bytes.
    #[inline]
    pub(super) fn skip(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start += n;
    }

    /// Forgets the content if the memory is a block of at most `size` bytes that is this chunk's alone, and says whether
    /// it is.
    #[inline]
    pub(super) fn empty_small(&mut self, size: usize) -> bool {
        let small = matches!(&self.store, Store::Owned(block) if block.size() <= size);
        if small {
            self.start = 0;
            self.end = 0;
        }
        small
    }

    /// A second chunk with bytes `from..to` of the content, on the same memory.
    pub(super) fn share(&mut self, from: usize, to: usize) -> Self {
        debug_assert!(from <= to && to <= self.len());
        let store = match &mut self.store {
            Store::Foreign(memory) => Store::Foreign(Arc::clone(memory)),
            Store::File(content) => Store::File(Arc::clone(content)),
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

    /// Whether `next` shows the bytes right behind this one's in the same shared memory.
    ///
    /// Only for memory of ours: two references to a user's memory are two, even where their addresses meet.
    #[inline]
    pub(super) fn continues_in(&self, next: &Self) -> bool {
        match (&self.store, &next.store) {
            (Store::Shared(mine), Store::Shared(theirs)) => {
                self.end == next.start && Arc::ptr_eq(mine, theirs)
            }
            _ => false,
        }
    }

    /// Takes the first `n` bytes of `next`, in which this chunk [continues](Self::continues_in).
    #[inline]
    pub(super) fn take_over(&mut self, next: &mut Self, n: usize) {
        debug_assert!(self.continues_in(next) && n <= next.len());
        self.end += n;
        next.start += n;
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
