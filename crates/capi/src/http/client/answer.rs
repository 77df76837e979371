//! Reading answers.

use std::ffi::{c_int, c_short, c_void};

use ferrevent_http::client::Error;
use ferrevent_http::{Left, Step, Version};

use super::ask::{
    BUFFER_ERROR, DATA_TOO_LONG, EOF, INVALID_HEADER, TIMEOUT, answered, fail, finish_if_disowned,
};
use super::dial::{EV_READ, EV_WRITE, proceed, reset};
use super::{Phase, client};
use crate::abi::{bufferevent, evhttp_request};
use crate::buffer;
use crate::buffer::content::{evbuffer_drain, evbuffer_get_length};
use crate::buffer::moves::evbuffer_remove_buffer;
use crate::bufferevent::{bufferevent_disable, bufferevent_enable, bufferevent_write_buffer};
use crate::held::Hold;
use crate::http::connection::{READ_ON_WRITE_ERROR, evhttp_connection};
use crate::http::headers::{self, evhttp_clear_headers};
use crate::http::request::{self, CHUNKED, RESPONSE, set_string};

const EVENT_WRITING: c_short = 0x02;
const EVENT_EOF: c_short = 0x10;
const EVENT_ERROR: c_short = 0x20;
const EVENT_TIMEOUT: c_short = 0x40;

/// # Safety
/// `evcon` is that of a client, live.
pub(super) unsafe extern "C" fn on_read(_bev: *mut bufferevent, evcon: *mut c_void) {
    let evcon: *mut evhttp_connection = evcon.cast();
    // SAFETY: the callbacks are taken away before the connection goes.
    unsafe {
        match client(evcon).phase {
            Phase::Reading => read(evcon),
            Phase::Idle if !client(evcon).protocol.is_tunnel() => end_of_rest(evcon),
            _ => {}
        }
    }
}

/// # Safety
/// As for [`on_read`].
pub(super) unsafe extern "C" fn on_written(bev: *mut bufferevent, evcon: *mut c_void) {
    let evcon: *mut evhttp_connection = evcon.cast();
    // SAFETY: as in `on_read`.
    unsafe {
        if client(evcon).phase == Phase::Sending && evbuffer_get_length((*bev).output) == 0 {
            begin_to_read(evcon);
        }
    }
}

/// # Safety
/// As for [`on_read`].
pub(super) unsafe extern "C" fn on_event(
    _bev: *mut bufferevent,
    what: c_short,
    evcon: *mut c_void,
) {
    let evcon: *mut evhttp_connection = evcon.cast();
    // SAFETY: as in `on_read`.
    unsafe {
        match client(evcon).phase {
            Phase::Idle => end_of_rest(evcon),
            Phase::Sending
                if what & (EVENT_ERROR | EVENT_WRITING) == EVENT_ERROR | EVENT_WRITING
                    && (*evcon).flags & READ_ON_WRITE_ERROR != 0 =>
            {
                client(evcon).cut = true;
                begin_to_read(evcon);
            }
            Phase::Reading if what & EVENT_EOF != 0 => ended(evcon),
            Phase::Sending | Phase::Reading => {
                let error = match what {
                    _ if what & EVENT_TIMEOUT != 0 => TIMEOUT,
                    _ if what & (EVENT_EOF | EVENT_ERROR) != 0 => EOF,
                    _ => BUFFER_ERROR,
                };
                fail(evcon, error);
            }
            _ => {}
        }
    }
}

/// Something happens to a connection on which nothing is asked.
unsafe fn end_of_rest(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live, and held here.
    unsafe {
        let hold = Hold::new(evcon);
        reset(evcon);
        if !hold.is_gone() {
            proceed(evcon);
            finish_if_disowned(evcon);
        }
    }
}

/// The request is written, or cannot be.
unsafe fn begin_to_read(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live.
    unsafe {
        let bev = (*evcon).bev;
        client(evcon).phase = Phase::Reading;
        bufferevent_disable(bev, EV_WRITE);
        bufferevent_enable(bev, EV_READ);
        if evbuffer_get_length((*bev).input) > 0 {
            read(evcon);
        }
    }
}

/// The server has ended the connection.
unsafe fn ended(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live, and held here.
    unsafe {
        let hold = Hold::new(evcon);
        read(evcon);
        if hold.is_gone() || client(evcon).phase != Phase::Reading {
            return;
        }
        match client(evcon).protocol.closed() {
            Ok(Step::Complete) => answered(evcon),
            Ok(_) => {}
            Err(error) => fail(evcon, number_of(error)),
        }
    }
}

fn number_of(error: Error) -> c_int {
    match error {
        Error::Eof => EOF,
        Error::Invalid(_) => INVALID_HEADER,
        Error::TooLong => DATA_TOO_LONG,
    }
}

/// What becomes of a step.
enum Then {
    /// The next one.
    Continue,
    /// Nothing, for now or for ever.
    Stop,
}

/// Reads what has come.
unsafe fn read(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live, and held here. The protocol is borrowed only while it reads, and reads
    // nothing but a buffer.
    unsafe {
        let hold = Hold::new(evcon);
        while client(evcon).phase == Phase::Reading {
            let Some(&req) = client(evcon).requests.front() else {
                return;
            };
            let input = (*(*evcon).bev).input;
            let step = buffer::change(input, |input| client(evcon).protocol.read(input));
            // A callback of the input's may have freed the connection.
            if hold.is_gone() || client(evcon).requests.front() != Some(&req) {
                return;
            }
            let then = match step {
                Ok(Step::Head) => take_head(evcon, req, true),
                Ok(Step::Interim) => take_interim(evcon, req),
                Ok(Step::Body(len)) => take_body(evcon, req, len),
                Ok(Step::Complete) => return answered(evcon),
                Ok(Step::Wait | Step::Continue | Step::Discard(_)) => return,
                Err(error) => return fail(evcon, number_of(error)),
            };
            if matches!(then, Then::Stop) {
                return;
            }
        }
    }
}

/// A head has been read, whether the final one or not.
unsafe fn take_head(evcon: *mut evhttp_connection, req: *mut evhttp_request, last: bool) -> Then {
    // SAFETY: the caller's connection is live, and the request its first. The head is borrowed while no code of the
    // program's can run, and has no zero bytes in it.
    unsafe {
        evhttp_clear_headers((*req).input_headers);
        let Some(head) = client(evcon).protocol.response() else {
            return Then::Stop;
        };
        (*req).kind = RESPONSE;
        (*req).major = 1;
        (*req).minor = match head.version() {
            Version::Http10 => 0,
            Version::Http11 => 1,
        };
        (*req).response_code = c_int::from(head.code());
        (*req).headers_size = head.size();
        set_string(&raw mut (*req).response_code_line, head.reason());
        for (name, value) in head.fields().iter() {
            headers::add((*req).input_headers, name, value);
        }
        if last {
            note_left(evcon, req);
        }
        let Some(header_cb) = (*req).header_cb else {
            return Then::Continue;
        };
        let (hold, req_hold) = (Hold::new(evcon), request::hold(req));
        let result = header_cb(req, (*req).cb_arg);
        if is_lost(evcon, req, &hold, &req_hold) {
            return Then::Stop;
        }
        if result < 0 {
            fail(evcon, EOF);
            return Then::Stop;
        }
        Then::Continue
    }
}

/// A response that is not the final one. It may say that the body may come.
unsafe fn take_interim(evcon: *mut evhttp_connection, req: *mut evhttp_request) -> Then {
    // SAFETY: the caller's connection is live, and the request its first.
    unsafe {
        let held = evbuffer_get_length((*req).output_buffer) > 0;
        if matches!(take_head(evcon, req, false), Then::Stop) {
            return Then::Stop;
        }
        if held && !client(evcon).protocol.holds_body() {
            let bev = (*evcon).bev;
            client(evcon).phase = Phase::Sending;
            bufferevent_disable(bev, EV_READ);
            bufferevent_enable(bev, EV_WRITE);
            bufferevent_write_buffer(bev, (*req).output_buffer);
        }
        Then::Continue
    }
}

/// Moves what has come of the body. The chunk callback gets whole chunks, as libevent's does.
unsafe fn take_body(evcon: *mut evhttp_connection, req: *mut evhttp_request, len: usize) -> Then {
    // SAFETY: the caller's connection is live, and the request its first.
    unsafe {
        let (hold, req_hold) = (Hold::new(evcon), request::hold(req));
        let input = (*(*evcon).bev).input;
        let moved = evbuffer_remove_buffer(input, (*req).input_buffer, len);
        if is_lost(evcon, req, &hold, &req_hold) {
            return Then::Stop;
        }
        if usize::try_from(moved) != Ok(len) {
            // The program has frozen one of the two.
            fail(evcon, BUFFER_ERROR);
            return Then::Stop;
        }
        (*req).body_size += len;
        let left = note_left(evcon, req);
        let (Some(chunk_cb), 0) = ((*req).chunk_cb, left) else {
            return Then::Continue;
        };
        chunk_cb(req, (*req).cb_arg);
        if is_lost(evcon, req, &hold, &req_hold) {
            return Then::Stop;
        }
        evbuffer_drain(
            (*req).input_buffer,
            evbuffer_get_length((*req).input_buffer),
        );
        match is_lost(evcon, req, &hold, &req_hold) {
            true => Then::Stop,
            false => Then::Continue,
        }
    }
}

/// Shows what is left of the body in the public struct. Returns what is left of a chunk.
unsafe fn note_left(evcon: *mut evhttp_connection, req: *mut evhttp_request) -> u64 {
    // SAFETY: the caller's connection is live, and the request its first.
    unsafe {
        let left = client(evcon).protocol.left();
        (*req).ntoread = match left {
            Left::Bytes(n) => i64::try_from(n).unwrap_or(i64::MAX),
            Left::OfChunk(_) | Left::UntilClose => -1,
        };
        match left {
            Left::OfChunk(n) => {
                (*req).bits |= CHUNKED;
                n
            }
            Left::Bytes(_) | Left::UntilClose => 0,
        }
    }
}

/// Whether a callback has freed the connection or the request, or cancelled it.
unsafe fn is_lost(
    evcon: *mut evhttp_connection,
    req: *mut evhttp_request,
    hold: &Hold<evhttp_connection>,
    req_hold: &Hold<request::Request>,
) -> bool {
    // SAFETY: both are held.
    unsafe { hold.is_gone() || req_hold.is_gone() || client(evcon).requests.front() != Some(&req) }
}
