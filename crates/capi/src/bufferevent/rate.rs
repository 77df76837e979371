//! Rate limits of bufferevents and of groups.

use std::ffi::c_int;
use std::ptr;

use ferrevent_core::{Dirs, GroupKey, RateLimit};
use libc::{ssize_t, timeval};

use super::{bev_of, hold, with};
use crate::abi::bufferevent;
use crate::base::{Inner, event_base};
use crate::event::nanoseconds;
use crate::log;

/// `struct ev_token_bucket_cfg`: how fast bytes may move.
#[allow(non_camel_case_types, reason = "this is C's name")]
pub struct ev_token_bucket_cfg {
    limit: RateLimit,
}

/// `struct bufferevent_rate_limit_group`
#[allow(non_camel_case_types, reason = "this is C's name")]
pub struct bufferevent_rate_limit_group {
    base: *mut event_base,
    key: GroupKey,
}

/// `ev_token_bucket_cfg_new`: bytes per tick and at once, and how long a tick is (NULL: a second). NULL for a rate of 0, a
/// burst below the rate, more than `EV_RATE_LIMIT_MAX` bytes, and a tick below a millisecond.
///
/// # Safety
/// `tick` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ev_token_bucket_cfg_new(
    read_rate: usize,
    read_burst: usize,
    write_rate: usize,
    write_burst: usize,
    tick: *const timeval,
) -> *mut ev_token_bucket_cfg {
    const SECOND: u64 = 1_000_000_000;
    // SAFETY: by this function's contract.
    let tick = unsafe { tick.as_ref() }.map_or(SECOND, nanoseconds);
    let limit = RateLimit::new([read_rate, write_rate], [read_burst, write_burst], tick);
    let Some(limit) = limit else {
        return ptr::null_mut();
    };
    let config = Box::into_raw(Box::new(ev_token_bucket_cfg { limit }));
    // SAFETY: it was made just now. The limit carries its address, for `bufferevent_get_token_bucket_cfg`.
    unsafe { (*config).limit = limit.tagged(config.expose_provenance()) };
    config
}

/// `ev_token_bucket_cfg_free`
///
/// # Safety
/// `config` is NULL, or live and not used by a bufferevent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ev_token_bucket_cfg_free(config: *mut ev_token_bucket_cfg) {
    if !config.is_null() {
        // SAFETY: by this function's contract; `ev_token_bucket_cfg_new` made it.
        drop(unsafe { Box::from_raw(config) });
    }
}

/// `bufferevent_set_rate_limit`: NULL lifts the limit. 0.
///
/// # Safety
/// `bev` is live; `config` is NULL, or live as long as the bufferevent uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_set_rate_limit(
    bev: *mut bufferevent,
    config: *mut ev_token_bucket_cfg,
) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let limit = config.as_ref().map(|config| config.limit);
        let _held = hold(bev);
        with(bev, |inner, key| {
            inner.refresh_clock();
            inner.core.set_rate_limit(key, limit);
        });
    }
    0
}

/// `bufferevent_get_token_bucket_cfg`: what [`bufferevent_set_rate_limit`] has set, or NULL.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_token_bucket_cfg(
    bev: *const bufferevent,
) -> *const ev_token_bucket_cfg {
    let bev = bev_of(bev.cast_mut());
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| inner.core.rate_limit(key)).map_or(ptr::null(), |limit| {
            ptr::with_exposed_provenance(limit.tag())
        })
    }
}

unsafe fn level(bev: *mut bufferevent, dir: Dirs) -> ssize_t {
    let bev = bev_of(bev);
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| inner.core.rate_level(key, dir))
            .map_or(ssize_t::MAX, |level| level as ssize_t)
    }
}

/// `bufferevent_get_read_limit`: what its bucket holds, or `EV_SSIZE_MAX` if it has none.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_read_limit(bev: *mut bufferevent) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { level(bev, Dirs::READ) }
}

/// `bufferevent_get_write_limit`: as [`bufferevent_get_read_limit`].
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_write_limit(bev: *mut bufferevent) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { level(bev, Dirs::WRITE) }
}

unsafe fn allowance(bev: *mut bufferevent, dir: Dirs) -> ssize_t {
    let bev = bev_of(bev);
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| inner.core.allowance(key, dir)) as ssize_t
    }
}

/// `bufferevent_get_max_to_read`: what one transfer may move now.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_max_to_read(bev: *mut bufferevent) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { allowance(bev, Dirs::READ) }
}

/// `bufferevent_get_max_to_write`: what one transfer may move now.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_max_to_write(bev: *mut bufferevent) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { allowance(bev, Dirs::WRITE) }
}

unsafe fn decrement(bev: *mut bufferevent, dir: Dirs, bytes: ssize_t) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        let _held = hold(bev);
        let limited = with(bev, |inner, key| {
            inner.core.decrement_rate(key, dir, bytes as i64)
        });
        if limited { 0 } else { -1 }
    }
}

/// `bufferevent_decrement_read_limit`: takes bytes out of its bucket, or puts some in. 0, or -1 if it has none.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_decrement_read_limit(
    bev: *mut bufferevent,
    bytes: ssize_t,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { decrement(bev, Dirs::READ, bytes) }
}

/// `bufferevent_decrement_write_limit`: as [`bufferevent_decrement_read_limit`].
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_decrement_write_limit(
    bev: *mut bufferevent,
    bytes: ssize_t,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { decrement(bev, Dirs::WRITE, bytes) }
}

/// `bufferevent_rate_limit_group_new`: copies the limit. The members share the base with the group.
///
/// # Safety
/// `base` and `config` are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_new(
    base: *mut event_base,
    config: *const ev_token_bucket_cfg,
) -> *mut bufferevent_rate_limit_group {
    // SAFETY: by this function's contract.
    unsafe {
        let limit = (*config).limit;
        let key = event_base::with(base, |inner| {
            inner.refresh_clock();
            inner.core.new_rate_group(limit)
        });
        Box::into_raw(Box::new(bufferevent_rate_limit_group { base, key }))
    }
}

/// Runs `f` on a group's base.
unsafe fn with_group<R>(
    group: *mut bufferevent_rate_limit_group,
    f: impl FnOnce(&mut Inner, GroupKey) -> R,
) -> R {
    // SAFETY: the caller's group is live, and so is its base.
    unsafe {
        let (base, key) = ((*group).base, (*group).key);
        event_base::with(base, |inner| {
            inner.refresh_clock();
            let result = f(inner, key);
            inner.settle();
            result
        })
    }
}

/// `bufferevent_rate_limit_group_free`: its members are not limited by it any more.
///
/// # Safety
/// `group` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_free(
    group: *mut bufferevent_rate_limit_group,
) {
    // SAFETY: by this function's contract.
    unsafe {
        with_group(group, |inner, key| inner.core.free_rate_group(key));
        drop(Box::from_raw(group));
    }
}

/// `bufferevent_rate_limit_group_set_cfg`: 0.
///
/// # Safety
/// `group` and `config` are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_set_cfg(
    group: *mut bufferevent_rate_limit_group,
    config: *const ev_token_bucket_cfg,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let limit = (*config).limit;
        with_group(group, |inner, key| inner.core.set_group_limit(key, limit));
    }
    0
}

/// `bufferevent_rate_limit_group_set_min_share`: 0, or -1 for more than `EV_SSIZE_MAX`.
///
/// # Safety
/// `group` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_set_min_share(
    group: *mut bufferevent_rate_limit_group,
    share: usize,
) -> c_int {
    if isize::try_from(share).is_err() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        with_group(group, |inner, key| {
            inner.core.set_group_min_share(key, share)
        })
    };
    0
}

/// `bufferevent_add_to_rate_limit_group`: leaves the group that it was in. 0, or -1 if the group is on another base.
///
/// # Safety
/// Both are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_add_to_rate_limit_group(
    bev: *mut bufferevent,
    group: *mut bufferevent_rate_limit_group,
) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        if (*bev).public.ev_base != (*group).base {
            log::warn("bufferevent_add_to_rate_limit_group: the group is on another base");
            return -1;
        }
        let group = (*group).key;
        let joined = with(bev, |inner, key| {
            inner.refresh_clock();
            inner.core.join_rate_group(key, group)
        });
        if joined { 0 } else { -1 }
    }
}

/// `bufferevent_remove_from_rate_limit_group`: 0.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_remove_from_rate_limit_group(bev: *mut bufferevent) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| inner.core.leave_rate_group(key));
    }
    0
}

unsafe fn group_level(group: *mut bufferevent_rate_limit_group, dir: Dirs) -> ssize_t {
    // SAFETY: the caller's group is live.
    unsafe { with_group(group, |inner, key| inner.core.group_level(key, dir)) }
        .map_or(ssize_t::MAX, |level| level as ssize_t)
}

/// `bufferevent_rate_limit_group_get_read_limit`: what the group's bucket holds.
///
/// # Safety
/// `group` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_get_read_limit(
    group: *mut bufferevent_rate_limit_group,
) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { group_level(group, Dirs::READ) }
}

/// `bufferevent_rate_limit_group_get_write_limit`: what the group's bucket holds.
///
/// # Safety
/// `group` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_get_write_limit(
    group: *mut bufferevent_rate_limit_group,
) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { group_level(group, Dirs::WRITE) }
}

unsafe fn decrement_group(
    group: *mut bufferevent_rate_limit_group,
    dir: Dirs,
    bytes: ssize_t,
) -> c_int {
    // SAFETY: the caller's group is live.
    let exists = unsafe {
        with_group(group, |inner, key| {
            inner.core.decrement_group(key, dir, bytes as i64)
        })
    };
    if exists { 0 } else { -1 }
}

/// `bufferevent_rate_limit_group_decrement_read`: takes bytes out of the group's bucket, or puts some in. 0.
///
/// # Safety
/// `group` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_decrement_read(
    group: *mut bufferevent_rate_limit_group,
    bytes: ssize_t,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { decrement_group(group, Dirs::READ, bytes) }
}

/// `bufferevent_rate_limit_group_decrement_write`: as [`bufferevent_rate_limit_group_decrement_read`].
///
/// # Safety
/// `group` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_decrement_write(
    group: *mut bufferevent_rate_limit_group,
    bytes: ssize_t,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { decrement_group(group, Dirs::WRITE, bytes) }
}

/// `bufferevent_rate_limit_group_get_totals`: what its members have read and written.
///
/// # Safety
/// `group` is live; the other pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_get_totals(
    group: *mut bufferevent_rate_limit_group,
    read: *mut u64,
    written: *mut u64,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let totals = with_group(group, |inner, key| inner.core.group_totals(key));
        let [total_read, total_written] = totals.unwrap_or_default();
        if let Some(read) = read.as_mut() {
            *read = total_read;
        }
        if let Some(written) = written.as_mut() {
            *written = total_written;
        }
    }
}

/// `bufferevent_rate_limit_group_reset_totals`
///
/// # Safety
/// `group` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_rate_limit_group_reset_totals(
    group: *mut bufferevent_rate_limit_group,
) {
    // SAFETY: by this function's contract.
    unsafe { with_group(group, |inner, key| inner.core.reset_group_totals(key)) };
}
