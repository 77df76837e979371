//! What other threads have posted to a loop.

use std::fmt;
use std::mem;

use crate::primitives::{Flag, Locked, Primitives};

/// A queue that many threads fill and one empties.
///
/// Who posts wakes the loop afterwards; the loop takes before it waits, and after. Nothing is dropped under the lock,
/// since the drop code of what is posted may post again.
pub struct Mailbox<T, P: Primitives> {
    queue: P::Locked<Queue<T>>,
    /// The queue is not empty: so that a pass in which nothing was posted takes no lock.
    filled: P::Flag,
}

struct Queue<T> {
    posts: Vec<T>,
    closed: bool,
}

impl<T, P: Primitives> Mailbox<T, P> {
    /// Nothing is in it.
    pub fn new() -> Self {
        Self {
            queue: P::Locked::new(Queue {
                posts: Vec::new(),
                closed: false,
            }),
            filled: P::Flag::new(),
        }
    }

    /// Puts `post` at the end.
    ///
    /// # Errors
    /// Gives it back if the mailbox is closed.
    pub fn post(&self, post: T) -> Result<(), T> {
        self.queue.with(|queue| {
            if queue.closed {
                return Err(post);
            }
            queue.posts.push(post);
            self.filled.swap(true);
            Ok(())
        })
    }

    /// Takes what was posted since the last time, in order.
    pub fn take(&self) -> Vec<T> {
        if !self.filled.swap(false) {
            return Vec::new();
        }
        self.queue.with(|queue| mem::take(&mut queue.posts))
    }

    /// From now on nothing is accepted. Returns what nobody has taken.
    pub fn close(&self) -> Vec<T> {
        self.queue.with(|queue| {
            queue.closed = true;
            mem::take(&mut queue.posts)
        })
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.queue.with(|queue| queue.closed)
    }
}

impl<T, P: Primitives> Default for Mailbox<T, P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, P: Primitives> fmt::Debug for Mailbox<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
