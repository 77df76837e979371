//! `struct evhttp_connection`: what the two sides share.
//!
//! A connection is freed by the program, in any callback, or by its side when it has ended. Its memory stays as long as
//! a call that has begun on it (`Hold`); whoever has called the program looks at `is_gone` before anything
//! else.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use ferrevent_core::Options;
use ferrevent_http::Limits;
use libc::{sockaddr, sockaddr_storage, socklen_t, ssize_t, timeval};

use super::client::{self, Client};
use super::evhttp;
use super::server::{self, Served};
use crate::abi::{bufferevent, evhttp_request};
use crate::base::event_base;
use crate::bufferevent::{
    bufferevent_free, bufferevent_get_underlying, bufferevent_getfd, bufferevent_set_timeouts,
    bufferevent_setcb, ferrevent_bufferevent_free_when_drained,
};
use crate::held::{Held, Hold, Holdable};

/// What is called when a connection is about to go.
pub type evhttp_close_cb = Option<unsafe extern "C" fn(*mut evhttp_connection, *mut c_void)>;

/// `EVHTTP_CON_REUSE_CONNECTED_ADDR`
pub(super) const REUSE_CONNECTED_ADDRESS: c_int = 0x8;
/// `EVHTTP_CON_READ_ON_WRITE_ERROR`
pub(super) const READ_ON_WRITE_ERROR: c_int = 0x10;
/// `EVHTTP_CON_LINGERING_CLOSE`
pub(super) const LINGERING_CLOSE: c_int = 0x20;

/// How long the rest of a reply may take once its connection is freed.
const PATIENCE: timeval = timeval {
    tv_sec: 30,
    tv_usec: 0,
};

/// `struct evhttp_connection`
pub struct evhttp_connection {
    /// NULL once it is freed.
    pub(super) bev: *mut bufferevent,
    pub(super) base: *mut event_base,
    /// The other end, as text.
    pub(super) address: CString,
    pub(super) port: u16,
    /// The other end, as the system sees it, once it has been asked for.
    pub(super) peer: Option<Box<sockaddr_storage>>,
    pub(super) timeout: Option<timeval>,
    pub(super) limits: Limits,
    /// `EVHTTP_CON_...`
    pub(super) flags: c_int,
    pub(super) free_on_completion: bool,
    close_cb: evhttp_close_cb,
    close_cb_arg: *mut c_void,
    /// How many calls need the memory.
    held: Held,
    pub(super) role: Role,
}

/// Which side of the connection this is.
pub(super) enum Role {
    Client(Box<Client>),
    Server(Box<Served>),
}

/// A new connection over `bev`, which is its own from now on; its callbacks are set by the caller.
pub(super) fn new(
    base: *mut event_base,
    bev: *mut bufferevent,
    (address, port): (CString, u16),
    role: Role,
) -> *mut evhttp_connection {
    Box::into_raw(Box::new(evhttp_connection {
        bev,
        base,
        address,
        port,
        peer: None,
        timeout: None,
        limits: Limits::default(),
        flags: 0,
        free_on_completion: false,
        close_cb: None,
        close_cb_arg: ptr::null_mut(),
        held: Held::default(),
        role,
    }))
}

// SAFETY: `held` is in it; `evhttp_connection_free` holds it itself until it is done.
unsafe impl Holdable for evhttp_connection {
    unsafe fn held(this: *mut Self) -> *mut Held {
        // SAFETY: by this function's contract.
        unsafe { &raw mut (*this).held }
    }

    unsafe fn give_back(this: *mut Self) {
        // SAFETY: `new` has made it with a box, and nobody uses it any more.
        drop(unsafe { Box::from_raw(this) });
    }
}

/// A request of this connection's is freed by the program.
///
/// # Safety
/// `evcon` is live, `req` is one of its requests. Code of the program's may run, and free anything that is not held.
pub(super) unsafe fn abandon(evcon: *mut evhttp_connection, req: *mut evhttp_request) {
    // SAFETY: handed through.
    unsafe {
        match &(*evcon).role {
            Role::Client(_) => client::abandon(evcon, req),
            Role::Server(_) => server::abandon(evcon, req),
        }
    }
}

/// `evhttp_connection_free`: at any time, in its callbacks too. The requests that are left are freed with it.
///
/// # Safety
/// The C API's contract: `evcon` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_free(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe { free(evcon, Unsent::Dropped) };
}

/// What becomes of output that a connection still has when it is freed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// It is lost.
    Dropped,
    /// It is sent: what a filter or TLS has handed on may still be with the bufferevent below.
    Sent,
}

/// `evhttp_connection_free`, and what becomes of the output.
///
/// # Safety
/// As for [`evhttp_connection_free`].
pub(super) unsafe fn free(evcon: *mut evhttp_connection, unsent: Unsent) {
    // SAFETY: by this function's contract; the hold keeps the memory to the end of this. Every field is looked at anew
    // after the program's callback.
    unsafe {
        // Its own callback may free it.
        if (*evcon).held.is_gone() {
            return;
        }
        let _hold = Hold::new(evcon);
        (*evcon).held.leave();
        let bev = (*evcon).bev;
        let fd = bufferevent_getfd(bev);
        bufferevent_setcb(bev, None, None, None, ptr::null_mut());
        let stands = match &(*evcon).role {
            Role::Client(client) => client.is_connected(),
            Role::Server(_) => fd >= 0,
        };
        if stands {
            call_close_cb(evcon);
        }
        match &(*evcon).role {
            Role::Client(_) => client::end(evcon),
            Role::Server(_) => server::end(evcon),
        }
        (*evcon).bev = ptr::null_mut();
        // A descriptor of a program's bufferevent is this library's to close: it came from a listener, or from connecting.
        let closes = (*bev).options.contains(Options::CLOSE_ON_FREE);
        let has_more = unsent == Unsent::Sent && !bufferevent_get_underlying(bev).is_null();
        if has_more && closes && ferrevent_bufferevent_free_when_drained(bev, &PATIENCE) == 0 {
            return;
        }
        bufferevent_free(bev);
        if fd >= 0 && !closes {
            ferrevent_sys::close(fd);
        }
    }
}

/// Tells the program that the connection is about to end.
///
/// # Safety
/// `evcon` is held. The program may free it.
pub(super) unsafe fn call_close_cb(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(close_cb) = (*evcon).close_cb {
            close_cb(evcon, (*evcon).close_cb_arg);
        }
    }
}

/// `evhttp_connection_free_on_completion`: a client's connection is freed once it has no requests any more.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_free_on_completion(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe { (*evcon).free_on_completion = true };
}

/// `evhttp_connection_get_bufferevent`
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_get_bufferevent(
    evcon: *mut evhttp_connection,
) -> *mut bufferevent {
    // SAFETY: by this function's contract.
    unsafe { (*evcon).bev }
}

/// `evhttp_connection_get_server`: NULL for a client's.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_get_server(
    evcon: *mut evhttp_connection,
) -> *mut evhttp {
    // SAFETY: by this function's contract.
    unsafe {
        match &(*evcon).role {
            Role::Client(_) => ptr::null_mut(),
            Role::Server(served) => served.http,
        }
    }
}

/// `evhttp_connection_get_base`
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_get_base(
    evcon: *mut evhttp_connection,
) -> *mut event_base {
    // SAFETY: by this function's contract.
    unsafe { (*evcon).base }
}

/// `evhttp_connection_get_peer`: the strings belong to the connection.
///
/// # Safety
/// The C API's contract: `evcon` is live, the others are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_get_peer(
    evcon: *mut evhttp_connection,
    address: *mut *mut c_char,
    port: *mut u16,
) {
    // SAFETY: by this function's contract.
    unsafe {
        *address = (*evcon).address.as_ptr().cast_mut();
        *port = (*evcon).port;
    }
}

/// `evhttp_connection_get_addr`: a `sockaddr_storage` that belongs to the connection; NULL while it is not connected.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_get_addr(
    evcon: *mut evhttp_connection,
) -> *const sockaddr {
    // SAFETY: by this function's contract. Any bytes are a `sockaddr_storage`, and the system writes as many as there is
    // room for. What is kept stays where it is as long as the connection.
    unsafe {
        if let Some(peer) = &(*evcon).peer {
            return ptr::from_ref(&**peer).cast();
        }
        let mut peer = Box::new(std::mem::zeroed::<sockaddr_storage>());
        let mut len = size_of::<sockaddr_storage>() as socklen_t;
        let fd = bufferevent_getfd((*evcon).bev);
        if libc::getpeername(fd, (&raw mut *peer).cast(), &raw mut len) != 0 {
            return ptr::null();
        }
        ptr::from_ref(&**(*evcon).peer.insert(peer)).cast()
    }
}

/// `evhttp_connection_set_closecb`
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_closecb(
    evcon: *mut evhttp_connection,
    cb: evhttp_close_cb,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe {
        (*evcon).close_cb = cb;
        (*evcon).close_cb_arg = arg;
    }
}

/// `evhttp_connection_set_flags`: 1 for flags that there are not.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_flags(
    evcon: *mut evhttp_connection,
    flags: c_int,
) -> c_int {
    // As in libevent, lingering is a server's to set (`evhttp_set_flags`).
    let known = REUSE_CONNECTED_ADDRESS | READ_ON_WRITE_ERROR;
    if flags & !known != 0 {
        return 1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        (*evcon).flags = (*evcon).flags & !known | flags;
    }
    0
}

/// `evhttp_connection_set_max_headers_size`: negative for no limit.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_max_headers_size(
    evcon: *mut evhttp_connection,
    size: ssize_t,
) {
    // SAFETY: by this function's contract.
    unsafe {
        (*evcon).limits.head = usize::try_from(size).unwrap_or(usize::MAX);
        apply_limits(evcon);
    }
}

/// `evhttp_connection_set_max_body_size`: negative for no limit.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_max_body_size(
    evcon: *mut evhttp_connection,
    size: ssize_t,
) {
    // SAFETY: by this function's contract.
    unsafe {
        (*evcon).limits.body = u64::try_from(size).unwrap_or(u64::MAX);
        apply_limits(evcon);
    }
}

pub(super) unsafe fn apply_limits(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live; the references end here.
    unsafe {
        let (limits, flags) = ((*evcon).limits, (*evcon).flags);
        match &mut (*evcon).role {
            Role::Client(client) => client.protocol.set_limits(limits),
            Role::Server(served) => {
                served.protocol.set_limits(limits);
                served.protocol.set_lingering(flags & LINGERING_CLOSE != 0);
            }
        }
    }
}

/// `evhttp_connection_set_timeout`: in seconds; negative for none. A client without one has 45 seconds to connect, and 50
/// for what follows.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_timeout(
    evcon: *mut evhttp_connection,
    seconds: c_int,
) {
    // SAFETY: by this function's contract.
    unsafe { set_timeout(evcon, in_seconds(seconds)) };
}

/// `evhttp_connection_set_timeout_tv`: NULL for none.
///
/// # Safety
/// The C API's contract: `evcon` is live; `timeout` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_timeout_tv(
    evcon: *mut evhttp_connection,
    timeout: *const timeval,
) {
    // SAFETY: by this function's contract.
    unsafe { set_timeout(evcon, timeout.as_ref().copied()) };
}

/// What a number of seconds is as a timeout.
pub(super) fn in_seconds(seconds: c_int) -> Option<timeval> {
    (seconds >= 0).then_some(timeval {
        tv_sec: i64::from(seconds),
        tv_usec: 0,
    })
}

/// For reading and for writing.
pub(super) unsafe fn set_timeout(evcon: *mut evhttp_connection, timeout: Option<timeval>) {
    // SAFETY: the caller's connection is live.
    unsafe {
        if let Role::Client(_) = &(*evcon).role {
            return client::set_timeout(evcon, timeout);
        }
        (*evcon).timeout = timeout;
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        bufferevent_set_timeouts((*evcon).bev, timeout, timeout);
    }
}
