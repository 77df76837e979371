//! What the loop does with a bufferevent.

use std::ffi::{c_int, c_short};

use ferrevent_core::buffer::End;
use ferrevent_core::driver::{Kind, Transport};
use ferrevent_core::{Callbacks, Dirs, Io, Mode, Options, StreamEvent, StreamKey, StreamWork};

use super::{Bev, TRANSPORT, connect, hold, leave, listen, lock_of, pair, stage, tls, with};
use crate::base::{Address, drop_if_unused, event_base};
use crate::buffer::{self, BufferOwner, BufferSide};
use crate::debug;

/// Does one piece of work.
///
/// # Safety
/// The work is a step of `base`'s loop, so that the bufferevent is alive: only the loop itself finalizes it.
pub(crate) unsafe fn run(base: *mut event_base, work: StreamWork<Address<Bev>>) {
    let (key, bev) = (work.key, work.cookie.0);
    match work.io {
        // SAFETY: by this function's contract; no lock is held yet.
        Io::Pipe => return unsafe { super::ending::pipe_bytes(base, bev, key) },
        // SAFETY: by this function's contract.
        Io::CallDeferred => return unsafe { run_deferred(base, bev, key) },
        _ => {}
    }
    // SAFETY: as above. The buffers' locks are the bufferevent's, which is held; no user code runs while a buffer is
    // borrowed.
    unsafe {
        let _held = hold(bev);
        let callbacks = match work.io {
            Io::Read { fd, kind, limit } if tls::is_secured(bev) => {
                let session = tls::session_of(bev);
                let outcome = tls::read(bev, session, fd, kind, limit);
                let (len, _) = tls::lengths(bev, session);
                with(bev, |inner, _| {
                    listen(inner, bev, key);
                    inner.core.handle_read(key, outcome, len)
                })
            }
            Io::Write { fd, kind, limit } if tls::is_secured(bev) => {
                let session = tls::session_of(bev);
                let outcome = tls::write(bev, session, fd, kind, limit);
                let (_, len) = tls::lengths(bev, session);
                with(bev, |inner, _| {
                    listen(inner, bev, key);
                    match outcome {
                        Some(outcome) => inner.core.handle_written(key, outcome, len),
                        None => {
                            inner.core.handle_write_wants_read(key);
                            Callbacks::NONE
                        }
                    }
                })
            }
            Io::Handshake { fd, kind } => {
                let session = tls::session_of(bev);
                let outcome = tls::handshake(bev, session, fd, kind);
                with(bev, |inner, _| {
                    listen(inner, bev, key);
                    inner.core.handle_handshake(key, outcome)
                })
            }
            Io::Read { fd, kind, limit } => {
                let input = (*bev).public.input;
                let outcome = TRANSPORT.read(fd, kind, &mut (*input).buffer, limit);
                // As in libevent, what the program has lifted holds until a transfer, and not in its buffer's callbacks.
                (*input).buffer.unfreeze(End::Back);
                buffer::notify_transport(input);
                (*input).buffer.freeze(End::Back);
                let len = (*input).buffer.len();
                with(bev, |inner, _| {
                    listen(inner, bev, key);
                    inner.core.handle_read(key, outcome, len)
                })
            }
            Io::Write { fd, kind, limit } => write(bev, key, fd, kind, limit),
            Io::FinishConnect { fd } => {
                let outcome = TRANSPORT.take_error(fd);
                with(bev, |inner, _| inner.core.handle_connected(key, outcome))
            }
            Io::Dial => connect::dial(bev),
            Io::FinishAttempt { fd } => connect::finish_attempt(bev, fd),
            Io::Call(callbacks) => {
                with(bev, |_, _| ());
                callbacks
            }
            // Done above.
            Io::CallDeferred | Io::Pipe => return,
            Io::Process { .. }
            | Io::Below { .. }
            | Io::Announce(_)
            | Io::Move { .. }
            | Io::EndSession { .. }
            | Io::Shutdown { .. } => {
                return stage::run_due(base, [work]);
            }
        };
        call(base, bev, key, callbacks);
    }
}

/// Writes output to the socket, and reports that.
///
/// # Safety
/// The core has asked for it; `bev` is alive, its lock held.
pub(super) unsafe fn write(
    bev: *mut Bev,
    key: StreamKey,
    fd: c_int,
    kind: Kind,
    limit: usize,
) -> Callbacks {
    // SAFETY: by this function's contract; the output is borrowed for one call at a time, in which no user code runs.
    unsafe {
        let output = (*bev).public.output;
        let outcome = TRANSPORT.write(fd, kind, &mut (*output).buffer, limit);
        (*output).buffer.unfreeze(End::Front);
        buffer::notify_transport(output);
        (*output).buffer.freeze(End::Front);
        let len = (*output).buffer.len();
        with(bev, |inner, _| {
            listen(inner, bev, key);
            inner.core.handle_written(key, outcome, len)
        })
    }
}

/// The deferred callbacks, one kind after the other; what a callback changes counts for the next.
///
/// # Safety
/// As for [`run`].
pub(crate) unsafe fn run_deferred(base: *mut event_base, bev: *mut Bev, key: StreamKey) {
    // SAFETY: the caller's. A stage that has begun to work is alive.
    unsafe {
        let _held = hold(bev);
        let mut read = None;
        loop {
            let next = event_base::with(base, |inner| {
                if let Some(before) = read {
                    inner.core.read_callback_done(key, before);
                }
                if let Some(stage) = inner.core.begin_deferred_directly(key) {
                    return Next::Stage(stage);
                }
                // What is told may have disabled something.
                if let Some(stream) = inner.core.stream(key) {
                    (*bev).public.enabled = c_short::from(stream.enabled().bits());
                }
                match inner.core.next_deferred(key) {
                    Some(callbacks) => Next::Call(callbacks),
                    None => Next::Nothing,
                }
            });
            match next {
                Next::Call(callbacks) => read = call_immediate(bev, callbacks),
                Next::Stage((key, Address(stage))) => {
                    let _held = hold(stage);
                    let due = stage::process(base, stage, key, Dirs::READ, Mode::Normal, None);
                    if !due.is_empty() {
                        stage::run_due(base, due);
                    }
                    return;
                }
                Next::Nothing => return,
            }
        }
    }
}

/// What comes of deferred callbacks.
enum Next {
    Call(Callbacks),
    /// This stage runs inbound.
    Stage((StreamKey, Address<Bev>)),
    Nothing,
}

/// Runs callbacks, with the lock held unless the bufferevent was made otherwise.
///
/// # Safety
/// `bev` is alive until the loop finalizes it, or as long as the caller's reference.
pub(super) unsafe fn call(
    base: *mut event_base,
    bev: *mut Bev,
    key: StreamKey,
    callbacks: Callbacks,
) {
    // SAFETY: handed through.
    unsafe {
        if let Some(before) = call_immediate(bev, callbacks) {
            event_base::with(base, |inner| inner.core.read_callback_done(key, before));
        } else if callbacks.event.contains(StreamEvent::CONNECTED) {
            event_base::with(base, |inner| inner.core.connected_callback_done(key));
        }
    }
}

/// As [`call`], and leaves it to the caller to report that the read callback has returned, if this gives the length that
/// the input had before.
///
/// # Safety
/// As for [`call`].
#[inline]
pub(super) unsafe fn call_immediate(bev: *mut Bev, callbacks: Callbacks) -> Option<usize> {
    // SAFETY: handed through.
    unsafe {
        let read = if callbacks.read { call_read(bev) } else { None };
        call_others(bev, callbacks);
        read
    }
}

/// Runs the read callback, if there is one. Gives the length of the input before, for `read_callback_done`.
///
/// # Safety
/// As for [`call`].
unsafe fn call_read(bev: *mut Bev) -> Option<usize> {
    // SAFETY: the memory is alive by contract; the callback is read from the struct each time, since programs write
    // there, and NULL once it is freed.
    unsafe {
        let readcb = (*bev).public.readcb?;
        let before = (*(*bev).public.input).buffer.len();
        let arg = (*bev).public.cbarg;
        unlocked(bev, || readcb(&raw mut (*bev).public, arg));
        Some(before)
    }
}

/// Runs the write and the event callback.
///
/// # Safety
/// As for [`call`].
unsafe fn call_others(bev: *mut Bev, callbacks: Callbacks) {
    // SAFETY: as in `call_read`.
    unsafe {
        if callbacks.write
            && let Some(writecb) = (*bev).public.writecb
        {
            let arg = (*bev).public.cbarg;
            unlocked(bev, || writecb(&raw mut (*bev).public, arg));
        }
        if !callbacks.event.is_empty() {
            call_event(bev, callbacks.event, callbacks.error);
        }
    }
}

/// Runs the event callback.
///
/// # Safety
/// As for [`call`].
pub(super) unsafe fn call_event(bev: *mut Bev, event: StreamEvent, error: c_int) {
    // SAFETY: by this function's contract; `errno` is this thread's.
    unsafe {
        let Some(errorcb) = (*bev).public.errorcb else {
            return;
        };
        let arg = (*bev).public.cbarg;
        unlocked(bev, || {
            if error != 0 {
                *libc::__errno_location() = error;
            }
            errorcb(&raw mut (*bev).public, event.bits() as c_short, arg);
        });
    }
}

/// Runs a callback, without the lock if the bufferevent asks for that.
unsafe fn unlocked(bev: *mut Bev, callback: impl FnOnce()) {
    // SAFETY: the caller's bufferevent is alive and its lock held once by the loop; the lock itself is kept here, since
    // the bufferevent may be finalized by the time it is taken again.
    let lock = unsafe {
        if (*bev).public.options.contains(Options::UNLOCK_CALLBACKS) {
            lock_of(bev)
        } else {
            None
        }
    };
    let Some(lock) = lock else { return callback() };
    lock.release();
    callback();
    lock.acquire();
}

/// One of its buffers has been changed by the user.
///
/// # Safety
/// The owner is alive, and its lock is held.
pub(crate) unsafe fn buffer_changed(owner: BufferOwner, added: usize, _deleted: usize, len: usize) {
    // SAFETY: by this function's contract.
    unsafe {
        let bev = owner.bufferevent;
        match owner.side {
            BufferSide::Input => {
                let (base, key) = ((*bev).public.ev_base, (*bev).key);
                if !event_base::with(base, |inner| inner.core.input_changed_only(key, len)) {
                    with(bev, |inner, key| inner.core.input_changed(key, len));
                }
            }
            BufferSide::Output => {
                let done = match added {
                    0 => event_base::with((*bev).public.ev_base, |inner| {
                        inner.core.output_drained_only((*bev).key, len)
                    }),
                    _ if pair::is_pair(bev) => pair::move_directly(bev),
                    _ => stage::process_directly(bev, len),
                };
                if !done {
                    with(bev, |inner, key| inner.core.output_changed(key, len, added));
                }
            }
        }
    }
}

/// Whether what is added to this buffer may leave it before the call returns.
///
/// # Safety
/// The owner is alive.
pub(crate) unsafe fn moves_on_at_once(owner: BufferOwner) -> bool {
    let bev = owner.bufferevent;
    // SAFETY: by this function's contract.
    unsafe {
        owner.side == BufferSide::Output && (pair::is_pair(bev) || stage::stage_of(bev).is_some())
    }
}

/// The last reference is gone.
///
/// # Safety
/// `bev` came from a `Finalize` step of `base`, which comes once.
pub(crate) unsafe fn finalize(base: *mut event_base, bev: *mut Bev) {
    // SAFETY: by this function's contract nobody else uses it; the lock is cloned, since its buffers may live on.
    unsafe {
        stage::finalize(bev);
        let fd = (*bev).public.ev_read.ev_fd;
        debug::forget(&raw const (*bev).public.ev_read);
        debug::forget(&raw const (*bev).public.ev_write);
        tls::finalize(bev);
        if (*bev).public.options.contains(Options::CLOSE_ON_FREE) && fd >= 0 {
            event_base::with(base, |inner| {
                let (core, driver) = inner.parts();
                core.closing_fd(fd, driver);
            });
            TRANSPORT.close(fd);
        }
        for buf in [(*bev).public.input, (*bev).public.output] {
            buffer::disown(buf);
            buffer::release(buf);
        }
        bev.drop_in_place();
        leave(bev);
        if !event_base::with(base, |inner| inner.core.is_looping()) {
            drop_if_unused(base);
        }
    }
}
