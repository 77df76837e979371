//! A connection of a server's: reading requests, and what becomes of them.

use std::ffi::{c_short, c_void};
use std::net::Shutdown;
use std::ptr;

use ferrevent_http::server::{CONTINUE, Connection, Next, Refusal};
use ferrevent_http::{Step, Version};
use libc::c_int;

use super::reply::{not_found, send_refusal};
use super::{callback_for, evhttp, evhttp_send_error, forget};
use crate::abi::{bufferevent, evhttp_request};
use crate::buffer::content::{evbuffer_add, evbuffer_drain, evbuffer_get_length};
use crate::buffer::moves::evbuffer_remove_buffer;
use crate::buffer::{self, evbuffer};
use crate::bufferevent::{
    bufferevent_disable, bufferevent_enable, bufferevent_getfd, bufferevent_setcb, is_plain_socket,
};
use crate::held::Hold;
use crate::http::connection::{self, Role, Unsent, evhttp_connection, evhttp_connection_free};
use crate::http::headers;
use crate::http::request::{
    self, OWN_CONNECTION, PROXY_REQUEST, REQUEST, USER_OWNED, dismiss, set_string,
};

pub(super) const EV_READ: c_short = 2;

const EVENT_EOF: c_short = 0x10;
const EVENT_ERROR: c_short = 0x20;
const EVENT_TIMEOUT: c_short = 0x40;
const EVENT_WRITING: c_short = 0x02;

/// How many bytes of replies may be waiting while another request is read.
const MOST_UNSENT: usize = 64 * 1024;

/// What is called once the parts that have been sent are written.
pub(super) type PartCallback = Option<unsafe extern "C" fn(*mut evhttp_connection, *mut c_void)>;

/// The server's side of a connection.
pub(in crate::http) struct Served {
    pub(in crate::http) http: *mut evhttp,
    pub(in crate::http) protocol: Connection,
    /// What is being read or answered, or NULL.
    pub(super) request: *mut evhttp_request,
    pub(super) phase: Phase,
    /// What is called once the output is empty, and its argument, until the end of the reply is given.
    pub(super) part_cb: (PartCallback, *mut c_void),
    /// Memory for the heads of replies.
    pub(super) head: Vec<u8>,
    /// A reply is being put into the output: what is written meanwhile is looked at afterwards.
    pub(super) writing: bool,
    /// `advance` is at work, and goes on when what it has called returns.
    running: bool,
    /// The client will send nothing more.
    ended: bool,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reading a request, or waiting for one.
    Reading,
    /// The program has a request, and has not begun to answer it.
    Asked,
    /// The program sends the parts of a reply.
    Replying,
    /// All of the reply is in the output.
    Replied,
}

/// The server's side of `evcon`, for a moment.
///
/// # Safety
/// `evcon` is live or held, and a server's; no other such reference is used while this one is.
pub(super) unsafe fn served<'a>(evcon: *mut evhttp_connection) -> &'a mut Served {
    // SAFETY: by this function's contract.
    match unsafe { &mut (*evcon).role } {
        Role::Server(served) => served,
        Role::Client(_) => unreachable!("a server's connection stays one"),
    }
}

/// Whether this is a server's connection.
///
/// # Safety
/// `evcon` is live.
pub(super) unsafe fn is_served(evcon: *mut evhttp_connection) -> bool {
    // SAFETY: by this function's contract.
    matches!(unsafe { &(*evcon).role }, Role::Server(_))
}

impl Served {
    /// A new one, which waits for a request.
    pub(super) fn new(http: *mut evhttp) -> Self {
        Self {
            http,
            protocol: Connection::new(),
            request: ptr::null_mut(),
            phase: Phase::Reading,
            part_cb: (None, ptr::null_mut()),
            head: Vec::new(),
            writing: false,
            running: false,
            ended: false,
        }
    }
}

/// Has the bufferevent of a new connection call it.
///
/// # Safety
/// `evcon` is live.
pub(super) unsafe fn set_callbacks(evcon: *mut evhttp_connection) {
    let (read, write, event) = (Some(on_read as _), Some(on_write as _), Some(on_event as _));
    // SAFETY: by this function's contract.
    unsafe { bufferevent_setcb((*evcon).bev, read, write, event, evcon.cast()) };
}

unsafe extern "C" fn on_read(_bev: *mut bufferevent, evcon: *mut c_void) {
    // SAFETY: the callbacks are taken away before the connection goes.
    unsafe { advance(evcon.cast()) };
}

unsafe extern "C" fn on_write(_bev: *mut bufferevent, evcon: *mut c_void) {
    // SAFETY: as in `on_read`.
    unsafe { written(evcon.cast()) };
}

unsafe extern "C" fn on_event(_bev: *mut bufferevent, what: c_short, evcon: *mut c_void) {
    let evcon: *mut evhttp_connection = evcon.cast();
    // SAFETY: as in `on_read`.
    unsafe {
        let phase = served(evcon).phase;
        if what & EVENT_ERROR != 0 || what & EVENT_WRITING != 0 {
            fail(evcon);
        } else if what & EVENT_EOF != 0 {
            match phase {
                Phase::Reading => evhttp_connection_free(evcon),
                // Nothing is read then, unless parts are sent, or the program wants to know.
                Phase::Asked | Phase::Replying => fail(evcon),
                // It may have ended only its own direction, and still want what there is.
                Phase::Replied => served(evcon).ended = true,
            }
        } else if what & EVENT_TIMEOUT != 0 && phase == Phase::Reading {
            evhttp_connection_free(evcon);
        }
    }
}

/// Nothing more can be sent. A request that the program has not answered stays its own.
unsafe fn fail(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live.
    unsafe {
        if matches!(served(evcon).phase, Phase::Asked | Phase::Replying) {
            let req = std::mem::replace(&mut served(evcon).request, ptr::null_mut());
            if !req.is_null() {
                (*req).evcon = ptr::null_mut();
            }
        }
        evhttp_connection_free(evcon);
    }
}

/// Works on what has come, until more is needed, or an answer.
///
/// # Safety
/// `evcon` is live. It may be gone afterwards.
pub(super) unsafe fn advance(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract; the hold keeps the memory.
    unsafe {
        if served(evcon).running {
            return;
        }
        served(evcon).running = true;
        let hold = Hold::new(evcon);
        while take_step(evcon) {
            if hold.is_gone() {
                return;
            }
        }
        if hold.is_gone() {
            return;
        }
        served(evcon).running = false;
        rest(evcon);
    }
}

/// Does one thing. Whether there may be more to do.
///
/// # Safety
/// `evcon` is held.
unsafe fn take_step(evcon: *mut evhttp_connection) -> bool {
    // SAFETY: by this function's contract. The protocol is borrowed only while it reads, and reads nothing but a buffer.
    unsafe {
        let input = (*(*evcon).bev).input;
        let step = buffer::change(input, |input| served(evcon).protocol.read(input));
        if (*evcon).bev.is_null() {
            return false;
        }
        match step {
            Ok(Step::Wait) => return false,
            Ok(Step::Head) => begin(evcon),
            Ok(Step::Continue) => {
                let output = (*(*evcon).bev).output;
                evbuffer_add(output, CONTINUE.as_ptr().cast(), CONTINUE.len());
            }
            Ok(Step::Body(len)) => take_body(evcon, input, len),
            Ok(Step::Discard(len)) => {
                evbuffer_drain(input, len);
            }
            Ok(Step::Complete) => {
                ask(evcon);
                if !(*evcon).bev.is_null() && may_go_on(evcon) {
                    finish(evcon);
                }
            }
            Ok(Step::Interim) => {}
            Err(refusal) => refuse(evcon, &refusal),
        }
        true
    }
}

/// What is read from now on. While a reply is due, nothing can be done with more input: that there is some is enough.
unsafe fn rest(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live.
    unsafe {
        let bev = (*evcon).bev;
        let reads = (*bev).enabled & EV_READ != 0;
        match served(evcon).phase {
            Phase::Reading if served(evcon).ended => evhttp_connection_free(evcon),
            Phase::Reading if !reads => {
                bufferevent_enable(bev, EV_READ);
            }
            Phase::Reading => {}
            _ if reads && !buffer::look((*bev).input, |input| input.is_empty()) => {
                bufferevent_disable(bev, EV_READ);
            }
            _ => {}
        }
    }
}

/// A part of a reply is on its way, and the next one may take long: whether the client has gone is to be known before that.
///
/// # Safety
/// `evcon` is live, and in the middle of a reply.
pub(super) unsafe fn watch_for_the_end(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe {
        let bev = (*evcon).bev;
        let is_empty = buffer::look((*bev).input, |input| input.is_empty());
        if is_empty && (*bev).enabled & EV_READ == 0 {
            bufferevent_enable(bev, EV_READ);
        }
    }
}

/// The head of a request has been read.
unsafe fn begin(evcon: *mut evhttp_connection) {
    let req = request::new(REQUEST);
    // SAFETY: the caller's connection is live; the head is borrowed while no code of the program's can run, and has no zero
    // bytes in it.
    unsafe {
        (*req).evcon = evcon;
        served(evcon).request = req;
        let Some(head) = served(evcon).protocol.request() else {
            return;
        };
        (*req).flags = OWN_CONNECTION;
        (*req).type_ = c_int::from(head.method().bit());
        (*req).major = 1;
        (*req).minor = match head.version() {
            Version::Http10 => 0,
            Version::Http11 => 1,
        };
        (*req).headers_size = head.size();
        set_string(&raw mut (*req).uri, head.target());
        let is_for_proxy = |scheme: &[u8]| {
            let begin = head.target().get(..scheme.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        };
        if is_for_proxy(b"http://") || is_for_proxy(b"https://") {
            (*req).flags |= PROXY_REQUEST;
        }
        for (name, value) in head.fields().iter() {
            headers::add((*req).input_headers, name, value);
        }
        set_string(&raw mut (*req).remote_host, (*evcon).address.to_bytes());
        (*req).remote_port = (*evcon).port;
    }
}

unsafe fn take_body(evcon: *mut evhttp_connection, input: *mut evbuffer, len: usize) {
    // SAFETY: the caller's connection is held, and so is the request: callbacks that the program has on the input may free
    // both.
    unsafe {
        let req = served(evcon).request;
        let hold = request::hold(req);
        let mut left = len;
        while left > 0 {
            let Ok(moved @ 1..) =
                usize::try_from(evbuffer_remove_buffer(input, (*req).input_buffer, left))
            else {
                return fail(evcon);
            };
            if hold.is_gone() {
                return;
            }
            left -= moved;
        }
        (*req).body_size += len;
    }
}

/// The request is complete: it is the program's turn.
unsafe fn ask(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is held. After the program's function, `take_step`'s caller looks whether it is gone.
    unsafe {
        let (http, req) = (served(evcon).http, served(evcon).request);
        served(evcon).phase = Phase::Asked;
        // Meanwhile the client may go. Nobody is told, since the program uses the connection, maybe in other threads.
        bufferevent_disable((*evcon).bev, EV_READ);
        if c_int::from((*http).methods) & (*req).type_ == 0 {
            return evhttp_send_error(req, 501, ptr::null());
        }
        match callback_for(http, req) {
            Some(callback) => (callback.function)(req, callback.arg),
            None => not_found(req),
        }
    }
}

/// Whether the next request can be read before the reply to this one has been written. Then the replies leave together; one by
/// one they would be small packets, each of which may wait for the client to acknowledge the one before.
unsafe fn may_go_on(evcon: *mut evhttp_connection) -> bool {
    // SAFETY: the caller's connection is live.
    unsafe {
        let (served, bev) = (served(evcon), (*evcon).bev);
        let is_watched = |req: *mut evhttp_request| {
            (*req).on_complete_cb.is_some() || (*req).flags & USER_OWNED != 0
        };
        served.phase == Phase::Replied
            && served.protocol.keep_alive()
            && !(*evcon).free_on_completion
            && (served.request.is_null() || !is_watched(served.request))
            && evbuffer_get_length((*bev).input) > 0
            && evbuffer_get_length((*bev).output) <= MOST_UNSENT
    }
}

/// What has come is no request that this server takes.
unsafe fn refuse(evcon: *mut evhttp_connection, refusal: &Refusal) {
    // SAFETY: the caller's connection is held; the program has not seen the request.
    unsafe {
        let req = std::mem::replace(&mut served(evcon).request, ptr::null_mut());
        if !req.is_null() {
            request::release(req);
        }
        send_refusal(evcon, refusal.code());
    }
}

/// The output may be empty: a deferred callback may come when there is something in it again.
///
/// # Safety
/// `evcon` is live. It may be gone afterwards.
pub(super) unsafe fn written(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe {
        if served(evcon).writing || evbuffer_get_length((*(*evcon).bev).output) > 0 {
            return;
        }
        match served(evcon).phase {
            Phase::Replied => finish(evcon),
            Phase::Replying => {
                let (callback, arg) = served(evcon).part_cb;
                if let Some(callback) = callback {
                    let _hold = Hold::new(evcon);
                    callback(evcon, arg);
                }
            }
            Phase::Reading | Phase::Asked => {}
        }
    }
}

/// A reply has been written, or nobody needs to know when it is: the end of its request.
unsafe fn finish(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live; both are held over the program's function.
    unsafe {
        let hold = Hold::new(evcon);
        let req = served(evcon).request;
        if !req.is_null() {
            let request_hold = request::hold(req);
            if let Some(callback) = (*req).on_complete_cb {
                callback(req, (*req).on_complete_cb_arg);
            }
            if hold.is_gone() {
                return;
            }
            served(evcon).request = ptr::null_mut();
            if !request_hold.is_gone() {
                dismiss(req);
            }
        }
        served(evcon).phase = Phase::Reading;
        let next = served(evcon).protocol.written();
        if next == Next::Close || (*evcon).free_on_completion {
            end_stream((*evcon).bev);
            return connection::free(evcon, Unsent::Sent);
        }
        advance(evcon);
    }
}

/// Says at once that no more will come, on a plain socket: its descriptor is closed by the loop, a little later. A client that
/// sees the answer without its end closes first, and its port cannot be used again for a while.
unsafe fn end_stream(bev: *mut bufferevent) {
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        if is_plain_socket(bev) {
            // Where that fails the client has gone already.
            let _ = ferrevent_sys::shutdown(bufferevent_getfd(bev), Shutdown::Write);
        }
    }
}

/// The program frees a request of this connection's.
///
/// # Safety
/// As for [`connection::abandon`].
pub(in crate::http) unsafe fn abandon(evcon: *mut evhttp_connection, req: *mut evhttp_request) {
    // SAFETY: by this function's contract.
    unsafe {
        if served(evcon).request != req {
            return;
        }
        served(evcon).request = ptr::null_mut();
        if served(evcon).phase != Phase::Replied {
            evhttp_connection_free(evcon);
        }
    }
}

/// The server goes.
///
/// # Safety
/// `evcon` is held.
pub(super) unsafe fn leave(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe { served(evcon).http = ptr::null_mut() };
}

/// The connection goes, and its request with it.
///
/// # Safety
/// `evcon` is held.
pub(in crate::http) unsafe fn end(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract; a server that goes has left its connections before.
    unsafe {
        let http = served(evcon).http;
        if !http.is_null() {
            forget(http, evcon);
        }
        let req = std::mem::replace(&mut served(evcon).request, ptr::null_mut());
        if !req.is_null() {
            dismiss(req);
        }
    }
}
