//! `event2/bufferevent_ssl.h`: bufferevents over an SSL object of the program's.
//!
//! To the core such a bufferevent is one on a descriptor, or over another bufferevent, that has a handshake to make.
//! Where bytes would move between the buffers and the transport, they go through the SSL object:
//!
//! ```text
//!   output ──SSL_write──▶ outgoing ──▶ descriptor, or the lower bufferevent's output
//!   input  ◀──SSL_read─── incoming ◀── descriptor, or the lower bufferevent's input
//! ```
//!
//! `incoming` and `outgoing` are the two ends of a BIO of ours, in memory. So OpenSSL makes no system call and never
//! waits; what it has to send is gathered; and nothing is borrowed while it runs, since it may call the program.
//!
//! * this file: the functions that `openssl.c`, which is `libevent_openssl-2.1.so.7`, calls;
//! * `session`: the SSL object; `transfer`: handshake, reading, writing, the end;
//! * `bio`, `lower`: the transport as OpenSSL sees it, and a bufferevent as transport;
//! * `api`: OpenSSL's functions.

mod api;
mod bio;
mod leftover;
mod lower;
mod session;
mod transfer;

use std::ffi::{c_int, c_ulong};
use std::io;
use std::ptr;

use ferrevent_core::driver::{Fd, Kind};
use ferrevent_core::{Handshake, Options};

use super::{
    Bev, bev_of, bufferevent_decref, bufferevent_free, bufferevent_incref, bufferevent_socket_new,
    guard_buffers, hold, kind_of, listen, lock_of, run, set_lock, special, with,
};
use crate::abi::{bufferevent, evutil_socket_t};
use crate::base::event_base;
use crate::lock::Lock;
use crate::log;
pub use api::{Api, Ssl};
use lower::Lower;
pub(crate) use session::Session;
pub(crate) use transfer::{handshake, lengths, read, write};

/// `BUFFEREVENT_SSL_OPEN`, `_CONNECTING` and `_ACCEPTING`.
const OPEN: c_int = 0;
const CONNECTING: c_int = 1;
const ACCEPTING: c_int = 2;

/// What `be_ops` points to in a secured bufferevent.
static TLS_OPS: u8 = 0;

/// How long a freed bufferevent is kept at most while its last message cannot be sent, in nanoseconds.
const PATIENCE: u64 = 30_000_000_000;

/// Its session; NULL if it is not secured.
///
/// # Safety
/// `bev` is alive.
pub(crate) unsafe fn session_of(bev: *mut Bev) -> *mut Session {
    // SAFETY: by this function's contract; the address of what the box holds, without a reference to it.
    unsafe {
        match &mut (*bev).special {
            Some(special) => match &mut special.session {
                Some(session) => ptr::from_mut(&mut **session),
                None => ptr::null_mut(),
            },
            None => ptr::null_mut(),
        }
    }
}

/// Whether it has a session.
///
/// # Safety
/// `bev` is alive.
pub(super) unsafe fn is_secured(bev: *mut Bev) -> bool {
    // SAFETY: by this function's contract.
    unsafe { !session_of(bev).is_null() }
}

/// `bufferevent_openssl_socket_new`
///
/// # Safety
/// `api` is a table of OpenSSL's functions; `base` is live or NULL, for the current one; `ssl` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_tls_socket_new(
    api: *const Api,
    base: *mut event_base,
    fd: evutil_socket_t,
    ssl: *mut Ssl,
    state: c_int,
    options: c_int,
) -> *mut bufferevent {
    // SAFETY: by this function's contract.
    unsafe {
        if ssl.is_null() {
            return ptr::null_mut();
        }
        let api = api::learn(&*api);
        // The two may name the descriptor, but not different ones.
        let has = (api.ssl_get_fd)(ssl);
        let fd = match (fd, has) {
            (..0, has) => has.max(-1),
            (fd, ..0) => fd,
            (fd, has) if fd == has => fd,
            _ => return ptr::null_mut(),
        };
        let bev = new(base, fd, options);
        if bev.is_null() {
            return ptr::null_mut();
        }
        secure(bev, api, ssl, None, state);
        &raw mut (*bev).public
    }
}

/// `bufferevent_openssl_filter_new`
///
/// # Safety
/// As [`ferrevent_tls_socket_new`]; `underlying` is NULL or live, and on the same base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_tls_filter_new(
    api: *const Api,
    base: *mut event_base,
    underlying: *mut bufferevent,
    ssl: *mut Ssl,
    state: c_int,
    options: c_int,
) -> *mut bufferevent {
    // SAFETY: by this function's contract.
    unsafe {
        if ssl.is_null() || underlying.is_null() {
            return ptr::null_mut();
        }
        if !base.is_null() && base != (*underlying).ev_base {
            log::warn("bufferevent_openssl_filter_new: the other bufferevent is on another base");
            return ptr::null_mut();
        }
        let api = api::learn(&*api);
        let _held = hold(bev_of(underlying));
        let bev = new((*underlying).ev_base, -1, options & !THREADSAFE);
        if bev.is_null() {
            return ptr::null_mut();
        }
        // Both are used under one lock.
        set_lock(bev, lock_of(bev_of(underlying)));
        (*bev).public.options.set(
            Options::THREADSAFE,
            (*underlying).options.contains(Options::THREADSAFE),
        );
        secure(bev, api, ssl, Some(Lower(underlying)), state);
        &raw mut (*bev).public
    }
}

/// `BEV_OPT_THREADSAFE`
const THREADSAFE: c_int = 2;

/// A bufferevent to be secured.
unsafe fn new(base: *mut event_base, fd: Fd, options: c_int) -> *mut Bev {
    // As in libevent, the flag alone asks for no lock where the program has no threads.
    let unlocked = options & THREADSAFE != 0 && Lock::new().is_none();
    let options = if unlocked {
        options & !THREADSAFE
    } else {
        options
    };
    // SAFETY: by the caller's contract.
    unsafe { bev_of(bufferevent_socket_new(base, fd, options)) }
}

/// Puts the SSL object between a new bufferevent and its transport.
unsafe fn secure(
    bev: *mut Bev,
    api: &'static Api,
    ssl: *mut Ssl,
    lower: Option<Lower>,
    state: c_int,
) {
    // SAFETY: nobody else knows the new bufferevent yet; the SSL object is the caller's, and alive.
    unsafe {
        let fd = (*bev).public.ev_read.ev_fd;
        special(bev).session = Session::new(api, ssl, fd, lower);
        (*bev).public.be_ops = ptr::from_ref(&TLS_OPS).cast();
        // As in libevent, its buffers are free to be changed at both ends.
        guard_buffers(bev, false);
        match state {
            CONNECTING => (api.ssl_set_connect_state)(ssl),
            ACCEPTING => (api.ssl_set_accept_state)(ssl),
            _ => {}
        }
        if let Some(lower) = lower {
            bufferevent_incref(lower.0);
            let below = (*bev_of(lower.0)).key;
            with(bev, |inner, key| inner.core.set_lower(key, below));
        }
        with(bev, |inner, key| {
            inner.core.secure_stream(key, state == OPEN)
        });
        if let Some(lower) = lower {
            lower.join(bev);
        }
    }
}

/// The bufferevent below, or NULL.
///
/// # Safety
/// `bev` is live, its lock held.
pub(super) unsafe fn underlying(bev: *mut Bev) -> *mut bufferevent {
    // SAFETY: by this function's contract.
    unsafe {
        let session = session_of(bev);
        match session.as_ref().and_then(|session| session.lower) {
            Some(lower) => lower.0,
            None => ptr::null_mut(),
        }
    }
}

/// It is about to connect: an SSL object that had a connection before begins anew, as in libevent.
///
/// # Safety
/// `bev` is live, its lock held.
pub(super) unsafe fn begin_anew(bev: *mut Bev) {
    // SAFETY: by this function's contract. OpenSSL does not run, so that nothing of the session is in use.
    unsafe {
        let session = session_of(bev);
        if session.is_null() || (*session).busy || !(*session).used || (*session).lower.is_some() {
            return;
        }
        (*session).begin_anew();
        with(bev, |inner, key| inner.core.restart_security(key));
    }
}

/// Its descriptor has been replaced.
///
/// # Safety
/// `bev` is live, its lock held.
pub(super) unsafe fn descriptor_changed(bev: *mut Bev, fd: Fd) {
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(session) = session_of(bev).as_mut() {
            session.wire.fd = fd;
        }
    }
}

/// The program frees it. If its last word to the peer has to wait for room, it is kept until then, or for
/// [`PATIENCE`]. Returns whether the core has been told.
///
/// # Safety
/// `bev` is live, its lock held; its callbacks are gone.
pub(super) unsafe fn free(bev: *mut Bev) -> bool {
    // SAFETY: by this function's contract; references end before other bufferevents change.
    unsafe {
        let session = session_of(bev);
        if session.is_null() {
            return false;
        }
        let lower = (*session).lower;
        let fd = (*bev).public.ev_read.ev_fd;
        // The end of an SSL object that the program keeps is the program's to tell.
        let owner = (*bev).public.options.contains(Options::CLOSE_ON_FREE);
        let kind = with(bev, |inner, key| {
            let stream = inner.core.stream(key);
            let stream = stream.filter(|stream| stream.is_at_rest() && !stream.is_freed());
            stream.map(|stream| stream.kind())
        });
        if !owner {
            session::let_go(bev, session, fd, kind.unwrap_or(Kind::Stream));
        }
        let kind = kind.filter(|_| owner);
        let ends = kind.is_some();
        let told = kind.and_then(|kind| transfer::shut_down(bev, session, fd, kind));
        // A failure has nothing that could be waited for.
        let unsent = told.and_then(Result::ok).unwrap_or(0);
        if let Some(lower) = lower {
            lower.leave();
            (*session).parted = true;
            with(bev, |inner, key| inner.core.leave_lower(key));
            (*session).drains_lower = ends;
            return false;
        }
        if unsent == 0 {
            return false;
        }
        with(bev, |inner, key| {
            inner.core.linger_and_free(key, unsent, PATIENCE)
        });
        true
    }
}

/// Tells the peer the end, as the core has asked for. As [`Core::handle_session_end`](ferrevent_core::Core) takes it.
///
/// # Safety
/// `bev` is alive, its lock held.
pub(super) unsafe fn end(bev: *mut Bev, fd: Fd, kind: Kind) -> Option<io::Result<usize>> {
    // SAFETY: by this function's contract; the session lives as long as the bufferevent.
    unsafe {
        let session = session_of(bev);
        if session.is_null() {
            return Some(Ok(0));
        }
        transfer::shut_down(bev, session, fd, kind)
    }
}

/// Its socket is shut down for sending.
///
/// # Safety
/// `bev` is alive, its lock held.
pub(super) unsafe fn close_sending(bev: *mut Bev) {
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(session) = session_of(bev).as_mut() {
            session.shut = true;
        }
    }
}

/// The last reference is gone.
///
/// # Safety
/// `bev` is not used any more, but still whole.
pub(super) unsafe fn finalize(bev: *mut Bev) {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(session) = (*bev)
            .special
            .as_mut()
            .and_then(|special| special.session.take())
        else {
            return;
        };
        let owner = (*bev).public.options.contains(Options::CLOSE_ON_FREE);
        let (lower, drains, parted) = (session.lower, session.drains_lower, session.parted);
        session::leave(session, owner);
        let Some(Lower(lower)) = lower else { return };
        if !parted {
            // It was freed by its end, of which the core decided.
            Lower(lower).leave();
        }
        let below = bev_of(lower);
        if owner {
            let left = (*(*lower).output).buffer.len();
            let is_socket = (*lower).ev_read.ev_fd >= 0;
            if drains && is_socket && left > 0 {
                let _held = hold(below);
                with(below, |inner, key| {
                    inner.core.linger_and_free(key, left, PATIENCE)
                });
            } else {
                bufferevent_free(lower);
            }
        }
        bufferevent_decref(lower);
    }
}

/// `bufferevent_openssl_get_allow_dirty_shutdown`: -1 if it is not secured.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_tls_get_allow_dirty_shutdown(bev: *mut bufferevent) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        let session = session_of(bev).as_ref();
        session.map_or(-1, |session| c_int::from(session.allow_dirty_shutdown))
    }
}

/// `bufferevent_openssl_set_allow_dirty_shutdown`
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_tls_set_allow_dirty_shutdown(
    bev: *mut bufferevent,
    allow: c_int,
) {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        if let Some(session) = session_of(bev).as_mut() {
            session.allow_dirty_shutdown = allow != 0;
        }
    }
}

/// `bufferevent_openssl_get_ssl`: NULL if it is not secured.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_tls_get_ssl(bev: *mut bufferevent) -> *mut Ssl {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        let session = session_of(bev).as_ref();
        session.map_or(ptr::null_mut(), |session| session.ssl)
    }
}

/// `bufferevent_get_openssl_error`: the next error that the program has not heard of; 0 is none.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_tls_get_error(bev: *mut bufferevent) -> c_ulong {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        let session = session_of(bev).as_mut();
        session
            .and_then(|session| session.errors.pop())
            .unwrap_or(0)
    }
}

/// `bufferevent_ssl_renegotiate`: 1 if there is nothing to wait for, 0 if the handshake is under way, -1 if it failed
/// or if it is not secured.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ferrevent_tls_renegotiate(bev: *mut bufferevent) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; `retain` keeps the bufferevent over its callbacks.
    unsafe {
        let _held = hold(bev);
        let session = session_of(bev);
        if session.is_null() {
            return -1;
        }
        let (api, ssl) = ((*session).api, (*session).ssl);
        if ssl.is_null() || (api.ssl_renegotiate)(ssl) < 0 {
            return -1;
        }
        (api.err_clear_error)();
        let fd = (*bev).public.ev_read.ev_fd;
        let kind = if fd < 0 { Kind::Stream } else { kind_of(fd) };
        let base = (*bev).public.ev_base;
        let key = (*bev).key;
        with(bev, |inner, key| {
            inner.core.retain(key);
            inner.core.renew_handshake(key);
        });
        let outcome = handshake(bev, session, fd, kind);
        let callbacks = with(bev, |inner, key| {
            listen(inner, bev, key);
            inner.core.handle_handshake(key, outcome)
        });
        run::call(base, bev, key, callbacks);
        event_base::with(base, |inner| {
            inner.core.release(key);
            inner.settle();
        });
        match outcome {
            Handshake::Done => 1,
            Handshake::WantsRead | Handshake::WantsWrite => 0,
            Handshake::Failed { .. } => -1,
        }
    }
}
