//! `event_base_init_common_timeout`: a `timeval` that stands for a timeout which many events share.
//!
//! libevent keeps such events in a queue of their own, and so does the core; but it goes by the timeout itself, so that the
//! mark of the `timeval` is only for programs that look at it, and need not be given.

use libc::timeval;

use crate::base::event_base;
use crate::event::nanoseconds;
use crate::log;

/// What a marked `tv_usec` holds: the mark, which timeout of the base it is, the microseconds.
const MARK_BITS: i64 = 0xf000_0000;
const MARK: i64 = 0x5000_0000;
const INDEX_SHIFT: u32 = 20;
const MICROS_BITS: i64 = 0x000f_ffff;

/// As many as libevent's mark has room for.
const LIMIT: usize = 256;

/// The microseconds of a `timeval`, marked or not. No proper one is as large as a mark.
pub(crate) fn micros(tv: &timeval) -> i64 {
    if tv.tv_usec & MARK_BITS == MARK {
        tv.tv_usec & MICROS_BITS
    } else {
        tv.tv_usec
    }
}

/// `event_base_init_common_timeout`: the `timeval` to give to `event_add` from now on, valid as long as the base; NULL
/// when it has 256 of them.
///
/// # Safety
/// `base` is live; `duration` is valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_init_common_timeout(
    base: *mut event_base,
    duration: *const timeval,
) -> *const timeval {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(duration) = duration.as_ref() else {
            return std::ptr::null();
        };
        let usec = micros(duration);
        let wanted = (duration.tv_sec + usec / 1_000_000, usec % 1_000_000);
        event_base::with(base, |inner| {
            let known = &mut inner.shared_timeouts;
            if let Some(same) = known.iter().find(|tv| (tv.tv_sec, micros(tv)) == wanted) {
                return &raw const **same;
            }
            if known.len() >= LIMIT {
                log::warn(
                    "event_base_init_common_timeout: Too many common timeouts already in use; we \
                     only support 256 per event_base",
                );
                return std::ptr::null();
            }
            let timeout = timeval {
                tv_sec: wanted.0,
                tv_usec: wanted.1,
            };
            inner.core.share_timeout(nanoseconds(&timeout));
            known.push(Box::new(timeval {
                tv_sec: wanted.0,
                tv_usec: wanted.1 | MARK | (known.len() as i64) << INDEX_SHIFT,
            }));
            known.last().map_or(std::ptr::null(), |tv| &raw const **tv)
        })
    }
}
