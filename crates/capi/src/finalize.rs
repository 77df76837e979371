//! `event_finalize`, `event_free_finalize`: the end of an event, from the loop, when its function surely does not run.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{c_int, c_uint, c_void};

use crate::abi::event;
use crate::base::{Address, Task, event_base};
use crate::debug;
use crate::event::{EVLIST_FINALIZING, base_of, del, give_back, is_finalizing};

/// `event_finalize_callback_fn`
pub type event_finalize_callback_fn = Option<unsafe extern "C" fn(*mut event, *mut c_void)>;

/// `EV_CLOSURE_EVENT_FINALIZE` and `EV_CLOSURE_EVENT_FINALIZE_FREE`
const KEEP: u8 = 5;
const FREE: u8 = 6;

/// `event_finalize`: deletes the event at once, and has `callback` called from the loop. 0, or -1.
///
/// # Safety
/// `ev` is initialised, its base live; its memory stays until `callback` is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_finalize(
    _flags: c_uint,
    ev: *mut event,
    callback: event_finalize_callback_fn,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { finalize(ev, callback, KEEP) }
}

/// `event_free_finalize`: the same, and frees the event after the callback.
///
/// # Safety
/// As [`event_finalize`]; `ev` came from `event_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_free_finalize(
    _flags: c_uint,
    ev: *mut event,
    callback: event_finalize_callback_fn,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { finalize(ev, callback, FREE) }
}

unsafe fn finalize(ev: *mut event, callback: event_finalize_callback_fn, closure: u8) -> c_int {
    // SAFETY: the caller's event is initialised, and its base live.
    unsafe {
        let Some(base) = base_of(ev, "event_finalize") else {
            return -1;
        };
        debug::check_set_up(ev, "event_finalize");
        del(ev, false);
        event_base::with(base, |inner| {
            if is_finalizing(ev) {
                return;
            }
            let head = &mut (*ev).ev_evcallback;
            head.evcb_flags |= EVLIST_FINALIZING;
            head.evcb_closure = closure;
            // The event's own function is not called any more: its place is free, and as large.
            head.evcb_callback = std::mem::transmute::<
                event_finalize_callback_fn,
                crate::abi::event_callback_fn,
            >(callback);
            let priority = head.evcb_pri;
            inner.core.push_task(priority, Task::Finalizer(Address(ev)));
            inner.settle();
        });
    }
    0
}

/// Calls the finalizer. The event's memory is the program's again, or gone.
///
/// # Safety
/// `ev` was given to [`finalize`], and this is the first time since.
pub(crate) unsafe fn run(ev: *mut event) {
    // SAFETY: the memory stays until now; the function was put there by `finalize`.
    unsafe {
        let head = &raw const (*ev).ev_evcallback;
        let free = (*head).evcb_closure == FREE;
        let arg = (*head).evcb_arg;
        let callback = std::mem::transmute::<
            crate::abi::event_callback_fn,
            event_finalize_callback_fn,
        >((*head).evcb_callback);
        // Before the callback: it may give the memory to somebody else.
        debug::forget(ev);
        if let Some(callback) = callback {
            callback(ev, arg);
        }
        if free {
            give_back(ev);
        }
    }
}
