//! `struct event_base`: a core, a driver, and the loop that runs them.
//!
//! With threads turned on, one mutex guards the core. It is a leaf: held for one call into the core, never over user
//! code, a wait, or a transfer of data.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_void};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use ferrevent_core::driver::{Driver, Ready};
use ferrevent_core::{
    Core, Dirs, EventKey, Host, LoopEnd, LoopFlags, SignalChange, Step, What, timeout_until,
};
use ferrevent_sys::{SignalInbox, System, Waker, monotonic};
use libc::timeval;

use crate::abi::{event, event_callback_fn};
use crate::buffer::{self, evbuffer};
use crate::bufferevent::{self, Bev};
use crate::config::event_config;
use crate::event::{Once, nanoseconds};
use crate::lock::Leaf;
use crate::{debug, event as events, finalize, lock, log};

/// The cookies of the C library are addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CHost;

impl Host for CHost {
    type Event = Address<event>;
    type Stream = Address<Bev>;
    type Task = Task;
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
}

/// An event base.
pub struct event_base {
    leaf: Option<Leaf>,
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
    looper: Option<libc::pthread_t>,
    /// The event whose callback runs.
    running: *mut event,
    /// It has been deleted since: a signal that arrived several times is not called back again.
    calls_cancelled: bool,
    waiters: usize,
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
}

/// Freed bases. Programs delete and free events whose base has gone, and in a program with threads that must ask the
/// base whether the event's callback runs: so its memory stays a (freed) base, and is used again for new ones only after
/// a good while.
mod retired {
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};

    use super::event_base;

    struct Pointer(*mut event_base);

    // SAFETY: nobody else uses what a retired base owns, which is nothing but its lock.
    unsafe impl Send for Pointer {}

    static RETIRED: Mutex<VecDeque<Pointer>> = Mutex::new(VecDeque::new());

    const KEPT: usize = 64;

    pub(super) fn take(base: event_base) -> *mut event_base {
        let mut retired = RETIRED.lock().unwrap_or_else(PoisonError::into_inner);
        if retired.len() <= KEPT {
            return Box::into_raw(Box::new(base));
        }
        let Some(Pointer(reused)) = retired.pop_front() else {
            return Box::into_raw(Box::new(base));
        };
        // SAFETY: it came from `Box::into_raw`, and has been out of use for long.
        unsafe { *reused = base };
        reused
    }

    /// # Safety
    /// `base` is live, and not used any more.
    pub(super) unsafe fn put(base: *mut event_base) {
        // SAFETY: by this function's contract.
        let inner = unsafe { (*(*base).inner.get()).take() };
        drop(inner);
        let mut retired = RETIRED.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push_back(Pointer(base));
    }
}

/// The base of the functions that take none.
static CURRENT: AtomicPtr<event_base> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn current() -> *mut event_base {
    CURRENT.load(Ordering::Acquire)
}

/// There is no current base any more.
pub(crate) fn forget_current() {
    CURRENT.store(ptr::null_mut(), Ordering::Release);
}

impl event_base {
    /// Runs `f` on the core, with the lock held. A base that has been freed ends the program.
    ///
    /// # Safety
    /// `this` is a base, and `f` neither runs user code nor comes back here.
    #[inline]
    pub(crate) unsafe fn with<R>(this: *mut Self, f: impl FnOnce(&mut Inner) -> R) -> R {
        // SAFETY: handed through.
        match unsafe { Self::try_with(this, f) } {
            Some(result) => result,
            None => log::fatal("an event_base was used after event_base_free"),
        }
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
        let _held = unsafe { (*this).leaf.as_ref() }.map(Leaf::hold);
        // SAFETY: the lock, or the program's promise to use one thread, keeps others out, and by this function's
        // contract no outer call of it is still at work.
        unsafe { (*(*this).inner.get()).as_mut() }.map(f)
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

impl Inner {
    /// The core and the driver. There is no driver while another thread waits with it.
    pub(crate) fn parts(&mut self) -> (&mut Core<CHost>, Option<&mut dyn Driver>) {
        (
            &mut self.core,
            self.driver.as_mut().map(|driver| driver as &mut dyn Driver),
        )
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
        if self.driver.is_none() && self.looper != Some(this_thread()) {
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
                log::warn(&format!("signal {signal}: {error}"));
                applied = false;
            }
        }
        applied
    }

    fn sync(&mut self) {
        if let Some(driver) = &mut self.driver {
            self.core.sync(driver, |failed| {
                log::warn(&format!(
                    "descriptor {} is not watched: {}",
                    failed.fd, failed.error
                ));
            });
        }
    }

    fn wait_done(&mut self) {
        let core = &mut self.core;
        self.signals
            .drain(|signal, count| core.handle_signal(signal, count.min(0x7fff) as u16));
        core.handle_ready(&self.ready);
        self.ready.clear();
        let now = core.needs_time().then(monotonic);
        core.wait_done(now);
    }

    /// A forked child shares the parent's epoll instance, and would steal from it.
    fn check_process(&mut self) {
        if ferrevent_sys::fork_generation() == self.forks {
            return;
        }
        log::warn("event_base used after fork without event_reinit; doing that now");
        if let Err(error) = self.reinit() {
            log::warn(&format!("event_reinit: {error}"));
        }
    }

    fn reinit(&mut self) -> std::io::Result<()> {
        let Some(driver) = &self.driver else {
            return Err(std::io::ErrorKind::ResourceBusy.into());
        };
        // Nothing of the old driver may be shared with the parent, its waker and signals included.
        let driver = System::open(driver.method(), self.options)?;
        let mut signals = SignalInbox::open(driver.waker())?;
        for signal in self.core.watched_signals() {
            signals.subscribe(signal)?;
        }
        self.forks = ferrevent_sys::fork_generation();
        self.waker = driver.waker();
        self.signals = signals;
        self.driver = Some(driver);
        self.core.driver_replaced();
        Ok(())
    }
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::pthread_self() }
}

pub(crate) fn new_base(config: &event_config) -> *mut event_base {
    let Some(driver) = config.open_driver() else {
        log::warn("event_base_new_with_config: no event mechanism available");
        return ptr::null_mut();
    };
    let waker = driver.waker();
    let signals = match SignalInbox::open(waker.clone()) {
        Ok(signals) => signals,
        Err(error) => {
            log::warn(&format!("event_base_new: {error}"));
            return ptr::null_mut();
        }
    };
    let mut core = Core::new(driver.features());
    config.limit(&mut core);
    // libevent refuses the mixture only where it looks for mistakes.
    core.allow_mixed_triggers(!debug::is_on());
    debug::note_use();
    core.set_now(monotonic());
    let leaf = (lock::threads_enabled() && !config.lockless()).then(Leaf::new);
    let inner = Inner {
        core,
        method: config.method_name(&driver),
        features: c_int::from(driver.features().bits()),
        driver: Some(driver),
        waker,
        signals,
        ready: Vec::new(),
        looper: None,
        running: ptr::null_mut(),
        calls_cancelled: false,
        waiters: 0,
        onces: Vec::new(),
        shared_timeouts: Vec::new(),
        wall: None,
        forks: ferrevent_sys::fork_generation(),
        freed: false,
        options: config.driver_options(),
    };
    retired::take(event_base {
        leaf,
        inner: UnsafeCell::new(Some(inner)),
    })
}

/// `event_base_new`
#[unsafe(no_mangle)]
pub extern "C" fn event_base_new() -> *mut event_base {
    new_base(&event_config::default())
}

/// `event_init`: makes the base that the functions without one use.
#[unsafe(no_mangle)]
pub extern "C" fn event_init() -> *mut event_base {
    let base = event_base_new();
    if base.is_null() {
        log::fatal("event_init: unable to construct an event_base");
    }
    CURRENT.store(base, Ordering::Release);
    base
}

/// `event_base_free`
///
/// # Safety
/// `base` is NULL, for the base of [`event_init`], or a base that is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_free(base: *mut event_base) {
    // SAFETY: by this function's contract.
    unsafe { free_base(base, true) }
}

/// `event_base_free_nofinalize`
///
/// # Safety
/// As [`event_base_free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_free_nofinalize(base: *mut event_base) {
    // SAFETY: by this function's contract.
    unsafe { free_base(base, false) }
}

unsafe fn free_base(base: *mut event_base, finalize: bool) {
    let base = if base.is_null() { current() } else { base };
    if base.is_null() {
        log::warn("event_base_free: no base to free");
        return;
    }
    let _ = CURRENT.compare_exchange(base, ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
    // SAFETY: the base is live until `drop_if_unused`; the closures run no user code.
    unsafe {
        let (pending, onces) = event_base::with(base, |inner| {
            let pending: Vec<_> = inner.core.events().collect();
            for (key, _) in &pending {
                inner.core.del_event(*key);
            }
            inner.apply_signals();
            (pending, std::mem::take(&mut inner.onces))
        });
        for (key, address) in pending {
            events::forget(address.0, key);
        }
        for once in onces {
            events::drop_once(once);
        }
        let next = || event_base::with(base, |inner| inner.core.take_final_item());
        while let Some(item) = finalize.then(next).flatten() {
            run_step(base, item);
        }
        event_base::with(base, |inner| inner.freed = true);
        drop_if_unused(base);
    }
}

/// Gives a freed base's memory back, once no bufferevent is left that points to it.
///
/// # Safety
/// `base` is live.
pub(crate) unsafe fn drop_if_unused(base: *mut event_base) {
    // SAFETY: by this function's contract; nobody uses a freed base without bufferevents any more.
    unsafe {
        let unused = event_base::with(base, |inner| {
            inner.freed && inner.core.stream_cookies().next().is_none()
        });
        if unused {
            retired::put(base);
        }
    }
}

/// `event_reinit`: in a child process after `fork`. 0, or -1.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_reinit(base: *mut event_base) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    match unsafe { event_base::with(base, Inner::reinit) } {
        Ok(()) => 0,
        Err(error) => {
            log::warn(&format!("event_reinit: {error}"));
            -1
        }
    }
}

/// `event_base_dispatch`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_dispatch(base: *mut event_base) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loop(base, 0) }
}

/// `event_base_loop`: 0 when it was told to end, 1 when nothing is left to wait for, -1 on an error.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loop(base: *mut event_base, flags: c_int) -> c_int {
    if base.is_null() {
        log::warn("event_base_loop: no event_base");
        return -1;
    }
    let flags = LoopFlags::from_bits_truncate(flags as u8);
    // SAFETY: the base is live; the closures run no user code, and `run_step` does so outside of them.
    unsafe {
        let begun = event_base::with(base, |inner| {
            inner.check_process();
            let begun = inner.core.begin_loop(flags);
            if begun {
                inner.looper = Some(this_thread());
            }
            begun
        });
        if !begun {
            log::warn(
                "event_base_loop: reentrant invocation.  Only one event_base_loop can run on each \
                 event_base at once.",
            );
            return -1;
        }
        let result = loop {
            match next_step(base) {
                Next::Call(call) => run_event(base, &call),
                Next::Step(Step::Done(LoopEnd::Stopped)) => break 0,
                Next::Step(Step::Done(LoopEnd::Empty)) => break 1,
                Next::Step(Step::Wait { until }) => {
                    if !wait(base, until) {
                        break -1;
                    }
                }
                Next::Step(step) => run_step(base, step),
            }
        };
        event_base::with(base, |inner| inner.looper = None);
        result
    }
}

/// What the loop does next.
enum Next {
    Call(Call),
    Step(Step<CHost>),
}

/// An event's function, taken out of its struct while the lock is held: a thread that deletes the event then waits for
/// the call, and cannot take the struct away before.
struct Call {
    callback: unsafe extern "C" fn(c_int, i16, *mut c_void),
    fd: c_int,
    arg: *mut c_void,
    what: i16,
    times: u16,
}

unsafe fn next_step(base: *mut event_base) -> Next {
    // SAFETY: the caller's; no user code runs. The struct of an event that fires is alive, by the C API's contract.
    unsafe {
        event_base::with(base, |inner| {
            if inner.core.wants_clock() {
                inner.core.set_now(monotonic());
            }
            inner.finish_running(base);
            loop {
                let step = inner.core.step();
                // A signal's last event may have gone by firing.
                if inner.core.has_signal_changes() {
                    inner.apply_signals();
                }
                let fired = match step {
                    Step::Event(fired) => fired,
                    step => return Next::Step(step),
                };
                let ev = fired.cookie.0;
                let Some((callback, fd, arg)) = events::take_fired(ev, &fired) else {
                    log::warn("an event was initialised anew while it was pending; it is dropped");
                    if let Some(key) = fired.key {
                        inner.core.del_event(key);
                    }
                    continue;
                };
                inner.running = ev;
                inner.calls_cancelled = false;
                return Next::Call(Call {
                    callback,
                    fd,
                    arg,
                    what: (fired.what & !What::PERSIST).bits() as i16,
                    times: fired.calls,
                });
            }
        })
    }
}

impl Inner {
    /// The time of day, which stands still within a pass.
    fn time_of_day(&mut self) -> Duration {
        if !self.core.is_running_callbacks() {
            return ferrevent_sys::realtime();
        }
        self.refresh_clock();
        let pass = self.core.now();
        if let Some((known, time)) = self.wall
            && known == pass
        {
            return time;
        }
        let age = monotonic().saturating_sub(pass);
        let time = ferrevent_sys::realtime().saturating_sub(Duration::from_nanos(age));
        self.wall = Some((pass, time));
        time
    }

    /// The event is deleted, perhaps by its own callback.
    pub(crate) fn cancel_calls(&mut self, ev: *mut event) {
        self.calls_cancelled |= ptr::eq(self.running, ev);
    }

    /// The callback that ran has returned: whoever waits for that goes on.
    fn finish_running(&mut self, base: *mut event_base) {
        self.running = ptr::null_mut();
        if self.waiters > 0 {
            // SAFETY: the base is live, since its loop runs.
            if let Some(leaf) = unsafe { (*base).leaf.as_ref() } {
                leaf.notify();
            }
        }
    }
}

/// Waits for readiness. Returns false if that failed.
unsafe fn wait(base: *mut event_base, until: Option<u64>) -> bool {
    // SAFETY: the caller's; no user code runs in here.
    unsafe {
        let outcome = if (*base).leaf.is_some() {
            let taken = event_base::with(base, |inner| {
                inner.sync();
                inner
                    .driver
                    .take()
                    .map(|driver| (driver, std::mem::take(&mut inner.ready)))
            });
            let Some((mut driver, mut ready)) = taken else {
                return false;
            };
            let timeout = timeout_until(until, monotonic);
            let outcome = driver.wait(timeout, &mut ready);
            event_base::with(base, |inner| {
                inner.driver = Some(driver);
                inner.ready = ready;
                inner.wait_done();
            });
            outcome
        } else {
            event_base::with(base, |inner| {
                inner.sync();
                let Some(driver) = &mut inner.driver else {
                    return Ok(());
                };
                let timeout = timeout_until(until, monotonic);
                let outcome = driver.wait(timeout, &mut inner.ready);
                inner.wait_done();
                outcome
            })
        };
        if let Err(error) = outcome {
            log::warn(&format!("event_base_loop: {error}"));
            event_base::with(base, |inner| inner.core.abort_loop());
            return false;
        }
        true
    }
}

unsafe fn run_step(base: *mut event_base, step: Step<CHost>) {
    // SAFETY: the cookies of a step belong to objects that are alive: an event's memory must stay while it is pending
    // or active, a bufferevent goes only by `Finalize`, and a buffer task holds a reference.
    unsafe {
        match step {
            Step::Stream(work) => bufferevent::run(base, work),
            Step::Finalize(bev) => bufferevent::finalize(base, bev.0),
            Step::Task(Task::Buffer(buffer)) => buffer::run_deferred(buffer.0),
            Step::Task(Task::Finalizer(ev)) => finalize::run(ev.0),
            // Events run by `run_event`; the others are the loop's own.
            Step::Event(_) | Step::Wait { .. } | Step::Done(_) => {}
        }
    }
}

unsafe fn run_event(base: *mut event_base, call: &Call) {
    // SAFETY: the program promises a function of this type; after the first call only the key is trusted.
    unsafe {
        for time in 0..call.times {
            if time > 0 {
                let goes_on = event_base::with(base, |inner| {
                    !inner.calls_cancelled && !inner.core.got_break()
                });
                if !goes_on {
                    return;
                }
            }
            (call.callback)(call.fd, call.what, call.arg);
        }
    }
}

/// Waits until a callback that runs in another thread has returned.
///
/// # Safety
/// `base` is live, or was once; its lock is not held by this thread.
pub(crate) unsafe fn wait_for_callback(base: *mut event_base, ev: *mut event) {
    // SAFETY: by this function's contract.
    let Some(leaf) = (unsafe { (*base).leaf.as_ref() }) else {
        return;
    };
    let mut held = leaf.hold();
    loop {
        // SAFETY: the lock is held; the reference ends before it is given up.
        let Some(inner) = (unsafe { &mut *(*base).inner.get() }) else {
            return;
        };
        if inner.running != ev || inner.looper == Some(this_thread()) {
            return;
        }
        inner.waiters += 1;
        held.wait();
        // SAFETY: the lock is held again.
        if let Some(inner) = unsafe { &mut *(*base).inner.get() } {
            inner.waiters -= 1;
        }
    }
}

/// Has a buffer's deferred callbacks run from the loop.
///
/// # Safety
/// `base` is live; `buf` holds a reference for this.
pub(crate) unsafe fn push_buffer_task(base: *mut event_base, buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            let priority = inner.core.default_priority();
            inner.core.push_task(priority, Task::Buffer(Address(buf)));
            inner.settle();
        });
    }
}

/// `event_base_loopexit`: after the pass in which `tv` has passed; NULL: after this one.
///
/// # Safety
/// `base` is live; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopexit(base: *mut event_base, tv: *const timeval) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let delay = tv.as_ref().map_or(0, nanoseconds);
        event_base::with(base, |inner| {
            inner.refresh_clock();
            inner.core.loop_exit(delay);
            inner.settle();
        });
    }
    0
}

/// `event_base_loopbreak`: after the callback that runs now.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopbreak(base: *mut event_base) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.loop_break();
            inner.settle();
        });
    }
    0
}

/// `event_base_loopcontinue`: looks for new events after the callback that runs now.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopcontinue(base: *mut event_base) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.loop_continue();
            inner.settle();
        });
    }
    0
}

/// `event_base_got_exit`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_got_exit(base: *mut event_base) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| c_int::from(inner.core.got_exit())) }
}

/// `event_base_got_break`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_got_break(base: *mut event_base) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| c_int::from(inner.core.got_break())) }
}

/// `event_base_get_method`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_method(base: *const event_base) -> *const c_char {
    // SAFETY: by this function's contract; the names end in NUL.
    unsafe { event_base::with(base.cast_mut(), |inner| inner.method.as_ptr().cast()) }
}

/// `event_base_get_features`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_features(base: *const event_base) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base.cast_mut(), |inner| inner.features) }
}

/// `event_base_priority_init`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_priority_init(base: *mut event_base, n: c_int) -> c_int {
    let Ok(n) = usize::try_from(n) else { return -1 };
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            if inner.core.set_priorities(n).is_ok() {
                0
            } else {
                -1
            }
        })
    }
}

/// `event_base_get_npriorities`
///
/// # Safety
/// `base` is NULL, for the current one, or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_npriorities(base: *mut event_base) -> c_int {
    let base = if base.is_null() { current() } else { base };
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| inner.core.priorities() as c_int) }
}

/// `event_base_gettimeofday_cached`
///
/// # Safety
/// `base` is NULL or live; `tv` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_gettimeofday_cached(
    base: *mut event_base,
    tv: *mut timeval,
) -> c_int {
    let base = if base.is_null() { current() } else { base };
    let now = if base.is_null() {
        ferrevent_sys::realtime()
    } else {
        // SAFETY: by this function's contract.
        unsafe { event_base::with(base, Inner::time_of_day) }
    };
    // SAFETY: by this function's contract.
    unsafe { tv.write(events::timeval_of(now)) };
    0
}

/// `event_base_update_cache_time`
///
/// # Safety
/// `base` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_update_cache_time(base: *mut event_base) -> c_int {
    let base = if base.is_null() { current() } else { base };
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| inner.core.set_now(monotonic())) };
    0
}

/// `event_base_active_by_fd`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_active_by_fd(base: *mut event_base, fd: c_int, what: i16) {
    let what = What::from_bits_truncate(what as u16);
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.activate_fd(fd, what);
            inner.settle();
        });
    }
}

/// `event_base_active_by_signal`
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_active_by_signal(base: *mut event_base, signal: c_int) {
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.core.handle_signal(signal, 1);
            inner.settle();
        });
    }
}

/// `event_base_get_running_event`: the event whose callback runs, or NULL.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_running_event(base: *mut event_base) -> *mut event {
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| inner.running) }
}

/// `event_base_once`
///
/// # Safety
/// `base` is live; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_once(
    base: *mut event_base,
    fd: c_int,
    what: i16,
    callback: event_callback_fn,
    arg: *mut std::ffi::c_void,
    tv: *const timeval,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { events::once(base, fd, what, callback, arg, tv) }
}

/// The directions in C's numbers.
pub(crate) fn dirs(what: i16) -> Dirs {
    Dirs::from_bits_truncate(what as u8)
}

/// A key as C memory holds it; 0 is none.
pub(crate) fn key_of(number: u64) -> Option<EventKey> {
    (number != 0).then(|| slotmap::KeyData::from_ffi(number).into())
}
