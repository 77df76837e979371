//! A wake-up that is made at most once until it is seen.

use crate::primitives::Flag;

/// Whether a wake-up is on its way, so that another would change nothing.
///
/// Whoever wakes first changes what the woken thread is to see, then calls [`announce`](Self::announce). The woken
/// thread calls [`seen`](Self::seen), and only then looks.
#[derive(Debug, Default)]
pub struct Notice<F>(F);

impl<F: Flag> Notice<F> {
    /// Nothing is on its way.
    pub fn new() -> Self {
        Self(F::new())
    }

    /// Calls `send`, unless a wake-up is on its way already.
    pub fn announce(&self, send: impl FnOnce()) {
        if !self.0.swap(true) {
            send();
        }
    }

    /// The wake-up has arrived, and is used up: the next one is sent again.
    pub fn seen(&self) {
        self.0.swap(false);
    }

    /// As [`seen`](Self::seen), where what was sent stays until `take` takes it away.
    pub fn seen_level(&self, take: impl FnOnce()) {
        // Taken first: a wake-up that comes between the two is not sent, and the thread that is just waking serves it.
        take();
        self.seen();
    }

    /// A wake-up is sent by other means.
    pub fn sent(&self) {
        self.0.swap(true);
    }
}
