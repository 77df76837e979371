//! Servers.
//!
//! * this file: what a server is, and its settings;
//! * `bound`: what it listens on; `accept`: a new connection;
//! * `hosts`: virtual hosts, aliases, and whose callback a request is for;
//! * `serve`: reading requests and what becomes of them;
//! * `reply`: answering.
//!
//! A server may be freed in any callback. Its memory stays as long as a call that has begun on it (`Hold`).

#![allow(non_camel_case_types, reason = "these are C's names")]

mod accept;
mod bound;
mod hosts;
mod reply;
mod serve;

pub use bound::*;
pub use hosts::*;
pub use reply::*;
use serve::leave;
pub(super) use serve::{Served, abandon, end};

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use ferrevent_http::server::USUAL_TYPE;
use ferrevent_http::{Limits, Method};
use libc::{ssize_t, timeval};

use super::bytes;
use super::connection::{evhttp_connection, evhttp_connection_free, in_seconds};
use crate::abi::{bufferevent, evhttp_request_cb};
use crate::base::event_base;
use crate::held::{Held, Hold, Holdable};

/// `EVHTTP_SERVER_LINGERING_CLOSE`
const LINGERING_CLOSE: c_int = 1;

/// `evhttp_set_bevcb`'s callback.
pub type evhttp_bev_cb =
    Option<unsafe extern "C" fn(*mut event_base, *mut c_void) -> *mut bufferevent>;

/// `struct evhttp`: a server, or a virtual host of one.
pub struct evhttp {
    base: *mut event_base,
    bound: Vec<*mut evhttp_bound_socket>,
    connections: Vec<*mut evhttp_connection>,
    /// By path.
    callbacks: Vec<(CString, Callback)>,
    general: Option<Callback>,
    bev_cb: evhttp_bev_cb,
    bev_cb_arg: *mut c_void,
    /// By pattern.
    hosts: Vec<(CString, *mut evhttp)>,
    aliases: Vec<CString>,
    /// Whose virtual host it is, or NULL.
    parent: *mut evhttp,
    methods: u16,
    content_type: Option<CString>,
    limits: Limits,
    timeout: Option<timeval>,
    lingering: bool,
    held: Held,
}

/// A function of the program's for requests.
#[derive(Clone, Copy)]
struct Callback {
    function: unsafe extern "C" fn(*mut crate::abi::evhttp_request, *mut c_void),
    arg: *mut c_void,
}

/// `evhttp_new`: without a base, for that of `event_init` (or as a virtual host).
///
/// # Safety
/// The C API's contract: `base` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_new(base: *mut event_base) -> *mut evhttp {
    Box::into_raw(Box::new(evhttp {
        base,
        bound: Vec::new(),
        connections: Vec::new(),
        callbacks: Vec::new(),
        general: None,
        bev_cb: None,
        bev_cb_arg: ptr::null_mut(),
        hosts: Vec::new(),
        aliases: Vec::new(),
        parent: ptr::null_mut(),
        methods: Method::USUAL,
        content_type: CString::new(USUAL_TYPE).ok(),
        limits: Limits::default(),
        timeout: None,
        lingering: false,
        held: Held::default(),
    }))
}

// SAFETY: `held` is in it; `evhttp_free` holds it itself until it is done.
unsafe impl Holdable for evhttp {
    unsafe fn held(this: *mut Self) -> *mut Held {
        // SAFETY: by this function's contract.
        unsafe { &raw mut (*this).held }
    }

    unsafe fn give_back(this: *mut Self) {
        // SAFETY: `evhttp_new` has made it with a box, and nobody uses it any more.
        drop(unsafe { Box::from_raw(this) });
    }
}

/// `evhttp_free`: with its sockets, connections and requests, and its virtual hosts. In a request's callback too.
///
/// # Safety
/// The C API's contract: `http` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_free(http: *mut evhttp) {
    // SAFETY: by this function's contract; the hold keeps the memory to the end of this. Each list is looked at anew after
    // the callback of a connection that is closed.
    unsafe {
        if (*http).held.is_gone() {
            return;
        }
        let _hold = Hold::new(http);
        (*http).held.leave();
        while let Some(&bound) = (*http).bound.last() {
            evhttp_del_accept_socket(http, bound);
        }
        while let Some(&evcon) = (*http).connections.last() {
            let _hold = Hold::new(evcon);
            evhttp_connection_free(evcon);
            // One whose close callback has called this is not free yet: it must not come back to the server.
            leave(evcon);
            forget(http, evcon);
        }
        if !(*http).parent.is_null() {
            evhttp_remove_virtual_host((*http).parent, http);
        }
        while let Some((_, host)) = (*http).hosts.pop() {
            (*host).parent = ptr::null_mut();
            evhttp_free(host);
        }
    }
}

/// A connection is no longer one of the server's.
unsafe fn forget(http: *mut evhttp, evcon: *mut evhttp_connection) {
    // SAFETY: the caller's server is live or held; the reference to the list ends here.
    unsafe {
        let connections = &mut (*http).connections;
        if let Some(at) = connections.iter().rposition(|&other| other == evcon) {
            connections.swap_remove(at);
        }
    }
}

/// `evhttp_set_cb`: for requests of that path, without its query and decoded. -1 if it has one already.
///
/// # Safety
/// The C API's contract: `http` is live, `path` a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_cb(
    http: *mut evhttp,
    path: *const c_char,
    cb: evhttp_request_cb,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by this function's contract; the reference ends here.
    unsafe {
        let (Some(path), Some(function)) = (string(path), cb) else {
            return -2;
        };
        let callbacks = &mut (*http).callbacks;
        if callbacks.iter().any(|(other, _)| *other == path) {
            return -1;
        }
        callbacks.push((path, Callback { function, arg }));
        0
    }
}

/// `evhttp_del_cb`: -1 if there is none for that path.
///
/// # Safety
/// The C API's contract: `http` is live, `path` a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_del_cb(http: *mut evhttp, path: *const c_char) -> c_int {
    // SAFETY: by this function's contract; the reference ends here.
    unsafe {
        let callbacks = &mut (*http).callbacks;
        let wanted = bytes(path);
        let found = callbacks
            .iter()
            .position(|(path, _)| Some(path.to_bytes()) == wanted);
        let Some(at) = found else { return -1 };
        callbacks.remove(at);
        0
    }
}

/// `evhttp_set_gencb`: for all other requests; NULL for none.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_gencb(
    http: *mut evhttp,
    cb: evhttp_request_cb,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe { (*http).general = cb.map(|function| Callback { function, arg }) };
}

/// `evhttp_set_bevcb`: what makes the bufferevents of new connections, without a descriptor. NULL from it is an ordinary
/// one.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_bevcb(http: *mut evhttp, cb: evhttp_bev_cb, arg: *mut c_void) {
    // SAFETY: by this function's contract.
    unsafe {
        (*http).bev_cb = cb;
        (*http).bev_cb_arg = arg;
    }
}

/// `evhttp_set_max_headers_size`: of requests on connections from now on; negative for no limit.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_max_headers_size(http: *mut evhttp, size: ssize_t) {
    // SAFETY: by this function's contract.
    unsafe { (*http).limits.head = usize::try_from(size).unwrap_or(usize::MAX) };
}

/// `evhttp_set_max_body_size`: of requests on connections from now on; negative for no limit.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_max_body_size(http: *mut evhttp, size: ssize_t) {
    // SAFETY: by this function's contract.
    unsafe { (*http).limits.body = u64::try_from(size).unwrap_or(u64::MAX) };
}

/// `evhttp_set_default_content_type`: of replies that have a body and no type; NULL for none.
///
/// # Safety
/// The C API's contract: `http` is live, `content_type` NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_default_content_type(
    http: *mut evhttp,
    content_type: *const c_char,
) {
    // SAFETY: by this function's contract.
    unsafe { (*http).content_type = string(content_type) };
}

/// `evhttp_set_allowed_methods`: the others are answered with 501.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_allowed_methods(http: *mut evhttp, methods: u16) {
    // SAFETY: by this function's contract.
    unsafe { (*http).methods = methods };
}

/// `evhttp_set_timeout`: in seconds, for reading and writing on connections from now on; negative for none.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_timeout(http: *mut evhttp, seconds: c_int) {
    // SAFETY: by this function's contract.
    unsafe { (*http).timeout = in_seconds(seconds) };
}

/// `evhttp_set_timeout_tv`: NULL for none.
///
/// # Safety
/// The C API's contract: `http` is live, `timeout` NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_timeout_tv(http: *mut evhttp, timeout: *const timeval) {
    // SAFETY: by this function's contract.
    unsafe { (*http).timeout = timeout.as_ref().copied() };
}

/// `evhttp_set_flags`: for connections from now on; 1 for flags that there are not.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_set_flags(http: *mut evhttp, flags: c_int) -> c_int {
    if flags & !LINGERING_CLOSE != 0 {
        return 1;
    }
    // SAFETY: by this function's contract.
    unsafe { (*http).lingering = flags & LINGERING_CLOSE != 0 };
    0
}

/// A copy of a string.
///
/// # Safety
/// `text` is NULL or a string.
unsafe fn string(text: *const c_char) -> Option<CString> {
    // SAFETY: by this function's contract; a C string has no zero byte in it.
    unsafe { bytes(text).and_then(|text| CString::new(text).ok()) }
}
