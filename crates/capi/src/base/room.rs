//! Room in a base's tables for the events that `event_new` has made.
//!
//! libevent keeps what it knows of an event in the `struct event`, so that adding one needs no memory. Here it needs a slot,
//! and what belongs to a timer: that memory is fetched when the events are made, and not in the middle of a callback.

use std::sync::atomic::{AtomicUsize, Ordering};

use ferrevent_core::What;

use super::{Address, event_base};
use crate::abi::event;

/// How many there are, and for how many there is room. Only a base without a lock, which one thread uses, counts: with
/// one, all events would share two counters, and `event_add` fetches its memory itself, as it does for other events.
#[derive(Default)]
pub(super) struct Room {
    timers: Kind,
    others: Kind,
}

#[derive(Default)]
struct Kind {
    made: AtomicUsize,
    room: AtomicUsize,
}

impl Room {
    /// # Safety
    /// `ev` is initialised.
    #[inline]
    unsafe fn kind(&self, ev: *const event) -> &Kind {
        // SAFETY: by this function's contract.
        let (fd, what) = unsafe { ((*ev).ev_fd, (*ev).ev_events as u16) };
        if fd < 0 && what & What::SIGNAL.bits() == 0 {
            &self.timers
        } else {
            &self.others
        }
    }
}

impl event_base {
    /// `event_new` has made an event.
    ///
    /// # Safety
    /// `this` is a base, freed or not; `ev` is initialised.
    #[inline]
    pub(crate) unsafe fn count_made(this: *mut Self, ev: *const event) {
        // SAFETY: the memory of a base stays one, and whether it has a lock does not change.
        unsafe {
            if (*this).leaf.is_some() {
                return;
            }
            let kind = (*this).room.kind(ev);
            let made = kind.made.load(Ordering::Relaxed) + 1;
            kind.made.store(made, Ordering::Relaxed);
            if made > kind.room.load(Ordering::Relaxed) {
                kind.room.store(more_than(made), Ordering::Relaxed);
                Self::make_room(this);
            }
        }
    }

    /// An event of `event_new` is about to be freed.
    ///
    /// # Safety
    /// As [`count_made`](Self::count_made).
    #[inline]
    pub(crate) unsafe fn count_freed(this: *mut Self, ev: *const event) {
        // SAFETY: as above.
        unsafe {
            if (*this).leaf.is_some() {
                return;
            }
            let made = &(*this).room.kind(ev).made;
            let left = made.load(Ordering::Relaxed).saturating_sub(1);
            made.store(left, Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn make_room(this: *mut Self) {
        // SAFETY: the caller's `this` is a base; no user code runs.
        unsafe {
            let room = &(*this).room;
            let timers = room.timers.room.load(Ordering::Relaxed);
            let others = room.others.room.load(Ordering::Relaxed);
            Self::try_with(this, |inner| {
                let nobody = Address(std::ptr::null_mut());
                inner.core.make_room(timers + others, timers, nobody);
            });
        }
    }
}

/// For few, the double; for many, a quarter more.
fn more_than(made: usize) -> usize {
    made + (made / 4).max(made.min(1024))
}
