//! Which event's callback runs, and threads that wait until it has returned.

use std::ptr;

use super::{Inner, event_base, this_thread};
use crate::abi::event;

/// Waits until a callback that runs in another thread has returned.
///
/// # Safety
/// `base` is live, or was once; its lock is not held by this thread.
pub(crate) unsafe fn wait_for_callback(base: *mut event_base, ev: *mut event) {
    // SAFETY: by this function's contract.
    let Some(leaf) = (unsafe { (*base).leaf.as_ref() }) else {
        return;
    };
    let mut held = leaf.hold();
    loop {
        // SAFETY: the lock is held; the reference ends before it is given up.
        let Some(inner) = (unsafe { &mut *(*base).inner.get() }) else {
            return;
        };
        if inner.running != ev || inner.looper == Some(this_thread()) {
            return;
        }
        inner.waiters += 1;
        held.wait();
        // SAFETY: the lock is held again.
        if let Some(inner) = unsafe { &mut *(*base).inner.get() } {
            inner.waiters -= 1;
        }
    }
}

impl Inner {
    /// The event is deleted, perhaps by its own callback.
    pub(crate) fn cancel_calls(&mut self, ev: *mut event) {
        self.calls_cancelled |= ptr::eq(self.running, ev);
    }

    /// The callback that ran has returned: whoever waits for that goes on.
    pub(super) fn finish_running(&mut self, base: *mut event_base) {
        self.running = ptr::null_mut();
        if self.waiters > 0 {
            // SAFETY: the base is live, since its loop runs.
            if let Some(leaf) = unsafe { (*base).leaf.as_ref() } {
                leaf.notify();
            }
        }
    }
}
