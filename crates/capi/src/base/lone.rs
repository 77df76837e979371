//! A base without locks whose loop runs in one thread while another uses it: noticed, and refused.
//!
//! In libevent this ends, sooner or later, in a list that goes in a circle or in an assertion (its issues 309, 1066, 1127
//! and 1761).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{event_base, this_thread};
use crate::log;

/// Which thread loops. It is read by threads that must not look at the base itself.
#[derive(Default)]
pub(super) struct Lone {
    /// Or [`NO_THREAD`].
    looper: AtomicU64,
    /// The log has its line.
    told: AtomicBool,
}

/// No thread is called that on Linux.
pub(super) const NO_THREAD: libc::pthread_t = 0;

impl event_base {
    /// This thread runs the loop from now on, or [none](NO_THREAD) does.
    ///
    /// # Safety
    /// `this` is live.
    pub(super) unsafe fn note_looper(this: *mut Self, thread: libc::pthread_t) {
        // SAFETY: by this function's contract.
        unsafe { (*this).lone.looper.store(thread, Ordering::Relaxed) };
    }

    /// Whether the loop of a base without locks runs in another thread.
    ///
    /// # Safety
    /// `this` is a base, freed or not.
    #[inline]
    pub(crate) unsafe fn is_elsewhere(this: *mut Self) -> bool {
        // SAFETY: by this function's contract.
        let base = unsafe { &*this };
        if base.leaf.is_some() {
            return false;
        }
        let looper = base.lone.looper.load(Ordering::Relaxed);
        looper != NO_THREAD && looper != this_thread()
    }

    /// As [`is_elsewhere`](Self::is_elsewhere). The first time there is a line in the log.
    ///
    /// # Safety
    /// `this` is a base, freed or not.
    #[inline]
    pub(crate) unsafe fn refuses(this: *mut Self, function: &'static str) -> bool {
        // SAFETY: by this function's contract.
        unsafe { Self::is_elsewhere(this) && Self::refuse(this, function) }
    }

    #[cold]
    #[inline(never)]
    unsafe fn refuse(this: *mut Self, function: &'static str) -> bool {
        // SAFETY: the caller's `this` is a base, freed or not.
        let base = unsafe { &*this };
        if !base.lone.told.swap(true, Ordering::Relaxed) {
            log::warn(&format!(
                "{function}: the loop of this event_base runs in another thread, and it has no locks: call \
                 evthread_use_pthreads() before it is made"
            ));
        }
        true
    }
}
