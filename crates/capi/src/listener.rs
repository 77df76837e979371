//! `event2/listener.h`: accepting connections.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{c_int, c_short, c_void};
use std::io;
use std::os::fd::IntoRawFd;
use std::ptr;

use ferrevent_sys::{Address, DEFAULT_BACKLOG, Listen, Mode};
use libc::{sockaddr, timeval};

use crate::abi::{event, evutil_socket_t};
use crate::base::event_base;
use crate::event::{event_add, event_assign, event_del_block, event_del_noblock, event_get_base};
use crate::lock::{self, Lock};
use crate::{debug, log};

/// `evconnlistener_cb`
pub type evconnlistener_cb = Option<
    unsafe extern "C" fn(*mut evconnlistener, evutil_socket_t, *mut sockaddr, c_int, *mut c_void),
>;

/// `evconnlistener_errorcb`
pub type evconnlistener_errorcb = Option<unsafe extern "C" fn(*mut evconnlistener, *mut c_void)>;

/// A listener.
pub struct evconnlistener {
    readable: event,
    /// Ends a pause that a lack of descriptors or memory has caused.
    resume: event,
    callback: evconnlistener_cb,
    error_callback: evconnlistener_errorcb,
    arg: *mut c_void,
    flags: u32,
    enabled: bool,
    /// The owner's reference, and one while callbacks run. Without any, it is being freed.
    references: u32,
    lock: Option<Lock>,
}

const LEAVE_SOCKETS_BLOCKING: u32 = 1;
const CLOSE_ON_FREE: u32 = 1 << 1;
const CLOSE_ON_EXEC: u32 = 1 << 2;
const REUSEABLE: u32 = 1 << 3;
const THREADSAFE: u32 = 1 << 4;
const DISABLED: u32 = 1 << 5;
const DEFERRED_ACCEPT: u32 = 1 << 6;
const REUSEABLE_PORT: u32 = 1 << 7;
const BIND_IPV6ONLY: u32 = 1 << 8;

/// How long accepting rests when the system has no descriptors or memory left: the connection stays in the backlog, and
/// its descriptor would be reported without end.
const PAUSE: timeval = timeval {
    tv_sec: 0,
    tv_usec: 100_000,
};

const READ_PERSIST: c_short = 0x12;

/// `evconnlistener_new`: for a bound socket; `backlog` 0 says that it listens already, a negative one is the default.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_new(
    base: *mut event_base,
    callback: evconnlistener_cb,
    arg: *mut c_void,
    flags: u32,
    backlog: c_int,
    fd: evutil_socket_t,
) -> *mut evconnlistener {
    let backlog = if backlog < 0 {
        DEFAULT_BACKLOG
    } else {
        backlog
    };
    if backlog > 0 && ferrevent_sys::listen(fd, backlog).is_err() {
        return ptr::null_mut();
    }
    let lock = if flags & THREADSAFE != 0 {
        Lock::new()
    } else {
        None
    };
    // SAFETY: an `event` of zeros is valid, and assigned before it is used; the rest is by this function's contract.
    unsafe {
        let listener = Box::into_raw(Box::new(evconnlistener {
            readable: std::mem::zeroed(),
            resume: std::mem::zeroed(),
            callback,
            error_callback: None,
            arg,
            flags,
            enabled: false,
            references: 1,
            lock,
        }));
        let this = listener.cast();
        event_assign(
            &raw mut (*listener).readable,
            base,
            fd,
            READ_PERSIST,
            Some(on_readable),
            this,
        );
        event_assign(
            &raw mut (*listener).resume,
            base,
            -1,
            0,
            Some(on_resume),
            this,
        );
        if flags & DISABLED == 0 {
            evconnlistener_enable(listener);
        }
        listener
    }
}

/// `evconnlistener_new_bind`
///
/// # Safety
/// `base` is live; `sa` is NULL or has `socklen` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_new_bind(
    base: *mut event_base,
    callback: evconnlistener_cb,
    arg: *mut c_void,
    flags: u32,
    backlog: c_int,
    sa: *const sockaddr,
    socklen: c_int,
) -> *mut evconnlistener {
    if backlog == 0 || sa.is_null() {
        return ptr::null_mut();
    }
    let len = usize::try_from(socklen).unwrap_or(0);
    // SAFETY: by this function's contract.
    let bytes = unsafe { std::slice::from_raw_parts(sa.cast::<u8>(), len) };
    let Some(address) = Address::from_bytes(bytes) else {
        return ptr::null_mut();
    };
    // In Rust these two change nothing where they make no sense.
    let refused = match address.family() {
        libc::AF_INET6 => None,
        libc::AF_INET => (flags & BIND_IPV6ONLY != 0).then_some(libc::ENOPROTOOPT),
        _ => (flags & (BIND_IPV6ONLY | DEFERRED_ACCEPT) != 0).then_some(libc::EOPNOTSUPP),
    };
    if let Some(error) = refused {
        set_errno(&io::Error::from_raw_os_error(error));
        return ptr::null_mut();
    }
    let options = Listen {
        mode: Mode {
            blocking: false,
            inheritable: flags & CLOSE_ON_EXEC == 0,
        },
        reuse_address: flags & REUSEABLE != 0,
        reuse_port: flags & REUSEABLE_PORT != 0,
        v6_only: flags & BIND_IPV6ONLY != 0,
        defer_accept: flags & DEFERRED_ACCEPT != 0,
        keep_alive: true,
    };
    let fd = match options.bind(&address) {
        Ok(socket) => socket.into_raw_fd(),
        Err(error) => {
            set_errno(&error);
            return ptr::null_mut();
        }
    };
    // SAFETY: by this function's contract.
    let listener = unsafe { evconnlistener_new(base, callback, arg, flags, backlog, fd) };
    if listener.is_null() {
        ferrevent_sys::close(fd);
    }
    listener
}

fn set_errno(error: &io::Error) {
    // SAFETY: `errno` is this thread's own.
    unsafe { *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EIO) };
}

/// `evconnlistener_free`: from another thread while the callback runs too; it does not wait for that.
///
/// # Safety
/// `listener` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_free(listener: *mut evconnlistener) {
    // SAFETY: by this function's contract.
    unsafe {
        {
            let _held = lock::hold(&(*listener).lock);
            (*listener).enabled = false;
            (*listener).callback = None;
            (*listener).error_callback = None;
        }
        release(listener);
    }
}

/// Drops a reference; the last one takes the listener with it.
unsafe fn release(listener: *mut evconnlistener) {
    // SAFETY: the caller gives up a reference, and does not hold the lock.
    unsafe {
        {
            let _held = lock::hold(&(*listener).lock);
            (*listener).references -= 1;
            if (*listener).references > 0 {
                return;
            }
        }
        // A call that another thread is about to make finds no reference and returns. It must have returned before the
        // memory goes; no lock that it wants is held here.
        event_del_block(&raw mut (*listener).readable);
        event_del_block(&raw mut (*listener).resume);
        if (*listener).flags & CLOSE_ON_FREE != 0 {
            ferrevent_sys::close((*listener).readable.ev_fd);
        }
        debug::forget(&raw const (*listener).readable);
        debug::forget(&raw const (*listener).resume);
        drop(Box::from_raw(listener));
    }
}

/// `evconnlistener_enable`
///
/// # Safety
/// `listener` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_enable(listener: *mut evconnlistener) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = lock::hold(&(*listener).lock);
        (*listener).enabled = true;
        if (*listener).callback.is_some() {
            event_add(&raw mut (*listener).readable, ptr::null())
        } else {
            0
        }
    }
}

/// `evconnlistener_disable`: does not wait for a callback that runs in another thread.
///
/// # Safety
/// `listener` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_disable(listener: *mut evconnlistener) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = lock::hold(&(*listener).lock);
        (*listener).enabled = false;
        // A callback in another thread may want the lock.
        event_del_noblock(&raw mut (*listener).resume);
        event_del_noblock(&raw mut (*listener).readable)
    }
}

/// `evconnlistener_get_base`
///
/// # Safety
/// `listener` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_get_base(listener: *mut evconnlistener) -> *mut event_base {
    // SAFETY: by this function's contract.
    unsafe { event_get_base(&raw const (*listener).readable) }
}

/// `evconnlistener_get_fd`
///
/// # Safety
/// `listener` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_get_fd(listener: *mut evconnlistener) -> evutil_socket_t {
    // SAFETY: by this function's contract.
    unsafe { (*listener).readable.ev_fd }
}

/// `evconnlistener_set_cb`
///
/// # Safety
/// `listener` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_set_cb(
    listener: *mut evconnlistener,
    callback: evconnlistener_cb,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = lock::hold(&(*listener).lock);
        let had_one = (*listener).callback.is_some();
        (*listener).callback = callback;
        (*listener).arg = arg;
        if (*listener).enabled && !had_one {
            evconnlistener_enable(listener);
        }
    }
}

/// `evconnlistener_set_error_cb`
///
/// # Safety
/// `listener` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_set_error_cb(
    listener: *mut evconnlistener,
    error_callback: evconnlistener_errorcb,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = lock::hold(&(*listener).lock);
        (*listener).error_callback = error_callback;
    }
}

unsafe extern "C" fn on_readable(fd: evutil_socket_t, _what: c_short, arg: *mut c_void) {
    let listener: *mut evconnlistener = arg.cast();
    // SAFETY: the memory stays until this has returned: `release` waits for it if it is not this thread's own. A
    // reference keeps the listener over the program's callbacks, during which its lock is not held.
    unsafe {
        {
            let _held = lock::hold(&(*listener).lock);
            if (*listener).references == 0 {
                return;
            }
            (*listener).references += 1;
        }
        while accept_one(listener, fd) {}
        release(listener);
    }
}

/// Accepts a connection. Returns whether there may be more, and the program has not had enough.
unsafe fn accept_one(listener: *mut evconnlistener, fd: evutil_socket_t) -> bool {
    // SAFETY: the caller holds a reference; the lock is held wherever a field is used that changes.
    unsafe {
        let enabled = || {
            let _held = lock::hold(&(*listener).lock);
            (*listener).enabled
        };
        if !enabled() {
            return false;
        }
        let flags = (*listener).flags;
        let mode = Mode {
            blocking: flags & LEAVE_SOCKETS_BLOCKING != 0,
            inheritable: flags & CLOSE_ON_EXEC == 0,
        };
        let (socket, peer) = match ferrevent_sys::accept(fd, mode) {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => return false,
            Err(error) => {
                fail(listener, &error);
                return false;
            }
        };
        let (callback, arg) = {
            let _held = lock::hold(&(*listener).lock);
            ((*listener).callback, (*listener).arg)
        };
        // Taken away from a listener that was accepting already: what comes is closed.
        let Some(callback) = callback else {
            return true;
        };
        let bytes = peer.as_bytes();
        // The callback may write to its address, as libevent's may.
        let mut storage = std::mem::zeroed::<libc::sockaddr_storage>();
        let len = bytes.len().min(size_of_val(&storage));
        ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut storage).cast(), len);
        let address = (&raw mut storage).cast();
        callback(listener, socket.into_raw_fd(), address, len as c_int, arg);
        true
    }
}

unsafe fn fail(listener: *mut evconnlistener, error: &io::Error) {
    // SAFETY: the caller holds a reference, and not the lock.
    unsafe {
        let (callback, arg) = {
            let _held = lock::hold(&(*listener).lock);
            if is_shortage(error) && (*listener).enabled {
                event_del_noblock(&raw mut (*listener).readable);
                event_add(&raw mut (*listener).resume, &PAUSE);
            }
            ((*listener).error_callback, (*listener).arg)
        };
        let Some(callback) = callback else {
            log::warn(&format!("Error from accept() call: {error}"));
            return;
        };
        set_errno(error);
        callback(listener, arg);
    }
}

unsafe extern "C" fn on_resume(_fd: evutil_socket_t, _what: c_short, arg: *mut c_void) {
    let listener: *mut evconnlistener = arg.cast();
    // SAFETY: as in `on_readable`.
    unsafe {
        let _held = lock::hold(&(*listener).lock);
        if (*listener).references > 0 && (*listener).enabled {
            evconnlistener_enable(listener);
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED | libc::EPROTO)
    )
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
