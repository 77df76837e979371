//! Reaching a base from other threads.

use std::fmt;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use ferrevent_core::What;
use ferrevent_threads::{Mailbox, Std};

use crate::base::Base;
use crate::error::{Error, Result};
use crate::event::Event;

/// A way into a base's loop from any thread: what is posted runs there, between two callbacks. Cheap to clone; it does
/// not keep the base alive.
///
/// It wakes the loop by a socket of its own, so that the program needs no `evthread_use_pthreads()` for it. While one is
/// there, the loop has something to wait for.
#[derive(Clone)]
pub struct Remote(Arc<Posts>);

/// A closure for the loop's thread.
type Post = Box<dyn FnOnce(&mut Base) + Send>;

struct Posts {
    mailbox: Arc<Mailbox<Post, Std>>,
    /// None if the system had none.
    wake: Option<UnixStream>,
}

impl Base {
    /// A way into this base's loop from other threads. If the system has no descriptors for it, [`Remote::post`] fails.
    pub fn remote(&self) -> Remote {
        let mailbox = Arc::new(Mailbox::new());
        let wake = Self::guest(self.shared().clone())
            .open_mailbox(&mailbox)
            .ok();
        Remote(Arc::new(Posts { mailbox, wake }))
    }

    fn open_mailbox(&mut self, mailbox: &Arc<Mailbox<Post, Std>>) -> Result<UnixStream> {
        let (far, near) = UnixStream::pair()?;
        far.set_nonblocking(true)?;
        near.set_nonblocking(true)?;
        let fd = near.as_raw_fd();
        // Dropped with the event, whoever frees that.
        let mut inbox = Inbox {
            mailbox: mailbox.clone(),
            near,
        };
        let what = What::READ | What::PERSIST;
        let event = Event::new(self, &fd, what, move |base, event, _| {
            let gone = inbox.drain();
            for post in inbox.mailbox.take() {
                post(base);
            }
            if gone {
                event.free(base);
            }
        });
        if !event.exists(self) {
            return Err(Error::last());
        }
        if let Err(error) = event.add(self, None) {
            event.free(self);
            return Err(error);
        }
        Ok(far)
    }
}

impl Remote {
    /// Runs `task` in the base's loop and wakes that if it waits; if it does not run, the next one starts with it.
    /// Tasks of one thread run in the order in which they were posted.
    ///
    /// # Errors
    /// [`Error::BaseGone`] if the base has been dropped or released, or a task has panicked; `task` is dropped then.
    pub fn post(&self, task: impl FnOnce(&mut Base) + Send + 'static) -> Result<()> {
        let mut wake = self.0.wake.as_ref().ok_or(Error::BaseGone)?;
        let posted = self.0.mailbox.post(Box::new(task));
        // What was refused is dropped here, without a lock: its drop code may post again.
        posted.map_err(|_| Error::BaseGone)?;
        // If it is full, the loop is woken by what is there.
        let _ = wake.write(&[0]);
        Ok(())
    }

    /// Ends the base's loop after the callback that runs now (`event_base_loopbreak` from another thread); unlike
    /// there, one that does not run yet ends as soon as it starts.
    ///
    /// # Errors
    /// [`Error::BaseGone`] if the base has been dropped or released.
    pub fn loop_break(&self) -> Result<()> {
        self.post(Base::loop_break)
    }
}

/// The loop's end.
struct Inbox {
    mailbox: Arc<Mailbox<Post, Std>>,
    near: UnixStream,
}

impl Inbox {
    /// Takes the wake-ups, and says whether no remote is left.
    fn drain(&mut self) -> bool {
        let mut bytes = [0; 64];
        loop {
            match self.near.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // The event is gone: nothing is accepted any more.
        drop(self.mailbox.close());
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("base_gone", &self.0.mailbox.is_closed())
            .finish()
    }
}
