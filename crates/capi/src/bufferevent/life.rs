//! Making and freeing bufferevents, references to them, their locks.

use std::ffi::{c_int, c_short, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicU8;

use ferrevent_core::driver::Kind;
use ferrevent_core::{Dirs, Io, Options, Stream, StreamKey, StreamWork};
use libc::timeval;

use super::connect::stop_dialing;
use super::hostname::forget_look_up;
use super::{
    Bev, SOCKET_OPS, bev_of, guard_buffers, hold, kind_of, lock_of, nursery, place_in, run,
    set_public_fd, settings, tls, with,
};
use crate::abi::{
    bufferevent, bufferevent_data_cb, bufferevent_event_cb, event, event_watermark, evutil_socket_t,
};
use crate::base::{Address, Inner, current, event_base};
use crate::buffer::{self, BufferSide, evbuffer};
use crate::lock::Lock;
use crate::log;

/// `bufferevent_socket_new`
///
/// # Safety
/// `base` is NULL, for the current one, or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_socket_new(
    base: *mut event_base,
    fd: evutil_socket_t,
    options: c_int,
) -> *mut bufferevent {
    let options = Options::from_bits_truncate(options as u16);
    // SAFETY: by this function's contract.
    unsafe { new_on_socket(base, fd, kind_of(fd), options) }
}

/// [`bufferevent_socket_new`] on a descriptor of a known kind.
///
/// # Safety
/// As there.
pub(crate) unsafe fn new_on_socket(
    base: *mut event_base,
    fd: evutil_socket_t,
    kind: Kind,
    options: Options,
) -> *mut bufferevent {
    let base = if base.is_null() { current() } else { base };
    let base = if base.is_null() { nursery() } else { base };
    if base.is_null() {
        return ptr::null_mut();
    }
    let lock = if options.contains(Options::THREADSAFE) {
        Lock::new()
    } else {
        None
    };
    if options.contains(Options::THREADSAFE) && lock.is_none() {
        log::warn("bufferevent_socket_new: BEV_OPT_THREADSAFE needs evthread_use_pthreads()");
        return ptr::null_mut();
    }
    let ops = ptr::from_ref(&SOCKET_OPS).cast();
    // SAFETY: by this function's contract; nobody else knows of the new bufferevent yet.
    unsafe {
        let made = build(base, fd, options, lock, ops, |inner, bev| {
            inner.core.new_stream(Address(bev), fd, kind, options)
        });
        let Some(bev) = made else {
            log::warn("UNLOCK_CALLBACKS requires DEFER_CALLBACKS");
            return ptr::null_mut();
        };
        guard_buffers(bev, true);
        buffer::set_drains_to_fd((*bev).public.output);
        &raw mut (*bev).public
    }
}

/// A new bufferevent of whatever kind: `make` has the core make it. `None` if that refuses.
///
/// # Safety
/// `base` is live; `make` runs no user code.
pub(super) unsafe fn build(
    base: *mut event_base,
    fd: evutil_socket_t,
    options: Options,
    lock: Option<Lock>,
    ops: *const c_void,
    make: impl FnOnce(&mut Inner, *mut Bev) -> Option<StreamKey>,
) -> Option<*mut Bev> {
    let bev = Box::into_raw(Box::<Bev>::new_uninit()).cast::<Bev>();
    // SAFETY: `bev` is fresh memory for a `Bev`, made whole before anyone else sees it; the base is live.
    unsafe {
        let Some(key) = event_base::with(base, |inner| make(inner, bev)) else {
            drop(Box::from_raw(bev.cast::<MaybeUninit<Bev>>()));
            return None;
        };
        let (input, output) = (
            bev.byte_add(place_in(BufferSide::Input)).cast(),
            bev.byte_add(place_in(BufferSide::Output)).cast(),
        );
        bev.write(Bev {
            public: bufferevent {
                ev_base: base,
                be_ops: ops,
                ev_read: std::mem::zeroed::<event>(),
                ev_write: std::mem::zeroed::<event>(),
                input,
                output,
                wm_read: event_watermark { low: 0, high: 0 },
                wm_write: event_watermark { low: 0, high: 0 },
                readcb: None,
                writecb: None,
                errorcb: None,
                cbarg: ptr::null_mut(),
                timeout_read: timeval {
                    tv_sec: 0,
                    tv_usec: 0,
                },
                timeout_write: timeval {
                    tv_sec: 0,
                    tv_usec: 0,
                },
                enabled: c_short::from(Dirs::WRITE.bits()),
                options,
                in_use: AtomicU8::new(3),
            },
            key,
            input: MaybeUninit::new(evbuffer::of_bufferevent(BufferSide::Input, lock.clone())),
            special: None,
            output: MaybeUninit::new(evbuffer::of_bufferevent(BufferSide::Output, lock)),
        });
        set_public_fd(bev, fd);
        Some(bev)
    }
}

/// `bufferevent_new`: for the current base, with callbacks at once.
///
/// # Safety
/// As [`bufferevent_socket_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_new(
    fd: evutil_socket_t,
    readcb: bufferevent_data_cb,
    writecb: bufferevent_data_cb,
    errorcb: bufferevent_event_cb,
    arg: *mut c_void,
) -> *mut bufferevent {
    // SAFETY: by this function's contract.
    unsafe {
        let bev = bufferevent_socket_new(ptr::null_mut(), fd, 0);
        if !bev.is_null() {
            settings::bufferevent_setcb(bev, readcb, writecb, errorcb, arg);
        }
        bev
    }
}

/// `bufferevent_free`
///
/// # Safety
/// `bev` is live, and is not used any more unless there are other references.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_free(bev: *mut bufferevent) {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        clear_callbacks(bev);
        forget_look_up(bev);
        stop_dialing(bev);
        let base = (*bev).public.ev_base;
        let key = (*bev).key;
        if tls::free(bev) {
            return;
        }
        let last_words = event_base::with(base, |inner| {
            let last_words = inner.core.last_words(key);
            if last_words.is_none() {
                inner.core.free_stream(key);
            }
            inner.settle();
            last_words
        });
        let Some(StreamWork { io, .. }) = last_words else {
            return;
        };
        if let Io::Write { fd, kind, limit } = io {
            // Nobody is to be called for it any more.
            let _ = run::write(bev, key, fd, kind, limit);
        }
        event_base::with(base, |inner| {
            inner.core.free_stream(key);
            inner.settle();
        });
    }
}

pub(super) unsafe fn clear_callbacks(bev: *mut Bev) {
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        (*bev).public.readcb = None;
        (*bev).public.writecb = None;
        (*bev).public.errorcb = None;
        (*bev).public.cbarg = ptr::null_mut();
    }
}

/// `bufferevent_incref`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_incref(bev: *mut bufferevent) {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| inner.core.retain(key));
    }
}

/// `bufferevent_decref`: 1 if that was the last reference.
///
/// # Safety
/// `bev` is live, and a reference of the caller's goes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_decref(bev: *mut bufferevent) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        with(bev, |inner, key| c_int::from(inner.core.release(key)))
    }
}

/// `bufferevent_lock`: also takes a reference.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_lock(bev: *mut bufferevent) {
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(lock) = lock_of(bev_of(bev)) {
            lock.acquire();
        }
        bufferevent_incref(bev);
    }
}

/// `bufferevent_unlock`: also drops the reference that [`bufferevent_lock`] took.
///
/// # Safety
/// The caller holds the lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_unlock(bev: *mut bufferevent) {
    // SAFETY: by this function's contract; the lock outlives the bufferevent.
    unsafe {
        let lock = lock_of(bev_of(bev));
        bufferevent_decref(bev);
        if let Some(lock) = lock {
            lock.release();
        }
    }
}

/// `bufferevent_base_set`: moves a bufferevent on a socket that waits for nothing to another base. 0, or -1.
///
/// # Safety
/// `bev` and `base` are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_base_set(
    base: *mut event_base,
    bev: *mut bufferevent,
) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract. The two bases' locks are not held together.
    unsafe {
        let _held = hold(bev);
        if super::stage::stage_of(bev).is_some() || super::pair::is_pair(bev) {
            return -1;
        }
        if ptr::eq((*bev).public.ev_base, base) {
            return 0;
        }
        let taken: Option<Stream<_>> = with(bev, |inner, key| inner.core.take_stream(key));
        let Some(stream) = taken else { return -1 };
        let fd = (*bev).public.ev_read.ev_fd;
        (*bev).public.ev_base = base;
        (*bev).key = event_base::with(base, |inner| inner.core.insert_stream(stream));
        set_public_fd(bev, fd);
    }
    0
}
