//! Answering.

use std::ffi::{c_char, c_int, c_void};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrevent_http::server::{Reply, ReplyBody, Sends, error_page};
use ferrevent_http::{Version, html, status};

use super::serve::{
    PartCallback, Phase, is_served, served, set_callbacks, watch_for_the_end, written,
};
use crate::abi::evhttp_request;
use crate::buffer::content::{evbuffer_add, evbuffer_drain, evbuffer_get_length};
use crate::buffer::evbuffer;
use crate::buffer::moves::{evbuffer_add_buffer, evbuffer_remove_buffer};
use crate::held::Hold;
use crate::http::bytes;
use crate::http::connection::{evhttp_connection, evhttp_connection_free};
use crate::http::headers::{self, Pairs, evhttp_clear_headers};
use crate::http::request::{self, CHUNKED, USER_DONE, USER_OWNED, set_string};
use crate::log;

/// The type of the pages that this library makes.
const PAGE_TYPE: &[u8] = b"text/html";

/// `evhttp_send_error`: a page that says what is wrong, after which the connection is closed. The headers that the program has
/// set are dropped. Without a `reason`, the usual one of the code.
///
/// # Safety
/// The C API's contract: `req` is live, `reason` NULL or a string. The request is not used any more, unless the program has
/// made it its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_send_error(
    req: *mut evhttp_request,
    error: c_int,
    reason: *const c_char,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(asked) = asked(req, "evhttp_send_error") else {
            return;
        };
        let page = error_page(code_of(error), bytes(reason));
        evhttp_clear_headers((*req).output_headers);
        // As in libevent, whatever the client's version is.
        let version = Some(Version::Http11);
        send_page(&asked, req, Status(error, reason, version), &page);
    }
}

/// A page of this library's, after which the connection is closed.
unsafe fn send_page(asked: &Asked, req: *mut evhttp_request, status: Status, page: &[u8]) {
    // SAFETY: the caller's request waits for an answer, and is held.
    unsafe {
        headers::add((*req).output_headers, b"Content-Type", PAGE_TYPE);
        // Where the client has said that itself, it is said behind the other headers, as libevent does.
        if (*req).minor == 0 || served(asked.evcon).protocol.keep_alive() {
            headers::add((*req).output_headers, b"Connection", b"close");
        }
        evbuffer_add((*req).output_buffer, page.as_ptr().cast(), page.len());
        reply(asked, req, status);
    }
}

/// `evhttp_send_reply`: with what is in the request's output buffer, and then in `databuf`, as the body.
///
/// # Safety
/// The C API's contract: `req` is live, `reason` NULL or a string, `databuf` NULL or live. The request is not used any more,
/// unless the program has made it its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_send_reply(
    req: *mut evhttp_request,
    code: c_int,
    reason: *const c_char,
    databuf: *mut evbuffer,
) {
    // SAFETY: by this function's contract. Callbacks of the program's buffers may free anything.
    unsafe {
        let Some(asked) = asked(req, "evhttp_send_reply") else {
            return;
        };
        if !databuf.is_null() {
            evbuffer_add_buffer((*req).output_buffer, databuf);
        }
        reply(&asked, req, Status(code, reason, None));
    }
}

/// `evhttp_send_reply_start`: of a reply whose body comes in parts; how long it is need not be known.
///
/// # Safety
/// The C API's contract: `req` is live, `reason` NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_send_reply_start(
    req: *mut evhttp_request,
    code: c_int,
    reason: *const c_char,
) {
    // SAFETY: by this function's contract.
    unsafe {
        // As in libevent, a request without a connection waits for the end of the reply.
        if (*req).evcon.is_null() {
            return;
        }
        let Some(asked) = asked(req, "evhttp_send_reply_start") else {
            return;
        };
        served(asked.evcon).phase = Phase::Replying;
        (*req).bits |= CHUNKED;
        let begun = begin(&asked, req, Status(code, reason, None), ReplyBody::Parts);
        if !begun {
            return;
        }
        if evbuffer_get_length((*req).output_buffer) > 0 {
            send_part(asked.evcon, (*req).output_buffer);
        } else {
            watch_for_the_end(asked.evcon);
        }
    }
}

/// `evhttp_send_reply_chunk`
///
/// # Safety
/// As [`evhttp_send_reply_chunk_with_cb`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_send_reply_chunk(req: *mut evhttp_request, databuf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe { evhttp_send_reply_chunk_with_cb(req, databuf, None, std::ptr::null_mut()) };
}

/// `evhttp_send_reply_chunk_with_cb`: `databuf` is empty afterwards, also where the reply has no body. `cb` is called once
/// everything has been written, unless another part or the end is sent before.
///
/// # Safety
/// The C API's contract: `req` and `databuf` are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_send_reply_chunk_with_cb(
    req: *mut evhttp_request,
    databuf: *mut evbuffer,
    cb: PartCallback,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let evcon = (*req).evcon;
        if evcon.is_null() || databuf.is_null() || evbuffer_get_length(databuf) == 0 {
            return;
        }
        if !is_replying_to(evcon, req) {
            return misused("evhttp_send_reply_chunk");
        }
        served(evcon).part_cb = (cb, arg);
        send_part(evcon, databuf);
    }
}

/// `evhttp_send_reply_end`
///
/// # Safety
/// The C API's contract: `req` is live. The request is not used any more, unless the program has made it its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_send_reply_end(req: *mut evhttp_request) {
    // SAFETY: by this function's contract; what is held is looked at after the program's callbacks.
    unsafe {
        let evcon = (*req).evcon;
        if evcon.is_null() {
            return without_connection(req);
        }
        if !is_replying_to(evcon, req) {
            return misused("evhttp_send_reply_end");
        }
        let hold = Hold::new(evcon);
        served(evcon).part_cb = (None, std::ptr::null_mut());
        (*req).bits = (*req).bits & !CHUNKED | USER_DONE;
        let mut end = take_memory(evcon);
        served(evcon).protocol.end(&mut end);
        put(evcon, &hold, end, |_| {});
        replied(evcon, &hold);
    }
}

/// A request that is to be answered: it and its connection stay in memory, whatever the program's callbacks free.
struct Asked {
    evcon: *mut evhttp_connection,
    hold: Hold<evhttp_connection>,
    _request: Hold<request::Request>,
}

/// The request's connection, if an answer is due. Otherwise the request is done with, or the program has made a mistake, which
/// is logged; a reply that has begun cannot become another one, so that the connection is closed then.
unsafe fn asked(req: *mut evhttp_request, function: &str) -> Option<Asked> {
    // SAFETY: the caller's request is live, and so is its connection if it has one.
    unsafe {
        let evcon = (*req).evcon;
        if evcon.is_null() {
            without_connection(req);
            return None;
        }
        if !is_served(evcon) {
            misused(function);
            return None;
        }
        let current = served(evcon).request == req;
        match served(evcon).phase {
            Phase::Asked if current => {
                return Some(Asked {
                    evcon,
                    hold: Hold::new(evcon),
                    _request: request::hold(req),
                });
            }
            Phase::Replying if current => {
                misused(function);
                evhttp_connection_free(evcon);
            }
            _ => misused(function),
        }
        None
    }
}

/// Whether the parts of this request's reply are awaited.
unsafe fn is_replying_to(evcon: *mut evhttp_connection, req: *mut evhttp_request) -> bool {
    // SAFETY: the caller's connection is live.
    unsafe { is_served(evcon) && served(evcon).request == req && is_replying(evcon) }
}

/// Whether the parts of a reply are awaited.
unsafe fn is_replying(evcon: *mut evhttp_connection) -> bool {
    // SAFETY: the caller's connection is live, and a server's.
    unsafe { served(evcon).phase == Phase::Replying }
}

/// The client has gone: the end of the reply is that of the request.
unsafe fn without_connection(req: *mut evhttp_request) {
    // SAFETY: the caller's request is live, and not used any more if it is not the program's.
    unsafe {
        if (*req).flags & USER_OWNED == 0 {
            request::release(req);
        }
    }
}

#[cold]
fn misused(function: &str) {
    log::warn(&format!("{function}: not what this request waits for"));
}

/// An unknown path.
///
/// # Safety
/// `req` waits for an answer.
pub(super) unsafe fn not_found(req: *mut evhttp_request) {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(asked) = asked(req, "evhttp") else {
            return;
        };
        let target = html::escape(bytes((*req).uri).unwrap_or_default());
        let page = [
            b"<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1><p>The requested URL ",
            target.as_slice(),
            b" was not found on this server.</p></body></html>\n",
        ]
        .concat();
        send_page(&asked, req, Status(404, std::ptr::null(), None), &page);
    }
}

/// An answer to what is no request, after which the connection is closed.
///
/// # Safety
/// `evcon` is held, and has no request.
pub(super) unsafe fn send_refusal(evcon: *mut evhttp_connection, code: u16) {
    let page = error_page(code, None);
    // SAFETY: by this function's contract.
    unsafe {
        let hold = Hold::new(evcon);
        let fields = [
            (&b"Content-Type"[..], PAGE_TYPE),
            (&b"Connection"[..], &b"close"[..]),
        ];
        let reply = Reply {
            code,
            reason: None,
            body: ReplyBody::Whole(page.len() as u64),
            date: now(),
            content_type: None,
            version: Some(Version::Http11),
        };
        let mut head = take_memory(evcon);
        let fields = fields.into_iter();
        let sends = served(evcon).protocol.reply(&reply, fields, &mut head);
        if let Ok(Sends::Body(len)) = sends {
            head.extend(page.iter().take(usize::try_from(len).unwrap_or(usize::MAX)));
        }
        put(evcon, &hold, head, |_| {});
        replied(evcon, &hold);
    }
}

/// What the first line of a reply says: the code, the reason (NULL for the usual one), the version (`None` for the client's).
#[derive(Clone, Copy)]
struct Status(c_int, *const c_char, Option<Version>);

/// A whole reply, whose body is in the request's output buffer.
unsafe fn reply(asked: &Asked, req: *mut evhttp_request, status: Status) {
    // SAFETY: the caller's request waits for an answer, and is held.
    unsafe {
        let body = ReplyBody::Whole(evbuffer_get_length((*req).output_buffer) as u64);
        (*req).bits |= USER_DONE;
        if begin(asked, req, status, body) {
            replied(asked.evcon, &asked.hold);
        }
    }
}

/// All of a reply is in the output; it may be written already.
unsafe fn replied(evcon: *mut evhttp_connection, hold: &Hold<evhttp_connection>) {
    // SAFETY: the caller's connection is held.
    unsafe {
        if hold.is_gone() {
            return;
        }
        served(evcon).phase = Phase::Replied;
        written(evcon);
    }
}

/// Puts the head of a reply into the output, and the body if it is there as a whole. `false` if the connection is gone.
unsafe fn begin(
    asked: &Asked,
    req: *mut evhttp_request,
    Status(code, reason, version): Status,
    body: ReplyBody,
) -> bool {
    let evcon = asked.evcon;
    // SAFETY: the caller's request waits for an answer, and is held. The program's strings and headers are looked at while
    // none of its code runs.
    unsafe {
        // In the close callback of a connection even its server may have gone.
        if asked.hold.is_gone() {
            return false;
        }
        (*req).response_code = code;
        let code = code_of(code);
        let line = bytes(reason).unwrap_or_else(|| status::reason(code).as_bytes());
        set_string(&raw mut (*req).response_code_line, line);
        // The reason that was given may have been the one that is replaced.
        let reason = bytes((*req).response_code_line).filter(|_| !reason.is_null());
        let content_type = (*served(evcon).http).content_type.as_ref();
        let reply = Reply {
            code,
            reason,
            body,
            date: now(),
            content_type: content_type.map(|text| text.to_bytes()),
            version,
        };
        let mut head = take_memory(evcon);
        let fields = Pairs::of((*req).output_headers);
        let Ok(sends) = served(evcon).protocol.reply(&reply, fields, &mut head) else {
            log::warn("evhttp: the program has set a header that there cannot be");
            evhttp_connection_free(evcon);
            return false;
        };
        put(evcon, &asked.hold, head, |output| {
            if let Sends::Body(len) = sends {
                move_bytes((*req).output_buffer, output, len);
            }
        });
        if sends != Sends::Parts {
            drain((*req).output_buffer);
        }
        !asked.hold.is_gone()
    }
}

/// Memory for bytes to send, to be given back by [`put`].
unsafe fn take_memory(evcon: *mut evhttp_connection) -> Vec<u8> {
    // SAFETY: the caller's connection is held.
    let mut memory = std::mem::take(unsafe { &mut served(evcon).head });
    memory.clear();
    memory
}

/// Puts `bytes` into the output, and what `more` adds. If that is written at once, it is looked at only afterwards.
unsafe fn put(
    evcon: *mut evhttp_connection,
    hold: &Hold<evhttp_connection>,
    bytes: Vec<u8>,
    more: impl FnOnce(*mut evbuffer),
) {
    // SAFETY: the caller's connection is held; the bufferevent and its buffers stay until the loop goes on.
    unsafe {
        // The program may have had callbacks of its own while the request waited.
        if (*(*evcon).bev).cbarg != evcon.cast() {
            set_callbacks(evcon);
        }
        let output = (*(*evcon).bev).output;
        served(evcon).writing = true;
        if !bytes.is_empty() {
            evbuffer_add(output, bytes.as_ptr().cast(), bytes.len());
        }
        if !hold.is_gone() {
            more(output);
        }
        if !hold.is_gone() {
            served(evcon).head = bytes;
            served(evcon).writing = false;
        }
    }
}

/// One part of a reply. The buffer is empty afterwards.
unsafe fn send_part(evcon: *mut evhttp_connection, data: *mut evbuffer) {
    // SAFETY: the caller's connection is in the middle of a reply; it is held over what the program's buffers call.
    unsafe {
        let hold = Hold::new(evcon);
        let mut before = take_memory(evcon);
        let len = evbuffer_get_length(data) as u64;
        let part = served(evcon).protocol.part(len, &mut before);
        put(evcon, &hold, before, |output| {
            move_bytes(data, output, part.send);
            if !hold.is_gone() {
                evbuffer_add(output, part.after.as_ptr().cast(), part.after.len());
            }
        });
        if !hold.is_gone() {
            drain(data);
        }
        if !hold.is_gone() && is_replying(evcon) {
            watch_for_the_end(evcon);
        }
    }
}

/// Moves the first `len` bytes.
unsafe fn move_bytes(from: *mut evbuffer, to: *mut evbuffer, len: u64) {
    // SAFETY: the caller's buffers are live.
    unsafe {
        if len == evbuffer_get_length(from) as u64 {
            evbuffer_add_buffer(to, from);
            return;
        }
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        while left > 0 {
            match usize::try_from(evbuffer_remove_buffer(from, to, left)) {
                Ok(moved @ 1..) => left -= moved,
                _ => return,
            }
        }
    }
}

unsafe fn drain(buffer: *mut evbuffer) {
    // SAFETY: the caller's buffer is live.
    unsafe {
        let len = evbuffer_get_length(buffer);
        if len > 0 {
            evbuffer_drain(buffer, len);
        }
    }
}

/// What is no code of HTTP's cannot be sent.
fn code_of(code: c_int) -> u16 {
    u16::try_from(code)
        .ok()
        .filter(|code| (100..1000).contains(code))
        .unwrap_or(500)
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
