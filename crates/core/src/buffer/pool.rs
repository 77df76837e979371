//! Memory for chunks: blocks in powers of two, kept for reuse by each thread.
//!
//! A block is initialised once, when it comes from the allocator; one that comes from the pool still holds old bytes,
//! which nothing can see because a chunk only shows what was written into it. So neither appending nor reading from a
//! socket ever clears memory.
//!
//! A thread keeps at most 2 MiB: [`SMALL_KEEP`] of each class below 4 KiB, [`LARGE_KEEP`] of each other one. What is
//! over that goes back to the allocator, as does everything when the thread ends, also blocks that are dropped after
//! the pool itself is gone.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

use super::BufferError;

/// The smallest block in bytes.
pub(super) const MIN_BLOCK: usize = 1 << MIN_SHIFT;
/// The largest block that is pooled, in bytes; a larger one is made to measure.
pub(super) const MAX_POOLED: usize = 1 << MAX_SHIFT;

const MIN_SHIFT: u32 = 8;
const MAX_SHIFT: u32 = 18;
const CLASSES: usize = (MAX_SHIFT - MIN_SHIFT + 1) as usize;
const SMALL_KEEP: usize = 64 << 10;
const LARGE_KEEP: usize = 256 << 10;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::new()) };
}

/// A piece of memory that returns to the dropping thread's pool.
#[derive(Default)]
pub(super) struct Block(Box<[u8]>);

impl Block {
    /// A block of at least `size` bytes, of which the caller knows that they are few: an allocator without even that
    /// ends the process, as for every small object.
    pub(super) fn small(size: usize) -> Self {
        debug_assert!(size <= MAX_POOLED);
        let class = class_for(size);
        let pooled = POOL
            .try_with(|pool| pool.borrow_mut().free[class].pop())
            .ok()
            .flatten();
        match pooled {
            Some(memory) => Self(memory),
            None => Self(vec![0; MIN_BLOCK << class].into_boxed_slice()),
        }
    }

    /// A block of at least `size` bytes.
    pub(super) fn of(size: usize) -> Result<Self, BufferError> {
        if size <= MAX_POOLED {
            return Ok(Self::small(size));
        }
        // Asked for and given back, so that a hopeless size is an error while the real request may still get memory
        // that the system clears lazily.
        drop(reserved(size)?);
        Ok(Self(vec![0; size].into_boxed_slice()))
    }

    /// A block that holds exactly `data`.
    pub(super) fn copied(data: &[u8]) -> Result<Self, BufferError> {
        let mut memory = reserved(data.len())?;
        memory.extend_from_slice(data);
        Ok(Self(memory.into_boxed_slice()))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = mem::take(&mut self.0);
        let Some(class) = class_of(memory.len()) else {
            return;
        };
        // A thread that is ending has no pool any more: the memory then goes straight to the allocator.
        let _gone = POOL.try_with(move |pool| pool.borrow_mut().keep(class, memory));
    }
}

impl Deref for Block {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Block {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

struct Pool {
    free: [Vec<Box<[u8]>>; CLASSES],
}

impl Pool {
    const fn new() -> Self {
        Self {
            free: [const { Vec::new() }; CLASSES],
        }
    }

    #[inline]
    fn keep(&mut self, class: usize, memory: Box<[u8]>) {
        let size = memory.len();
        let limit = if size < 4096 { SMALL_KEEP } else { LARGE_KEEP };
        let free = &mut self.free[class];
        if free.len() < limit / size {
            free.push(memory);
        }
    }
}

/// The class whose blocks hold `size` bytes.
#[inline]
fn class_for(size: usize) -> usize {
    (size.max(MIN_BLOCK).next_power_of_two().trailing_zeros() - MIN_SHIFT) as usize
}

/// The class that memory of exactly `size` bytes belongs to, if any.
#[inline]
fn class_of(size: usize) -> Option<usize> {
    let fits = size.is_power_of_two() && (MIN_BLOCK..=MAX_POOLED).contains(&size);
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
        assert_eq!(block.len(), 4096);
        let at = block.as_ptr();
        drop(block);
        assert_eq!(Block::small(4096).as_ptr(), at);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let blocks: Vec<_> = (0..600).map(|_| Block::small(MIN_BLOCK)).collect();
        drop(blocks);
        let large: Vec<_> = (0..4).map(|_| Block::small(MAX_POOLED)).collect();
        drop(large);
        POOL.with(|pool| {
            let pool = pool.borrow();
            assert_eq!(pool.free[0].len(), SMALL_KEEP / MIN_BLOCK);
            assert_eq!(pool.free[CLASSES - 1].len(), 1);
        });
    }

    #[test]
    fn a_block_may_outlive_its_threads_pool() {
        thread_local! { static LATE: RefCell<Option<Block>> = const { RefCell::new(None) }; }
        let thread = std::thread::spawn(|| {
            LATE.with(|late| *late.borrow_mut() = Some(Block::small(64)));
            drop(Block::small(64));
        });
        assert!(thread.join().is_ok());
    }

    #[test]
    fn a_hopeless_size_is_an_error() {
        assert!(matches!(
            Block::of(usize::MAX / 2),
            Err(BufferError::NoMemory)
        ));
    }

    #[test]
    fn odd_sizes_are_not_pooled() {
        assert_eq!(class_of(0), None);
        assert_eq!(class_of(128), None);
        assert_eq!(class_of(257), None);
        assert_eq!(class_of(256), Some(0));
        assert_eq!(class_of(MAX_POOLED), Some(CLASSES - 1));
        assert_eq!(class_of(MAX_POOLED * 2), None);
        assert_eq!(class_for(0), 0);
        assert_eq!(class_for(257), 1);
    }
}
