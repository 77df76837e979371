//! `struct event_base`: a core, a driver, and the loop that runs them.
//!
//! With threads turned on, one mutex guards the core. It is a leaf: held for one call into the core, never over user
//! code, a wait, or a transfer of data.

#![allow(non_camel_case_types, reason = "these are C's names")]

mod control;
mod fork;
mod life;
mod lone;
mod query;
mod run;
mod running;
mod stock;
mod wait;

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::fmt;
use std::ptr;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Ready};
use ferrevent_core::{Clock, Core, Dirs, EventKey, Host, SignalChange, Slot};
use ferrevent_sys::{SignalInbox, System, Waker, monotonic};
use ferrevent_threads::Turns;
use libc::timeval;

use crate::abi::event;
use crate::buffer::evbuffer;
use crate::bufferevent::Bev;
use crate::dns::evdns_request;
use crate::event::{Block, InBlocks, Once};
use crate::lock::Leaf;
use crate::log;
use lone::Lone;
pub(crate) use lone::foretold;
use stock::{Returned, Stock};

pub use control::*;
pub use fork::*;
pub use life::*;
pub use query::*;
pub use run::*;
pub(crate) use running::wait_for_callback;
pub(crate) use stock::{give_back_found, renew};

/// The cookies of the C library are addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CHost;

impl Host for CHost {
    type Event = Address<event>;
    type Stream = Address<Bev>;
    type Task = Task;
    type Block = Block;
    type Slots = InBlocks<Slot>;
    type Clocks = InBlocks<Clock>;

    #[inline]
    fn event_in(slots: &Self::Slots, event: u32) -> Option<Self::Event> {
        slots.event(event).map(Address)
    }

    #[inline(always)]
    fn parts_of<'a>(
        slots: &'a mut Self::Slots,
        clocks: &'a mut Self::Clocks,
        number: u32,
        cookie: Self::Event,
    ) -> Option<(&'a mut Slot, &'a mut Clock)> {
        // SAFETY: whoever gives the core a cookie gives it an initialised event, and the key that is in it; the number is that
        // key's, or `event_in` has just named the event.
        unsafe { slots.with_clocks(clocks, number, cookie.0) }
    }
}

/// Where a C object is.
pub(crate) struct Address<T>(pub(crate) *mut T);

impl<T> fmt::Debug for Address<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.0, f)
    }
}

impl<T> Clone for Address<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Address<T> {}

impl<T> PartialEq for Address<T> {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.0, other.0)
    }
}

/// What else runs from the loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    /// The deferred callbacks of a buffer, which holds a reference for this.
    Buffer(Address<evbuffer>),
    /// The event's function is a finalizer now (`event_finalize`).
    Finalizer(Address<event>),
    /// A look-up of a name has ended; the task owns the request.
    Dns(Address<evdns_request>),
}

/// An event base.
pub struct event_base {
    leaf: Option<Leaf>,
    lone: Lone,
    returned: Returned,
    /// `None` once the base has been freed.
    inner: UnsafeCell<Option<Inner>>,
}

/// What the leaf lock guards.
pub(crate) struct Inner {
    pub(crate) core: Core<CHost>,
    /// Taken out while its owner waits with the lock released.
    driver: Option<System>,
    method: &'static str,
    features: c_int,
    waker: Waker,
    signals: SignalInbox,
    ready: Vec<Ready>,
    /// Which thread loops, whether it waits, and the event whose callback runs.
    turns: Turns<*mut event, libc::pthread_t>,
    /// It has been deleted since: a signal that arrived several times is not called back again.
    calls_cancelled: bool,
    pub(crate) onces: Vec<*mut Once>,
    /// Given out by `event_base_init_common_timeout`, and so boxed: they do not move.
    #[allow(clippy::vec_box, reason = "programs keep pointers to them")]
    pub(crate) shared_timeouts: Vec<Box<timeval>>,
    /// The time of day that belongs to the core's time.
    wall: Option<(u64, Duration)>,
    /// The process that the driver was made in: a child must not use its parent's.
    forks: u32,
    freed: bool,
    options: ferrevent_sys::Options,
    /// Lines for the log, whose function is the program's: it runs when nothing is borrowed any more.
    complaints: Vec<String>,
    stock: Stock,
}

impl event_base {
    /// Runs `f` on the core, with the lock held. A base that has been freed ends the program.
    ///
    /// # Safety
    /// `this` is a base, and `f` neither runs user code nor comes back here.
    #[inline]
    pub(crate) unsafe fn with<R>(this: *mut Self, f: impl FnOnce(&mut Inner) -> R) -> R {
        // As `try_with`, without a detour of the result by an `Option`.
        // SAFETY: as there.
        let held = unsafe { (*this).leaf.as_ref() }.map(Leaf::hold);
        // SAFETY: as there.
        let Some(inner) = (unsafe { (*(*this).inner.get()).as_mut() }) else {
            drop(held);
            end_of_use_after_free()
        };
        let result = f(inner);
        inner.end_hold(held.is_some());
        if !inner.complaints.is_empty() {
            let complaints = std::mem::take(&mut inner.complaints);
            drop(held);
            tell(complaints);
        }
        result
    }

    /// As [`with`](Self::with), but does nothing on a base that has been freed.
    ///
    /// # Safety
    /// As [`with`](Self::with).
    #[inline]
    pub(crate) unsafe fn try_with<R>(
        this: *mut Self,
        f: impl FnOnce(&mut Inner) -> R,
    ) -> Option<R> {
        // SAFETY: the memory of a base stays one; `leaf` does not change while it is in use.
        let held = unsafe { (*this).leaf.as_ref() }.map(Leaf::hold);
        // SAFETY: the lock, or the program's promise to use one thread, keeps others out, and by this function's
        // contract no outer call of it is still at work.
        let inner = unsafe { (*(*this).inner.get()).as_mut() }?;
        let result = f(inner);
        inner.end_hold(held.is_some());
        if !inner.complaints.is_empty() {
            let complaints = std::mem::take(&mut inner.complaints);
            drop(held);
            tell(complaints);
        }
        Some(result)
    }

    /// As [`try_with`](Self::try_with), but what is to be written to the log waits for the next call, so that no user code
    /// runs in this one. For callers that hold a lock.
    ///
    /// # Safety
    /// As [`with`](Self::with).
    pub(crate) unsafe fn try_with_quietly<R>(
        this: *mut Self,
        f: impl FnOnce(&mut Inner) -> R,
    ) -> Option<R> {
        // SAFETY: the memory of a base stays one; `leaf` does not change while it is in use.
        let held = unsafe { (*this).leaf.as_ref() }.map(Leaf::hold);
        // SAFETY: as in `try_with`.
        let inner = unsafe { (*(*this).inner.get()).as_mut() }?;
        let result = f(inner);
        inner.end_hold(held.is_some());
        Some(result)
    }

    /// Whether several threads may use the base at once.
    ///
    /// # Safety
    /// `this` is a base, freed or not.
    pub(crate) unsafe fn is_shared(this: *mut Self) -> bool {
        // SAFETY: by this function's contract.
        unsafe { (*this).leaf.is_some() }
    }
}

#[cold]
#[inline(never)]
fn end_of_use_after_free() -> ! {
    log::fatal("an event_base was used after event_base_free")
}

#[cold]
#[inline(never)]
fn tell(complaints: Vec<String>) {
    complaints.iter().for_each(|line| log::warn(line));
}

impl Inner {
    /// The core and the driver. There is no driver while another thread waits with it.
    pub(crate) fn parts(&mut self) -> (&mut Core<CHost>, Option<&mut dyn Driver>) {
        (
            &mut self.core,
            self.driver.as_mut().map(|driver| driver as &mut dyn Driver),
        )
    }

    /// Has a line written to the log, once the base is not borrowed any more.
    #[cold]
    pub(crate) fn complain(&mut self, line: String) {
        self.complaints.push(line);
    }

    /// The core is let go. Where threads `share` the base, work that is due and that nobody has taken is left to the loop:
    /// another thread that took it would do it with a bufferevent's lock held, and it may be for one with another lock.
    #[inline]
    fn end_hold(&mut self, share: bool) {
        if share && self.core.has_due() {
            self.leave_due();
        }
    }

    #[cold]
    fn leave_due(&mut self) {
        self.core.leave_due();
        self.settle();
    }

    /// Whether the log has to be told something.
    fn has_complaints(&self) -> bool {
        !self.complaints.is_empty()
    }

    /// To be called before anything that starts a timeout.
    pub(crate) fn refresh_clock(&mut self) {
        if !self.core.has_pass_time() {
            self.core.set_now(monotonic());
        }
    }

    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.core.has_signal_changes() {
            self.apply_signals();
        }
        if self.turns.must_wake(this_thread) {
            self.waker.wake();
        }
    }

    /// Returns false if the system refuses one.
    pub(crate) fn apply_signals(&mut self) -> bool {
        let mut applied = true;
        for change in self.core.take_signal_changes() {
            let (signal, result) = match change {
                SignalChange::Watch(signal) => (signal, self.signals.subscribe(signal)),
                SignalChange::Unwatch(signal) => (signal, self.signals.unsubscribe(signal)),
            };
            if let Err(error) = result {
                self.complain(format!("signal {signal}: {error}"));
                applied = false;
            }
        }
        applied
    }
}

/// Names this thread. Asked in every call, so that it is not one itself.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn this_thread() -> libc::pthread_t {
    let thread: libc::pthread_t;
    // SAFETY: the processor's ABI has the address of a thread's control block, by which the C library too names a thread,
    // at the beginning of that block.
    unsafe {
        std::arch::asm!(
            "mov {}, fs:0", out(reg) thread,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    thread
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn this_thread() -> libc::pthread_t {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::pthread_self() }
}

/// The directions in C's numbers.
pub(crate) fn dirs(what: i16) -> Dirs {
    Dirs::from_bits_truncate(what as u8)
}

/// A key as C memory holds it; 0 is none.
pub(crate) fn key_of(number: u64) -> Option<EventKey> {
    (number != 0).then(|| slotmap::KeyData::from_ffi(number).into())
}
