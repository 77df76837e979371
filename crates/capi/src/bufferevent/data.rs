//! Reading, writing, triggering, limits of a transfer.

use std::ffi::{c_int, c_short, c_void};

use ferrevent_core::{Callbacks, Dirs, Options, StreamEvent, StreamKey, Trigger};
use libc::ssize_t;

use super::{Bev, bev_of, hold, listen, run, with};
use crate::abi::bufferevent;
use crate::base::{dirs, event_base};
use crate::buffer::content::{evbuffer_add, evbuffer_remove};
use crate::buffer::evbuffer;
use crate::buffer::moves::evbuffer_add_buffer;

/// What one transfer moves at most unless the program says otherwise, as libevent reports it.
const DEFAULT_SINGLE: usize = 16384;

/// `bufferevent_write`: 0, or -1.
///
/// # Safety
/// `bev` is live; `data` has `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_write(
    bev: *mut bufferevent,
    data: *const c_void,
    size: usize,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        if evbuffer_add((*bev).output, data, size) == -1 {
            -1
        } else {
            0
        }
    }
}

/// `bufferevent_write_buffer`: moves all of `buf`. 0, or -1.
///
/// # Safety
/// `bev` and `buf` are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_write_buffer(
    bev: *mut bufferevent,
    buf: *mut evbuffer,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        if evbuffer_add_buffer((*bev).output, buf) == -1 {
            -1
        } else {
            0
        }
    }
}

/// `bufferevent_read`: how many bytes were read.
///
/// # Safety
/// `bev` is live; `data` has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_read(
    bev: *mut bufferevent,
    data: *mut c_void,
    size: usize,
) -> usize {
    // SAFETY: by this function's contract.
    let read = unsafe { evbuffer_remove((*bev).input, data, size) };
    // As in libevent, -1 of a buffer that refuses becomes the largest size.
    read as usize
}

/// `bufferevent_read_buffer`: moves all input to `buf`. 0, or -1.
///
/// # Safety
/// `bev` and `buf` are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_read_buffer(
    bev: *mut bufferevent,
    buf: *mut evbuffer,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { evbuffer_add_buffer(buf, (*bev).input) }
}

/// `bufferevent_get_input`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_input(bev: *mut bufferevent) -> *mut evbuffer {
    // SAFETY: by this function's contract.
    unsafe { (*bev).input }
}

/// `bufferevent_get_output`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_output(bev: *mut bufferevent) -> *mut evbuffer {
    // SAFETY: by this function's contract.
    unsafe { (*bev).output }
}

/// Runs callbacks that a call of the program's asked for, while a reference keeps the bufferevent.
unsafe fn call_now(
    bev: *mut Bev,
    emit: impl FnOnce(&mut crate::base::Inner, StreamKey) -> Callbacks,
) {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        let base = (*bev).public.ev_base;
        let key = (*bev).key;
        let callbacks = with(bev, |inner, key| {
            listen(inner, bev, key);
            inner.core.retain(key);
            emit(inner, key)
        });
        run::call(base, bev, key, callbacks);
        event_base::with(base, |inner| {
            inner.core.release(key);
            inner.settle();
        });
    }
}

/// `bufferevent_trigger`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_trigger(bev: *mut bufferevent, what: c_short, options: c_int) {
    let bev = bev_of(bev);
    let how = Trigger::from_bits_truncate(options as u32);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        event_base::with(base, |inner| inner.core.retain(key));
        // One after the other: what the read callback has written is output that the write callback waits for.
        for dir in dirs(what).iter() {
            call_now(bev, |inner, key| inner.core.trigger(key, dir, how));
        }
        event_base::with(base, |inner| {
            inner.core.release(key);
            inner.settle();
        });
    }
}

/// `bufferevent_trigger_event`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_trigger_event(
    bev: *mut bufferevent,
    what: c_short,
    options: c_int,
) {
    let bev = bev_of(bev);
    let how = Trigger::from_bits_truncate(options as u32);
    let event = StreamEvent::from_bits_retain(what as u16);
    // SAFETY: by this function's contract; `errno` is the calling thread's.
    unsafe {
        let error = *libc::__errno_location();
        let _held = hold(bev);
        let defers = (*bev).public.options.contains(Options::DEFER_CALLBACKS);
        // No flag at all is an event too, as long as it need not be remembered.
        let bare = event.is_empty() && !defers && !how.contains(Trigger::DEFER);
        call_now(bev, |inner, key| {
            inner.core.trigger_event(key, event, error, how)
        });
        if bare {
            run::call_event(bev, event, error);
        }
    }
}

unsafe fn set_max_single(bev: *mut bufferevent, dir: Dirs, size: usize) -> c_int {
    let bev = bev_of(bev);
    let max = (1..=isize::MAX as usize).contains(&size).then_some(size);
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| inner.core.set_max_single(key, dir, max));
    }
    0
}

unsafe fn max_single(bev: *mut bufferevent, dir: Dirs) -> usize {
    let bev = bev_of(bev);
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| {
            inner
                .core
                .stream(key)
                .and_then(|stream| stream.max_single(dir))
        })
        .unwrap_or(DEFAULT_SINGLE)
    }
}

/// `bufferevent_set_max_single_read`: 0 is the default.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_set_max_single_read(
    bev: *mut bufferevent,
    size: usize,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { set_max_single(bev, Dirs::READ, size) }
}

/// `bufferevent_set_max_single_write`: 0 is the default.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_set_max_single_write(
    bev: *mut bufferevent,
    size: usize,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { set_max_single(bev, Dirs::WRITE, size) }
}

/// `bufferevent_get_max_single_read`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_max_single_read(bev: *mut bufferevent) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { max_single(bev, Dirs::READ) as ssize_t }
}

/// `bufferevent_get_max_single_write`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_max_single_write(bev: *mut bufferevent) -> ssize_t {
    // SAFETY: by this function's contract.
    unsafe { max_single(bev, Dirs::WRITE) as ssize_t }
}
