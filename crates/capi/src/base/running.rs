//! Which event's callback runs, and threads that wait until it has returned.

use std::cell::UnsafeCell;

use ferrevent_threads::{Monitor, Turns, wait_until_returned};

use super::{Inner, event_base, this_thread};
use crate::abi::event;
use crate::lock::{Leaf, LeafHeld};

/// Waits until a callback that runs in another thread has returned.
///
/// # Safety
/// `base` is live, or was once; its lock is not held by this thread.
pub(crate) unsafe fn wait_for_callback(base: *mut event_base, ev: *mut event) {
    // SAFETY: by this function's contract.
    if let Some(shared) = unsafe { Shared::of(base) } {
        wait_until_returned(&shared, ev, this_thread());
    }
}

/// A base that several threads may use, with its lock.
pub(super) struct Shared<'a> {
    leaf: &'a Leaf,
    inner: &'a UnsafeCell<Option<Inner>>,
}

/// Holds the lock.
pub(super) struct Held<'a> {
    leaf: LeafHeld<'a>,
    inner: &'a UnsafeCell<Option<Inner>>,
}

impl Shared<'_> {
    /// `None` if only one thread may use it.
    ///
    /// # Safety
    /// `base` is live, or was once, and stays so for as long as the result is used.
    pub(super) unsafe fn of<'a>(base: *mut event_base) -> Option<Shared<'a>> {
        // SAFETY: the memory of a base stays one, and its lock does not change while it is in use.
        unsafe {
            Some(Shared {
                leaf: (*base).leaf.as_ref()?,
                inner: &(*base).inner,
            })
        }
    }
}

impl Monitor for Shared<'_> {
    type Event = *mut event;
    type Thread = libc::pthread_t;
    type Held<'a>
        = Held<'a>
    where
        Self: 'a;
    type Guarded = Inner;

    fn hold(&self) -> Held<'_> {
        Held {
            leaf: self.leaf.hold(),
            inner: self.inner,
        }
    }

    fn guarded<'h>(held: &'h mut Held<'_>) -> Option<&'h mut Inner> {
        // SAFETY: the lock is held for as long as `held` lives, and one result borrows it at a time.
        unsafe { (*held.inner.get()).as_mut() }
    }

    fn turns(inner: &mut Inner) -> &mut Turns<*mut event, libc::pthread_t> {
        &mut inner.turns
    }

    fn wait<'a>(&'a self, mut held: Held<'a>) -> Held<'a> {
        held.leaf.wait();
        held
    }

    fn notify(&self) {
        self.leaf.notify();
    }
}

impl Inner {
    /// The event is deleted, perhaps by its own callback.
    pub(crate) fn cancel_calls(&mut self, ev: *mut event) {
        if self.turns.running() == Some(ev) {
            self.calls_cancelled = true;
        }
    }

    /// Whether the event's callback runs in another thread: whoever frees the event waits for that.
    #[inline]
    pub(crate) fn runs_elsewhere(&self, ev: *mut event) -> bool {
        self.turns.running() == Some(ev) && self.turns.runs_elsewhere(ev, this_thread())
    }

    /// The callback that ran has returned: whoever waits for that goes on.
    pub(super) fn finish_running(&mut self, base: *mut event_base) {
        if !self.turns.end_callback() {
            return;
        }
        // SAFETY: the base is live, since its loop runs.
        if let Some(shared) = unsafe { Shared::of(base) } {
            shared.notify();
        }
    }
}
