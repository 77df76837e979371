//! Which base the blocks of events belong to: asked where an event does not tell the truth. It may have been moved to
//! another base, or have been initialised anew; its base may have been freed before it, and its memory may be another
//! base's by now.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferrevent_core::Place;

use super::block::{BLOCK_SIZE, Block};
use super::slab::Slabs;
use crate::abi::event;
use crate::base::event_base;

/// Whose a block is.
pub(crate) struct Owner {
    block: Block,
    /// NULL once the base has been freed.
    base: *mut event_base,
    /// The block's number in its base.
    number: u32,
    /// Which of its events are in use, by bits, once the base has been freed.
    in_use: u64,
}

// SAFETY: what a block and a base have in them is used by their own rules.
unsafe impl Send for Owner {}

/// Where an event is.
pub(crate) struct Found {
    pub(crate) block: Block,
    /// NULL if it has been freed.
    pub(crate) base: *mut event_base,
    /// If its base has been freed: whether it is in use.
    pub(crate) is_orphan_in_use: bool,
    pub(crate) place: Place,
}

/// By the addresses of the blocks. While it is held, a base's lock may be taken, but not the other way round.
pub(crate) struct Owners {
    list: BTreeMap<usize, Owner>,
    slabs: Slabs,
}

static OWNERS: Mutex<Owners> = Mutex::new(Owners {
    list: BTreeMap::new(),
    slabs: Slabs::new(),
});

pub(crate) fn owners() -> MutexGuard<'static, Owners> {
    OWNERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Owners {
    /// Memory for a block; `None` if there is none.
    pub(crate) fn allocate(&mut self) -> Option<Block> {
        Block::allocate(&mut self.slabs, self.list.len())
    }

    /// Gives memory back that no base has got.
    ///
    /// # Safety
    /// Nobody uses it.
    pub(crate) unsafe fn discard(&mut self, block: Block) {
        // SAFETY: by this function's contract.
        unsafe { block.release(&mut self.slabs) };
    }

    pub(crate) fn insert(&mut self, block: Block, base: *mut event_base, number: u32) {
        let owner = Owner {
            block,
            base,
            number,
            in_use: 0,
        };
        self.list.insert(block.address(), owner);
        for pages in pages_of(block) {
            pages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A block is not used by its base any more: its memory goes.
    ///
    /// # Safety
    /// Nobody uses the block or one of its events.
    pub(crate) unsafe fn release(&mut self, block: Block) {
        self.list.remove(&block.address());
        for pages in pages_of(block) {
            pages.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: by this function's contract.
        unsafe { block.release(&mut self.slabs) };
    }

    /// The base of a block is freed, of whose events those in `in_use` are still the program's.
    ///
    /// # Safety
    /// Nobody uses the others.
    pub(crate) unsafe fn orphan(&mut self, block: Block, in_use: u64) {
        if in_use == 0 {
            // SAFETY: by this function's contract.
            return unsafe { self.release(block) };
        }
        if let Some(owner) = self.list.get_mut(&block.address()) {
            owner.base = ptr::null_mut();
            owner.in_use = in_use;
        }
    }

    /// Where an event is, if it is in a block.
    pub(crate) fn find(&self, ev: *const event) -> Option<Found> {
        let owner = self.list.range(..=ev.addr()).next_back()?.1;
        let position = owner.block.position(ev.addr())?;
        Some(Found {
            block: owner.block,
            base: owner.base,
            is_orphan_in_use: owner.in_use & 1 << position != 0,
            place: Place::new(owner.number, position)?,
        })
    }

    /// An event of a block whose base has been freed is freed. The last one takes the block with it.
    ///
    /// # Safety
    /// Nobody uses the event any more.
    pub(crate) unsafe fn free_orphan(&mut self, block: Block, position: u32) {
        let Some(owner) = self.list.get_mut(&block.address()) else {
            return;
        };
        owner.in_use &= !(1 << position);
        if owner.in_use == 0 {
            // SAFETY: by this function's contract, for the last of them and for all before.
            unsafe { self.release(block) };
        }
    }
}

/// How many blocks have a part in the pages whose numbers come out alike: so most memory is known to be in none without
/// the list, which all threads share.
static PAGES: [AtomicU16; 1 << PAGES_BITS] = [const { AtomicU16::new(0) }; 1 << PAGES_BITS];

const PAGES_BITS: u32 = 15;

fn pages_at(address: usize) -> &'static AtomicU16 {
    let mixed = (address / BLOCK_SIZE).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &PAGES[mixed >> (usize::BITS - PAGES_BITS)]
}

fn pages_of(block: Block) -> [&'static AtomicU16; 2] {
    [block.address(), block.address() + BLOCK_SIZE - 1].map(pages_at)
}

/// Whether it is worth asking the list. It is if the event is in a block.
#[inline]
pub(crate) fn may_be_in_block(ev: *const event) -> bool {
    pages_at(ev.addr()).load(Ordering::Relaxed) > 0
}
