//! Reaching a base from other threads.

use std::fmt;
use std::sync::Arc;

use ferrevent_threads::{Mailbox, Std};

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
    posts: Mailbox<Post, Std>,
    wake: Wake,
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
        let posted = self.0.posts.post(Box::new(task));
        // What was refused is dropped here, without a lock: its drop code may post again.
        posted.map_err(|_| Error::BaseGone)?;
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
            posts: Mailbox::new(),
            wake,
        })
    }

    /// Takes what was posted since the last time.
    pub(crate) fn take(&self) -> Vec<Post> {
        self.posts.take()
    }

    /// The base is gone: nothing is accepted any more.
    pub(crate) fn close(&self) {
        drop(self.posts.close());
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
            .field("base_gone", &self.0.posts.is_closed())
            .finish()
    }
}
