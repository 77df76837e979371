//! The events of a base that are there for `event_new`.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use ferrevent_core::{BLOCK, Place};

use super::{Address, Inner, event_base};
use crate::abi::event;
use crate::event::{Block, Owners, is_free, mark_free, owners, was_given};
use crate::lock::Leaf;

/// A base's blocks, and which of their events are free.
#[derive(Default)]
pub(super) struct Stock {
    /// By number.
    blocks: Vec<Shelf>,
    /// The numbers of those that have free events.
    open: Vec<u32>,
    /// The numbers that have no block any more.
    vacant: Vec<u32>,
    /// Of how many blocks no event is in use.
    spares: u32,
}

/// A block of a base.
struct Shelf {
    /// `None` if it has been given back.
    block: Option<Block>,
    /// Which of its events are in use, by bits.
    in_use: u64,
    /// Where in [`Stock::open`] it is.
    open_at: u32,
    /// The event for which it was made has nothing but a timeout, if anything.
    timers: bool,
}

const _: () = assert!(BLOCK == u64::BITS);

impl Stock {
    /// A free event, if there is one.
    #[inline]
    fn take(&mut self) -> Option<(*mut event, Place)> {
        let number = *self.open.last()?;
        let shelf = self.blocks.get_mut(number as usize)?;
        let block = shelf.block?;
        let position = shelf.in_use.trailing_ones();
        let place = Place::new(number, position)?;
        if shelf.in_use == 0 {
            self.spares -= 1;
        }
        shelf.in_use |= 1 << position;
        if shelf.in_use == u64::MAX {
            self.open.pop();
        }
        Some((block.event(position), place))
    }

    /// Takes a block in. `None` if there are too many.
    fn add(&mut self, block: Block, timers: bool) -> Option<u32> {
        let shelf = Shelf {
            block: Some(block),
            in_use: 0,
            open_at: self.open.len() as u32,
            timers,
        };
        let number = match self.vacant.pop() {
            Some(number) => number,
            None => self.blocks.len() as u32,
        };
        Place::new(number, 0)?;
        match self.blocks.get_mut(number as usize) {
            Some(former) => *former = shelf,
            None => self.blocks.push(shelf),
        }
        self.open.push(number);
        self.spares += 1;
        Some(number)
    }

    fn is_in_use(&self, place: Place) -> bool {
        let shelf = self.blocks.get(place.block() as usize);
        shelf.is_some_and(|shelf| shelf.in_use & 1 << place.position() != 0)
    }

    /// An event is free. Returns its block if that is to be given back, for which it has been taken out, and whether it
    /// was for timers.
    #[inline]
    fn put_back(&mut self, place: Place) -> Option<(Block, bool)> {
        let number = place.block();
        let shelf = self.blocks.get_mut(number as usize)?;
        let before = shelf.in_use;
        shelf.in_use &= !(1 << place.position());
        if before == u64::MAX {
            shelf.open_at = self.open.len() as u32;
            self.open.push(number);
        }
        if shelf.in_use > 0 || before == 0 {
            return None;
        }
        self.take_out(number)
    }

    /// No event of the block is in use any more. One in 32 such blocks is kept, so that coming and going costs no memory.
    #[inline]
    fn take_out(&mut self, number: u32) -> Option<(Block, bool)> {
        if self.spares as usize <= self.blocks.len() / 32 {
            self.spares += 1;
            return None;
        }
        let shelf = &mut self.blocks[number as usize];
        let open_at = shelf.open_at as usize;
        let (block, timers) = (shelf.block.take()?, shelf.timers);
        self.open.swap_remove(open_at);
        if let Some(&moved) = self.open.get(open_at) {
            self.blocks[moved as usize].open_at = open_at as u32;
        }
        self.vacant.push(number);
        Some((block, timers))
    }
}

/// Events that were freed where the base could not be touched: its loop runs in another thread, and it has no lock.
#[derive(Default)]
pub(super) struct Returned(AtomicPtr<event>);

impl Returned {
    /// # Safety
    /// `ev` is in a block of the base, and not used any more.
    unsafe fn push(&self, ev: *mut event) {
        let mut first = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: by this function's contract it is ours.
            unsafe { (*ev).next_returned = first };
            let swapped =
                self.0
                    .compare_exchange_weak(first, ev, Ordering::Release, Ordering::Relaxed);
            match swapped {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    #[inline]
    fn take(&self) -> *mut event {
        if self.0.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        self.0.swap(ptr::null_mut(), Ordering::Acquire)
    }
}

impl Inner {
    /// Whether `ev` is the event in this place.
    #[inline]
    pub(crate) fn has_in(&self, place: Place, ev: *mut event) -> bool {
        self.core.event_in(place) == Some(Address(ev))
    }

    /// The event in a place is neither pending nor active any more. Returns whether it was. The program may have written to
    /// one that was idle: then it may hold what the core has written to another one, which counts for nothing.
    ///
    /// # Safety
    /// `ev` [is in this place](Self::has_in).
    #[inline]
    unsafe fn leave(&mut self, place: Place, ev: *mut event) -> bool {
        let Some(key) = self.core.key_in(place) else {
            return false;
        };
        // SAFETY: an event in a block can be read.
        if !unsafe { was_given(ev, place, key) } {
            self.core.reset_place(place);
            return false;
        }
        let was_added = self.core.del_event(key);
        self.settle();
        was_added
    }

    /// Takes an event back, which may be pending. Returns its block if that is to be given back.
    ///
    /// # Safety
    /// It [is in this place](Self::has_in), and not used any more.
    #[inline]
    pub(crate) unsafe fn put_back(&mut self, place: Place, ev: *mut event) -> Option<Block> {
        // SAFETY: by this function's contract.
        unsafe {
            self.leave(place, ev);
            mark_free(ev);
        }
        let (block, timers) = self.stock.put_back(place)?;
        self.core.put_block(place.block(), None, timers);
        Some(block)
    }
}

impl event_base {
    /// An event for `event_new`, with its place, and the priority that it is to have. NULL if there is no memory. `timer`:
    /// it will wait for nothing but a timeout.
    ///
    /// # Safety
    /// `this` is live.
    #[inline]
    pub(crate) unsafe fn take_event(this: *mut Self, timer: bool) -> (*mut event, u32, u8) {
        // SAFETY: by this function's contract; no user code runs in the closure.
        unsafe {
            let returned = (*this).returned.take();
            if !returned.is_null() {
                take_back(returned);
            }
            let (taken, priority) = Self::with(this, |inner| {
                (inner.stock.take(), inner.core.default_priority())
            });
            match taken.or_else(|| Self::take_from_new_block(this, timer)) {
                Some((ev, place)) => (ev, place.number(), priority),
                None => (ptr::null_mut(), 0, priority),
            }
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn take_from_new_block(this: *mut Self, timer: bool) -> Option<(*mut event, Place)> {
        let mut owners = owners();
        let block = owners.allocate()?;
        // SAFETY: the caller's `this` is live; no user code runs in the closure.
        let taken = unsafe {
            Self::try_with_quietly(this, |inner| {
                let number = inner.stock.add(block, timer)?;
                inner.core.put_block(number, Some(block), timer);
                Some((number, inner.stock.take()))
            })
        };
        match taken.flatten() {
            Some((number, taken)) => {
                owners.insert(block, this, number);
                taken
            }
            None => {
                // SAFETY: nobody knows of it.
                unsafe { owners.discard(block) };
                None
            }
        }
    }

    /// An event is freed whose base cannot be touched now: it is taken back with the next `event_new`.
    ///
    /// # Safety
    /// `this` is live, `ev` in one of its blocks and not used any more.
    pub(crate) unsafe fn return_event(this: *mut Self, ev: *mut event) {
        // SAFETY: by this function's contract.
        unsafe { (*this).returned.push(ev) };
    }

    /// Takes out what a freed base has in it. Its blocks stay for as long as the program has events in them.
    ///
    /// # Safety
    /// `this` is live, and not used any more.
    pub(super) unsafe fn take_inner(this: *mut Self) -> Option<Inner> {
        // SAFETY: by this function's contract nobody else uses the base; what is left in a block is the program's.
        unsafe {
            take_back((*this).returned.take());
            let mut owners = owners();
            let held = (*this).leaf.as_ref().map(Leaf::hold);
            Self::obstruct(this);
            let mut inner = (*(*this).inner.get()).take()?;
            drop(held);
            for (number, shelf) in (0..).zip(std::mem::take(&mut inner.stock.blocks)) {
                if let Some(block) = shelf.block {
                    inner.core.put_block(number, None, shelf.timers);
                    owners.orphan(block, shelf.in_use);
                }
            }
            Some(inner)
        }
    }
}

/// Takes events back that other threads have freed.
#[cold]
#[inline(never)]
unsafe fn take_back(mut ev: *mut event) {
    while !ev.is_null() {
        // SAFETY: `return_event` has put them there, each of which names the next one.
        unsafe {
            let next = (*ev).next_returned;
            give_back_found(&mut owners(), ev);
            ev = next;
        }
    }
}

/// Gives an event back to where it came from. Returns false if it is in no block.
///
/// # Safety
/// It is not used any more.
pub(crate) unsafe fn give_back_found(owners: &mut Owners, ev: *mut event) -> bool {
    let Some(found) = owners.find(ev) else {
        return false;
    };
    // SAFETY: by this function's contract. While the list of owners is held, the base is not freed.
    unsafe {
        if found.base.is_null() {
            mark_free(ev);
            owners.free_orphan(found.block, found.place.position());
            return true;
        }
        if event_base::is_elsewhere(found.base) {
            mark_free(ev);
            event_base::return_event(found.base, ev);
            return true;
        }
        let gone =
            event_base::try_with_quietly(found.base, |inner| inner.put_back(found.place, ev));
        if let Some(block) = gone.flatten() {
            owners.release(block);
        }
    }
    true
}

/// What was found out of an event that is about to be initialised anew.
pub(crate) struct Renewed {
    /// The number of its place; 0 if it is in no block.
    pub(crate) place: u32,
    /// It is in a block, and free.
    pub(crate) is_free: bool,
    /// It was pending or active, and has been deleted.
    pub(crate) was_added: bool,
}

/// Prepares an event for being initialised anew.
///
/// # Safety
/// `ev` can be read.
#[cold]
#[inline(never)]
pub(crate) unsafe fn renew(ev: *mut event) -> Renewed {
    let owners = owners();
    let mut renewed = Renewed {
        place: 0,
        is_free: false,
        was_added: false,
    };
    let Some(found) = owners.find(ev) else {
        return renewed;
    };
    renewed.place = found.place.number();
    // SAFETY: while the list of owners is held, the base is not freed; no user code runs in the closure.
    unsafe {
        if found.base.is_null() {
            renewed.is_free = !found.is_orphan_in_use;
        } else if event_base::is_elsewhere(found.base) {
            renewed.is_free = is_free(ev);
        } else {
            event_base::try_with_quietly(found.base, |inner| {
                renewed.is_free = !inner.stock.is_in_use(found.place);
                renewed.was_added = inner.leave(found.place, ev);
            });
        }
    }
    renewed
}
