//! Bufferevents: a socket, two buffers, four watermarks, a handler.
//!
//! * here — the key, who owns what, what can be asked and set;
//! * `builder` — how they are made;
//! * `bytes` — the two buffers;
//! * `handler` — whom they call back.

mod builder;
mod bytes;
mod handler;

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::time::Duration;

use ferrevent_core::{Dirs, Watermark};
use libc::{c_int, c_short, timeval};
use slotmap::new_key_type;

pub use self::builder::BufferEventBuilder;
pub use self::bytes::BufferMut;
pub use self::handler::{Callbacks, Condition, Handler, Listens};
use crate::address::Address;
use crate::base::{Base, timeval_of};
use crate::error::{Error, Result};
use crate::ffi::{self, bufferevent};
use crate::seat::Seat;
use crate::shared::{Shared, to_arg};

new_key_type! {
    /// Names a bufferevent of a [`Base`] (libevent's `struct bufferevent`): a socket with an input and an output
    /// buffer, which the loop fills and empties, and a [`Handler`] that it tells.
    ///
    /// A key never dangles: one of a bufferevent that was freed, by Rust or by C, gives `None`, `false` or
    /// [`Error::Stale`]. Of those that Rust owns, Rust has a reference of its own (`bufferevent_incref`), so that the
    /// memory stays when C frees one by mistake. Rust sees that at the next use of the key, or as it makes other
    /// bufferevents, and gives its reference up.
    pub struct BufferEvent;
}

pub(crate) struct StreamSlot {
    raw: NonNull<bufferevent>,
    held: Held,
    handler: Seat<dyn Handler>,
    /// Whether a handler was ever set.
    ours: bool,
}

/// Who frees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Rust, which has made it on a socket that it owns.
    Made,
    /// Rust, which has made it as one end of a pair.
    Paired,
    /// Rust, to which C has given it.
    Given,
    /// C.
    Borrowed,
}

/// Passing them between Rust and C.
impl BufferEvent {
    /// Takes over a bufferevent that C has made: Rust frees it from now on, and calls nobody of C any more.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// `raw` is a live bufferevent of this base. C neither frees it any more nor sets its callbacks; it may write to it.
    pub unsafe fn from_raw(base: &mut Base, raw: *mut bufferevent) -> Self {
        let raw = NonNull::new(raw).expect("a bufferevent");
        base.insert_stream(raw, Held::Given)
    }

    /// Lends Rust a bufferevent that C has made and will free. C's callbacks stay until Rust
    /// [sets a handler](Self::set_handler). [`free`](Self::free) only forgets it: do that before C frees it.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// `raw` is a live bufferevent of this base, and stays so until Rust has forgotten it.
    pub unsafe fn borrow_raw(base: &mut Base, raw: *mut bufferevent) -> Self {
        let raw = NonNull::new(raw).expect("a bufferevent");
        base.insert_stream(raw, Held::Borrowed)
    }

    /// The bufferevent, for C to use but not to free, while it exists.
    pub fn as_raw(self, base: &Base) -> Option<NonNull<bufferevent>> {
        base.stream(self)
    }

    /// Gives the bufferevent to C, which has to free it and to set callbacks of its own; the key is stale then, and the
    /// handler dropped. Of one that was only lent to Rust, C gets its own back. `None` if it was freed.
    pub fn into_raw(self, base: &mut Base) -> Option<NonNull<bufferevent>> {
        let raw = base.stream(self)?;
        let slot = base.shared().streams.borrow_mut().remove(self)?;
        if slot.calls(self) {
            // SAFETY: it is live: `stream` has looked.
            unsafe { silence(raw) };
        }
        slot.unhand();
        Some(raw)
    }
}

/// What it is and how it stands; `None` if it has been freed.
impl BufferEvent {
    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.stream(self).is_some()
    }

    /// The enabled directions (`bufferevent_get_enabled`).
    pub fn enabled(self, base: &Base) -> Option<Dirs> {
        let raw = base.stream(self)?;
        // SAFETY: it is live: `stream` has looked.
        let enabled = unsafe { ffi::bufferevent_get_enabled(raw.as_ptr()) };
        Some(Dirs::from_bits_truncate(
            u8::try_from(enabled & 0xff).unwrap_or(0),
        ))
    }

    /// The watermarks of one direction (`bufferevent_getwatermark`).
    pub fn watermark(self, base: &Base, dir: Dirs) -> Option<Watermark> {
        let raw = base.stream(self)?;
        let (mut low, mut high) = (0, 0);
        let (low_out, high_out) = (&raw mut low, &raw mut high);
        // SAFETY: it is live: `stream` has looked.
        let known =
            unsafe { ffi::bufferevent_getwatermark(raw.as_ptr(), bits(dir), low_out, high_out) };
        (known == 0).then_some(Watermark { low, high })
    }

    /// Its priority (`bufferevent_get_priority`).
    pub fn priority(self, base: &Base) -> Option<u8> {
        let raw = base.stream(self)?;
        // SAFETY: it is live: `stream` has looked.
        u8::try_from(unsafe { ffi::bufferevent_get_priority(raw.as_ptr()) }).ok()
    }

    /// Its descriptor's number, if it has a descriptor (`bufferevent_getfd`).
    pub fn fd(self, base: &Base) -> Option<RawFd> {
        let raw = base.stream(self)?;
        // SAFETY: it is live: `stream` has looked.
        Some(unsafe { ffi::bufferevent_getfd(raw.as_ptr()) }).filter(|&fd| fd >= 0)
    }
}

/// What can be set. A `bool` says whether the bufferevent exists; if it does not, nothing happens.
impl BufferEvent {
    /// Sets whom it calls back (`bufferevent_setcb`): an object of your own, or [`Callbacks`] made of closures. The
    /// former handler is dropped, once it has returned if it is running.
    pub fn set_handler(self, base: &mut Base, handler: impl Handler) -> bool {
        let listens = handler.listens();
        self.seat(base, Seat::Taken(Box::new(handler)), listens)
    }

    /// Has it call nobody (`bufferevent_setcb` with `NULL`). It goes on to read and write.
    pub fn clear_handler(self, base: &mut Base) -> bool {
        self.seat(base, Seat::Empty, Listens::NONE)
    }

    fn seat(self, base: &mut Base, seat: Seat<dyn Handler>, listens: Listens) -> bool {
        let Some(raw) = base.stream(self) else {
            return false;
        };
        let former = {
            let mut streams = base.shared().streams.borrow_mut();
            let Some(slot) = streams.get_mut(self) else {
                return false;
            };
            slot.ours = true;
            std::mem::replace(&mut slot.handler, seat)
        };
        // SAFETY: it is live: `stream` has looked.
        unsafe { handler::listen(raw, self, listens) };
        drop(former);
        true
    }

    /// Lets bytes move in these directions (`bufferevent_enable`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`] when the kernel refuses to watch the descriptor.
    pub fn enable(self, base: &mut Base, dirs: Dirs) -> Result<()> {
        let raw = base.stream(self).ok_or(Error::Stale)?;
        // SAFETY: it is live: `stream` has looked, and nothing is borrowed if it calls back.
        match unsafe { ffi::bufferevent_enable(raw.as_ptr(), bits(dirs)) } {
            0 => Ok(()),
            _ => Err(Error::last()),
        }
    }

    /// Lets no bytes move in these directions (`bufferevent_disable`). What is in the buffers stays.
    pub fn disable(self, base: &mut Base, dirs: Dirs) -> bool {
        let Some(raw) = base.stream(self) else {
            return false;
        };
        // SAFETY: it is live: `stream` has looked.
        unsafe { ffi::bufferevent_disable(raw.as_ptr(), bits(dirs)) };
        true
    }

    /// Sets the low and the high mark of these directions, in bytes (`bufferevent_setwatermark`).
    pub fn set_watermark(self, base: &mut Base, dirs: Dirs, low: usize, high: usize) -> bool {
        let Some(raw) = base.stream(self) else {
            return false;
        };
        // SAFETY: it is live: `stream` has looked.
        unsafe { ffi::bufferevent_setwatermark(raw.as_ptr(), bits(dirs), low, high) };
        true
    }

    /// Reports [`Condition::Timeout`] when a direction has made no progress for so long although it could have
    /// (`bufferevent_set_timeouts`). That direction is disabled then. `None` and zero are no timeout.
    pub fn set_timeouts(
        self,
        base: &mut Base,
        read: Option<Duration>,
        write: Option<Duration>,
    ) -> bool {
        let Some(raw) = base.stream(self) else {
            return false;
        };
        let times = [read, write].map(|time| time.map(timeval_of));
        let [read, write] = times.each_ref().map(|time| {
            time.as_ref()
                .map_or(std::ptr::null(), std::ptr::from_ref::<timeval>)
        });
        // SAFETY: it is live: `stream` has looked. The times are read before the call returns.
        unsafe { ffi::bufferevent_set_timeouts(raw.as_ptr(), read, write) };
        true
    }

    /// Limits what one transfer in these directions moves to so many bytes (`bufferevent_set_max_single_read` and
    /// `_write`); `None`: as many as is good.
    pub fn set_max_single(self, base: &mut Base, dirs: Dirs, max: Option<usize>) -> bool {
        let Some(raw) = base.stream(self) else {
            return false;
        };
        let max = max.unwrap_or(0);
        if dirs.contains(Dirs::READ) {
            // SAFETY: it is live: `stream` has looked.
            unsafe { ffi::bufferevent_set_max_single_read(raw.as_ptr(), max) };
        }
        if dirs.contains(Dirs::WRITE) {
            // SAFETY: it is live: `stream` has looked.
            unsafe { ffi::bufferevent_set_max_single_write(raw.as_ptr(), max) };
        }
        true
    }

    /// Sets the priority of its callbacks (`bufferevent_priority_set`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Priority`] when there is no such priority.
    pub fn set_priority(self, base: &mut Base, priority: u8) -> Result<()> {
        let raw = base.stream(self).ok_or(Error::Stale)?;
        // SAFETY: it is live: `stream` has looked.
        match unsafe { ffi::bufferevent_priority_set(raw.as_ptr(), c_int::from(priority)) } {
            0 => Ok(()),
            _ => Err(Error::Priority(priority)),
        }
    }

    /// Starts to connect to an internet address (`bufferevent_socket_connect`), with a new socket if it has none. How that
    /// ends is told to the handler.
    ///
    /// # Errors
    /// [`Error::Io`] when the attempt cannot even begin, and of the kind `Unsupported` for one end of a pair, which has no
    /// use for a socket; [`Error::Stale`].
    pub fn connect(self, base: &mut Base, address: SocketAddr) -> Result<()> {
        let raw = base.stream(self).ok_or(Error::Stale)?;
        if self.is_paired(base, raw) {
            return Err(Error::Io(std::io::ErrorKind::Unsupported.into()));
        }
        let address = Address::from(address);
        let (address, len) = address.as_raw();
        // SAFETY: it is live: `stream` has looked, and the address outlives the call. Nothing is borrowed if it calls back.
        match unsafe { ffi::bufferevent_socket_connect(raw.as_ptr(), address, len) } {
            0 => Ok(()),
            _ => Err(Error::last()),
        }
    }

    /// Calls the handler from the loop as if bytes had been read or written (`bufferevent_trigger`), if the buffers
    /// stand at the low marks or beyond; with `ignore_watermarks` in any case.
    pub fn trigger(self, base: &mut Base, dirs: Dirs, ignore_watermarks: bool) -> bool {
        let Some(raw) = base.stream(self) else {
            return false;
        };
        let marks = if ignore_watermarks {
            ffi::BEV_TRIG_IGNORE_WATERMARKS
        } else {
            0
        };
        let how = ffi::BEV_TRIG_DEFER_CALLBACKS | marks;
        // SAFETY: it is live: `stream` has looked.
        unsafe { ffi::bufferevent_trigger(raw.as_ptr(), bits(dirs), how) };
        true
    }

    /// Tells the handler of `condition`, from the loop (`bufferevent_trigger_event`). Of an error it gets the kind only.
    pub fn trigger_event(self, base: &mut Base, condition: Condition) -> bool {
        let Some(raw) = base.stream(self) else {
            return false;
        };
        let how = ffi::BEV_TRIG_DEFER_CALLBACKS;
        // SAFETY: it is live: `stream` has looked.
        unsafe { ffi::bufferevent_trigger_event(raw.as_ptr(), condition.bits(), how) };
        true
    }

    /// Frees it (`bufferevent_free`): nobody is called any more, output that was not sent is dropped, and its socket is
    /// closed, unless C has made it without `BEV_OPT_CLOSE_ON_FREE`. Any callback may do so, its own included. The handler
    /// is dropped, once it has returned if it is running.
    ///
    /// One that was [lent](Self::borrow_raw) is only forgotten: C frees it. Returns whether it existed.
    pub fn free(self, base: &mut Base) -> bool {
        base.stream(self).is_some() && self.let_go(base)
    }

    /// Frees or forgets it, without a look at whether C has freed it.
    pub(crate) fn let_go(self, base: &mut Base) -> bool {
        let slot = base.shared().streams.borrow_mut().remove(self);
        let Some(slot) = slot else {
            return false;
        };
        if slot.calls(self) {
            // SAFETY: it is live: one that Rust owns by Rust's reference, and one that C has lent by the promise of
            // `borrow_raw`.
            unsafe { silence(slot.raw) };
            if slot.held != Held::Borrowed {
                // SAFETY: as above. The callbacks are still Rust's, so C has not freed it: Rust owns that reference.
                unsafe { ffi::bufferevent_free(slot.raw.as_ptr()) };
            }
        }
        slot.unhand();
        true
    }

    /// Frees it, but gives its socket back instead of closing it. `None` if Rust has not made it, or it has no socket; it
    /// is not freed then.
    ///
    /// Bytes that have been read are lost with the input buffer, so take those before.
    pub fn into_socket(self, base: &mut Base) -> Option<OwnedFd> {
        let fd = self.fd(base)?;
        let raw = base.stream(self)?;
        if base.shared().streams.borrow().get(self)?.held != Held::Made {
            return None;
        }
        // SAFETY: it is live: `stream` has looked.
        if unsafe { ffi::bufferevent_setfd(raw.as_ptr(), -1) } != 0 {
            return None;
        }
        self.free(base);
        // SAFETY: the bufferevent was made with a socket that it owns, and has been parted from it.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl BufferEvent {
    /// Whether it is one end of a pair, as far as that is known: C may have made it, and freed the other end.
    fn is_paired(self, base: &Base, raw: NonNull<bufferevent>) -> bool {
        let streams = base.shared().streams.borrow();
        let made = streams
            .get(self)
            .is_some_and(|slot| slot.held == Held::Paired);
        // SAFETY: it is live: the caller's `stream` has looked. It may be of any kind.
        made || !unsafe { ffi::bufferevent_pair_get_partner(raw.as_ptr()) }.is_null()
    }
}

impl Base {
    /// The bufferevent, if neither Rust nor C has freed it.
    pub(crate) fn stream(&self, bev: BufferEvent) -> Option<NonNull<bufferevent>> {
        let lost = {
            let mut streams = self.shared().streams.borrow_mut();
            let slot = streams.get(bev)?;
            if slot.held == Held::Borrowed || slot.arg() == to_arg(bev) {
                return Some(slot.raw);
            }
            streams.remove(bev)?
        };
        // C has freed it, or has set callbacks of its own. Either way C has what Rust owned.
        lost.unhand();
        None
    }

    fn insert_stream(&mut self, raw: NonNull<bufferevent>, held: Held) -> BufferEvent {
        let owned = held != Held::Borrowed;
        let bev = self.shared().streams.borrow_mut().insert(StreamSlot {
            raw,
            held,
            handler: Seat::Empty,
            ours: owned,
        });
        if owned {
            // SAFETY: it is live, by the promise of `from_raw` or because it was made just now.
            unsafe { ffi::bufferevent_incref(raw.as_ptr()) };
            // SAFETY: as above. The argument is how Rust sees that it was not freed.
            unsafe { handler::listen(raw, bev, Listens::NONE) };
            self.sweep(bev);
        }
        bev
    }

    /// Looks at two of those that Rust owns for whether C has freed them, so that their sockets do not stay open for ever.
    /// There is one more now.
    fn sweep(&self, fresh: BufferEvent) {
        let turns = &self.shared().turns;
        for _ in 0..2 {
            let next = turns.borrow_mut().pop_front();
            if let Some(bev) = next.filter(|&bev| self.stream(bev).is_some()) {
                turns.borrow_mut().push_back(bev);
            }
        }
        turns.borrow_mut().push_back(fresh);
    }
}

impl StreamSlot {
    /// The argument of its callbacks.
    fn arg(&self) -> *mut libc::c_void {
        let (mut read, mut write, mut event) = (None, None, None);
        let mut arg = std::ptr::null_mut();
        let outs = (&raw mut read, &raw mut write, &raw mut event, &raw mut arg);
        // SAFETY: it is live: one that Rust owns by Rust's reference, and one that C has lent by the promise of
        // `borrow_raw`.
        unsafe { ffi::bufferevent_getcb(self.raw.as_ptr(), outs.0, outs.1, outs.2, outs.3) };
        arg
    }

    /// Whether its callbacks are those of the bufferevent that Rust knows by this key.
    fn calls(&self, bev: BufferEvent) -> bool {
        self.ours && self.arg() == to_arg(bev)
    }

    /// Gives up what Rust has of it: its reference and its handler.
    fn unhand(self) {
        if self.held != Held::Borrowed {
            // SAFETY: Rust has taken this reference in `insert_stream`, and the slot is gone.
            unsafe { ffi::bufferevent_decref(self.raw.as_ptr()) };
        }
        drop(self.handler);
    }
}

/// Has it call nobody.
///
/// # Safety
/// It is live.
unsafe fn silence(raw: NonNull<bufferevent>) {
    let arg = std::ptr::null_mut();
    // SAFETY: the caller's promise.
    unsafe { ffi::bufferevent_setcb(raw.as_ptr(), None, None, None, arg) };
}

pub(crate) fn bits(dirs: Dirs) -> c_short {
    c_short::from(dirs.bits())
}

impl fmt::Debug for StreamSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSlot")
            .field("raw", &self.raw)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The handler of a bufferevent, let out to run, and whether it runs already.
    pub(crate) fn let_out(
        &self,
        bev: BufferEvent,
        raw: *mut bufferevent,
    ) -> (Option<Box<dyn Handler>>, bool) {
        let mut streams = self.streams.borrow_mut();
        match streams.get_mut(bev) {
            Some(slot) if slot.raw.as_ptr() == raw => {
                let out = slot.handler.is_out();
                (slot.handler.take(), out)
            }
            _ => (None, false),
        }
    }

    /// Lets it sit down again, or drops it if it has lost its place.
    pub(crate) fn let_in(&self, bev: BufferEvent, handler: Box<dyn Handler>) {
        let mut streams = self.streams.borrow_mut();
        let surplus = match streams.get_mut(bev) {
            Some(slot) => slot.handler.put_back(handler),
            None => Some(handler),
        };
        drop(streams);
        drop(surplus);
    }

    /// Whether the handler of this bufferevent runs, and has its place yet.
    pub(crate) fn is_out(&self, bev: BufferEvent) -> bool {
        self.streams
            .borrow()
            .get(bev)
            .is_some_and(|slot| slot.handler.is_out())
    }

    /// Leaves the place of a handler that has panicked empty.
    pub(crate) fn abandon(&self, bev: BufferEvent) {
        if let Some(slot) = self.streams.borrow_mut().get_mut(bev)
            && slot.handler.is_out()
        {
            slot.handler = Seat::Empty;
        }
    }
}
