//! What a server listens on.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use ferrevent_sys::{Address, Listen, Mode};
use libc::{addrinfo, sockaddr};

use super::{accept, evhttp};
use crate::abi::evutil_socket_t;
use crate::base::current;
use crate::listener::{
    evconnlistener, evconnlistener_free, evconnlistener_get_base, evconnlistener_get_fd,
    evconnlistener_new, evconnlistener_set_cb,
};
use crate::log;
use crate::util::resolve::{evutil_freeaddrinfo, evutil_gai_strerror, evutil_getaddrinfo};

/// How many connections may wait to be accepted, as with libevent.
const BACKLOG: i32 = 128;

/// `LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE`
const LISTENER_OPTIONS: u32 = 1 << 1 | 1 << 2 | 1 << 3;

/// `struct evhttp_bound_socket`
pub struct evhttp_bound_socket {
    listener: *mut evconnlistener,
}

/// `evhttp_start`: a new server for the base of `event_init`, bound to an address; NULL if that fails.
///
/// # Safety
/// The C API's contract: `address` is NULL or a string; `event_init` has been called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_start(address: *const c_char, port: u16) -> *mut evhttp {
    // SAFETY: by this function's contract.
    unsafe {
        let http = super::evhttp_new(ptr::null_mut());
        if evhttp_bind_socket(http, address, port) < 0 {
            super::evhttp_free(http);
            return ptr::null_mut();
        }
        http
    }
}

/// `evhttp_bind_socket`: 0, or -1.
///
/// # Safety
/// As [`evhttp_bind_socket_with_handle`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_bind_socket(
    http: *mut evhttp,
    address: *const c_char,
    port: u16,
) -> c_int {
    // SAFETY: by this function's contract.
    status(unsafe { evhttp_bind_socket_with_handle(http, address, port) })
}

/// `evhttp_bind_socket_with_handle`: `address` may be a host's name, whose look-up blocks; NULL is every address of this
/// host. Port 0 lets the system choose.
///
/// # Safety
/// The C API's contract: `http` is live, `address` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_bind_socket_with_handle(
    http: *mut evhttp,
    address: *const c_char,
    port: u16,
) -> *mut evhttp_bound_socket {
    let Ok(service) = CString::new(port.to_string()) else {
        return ptr::null_mut();
    };
    // SAFETY: by this function's contract; the list that comes back is freed, and not used after that.
    unsafe {
        let mut hints = std::mem::zeroed::<addrinfo>();
        hints.ai_family = libc::AF_UNSPEC;
        hints.ai_socktype = libc::SOCK_STREAM;
        hints.ai_flags = libc::AI_PASSIVE | libc::AI_ADDRCONFIG;
        let mut list = ptr::null_mut();
        let error = evutil_getaddrinfo(address, service.as_ptr(), &hints, &mut list);
        if error != 0 {
            let reason = super::bytes(evutil_gai_strerror(error)).unwrap_or_default();
            log::warn(&format!("getaddrinfo: {}", String::from_utf8_lossy(reason)));
            return ptr::null_mut();
        }
        let mut fd = None;
        let mut next = list;
        while let (Some(info), None) = (next.as_ref(), fd) {
            fd = bind(info);
            next = info.ai_next;
        }
        evutil_freeaddrinfo(list);
        let Some(fd) = fd else { return ptr::null_mut() };
        let bound = match ferrevent_sys::listen(fd, BACKLOG) {
            Ok(()) => evhttp_accept_socket_with_handle(http, fd),
            Err(_) => ptr::null_mut(),
        };
        if bound.is_null() {
            ferrevent_sys::close(fd);
        }
        bound
    }
}

/// A socket that is bound to one of the addresses that a name has.
unsafe fn bind(info: &addrinfo) -> Option<evutil_socket_t> {
    use std::os::fd::IntoRawFd;

    let options = Listen {
        mode: Mode {
            blocking: false,
            inheritable: false,
        },
        reuse_address: true,
        reuse_port: false,
        v6_only: false,
        defer_accept: false,
        keep_alive: true,
    };
    // SAFETY: the system's list has as many bytes of address as it says.
    let bytes =
        unsafe { std::slice::from_raw_parts(info.ai_addr.cast::<u8>(), info.ai_addrlen as usize) };
    let address = Address::from_bytes(bytes)?;
    Some(options.bind(&address).ok()?.into_raw_fd())
}

/// `evhttp_accept_socket`: 0, or -1.
///
/// # Safety
/// As [`evhttp_accept_socket_with_handle`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_accept_socket(http: *mut evhttp, fd: evutil_socket_t) -> c_int {
    // SAFETY: by this function's contract.
    status(unsafe { evhttp_accept_socket_with_handle(http, fd) })
}

/// `evhttp_accept_socket_with_handle`: on a socket that listens and does not block, which is closed with the server.
///
/// # Safety
/// The C API's contract: `http` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_accept_socket_with_handle(
    http: *mut evhttp,
    fd: evutil_socket_t,
) -> *mut evhttp_bound_socket {
    // SAFETY: by this function's contract.
    unsafe {
        let base = match (*http).base.is_null() {
            true => current(),
            false => (*http).base,
        };
        if base.is_null() {
            return ptr::null_mut();
        }
        let arg = ptr::null_mut();
        let listener = evconnlistener_new(base, None, arg, LISTENER_OPTIONS, 0, fd);
        if listener.is_null() {
            return ptr::null_mut();
        }
        evhttp_bind_listener(http, listener)
    }
}

fn status(bound: *mut evhttp_bound_socket) -> c_int {
    if bound.is_null() { -1 } else { 0 }
}

/// `evhttp_bind_listener`: the listener is freed with the bound socket.
///
/// # Safety
/// The C API's contract: both are live, and the listener is the server's from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_bind_listener(
    http: *mut evhttp,
    listener: *mut evconnlistener,
) -> *mut evhttp_bound_socket {
    let bound = Box::into_raw(Box::new(evhttp_bound_socket { listener }));
    // SAFETY: by this function's contract.
    unsafe {
        (*http).bound.push(bound);
        evconnlistener_set_cb(listener, Some(on_accept), http.cast());
    }
    bound
}

unsafe extern "C" fn on_accept(
    listener: *mut evconnlistener,
    fd: evutil_socket_t,
    address: *mut sockaddr,
    len: c_int,
    http: *mut c_void,
) {
    let len = usize::try_from(len).unwrap_or(0);
    // SAFETY: the listener calls this as long as the server has it; the address has as many bytes.
    unsafe {
        let address = std::slice::from_raw_parts(address.cast::<u8>(), len);
        accept::accept(http.cast(), evconnlistener_get_base(listener), fd, address);
    }
}

/// `evhttp_del_accept_socket`: frees the listener; a socket of the server's own is closed.
///
/// # Safety
/// The C API's contract: `http` is live, `bound` one of its sockets, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_del_accept_socket(
    http: *mut evhttp,
    bound: *mut evhttp_bound_socket,
) {
    // SAFETY: by this function's contract; it was made by `Box::into_raw`.
    unsafe {
        (*http).bound.retain(|&other| other != bound);
        evconnlistener_free((*bound).listener);
        drop(Box::from_raw(bound));
    }
}

/// `evhttp_foreach_bound_socket`
///
/// # Safety
/// The C API's contract: `http` is live; the function neither adds nor removes any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_foreach_bound_socket(
    http: *mut evhttp,
    function: Option<unsafe extern "C" fn(*mut evhttp_bound_socket, *mut c_void)>,
    arg: *mut c_void,
) {
    let Some(function) = function else { return };
    // SAFETY: by this function's contract; the list is looked at anew after each call.
    unsafe {
        let bound = |at: usize| {
            let all = &(*http).bound;
            all.get(at).copied()
        };
        let mut at = 0;
        while let Some(next) = bound(at) {
            function(next, arg);
            at += 1;
        }
    }
}

/// `evhttp_bound_socket_get_fd`
///
/// # Safety
/// The C API's contract: `bound` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_bound_socket_get_fd(
    bound: *mut evhttp_bound_socket,
) -> evutil_socket_t {
    // SAFETY: by this function's contract.
    unsafe { evconnlistener_get_fd((*bound).listener) }
}

/// `evhttp_bound_socket_get_listener`
///
/// # Safety
/// The C API's contract: `bound` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_bound_socket_get_listener(
    bound: *mut evhttp_bound_socket,
) -> *mut evconnlistener {
    // SAFETY: by this function's contract.
    unsafe { (*bound).listener }
}
