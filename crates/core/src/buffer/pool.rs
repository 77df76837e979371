//! Memory for chunks: blocks in powers of two, the larger ones kept for reuse by each thread.
//!
//! Memory that was never written cannot be shown, and clearing it costs as much as writing it. So a block is a vector
//! whose length tells how much of it has ever been written: appending goes on from there, without clearing. Only who
//! needs room to write into (a read from a socket, a reservation) has the rest cleared, once: a block that comes from
//! the pool still holds old bytes, which nothing can see because a chunk only shows what was written into it.
//!
//! A thread keeps at most 8 MiB: [`KEEP`] of each class. What is over that goes back to the allocator, as does
//! everything when the thread ends, also blocks that are dropped after the pool itself is gone. Blocks below
//! [`MIN_POOLED`] come from the allocator, which is as fast for them.

use std::cell::RefCell;
use std::mem::{self, ManuallyDrop};

use super::BufferError;

/// The smallest block in bytes.
const MIN_BLOCK: usize = 256;
/// The smallest block that is pooled, in bytes.
const MIN_POOLED: usize = 1 << MIN_SHIFT;
/// The largest block that is pooled, in bytes; a larger one is made to measure.
pub(super) const MAX_POOLED: usize = 1 << MAX_SHIFT;

const MIN_SHIFT: u32 = 11;
const MAX_SHIFT: u32 = 18;
const CLASSES: usize = (MAX_SHIFT - MIN_SHIFT + 1) as usize;
/// How many bytes of a class a thread keeps.
const KEEP: usize = 1 << 20;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::new()) };
}

/// A piece of memory that returns to the dropping thread's pool.
///
/// Its capacity is its size, its length how much of that has been written.
#[derive(Default)]
pub(super) struct Block(Vec<u8>);

impl Block {
    /// A block of at least `size` bytes, of which the caller knows that they are few: an allocator without even that
    /// ends the process, as for every small object.
    // Always inlined, as are the other constructors: a vector that is written to memory field by field and then moved as
    // a whole makes the processor wait for longer than all of this takes.
    #[inline(always)]
    pub(super) fn small(size: usize) -> Self {
        debug_assert!(size <= MAX_POOLED);
        if size < MIN_POOLED {
            return Self(Vec::with_capacity(size.max(MIN_BLOCK).next_power_of_two()));
        }
        let class = class_for(size);
        Self(pooled(class).unwrap_or_else(|| Vec::with_capacity(MIN_POOLED << class)))
    }

    /// A block for as many bytes as `data` has, which are few, that holds them.
    #[inline(always)]
    pub(super) fn small_holding(data: &[u8]) -> Self {
        let mut block = Self::small(data.len());
        block.0.clear();
        block.0.extend_from_slice(data);
        block
    }

    /// A block that holds `data`, which are few bytes, and has little room for more.
    #[inline(always)]
    pub(super) fn fitting(data: &[u8]) -> Self {
        if data.len() < MIN_BLOCK {
            return Self(data.to_vec());
        }
        Self::small_holding(data)
    }

    /// A block of at least `size` bytes, which are few, that ends with `data`. The room before it can be written to.
    #[inline(always)]
    pub(super) fn small_ending_with(data: &[u8], size: usize) -> Self {
        let mut block = Self::small(size);
        let start = block.size() - data.len();
        block.0.resize(start, 0);
        block.0.extend_from_slice(data);
        block
    }

    /// A block of at least `size` bytes.
    pub(super) fn of(size: usize) -> Result<Self, BufferError> {
        if size <= MAX_POOLED {
            return Ok(Self::small(size));
        }
        Ok(Self(reserved(size)?))
    }

    /// A block of at least `size` bytes, all of them written, as far as that is worth it.
    #[inline]
    pub(super) fn cleared(size: usize) -> Result<Self, BufferError> {
        if size <= MAX_POOLED {
            Ok(Self::small_cleared(size))
        } else {
            Self::large_cleared(size)
        }
    }

    #[cold]
    fn large_cleared(size: usize) -> Result<Self, BufferError> {
        // Asked for and given back, so that a hopeless size is an error while the real request may still get memory
        // that the system clears lazily.
        drop(reserved(size)?);
        Ok(Self(vec![0; size]))
    }

    /// As [`small`](Self::small), all bytes written.
    #[inline]
    pub(super) fn small_cleared(size: usize) -> Self {
        debug_assert!(size <= MAX_POOLED);
        if size < MIN_POOLED {
            let mut block = Self::small(size);
            block.clear_to(usize::MAX);
            return block;
        }
        let class = class_for(size);
        match pooled(class) {
            Some(memory) => {
                let mut block = Self(memory);
                block.clear_to(usize::MAX);
                block
            }
            None => Self(vec![0; MIN_POOLED << class]),
        }
    }

    /// The same block (see [`Chunk::moved`](super::chunk::Chunk::moved)).
    #[inline(always)]
    pub(super) fn moved(self) -> Self {
        Self(mem::take(&mut ManuallyDrop::new(self).0))
    }

    /// How many bytes it can hold.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.0.capacity()
    }

    /// The part that has been written.
    #[inline]
    pub(super) fn written(&self) -> &[u8] {
        &self.0
    }

    /// The part that has been written.
    #[inline]
    pub(super) fn written_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Puts `data` at `at`, up to where something has been written already; both together are within the size.
    #[inline]
    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        debug_assert!(at <= self.0.len() && data.len() <= self.0.capacity() - at);
        let old = self.0.len() - at;
        if old == 0 {
            self.0.extend_from_slice(data);
        } else if data.len() <= old {
            self.0[at..at + data.len()].copy_from_slice(data);
        } else {
            self.0[at..].copy_from_slice(&data[..old]);
            self.0.extend_from_slice(&data[old..]);
        }
    }

    /// Makes the first `n` bytes, or all if there are fewer, ones that have been written.
    #[inline]
    pub(super) fn clear_to(&mut self, n: usize) {
        let n = n.min(self.0.capacity());
        if self.0.len() < n {
            self.0.resize(n, 0);
        }
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        if self.0.capacity() >= MIN_POOLED {
            keep(mem::take(&mut self.0));
        }
    }
}

struct Pool {
    free: [Vec<Vec<u8>>; CLASSES],
}

impl Pool {
    const fn new() -> Self {
        Self {
            free: [const { Vec::new() }; CLASSES],
        }
    }
}

#[inline(always)]
fn pooled(class: usize) -> Option<Vec<u8>> {
    let pooled = POOL.try_with(|pool| pool.borrow_mut().free.get_mut(class).and_then(Vec::pop));
    // A thread that is ending has no pool any more.
    pooled.ok().flatten()
}

#[inline(always)]
fn keep(memory: Vec<u8>) {
    let Some(class) = class_of(memory.capacity()) else {
        return;
    };
    // A thread that is ending has no pool any more: the memory then goes straight to the allocator.
    let _gone = POOL.try_with(move |pool| {
        let free = &mut pool.borrow_mut().free[class];
        if free.len() < KEEP >> (class as u32 + MIN_SHIFT) {
            free.push(memory);
        }
    });
}

/// The class whose blocks hold `size` bytes, of those that are pooled.
#[inline]
fn class_for(size: usize) -> usize {
    (size.max(MIN_POOLED).next_power_of_two().trailing_zeros() - MIN_SHIFT) as usize
}

/// The class that memory of exactly `size` bytes belongs to, if any.
#[inline]
fn class_of(size: usize) -> Option<usize> {
    let fits = size.is_power_of_two() && (MIN_POOLED..=MAX_POOLED).contains(&size);
    fits.then(|| (size.trailing_zeros() - MIN_SHIFT) as usize)
}

fn reserved(size: usize) -> Result<Vec<u8>, BufferError> {
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(size)
        .map_err(|_| BufferError::NoMemory)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_block_is_the_next_one_taken() {
        let block = Block::small(3000);
        assert_eq!(block.size(), 4096);
        let at = block.written().as_ptr();
        drop(block);
        assert_eq!(Block::small(4096).written().as_ptr(), at);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        for size in [MIN_POOLED, MAX_POOLED] {
            let too_many = KEEP / size + 3;
            let blocks: Vec<_> = (0..too_many).map(|_| Block::small(size)).collect();
            drop(blocks);
        }
        POOL.with(|pool| {
            let pool = pool.borrow();
            assert_eq!(pool.free[0].len(), KEEP / MIN_POOLED);
            assert_eq!(pool.free[CLASSES - 1].len(), KEEP / MAX_POOLED);
        });
    }

    #[test]
    fn a_block_may_outlive_its_threads_pool() {
        thread_local! { static LATE: RefCell<Option<Block>> = const { RefCell::new(None) }; }
        let thread = std::thread::spawn(|| {
            LATE.with(|late| *late.borrow_mut() = Some(Block::small(4096)));
            drop(Block::small(4096));
        });
        assert!(thread.join().is_ok());
    }

    #[test]
    fn a_hopeless_size_is_an_error() {
        for hopeless in [Block::of, Block::cleared] {
            assert!(matches!(
                hopeless(usize::MAX / 2),
                Err(BufferError::NoMemory)
            ));
        }
    }

    #[test]
    fn odd_sizes_are_not_pooled() {
        assert_eq!(class_of(0), None);
        assert_eq!(class_of(1024), None);
        assert_eq!(class_of(2049), None);
        assert_eq!(class_of(2048), Some(0));
        assert_eq!(class_of(MAX_POOLED), Some(CLASSES - 1));
        assert_eq!(class_of(MAX_POOLED * 2), None);
        assert_eq!(class_for(0), 0);
        assert_eq!(class_for(2049), 1);
    }

    #[test]
    fn writing_goes_over_old_bytes_and_on() {
        let mut block = Block::small(MIN_BLOCK);
        block.write(0, b"0123456789");
        block.write(2, b"ab");
        block.write(9, b"xyz");
        assert_eq!(block.written(), b"01ab45678xyz");
        block.clear_to(14);
        assert_eq!(block.written(), b"01ab45678xyz\0\0");
        block.clear_to(usize::MAX);
        assert_eq!(block.written().len(), block.size());
    }
}
