//! The memory of the events that [`event_new`](super::event_new) makes: blocks, each of which belongs to a base.
//!
//! What the core knows of such an event stands in the event itself, in the bytes that libevent uses for its lists. So an
//! operation on it touches one place in memory, there is nothing to fetch when it is added, and what has been freed stays
//! an event: freeing it again is noticed. The memory of other events is the program's. It may go, or be written to, while
//! the event is pending; so the core keeps nothing there.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use ferrevent_core::{BLOCK, Clock, Place, Places, Slot};

use super::Mark;
use super::slab::Slabs;
use crate::abi::event;

/// Memory for [`BLOCK`] events. It stays until [`release`](Self::release), whoever else forgets it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Block(NonNull<event>);

/// Bytes. An event fills two lines of memory then, and not parts of three.
const ALIGNMENT: usize = 64;

pub(crate) const BLOCK_SIZE: usize = BLOCK as usize * size_of::<event>();

impl Block {
    /// `None` if there is no memory. There are `known` blocks already.
    pub(super) fn allocate(slabs: &mut Slabs, known: usize) -> Option<Self> {
        let memory = match slabs.take(known) {
            Some(memory) => memory.cast::<event>(),
            None => {
                // SAFETY: the size is a multiple of the alignment, which is a power of two.
                let memory = unsafe { libc::aligned_alloc(ALIGNMENT, BLOCK_SIZE) };
                NonNull::new(memory.cast::<event>())?
            }
        };
        // SAFETY: so much was allocated. Zeros are idle events.
        unsafe { memory.write_bytes(0, BLOCK as usize) };
        Some(Self(memory))
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// Nobody uses it, or one of its events, any more.
    pub(super) unsafe fn release(self, slabs: &mut Slabs) {
        // SAFETY: `allocate` got it from there, or from the C library; the rest is by this function's contract.
        unsafe {
            if !slabs.put_back(self.address()) {
                libc::free(self.0.as_ptr().cast());
            }
        }
    }

    /// The event at a position below [`BLOCK`].
    #[inline]
    pub(crate) fn event(self, position: u32) -> *mut event {
        debug_assert!(position < BLOCK);
        self.0.as_ptr().wrapping_add(position as usize)
    }

    pub(crate) fn address(self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Where in the block an address is, if an event begins there.
    pub(crate) fn position(self, address: usize) -> Option<u32> {
        let offset = address.checked_sub(self.address())?;
        let inside = offset < BLOCK_SIZE && offset.is_multiple_of(size_of::<event>());
        inside.then_some((offset / size_of::<event>()) as u32)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.0, f)
    }
}

/// The `T` of each event in the blocks of one base, for the base's core. A block is given to one base only, which has one
/// of these for each `T`: so nobody else has references to them.
pub(crate) struct InBlocks<T> {
    /// NULL where a block has been taken away.
    blocks: Vec<*mut event>,
    parts: PhantomData<T>,
}

impl<T> InBlocks<T> {
    /// The event with this number.
    #[inline]
    pub(crate) fn event(&self, number: u32) -> Option<*mut event> {
        let block = *self.blocks.get(Place::block_of(number) as usize)?;
        // SAFETY: a block that is here has so many events.
        (!block.is_null()).then(|| unsafe { block.add((number % BLOCK) as usize) })
    }

    fn put(&mut self, number: u32, block: Option<Block>) {
        let number = number as usize;
        if number >= self.blocks.len() {
            self.blocks.resize(number + 1, ptr::null_mut());
        }
        self.blocks[number] = block.map_or(ptr::null_mut(), |block| block.0.as_ptr());
    }

    fn len(&self) -> u32 {
        self.blocks.len() as u32
    }
}

impl InBlocks<Slot> {
    /// The slot and the clock of `ev`, if it is in a block: in that of this number. `clocks` are those of the same base.
    ///
    /// The table of blocks is not asked. A key with the number of a place is only written into an event that the table has at
    /// that place, and goes when the event is idle, before its block can be taken away. In memory that is no part of a block it
    /// could only be as a copy, and then `mark` is one too, which says something else wherever it is copied to.
    ///
    /// # Safety
    /// `ev` is initialised. The number is that of the key in it, which the base of these blocks has given, or that for which
    /// [`event`](Self::event) has just returned it.
    #[inline(always)]
    pub(crate) unsafe fn with_clocks<'a>(
        &'a mut self,
        _clocks: &'a mut InBlocks<Clock>,
        number: u32,
        ev: *mut event,
    ) -> Option<(&'a mut Slot, &'a mut Clock)> {
        // SAFETY: it is initialised. If it is in a block, that stays until it is taken away, and any bytes are a slot, and a clock. A
        // block is of one base, whose only references to slots and to clocks are `self`'s and `clocks`', both borrowed.
        unsafe {
            let head = &(*ev).ev_evcallback;
            let is_there = head.mark == Mark::InBlock.of(ev) && head.place == number;
            is_there.then(|| (&mut (*ev).slot, &mut (*ev).clock))
        }
    }
}

impl<T> Default for InBlocks<T> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            parts: PhantomData,
        }
    }
}

impl<T> fmt::Debug for InBlocks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.blocks).finish()
    }
}

impl Places<Slot> for InBlocks<Slot> {
    type Block = Block;

    fn put(&mut self, number: u32, block: Option<Block>) {
        self.put(number, block);
    }

    #[inline]
    fn get(&self, event: u32) -> Option<&Slot> {
        // SAFETY: the memory is initialised, and stays until the block is taken away. Nobody but this writes to that part
        // of an event, and any bytes are a slot.
        self.event(event).map(|ev| unsafe { &(*ev).slot })
    }

    #[inline]
    fn get_mut(&mut self, event: u32) -> Option<&mut Slot> {
        // SAFETY: as above; and `self` is borrowed.
        self.event(event).map(|ev| unsafe { &mut (*ev).slot })
    }

    fn blocks(&self) -> u32 {
        self.len()
    }
}

impl Places<Clock> for InBlocks<Clock> {
    type Block = Block;

    fn put(&mut self, number: u32, block: Option<Block>) {
        self.put(number, block);
    }

    #[inline]
    fn get(&self, event: u32) -> Option<&Clock> {
        // SAFETY: the memory is initialised, and stays until the block is taken away. Nobody but this writes to that part
        // of an event, and any bytes are a clock.
        self.event(event).map(|ev| unsafe { &(*ev).clock })
    }

    #[inline]
    fn get_mut(&mut self, event: u32) -> Option<&mut Clock> {
        // SAFETY: as above; and `self` is borrowed.
        self.event(event).map(|ev| unsafe { &mut (*ev).clock })
    }

    fn blocks(&self) -> u32 {
        self.len()
    }
}
