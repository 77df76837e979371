//! `event2/thread.h`: turning locks on.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::timeval;

use crate::base::event_base;
use crate::{lock, log};

/// `EVTHREAD_TRY`
pub(crate) const TRY: c_uint = 0x10;

/// `EVTHREAD_LOCKTYPE_RECURSIVE`
pub(crate) const RECURSIVE: c_uint = 1;

/// `struct evthread_lock_callbacks`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct evthread_lock_callbacks {
    /// `EVTHREAD_LOCK_API_VERSION`
    pub lock_api_version: c_int,
    /// Which kinds of locks there are.
    pub supported_locktypes: c_uint,
    /// Makes a lock.
    pub alloc: Option<unsafe extern "C" fn(c_uint) -> *mut c_void>,
    /// Unmakes it.
    pub free: Option<unsafe extern "C" fn(*mut c_void, c_uint)>,
    /// Takes it.
    pub lock: Option<unsafe extern "C" fn(c_uint, *mut c_void) -> c_int>,
    /// Gives it back.
    pub unlock: Option<unsafe extern "C" fn(c_uint, *mut c_void) -> c_int>,
}

/// `struct evthread_condition_callbacks`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct evthread_condition_callbacks {
    /// `EVTHREAD_CONDITION_API_VERSION`
    pub condition_api_version: c_int,
    /// Makes a condition.
    pub alloc_condition: Option<unsafe extern "C" fn(c_uint) -> *mut c_void>,
    /// Unmakes it.
    pub free_condition: Option<unsafe extern "C" fn(*mut c_void)>,
    /// Wakes who waits.
    pub signal_condition: Option<unsafe extern "C" fn(*mut c_void, c_int) -> c_int>,
    /// Waits.
    pub wait_condition:
        Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *const timeval) -> c_int>,
}

#[derive(Clone, Copy, PartialEq)]
enum Provider {
    None,
    Posix,
    /// The addresses of the functions, and the numbers before them, tell whether they are set again.
    Foreign([usize; 4], [c_uint; 2]),
}

struct Threads {
    locks: Provider,
    callbacks: Option<evthread_lock_callbacks>,
    conditions: Provider,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads {
    locks: Provider::None,
    callbacks: None,
    conditions: Provider::None,
});

/// How the program makes its locks, if it wants to.
pub(crate) fn foreign_locks() -> Option<evthread_lock_callbacks> {
    threads().callbacks
}

fn threads() -> MutexGuard<'static, Threads> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `evthread_use_pthreads`: objects that are made from now on may be used from several threads. A program that has
/// brought locks of its own keeps them, and is warned. Returns 0, as libevent does in both cases.
#[unsafe(no_mangle)]
pub extern "C" fn evthread_use_pthreads() -> c_int {
    let mut threads = threads();
    if matches!(threads.locks, Provider::Foreign(..)) {
        log::warn("Can't change lock callbacks once they have been initialized.");
        return 0;
    }
    threads.locks = Provider::Posix;
    threads.conditions = Provider::Posix;
    lock::enable_threads();
    0
}

/// `evthread_set_lock_callbacks`: objects that are made from now on may be used from several threads, and the locks
/// that programs see (of bufferevents, evbuffers and listeners) are made by these functions. A base's own short lock is
/// POSIX's. NULL: new objects get no locks. 0, or -1.
///
/// # Safety
/// `callbacks` is NULL or valid, and its functions do what the header says, for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evthread_set_lock_callbacks(
    callbacks: *const evthread_lock_callbacks,
) -> c_int {
    // SAFETY: by this function's contract.
    let callbacks = unsafe { callbacks.as_ref() };
    let mut threads = threads();
    let Some(callbacks) = callbacks else {
        if threads.locks != Provider::None {
            log::warn("Disabling lock functions: objects that have locks keep them.");
        }
        threads.locks = Provider::None;
        threads.callbacks = None;
        lock::disable_threads();
        return 0;
    };
    let (Some(alloc), Some(free), Some(take), Some(give)) = (
        callbacks.alloc,
        callbacks.free,
        callbacks.lock,
        callbacks.unlock,
    ) else {
        return -1;
    };
    let wanted = Provider::Foreign(
        [alloc as usize, free as usize, take as usize, give as usize],
        [
            callbacks.lock_api_version as c_uint,
            callbacks.supported_locktypes,
        ],
    );
    if threads.locks == wanted {
        return 0;
    }
    if threads.locks != Provider::None {
        log::warn("Can't change lock callbacks once they have been initialized.");
        return -1;
    }
    threads.locks = wanted;
    threads.callbacks = Some(*callbacks);
    lock::enable_threads();
    0
}

/// `evthread_set_condition_callbacks`: checked as libevent does, and kept only for that: the one thing that waits,
/// `event_del` for a callback in another thread, waits with the base's own POSIX lock. 0, or -1.
///
/// # Safety
/// `callbacks` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evthread_set_condition_callbacks(
    callbacks: *const evthread_condition_callbacks,
) -> c_int {
    // SAFETY: by this function's contract.
    let callbacks = unsafe { callbacks.as_ref() };
    let mut threads = threads();
    let Some(callbacks) = callbacks else {
        if threads.conditions != Provider::None {
            log::warn("Disabling condition functions.");
        }
        threads.conditions = Provider::None;
        return 0;
    };
    let wanted = match (
        callbacks.alloc_condition,
        callbacks.free_condition,
        callbacks.signal_condition,
        callbacks.wait_condition,
    ) {
        (Some(alloc), Some(free), Some(signal), Some(wait)) => Provider::Foreign(
            [
                alloc as usize,
                free as usize,
                signal as usize,
                wait as usize,
            ],
            [callbacks.condition_api_version as c_uint, 0],
        ),
        // As libevent: an incomplete set is passed over without a word, if there is none yet.
        _ => Provider::None,
    };
    if threads.conditions != Provider::None && threads.conditions != wanted {
        log::warn("Can't change condition callbacks once they have been initialized.");
        return -1;
    }
    threads.conditions = wanted;
    0
}

/// `evthread_set_id_callback`: nothing here needs it, for the system itself tells threads apart.
#[unsafe(no_mangle)]
pub extern "C" fn evthread_set_id_callback(_id: Option<unsafe extern "C" fn() -> c_ulong>) {}

/// `evthread_enable_lock_debugging`: giving back a lock that the thread does not hold, or freeing one that is held, ends
/// the program with a line in the log. As in libevent, objects that are made from now on get locks even if no threads were asked for.
#[unsafe(no_mangle)]
pub extern "C" fn evthread_enable_lock_debugging() {
    lock::check_releases();
    lock::enable_threads();
}

/// `evthread_enable_lock_debuging`: the same, as it was spelled once.
#[unsafe(no_mangle)]
pub extern "C" fn evthread_enable_lock_debuging() {
    evthread_enable_lock_debugging();
}

/// `evthread_make_base_notifiable`: every base is from the start. 0, or -1 for NULL.
///
/// # Safety
/// `base` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evthread_make_base_notifiable(base: *mut event_base) -> c_int {
    if base.is_null() { -1 } else { 0 }
}
