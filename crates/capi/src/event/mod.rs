//! `struct event` and its functions: `event2/event.h`, `event2/event_compat.h`.
//!
//! The struct belongs to the program, which may embed it, copy it while it is idle, and let its memory go when it is
//! neither pending nor active. All that the library keeps in it is the key of its slot in the base. A key is believed
//! only if the slot's cookie is this very struct. Events that `event_new` makes are in blocks of the library's, and
//! have their slots in themselves (`block.rs`).

mod assign;
mod block;
mod compat;
mod fields;
mod once;
mod owners;
mod pending;
mod slab;

use std::ffi::{c_int, c_short, c_void};
use std::ptr;
use std::time::Duration;

use ferrevent_core::{EventSpec, Fired, Place, Standing, What};
use libc::timeval;

use crate::abi::{event, evutil_socket_t};
use crate::base::{Address, Inner, event_base, foretold, key_of};
use crate::{log, shared_timeout};

pub use assign::*;
pub(crate) use block::*;
pub use compat::*;
pub use fields::*;
pub(crate) use once::*;
pub(crate) use owners::*;
pub use pending::*;

const EVLIST_TIMEOUT: c_short = 0x01;
const EVLIST_INSERTED: c_short = 0x02;
const EVLIST_ACTIVE: c_short = 0x08;
pub(crate) const EVLIST_FINALIZING: c_short = 0x40;
const EVLIST_INIT: c_short = 0x80;

/// What the memory of a struct is, which it says itself. Nothing depends on it alone that could do harm if it were wrong: a
/// struct may be copied, and memory that was a struct be used for something else.
#[derive(Clone, Copy)]
enum Mark {
    /// The program's.
    Assigned = 1,
    /// It was allocated for this event.
    Alone,
    /// In a block.
    InBlock,
    /// In a block, and freed.
    Free,
}

impl Mark {
    /// As the struct says it. A copy of the struct says something else: it is aligned, as this is. The number is one that an
    /// instruction can add at once, and far from any part of the struct.
    #[inline(always)]
    fn of(self, ev: *const event) -> u64 {
        (ev.addr() as u64).wrapping_add(0x6665_7270 + self as u64)
    }
}

/// Whether the event was freed, and has not been used again since.
pub(crate) unsafe fn is_free(ev: *const event) -> bool {
    // SAFETY: the caller's `ev` can be read.
    unsafe { (*ev).ev_evcallback.mark == Mark::Free.of(ev) }
}

/// Whether it was the event in this place that was given the key, and not another of which this is a copy.
///
/// # Safety
/// `ev` can be read.
#[inline]
pub(crate) unsafe fn was_given(
    ev: *const event,
    place: Place,
    key: ferrevent_core::EventKey,
) -> bool {
    // SAFETY: by this function's contract.
    unsafe { own_place(ev) == place.number() && key_of((*ev).ev_evcallback.key) == Some(key) }
}

/// An event in a block is freed. From now on it has no base, so that functions refuse it.
///
/// # Safety
/// It is neither pending nor active, and not used any more.
#[inline]
pub(crate) unsafe fn mark_free(ev: *mut event) {
    // SAFETY: by this function's contract.
    unsafe {
        (*ev).ev_evcallback.mark = Mark::Free.of(ev);
        (*ev).ev_evcallback.key = 0;
        (*ev).ev_evcallback.evcb_flags = 0;
        (*ev).ev_base = ptr::null_mut();
    }
}

#[cold]
#[inline(never)]
fn tell_freed(function: &'static str) {
    log::warn(&format!("{function}: the event has been freed"));
}

#[inline]
pub(crate) fn nanoseconds(tv: &timeval) -> u64 {
    short_nanoseconds(tv).unwrap_or_else(|| saturated(tv))
}

/// As [`nanoseconds`], unless that is very long or below nothing.
#[inline(always)]
fn short_nanoseconds(tv: &timeval) -> Option<u64> {
    let (seconds, micros) = (tv.tv_sec as u64, shared_timeout::micros(tv) as u64);
    // Negative numbers are large ones here.
    ((seconds | micros) >> 32 == 0).then(|| seconds * 1_000_000_000 + micros * 1000)
}

/// As [`short_nanoseconds`], unless the `timeval` may be [marked](shared_timeout).
#[inline(always)]
fn plain_nanoseconds(tv: &timeval) -> Option<u64> {
    let (seconds, micros) = (tv.tv_sec as u64, tv.tv_usec as u64);
    ((seconds >> 12 | micros) >> 20 == 0).then(|| seconds * 1_000_000_000 + micros * 1000)
}

#[cold]
fn saturated(tv: &timeval) -> u64 {
    // A deadline that has just passed is a second less than nothing, and almost a million microseconds.
    let (seconds, micros) = (
        i128::from(tv.tv_sec),
        i128::from(shared_timeout::micros(tv)),
    );
    let total = seconds * 1_000_000_000 + micros * 1000;
    u64::try_from(total.max(0)).unwrap_or(u64::MAX)
}

pub(crate) fn timeval_of(time: Duration) -> timeval {
    timeval {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_usec: i64::from(time.subsec_micros()),
    }
}

/// Prepares what is to be called when `ev` fires; `None` if the struct has been initialised anew since.
///
/// # Safety
/// `ev` is the cookie of a fired event, so that its memory is alive.
#[inline(always)]
pub(crate) unsafe fn take_fired(
    ev: *mut event,
    fired: &Fired<Address<event>>,
) -> Option<(
    unsafe extern "C" fn(evutil_socket_t, c_short, *mut c_void),
    c_int,
    *mut c_void,
)> {
    // SAFETY: by this function's contract.
    unsafe {
        if (*ev).ev_evcallback.key != slotmap::Key::data(&fired.fired).as_ffi() {
            return None;
        }
        let flags = &mut (*ev).ev_evcallback.evcb_flags;
        *flags &= !EVLIST_ACTIVE;
        if fired.key.is_none() {
            *flags = EVLIST_INIT;
            (*ev).ev_evcallback.key = 0;
        }
        (*ev).ev_res = fired.what.bits() as c_short;
        Some((
            (*ev).ev_evcallback.evcb_callback?,
            (*ev).ev_fd,
            (*ev).ev_evcallback.evcb_arg,
        ))
    }
}

/// The base is going: the struct is idle now.
///
/// # Safety
/// `ev` was pending or active, so that its memory is alive.
pub(crate) unsafe fn forget(ev: *mut event, key: ferrevent_core::EventKey) {
    // SAFETY: by this function's contract.
    unsafe {
        if key_of((*ev).ev_evcallback.key) == Some(key) {
            (*ev).ev_evcallback.key = 0;
            (*ev).ev_evcallback.evcb_flags = EVLIST_INIT;
        }
    }
}

/// Whether it has been given to `event_finalize`, and is no use any more.
pub(crate) unsafe fn is_finalizing(ev: *const event) -> bool {
    // SAFETY: the caller's `ev` is initialised.
    unsafe { (*ev).ev_evcallback.evcb_flags & EVLIST_FINALIZING != 0 }
}

/// The event's key, if its slot is really its own.
#[inline]
pub(crate) unsafe fn known_key(inner: &Inner, ev: *mut event) -> Option<ferrevent_core::EventKey> {
    // SAFETY: the caller's `ev` is initialised.
    let key = key_of(unsafe { (*ev).ev_evcallback.key })?;
    (inner.core.event_cookie(key) == Some(Address(ev))).then_some(key)
}

/// Whether it is worth asking the base. Where no other thread can have added it, its key tells.
unsafe fn may_be_known(ev: *const event) -> bool {
    // SAFETY: the caller's `ev` is initialised; its base may have been freed.
    unsafe { event_base::is_shared((*ev).ev_base) || (*ev).ev_evcallback.key != 0 }
}

/// The number of the event's place, in some base; 0 if it has none, or is a copy of another, whose place it names. In another
/// base, that number may be its own.
#[inline(always)]
unsafe fn own_place(ev: *const event) -> u32 {
    // SAFETY: the caller's `ev` is initialised.
    let head = unsafe { &(*ev).ev_evcallback };
    if head.mark == Mark::InBlock.of(ev) {
        head.place
    } else {
        0
    }
}

#[inline]
unsafe fn spec_of(ev: *mut event) -> EventSpec<Address<event>> {
    // SAFETY: the caller's `ev` is initialised.
    unsafe {
        EventSpec {
            // It may be that of another base: the core looks.
            place: own_place(ev),
            cookie: Address(ev),
            fd: (*ev).ev_fd,
            what: What::from_bits_truncate((*ev).ev_events as u16),
            priority: (*ev).ev_evcallback.evcb_pri,
        }
    }
}

/// Writes down what the base knows of the event.
#[inline]
unsafe fn note(ev: *mut event, key: Option<ferrevent_core::EventKey>, standing: Standing) {
    let stands = |standing_as| c_short::from(standing.contains(standing_as));
    let flags = EVLIST_INIT
        | (EVLIST_INSERTED * stands(Standing::INSERTED))
        | (EVLIST_ACTIVE * stands(Standing::ACTIVE))
        | (EVLIST_TIMEOUT * stands(Standing::TIMED));
    // SAFETY: the caller's `ev` is initialised.
    unsafe {
        (*ev).ev_evcallback.key = key.map_or(0, |key| slotmap::Key::data(&key).as_ffi());
        (*ev).ev_evcallback.evcb_flags = flags;
    }
}

/// What the base of an event has in it, if [nothing stands against](event_base::clear) a short way.
///
/// # Safety
/// `ev` is NULL or initialised. No user code runs while the result is used, and nobody else asks the base for it.
#[inline(always)]
unsafe fn clear_base_of<'a>(ev: *mut event) -> Option<&'a mut Inner> {
    // SAFETY: by this function's contract; the base of an event is one, freed or not.
    unsafe {
        let base = ev.as_ref()?.ev_base;
        if base.is_null() {
            return None;
        }
        event_base::clear(foretold(base))
    }
}

#[inline]
pub(crate) unsafe fn base_of(ev: *mut event, function: &'static str) -> Option<*mut event_base> {
    // SAFETY: the caller's `ev` is NULL or an initialised event.
    let base = unsafe { ev.as_ref() }.map_or(ptr::null_mut(), |ev| ev.ev_base);
    if base.is_null() {
        // SAFETY: as above.
        unsafe { tell_no_base(function, ev) };
        return None;
    }
    Some(base)
}

#[cold]
#[inline(never)]
unsafe fn tell_no_base(function: &'static str, ev: *const event) {
    // SAFETY: the caller's `ev` is NULL or an initialised event.
    if !ev.is_null() && unsafe { is_free(ev) } {
        return tell_freed(function);
    }
    log::warn(&format!("{function}: event has no event_base set."));
}
