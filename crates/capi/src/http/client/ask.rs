//! The queue of requests, and what becomes of each.

use std::ffi::{c_char, c_int};
use std::ptr;

use ferrevent_http::client::{Request, is_target};
use ferrevent_http::server::Next;
use ferrevent_http::{Method, Version};

use super::dial::{EV_READ, EV_WRITE, connect, proceed, reset, stop_timer, tell_later, watch};
use super::{Phase, client, side};
use crate::abi::evhttp_request;
use crate::buffer;
use crate::buffer::content::evbuffer_get_length;
use crate::bufferevent::{
    bufferevent_disable, bufferevent_enable, bufferevent_write, bufferevent_write_buffer,
};
use crate::held::Hold;
use crate::http::bytes;
use crate::http::connection::{evhttp_connection, evhttp_connection_free};
use crate::http::headers::Pairs;
use crate::http::request::{
    self, CHUNKED, REQUEST, USER_OWNED, dismiss, evhttp_request_free, release, set_string,
};
use crate::log;

/// `EVREQ_HTTP_TIMEOUT`
pub(super) const TIMEOUT: c_int = 0;
/// `EVREQ_HTTP_EOF`
pub(super) const EOF: c_int = 1;
/// `EVREQ_HTTP_INVALID_HEADER`
pub(super) const INVALID_HEADER: c_int = 2;
/// `EVREQ_HTTP_BUFFER_ERROR`
pub(super) const BUFFER_ERROR: c_int = 3;
/// `EVREQ_HTTP_REQUEST_CANCEL`
const CANCEL: c_int = 4;
/// `EVREQ_HTTP_DATA_TOO_LONG`
pub(super) const DATA_TOO_LONG: c_int = 5;

/// `evhttp_make_request`: 0, and the request is the connection's; -1 for a method or a target that there is not, and
/// without the local address that the program wants: then the request is freed, unless the program has made it its own.
///
/// # Safety
/// The C API's contract: `evcon` and `req` are live, `uri` is NULL or a string. NULL gives -1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_make_request(
    evcon: *mut evhttp_connection,
    req: *mut evhttp_request,
    type_: c_int,
    uri: *const c_char,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        if !(*req).evcon.is_null() {
            log::warn("evhttp_make_request: the request has a connection already");
            return -1;
        }
        let target = bytes(uri).filter(|target| is_target(target));
        let (Some(target), Some(_), Some(client)) = (target, method(type_), side(evcon)) else {
            dismiss(req);
            return -1;
        };
        (*req).kind = REQUEST;
        (*req).type_ = type_;
        (*req).evcon = evcon;
        // It may have been asked with before.
        (*req).body_size = 0;
        (*req).bits &= !CHUNKED;
        set_string(&raw mut (*req).uri, target);
        if (*req).major == 0 && (*req).minor == 0 {
            (*req).major = 1;
            (*req).minor = 1;
        }
        client.requests.push_back(req);
        let begun = match client.phase {
            Phase::Apart => connect(evcon),
            Phase::Idle => {
                send(evcon);
                Ok(())
            }
            _ => Ok(()),
        };
        if begun.is_err() {
            forget(evcon, req);
            dismiss(req);
            return -1;
        }
    }
    0
}

fn method(type_: c_int) -> Option<Method> {
    Method::from_bit(u16::try_from(type_).ok()?)
}

/// `evhttp_cancel_request`: the request is freed, unless the program has made it its own. Its callback is not called; if
/// it was being answered, its error callback is, and the connection ends.
///
/// # Safety
/// The C API's contract: `req` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_cancel_request(req: *mut evhttp_request) {
    // SAFETY: by this function's contract; a connection that it has is live.
    unsafe {
        let evcon = (*req).evcon;
        if evcon.is_null() || side(evcon).is_none() {
            return evhttp_request_free(req);
        }
        if client(evcon).requests.front() == Some(&req) && client(evcon).phase != Phase::Apart {
            return fail(evcon, CANCEL);
        }
        forget(evcon, req);
        dismiss(req);
    }
}

/// A request of this connection's is freed by the program. If it was being answered, the connection ends.
///
/// # Safety
/// `evcon` is live. Code of the program's may run, and free anything that is not held.
pub(in crate::http) unsafe fn abandon(evcon: *mut evhttp_connection, req: *mut evhttp_request) {
    // SAFETY: by this function's contract.
    unsafe {
        let hold = Hold::new(evcon);
        let first = client(evcon).requests.front() == Some(&req);
        forget(evcon, req);
        if first && client(evcon).phase != Phase::Apart {
            reset(evcon);
            if !hold.is_gone() {
                proceed(evcon);
                finish_if_disowned(evcon);
            }
        }
    }
}

/// The connection is being freed, and its requests with it.
///
/// # Safety
/// `evcon` is held.
pub(in crate::http) unsafe fn end(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract; the requests are in no list any more when they are dismissed.
    unsafe {
        stop_timer(evcon);
        client(evcon).phase = Phase::Apart;
        for list in [
            std::mem::take(&mut client(evcon).requests),
            std::mem::take(&mut client(evcon).failing),
        ] {
            for req in list {
                dismiss(req);
            }
        }
    }
}

/// Takes a request out of the queue.
unsafe fn forget(evcon: *mut evhttp_connection, req: *mut evhttp_request) {
    // SAFETY: the caller's connection is live.
    let client = unsafe { client(evcon) };
    client.requests.retain(|&other| other != req);
    client.failing.retain(|&other| other != req);
}

/// Writes the first request.
///
/// # Safety
/// `evcon` is live, and idle.
pub(super) unsafe fn send(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract. What the head is made of stays as it is while no code of the program's runs; where
    // callbacks of its buffers may, connection and request are held.
    unsafe {
        let bev = (*evcon).bev;
        let Some(&req) = client(evcon).requests.front() else {
            return;
        };
        let body = (*req).output_buffer;
        let mut head = std::mem::take(&mut client(evcon).head);
        head.clear();
        let request = Request {
            version: match ((*req).major, (*req).minor) {
                (1, 0) => Version::Http10,
                _ => Version::Http11,
            },
            body: evbuffer_get_length(body) as u64,
            ..Request::new(
                method((*req).type_).unwrap_or(Method::Other),
                bytes((*req).uri).unwrap_or_default(),
            )
        };
        let fields = Pairs::of((*req).output_headers);
        let written = client(evcon).protocol.request(&request, fields, &mut head);
        watch(evcon);
        if written.is_err() {
            // What the program has put into the list of headers without `evhttp_add_header`.
            return tell_later(evcon, Phase::Unsendable);
        }
        client(evcon).phase = Phase::Sending;
        bufferevent_disable(bev, EV_READ);
        bufferevent_enable(bev, EV_WRITE);
        let (hold, req_hold) = (Hold::new(evcon), request::hold(req));
        bufferevent_write(bev, head.as_ptr().cast(), head.len());
        client(evcon).head = head;
        if hold.is_gone() || req_hold.is_gone() || client(evcon).phase != Phase::Sending {
            return;
        }
        if !client(evcon).protocol.holds_body() {
            bufferevent_write_buffer(bev, body);
        }
    }
}

/// The first request has failed: its connection ends, and it is told.
///
/// # Safety
/// `evcon` is live. It may be gone afterwards.
pub(super) unsafe fn fail(evcon: *mut evhttp_connection, error: c_int) {
    // SAFETY: by this function's contract; the holds keep the memory. What the last callbacks need is copied before they run.
    unsafe {
        let hold = Hold::new(evcon);
        let failed = client(evcon).requests.pop_front().map(|req| {
            // As in `answered`, for the close callback.
            (*req).evcon = ptr::null_mut();
            (req, request::hold(req))
        });
        reset(evcon);
        if !hold.is_gone() {
            proceed(evcon);
        }
        if let Some((req, req_hold)) = failed
            && !req_hold.is_gone()
            && (*req).evcon.is_null()
        {
            let (error_cb, cb, arg) = ((*req).error_cb, (*req).cb, (*req).cb_arg);
            dismiss(req);
            drop(req_hold);
            if let Some(error_cb) = error_cb {
                error_cb(error, arg);
            }
            if let Some(cb) = cb
                && error != CANCEL
            {
                cb(ptr::null_mut(), arg);
            }
        }
        if !hold.is_gone() {
            finish_if_disowned(evcon);
        }
    }
}

/// The first request is answered.
///
/// # Safety
/// `evcon` is live. It may be gone afterwards.
pub(super) unsafe fn answered(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract; the hold keeps the memory.
    unsafe {
        let hold = Hold::new(evcon);
        let Some(req) = client(evcon).requests.pop_front() else {
            return;
        };
        if (*req).bits & CHUNKED != 0 {
            (*req).ntoread = 0;
        }
        // It is in nobody's hands while the close callback runs, which may free it, or ask with it again.
        (*req).evcon = ptr::null_mut();
        let req_hold = request::hold(req);
        let sent = client(evcon).phase == Phase::Reading && !client(evcon).cut;
        let input = (*(*evcon).bev).input;
        let next = buffer::look(input, |input| client(evcon).protocol.finish(input, sent));
        if next == Next::Request {
            client(evcon).phase = Phase::Idle;
            proceed(evcon);
        } else if client(evcon).protocol.is_told_to_close() {
            reset(evcon);
            if !hold.is_gone() {
                proceed(evcon);
            }
        } else {
            // As in libevent: the answer first, and then that the connection is closed.
            client(evcon).phase = Phase::Ending;
        }
        if !req_hold.is_gone() && (*req).evcon.is_null() {
            hand_over(req);
        }
        if hold.is_gone() {
            return;
        }
        if client(evcon).phase == Phase::Ending {
            reset(evcon);
            if hold.is_gone() {
                return;
            }
            proceed(evcon);
        }
        finish_if_disowned(evcon);
    }
}

/// Gives a request to its callback, and frees it afterwards unless it is the program's.
///
/// # Safety
/// `req` is live, and in no queue.
pub(super) unsafe fn hand_over(req: *mut evhttp_request) {
    // SAFETY: by this function's contract; the hold keeps the memory.
    unsafe {
        (*req).evcon = ptr::null_mut();
        let hold = request::hold(req);
        if let Some(cb) = (*req).cb {
            cb(req, (*req).cb_arg);
        }
        // The callback may have asked with it again.
        let kept = (*req).flags & USER_OWNED != 0 || !(*req).evcon.is_null();
        if !hold.is_gone() && !kept {
            release(req);
        }
    }
}

/// Frees a connection that the program has given up (`evhttp_connection_free_on_completion`) once nothing is left to do.
///
/// # Safety
/// `evcon` is live. It may be gone afterwards.
pub(super) unsafe fn finish_if_disowned(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe {
        let this = client(evcon);
        let done = this.requests.is_empty()
            && this.failing.is_empty()
            && matches!(this.phase, Phase::Apart | Phase::Idle);
        if done && (*evcon).free_on_completion {
            evhttp_connection_free(evcon);
        }
    }
}
