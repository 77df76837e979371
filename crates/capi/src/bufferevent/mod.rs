//! `event2/bufferevent.h` for sockets.
//!
//! * this file: what a bufferevent is, its life, its settings;
//! * `run`: what the loop does with it — transfers and callbacks;
//! * `connect`: starting connections;
//! * `data`: reading, writing, triggering.

mod connect;
mod data;
mod run;

pub use connect::*;
pub use data::*;
pub(crate) use run::{buffer_changed, finalize, run};

use std::ffi::{c_int, c_short, c_void};
use std::ptr;
use std::sync::OnceLock;

use ferrevent_core::buffer::End;
use ferrevent_core::driver::{Fd, Kind, Transport};
use ferrevent_core::{Dirs, Options, Stream, StreamKey, Watermark};
use ferrevent_sys::Posix;
use libc::timeval;

use crate::abi::{
    bufferevent, bufferevent_data_cb, bufferevent_event_cb, event, event_watermark, evutil_socket_t,
};
use crate::base::{Address, Inner, current, dirs, event_base};
use crate::buffer::{self, BufferOwner, BufferSide, evbuffer};
use crate::config::event_config;
use crate::event::{event_assign, nanoseconds};
use crate::lock::{self, Held, Lock};
use crate::{base, log};
use connect::Candidates;

/// How bytes move. The C library leaves `SIGPIPE` to the program, as libevent does.
pub(crate) const TRANSPORT: Posix = Posix {
    suppress_sigpipe: false,
};

/// A bufferevent: the public struct, and behind it what is the library's own.
#[repr(C)]
pub struct Bev {
    /// What programs see; `struct bufferevent *` points here.
    pub(crate) public: bufferevent,
    pub(crate) key: StreamKey,
    pub(crate) lock: Option<Lock>,
    options: Options,
    /// The last error of a host name's look-up (`EAI_*`).
    dns_error: c_int,
    /// Addresses of a host name that are still to be tried.
    candidates: Option<Box<Candidates>>,
}

/// What `be_ops` points to in a bufferevent on a socket.
static SOCKET_OPS: u8 = 0;

/// The bufferevent behind a pointer that the program gave.
fn bev_of(bev: *mut bufferevent) -> *mut Bev {
    bev.cast()
}

/// Takes the bufferevent's lock, if it has one.
unsafe fn hold(bev: *mut Bev) -> Held {
    // SAFETY: the caller's bufferevent is live; its lock is not replaced.
    lock::hold(unsafe { &(*bev).lock })
}

/// Runs `f` on the bufferevent's base and then writes what programs can see into the public struct.
///
/// # Safety
/// `bev` is live; `f` runs no user code.
unsafe fn with<R>(bev: *mut Bev, f: impl FnOnce(&mut Inner, StreamKey) -> R) -> R {
    // SAFETY: by this function's contract.
    unsafe {
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        event_base::with(base, |inner| {
            if inner.core.stream(key).is_some_and(Stream::is_timed) {
                inner.refresh_clock();
            }
            let result = f(inner, key);
            if let Some(stream) = inner.core.stream(key) {
                (*bev).public.enabled = c_short::from(stream.enabled().bits());
            }
            inner.settle();
            result
        })
    }
}

/// A base for bufferevents that have none yet (`bufferevent_new` before `bufferevent_base_set`). Its loop never runs.
fn nursery() -> *mut event_base {
    static NURSERY: OnceLock<usize> = OnceLock::new();
    *NURSERY.get_or_init(|| base::new_base(&event_config::default()) as usize) as *mut event_base
}

fn kind_of(fd: Fd) -> Kind {
    if fd < 0 {
        Kind::Stream
    } else {
        TRANSPORT.kind(fd)
    }
}

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
    let bev = Box::into_raw(Box::<Bev>::new_uninit()).cast::<Bev>();
    let kind = kind_of(fd);
    // SAFETY: `bev` is fresh memory for a `Bev`, made whole before anyone else sees it; the base is live.
    unsafe {
        let cookie = Address(bev);
        let made = event_base::with(base, |inner| {
            inner.core.new_stream(cookie, fd, kind, options)
        });
        let Some(key) = made else {
            log::warn("UNLOCK_CALLBACKS requires DEFER_CALLBACKS");
            drop(Box::from_raw(bev.cast::<std::mem::MaybeUninit<Bev>>()));
            return ptr::null_mut();
        };
        let (input, output) = (evbuffer::alloc(), evbuffer::alloc());
        bev.write(Bev {
            public: bufferevent {
                ev_base: base,
                be_ops: ptr::from_ref(&SOCKET_OPS).cast(),
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
            },
            key,
            lock: lock.clone(),
            options,
            dns_error: 0,
            candidates: None,
        });
        for (buf, side) in [(input, BufferSide::Input), (output, BufferSide::Output)] {
            buffer::set_owner(
                buf,
                Some(BufferOwner {
                    bufferevent: bev,
                    side,
                }),
            );
            buffer::set_lock(buf, lock.clone());
        }
        set_public_fd(bev, fd);
        guard_buffers(bev, true);
        ptr::from_mut(&mut (*bev).public)
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
            bufferevent_setcb(bev, readcb, writecb, errorcb, arg);
        }
        bev
    }
}

/// The two events in the public struct only tell the descriptor; they are never added.
unsafe fn set_public_fd(bev: *mut Bev, fd: Fd) {
    let arg = bev.cast();
    // SAFETY: the caller's bufferevent is live, and nothing waits on these events.
    unsafe {
        let base = (*bev).public.ev_base;
        event_assign(&raw mut (*bev).public.ev_read, base, fd, 0x12, None, arg);
        event_assign(&raw mut (*bev).public.ev_write, base, fd, 0x14, None, arg);
    }
}

/// Keeps the user from adding to the input and from draining the output, or lets them.
unsafe fn guard_buffers(bev: *mut Bev, guarded: bool) {
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        let (input, output) = (
            &mut (*(*bev).public.input).buffer,
            &mut (*(*bev).public.output).buffer,
        );
        if guarded {
            input.freeze(End::Back);
            output.freeze(End::Front);
        } else {
            input.unfreeze(End::Back);
            output.unfreeze(End::Front);
        }
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
        (*bev).candidates = None;
        let base = (*bev).public.ev_base;
        let key = (*bev).key;
        event_base::with(base, |inner| {
            inner.core.free_stream(key);
            inner.settle();
        });
    }
}

unsafe fn clear_callbacks(bev: *mut Bev) {
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
        if let Some(lock) = &(*bev_of(bev)).lock {
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
        let lock = (*bev_of(bev)).lock.clone();
        bufferevent_decref(bev);
        if let Some(lock) = lock {
            lock.release();
        }
    }
}

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
        with(bev, |inner, key| listen(inner, bev, key));
    }
}

/// Tells the core which callbacks the public struct has now: programs write to it directly.
unsafe fn listen(inner: &mut Inner, bev: *mut Bev, key: StreamKey) {
    // SAFETY: the caller's bufferevent is live.
    let public = unsafe { &(*bev).public };
    let (read, write) = (public.readcb.is_some(), public.writecb.is_some());
    inner
        .core
        .set_listening(key, read, write, public.errorcb.is_some());
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
            status(core.enable(key, dirs(what), driver))
        })
    }
}

/// 0 or -1; what went wrong is logged where libevent logs it.
fn status(result: std::io::Result<()>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => {
            log::warn(&format!("bufferevent: {error}"));
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

/// `bufferevent_setfd`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_setfd(bev: *mut bufferevent, fd: evutil_socket_t) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
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

/// `bufferevent_getfd`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_getfd(bev: *mut bufferevent) -> evutil_socket_t {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev_of(bev));
        (*bev).ev_read.ev_fd
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

/// `bufferevent_base_set`: moves a bufferevent that waits for nothing to another base. 0, or -1.
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

/// `bufferevent_get_base`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_get_base(bev: *mut bufferevent) -> *mut event_base {
    // SAFETY: by this function's contract.
    unsafe { (*bev).ev_base }
}

/// `bufferevent_get_underlying`: a socket has none.
#[unsafe(no_mangle)]
pub extern "C" fn bufferevent_get_underlying(_bev: *mut bufferevent) -> *mut bufferevent {
    ptr::null_mut()
}
