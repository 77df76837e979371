//! `struct evhttp_request`: what both sides have of a request.
//!
//! A request belongs to its connection, to the program ([`evhttp_request_own`], or before it is made), or to nobody any
//! more. Its memory stays as long as a call of the program's code that was given it (`Hold`).

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use ferrevent_http::{Conformance, Method, Uri, host};

use super::bytes;
use super::connection::{self, evhttp_connection};
use super::headers::{evhttp_clear_headers, evhttp_find_header, initialise};
use super::uri::{self, evhttp_uri, evhttp_uri_free, evhttp_uri_get_host};
use crate::abi::{evhttp_error_cb, evhttp_request, evhttp_request_cb, evkeyvalq};
use crate::buffer::{evbuffer, evbuffer_free};
use crate::held::{Held, Hold, Holdable};
use crate::memory;

/// `EVHTTP_REQ_OWN_CONNECTION`: set for what a server received, as libevent does.
pub(super) const OWN_CONNECTION: c_int = 1;
/// `EVHTTP_PROXY_REQUEST`: the target was a whole URI.
pub(super) const PROXY_REQUEST: c_int = 1 << 1;
/// `EVHTTP_USER_OWNED`
pub(super) const USER_OWNED: c_int = 1 << 2;

/// `EVHTTP_REQUEST`, of `enum evhttp_request_kind`
pub(super) const REQUEST: c_int = 0;
/// `EVHTTP_RESPONSE`
pub(super) const RESPONSE: c_int = 1;

/// The bit `chunked`.
pub(super) const CHUNKED: u32 = 1;
/// The bit `userdone`.
pub(super) const USER_DONE: u32 = 1 << 1;

/// A request: the public struct, and behind it what is the library's own.
#[repr(C)]
pub(super) struct Request {
    /// What programs see; `struct evhttp_request *` points here.
    public: evhttp_request,
    /// The two lists that the public part points to.
    input_headers: evkeyvalq,
    output_headers: evkeyvalq,
    held: Held,
}

/// A new request without a connection, of the caller's.
pub(super) fn new(kind: c_int) -> *mut evhttp_request {
    let request = Box::into_raw(Box::<Request>::new_uninit()).cast::<Request>();
    // SAFETY: fresh memory of its size, which is made whole here: what is not set is a number, an `Option` of a
    // function or a pointer, all of which may be zero.
    unsafe {
        request.write(MaybeUninit::zeroed().assume_init());
        initialise(&raw mut (*request).input_headers);
        initialise(&raw mut (*request).output_headers);
        let public = &raw mut (*request).public;
        (*public).kind = kind;
        (*public).input_headers = &raw mut (*request).input_headers;
        (*public).output_headers = &raw mut (*request).output_headers;
        (*public).input_buffer = evbuffer::alloc();
        (*public).output_buffer = evbuffer::alloc();
        public
    }
}

/// Gives a request up for its owner. The memory goes with the last hold.
///
/// # Safety
/// `req` is live, and no connection knows of it any more.
pub(super) unsafe fn release(req: *mut evhttp_request) {
    let request = req.cast::<Request>();
    // SAFETY: by this function's contract; without holds nobody uses it any more.
    unsafe {
        if (*request).held.leave() {
            Request::give_back(request);
        }
    }
}

// SAFETY: `held` is in it; `release` leaves the memory to the last hold.
unsafe impl Holdable for Request {
    unsafe fn held(this: *mut Self) -> *mut Held {
        // SAFETY: by this function's contract.
        unsafe { &raw mut (*this).held }
    }

    unsafe fn give_back(this: *mut Self) {
        // SAFETY: by this function's contract; `new` has made it with a box. The buffers may live on without it.
        unsafe {
            let public = &raw mut (*this).public;
            evhttp_clear_headers(&raw mut (*this).input_headers);
            evhttp_clear_headers(&raw mut (*this).output_headers);
            for string in [
                (*public).remote_host,
                (*public).host_cache,
                (*public).uri,
                (*public).response_code_line,
            ] {
                memory::release(string.cast());
            }
            evhttp_uri_free((*public).uri_elems);
            evbuffer_free((*public).input_buffer);
            evbuffer_free((*public).output_buffer);
            drop(Box::from_raw(this));
        }
    }
}

/// As [`release`], unless the program has made the request its own: then it is only without a connection.
///
/// # Safety
/// As for [`release`].
pub(super) unsafe fn dismiss(req: *mut evhttp_request) {
    // SAFETY: by this function's contract.
    unsafe {
        (*req).evcon = ptr::null_mut();
        if (*req).flags & USER_OWNED == 0 {
            release(req);
        }
    }
}

/// Keeps the memory of a request over a call.
///
/// # Safety
/// `req` is live.
pub(super) unsafe fn hold(req: *mut evhttp_request) -> Hold<Request> {
    // SAFETY: by this function's contract; every request is in one of ours.
    unsafe { Hold::new(req.cast()) }
}

/// Replaces a string of a request.
///
/// # Safety
/// `place` is a string field of a live request; what it holds is not used any more, but `text` may be it. There is no zero
/// byte in `text`.
pub(super) unsafe fn set_string(place: *mut *mut c_char, text: &[u8]) {
    // SAFETY: by this function's contract; what was there goes when the text has been copied.
    unsafe {
        let before = std::mem::replace(&mut *place, memory::string(text));
        memory::release(before.cast());
    }
}

/// `evhttp_request_new`
#[unsafe(no_mangle)]
pub extern "C" fn evhttp_request_new(
    cb: evhttp_request_cb,
    arg: *mut c_void,
) -> *mut evhttp_request {
    let req = new(RESPONSE);
    // SAFETY: it is live, and nobody else knows of it.
    unsafe {
        (*req).cb = cb;
        (*req).cb_arg = arg;
    }
    req
}

/// `evhttp_request_free`: in its callback too. A server's connection with a request that is not answered any more is
/// closed; libevent crashes sooner or later.
///
/// # Safety
/// The C API's contract: `req` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_free(req: *mut evhttp_request) {
    // SAFETY: by this function's contract; a connection that it has is live.
    unsafe {
        let evcon = (*req).evcon;
        if !evcon.is_null() {
            let _hold = hold(req);
            connection::abandon(evcon, req);
            (*req).evcon = ptr::null_mut();
            return release(req);
        }
        release(req);
    }
}

/// `evhttp_request_own`: the request stays until [`evhttp_request_free`].
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_own(req: *mut evhttp_request) {
    // SAFETY: by this function's contract.
    unsafe { (*req).flags |= USER_OWNED };
}

/// `evhttp_request_is_owned`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_is_owned(req: *mut evhttp_request) -> c_int {
    // SAFETY: by this function's contract.
    c_int::from(unsafe { (*req).flags } & USER_OWNED != 0)
}

/// `evhttp_request_get_connection`: NULL once that is gone.
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_connection(
    req: *mut evhttp_request,
) -> *mut evhttp_connection {
    // SAFETY: by this function's contract.
    unsafe { (*req).evcon }
}

/// `evhttp_request_get_uri`: the target as it stands in the request.
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_uri(req: *const evhttp_request) -> *const c_char {
    // SAFETY: by this function's contract.
    unsafe { (*req).uri }
}

/// `evhttp_request_get_evhttp_uri`: the target in parts; NULL if there is none. It belongs to the request.
///
/// # Safety
/// The C API's contract: `req` is live, and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_evhttp_uri(
    req: *const evhttp_request,
) -> *const evhttp_uri {
    let req = req.cast_mut();
    // SAFETY: by this function's contract. The memory was never constant.
    unsafe {
        if (*req).uri_elems.is_null()
            && (*req).kind == REQUEST
            && (*req).flags & OWN_CONNECTION != 0
            && let Some(target) = bytes((*req).uri)
            && let Some(parts) = parse_target((*req).type_, target)
        {
            (*req).uri_elems = uri::for_program(parts);
        }
        (*req).uri_elems
    }
}

/// What a request asks for; of `CONNECT` it is a host and a port.
fn parse_target(method: c_int, target: &[u8]) -> Option<Uri> {
    let text = match c_int::from(Method::Connect.bit()) == method {
        true => [b"//", target].concat(),
        false => target.to_vec(),
    };
    Uri::parse_with(text, Conformance::Lenient).ok()
}

/// `evhttp_request_get_command`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_command(req: *const evhttp_request) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { (*req).type_ }
}

/// `evhttp_request_get_response_code`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_response_code(req: *const evhttp_request) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { (*req).response_code }
}

/// `evhttp_request_get_response_code_line`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_response_code_line(
    req: *const evhttp_request,
) -> *const c_char {
    // SAFETY: by this function's contract.
    unsafe { (*req).response_code_line }
}

/// `evhttp_request_get_input_headers`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_input_headers(
    req: *mut evhttp_request,
) -> *mut evkeyvalq {
    // SAFETY: by this function's contract.
    unsafe { (*req).input_headers }
}

/// `evhttp_request_get_output_headers`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_output_headers(
    req: *mut evhttp_request,
) -> *mut evkeyvalq {
    // SAFETY: by this function's contract.
    unsafe { (*req).output_headers }
}

/// `evhttp_request_get_input_buffer`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_input_buffer(
    req: *mut evhttp_request,
) -> *mut evbuffer {
    // SAFETY: by this function's contract.
    unsafe { (*req).input_buffer }
}

/// `evhttp_request_get_output_buffer`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_output_buffer(
    req: *mut evhttp_request,
) -> *mut evbuffer {
    // SAFETY: by this function's contract.
    unsafe { (*req).output_buffer }
}

/// `evhttp_request_get_host`: the host of a target that is a whole URI, otherwise that of the `Host` header without its
/// port; NULL without either. It belongs to the request.
///
/// # Safety
/// The C API's contract: `req` is live, and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_get_host(req: *mut evhttp_request) -> *const c_char {
    // SAFETY: by this function's contract.
    unsafe {
        if !(*req).host_cache.is_null() {
            return (*req).host_cache;
        }
        let uri = evhttp_request_get_evhttp_uri(req);
        if !uri.is_null() && !evhttp_uri_get_host(uri).is_null() {
            return evhttp_uri_get_host(uri);
        }
        let header = evhttp_find_header((*req).input_headers, c"Host".as_ptr());
        if let Some(header) = bytes(header) {
            (*req).host_cache = memory::string(host::without_port(header));
        }
        (*req).host_cache
    }
}

/// `evhttp_request_set_chunked_cb`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_set_chunked_cb(
    req: *mut evhttp_request,
    cb: evhttp_request_cb,
) {
    // SAFETY: by this function's contract.
    unsafe { (*req).chunk_cb = cb };
}

/// `evhttp_request_set_header_cb`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_set_header_cb(
    req: *mut evhttp_request,
    cb: Option<unsafe extern "C" fn(*mut evhttp_request, *mut c_void) -> c_int>,
) {
    // SAFETY: by this function's contract.
    unsafe { (*req).header_cb = cb };
}

/// `evhttp_request_set_error_cb`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_set_error_cb(
    req: *mut evhttp_request,
    cb: evhttp_error_cb,
) {
    // SAFETY: by this function's contract.
    unsafe { (*req).error_cb = cb };
}

/// `evhttp_request_set_on_complete_cb`
///
/// # Safety
/// The C API's contract: `req` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_request_set_on_complete_cb(
    req: *mut evhttp_request,
    cb: evhttp_request_cb,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe {
        (*req).on_complete_cb = cb;
        (*req).on_complete_cb_arg = arg;
    }
}
