//! The event base.

use std::ffi::CStr;
use std::fmt;
use std::panic::resume_unwind;
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::Duration;

use ferrevent_core::{LoopEnd, LoopFlags};
use libc::{c_int, timeval};

use crate::error::{Error, Result};
use crate::ffi;
use crate::shared::{Shared, die};

/// An event base: a `struct event_base` of libevent, which Rust or C has made, and what Rust has on it.
///
/// This value is a handle. Several may stand for the same base, such as the `&mut Base` that each callback gets; all that
/// Rust has on the base is known to each of them. It stays on its thread, which is the one that runs the loop:
///
/// ```compile_fail,E0277
/// fn elsewhere<T: Send>(_: T) {}
/// elsewhere(ferrevent_mixed::Base::new());
/// ```
pub struct Base {
    shared: Rc<Shared>,
    owner: bool,
}

impl Base {
    /// A base that Rust owns (`event_base_new`): dropping it frees everything that Rust has on it, and then the base.
    ///
    /// # Errors
    /// [`Error::Io`] when the system is out of descriptors or memory.
    pub fn new() -> Result<Self> {
        // SAFETY: it has no preconditions.
        let raw = unsafe { ffi::event_base_new() };
        let raw = NonNull::new(raw).ok_or_else(Error::last)?;
        Ok(Self {
            shared: Shared::of(raw),
            owner: true,
        })
    }

    /// A handle for a base that C owns. All handles for one base share what Rust has on it; dropping one changes nothing.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// - `raw` is a live base, and stays so for as long as Rust has anything on it. Before C frees it, Rust has freed its
    ///   events, bufferevents, listeners and state, for instance by [`release`](Self::release), and this handle is gone.
    /// - This thread runs the loop of `raw`, now and later, and is the only one that uses it from Rust.
    /// - While a buffer is lent ([`BufferMut`](crate::BufferMut)), no handle of the base is used but the one that has lent
    ///   it: a C function that is called meanwhile does not come back to Rust with this base.
    pub unsafe fn from_raw(raw: *mut ffi::event_base) -> Self {
        let raw = NonNull::new(raw).expect("a base");
        Self::guest(Shared::of(raw))
    }

    /// Frees everything that Rust has on the base: call it before C frees that. The keys are stale afterwards. The closure
    /// that is running, if one is, is dropped when it has returned.
    /// State that is lent is dropped when it is given back.
    pub fn release(self) {
        self.shared.clear();
    }

    /// The base, for C to use as long as it is there: C may add to it whatever it likes, and run its loop.
    ///
    /// # Panics
    /// If the base has been freed: a handle of [`from_raw`](Self::from_raw) may be there yet.
    pub fn as_raw(&self) -> *mut ffi::event_base {
        self.raw()
    }

    pub(crate) fn guest(shared: Rc<Shared>) -> Self {
        Self {
            shared,
            owner: false,
        }
    }

    /// Whether this is still the handle that a callback was given. Who has put another one in its place has kept it, and
    /// could use it beside the owner: change what that has lent, and use what that has freed.
    pub(crate) fn is_guest_of(&self, shared: &Rc<Shared>) -> bool {
        !self.owner && Rc::ptr_eq(&self.shared, shared)
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub(crate) fn raw(&self) -> *mut ffi::event_base {
        self.shared.raw().expect("the base has been freed").as_ptr()
    }

    /// The driver's name (`event_base_get_method`), such as "epoll".
    pub fn method(&self) -> &'static str {
        // SAFETY: the base is live: `raw` has looked, or the promise of `from_raw` holds. The name is one of libevent's
        // constants, so it outlives everything.
        let name = unsafe { CStr::from_ptr(ffi::event_base_get_method(self.raw())) };
        name.to_str().unwrap_or("unknown")
    }

    /// How many priorities there are (`event_base_get_npriorities`).
    pub fn priorities(&self) -> usize {
        // SAFETY: as in `method`, the base is live.
        usize::try_from(unsafe { ffi::event_base_get_npriorities(self.raw()) }).unwrap_or(0)
    }

    /// Runs callbacks, of Rust and of C, as things happen, until nothing is left to wait for, or the loop is told to end
    /// (`event_base_dispatch`).
    ///
    /// A callback of Rust that panics ends the loop, and the panic passes through here. Under a loop that C runs it ends
    /// the program, with a message.
    ///
    /// # Errors
    /// [`Error::Running`] inside a callback; [`Error::Io`] when the wait itself fails.
    pub fn run(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::empty())
    }

    /// As [`run`](Self::run), but goes on when nothing is left to wait for (`EVLOOP_NO_EXIT_ON_EMPTY`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_until_stopped(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::NO_EXIT_ON_EMPTY)
    }

    /// Waits until something is ready, runs that, and returns (`EVLOOP_ONCE`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_once(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::ONCE)
    }

    /// Runs what is ready now, without waiting, and returns (`EVLOOP_NONBLOCK`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_nonblocking(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::NONBLOCK)
    }

    /// Runs with any combination of flags (`event_base_loop`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_with(&mut self, flags: LoopFlags) -> Result<LoopEnd> {
        // Kept beside `self`, which a callback cannot reach.
        let shared = self.shared.clone();
        if shared.in_callback() || shared.looping.get() {
            return Err(Error::Running);
        }
        shared.looping.set(true);
        // SAFETY: as in `method`, the base is live, and stays so: `self` is borrowed until the loop ends. Nothing of ours
        // is borrowed while callbacks run.
        let ended = unsafe { ffi::event_base_loop(self.raw(), c_int::from(flags.bits())) };
        let error = std::io::Error::last_os_error();
        shared.looping.set(false);
        if let Some(panic) = shared.take_panic() {
            resume_unwind(panic);
        }
        match ended {
            0 => Ok(LoopEnd::Stopped),
            1 => Ok(LoopEnd::Empty),
            _ => Err(Error::Io(error)),
        }
    }

    /// Ends the loop after the pass in which `delay` has passed; zero: after this pass, or after the first one of the
    /// next loop (`event_base_loopexit`).
    pub fn loop_exit(&mut self, delay: Duration) {
        // SAFETY: as in `method`, the base is live; it copies the time. Without memory for the event nothing happens.
        unsafe { ffi::event_base_loopexit(self.raw(), &timeval_of(delay)) };
    }

    /// Ends the loop after the callback that runs now; outside a loop it has no effect (`event_base_loopbreak`).
    pub fn loop_break(&mut self) {
        // SAFETY: as in `method`, the base is live.
        unsafe { ffi::event_base_loopbreak(self.raw()) };
    }

    /// Looks for new events after the callback that runs now, rather than after all those that are ready
    /// (`event_base_loopcontinue`).
    pub fn loop_continue(&mut self) {
        // SAFETY: as in `method`, the base is live.
        unsafe { ffi::event_base_loopcontinue(self.raw()) };
    }

    /// Whether the last loop ended by [`loop_exit`](Self::loop_exit) (`event_base_got_exit`).
    pub fn got_exit(&self) -> bool {
        // SAFETY: as in `method`, the base is live.
        unsafe { ffi::event_base_got_exit(self.raw()) != 0 }
    }

    /// Whether the last loop ended by [`loop_break`](Self::loop_break) (`event_base_got_break`).
    pub fn got_break(&self) -> bool {
        // SAFETY: as in `method`, the base is live.
        unsafe { ffi::event_base_got_break(self.raw()) != 0 }
    }

    /// Starts from a fresh kernel instance, in a child process after `fork` (`event_reinit`).
    ///
    /// # Errors
    /// [`Error::Io`] when the system cannot make one.
    pub fn reinit(&mut self) -> Result<()> {
        // SAFETY: as in `method`, the base is live.
        match unsafe { ffi::event_reinit(self.raw()) } {
            0 => Ok(()),
            _ => Err(Error::last()),
        }
    }
}

/// The nearest time that is not shorter; 68 years are for ever.
pub(crate) fn timeval_of(time: Duration) -> timeval {
    let micros = time.as_nanos().div_ceil(1000);
    let most = u128::from(i32::MAX.unsigned_abs()) * 1_000_000;
    let micros = i64::try_from(micros.min(most)).unwrap_or(i64::MAX);
    timeval {
        tv_sec: micros / 1_000_000,
        tv_usec: micros % 1_000_000,
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("raw", &self.shared.raw())
            .field("owner", &self.owner)
            .field("events", &self.shared.events.borrow().len())
            .field("bufferevents", &self.shared.streams.borrow().len())
            .field("listeners", &self.shared.listeners.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if !self.owner {
            self.shared.tidy();
            return;
        }
        if self.shared.in_callback() || self.shared.looping.get() {
            die("a base was dropped in one of its own callbacks, under its running loop");
        }
        let raw = self.raw();
        self.shared.clear();
        self.shared.end();
        // SAFETY: it came of `event_base_new` and nobody but this value frees it. Nothing of Rust is on it any more, and
        // no handle uses it: `Shared` has ended.
        unsafe { ffi::event_base_free(raw) };
    }
}
