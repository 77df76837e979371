//! The locks that programs see: recursive, made only once a program has asked for threads.
//!
//! A lock guards no Rust reference. It is held by a thread over user code where libevent documents that it is, and the
//! same thread may take it again.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::log;
use crate::thread::{RECURSIVE, TRY, evthread_lock_callbacks};

static THREADS: AtomicBool = AtomicBool::new(false);

/// From now on, new objects get locks.
pub(crate) fn enable_threads() {
    THREADS.store(true, Ordering::Relaxed);
}

/// Whether new objects get locks.
pub(crate) fn threads_enabled() -> bool {
    THREADS.load(Ordering::Relaxed)
}

/// From now on, new objects get none.
pub(crate) fn disable_threads() {
    THREADS.store(false, Ordering::Relaxed);
}

/// Whether giving back a lock that the thread does not hold ends the program, and freeing one that is held.
static CHECKED: AtomicBool = AtomicBool::new(false);

/// From now on, giving back a lock that the thread does not hold ends the program, and so does freeing one that is held.
pub(crate) fn check_releases() {
    CHECKED.store(true, Ordering::Relaxed);
}

/// A recursive mutex, shared by the objects that it guards.
#[derive(Clone)]
pub(crate) struct Lock(Arc<Recursive>);

enum Recursive {
    Posix(Mutex),
    Foreign(ForeignLock),
}

/// A lock of the program's own making (`evthread_set_lock_callbacks`).
struct ForeignLock {
    made_by: evthread_lock_callbacks,
    lock: *mut c_void,
}

// SAFETY: the program promises that its locks may be used from every thread.
unsafe impl Send for ForeignLock {}
// SAFETY: as above.
unsafe impl Sync for ForeignLock {}

impl ForeignLock {
    fn new(made_by: evthread_lock_callbacks) -> Option<Self> {
        // SAFETY: the program promises functions that do what the header says.
        let lock = unsafe { made_by.alloc?(RECURSIVE) };
        (!lock.is_null()).then_some(Self { made_by, lock })
    }
}

impl Drop for ForeignLock {
    fn drop(&mut self) {
        if let Some(free) = self.made_by.free {
            // SAFETY: `alloc` of the same program made it, and nobody else can reach it any more.
            unsafe { free(self.lock, RECURSIVE) };
        }
    }
}

struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a pthread mutex may be used from every thread once it is initialised, and `Mutex` gives no other access.
unsafe impl Send for Mutex {}
// SAFETY: as above.
unsafe impl Sync for Mutex {}

/// Holds a [`Lock`] until it is dropped. It keeps the lock alive, so that the object that it belongs to may go first.
#[must_use]
pub(crate) struct Held(Option<Lock>);

impl Lock {
    /// A new lock, if the program has asked for threads and the system has room for it.
    pub(crate) fn new() -> Option<Self> {
        if !threads_enabled() {
            return None;
        }
        if let Some(made_by) = crate::thread::foreign_locks() {
            let foreign = ForeignLock::new(made_by)?;
            return Some(Self(Arc::new(Recursive::Foreign(foreign))));
        }
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let lock = Arc::new(Recursive::Posix(Mutex(UnsafeCell::new(
            libc::PTHREAD_MUTEX_INITIALIZER,
        ))));
        let Recursive::Posix(mutex) = &*lock else {
            return None;
        };
        // SAFETY: `attributes` is initialised by the first call before the others use it; the mutex has its final
        // address inside the `Arc`, and is not in use yet.
        let made = unsafe {
            libc::pthread_mutexattr_init(attributes.as_mut_ptr()) == 0
                && libc::pthread_mutexattr_settype(
                    attributes.as_mut_ptr(),
                    libc::PTHREAD_MUTEX_RECURSIVE,
                ) == 0
                && libc::pthread_mutex_init(mutex.0.get(), attributes.as_ptr()) == 0
        };
        made.then_some(Self(lock))
    }

    /// Takes it, for as long as the result lives.
    pub(crate) fn hold(&self) -> Held {
        self.acquire();
        Held(Some(self.clone()))
    }

    /// Takes it if no other thread has it.
    pub(crate) fn try_hold(&self) -> Option<Held> {
        let error = match &*self.0 {
            // SAFETY: the mutex is initialised, and lives as long as `self`.
            Recursive::Posix(mutex) => unsafe { libc::pthread_mutex_trylock(mutex.0.get()) },
            Recursive::Foreign(foreign) => match foreign.made_by.lock {
                // SAFETY: `alloc` of the same program made it.
                Some(lock) => unsafe { lock(TRY, foreign.lock) },
                None => 0,
            },
        };
        (error == 0).then(|| Held(Some(self.clone())))
    }

    /// Takes it until [`release`](Self::release).
    pub(crate) fn acquire(&self) {
        match &*self.0 {
            // SAFETY: the mutex is initialised, and lives as long as `self`.
            Recursive::Posix(mutex) => unsafe {
                libc::pthread_mutex_lock(mutex.0.get());
            },
            Recursive::Foreign(foreign) => {
                if let Some(lock) = foreign.made_by.lock {
                    // SAFETY: `alloc` of the same program made it.
                    unsafe { lock(0, foreign.lock) };
                }
            }
        }
    }

    /// Gives it back; for C's `..._unlock` functions, whose callers must hold it.
    pub(crate) fn release(&self) {
        let error = match &*self.0 {
            // SAFETY: the mutex is initialised; a thread that does not hold it only gets an error.
            Recursive::Posix(mutex) => unsafe { libc::pthread_mutex_unlock(mutex.0.get()) },
            Recursive::Foreign(foreign) => match foreign.made_by.unlock {
                // SAFETY: `alloc` of the same program made it.
                Some(unlock) => unsafe { unlock(0, foreign.lock) },
                None => 0,
            },
        };
        if error != 0 && CHECKED.load(Ordering::Relaxed) {
            log::fatal("a lock was released by a thread that does not hold it");
        }
    }
}

/// A base's mutex, with the news that a callback has returned. POSIX's own, so that thread checkers see it.
///
/// A leaf: whoever holds it takes no other lock and runs no user code.
pub(crate) struct Leaf {
    mutex: Box<Mutex>,
    returned: Box<UnsafeCell<libc::pthread_cond_t>>,
}

// SAFETY: the condition variable may be used from every thread, as the mutex may.
unsafe impl Send for Leaf {}
// SAFETY: as above.
unsafe impl Sync for Leaf {}

/// Holds a [`Leaf`] until it is dropped.
#[must_use]
pub(crate) struct LeafHeld<'a>(&'a Leaf);

impl Leaf {
    pub(crate) fn new() -> Self {
        // Boxed: neither may move once it is in use. Their static initial values need no call.
        Self {
            mutex: Box::new(Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))),
            returned: Box::new(UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER)),
        }
    }

    pub(crate) fn hold(&self) -> LeafHeld<'_> {
        // SAFETY: the mutex is initialised, and not held by this thread, since it is a leaf.
        unsafe { libc::pthread_mutex_lock(self.mutex.0.get()) };
        LeafHeld(self)
    }

    /// Tells all who wait.
    pub(crate) fn notify(&self) {
        // SAFETY: the condition variable is initialised.
        unsafe { libc::pthread_cond_broadcast(self.returned.get()) };
    }
}

impl LeafHeld<'_> {
    /// Gives the mutex up until somebody notifies.
    pub(crate) fn wait(&mut self) {
        // SAFETY: both are initialised, and this thread holds the mutex.
        unsafe { libc::pthread_cond_wait(self.0.returned.get(), self.0.mutex.0.get()) };
    }
}

impl Drop for LeafHeld<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread holds it.
        unsafe { libc::pthread_mutex_unlock(self.0.mutex.0.get()) };
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        // SAFETY: nobody else can reach it any more.
        unsafe { libc::pthread_cond_destroy(self.returned.get()) };
    }
}

/// Takes an object's lock, if it has one; `None` if another thread has that.
pub(crate) fn try_hold(lock: &Option<Lock>) -> Option<Held> {
    match lock {
        Some(lock) => lock.try_hold(),
        None => Some(Held(None)),
    }
}

/// Takes an object's lock, if it has one.
pub(crate) fn hold(lock: &Option<Lock>) -> Held {
    match lock {
        Some(lock) => lock.hold(),
        None => Held(None),
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lock) = &self.0 {
            lock.release();
        }
    }
}

impl Drop for Mutex {
    fn drop(&mut self) {
        // SAFETY: nobody else can reach it any more; destroying a mutex that is held only returns an error.
        let error = unsafe { libc::pthread_mutex_destroy(self.0.get()) };
        if error != 0 && CHECKED.load(Ordering::Relaxed) {
            log::fatal("a lock was freed while it was held");
        }
    }
}
