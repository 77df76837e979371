//! loom's locks and flags in the shape that the protocols ask for, and the system's part of a wake-up.
//!
//! loom runs a test again and again, with another order of the threads each time, until it has tried all of them (with
//! up to three preemptions, which is where such mistakes show). A thread that waits for ever is a deadlock, and fails.

#![allow(dead_code, reason = "each test program uses its part")]

use ferrevent_threads::{Flag, Locked, Primitives};
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};

/// Runs `test` in every order of its threads.
pub(crate) fn in_every_order(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(test);
}

pub(crate) enum Loom {}

impl Primitives for Loom {
    type Locked<T> = LoomLocked<T>;
    type Flag = LoomFlag;
}

pub(crate) struct LoomLocked<T>(Mutex<T>);

impl<T> Locked<T> for LoomLocked<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

pub(crate) struct LoomFlag(AtomicBool);

impl Flag for LoomFlag {
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    fn swap(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::AcqRel)
    }
}

/// An event descriptor that one thread waits for.
pub(crate) struct EventDescriptor {
    readable: Mutex<bool>,
    changed: Condvar,
}

impl EventDescriptor {
    pub(crate) fn new() -> Self {
        Self {
            readable: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn signal(&self) {
        *self.readable.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// As epoll waits for an edge, which is used up then.
    pub(crate) fn wait_for_edge(&self) {
        let mut readable = self.readable.lock().unwrap();
        while !*readable {
            readable = self.changed.wait(readable).unwrap();
        }
        *readable = false;
    }

    /// As poll waits for a level, which stays until it is taken.
    pub(crate) fn wait_for_level(&self) {
        let mut readable = self.readable.lock().unwrap();
        while !*readable {
            readable = self.changed.wait(readable).unwrap();
        }
    }

    pub(crate) fn take(&self) {
        *self.readable.lock().unwrap() = false;
    }
}
