//! How a bufferevent is made.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use ferrevent_core::{Dirs, Watermark};
use libc::c_int;

use super::{BufferEvent, Held};
use crate::base::Base;
use crate::error::{Error, Result};
use crate::ffi;

impl BufferEvent {
    /// A bufferevent on a connected socket, which it owns from now on and makes non-blocking (`bufferevent_socket_new`).
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn new(base: &mut Base, socket: impl Into<OwnedFd>) -> Result<Self> {
        Self::builder().open(base, socket)
    }

    /// A bufferevent without a socket, to be [connected](Self::connect) (`bufferevent_socket_new` with -1). If there is no
    /// memory, the key is one of a freed bufferevent.
    pub fn unconnected(base: &mut Base) -> Self {
        Self::builder().unconnected(base)
    }

    /// Two bufferevents that are each other's transport (`bufferevent_pair_new`). If there is no memory, the keys are those
    /// of freed bufferevents.
    pub fn pair(base: &mut Base) -> [Self; 2] {
        Self::builder().pair(base)
    }

    /// Starts to configure a bufferevent.
    pub fn builder() -> BufferEventBuilder {
        BufferEventBuilder::default()
    }
}

/// Configures a [`BufferEvent`] before it exists.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BufferEventBuilder {
    deferred: bool,
    priority: Option<u8>,
    marks: [Watermark; 2],
    timeouts: [Option<Duration>; 2],
}

impl BufferEventBuilder {
    /// Collects callbacks and runs them once per pass of the loop (`BEV_OPT_DEFER_CALLBACKS`).
    pub fn deferred(mut self) -> Self {
        self.deferred = true;
        self
    }

    /// Sets the [priority](BufferEvent::set_priority) of its callbacks; the middle one if not set.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets the [watermarks](BufferEvent::set_watermark) of these directions.
    pub fn watermark(mut self, dirs: Dirs, low: usize, high: usize) -> Self {
        for (mark, dir) in self.marks.iter_mut().zip([Dirs::READ, Dirs::WRITE]) {
            if dirs.contains(dir) {
                *mark = Watermark { low, high };
            }
        }
        self
    }

    /// Sets the [timeouts](BufferEvent::set_timeouts).
    pub fn timeouts(mut self, read: Option<Duration>, write: Option<Duration>) -> Self {
        self.timeouts = [read, write];
        self
    }

    /// Makes it on a socket, as [`BufferEvent::new`] does.
    ///
    /// # Errors
    /// Those of [`BufferEvent::new`]; [`Error::Priority`].
    pub fn open(self, base: &mut Base, socket: impl Into<OwnedFd>) -> Result<BufferEvent> {
        let socket = socket.into();
        // What a blocking socket would do to the loop is nobody's wish. The flag belongs to what is open, so that a
        // duplicate sets it too.
        std::os::unix::net::UnixStream::from(socket.try_clone()?).set_nonblocking(true)?;
        let bev = self.make(base, socket.as_raw_fd());
        if !bev.exists(base) {
            return Err(Error::last());
        }
        // The bufferevent closes it from now on.
        let _ = socket.into_raw_fd();
        if let Err(error) = self.set_up(base, bev) {
            bev.free(base);
            return Err(error);
        }
        Ok(bev)
    }

    /// Makes it without a socket, as [`BufferEvent::unconnected`] does. A priority that does not exist counts as the
    /// middle one.
    pub fn unconnected(self, base: &mut Base) -> BufferEvent {
        let bev = self.make(base, -1);
        // Only the priority can be refused, and then stays what it was.
        let _ = self.set_up(base, bev);
        bev
    }

    /// Makes a pair, as [`BufferEvent::pair`] does, with these settings for both ends. The priority has no meaning there.
    pub fn pair(self, base: &mut Base) -> [BufferEvent; 2] {
        let mut raw = [std::ptr::null_mut(); 2];
        let options = self.options();
        // SAFETY: the base is live: `raw` has looked, or the promise of `Base::from_raw` holds. There is room for both ends.
        let made = unsafe { ffi::bufferevent_pair_new(base.raw(), options, raw.as_mut_ptr()) };
        if made != 0 {
            return Default::default();
        }
        raw.map(|raw| {
            let Some(raw) = NonNull::new(raw) else {
                return BufferEvent::default();
            };
            let bev = base.insert_stream(raw, Held::Paired);
            // As in `unconnected`.
            let _ = self.set_up(base, bev);
            bev
        })
    }

    fn make(&self, base: &mut Base, fd: c_int) -> BufferEvent {
        // SAFETY: the base is live: `raw` has looked, or the promise of `Base::from_raw` holds. Of the descriptor the caller
        // is the owner.
        let raw = unsafe { ffi::bufferevent_socket_new(base.raw(), fd, self.options()) };
        match NonNull::new(raw) {
            Some(raw) => base.insert_stream(raw, Held::Made),
            None => BufferEvent::default(),
        }
    }

    fn options(&self) -> c_int {
        let deferred = if self.deferred {
            ffi::BEV_OPT_DEFER_CALLBACKS
        } else {
            0
        };
        ffi::BEV_OPT_CLOSE_ON_FREE | deferred
    }

    fn set_up(&self, base: &mut Base, bev: BufferEvent) -> Result<()> {
        for (mark, dir) in self.marks.into_iter().zip([Dirs::READ, Dirs::WRITE]) {
            if mark != Watermark::default() {
                bev.set_watermark(base, dir, mark.low, mark.high);
            }
        }
        let [read, write] = self.timeouts;
        if read.is_some() || write.is_some() {
            bev.set_timeouts(base, read, write);
        }
        match self.priority {
            Some(priority) => bev.set_priority(base, priority),
            None => Ok(()),
        }
    }
}
