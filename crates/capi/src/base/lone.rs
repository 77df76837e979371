//! A base without locks whose loop runs in one thread while another uses it: noticed, and refused.
//!
//! In libevent this ends, sooner or later, in a list that goes in a circle or in an assertion (its issues 309, 1066, 1127
//! and 1761). What is asked for that is also what [makes calls cheap](event_base::clear).

use std::arch::asm;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use super::{Inner, event_base, this_thread};
use crate::{debug, log};

/// Which thread loops. It is read by threads that must not look at the base itself.
#[derive(Default)]
pub(super) struct Lone {
    /// Or [`NO_THREAD`].
    looper: AtomicU64,
    /// The thread for which nothing stands against a call; or [`NO_THREAD`], or [`ANY_THREAD`].
    clear_for: AtomicU64,
    /// The log has its line.
    told: AtomicBool,
}

/// No thread is called that on Linux.
pub(super) const NO_THREAD: libc::pthread_t = 0;

/// And none this.
const ANY_THREAD: libc::pthread_t = 1;

impl Lone {
    /// Of a base that is just made.
    pub(super) fn new(has_lock: bool) -> Self {
        let clear = !has_lock && !debug::is_on();
        Self {
            clear_for: AtomicU64::new(if clear { ANY_THREAD } else { NO_THREAD }),
            ..Self::default()
        }
    }
}

/// The base that an event is guessed to belong to: the first one without locks whose loop began, until it is freed. It is
/// written to so rarely that it costs other threads nothing.
static EXPECTED: AtomicPtr<event_base> = AtomicPtr::new(ptr::null_mut());

/// From now on it is `next`, if it has been `last`. Who comes second does not matter.
fn expect(last: *mut event_base, next: *mut event_base) {
    let _ = EXPECTED.compare_exchange(last, next, Ordering::Relaxed, Ordering::Relaxed);
}

/// The base that an event says it has, known before the event has said so.
///
/// With very many events, each call waits for the memory of its own. What it then reads and writes in the base would wait too,
/// and so would all that later calls, which the processor has begun meanwhile, do there. Of a guess that is compared with the event's
/// base it has only to find out later that it was right. With 10^6 timers that is a quarter of what it takes to add or delete one.
#[inline(always)]
pub(crate) fn foretold(base: *mut event_base) -> *mut event_base {
    let mut expected = EXPECTED.load(Ordering::Relaxed);
    if base != expected {
        return base;
    }
    // SAFETY: there is no instruction. The compiler does not see any more that it could take the one for the other.
    unsafe {
        asm!("/* {0} */", inout(reg) expected, options(pure, readonly, nostack, preserves_flags));
    }
    expected
}

impl event_base {
    /// This thread runs the loop from now on, or [none](NO_THREAD) does.
    ///
    /// # Safety
    /// `this` is live.
    pub(super) unsafe fn note_looper(this: *mut Self, thread: libc::pthread_t) {
        // SAFETY: by this function's contract.
        let base = unsafe { &*this };
        base.lone.looper.store(thread, Ordering::Relaxed);
        if base.lone.clear_for.load(Ordering::Relaxed) != NO_THREAD {
            if EXPECTED.load(Ordering::Relaxed).is_null() {
                expect(ptr::null_mut(), this);
            }
            let clear_for = if thread == NO_THREAD {
                ANY_THREAD
            } else {
                thread
            };
            base.lone.clear_for.store(clear_for, Ordering::Relaxed);
        }
    }

    /// The core of a base without locks, unless its loop runs in another thread, somebody looks for mistakes, or it has been
    /// freed: what has to be asked before each call, asked at once.
    ///
    /// # Safety
    /// `this` is a base, freed or not. No user code runs while the result is used, and nobody comes back here.
    #[inline(always)]
    pub(crate) unsafe fn clear<'a>(this: *mut Self) -> Option<&'a mut Inner> {
        // SAFETY: the memory of a base stays one.
        let clear_for = unsafe { (*this).lone.clear_for.load(Ordering::Relaxed) };
        // Most calls are made in a loop.
        if clear_for != this_thread() && clear_for != ANY_THREAD {
            return None;
        }
        // SAFETY: it is there until `obstruct` has said that nobody is clear any more. The program promises to use one thread,
        // and by this function's contract nobody else borrows it.
        match unsafe { &mut *(*this).inner.get() } {
            Some(inner) => Some(inner),
            // SAFETY: as above.
            None => unsafe { std::hint::unreachable_unchecked() },
        }
    }

    /// There is no base any more for [`clear`](Self::clear).
    ///
    /// # Safety
    /// `this` is live.
    pub(super) unsafe fn obstruct(this: *mut Self) {
        // SAFETY: by this function's contract.
        unsafe { (*this).lone.clear_for.store(NO_THREAD, Ordering::Relaxed) };
        expect(this, ptr::null_mut());
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
