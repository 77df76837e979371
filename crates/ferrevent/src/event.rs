//! Events on descriptors, timers and signals.

use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use ferrevent_core::driver::Fd;
use ferrevent_core::{EventKey, EventSpec, Fired, SignalChange, What};
use ferrevent_sys::SignalInbox;
use slotmap::new_key_type;

use crate::base::Base;
use crate::builder::Warning;
use crate::error::{Error, Result};
use crate::seat::Seat;

new_key_type! {
    /// Names an event of a [`Base`] (libevent's `struct event`): a condition and a closure to call when it comes true.
    ///
    /// An event is made, *added* (from then on it is pending), and fires. One without [`What::PERSIST`] is not pending
    /// any more when its closure runs, but can be added again; one with it stays. It exists until it is
    /// [freed](Self::free), which any callback may do, its own included.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use ferrevent::{Base, Event, What};
    ///
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = Base::new()?;
    /// let (mut reader, mut writer) = UnixStream::pair()?;
    /// let fd = reader.try_clone()?;
    /// let event = Event::new(&mut base, &fd, What::READ | What::PERSIST, move |base, event, _| {
    ///     let mut byte = [0];
    ///     if reader.read(&mut byte).is_ok_and(|n| n == 1) {
    ///         println!("got {}", byte[0]);
    ///         event.free(base);
    ///     }
    /// });
    /// event.add(&mut base, None)?;
    /// writer.write_all(b"!")?;
    /// base.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub struct Event;
}

pub(crate) struct EventSlot {
    /// Of the core; it knows the event only while that is pending or active.
    key: Option<EventKey>,
    fd: Fd,
    what: What,
    priority: u8,
    /// To be freed before it runs.
    once: bool,
    call: Seat<dyn FnMut(&mut Base, Event, What)>,
}

/// How an event stands (`event_pending`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What it waits for; empty for a timer.
    pub waits: What,
    /// What it is about to run for.
    pub active: What,
    /// Until its timeout passes.
    pub remaining: Option<Duration>,
}

/// Descriptors: of anything that has one, or a bare number.
impl Event {
    /// An event on a descriptor, not added yet (`event_new`). `what` says which conditions to wait for
    /// ([`READ`](What::READ), [`WRITE`](What::WRITE), [`CLOSED`](What::CLOSED)), and how
    /// ([`PERSIST`](What::PERSIST), [`EDGE`](What::EDGE)). `call` gets what happened, which may also be
    /// [`TIMEOUT`](What::TIMEOUT).
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
    ///
    /// For the common cases see [`Base::after`] and [`Base::every`].
    pub fn timer(base: &mut Base, mut call: impl FnMut(&mut Base, Event) + 'static) -> Self {
        let call = move |base: &mut Base, event, _| call(base, event);
        base.insert_event(-1, What::empty(), false, Box::new(call))
    }

    /// An event on a signal, by its number, not added yet (`evsignal_new`). It is persistent. The closure runs as often
    /// as the signal was seen to arrive; the kernel may merge several into one.
    ///
    /// While any base of the process waits for a signal, its former disposition is out of force.
    pub fn signal(
        base: &mut Base,
        signal: i32,
        mut call: impl FnMut(&mut Base, Event) + 'static,
    ) -> Self {
        let call = move |base: &mut Base, event, _| call(base, event);
        base.insert_event(signal, What::SIGNAL | What::PERSIST, false, Box::new(call))
    }

    /// Adds it: it is pending from now on (`event_add`). With a timeout it also fires when nothing else has happened
    /// for so long. Adding what is pending already only sets the timeout anew; `None` then leaves it alone.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`] when the kernel refuses the descriptor (`EPERM`: a regular file under epoll);
    /// [`Error::MixedTriggers`]; [`Error::Signal`]; [`Error::NotOnSystem`] for a signal.
    pub fn add(self, base: &mut Base, timeout: Option<Duration>) -> Result<()> {
        base.tick();
        let slot = base.events.get_mut(self).ok_or(Error::Stale)?;
        let is_signal = slot.what.contains(What::SIGNAL);
        if is_signal && base.system.is_none() {
            return Err(Error::NotOnSystem);
        }
        let added = base.core.add_event(
            slot.key,
            slot.spec(self),
            timeout.map(crate::nanos),
            Some(&mut *base.driver),
        );
        slot.key = added?.key;
        if is_signal {
            let signal = slot.fd;
            if base.apply_signal_changes().is_err() {
                self.del(base);
                return Err(Error::Signal(signal));
            }
        }
        Ok(())
    }

    /// Makes it neither pending nor active (`event_del`). Returns whether it was either.
    pub fn del(self, base: &mut Base) -> bool {
        let Some(slot) = base.events.get_mut(self) else {
            return false;
        };
        let was_there = slot.key.take().is_some_and(|key| base.core.del_event(key));
        base.settle_signals();
        was_there
    }

    /// Frees it; its closure does not run any more (`event_free`). Returns whether it existed.
    pub fn free(self, base: &mut Base) -> bool {
        self.del(base);
        base.events.remove(self).is_some()
    }

    /// Makes it run from the loop as if `what` had happened (`event_active`). Returns whether it exists.
    pub fn activate(self, base: &mut Base, what: What) -> bool {
        let Some(slot) = base.events.get_mut(self) else {
            return false;
        };
        let spec = slot.spec(self);
        slot.key = Some(base.core.activate_event(slot.key, spec, what, 1));
        true
    }

    /// Stops its timeout; it stays pending for the rest (`event_remove_timer`). Returns whether it exists.
    pub fn remove_timeout(self, base: &mut Base) -> bool {
        let Some(slot) = base.events.get(self) else {
            return false;
        };
        if let Some(key) = slot.key {
            base.core.remove_event_timer(key);
        }
        true
    }

    /// Sets its priority (`event_priority_set`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Priority`] when there is no such priority, or the event is about to run.
    pub fn set_priority(self, base: &mut Base, priority: u8) -> Result<()> {
        let slot = base.events.get_mut(self).ok_or(Error::Stale)?;
        let known = slot
            .key
            .is_none_or(|key| base.core.set_event_priority(key, priority));
        if !known || usize::from(priority) >= base.core.priorities() {
            return Err(Error::Priority(priority));
        }
        slot.priority = priority;
        Ok(())
    }

    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.events.contains_key(self)
    }

    /// What it waits for and is about to run for; `None` if it is neither pending nor active (`event_pending`).
    pub fn pending(self, base: &Base) -> Option<Pending> {
        let info = base.core.event_info(base.events.get(self)?.key?)?;
        let now = crate::nanos(base.now());
        let remaining = info
            .deadline
            .map(|deadline| Duration::from_nanos(deadline.saturating_sub(now)));
        Some(Pending {
            waits: info.waits,
            active: info.active,
            remaining,
        })
    }

    /// Its priority (`event_get_priority`).
    pub fn priority(self, base: &Base) -> Option<u8> {
        Some(base.events.get(self)?.priority)
    }

    /// What it was made for (`event_get_events`).
    pub fn what(self, base: &Base) -> Option<What> {
        Some(base.events.get(self)?.what)
    }
}

/// Events for the common cases.
impl Base {
    /// Runs `call` once, `delay` from now (`event_base_once`). The event is gone when it runs; until then it can be
    /// [freed](Event::free), or given another delay by [`add`](Event::add).
    pub fn after(&mut self, delay: Duration, call: impl FnOnce(&mut Self) + 'static) -> Event {
        let call = once(move |base, _| call(base));
        let event = self.insert_event(-1, What::empty(), true, call);
        self.start_timer(event, delay)
    }

    /// Runs `call` every `interval`, for the first time an interval from now, until the event is freed. An interval
    /// counts from the time at which the last one should have ended, so that the rate holds.
    pub fn every(
        &mut self,
        interval: Duration,
        mut call: impl FnMut(&mut Self, Event) + 'static,
    ) -> Event {
        let call = move |base: &mut Self, event, _| call(base, event);
        let event = self.insert_event(-1, What::PERSIST, false, Box::new(call));
        self.start_timer(event, interval)
    }

    /// Runs `call` once, when `fd` is ready for `what` or `timeout` has passed (`event_base_once`). As with
    /// [`Event::new`], the descriptor must stay open until then.
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
    /// [`Error::Signal`] of a number that is no signal or cannot be caught; [`Error::NotOnSystem`].
    pub fn on_signal(
        &mut self,
        signal: i32,
        call: impl FnMut(&mut Self, Event) + 'static,
    ) -> Result<Event> {
        let event = Event::signal(self, signal, call);
        self.added(event, None)
    }

    fn added(&mut self, event: Event, timeout: Option<Duration>) -> Result<Event> {
        if let Err(error) = event.add(self, timeout) {
            event.free(self);
            return Err(error);
        }
        Ok(event)
    }

    fn start_timer(&mut self, event: Event, delay: Duration) -> Event {
        let started = event.add(self, Some(delay));
        debug_assert!(
            started.is_ok(),
            "a timer needs nothing that could be refused"
        );
        event
    }

    fn insert_event(
        &mut self,
        fd: Fd,
        what: What,
        once: bool,
        call: Box<dyn FnMut(&mut Self, Event, What)>,
    ) -> Event {
        let priority = self.core.default_priority();
        self.events.insert(EventSlot {
            key: None,
            fd,
            what,
            priority,
            once,
            call: Seat::Taken(call),
        })
    }

    /// Runs an event's closure.
    pub(crate) fn fire(&mut self, fired: Fired<Event>) {
        let event = fired.cookie;
        let Some(slot) = self.events.get_mut(event) else {
            return;
        };
        slot.key = fired.key;
        let Some(mut call) = slot.call.take() else {
            return;
        };
        if slot.once {
            self.events.remove(event);
        }
        self.running = Some(event);
        let result = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..fired.calls {
                call(self, event, fired.what);
                let done = !self.events.contains_key(event) || !self.core.still_running(fired.key);
                if done || self.core.got_break() {
                    break;
                }
            }
        }));
        self.running = None;
        if let Err(panic) = result {
            // The event goes before its closure: that may own the descriptor, whose number the next file gets.
            event.free(self);
            drop(call);
            resume_unwind(panic);
        }
        if let Some(slot) = self.events.get_mut(event) {
            slot.call.put_back(call);
        }
    }

    /// Counts the signals that have arrived.
    pub(crate) fn collect_signals(&mut self) {
        let Some(inbox) = self
            .system
            .as_mut()
            .and_then(|native| native.signals.as_mut())
        else {
            return;
        };
        let core = &mut self.core;
        inbox.drain(|signal, count| {
            core.handle_signal(signal, u16::try_from(count).unwrap_or(u16::MAX));
        });
    }

    /// Applies what the core wants of signals, where only giving one back can be due.
    pub(crate) fn settle_signals(&mut self) {
        if let Err((signal, error)) = self.apply_signal_changes() {
            (self.warn)(Warning::Signal { signal, error });
        }
    }

    fn apply_signal_changes(&mut self) -> Result<(), (i32, io::Error)> {
        let mut refused = Ok(());
        for change in self.core.take_signal_changes() {
            let (SignalChange::Watch(signal) | SignalChange::Unwatch(signal)) = change;
            if let Err(error) = self.apply_signal_change(change) {
                refused = Err((signal, error));
            }
        }
        refused
    }

    fn apply_signal_change(&mut self, change: SignalChange) -> io::Result<()> {
        // Without a system no signal event was ever added.
        let Some(native) = &mut self.system else {
            return Ok(());
        };
        match (change, &mut native.signals) {
            (SignalChange::Watch(signal), Some(inbox)) => inbox.subscribe(signal),
            (SignalChange::Watch(signal), none) => {
                let inbox = SignalInbox::open(native.waker.clone())?;
                none.insert(inbox).subscribe(signal)
            }
            (SignalChange::Unwatch(signal), Some(inbox)) => inbox.unsubscribe(signal),
            (SignalChange::Unwatch(_), None) => Ok(()),
        }
    }
}

impl EventSlot {
    pub(crate) fn fd(&self) -> Fd {
        self.fd
    }

    pub(crate) fn what(&self) -> What {
        self.what
    }

    fn spec(&self, event: Event) -> EventSpec<Event> {
        EventSpec {
            cookie: event,
            fd: self.fd,
            what: self.what,
            priority: self.priority,
            place: 0,
        }
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
