//! The structs that libevent's headers show, laid out as on Debian 12, x86-64 and aarch64.
//!
//! Programs read and write some of these fields, and embed `struct event` in structs of their own, so that every offset
//! is fixed. `const` assertions at the end hold each of them.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{c_char, c_int, c_short, c_void};
use std::sync::atomic::AtomicU8;

use ferrevent_core::{Clock, Options, Slot};
use libc::{ssize_t, timeval};

pub use libc::iovec as evbuffer_iovec;

use crate::base::event_base;
use crate::buffer::evbuffer;
use crate::http::connection::evhttp_connection;
use crate::http::uri::evhttp_uri;

/// `evutil_socket_t`
pub type evutil_socket_t = c_int;

/// `event_callback_fn`
pub type event_callback_fn = Option<unsafe extern "C" fn(evutil_socket_t, c_short, *mut c_void)>;

/// `bufferevent_data_cb`
pub type bufferevent_data_cb = Option<unsafe extern "C" fn(*mut bufferevent, *mut c_void)>;

/// `bufferevent_event_cb`
pub type bufferevent_event_cb =
    Option<unsafe extern "C" fn(*mut bufferevent, c_short, *mut c_void)>;

/// `struct event_callback`: the head of [`event`].
#[repr(C)]
pub struct event_callback {
    /// Where libevent links active events. Here: the event's key in its base, 0 while it is neither pending nor active.
    pub key: u64,
    /// The second half of that link. Here: what this memory is (see `event::Mark`).
    pub mark: u64,
    /// `EVLIST_*`
    pub evcb_flags: c_short,
    /// Smaller numbers run first.
    pub evcb_pri: u8,
    /// Which finalizer it has.
    pub evcb_closure: u8,
    /// In a gap: the number of the event's place in the blocks of its first base, or 0.
    pub place: u32,
    /// What to call.
    pub evcb_callback: event_callback_fn,
    /// Its argument.
    pub evcb_arg: *mut c_void,
}

/// `struct event`: allocated by the caller or by `event_new`.
#[repr(C)]
pub struct event {
    /// What to call.
    pub ev_evcallback: event_callback,
    /// Where libevent has the event's place in the heap (`ev_timeout_pos`). Here, and only of an event in a block: the
    /// core's own.
    pub slot: Slot,
    /// The descriptor or the signal.
    pub ev_fd: evutil_socket_t,
    /// Its base.
    pub ev_base: *mut event_base,
    /// Where libevent has its links (`ev_`). Here, and only of an event in a block: the core's own.
    pub clock: Clock,
    /// Here, and only of an event in a block that was freed where its base could not be touched: the next one of those.
    pub next_returned: *mut event,
    /// What it waits for.
    pub ev_events: c_short,
    /// What has happened.
    pub ev_res: c_short,
    /// When its timeout passes.
    pub ev_timeout: timeval,
}

/// `struct event_watermark`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct event_watermark {
    /// Bytes.
    pub low: usize,
    /// Bytes.
    pub high: usize,
}

/// `struct bufferevent`: the head of what `bufferevent_socket_new` returns.
#[repr(C)]
pub struct bufferevent {
    /// Its base.
    pub ev_base: *mut event_base,
    /// Which kind it is (`const struct bufferevent_ops *`).
    pub be_ops: *const c_void,
    /// For programs that ask for its descriptor.
    pub ev_read: event,
    /// For programs that ask for its descriptor.
    pub ev_write: event,
    /// What has come.
    pub input: *mut evbuffer,
    /// What is to go.
    pub output: *mut evbuffer,
    /// Mirrors the core's.
    pub wm_read: event_watermark,
    /// Mirrors the core's.
    pub wm_write: event_watermark,
    /// Read when it is about to be called: programs write to it.
    pub readcb: bufferevent_data_cb,
    /// Read when it is about to be called: programs write to it.
    pub writecb: bufferevent_data_cb,
    /// Read when it is about to be called: programs write to it.
    pub errorcb: bufferevent_event_cb,
    /// The argument of all three.
    pub cbarg: *mut c_void,
    /// Mirrors the core's.
    pub timeout_read: timeval,
    /// Mirrors the core's.
    pub timeout_write: timeval,
    /// Mirrors the core's.
    pub enabled: c_short,
    /// The library's own, where the header leaves a gap: what it was made with.
    pub(crate) options: Options,
    /// How many of the three (the bufferevent and its buffers, which deferred callbacks may keep) need this memory.
    pub(crate) in_use: AtomicU8,
}

/// `struct evbuffer_ptr`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct evbuffer_ptr {
    /// Bytes from the front, or -1.
    pub pos: ssize_t,
    /// Unused here.
    pub internal: [usize; 2],
}

/// `struct evbuffer_cb_info`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct evbuffer_cb_info {
    /// Bytes before the change.
    pub orig_size: usize,
    /// Bytes added since the callbacks ran last.
    pub n_added: usize,
    /// Bytes removed since the callbacks ran last.
    pub n_deleted: usize,
}

/// `evbuffer_cb_func`
pub type evbuffer_cb_func =
    Option<unsafe extern "C" fn(*mut evbuffer, *const evbuffer_cb_info, *mut c_void)>;

/// `struct evkeyval`: a header, or a part of a query.
#[repr(C)]
pub struct evkeyval {
    /// Its place in the list.
    pub next: evkeyval_entry,
    /// A string.
    pub key: *mut c_char,
    /// A string.
    pub value: *mut c_char,
}

/// `TAILQ_ENTRY(evkeyval)`
#[repr(C)]
pub struct evkeyval_entry {
    /// The next one, or NULL.
    pub tqe_next: *mut evkeyval,
    /// What points to this one: the `tqe_next` of the one before, or the head's `tqh_first`.
    pub tqe_prev: *mut *mut evkeyval,
}

/// `struct evkeyvalq`: a list of those. Allocated and walked by the program.
#[repr(C)]
pub struct evkeyvalq {
    /// The first one, or NULL.
    pub tqh_first: *mut evkeyval,
    /// Where the next one is to be linked: the `tqe_next` of the last one, or `tqh_first`.
    pub tqh_last: *mut *mut evkeyval,
}

/// What is called with a request.
pub type evhttp_request_cb = Option<unsafe extern "C" fn(*mut evhttp_request, *mut c_void)>;

/// What is called with the number of an error (`enum evhttp_request_error`).
pub type evhttp_error_cb = Option<unsafe extern "C" fn(c_int, *mut c_void)>;

/// `struct evhttp_request`: the head of what `evhttp_request_new` returns.
#[repr(C)]
pub struct evhttp_request {
    /// Where libevent links the requests of a connection. Here: nothing.
    pub next: [usize; 2],
    /// Its connection, NULL without one.
    pub evcon: *mut evhttp_connection,
    /// `EVHTTP_REQ_...`
    pub flags: c_int,
    /// What has come.
    pub input_headers: *mut evkeyvalq,
    /// What is to go.
    pub output_headers: *mut evkeyvalq,
    /// A string, or NULL.
    pub remote_host: *mut c_char,
    /// In the host's order of bytes.
    pub remote_port: u16,
    /// What `evhttp_request_get_host` gave, or NULL.
    pub host_cache: *mut c_char,
    /// `enum evhttp_request_kind`
    pub kind: c_int,
    /// `enum evhttp_cmd_type`
    pub type_: c_int,
    /// Bytes of the head that was read, without the ends of its lines.
    pub headers_size: usize,
    /// Bytes of the body that have been read.
    pub body_size: usize,
    /// A string, or NULL.
    pub uri: *mut c_char,
    /// That string in parts, or NULL.
    pub uri_elems: *mut evhttp_uri,
    /// HTTP's version.
    pub major: c_char,
    /// HTTP's version.
    pub minor: c_char,
    /// Of the answer.
    pub response_code: c_int,
    /// Of the answer: a string, or NULL.
    pub response_code_line: *mut c_char,
    /// The body that has come.
    pub input_buffer: *mut evbuffer,
    /// Bytes of the body that are still to come.
    pub ntoread: i64,
    /// `chunked`, `userdone`: bits 0 and 1.
    pub bits: u32,
    /// The body that is to go.
    pub output_buffer: *mut evbuffer,
    /// What is called once the answer is there.
    pub cb: evhttp_request_cb,
    /// Its argument, and that of the next three.
    pub cb_arg: *mut c_void,
    /// What is called with each part of the body.
    pub chunk_cb: evhttp_request_cb,
    /// What is called once the head has been read.
    pub header_cb: Option<unsafe extern "C" fn(*mut evhttp_request, *mut c_void) -> c_int>,
    /// What is called at an error.
    pub error_cb: evhttp_error_cb,
    /// What is called once the reply has been written.
    pub on_complete_cb: evhttp_request_cb,
    /// Its argument.
    pub on_complete_cb_arg: *mut c_void,
}

/// `event_log_cb`
pub type event_log_cb = Option<unsafe extern "C" fn(c_int, *const c_char)>;

/// `event_fatal_cb`
pub type event_fatal_cb = Option<unsafe extern "C" fn(c_int)>;

macro_rules! assert_layout {
    ($type:ty, $size:literal $(, $($field:ident).+ = $offset:literal)*) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(std::mem::offset_of!($type, $($field).+) == $offset);)*
        };
    };
}

assert_layout!(
    event_callback,
    40,
    evcb_flags = 16,
    evcb_pri = 18,
    evcb_closure = 19,
    evcb_callback = 24,
    evcb_arg = 32
);
assert_layout!(
    event,
    128,
    ev_evcallback = 0,
    slot = 40,
    ev_fd = 56,
    ev_base = 64,
    clock = 72,
    ev_events = 104,
    ev_res = 106,
    ev_timeout = 112
);
assert_layout!(event_watermark, 16, low = 0, high = 8);
assert_layout!(
    bufferevent,
    392,
    ev_base = 0,
    be_ops = 8,
    ev_read = 16,
    ev_write = 144,
    input = 272,
    output = 280,
    wm_read = 288,
    wm_write = 304,
    readcb = 320,
    writecb = 328,
    errorcb = 336,
    cbarg = 344,
    timeout_read = 352,
    timeout_write = 368,
    enabled = 384
);
assert_layout!(evbuffer_ptr, 24, pos = 0, internal = 8);
assert_layout!(evbuffer_iovec, 16, iov_base = 0, iov_len = 8);
assert_layout!(
    evbuffer_cb_info,
    24,
    orig_size = 0,
    n_added = 8,
    n_deleted = 16
);
assert_layout!(evkeyval_entry, 16, tqe_next = 0, tqe_prev = 8);
assert_layout!(evkeyval, 32, next = 0, key = 16, value = 24);
assert_layout!(evkeyvalq, 16, tqh_first = 0, tqh_last = 8);
assert_layout!(
    evhttp_request,
    216,
    next = 0,
    evcon = 16,
    flags = 24,
    input_headers = 32,
    output_headers = 40,
    remote_host = 48,
    remote_port = 56,
    host_cache = 64,
    kind = 72,
    type_ = 76,
    headers_size = 80,
    body_size = 88,
    uri = 96,
    uri_elems = 104,
    major = 112,
    minor = 113,
    response_code = 116,
    response_code_line = 120,
    input_buffer = 128,
    ntoread = 136,
    bits = 144,
    output_buffer = 152,
    cb = 160,
    cb_arg = 168,
    chunk_cb = 176,
    header_cb = 184,
    error_cb = 192,
    on_complete_cb = 200,
    on_complete_cb_arg = 208
);
