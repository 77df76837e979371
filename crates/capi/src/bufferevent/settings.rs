//! What can be set and asked: callbacks, directions, watermarks, timeouts, the descriptor, the priority.

use std::ffi::{c_int, c_short, c_void};

use ferrevent_core::{Dirs, Watermark};
use libc::timeval;

use super::connect::stop_dialing;
use super::pair::is_pair;
use super::{bev_of, guard_buffers, hold, kind_of, listen, set_public_fd, stage, tls, with};
use crate::abi::{
    bufferevent, bufferevent_data_cb, bufferevent_event_cb, event_watermark, evutil_socket_t,
};
use crate::base::{Inner, dirs, event_base};
use crate::event::nanoseconds;

/// `bufferevent_setcb`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_setcb(
    bev: *mut bufferevent,
    readcb: bufferevent_data_cb,
    writecb: bufferevent_data_cb,
    eventcb: bufferevent_event_cb,
    arg: *mut c_void,
) {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        let public = &mut (*bev).public;
        (public.readcb, public.writecb, public.errorcb) = (readcb, writecb, eventcb);
        public.cbarg = arg;
        with(bev, |inner, key| {
            inner.core.unstage(key);
            listen(inner, bev, key);
        });
    }
}

/// `bufferevent_getcb`
///
/// # Safety
/// `bev` is live; every other pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_getcb(
    bev: *mut bufferevent,
    readcb: *mut bufferevent_data_cb,
    writecb: *mut bufferevent_data_cb,
    eventcb: *mut bufferevent_event_cb,
    arg: *mut *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev_of(bev));
        if let Some(readcb) = readcb.as_mut() {
            *readcb = (*bev).readcb;
        }
        if let Some(writecb) = writecb.as_mut() {
            *writecb = (*bev).writecb;
        }
        if let Some(eventcb) = eventcb.as_mut() {
            *eventcb = (*bev).errorcb;
        }
        if let Some(arg) = arg.as_mut() {
            *arg = (*bev).cbarg;
        }
    }
}

/// `bufferevent_enable`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_enable(bev: *mut bufferevent, what: c_short) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| {
            let (core, driver) = inner.parts();
            let enabled = core.enable(key, dirs(what), driver);
            status(inner, enabled)
        })
    }
}

/// 0 or -1; what went wrong is logged where libevent logs it.
fn status(inner: &mut Inner, result: std::io::Result<()>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => {
            inner.complain(format!("bufferevent: {error}"));
            -1
        }
    }
}

/// `bufferevent_disable`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_disable(bev: *mut bufferevent, what: c_short) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| inner.core.disable(key, dirs(what)));
    }
    0
}

/// `bufferevent_get_enabled`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_enabled(bev: *mut bufferevent) -> c_short {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev_of(bev));
        (*bev).enabled
    }
}

/// `bufferevent_setwatermark`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_setwatermark(
    bev: *mut bufferevent,
    what: c_short,
    low: usize,
    high: usize,
) {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        let public = &mut (*bev).public;
        if dirs(what).contains(Dirs::READ) {
            public.wm_read = event_watermark { low, high };
        }
        if dirs(what).contains(Dirs::WRITE) {
            public.wm_write = event_watermark { low, high };
        }
        with(bev, |inner, key| {
            inner
                .core
                .set_watermark(key, dirs(what), Watermark { low, high });
        });
    }
}

/// `bufferevent_getwatermark`: `what` is exactly one direction. 0, or -1.
///
/// # Safety
/// `bev` is live; the other pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_getwatermark(
    bev: *mut bufferevent,
    what: c_short,
    low: *mut usize,
    high: *mut usize,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev_of(bev));
        let mark = match what {
            2 => (*bev).wm_read,
            4 => (*bev).wm_write,
            _ => return -1,
        };
        if let Some(low) = low.as_mut() {
            *low = mark.low;
        }
        if let Some(high) = high.as_mut() {
            *high = mark.high;
        }
    }
    0
}

/// `bufferevent_set_timeouts`: NULL or zero is none.
///
/// # Safety
/// `bev` is live; the timeouts are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_set_timeouts(
    bev: *mut bufferevent,
    read: *const timeval,
    write: *const timeval,
) -> c_int {
    let bev = bev_of(bev);
    let zero = timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        let (read, write) = (
            read.as_ref().unwrap_or(&zero),
            write.as_ref().unwrap_or(&zero),
        );
        (*bev).public.timeout_read = *read;
        (*bev).public.timeout_write = *write;
        let (read, write) = (nanoseconds(read), nanoseconds(write));
        let some = |timeout: u64| Some(timeout).filter(|&timeout| timeout > 0);
        with(bev, |inner, key| {
            inner.refresh_clock();
            inner.core.set_timeouts(key, some(read), some(write));
        });
    }
    0
}

/// `bufferevent_settimeout`: in seconds; 0 is none.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_settimeout(bev: *mut bufferevent, read: c_int, write: c_int) {
    let seconds = |n: c_int| timeval {
        tv_sec: i64::from(n),
        tv_usec: 0,
    };
    // SAFETY: by this function's contract.
    unsafe { bufferevent_set_timeouts(bev, &seconds(read), &seconds(write)) };
}

/// `bufferevent_setfd`: of a filter, that of the socket below. 0, or -1 for a pair, which has none.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_setfd(bev: *mut bufferevent, fd: evutil_socket_t) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; what is below a filter has the same lock.
    unsafe {
        let _held = hold(bev);
        if !tls::underlying(bev).is_null() {
            // As in libevent: the descriptor is that of the one below, and stays.
            return 0;
        }
        let bev = stage::bottom(bev);
        if is_pair(bev) {
            return -1;
        }
        stop_dialing(bev);
        let kind = kind_of(fd);
        set_public_fd(bev, fd);
        guard_buffers(bev, false);
        with(bev, |inner, key| {
            let (core, driver) = inner.parts();
            // As in libevent: a descriptor that cannot be watched shows when it is enabled.
            let _ = core.set_fd(key, fd, kind, driver);
        });
    }
    0
}

/// `bufferevent_getfd`: of a filter, that of the socket below.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_getfd(bev: *mut bufferevent) -> evutil_socket_t {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev_of(bev));
        (*stage::bottom(bev_of(bev))).public.ev_read.ev_fd
    }
}

/// `bufferevent_priority_set`: 0, or -1 if there is no such priority.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_priority_set(bev: *mut bufferevent, priority: c_int) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| {
            let set = u8::try_from(priority)
                .is_ok_and(|priority| inner.core.set_stream_priority(key, priority));
            if set { 0 } else { -1 }
        })
    }
}

/// `bufferevent_get_priority`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_priority(bev: *const bufferevent) -> c_int {
    let bev = bev_of(bev.cast_mut());
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| {
            inner
                .core
                .stream(key)
                .map_or(-1, |s| c_int::from(s.priority()))
        })
    }
}

/// `bufferevent_get_base`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_base(bev: *mut bufferevent) -> *mut event_base {
    // SAFETY: by this function's contract.
    unsafe { (*bev).ev_base }
}
