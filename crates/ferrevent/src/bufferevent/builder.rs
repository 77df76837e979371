//! How a bufferevent is made.

use std::os::fd::OwnedFd;
use std::time::Duration;

use ferrevent_core::buffer::{Buffer, End};
use ferrevent_core::driver::{Fd, Kind};
use ferrevent_core::{Dirs, Options, StageKind, StreamKey, Watermark};

use super::{BufferEvent, Descriptor, StreamSlot};
use crate::base::Base;
use crate::error::{Error, Result};
use crate::seat::Seat;

impl BufferEvent {
    /// A bufferevent on a connected socket, or anything else that is read and written (a pipe, a terminal), which it
    /// owns from now on and makes non-blocking (`bufferevent_socket_new`).
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; [`Error::NotOnSystem`].
    pub fn new(base: &mut Base, socket: impl Into<OwnedFd>) -> Result<Self> {
        Self::builder().open(base, socket)
    }

    /// A bufferevent without a socket, to be [connected](Self::connect) (`bufferevent_socket_new` with -1). What is
    /// written before that is sent once the connection stands.
    pub fn unconnected(base: &mut Base) -> Self {
        Self::builder().unconnected(base)
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
    /// Collects callbacks and runs them once per pass of the loop (`BEV_OPT_DEFER_CALLBACKS`): several reads make one
    /// call, and the order is always [`Connected`](super::Condition::Connected), read, write, other conditions.
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
        base.native()?;
        self.check(base)?;
        let socket = socket.into();
        let (fd, kind) = base.prepare(&socket)?;
        Ok(self.insert(base, Descriptor::Given(socket), fd, kind))
    }

    /// Makes it without a socket, as [`BufferEvent::unconnected`] does. A priority that does not exist counts as the
    /// lowest.
    pub fn unconnected(self, base: &mut Base) -> BufferEvent {
        self.insert(base, Descriptor::None, -1, Kind::Stream)
    }

    /// Makes it on a descriptor of the world of the base's [own driver](crate::Builder::driver), which then closes it
    /// when the bufferevent is freed.
    ///
    /// # Errors
    /// [`Error::OnSystem`]: descriptors of the operating system come by [`open`](Self::open), from their owners.
    /// [`Error::Priority`].
    pub fn adopt(self, base: &mut Base, fd: Fd) -> Result<BufferEvent> {
        if base.system.is_some() {
            return Err(Error::OnSystem);
        }
        self.check(base)?;
        let kind = base.transport.kind(fd);
        Ok(self.insert(base, Descriptor::Adopted(fd), fd, kind))
    }

    fn check(&self, base: &Base) -> Result<()> {
        match self.priority {
            Some(priority) if usize::from(priority) >= base.priorities() => {
                Err(Error::Priority(priority))
            }
            _ => Ok(()),
        }
    }

    fn insert(self, base: &mut Base, descriptor: Descriptor, fd: Fd, kind: Kind) -> BufferEvent {
        base.tick();
        let options = self.options();
        let core = &mut base.core;
        let bev = base.streams.insert_with_key(|bev| StreamSlot {
            // Only UNLOCK_CALLBACKS, which is not ours, can be refused; a key of nothing is as good as a freed one.
            key: core.new_stream(bev, fd, kind, options).unwrap_or_default(),
            descriptor,
            ..slot_without_socket()
        });
        self.set_up(base, bev);
        bev
    }

    /// Makes it over the bufferevent with this key; `None` if the core refuses.
    pub(super) fn insert_over(self, base: &mut Base, below: StreamKey) -> Option<BufferEvent> {
        base.tick();
        let options = self.options();
        let core = &mut base.core;
        let driver = &mut *base.driver;
        let kind = StageKind::PASSES_EVENTS | StageKind::HEARS_END;
        let bev = base.streams.insert_with_key(|bev| StreamSlot {
            key: core
                .new_stage(bev, below, options, kind, Some(driver))
                .unwrap_or_default(),
            ..slot_without_socket()
        });
        if base.core.stream(base.streams[bev].key).is_none() {
            base.streams.remove(bev);
            return None;
        }
        self.set_up(base, bev);
        Some(bev)
    }

    pub(super) fn options(&self) -> Options {
        let mut options = Options::CLOSE_ON_FREE;
        options.set(Options::DEFER_CALLBACKS, self.deferred);
        options
    }

    pub(super) fn set_up(self, base: &mut Base, bev: BufferEvent) {
        for (mark, dir) in self.marks.into_iter().zip([Dirs::READ, Dirs::WRITE]) {
            if mark != Watermark::default() {
                bev.set_watermark(base, dir, mark.low, mark.high);
            }
        }
        let [read, write] = self.timeouts;
        if read.is_some() || write.is_some() {
            bev.set_timeouts(base, read, write);
        }
        if let Some(priority) = self.priority {
            let lowest = base.priorities().saturating_sub(1);
            let key = base.streams[bev].key;
            base.core
                .set_stream_priority(key, priority.min(u8::try_from(lowest).unwrap_or(u8::MAX)));
        }
    }
}

/// A slot whose key is still to be set.
pub(super) fn slot_without_socket() -> StreamSlot {
    StreamSlot {
        key: StreamKey::default(),
        descriptor: Descriptor::None,
        input: frozen(End::Back),
        output: frozen(End::Front),
        handler: Seat::Empty,
        rare: None,
    }
}

/// The user only takes from the input and only appends to the output; the transport does the rest.
fn frozen(end: End) -> Buffer {
    let mut buffer = Buffer::new();
    buffer.freeze(end);
    buffer
}
