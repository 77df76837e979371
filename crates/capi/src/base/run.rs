//! The loop.

use std::ffi::{c_int, c_void};

use ferrevent_core::{EventKey, Fired, Io, LoopEnd, LoopFlags, Step, StreamKey};
use ferrevent_sys::monotonic;

use super::lone::NO_THREAD;
use super::wait::{Lent, wait};
use super::{Address, CHost, Inner, Task, event_base, this_thread};
use crate::abi::event;
use crate::bufferevent::Bev;
use crate::{buffer, bufferevent, dns, event as events, finalize, log};

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
        let mut begin = Some(flags);
        let mut lent = None;
        let result = loop {
            match next_step(base, begin.take(), &mut lent) {
                Next::Call(call) => {
                    run_event(base, call);
                    while let Some(call) = next_call(base) {
                        run_event(base, call);
                    }
                }
                Next::Done(LoopEnd::Stopped) => break 0,
                Next::Done(LoopEnd::Empty) => break 1,
                Next::Wait(until) => {
                    if !wait(base, until, lent.take()) {
                        break -1;
                    }
                }
                Next::Failed => break -1,
                Next::Refused => {
                    log::warn(
                        "event_base_loop: reentrant invocation.  Only one event_base_loop can run on \
                         each event_base at once.",
                    );
                    return -1;
                }
                Next::Deferred(bev, key) => bufferevent::run_deferred(base, bev, key),
                Next::Step(step) => run_step(base, step),
            }
        };
        event_base::note_looper(base, NO_THREAD);
        if event_base::is_shared(base) {
            event_base::with(base, |inner| inner.turns.end_loop());
        }
        result
    }
}

/// What the loop does next.
enum Next {
    Call(Call),
    /// Wait until then, with nothing borrowed.
    Wait(Option<u64>),
    /// The deferred callbacks of this bufferevent.
    Deferred(*mut Bev, StreamKey),
    Step(Step<CHost>),
    Done(LoopEnd),
    /// The wait has failed.
    Failed,
    /// A loop runs already.
    Refused,
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

/// The next step, if it is an event's function and nothing else has to be looked at: the hot path.
#[inline(always)]
unsafe fn next_call(base: *mut event_base) -> Option<Call> {
    // SAFETY: the caller's; no user code runs. The struct of an event that fires is alive, by the C API's contract.
    unsafe {
        if let Some(inner) = event_base::clear(base) {
            // That no callback runs any more is noted if there is no next one. Nobody waits for it.
            let fired = inner.core.step_event()?;
            return inner.begin_call(&fired);
        }
        event_base::with(base, |inner| {
            inner.finish_running(base);
            let fired = inner.core.step_event()?;
            inner.begin_call(&fired)
        })
    }
}

/// A loop that is to `begin` does that first. A base of one thread waits in here, unless the log has to be told something
/// first: nobody needs the base meanwhile. One with several threads lends its driver to the wait.
///
/// Inlined, as what it calls is: after a wait in the kernel, a processor may have forgotten where functions return to.
#[inline(always)]
unsafe fn next_step(
    base: *mut event_base,
    begin: Option<LoopFlags>,
    lent: &mut Option<Lent>,
) -> Next {
    // SAFETY: the caller's; no user code runs. The struct of an event that fires is alive, by the C API's contract.
    unsafe {
        let shared = event_base::is_shared(base);
        event_base::with(base, |inner| {
            if let Some(flags) = begin {
                inner.check_process();
                if !inner.core.begin_loop(flags) {
                    return Next::Refused;
                }
                let thread = this_thread();
                inner.turns.begin_loop(thread);
                event_base::note_looper(base, thread);
            } else {
                if inner.core.wants_clock() {
                    inner.core.set_now(monotonic());
                }
                inner.finish_running(base);
            }
            loop {
                match inner.core.step() {
                    Step::Event(fired) => {
                        if let Some(call) = inner.begin_call(&fired) {
                            return Next::Call(call);
                        }
                    }
                    Step::Wait { until } => {
                        inner.sync();
                        if shared {
                            *lent = inner.lend_driver();
                        }
                        if shared || inner.has_complaints() {
                            return Next::Wait(until);
                        }
                        if !inner.wait(until) {
                            return Next::Failed;
                        }
                    }
                    Step::Done(end) => return Next::Done(end),
                    Step::Stream(work) if work.io == Io::CallDeferred => {
                        return Next::Deferred(work.cookie.0, work.key);
                    }
                    step => return Next::Step(step),
                }
            }
        })
    }
}

impl Inner {
    /// Prepares the call of an event that fires; `None` if its struct has been initialised anew, and it is dropped.
    ///
    /// # Safety
    /// The core has just let it fire, so that its struct is alive.
    #[inline(always)]
    unsafe fn begin_call(&mut self, fired: &Fired<Address<event>>) -> Option<Call> {
        // A signal's last event may have gone by firing.
        if self.core.has_signal_changes() {
            self.apply_signals();
        }
        let ev = fired.cookie.0;
        // SAFETY: by this function's contract.
        let Some((callback, fd, arg)) = (unsafe { events::take_fired(ev, fired) }) else {
            self.drop_fired(fired.key);
            return None;
        };
        self.turns.begin_callback(ev);
        self.calls_cancelled = false;
        Some(Call {
            callback,
            fd,
            arg,
            what: fired.what.bits() as i16,
            times: fired.calls,
        })
    }

    #[cold]
    fn drop_fired(&mut self, key: Option<EventKey>) {
        self.complain(
            "an event was initialised anew while it was pending; it is dropped".to_owned(),
        );
        if let Some(key) = key {
            self.core.del_event(key);
        }
    }
}

pub(super) unsafe fn run_step(base: *mut event_base, step: Step<CHost>) {
    // SAFETY: the cookies of a step belong to objects that are alive: an event's memory must stay while it is pending
    // or active, a bufferevent goes only by `Finalize`, and a buffer task holds a reference.
    unsafe {
        match step {
            Step::Stream(work) => bufferevent::run(base, work),
            Step::Finalize(bev) => bufferevent::finalize(base, bev.0),
            Step::Task(Task::Buffer(buffer)) => buffer::run_deferred(buffer.0),
            Step::Task(Task::Finalizer(ev)) => finalize::run(ev.0),
            Step::Task(Task::Dns(request)) => dns::run(request.0),
            // Events run by `run_event`; the others are the loop's own.
            Step::Event(_) | Step::Wait { .. } | Step::Done(_) => {}
        }
    }
}

#[inline(always)]
unsafe fn run_event(base: *mut event_base, call: Call) {
    // In registers: afterwards nothing of it is needed.
    let Call {
        callback,
        fd,
        arg,
        what,
        times,
    } = call;
    // SAFETY: the program promises a function of this type.
    unsafe {
        if times == 1 {
            callback(fd, what, arg);
        } else {
            run_times(base, times, callback, fd, what, arg);
        }
    }
}

/// A signal that arrived several times is called back as often.
#[cold]
#[inline(never)]
unsafe fn run_times(
    base: *mut event_base,
    times: u16,
    callback: unsafe extern "C" fn(c_int, i16, *mut c_void),
    fd: c_int,
    what: i16,
    arg: *mut c_void,
) {
    // SAFETY: as in `run_event`; after the first call only the key is trusted.
    unsafe {
        for n in 0..times {
            let goes_on = n == 0
                || event_base::with(base, |inner| {
                    !inner.calls_cancelled && !inner.core.got_break()
                });
            if !goes_on {
                return;
            }
            callback(fd, what, arg);
        }
    }
}
