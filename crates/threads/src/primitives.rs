//! What the protocols are made of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A family of locks and flags.
pub trait Primitives {
    /// A lock and what it guards.
    type Locked<T>: Locked<T>;
    /// A flag that is read and set in one step.
    type Flag: Flag;
}

/// A lock and what it guards.
pub trait Locked<T> {
    /// Guards `value`.
    fn new(value: T) -> Self;
    /// Runs `f` with the lock held. `f` runs no user code.
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R;
}

/// A flag that is read and set in one step.
pub trait Flag {
    /// A flag that is not set.
    fn new() -> Self;
    /// Sets it to `value`, and returns what it was. What this thread did before is seen by the thread whose swap reads
    /// `value`.
    fn swap(&self, value: bool) -> bool;
}

/// The standard library's.
#[derive(Debug)]
pub enum Std {}

impl Primitives for Std {
    type Locked<T> = Mutex<T>;
    type Flag = AtomicBool;
}

impl<T> Locked<T> for Mutex<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // No user code runs under the lock, so a panic elsewhere leaves the value whole.
        f(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Flag for AtomicBool {
    fn new() -> Self {
        Self::new(false)
    }

    fn swap(&self, value: bool) -> bool {
        self.swap(value, Ordering::AcqRel)
    }
}
