//! The monotonic timer.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use libc::{clockid_t, timespec, timeval};

/// `EV_MONOT_PRECISE`
const PRECISE: c_int = 1;
/// `EV_MONOT_FALLBACK`
const FALLBACK: c_int = 2;

/// `struct evutil_monotonic_timer`
#[allow(non_camel_case_types, reason = "this is C's name")]
pub struct evutil_monotonic_timer {
    clock: clockid_t,
    /// The last answer in seconds and microseconds: no later one is less, whatever happens to the clock.
    last: (i64, i64),
}

/// `evutil_monotonic_timer_new`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_monotonic_timer_new() -> *mut evutil_monotonic_timer {
    Box::into_raw(Box::new(evutil_monotonic_timer {
        clock: clock(0),
        last: (0, 0),
    }))
}

/// `evutil_monotonic_timer_free`
///
/// # Safety
/// The C API's contract: `timer` is NULL, or came from `evutil_monotonic_timer_new` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_monotonic_timer_free(timer: *mut evutil_monotonic_timer) {
    if !timer.is_null() {
        // SAFETY: by the C API's contract.
        drop(unsafe { Box::from_raw(timer) });
    }
}

/// `evutil_configure_monotonic_time`
///
/// # Safety
/// The C API's contract: `timer` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_configure_monotonic_time(
    timer: *mut evutil_monotonic_timer,
    flags: c_int,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        timer.write(evutil_monotonic_timer {
            clock: clock(flags),
            last: (0, 0),
        })
    };
    0
}

/// `evutil_gettime_monotonic`
///
/// # Safety
/// The C API's contract: `timer` is alive and in use by one thread only; `time` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_gettime_monotonic(
    timer: *mut evutil_monotonic_timer,
    time: *mut timeval,
) -> c_int {
    let mut now = MaybeUninit::<timespec>::uninit();
    // SAFETY: by the C API's contract; `now` is only looked at after it was filled in.
    unsafe {
        let timer = &mut *timer;
        if libc::clock_gettime(timer.clock, now.as_mut_ptr()) != 0 {
            return -1;
        }
        let now = now.assume_init();
        timer.last = timer.last.max((now.tv_sec, now.tv_nsec / 1000));
        let (tv_sec, tv_usec) = timer.last;
        time.write(timeval { tv_sec, tv_usec });
    }
    0
}

fn clock(flags: c_int) -> clockid_t {
    if flags & FALLBACK != 0 {
        libc::CLOCK_REALTIME
    } else if flags & PRECISE != 0 {
        libc::CLOCK_MONOTONIC
    } else {
        libc::CLOCK_MONOTONIC_COARSE
    }
}
