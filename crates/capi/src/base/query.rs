//! What can be asked of a base.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use ferrevent_sys::monotonic;
use libc::timeval;

use super::{Inner, current, event_base};
use crate::abi::event;
use crate::event as events;

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

/// `event_base_get_running_event`: the event whose callback runs, or NULL.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_running_event(base: *mut event_base) -> *mut event {
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            inner.turns.running().unwrap_or(ptr::null_mut())
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
}
