//! Bufferevents: a socket, two buffers, four watermarks, a handler.
//!
//! * here — the key, what can be asked and set;
//! * `builder` — how they are made;
//! * `bytes` — the two buffers;
//! * `connect` — connections that we start;
//! * `ending` — how they end, and pipes;
//! * `handler` — whom they call back;
//! * `pair` — those that are each other's transport;
//! * `rate` — rate limits;
//! * `stage` — those over others;
//! * `work` — what the loop does for them.

mod builder;
mod bytes;
mod connect;
mod ending;
mod handler;
mod pair;
mod rate;
mod stage;
#[cfg(feature = "tls")]
mod tls;
mod work;

use std::any::Any;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Fd, Kind};
use ferrevent_core::{Dirs, Stream, StreamKey, Trigger, Watermark};
use slotmap::new_key_type;

pub use self::builder::BufferEventBuilder;
pub use self::bytes::BufferMut;
pub(crate) use self::bytes::lend;
pub use self::handler::{Callbacks, Condition, Handler, Listens};
pub use self::rate::{RateGroup, RateLimit};
pub use self::stage::{Progress, Stage};
#[cfg(feature = "tls-native-roots")]
pub use self::tls::tls_native_client_config;
#[cfg(feature = "tls")]
pub use self::tls::{TlsSession, tls_client_config};
use crate::base::Base;
use crate::dns::Lookup;
use crate::error::{Error, Result};
use crate::seat::Seat;

new_key_type! {
    /// Names a bufferevent of a [`Base`] (libevent's `struct bufferevent`): a socket with an input and an output
    /// buffer, which the loop fills and empties, and a [`Handler`] that it tells.
    ///
    /// A new one has writing enabled and reading disabled.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use ferrevent::{Base, BufferEvent, Callbacks, Dirs};
    ///
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = Base::new()?;
    /// let (mut near, far) = UnixStream::pair()?;
    ///
    /// let bev = BufferEvent::new(&mut base, far)?;
    /// bev.set_handler(&mut base, Callbacks::new().read(|base, bev| {
    ///     let mut text = [0; 16];
    ///     let n = bev.read(base, &mut text);
    ///     println!("got {:?}", &text[..n]);
    ///     bev.free(base);
    /// }));
    /// bev.enable(&mut base, Dirs::READ)?;
    ///
    /// near.write_all(b"hello")?;
    /// base.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub struct BufferEvent;
}

pub(crate) struct StreamSlot {
    pub(crate) key: StreamKey,
    pub(crate) descriptor: Descriptor,
    pub(crate) input: Buffer,
    pub(crate) output: Buffer,
    /// Gone when the user has freed it; the loop closes the descriptor in its time.
    handler: Seat<dyn Handler>,
    rare: Option<Box<Rare>>,
}

const _: () = assert!(
    size_of::<StreamSlot>() == 240,
    "idle connections consist of it"
);

impl StreamSlot {
    pub(crate) fn is_freed(&self) -> bool {
        self.handler.is_gone()
    }

    #[cfg(feature = "tls")]
    fn secure(&self) -> Option<&tls::Secure> {
        self.rare.as_ref()?.secure.as_deref()
    }

    #[cfg(feature = "tls")]
    fn secure_mut(&mut self) -> Option<&mut Box<tls::Secure>> {
        self.rare.as_mut()?.secure.as_mut()
    }
}

/// What few bufferevents have.
#[derive(Default)]
struct Rare {
    /// Belongs to the next error that is reported, where the system's number does not tell all.
    error: Option<Error>,
    /// The sockets of the attempts to connect to one of a host's addresses.
    attempts: Vec<OwnedFd>,
    /// The look-up of a host that it is to connect to.
    lookup: Option<Lookup>,
    /// What it does to the bytes, if it stands over another.
    stage: Option<Box<dyn Stage>>,
    /// What TLS has, if it is secured.
    #[cfg(feature = "tls")]
    secure: Option<Box<tls::Secure>>,
}

/// Whose descriptor it is.
#[derive(Debug)]
pub(crate) enum Descriptor {
    None,
    /// The user's, given to us.
    Given(OwnedFd),
    /// Made by `connect`, which makes a new one for each attempt.
    Connected(OwnedFd),
    /// A number in the world of the base's own driver.
    Adopted(Fd),
}

impl Descriptor {
    pub(crate) fn adopted(&self) -> Option<Fd> {
        match self {
            Self::Adopted(fd) => Some(*fd),
            _ => None,
        }
    }

    fn number(&self) -> Fd {
        match self {
            Self::None => -1,
            Self::Given(fd) | Self::Connected(fd) => fd.as_raw_fd(),
            Self::Adopted(fd) => *fd,
        }
    }
}

/// What it is and how it stands; `None` if it has been freed.
impl BufferEvent {
    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.slot(self).is_some()
    }

    /// The enabled directions (`bufferevent_get_enabled`).
    pub fn enabled(self, base: &Base) -> Option<Dirs> {
        Some(base.stream(self)?.enabled())
    }

    /// The watermarks of one direction (`bufferevent_getwatermark`).
    pub fn watermark(self, base: &Base, dir: Dirs) -> Option<Watermark> {
        Some(base.stream(self)?.watermark(dir))
    }

    /// The timeout of one direction, if it has one.
    pub fn timeout(self, base: &Base, dir: Dirs) -> Option<Duration> {
        base.stream(self)?.timeout(dir).map(Duration::from_nanos)
    }

    /// The most bytes that one transfer in this direction moves, if that was limited
    /// (`bufferevent_get_max_single_read` and `_write`).
    pub fn max_single(self, base: &Base, dir: Dirs) -> Option<usize> {
        base.stream(self)?.max_single(dir)
    }

    /// Its priority (`bufferevent_get_priority`).
    pub fn priority(self, base: &Base) -> Option<u8> {
        Some(base.stream(self)?.priority())
    }

    /// Its descriptor's number, if it has a descriptor (`bufferevent_getfd`); of one over another, that of the lowest.
    pub fn fd(self, base: &Base) -> Option<RawFd> {
        Some(base.stream(self.bottom(base))?.fd()).filter(|&fd| fd >= 0)
    }

    /// Its socket, if it has one: to set options of it, or to look at its addresses; of one over another, that of the
    /// lowest.
    pub fn socket(self, base: &Base) -> Option<BorrowedFd<'_>> {
        match &base.slot(self.bottom(base))?.descriptor {
            Descriptor::Given(fd) | Descriptor::Connected(fd) => Some(fd.as_fd()),
            Descriptor::None | Descriptor::Adopted(_) => None,
        }
    }

    /// Its handler, if it is of this type and does not run just now.
    pub fn handler<T: Handler>(self, base: &Base) -> Option<&T> {
        let handler: &dyn Any = base.slot(self)?.handler.get()?;
        handler.downcast_ref()
    }

    /// As [`handler`](Self::handler), to be changed.
    pub fn handler_mut<T: Handler>(self, base: &mut Base) -> Option<&mut T> {
        let handler: &mut dyn Any = base.slot_mut(self)?.handler.get_mut()?;
        handler.downcast_mut()
    }
}

/// What can be set. A `bool` says whether the bufferevent exists; if it does not, nothing happens.
impl BufferEvent {
    /// Sets whom it calls back (`bufferevent_setcb`): an object of your own, or [`Callbacks`] made of closures. The
    /// former handler is dropped, once it has returned if it is running. One that another stands over has none.
    pub fn set_handler(self, base: &mut Base, handler: impl Handler) -> bool {
        let Some(key) = base.live_key(self) else {
            return false;
        };
        if base.core.above(key).is_some() {
            return false;
        }
        let slot = &mut base.streams[self];
        let listens = handler.listens();
        let former = std::mem::replace(&mut slot.handler, Seat::Taken(Box::new(handler)));
        base.core
            .set_listening(key, listens.read, listens.write, listens.event);
        drop(former);
        true
    }

    /// Has it call nobody (`bufferevent_setcb` with `NULL`); what was about to be called is forgotten. It goes on to
    /// read and write.
    pub fn clear_handler(self, base: &mut Base) -> bool {
        let Some(slot) = base.slot_mut(self) else {
            return false;
        };
        let former = std::mem::replace(&mut slot.handler, Seat::Empty);
        let key = slot.key;
        base.core.set_listening(key, false, false, false);
        drop(former);
        true
    }

    /// Lets bytes move in these directions (`bufferevent_enable`), from the next pass of the loop on.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`] when the kernel refuses to watch the descriptor.
    pub fn enable(self, base: &mut Base, dirs: Dirs) -> Result<()> {
        base.tick();
        let key = base.slot(self).ok_or(Error::Stale)?.key;
        Ok(base.core.enable(key, dirs, Some(&mut *base.driver))?)
    }

    /// Lets no bytes move in these directions (`bufferevent_disable`). What is in the buffers stays.
    pub fn disable(self, base: &mut Base, dirs: Dirs) -> bool {
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.core.disable(key, dirs);
        true
    }

    /// Sets the low and the high mark of these directions, in bytes (`bufferevent_setwatermark`). What they mean is
    /// drawn in the [guide](crate::guide::bufferevents).
    pub fn set_watermark(self, base: &mut Base, dirs: Dirs, low: usize, high: usize) -> bool {
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.tick();
        base.core.set_watermark(key, dirs, Watermark { low, high });
        true
    }

    /// Reports [`Condition::Timeout`] when a direction has made no progress for so long although it could have
    /// (`bufferevent_set_timeouts`): reading while it is enabled and not at its high mark, writing while there is
    /// something to write. That direction is disabled then. `None` and zero are no timeout.
    pub fn set_timeouts(
        self,
        base: &mut Base,
        read: Option<Duration>,
        write: Option<Duration>,
    ) -> bool {
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.tick();
        base.core
            .set_timeouts(key, read.map(crate::nanos), write.map(crate::nanos));
        true
    }

    /// Limits what one transfer in these directions moves to so many bytes (`bufferevent_set_max_single_read` and
    /// `_write`); `None`: as many as is good.
    pub fn set_max_single(self, base: &mut Base, dirs: Dirs, max: Option<usize>) -> bool {
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.core.set_max_single(key, dirs, max);
        true
    }

    /// Sets the priority of its callbacks (`bufferevent_priority_set`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Priority`] when there is no such priority.
    pub fn set_priority(self, base: &mut Base, priority: u8) -> Result<()> {
        let key = base.slot(self).ok_or(Error::Stale)?.key;
        if base.core.set_stream_priority(key, priority) {
            Ok(())
        } else {
            Err(Error::Priority(priority))
        }
    }

    /// Gives it another socket, or none, and gives the former one back if it had one (`bufferevent_setfd`). What was
    /// enabled stays enabled; what is in the buffers stays; a connection attempt is forgotten.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::NotOnSystem`]; [`Error::Io`] when the kernel refuses to watch the socket. The former
    /// one is closed then.
    ///
    /// Of one over another, the lowest one's socket is exchanged.
    pub fn set_socket(self, base: &mut Base, socket: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
        let lowest = self.bottom(base);
        if lowest != self {
            return lowest.set_socket(base, socket);
        }
        base.native()?;
        base.tick();
        let (fd, kind) = match &socket {
            Some(socket) => base.prepare(socket)?,
            None => (-1, Kind::Stream),
        };
        self.stop_dialing(base)?;
        let slot = base.slot_mut(self).ok_or(Error::Stale)?;
        let key = slot.key;
        let fresh = socket.map_or(Descriptor::None, Descriptor::Given);
        let former = std::mem::replace(&mut slot.descriptor, fresh);
        base.core.set_fd(key, fd, kind, Some(&mut *base.driver))?;
        Ok(match former {
            Descriptor::Given(fd) | Descriptor::Connected(fd) => Some(fd),
            Descriptor::None | Descriptor::Adopted(_) => None,
        })
    }

    /// Ends one direction of the connection, or both, at once: output that is still in the buffer is not sent, so end
    /// writing in [`Handler::write`].
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::NotOnSystem`]; [`Error::Io`] when there is no connection.
    pub fn shutdown(self, base: &mut Base, how: Shutdown) -> Result<()> {
        base.native()?;
        let slot = base.slot(self.bottom(base)).ok_or(Error::Stale)?;
        Ok(ferrevent_sys::shutdown(slot.descriptor.number(), how)?)
    }

    /// Calls the handler from the loop as if bytes had been read or written (`bufferevent_trigger`), if the buffers
    /// stand at the low marks or beyond; with `ignore_watermarks` in any case.
    pub fn trigger(self, base: &mut Base, dirs: Dirs, ignore_watermarks: bool) -> bool {
        let Some(key) = base.live_key(self) else {
            return false;
        };
        let mut how = Trigger::DEFER;
        how.set(Trigger::IGNORE_WATERMARKS, ignore_watermarks);
        let at_once = base.core.trigger(key, dirs, how);
        debug_assert!(at_once.is_empty(), "handlers do not nest");
        true
    }

    /// Tells the handler of `condition`, from the loop (`bufferevent_trigger_event`).
    pub fn trigger_event(self, base: &mut Base, condition: Condition) -> bool {
        let Some(slot) = base.slot_mut(self) else {
            return false;
        };
        let (event, error) = condition.into_event();
        let number = error.as_ref().map_or(0, handler::error_number);
        if error.is_some() {
            slot.rare.get_or_insert_default().error = error;
        }
        let key = slot.key;
        let at_once = base.core.trigger_event(key, event, number, Trigger::DEFER);
        debug_assert!(at_once.is_empty(), "handlers do not nest");
        true
    }

    /// Frees it (`bufferevent_free` with `BEV_OPT_CLOSE_ON_FREE`): nobody is called any more, output that was not sent
    /// is dropped, and its socket is closed before the loop waits again. Any callback may do so, its own included. In the
    /// one that tells of [`Condition::Connected`], as much of the output is sent as the socket takes in one piece.
    pub fn free(self, base: &mut Base) -> bool {
        // It is freed all the same if it never dialed.
        let _ = self.stop_dialing(base);
        let Some(slot) = base.slot_mut(self) else {
            return false;
        };
        let handler = std::mem::replace(&mut slot.handler, Seat::Gone);
        let key = slot.key;
        #[cfg(feature = "tls")]
        let told = base.secure_free(self);
        #[cfg(not(feature = "tls"))]
        let told = false;
        if !told {
            base.say_last_words(self, key);
            base.core.free_stream(key);
        }
        drop(handler);
        true
    }

    /// Frees it, but gives its socket back instead of closing it (`bufferevent_free` without
    /// `BEV_OPT_CLOSE_ON_FREE`). `None` if it had none.
    ///
    /// Bytes that have been read are lost with the input buffer, so take those before.
    pub fn into_socket(self, base: &mut Base) -> Option<OwnedFd> {
        let slot = base.slot_mut(self)?;
        let socket = match std::mem::replace(&mut slot.descriptor, Descriptor::None) {
            Descriptor::Given(fd) | Descriptor::Connected(fd) => Some(fd),
            adopted => {
                slot.descriptor = adopted;
                None
            }
        };
        self.free(base);
        socket
    }
}

impl Base {
    /// The slot of a bufferevent that was not freed.
    pub(crate) fn slot(&self, bev: BufferEvent) -> Option<&StreamSlot> {
        self.streams.get(bev).filter(|slot| !slot.is_freed())
    }

    pub(crate) fn slot_mut(&mut self, bev: BufferEvent) -> Option<&mut StreamSlot> {
        self.streams.get_mut(bev).filter(|slot| !slot.is_freed())
    }

    fn live_key(&self, bev: BufferEvent) -> Option<StreamKey> {
        Some(self.slot(bev)?.key)
    }

    fn stream(&self, bev: BufferEvent) -> Option<&Stream<BufferEvent>> {
        self.core.stream(self.live_key(bev)?)
    }

    /// Makes a socket fit for the loop.
    fn prepare(&self, socket: &OwnedFd) -> io::Result<(Fd, Kind)> {
        let fd = socket.as_raw_fd();
        ferrevent_sys::set_nonblocking(fd, true)?;
        Ok((fd, self.transport.kind(fd)))
    }
}
