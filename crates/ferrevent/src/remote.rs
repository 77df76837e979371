//! Reaching a base from other threads.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::Base;
use crate::error::{Error, Result};

/// A way into a base's loop from any thread: what is posted runs there, between two callbacks. Cheap to clone; it does
/// not keep the base alive.
///
/// ```
/// use std::thread;
/// use ferrevent::Base;
///
/// # fn main() -> ferrevent::Result<()> {
/// let mut base = Base::new()?;
/// let remote = base.remote();
/// let worker = thread::spawn(move || {
///     let answer = 6 * 7;
///     remote.post(move |base| {
///         base.insert_state(answer);
///         base.loop_break();
///     })
/// });
/// base.run_until_stopped()?;
/// worker.join().unwrap()?;
/// assert_eq!(base.state::<i32>(), Some(&42));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

/// A closure for the loop's thread.
type Post = Box<dyn FnOnce(&mut Base) + Send>;

/// What a base and its remotes have in common.
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// The queue is not empty: so that a pass in which nothing was posted takes no lock.
    filled: AtomicBool,
    wake: Wake,
}

#[derive(Default)]
struct Queue {
    posts: Vec<Post>,
    closed: bool,
}

/// How the base's wait is ended.
pub(crate) enum Wake {
    System(ferrevent_sys::Waker),
    Other(Option<Box<dyn Fn() + Send + Sync>>),
}

impl Remote {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Runs `task` in the base's loop and wakes that if it waits; if it does not run, the next one starts with it.
    /// Tasks of one thread run in the order in which they were posted.
    ///
    /// # Errors
    /// [`Error::BaseGone`] if the base has been dropped; `task` is dropped then.
    pub fn post(&self, task: impl FnOnce(&mut Base) + Send + 'static) -> Result<()> {
        let mut queue = self.0.lock();
        if queue.closed {
            return Err(Error::BaseGone);
        }
        queue.posts.push(Box::new(task));
        self.0.filled.store(true, Ordering::Release);
        drop(queue);
        self.0.wake();
        Ok(())
    }

    /// Ends the base's loop after the callback that runs now (`event_base_loopbreak` from another thread); unlike
    /// there, one that does not run yet ends as soon as it starts.
    ///
    /// # Errors
    /// [`Error::BaseGone`] if the base has been dropped.
    pub fn loop_break(&self) -> Result<()> {
        self.post(Base::loop_break)
    }
}

impl Shared {
    pub(crate) fn new(wake: Wake) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            filled: AtomicBool::new(false),
            wake,
        })
    }

    /// Takes what was posted since the last time.
    pub(crate) fn take(&self) -> Vec<Post> {
        if !self.filled.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        mem::take(&mut self.lock().posts)
    }

    /// The base is gone: nothing is accepted any more.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let unrun = mem::take(&mut queue.posts);
        // A closure's own drop code may post again, so the lock must not be held.
        drop(queue);
        drop(unrun);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code of the user's runs under the lock, so a panic elsewhere leaves the queue whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        match &self.wake {
            Wake::System(waker) => waker.wake(),
            Wake::Other(Some(wake)) => wake(),
            Wake::Other(None) => {}
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("base_gone", &self.0.lock().closed)
            .finish()
    }
}
