//! Bufferevents over bufferevents: what the loop, and calls that make work due at once, do with stages.
//!
//! A stage is a [`Bev`] with a [`Stage`]: the bufferevent below it, and the functions that move bytes between the two.
//! Filters are in `filter`. The core says when a stage is to be run; it also sees to it that nobody is in the middle
//! of a stage's work when the next piece begins, so that [`run_due`] can be a loop.

use std::ffi::{c_int, c_short, c_void};

use ferrevent_core::driver::Transport;
use ferrevent_core::{
    AfterProcess, Callbacks, Dirs, Io, Mode, Options, Processed, StageKind, StreamEvent, StreamKey,
    StreamWork,
};

use smallvec::SmallVec;

use super::life::build;
use super::run::{self, call};
use super::{Bev, TRANSPORT, bev_of, hold, lock_of, pair, set_lock, special, tls, try_hold, with};
use crate::abi::bufferevent;
use crate::base::{Address, Inner, dirs, event_base};
use crate::lock::Lock;

/// What makes a bufferevent a stage.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    /// The bufferevent below. It lives as long as the stage, which holds a reference to it.
    pub(crate) below: *mut Bev,
    pub(crate) calls: Calls,
    /// What these functions work with.
    pub(crate) state: *mut c_void,
}

/// What a stage does. The functions run with the stack's lock held and nothing borrowed, and may run user code.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    /// Moves bytes: reading, from the input below to the stage's; writing, from the stage's output to the one below;
    /// no more than so many.
    pub(crate) process: unsafe fn(*mut Bev, Stage, Dirs, Mode, Option<usize>) -> Processed,
    /// Something has happened below; for stages without [`StageKind::PASSES_EVENTS`].
    pub(crate) heard: Option<unsafe fn(*mut Bev, Stage, StreamEvent, c_int)>,
    /// Gives the state back: the last reference to the stage is gone.
    pub(crate) finalize: unsafe fn(Stage),
}

/// Makes a stage over `below`, on the same base and with the same lock. `None` if the core refuses.
///
/// # Safety
/// `below` is live; `calls` may be used with `state` until `finalize` has run.
pub(crate) unsafe fn new_stage(
    below: *mut Bev,
    options: Options,
    kind: StageKind,
    ops: *const c_void,
    calls: Calls,
    state: *mut c_void,
) -> Option<*mut Bev> {
    // SAFETY: by this function's contract; nobody else knows of the new bufferevent yet.
    unsafe {
        let _held = hold(below);
        if options.contains(Options::THREADSAFE) && !share_lock(below) {
            return None;
        }
        let (base, lock) = ((*below).public.ev_base, lock_of(below));
        let under = (*below).key;
        let bev = build(base, -1, options, lock, ops, |inner, bev| {
            let (core, driver) = inner.parts();
            core.new_stage(Address(bev), under, options, kind, driver)
        })?;
        special(bev).stage = Some(Stage {
            below,
            calls,
            state,
        });
        super::clear_callbacks(below);
        // It has been enabled.
        with(below, |_, _| ());
        Some(bev)
    }
}

/// Gives a bufferevent a lock, so that a stage over it can have the same one. Returns false if there is none to be had.
unsafe fn share_lock(bev: *mut Bev) -> bool {
    // SAFETY: the caller's bufferevent is live. If it has no lock, one thread uses it until now, by the C API's
    // contract.
    unsafe {
        if lock_of(bev).is_none() {
            let Some(lock) = Lock::new() else {
                return false;
            };
            set_lock(bev, Some(lock));
        }
        true
    }
}

/// Work that is due at once.
pub(super) type Due = SmallVec<[StreamWork<Address<Bev>>; 2]>;

/// What is due now.
#[inline]
pub(super) fn due_now(inner: &mut Inner) -> Due {
    // As a rule there is nothing, and that need not be moved.
    if inner.core.has_due() {
        inner.core.take_due()
    } else {
        SmallVec::new()
    }
}

/// Does work that is due at once, and what that makes due.
///
/// # Safety
/// The work came from `take_due` or the loop of `base`, so that what it is for is alive until `work_done`.
pub(crate) unsafe fn run_due(
    base: *mut event_base,
    works: impl IntoIterator<Item = StreamWork<Address<Bev>>>,
) {
    for work in works {
        let mut next = Some(work);
        while let Some(work) = next {
            // SAFETY: by this function's contract, and the core's for what comes after.
            unsafe {
                let mut more = run_work(base, work).into_iter();
                // As a rule there is one at most: of a stack, one works at a time.
                next = more.next();
                if more.len() > 0 {
                    run_due(base, more);
                }
            }
        }
    }
}

/// Does one piece of work and reports it. Gives what that has made due.
///
/// The caller may have the lock of another stack, so this does not wait for the one that it needs: if another thread has
/// that, the work is left to the loop.
unsafe fn run_work(base: *mut event_base, work: StreamWork<Address<Bev>>) -> Due {
    let (key, bev) = (work.key, work.cookie.0);
    // SAFETY: the bufferevent is kept alive for the work. Its stage's functions are copied out, since the user code that
    // they run may free it.
    unsafe {
        let Some(_held) = try_hold(bev) else {
            event_base::with(base, |inner| {
                inner.core.leave_work(work);
                inner.settle();
            });
            return SmallVec::new();
        };
        match work.io {
            Io::Process { dir, mode, limit } => return process(base, bev, key, dir, mode, limit),
            Io::Below { event, error } => {
                if let Some(stage) = stage_of(bev)
                    && let Some(heard) = stage.calls.heard
                {
                    heard(bev, stage, event, error);
                }
            }
            Io::Announce(callbacks) => call(base, bev, key, callbacks),
            Io::EndSession { fd, kind } => {
                let outcome = tls::end(bev, fd, kind);
                return event_base::with(base, |inner| {
                    inner.core.handle_session_end(key, outcome);
                    inner.settle();
                    inner.core.take_due()
                });
            }
            Io::Shutdown { fd } => {
                tls::close_sending(bev);
                if fd >= 0 {
                    // One that is not connected any more has no end to be told of.
                    let _ = TRANSPORT.shutdown(fd);
                }
                return event_base::with(base, |inner| {
                    inner.core.handle_shutdown(key);
                    inner.settle();
                    due_now(inner)
                });
            }
            Io::Move { limit } => return pair::move_bytes(base, bev, key, limit),
            // The others are the loop's own, and have no such report.
            Io::Read { .. }
            | Io::Write { .. }
            | Io::FinishConnect { .. }
            | Io::Dial
            | Io::FinishAttempt { .. }
            | Io::Handshake { .. }
            | Io::Call(_)
            | Io::CallDeferred
            | Io::Pipe => return SmallVec::new(),
        }
        work_done(base, key, None)
    }
}

/// Runs a stage on its output, which has grown to `len` bytes, if the core says that nothing else is to be looked at.
/// Returns whether it has: otherwise the core has not heard yet that there is output. The stage may be gone then.
///
/// # Safety
/// `bev` is alive, its lock held.
pub(super) unsafe fn process_directly(bev: *mut Bev, len: usize) -> bool {
    // SAFETY: by this function's contract; the work that has begun keeps the stage alive until it is done.
    unsafe {
        if stage_of(bev).is_none() {
            return false;
        }
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        if !event_base::with(base, |inner| inner.core.begin_directly(key, len)) {
            return false;
        }
        let due = process(base, bev, key, Dirs::WRITE, Mode::Normal, None);
        if !due.is_empty() {
            run_due(base, due);
        }
        true
    }
}

/// Runs a stage as long as the core wants more of the same, calls back, and reports that the work is done. Gives what
/// that has made due.
///
/// # Safety
/// The stage is at work, with its lock held.
pub(super) unsafe fn process(
    base: *mut event_base,
    bev: *mut Bev,
    key: StreamKey,
    dir: Dirs,
    mode: Mode,
    mut limit: Option<usize>,
) -> Due {
    // SAFETY: the caller's.
    unsafe {
        let Some(stage) = stage_of(bev) else {
            return work_done(base, key, None);
        };
        loop {
            let processed = (stage.calls.process)(bev, stage, dir, mode, limit);
            let (after, due) = event_base::with(base, |inner| {
                let calls = match dir {
                    Dirs::READ => (*bev).public.readcb.is_some(),
                    _ => (*bev).public.writecb.is_some(),
                };
                if let Some(callbacks) = inner.core.end_directly(key, dir, processed, calls) {
                    return (AfterProcess::Call(callbacks), SmallVec::new());
                }
                if inner.core.needs_time_for(key) {
                    inner.refresh_clock();
                }
                super::listen(inner, bev, key);
                let after = inner.core.handle_processed(key, dir, processed);
                if let Some(stream) = inner.core.stream(key) {
                    (*bev).public.enabled = c_short::from(stream.enabled().bits());
                }
                if after == AfterProcess::Call(Callbacks::NONE) {
                    inner.core.work_done(key);
                }
                inner.settle();
                (after, due_now(inner))
            });
            match after {
                AfterProcess::Call(Callbacks::NONE) => return due,
                AfterProcess::Again { limit: next } => limit = next,
                AfterProcess::Call(_) => {}
            }
            if !due.is_empty() {
                run_due(base, due);
            }
            if let AfterProcess::Call(callbacks) = after {
                let read = run::call_immediate(bev, callbacks);
                return work_done(base, key, read);
            }
        }
    }
}

/// Reports that a stage's work is done, and that its read callback has returned, which was called with so many bytes of
/// input. Gives what that has made due.
unsafe fn work_done(base: *mut event_base, key: StreamKey, read: Option<usize>) -> Due {
    // SAFETY: the caller's base is live; no user code runs.
    unsafe {
        event_base::with(base, |inner| {
            if let Some(before) = read {
                inner.core.read_callback_done(key, before);
            }
            inner.core.work_done(key);
            inner.settle();
            due_now(inner)
        })
    }
}

/// Tells the callbacks what a stage has found out.
///
/// # Safety
/// The stage is at work: this is for its functions.
#[allow(dead_code, reason = "filters pass on what they hear")]
pub(crate) unsafe fn tell(bev: *mut Bev, event: StreamEvent, error: c_int) {
    // SAFETY: by this function's contract the bufferevent is alive.
    unsafe {
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        let callbacks: Callbacks = with(bev, |inner: &mut Inner, key| {
            super::listen(inner, bev, key);
            inner.core.stage_event(key, event, error)
        });
        call(base, bev, key, callbacks);
    }
}

pub(super) unsafe fn stage_of(bev: *mut Bev) -> Option<Stage> {
    // SAFETY: the caller's bufferevent is alive.
    unsafe { (*bev).special.as_deref()?.stage }
}

/// The last reference to a stage is gone.
///
/// # Safety
/// Nobody uses the bufferevent any more.
pub(super) unsafe fn finalize(bev: *mut Bev) {
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(stage) = stage_of(bev) {
            special(bev).stage = None;
            (stage.calls.finalize)(stage);
        }
    }
}

/// The bufferevent with the descriptor, through all stages.
pub(super) unsafe fn bottom(mut bev: *mut Bev) -> *mut Bev {
    // SAFETY: the caller's bufferevent is live, and with it what is below.
    unsafe {
        loop {
            let below = bev_of(bufferevent_get_underlying(&raw mut (*bev).public));
            if below.is_null() {
                return bev;
            }
            bev = below;
        }
    }
}

/// `bufferevent_get_underlying`: NULL for anything but a filter or TLS over another bufferevent.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_underlying(bev: *mut bufferevent) -> *mut bufferevent {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        match stage_of(bev) {
            Some(stage) => &raw mut (*stage.below).public,
            None => tls::underlying(bev),
        }
    }
}

/// `bufferevent_flush`: on a socket it does nothing, and returns 0. A filter is run, and then what is below is flushed;
/// 1 if the filter did anything, otherwise 0. The ends of a pair exchange what they have, up to the reader's high mark, or beyond
/// it if that is reached already, and the other end is told the end of the stream if the mode says so; 0, or -1 if the other
/// end is freed. A mode that there is not counts as `BEV_FLUSH`.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_flush(
    bev: *mut bufferevent,
    what: c_short,
    mode: c_int,
) -> c_int {
    let bev = bev_of(bev);
    let mode = match mode {
        0 => Mode::Normal,
        2 => Mode::Finished,
        // Numbers that are no mode count as this one.
        _ => Mode::Flush,
    };
    // SAFETY: by this function's contract; the reference keeps the bufferevent over the filter's function.
    unsafe {
        let _held = hold(bev);
        if pair::is_pair(bev) {
            let paired = with(bev, |inner, key| {
                inner.core.flush(key, dirs(what), mode, true)
            });
            return if paired { 0 } else { -1 };
        }
        if stage_of(bev).is_none() {
            return 0;
        }
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        with(bev, |inner, key| {
            inner.core.retain(key);
            inner.core.flush(key, dirs(what), mode, true);
        });
        event_base::with(base, |inner| {
            let flushed = inner.core.has_flushed(key);
            inner.core.release(key);
            inner.settle();
            c_int::from(flushed)
        })
    }
}
