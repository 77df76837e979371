//! Memory in large pages, for the blocks of programs with very many events.
//!
//! With a million events, most operations find theirs in no cache, and with pages of 4 KiB the processor does not know either
//! where the page is. That takes it as long again.

use std::collections::BTreeMap;
use std::ptr::NonNull;

use super::block::BLOCK_SIZE;
use crate::large::{LARGE_PAGE, map, unmap};

/// How many blocks there must be before others come from a slab: what the last slab has unused is then little beside them.
const ENOUGH: usize = 1024;

/// How many blocks a slab has.
const BLOCKS: usize = LARGE_PAGE / BLOCK_SIZE;

const WORDS: usize = BLOCKS.div_ceil(u64::BITS as usize);

/// By their addresses: which of its blocks are in use, by bits.
pub(super) struct Slabs(BTreeMap<usize, [u64; WORDS]>);

impl Slabs {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Memory for one more block, where there are `known` of them. `None` if it does not come from here.
    pub(super) fn take(&mut self, known: usize) -> Option<NonNull<u8>> {
        if known < ENOUGH {
            return None;
        }
        let open = self.0.iter_mut().find(|(_, used)| **used != FULL);
        let (address, used) = match open {
            Some((address, used)) => (*address, used),
            None => {
                let address = NonNull::new(map(LARGE_PAGE))?.as_ptr().expose_provenance();
                (address, self.0.entry(address).or_insert([0; WORDS]))
            }
        };
        let index = used.iter().zip(0..).find_map(|(word, n)| {
            let free = word.trailing_ones();
            (free < u64::BITS).then_some(n * u64::BITS as usize + free as usize)
        })?;
        used[index / 64] |= 1 << (index % 64);
        NonNull::new(std::ptr::with_exposed_provenance_mut(
            address + index * BLOCK_SIZE,
        ))
    }

    /// Takes a block's memory back. Returns whether it came from here.
    ///
    /// # Safety
    /// Nobody uses it any more.
    pub(super) unsafe fn put_back(&mut self, block: usize) -> bool {
        let address = block & !(LARGE_PAGE - 1);
        let Some(used) = self.0.get_mut(&address) else {
            return false;
        };
        let index = (block - address) / BLOCK_SIZE;
        used[index / 64] &= !(1 << (index % 64));
        if *used == [0; WORDS] {
            self.0.remove(&address);
            // SAFETY: `take` has mapped it, and none of its blocks is in use.
            unsafe { unmap(std::ptr::with_exposed_provenance_mut(address), LARGE_PAGE) };
        }
        true
    }
}

/// All blocks are in use.
const FULL: [u64; WORDS] = [u64::MAX; WORDS];

const _: () = assert!(BLOCKS.is_multiple_of(u64::BITS as usize));

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn blocks_do_not_overlap_and_are_used_again() {
        let mut slabs = Slabs::new();
        assert!(slabs.take(ENOUGH - 1).is_none(), "few have no slab");
        let blocks: Vec<usize> = (0..2 * BLOCKS)
            .map(|_| slabs.take(ENOUGH).unwrap().addr().get())
            .collect();
        assert_eq!(slabs.0.len(), 2);
        assert!(blocks.iter().all(|block| block.is_multiple_of(BLOCK_SIZE)));
        assert_eq!(blocks.iter().collect::<HashSet<_>>().len(), blocks.len());
        // SAFETY: nobody uses them.
        unsafe {
            assert!(!slabs.put_back(LARGE_PAGE), "of somewhere else");
            assert!(slabs.put_back(blocks[7]));
            assert_eq!(slabs.take(ENOUGH).unwrap().addr().get(), blocks[7]);
            for block in blocks {
                assert!(slabs.put_back(block));
            }
        }
        assert!(slabs.0.is_empty(), "what is not used goes back");
    }
}
