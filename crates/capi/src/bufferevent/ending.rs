//! `event2/ferrevent.h`: endings and pipes, which libevent does not have.

use std::ffi::c_int;

use ferrevent_core::{Options, StreamKey};
use libc::timeval;

use super::{Bev, bev_of, clear_callbacks, hold, stage, tls, with};
use crate::abi::bufferevent;
use crate::base::{Address, Inner, event_base};
use crate::buffer;
use crate::event::nanoseconds;
use crate::lock;

/// `ferrevent_bufferevent_finish`: once all output is gone, through filters and TLS too, ends the sending direction; then
/// the event callback gets `BEV_EVENT_EOF | BEV_EVENT_WRITING`, or `BEV_EVENT_TIMEOUT | BEV_EVENT_WRITING` if that takes
/// longer than `patience` (NULL: for ever). 0, or -1 if it is ending already, a filter or TLS stands on it, or its
/// handshake has failed.
///
/// # Safety
/// `bev` is live; `patience` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_bufferevent_finish(
    bev: *mut bufferevent,
    patience: *const timeval,
) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let patience = patience.as_ref().map(nanoseconds);
        let _held = hold(bev);
        let begun = with(bev, |inner: &mut Inner, key| {
            super::listen(inner, bev, key);
            inner.refresh_clock();
            inner.core.finish(key, patience)
        });
        if begun { 0 } else { -1 }
    }
}

/// `ferrevent_bufferevent_free_when_drained`: frees it once all output is gone and its end is told, or after `patience`
/// (NULL: for ever), or when writing fails. No callback runs any more. 0, or -1 if its SSL object is the program's, which
/// could not know how long it is needed: nothing is done then.
///
/// # Safety
/// As for `bufferevent_free`; `patience` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_bufferevent_free_when_drained(
    bev: *mut bufferevent,
    patience: *const timeval,
) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let patience = patience.as_ref().map(nanoseconds);
        let _held = hold(bev);
        let owner = (*bev).public.options.contains(Options::CLOSE_ON_FREE);
        if tls::is_secured(bev) && !owner {
            return -1;
        }
        clear_callbacks(bev);
        with(bev, |inner: &mut Inner, key| {
            inner.refresh_clock();
            inner.core.free_when_drained(key, patience);
        });
    }
    0
}

/// `ferrevent_bufferevent_pipe`: what `from` reads goes to the output of `to`, on the same base, which ends when `from` has
/// come to the end of its stream; NULL: no longer. The two hold less than twice `limit` bytes. 0, or -1.
///
/// # Safety
/// `from` is live, `to` live or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_bufferevent_pipe(
    from: *mut bufferevent,
    to: *mut bufferevent,
    limit: usize,
) -> c_int {
    let from = bev_of(from);
    // SAFETY: by this function's contract.
    unsafe {
        if to.is_null() {
            let _held = hold(from);
            with(from, |inner, key| inner.core.unpipe(key));
            return 0;
        }
        let to = bev_of(to);
        if (*from).public.ev_base != (*to).public.ev_base {
            return -1;
        }
        let _held = hold_both(from, to);
        let sink = (*to).key;
        let piped = with(from, |inner, key| inner.core.pipe(key, sink, limit));
        if piped { 0 } else { -1 }
    }
}

/// Moves the whole input of one to the output of another.
///
/// # Safety
/// The work came from the loop of `base`, which runs this: nothing is finalized meanwhile. No lock is held.
pub(super) unsafe fn pipe_bytes(base: *mut event_base, from: *mut Bev, key: StreamKey) {
    // SAFETY: by this function's contract; the references to the two buffers end before anybody is told.
    unsafe {
        let target = event_base::with(base, |inner| inner.core.pipe_target(key));
        let Some((to_key, Address(to))) = target else {
            return;
        };
        let _held = hold_both(from, to);
        let (input, output) = ((*from).public.input, (*to).public.output);
        let moved = {
            let (source, sink) = (&mut (*input).buffer, &mut (*output).buffer);
            sink.transfer_from(source, usize::MAX)
        };
        buffer::notify_transport(input);
        buffer::notify_transport(output);
        let lens = ((*input).buffer.len(), (*output).buffer.len());
        let due = event_base::with(base, |inner| {
            inner.refresh_clock();
            super::listen(inner, to, to_key);
            inner.core.handle_piped(key, to_key, moved, lens.0, lens.1);
            inner.settle();
            inner.core.take_due()
        });
        stage::run_due(base, due);
    }
}

/// Takes two locks in the order of the addresses, as everything does that needs two.
unsafe fn hold_both(one: *mut Bev, other: *mut Bev) -> (lock::Held, lock::Held) {
    let (low, high) = if one.addr() < other.addr() {
        (one, other)
    } else {
        (other, one)
    };
    // SAFETY: the caller's are live.
    unsafe { (hold(low), hold(high)) }
}
