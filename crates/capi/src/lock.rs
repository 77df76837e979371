//! The locks that programs see: recursive, made only once a program has asked for threads.
//!
//! A lock guards no Rust reference. It is held by a thread over user code where libevent documents that it is, and the
//! same thread may take it again.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static THREADS: AtomicBool = AtomicBool::new(false);

/// From now on, new objects get locks.
pub(crate) fn enable_threads() {
    THREADS.store(true, Ordering::Relaxed);
}

/// Whether new objects get locks.
pub(crate) fn threads_enabled() -> bool {
    THREADS.load(Ordering::Relaxed)
}

/// A recursive mutex, shared by the objects that it guards.
#[derive(Clone)]
pub(crate) struct Lock(Arc<Mutex>);

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
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let mutex = Arc::new(Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
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
        made.then_some(Self(mutex))
    }

    /// Takes it, for as long as the result lives.
    pub(crate) fn hold(&self) -> Held {
        self.acquire();
        Held(Some(self.clone()))
    }

    /// Takes it until [`release`](Self::release).
    pub(crate) fn acquire(&self) {
        // SAFETY: the mutex is initialised, and lives as long as `self`.
        unsafe { libc::pthread_mutex_lock(self.0.0.get()) };
    }

    /// Gives it back; for C's `..._unlock` functions, whose callers must hold it.
    pub(crate) fn release(&self) {
        // SAFETY: the mutex is initialised; a thread that does not hold it only gets an error.
        unsafe { libc::pthread_mutex_unlock(self.0.0.get()) };
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
        unsafe { libc::pthread_mutex_destroy(self.0.get()) };
    }
}
