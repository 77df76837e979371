//! Making bases, freeing them, and the base of the functions that take none.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use ferrevent_core::driver::Driver;
use ferrevent_core::{Core, Step};
use ferrevent_sys::{SignalInbox, monotonic};
use ferrevent_threads::Turns;

use super::lone::Lone;
use super::run::run_step;
use super::stock::{Returned, Stock};
use super::{Inner, Task, event_base};
use crate::config::event_config;
use crate::lock::Leaf;
use crate::{debug, dns, event as events, lock, log};

pub(crate) fn new_base(config: &event_config) -> *mut event_base {
    let Some(driver) = config.open_driver() else {
        log::warn("event_base_new_with_config: no event mechanism available");
        return ptr::null_mut();
    };
    let waker = driver.waker();
    let signals = match SignalInbox::open(waker.clone()) {
        Ok(signals) => signals,
        Err(error) => {
            log::warn(&format!("event_base_new: {error}"));
            return ptr::null_mut();
        }
    };
    let mut core = Core::new(driver.features());
    config.limit(&mut core);
    // libevent refuses the mixture only where it looks for mistakes.
    core.allow_mixed_triggers(!debug::is_on());
    debug::note_use();
    core.set_now(monotonic());
    let leaf = (lock::threads_enabled() && !config.lockless()).then(Leaf::new);
    let inner = Inner {
        core,
        method: config.method_name(&driver),
        features: c_int::from(driver.features().bits()),
        driver: Some(driver),
        waker,
        signals,
        ready: Vec::new(),
        turns: Turns::default(),
        calls_cancelled: false,
        onces: Vec::new(),
        shared_timeouts: Vec::new(),
        wall: None,
        forks: ferrevent_sys::fork_generation(),
        freed: false,
        options: config.driver_options(),
        complaints: Vec::new(),
        stock: Stock::default(),
    };
    retired::take(event_base {
        lone: Lone::new(leaf.is_some()),
        leaf,
        returned: Returned::default(),
        inner: UnsafeCell::new(Some(inner)),
    })
}

/// `event_base_new`
#[unsafe(no_mangle)]
pub extern "C" fn event_base_new() -> *mut event_base {
    new_base(&event_config::default())
}

/// `event_init`: makes the base that the functions without one use.
#[unsafe(no_mangle)]
pub extern "C" fn event_init() -> *mut event_base {
    let base = event_base_new();
    if base.is_null() {
        log::fatal("event_init: unable to construct an event_base");
    }
    CURRENT.store(base, Ordering::Release);
    base
}

/// `event_base_free`
///
/// # Safety
/// `base` is NULL, for the base of [`event_init`], or a base that is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_free(base: *mut event_base) {
    // SAFETY: by this function's contract.
    unsafe { free_base(base, true) }
}

/// `event_base_free_nofinalize`
///
/// # Safety
/// As [`event_base_free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_free_nofinalize(base: *mut event_base) {
    // SAFETY: by this function's contract.
    unsafe { free_base(base, false) }
}

unsafe fn free_base(base: *mut event_base, finalize: bool) {
    let base = if base.is_null() { current() } else { base };
    if base.is_null() {
        log::warn("event_base_free: no base to free");
        return;
    }
    let _ = CURRENT.compare_exchange(base, ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
    // SAFETY: the base is live until `drop_if_unused`; the closures run no user code.
    unsafe {
        let (pending, onces) = event_base::with(base, |inner| {
            let pending: Vec<_> = inner.core.events().collect();
            for (key, _) in &pending {
                inner.core.del_event(*key);
            }
            inner.apply_signals();
            inner.core.end_all_lingering();
            (pending, std::mem::take(&mut inner.onces))
        });
        for (key, address) in pending {
            events::forget(address.0, key);
        }
        for once in onces {
            events::drop_once(once);
        }
        let next = || event_base::with(base, |inner| inner.core.take_final_item());
        while let Some(item) = finalize.then(next).flatten() {
            match item {
                // The program does not expect answers any more.
                Step::Task(Task::Dns(request)) => dns::discard(request.0),
                item => run_step(base, item),
            }
        }
        event_base::with(base, |inner| inner.freed = true);
        drop_if_unused(base);
    }
}

/// Gives a freed base's memory back, once no bufferevent is left that points to it.
///
/// # Safety
/// `base` is live.
pub(crate) unsafe fn drop_if_unused(base: *mut event_base) {
    // SAFETY: by this function's contract; nobody uses a freed base without bufferevents any more.
    unsafe {
        let unused = event_base::with(base, |inner| {
            inner.freed && inner.core.stream_cookies().next().is_none()
        });
        if unused {
            retired::put(base);
        }
    }
}

/// Freed bases. Programs delete and free events whose base has gone, and in a program with threads that must ask the
/// base whether the event's callback runs: so its memory stays a (freed) base, and is used again for new ones only after
/// a good while.
mod retired {
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};

    use super::event_base;

    struct Pointer(*mut event_base);

    // SAFETY: nobody else uses what a retired base owns, which is nothing but its lock.
    unsafe impl Send for Pointer {}

    static RETIRED: Mutex<VecDeque<Pointer>> = Mutex::new(VecDeque::new());

    const KEPT: usize = 64;

    pub(super) fn take(base: event_base) -> *mut event_base {
        let mut retired = RETIRED.lock().unwrap_or_else(PoisonError::into_inner);
        if retired.len() <= KEPT {
            return Box::into_raw(Box::new(base));
        }
        let Some(Pointer(reused)) = retired.pop_front() else {
            return Box::into_raw(Box::new(base));
        };
        // SAFETY: it came from `Box::into_raw`, and has been out of use for long.
        unsafe { *reused = base };
        reused
    }

    /// # Safety
    /// `base` is live, and not used any more.
    pub(super) unsafe fn put(base: *mut event_base) {
        // SAFETY: by this function's contract.
        drop(unsafe { event_base::take_inner(base) });
        let mut retired = RETIRED.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push_back(Pointer(base));
    }
}

/// The base of the functions that take none.
static CURRENT: AtomicPtr<event_base> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn current() -> *mut event_base {
    CURRENT.load(Ordering::Acquire)
}

/// There is no current base any more.
pub(crate) fn forget_current() {
    CURRENT.store(ptr::null_mut(), Ordering::Release);
}
