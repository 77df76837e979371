//! Events that free themselves after they have run (`event_base_once`).

use std::ffi::{c_int, c_short, c_void};

use ferrevent_core::What;
use libc::timeval;

use super::assign::assign_own;
use super::{event_active, event_add, nanoseconds};
use crate::abi::{event, event_callback_fn, evutil_socket_t};
use crate::base::{Inner, current, event_base};
use crate::debug;

/// An event that frees itself after it has run (`event_base_once`).
pub(crate) struct Once {
    ev: event,
    /// Where its base's list has it.
    position: usize,
    callback: event_callback_fn,
    arg: *mut c_void,
}

/// Adds an event that frees itself.
///
/// # Safety
/// `base` is NULL, for the current one, or live; `tv` is NULL or valid.
pub(crate) unsafe fn once(
    base: *mut event_base,
    fd: c_int,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
    tv: *const timeval,
) -> c_int {
    let refused = (What::SIGNAL | What::PERSIST).bits() as c_short;
    if what & refused != 0 {
        return -1;
    }
    let io = what & What::IO.bits() as c_short;
    if io == 0 && what & What::TIMEOUT.bits() as c_short == 0 {
        return -1;
    }
    let base = if base.is_null() { current() } else { base };
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    if unsafe { event_base::refuses(base, "event_base_once") } {
        return -1;
    }
    // SAFETY: a `struct event` of zeros is valid, and assigned before it is used; the rest is by contract.
    unsafe {
        let ev = std::mem::MaybeUninit::<event>::zeroed().assume_init();
        let once = Box::into_raw(Box::new(Once {
            ev,
            position: 0,
            callback,
            arg,
        }));
        let ev = &raw mut (*once).ev;
        let (fd, what) = if io == 0 { (-1, 0) } else { (fd, io) };
        assign_own(ev, base, fd, what, Some(run_once), once.cast());
        event_base::with(base, |inner| {
            (*once).position = inner.onces.len();
            inner.onces.push(once);
        });
        let at_once = io == 0 && tv.as_ref().is_none_or(|tv| nanoseconds(tv) == 0);
        if at_once {
            event_active(ev, c_int::from(What::TIMEOUT.bits()), 1);
        } else if event_add(ev, tv) < 0 {
            event_base::with(base, |inner| forget_once(inner, once));
            drop_once(once);
            return -1;
        }
    }
    0
}

/// Takes a one-off event out of its base's list.
unsafe fn forget_once(inner: &mut Inner, once: *mut Once) {
    // SAFETY: the caller's is in the list, and so alive, as are all others there.
    unsafe {
        let position = (*once).position;
        inner.onces.swap_remove(position);
        if let Some(&moved) = inner.onces.get(position) {
            (*moved).position = position;
        }
    }
}

/// Gives its memory back.
///
/// # Safety
/// It is neither pending nor active, and in no list.
pub(crate) unsafe fn drop_once(once: *mut Once) {
    // SAFETY: by this function's contract.
    unsafe {
        debug::forget(&raw const (*once).ev);
        drop(Box::from_raw(once));
    }
}

/// Runs a one-off event and frees it.
unsafe extern "C" fn run_once(fd: evutil_socket_t, what: c_short, arg: *mut c_void) {
    let once: *mut Once = arg.cast();
    // SAFETY: `arg` is the `Once` that `once` made; it fires only once, and is not pending any more.
    unsafe {
        event_base::with((*once).ev.ev_base, |inner| forget_once(inner, once));
        let (callback, arg) = ((*once).callback, (*once).arg);
        drop_once(once);
        if let Some(callback) = callback {
            callback(fd, what, arg);
        }
    }
}
