//! Events on descriptors, timers and signals.

use std::fmt;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrevent_core::What;
use libc::{c_int, c_short, c_void, timeval};
use slotmap::new_key_type;

use crate::base::{Base, timeval_of};
use crate::error::{Error, Result};
use crate::ffi;
use crate::seat::Seat;
use crate::shared::{Shared, die};

new_key_type! {
    /// Names an event of a [`Base`] (libevent's `struct event`): a condition and a closure to call when it comes true.
    ///
    /// It exists until it is [freed](Self::free), which any callback may do, its own included. A key of one that was
    /// freed never dangles.
    pub struct Event;
}

pub(crate) struct EventSlot {
    raw: NonNull<ffi::event>,
    /// What C passes to our callback; none if the callback is C's.
    cookie: Option<NonNull<Cookie>>,
    /// Whether Rust is to free it.
    owned: bool,
    fd: c_int,
    what: What,
    /// To be freed before it runs.
    once: bool,
    call: Seat<dyn FnMut(&mut Base, Event, What)>,
}

/// By what the callback of an event finds it.
struct Cookie {
    thread: ThreadId,
    shared: Weak<Shared>,
    key: Event,
}

/// How an event stands (`event_pending`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// What it waits for, or is about to run for; empty for a timer.
    pub waits: What,
    /// Until its timeout passes.
    pub remaining: Option<Duration>,
}

/// Events of Rust.
impl Event {
    /// An event on a descriptor, not added yet (`event_new`). `what` says which conditions to wait for
    /// ([`READ`](What::READ), [`WRITE`](What::WRITE), [`CLOSED`](What::CLOSED)), and how
    /// ([`PERSIST`](What::PERSIST), [`EDGE`](What::EDGE)). `call` gets what happened, which may also be
    /// [`TIMEOUT`](What::TIMEOUT). If there is no memory, the key is one of a freed event.
    ///
    /// The event does not own the descriptor: free the event before you close it. Otherwise the event never fires, or
    /// fires for another file that has got the same number.
    pub fn new(
        base: &mut Base,
        fd: &impl AsRawFd,
        what: What,
        call: impl FnMut(&mut Base, Event, What) + 'static,
    ) -> Self {
        let what = what - What::SIGNAL;
        base.insert_event(fd.as_raw_fd(), what, false, Box::new(call))
    }

    /// A timer, not added yet (`evtimer_new`): it fires once for each [`add`](Self::add) with a timeout.
    pub fn timer(base: &mut Base, mut call: impl FnMut(&mut Base, Event) + 'static) -> Self {
        let call = move |base: &mut Base, event, _| call(base, event);
        base.insert_event(-1, What::empty(), false, Box::new(call))
    }

    /// An event on a signal, by its number, not added yet (`evsignal_new`). It is persistent.
    pub fn signal(
        base: &mut Base,
        signal: i32,
        mut call: impl FnMut(&mut Base, Event) + 'static,
    ) -> Self {
        let call = move |base: &mut Base, event, _| call(base, event);
        base.insert_event(signal, What::SIGNAL | What::PERSIST, false, Box::new(call))
    }
}

/// Events of C.
impl Event {
    /// Takes over an event that C has made, with C's callback: Rust frees it from now on.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// `raw` came of `event_new` on this base, and C does not free it any more. C's callback and its argument stay valid
    /// until it is freed.
    pub unsafe fn from_raw(base: &mut Base, raw: *mut ffi::event) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::adopt(base, raw, true) }
    }

    /// Lends Rust an event that C has made and will free, with C's callback. [`free`](Self::free) only deletes and forgets
    /// it.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// `raw` is an initialized event of this base, and stays one until Rust has forgotten it.
    pub unsafe fn borrow_raw(base: &mut Base, raw: *mut ffi::event) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::adopt(base, raw, false) }
    }

    unsafe fn adopt(base: &mut Base, raw: *mut ffi::event, owned: bool) -> Self {
        let raw = NonNull::new(raw).expect("an event");
        // SAFETY: the promise of `from_raw` and `borrow_raw`: it is initialized.
        let what = unsafe { ffi::event_get_events(raw.as_ptr()) };
        base.shared().events.borrow_mut().insert(EventSlot {
            raw,
            cookie: None,
            owned,
            fd: -1,
            what: What::from_bits_retain(what.cast_unsigned()),
            once: false,
            call: Seat::Empty,
        })
    }

    /// The event, for C to add, to delete or to activate, but not to free, while it exists.
    pub fn as_raw(self, base: &Base) -> Option<NonNull<ffi::event>> {
        Some(base.shared().events.borrow().get(self)?.raw)
    }

    /// Gives an event of C back to C; the key is stale then. `None` for one that has a closure of Rust, which C could not
    /// free, and for one that was freed: nothing happens then.
    pub fn into_raw(self, base: &mut Base) -> Option<NonNull<ffi::event>> {
        let mut events = base.shared().events.borrow_mut();
        if events.get(self)?.cookie.is_some() {
            return None;
        }
        // Of an event of C there is no closure that would be dropped while the events are borrowed.
        Some(events.remove(self)?.raw)
    }
}

/// What can be done with them.
impl Event {
    /// Adds it: it is pending from now on (`event_add`). With a timeout it also fires when nothing else has happened
    /// for so long. Adding what is pending already only sets the timeout anew; `None` then leaves it alone.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`] when the kernel or libevent refuses; [`Error::Signal`].
    pub fn add(self, base: &mut Base, timeout: Option<Duration>) -> Result<()> {
        let (raw, signal) = {
            let events = base.shared().events.borrow();
            let slot = events.get(self).ok_or(Error::Stale)?;
            (slot.raw, slot.signal())
        };
        let timeout = timeout.map(timeval_of);
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: it is in its slot, so it was not freed; the time is read before the call returns.
        match unsafe { ffi::event_add(raw.as_ptr(), timeout) } {
            0 => Ok(()),
            _ => Err(signal.map_or_else(Error::last, Error::Signal)),
        }
    }

    /// Makes it neither pending nor active (`event_del`). Returns whether it was either.
    pub fn del(self, base: &mut Base) -> bool {
        let was_there = self.pending(base).is_some();
        let Some(raw) = self.as_raw(base) else {
            return false;
        };
        // SAFETY: it is in its slot, so it was not freed.
        unsafe { ffi::event_del(raw.as_ptr()) };
        self.forget_calls(base, raw);
        was_there
    }

    /// libevent 2.1.12 counts down how often the callback of a signal is still to be called in a variable on its stack. An
    /// event that is deleted in its callback points there for ever, and writes there when it is deleted once more; so it is
    /// set up anew.
    fn forget_calls(self, base: &Base, raw: NonNull<ffi::event>) {
        let (signal, what, cookie) = {
            let events = base.shared().events.borrow();
            let running = events.get(self).filter(|slot| slot.call.is_out());
            let Some((slot, signal)) = running.and_then(|slot| Some((slot, slot.signal()?))) else {
                return;
            };
            (signal, bits(slot.what), slot.cookie)
        };
        let Some(cookie) = cookie else {
            return;
        };
        let (event, arg) = (raw.as_ptr(), cookie.as_ptr().cast());
        // SAFETY: it is in its slot, so it was not freed.
        let priority = unsafe { ffi::event_get_priority(event) };
        // SAFETY: the event has memory, by `event_new`, and was deleted. The base is live: one of its callbacks is running.
        unsafe { ffi::event_assign(event, base.raw(), signal, what, on_event, arg) };
        // SAFETY: as above.
        unsafe { ffi::event_priority_set(event, priority) };
    }

    /// Frees it; its closure does not run any more (`event_free`), and is dropped, once it has returned if it is running.
    /// Returns whether it existed.
    pub fn free(self, base: &mut Base) -> bool {
        let slot = base.shared().events.borrow_mut().remove(self);
        let Some(slot) = slot else {
            return false;
        };
        slot.dispose();
        true
    }

    /// Makes it run from the loop as if `what` had happened (`event_active`). Returns whether it exists.
    pub fn activate(self, base: &mut Base, what: What) -> bool {
        let Some(raw) = self.as_raw(base) else {
            return false;
        };
        // SAFETY: it is in its slot, so it was not freed.
        unsafe { ffi::event_active(raw.as_ptr(), c_int::from(what.bits()), 1) };
        true
    }

    /// Stops its timeout; it stays pending for the rest (`event_remove_timer`). Returns whether it exists.
    pub fn remove_timeout(self, base: &mut Base) -> bool {
        let Some(raw) = self.as_raw(base) else {
            return false;
        };
        // SAFETY: it is in its slot, so it was not freed.
        unsafe { ffi::event_remove_timer(raw.as_ptr()) };
        true
    }

    /// Sets its priority (`event_priority_set`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Priority`] when there is no such priority, or the event is about to run.
    pub fn set_priority(self, base: &mut Base, priority: u8) -> Result<()> {
        let raw = self.as_raw(base).ok_or(Error::Stale)?;
        // SAFETY: it is in its slot, so it was not freed.
        match unsafe { ffi::event_priority_set(raw.as_ptr(), c_int::from(priority)) } {
            0 => Ok(()),
            _ => Err(Error::Priority(priority)),
        }
    }

    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.shared().events.borrow().contains_key(self)
    }

    /// What it waits for; `None` if it is neither pending nor active (`event_pending`).
    pub fn pending(self, base: &Base) -> Option<Pending> {
        let raw = self.as_raw(base)?;
        let asked = What::IO | What::SIGNAL | What::TIMEOUT;
        let mut at = timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: it is in its slot, so it was not freed.
        let found = unsafe { ffi::event_pending(raw.as_ptr(), bits(asked), &raw mut at) };
        let found = What::from_bits_retain(u16::try_from(found).unwrap_or(0)) & asked;
        if found.is_empty() {
            return None;
        }
        let time = || {
            let at = Duration::new(u64::try_from(at.tv_sec).ok()?, 0)
                + Duration::from_micros(u64::try_from(at.tv_usec).ok()?);
            // A time that lies in the past has nothing left.
            Some(at.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).ok()?))
        };
        // An event that is active for its timeout has no time at which it comes.
        let timed = found.contains(What::TIMEOUT) && at.tv_sec != 0;
        Some(Pending {
            waits: found - What::TIMEOUT,
            remaining: timed.then(time).flatten(),
        })
    }

    /// Its priority (`event_get_priority`).
    pub fn priority(self, base: &Base) -> Option<u8> {
        let raw = self.as_raw(base)?;
        // SAFETY: it is in its slot, so it was not freed.
        u8::try_from(unsafe { ffi::event_get_priority(raw.as_ptr()) }).ok()
    }

    /// What it was made for (`event_get_events`).
    pub fn what(self, base: &Base) -> Option<What> {
        Some(base.shared().events.borrow().get(self)?.what)
    }
}

/// Events for the common cases.
impl Base {
    /// Runs `call` once, `delay` from now. The event is gone when it runs; until then it can be [freed](Event::free), or
    /// given another delay by [`add`](Event::add).
    pub fn after(&mut self, delay: Duration, call: impl FnOnce(&mut Self) + 'static) -> Event {
        let call = once(move |base, _| call(base));
        let event = self.insert_event(-1, What::empty(), true, call);
        self.start_timer(event, delay)
    }

    /// Runs `call` every `interval`, for the first time an interval from now, until the event is freed.
    pub fn every(
        &mut self,
        interval: Duration,
        mut call: impl FnMut(&mut Self, Event) + 'static,
    ) -> Event {
        let call = move |base: &mut Self, event, _| call(base, event);
        let event = self.insert_event(-1, What::PERSIST, false, Box::new(call));
        self.start_timer(event, interval)
    }

    /// Runs `call` once, when `fd` is ready for `what` or `timeout` has passed (`event_base_once`). The descriptor must
    /// stay open until then.
    ///
    /// # Errors
    /// Those of [`Event::add`].
    pub fn once(
        &mut self,
        fd: &impl AsRawFd,
        what: What,
        timeout: Option<Duration>,
        call: impl FnOnce(&mut Self, What) + 'static,
    ) -> Result<Event> {
        let what = what - What::SIGNAL - What::PERSIST;
        let event = self.insert_event(fd.as_raw_fd(), what, true, once(call));
        self.added(event, timeout)
    }

    /// Runs `call` whenever the signal arrives, until the event is freed.
    ///
    /// # Errors
    /// [`Error::Signal`] of a number that is no signal or cannot be caught.
    pub fn on_signal(
        &mut self,
        signal: i32,
        call: impl FnMut(&mut Self, Event) + 'static,
    ) -> Result<Event> {
        let event = Event::signal(self, signal, call);
        if !event.exists(self) {
            return Err(Error::Signal(signal));
        }
        self.added(event, None)
    }

    /// Runs a closure from the loop, in this pass if it is in one.
    pub fn defer(&mut self, task: impl FnOnce(&mut Self) + 'static) {
        let event = self.insert_event(-1, What::empty(), true, once(move |base, _| task(base)));
        event.activate(self, What::TIMEOUT);
    }

    fn added(&mut self, event: Event, timeout: Option<Duration>) -> Result<Event> {
        if let Err(error) = event.add(self, timeout) {
            event.free(self);
            return Err(error);
        }
        Ok(event)
    }

    fn start_timer(&mut self, event: Event, delay: Duration) -> Event {
        if event.add(self, Some(delay)).is_err() {
            // There is no memory; nobody would ever free it.
            event.free(self);
        }
        event
    }

    fn insert_event(
        &mut self,
        fd: c_int,
        what: What,
        once: bool,
        call: Box<dyn FnMut(&mut Self, Event, What)>,
    ) -> Event {
        let base = self.raw();
        let shared = self.shared();
        let mut refused = None;
        let event = shared.events.borrow_mut().try_insert_with_key(|key| {
            let cookie = NonNull::from(Box::leak(Box::new(Cookie {
                thread: thread::current().id(),
                shared: Rc::downgrade(shared),
                key,
            })));
            let arg = cookie.as_ptr().cast();
            // SAFETY: the base is live: `raw` has looked, or the promise of `Base::from_raw` holds. The cookie is freed
            // after the event. libevent calls nothing of ours in here, so that the slots may be borrowed.
            let raw = unsafe { ffi::event_new(base, fd, bits(what), on_event, arg) };
            let Some(raw) = NonNull::new(raw) else {
                // SAFETY: it came of `Box::leak` just now, and no event has it.
                drop(unsafe { Box::from_raw(cookie.as_ptr()) });
                refused = Some(call);
                return Err(());
            };
            Ok(EventSlot {
                raw,
                cookie: Some(cookie),
                owned: true,
                fd,
                what,
                once,
                call: Seat::Taken(call),
            })
        });
        drop(refused);
        event.unwrap_or_default()
    }

    /// Runs an event's closure.
    fn fire(&mut self, event: Event, what: What) {
        let shared = self.shared().clone();
        let taken = shared
            .events
            .borrow_mut()
            .get_mut(event)
            .map(|slot| (slot.call.take(), slot.once));
        let Some((Some(call), once)) = taken else {
            return;
        };
        if once {
            event.free(self);
        }
        let mut running = Running {
            shared: &shared,
            event,
            call: Some(call),
        };
        if let Some(call) = &mut running.call {
            call(self, event, what);
        }
        let Some(call) = running.call.take() else {
            return;
        };
        let mut events = shared.events.borrow_mut();
        let surplus = match events.get_mut(event) {
            Some(slot) => slot.call.put_back(call),
            None => Some(call),
        };
        drop(events);
        drop(surplus);
    }
}

/// A closure that runs. If it panics, its event is freed, and before it is dropped: it may own the descriptor, whose number
/// the next file gets.
struct Running<'a> {
    shared: &'a Rc<Shared>,
    event: Event,
    call: Option<Box<dyn FnMut(&mut Base, Event, What)>>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.call.is_some() {
            self.event.free(&mut Base::guest(self.shared.clone()));
        }
    }
}

impl EventSlot {
    /// The number of its signal, if it waits for one.
    fn signal(&self) -> Option<c_int> {
        self.what.contains(What::SIGNAL).then_some(self.fd)
    }

    fn dispose(self) {
        if !self.owned {
            // SAFETY: it was in its slot until now, so it was not freed: that is the promise of `borrow_raw`.
            unsafe { ffi::event_del(self.raw.as_ptr()) };
        }
        if self.owned {
            // SAFETY: it came of `event_new`, and nobody else frees it: that is what `owned` says. In the callback of a
            // signal this is also the only way: see `Event::del`.
            unsafe { ffi::event_free(self.raw.as_ptr()) };
        }
        if let Some(cookie) = self.cookie {
            // SAFETY: it came of `Box::leak`. The event that had it is deleted and does not call again; a call that is
            // running has read it already.
            drop(unsafe { Box::from_raw(cookie.as_ptr()) });
        }
        drop(self.call);
    }
}

/// What libevent calls.
unsafe extern "C" fn on_event(_fd: c_int, what: c_short, arg: *mut c_void) {
    let (shared, key) = {
        // SAFETY: `arg` is the cookie that the event was made with, which lives until after the event is deleted. What is
        // read from it is read before anybody could free the event.
        let cookie = unsafe { &*arg.cast::<Cookie>() };
        if cookie.thread != thread::current().id() {
            die("an event came on a thread that its base does not belong to");
        }
        (cookie.shared.upgrade(), cookie.key)
    };
    let what = What::from_bits_retain(what.cast_unsigned());
    if let Some(shared) = shared {
        shared.run(|base| base.fire(key, what));
    }
}

/// Makes of a closure that can be called once one that is called once.
fn once(call: impl FnOnce(&mut Base, What) + 'static) -> Box<dyn FnMut(&mut Base, Event, What)> {
    let mut call = Some(call);
    Box::new(move |base, _, what| {
        if let Some(call) = call.take() {
            call(base, what);
        }
    })
}

pub(crate) fn bits(what: What) -> c_short {
    what.bits().cast_signed()
}

impl fmt::Debug for EventSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSlot")
            .field("raw", &self.raw)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}
