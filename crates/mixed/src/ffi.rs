//! The functions of libevent that this crate calls, and no others, with the types that they have in its headers.
//! `conformance/tests/mixed.rs` has a C compiler compare each line with those.

use std::marker::PhantomData;

use libc::{c_char, c_int, c_short, c_void, sockaddr, timeval};

macro_rules! opaque {
    ($($(#[$doc:meta])* $visible:vis $name:ident;)*) => {$(
        $(#[$doc])*
        #[allow(non_camel_case_types, reason = "that is what C programs call it")]
        #[repr(C)]
        #[derive(Debug)]
        $visible struct $name {
            _content: [u8; 0],
            /// Neither `Send` nor `Sync`, and not to be moved.
            _thread: PhantomData<(*mut u8, std::marker::PhantomPinned)>,
        }
    )*};
}

opaque! {
    /// libevent's `struct event_base`.
    pub event_base;
    /// libevent's `struct event`.
    pub event;
    /// libevent's `struct bufferevent`.
    pub bufferevent;
    /// libevent's `struct evbuffer`.
    pub evbuffer;
    /// libevent's `struct evconnlistener`.
    pub evconnlistener;
    /// libevent's `struct evhttp_request`.
    pub evhttp_request;
    /// libevent's `struct evkeyvalq`.
    pub(crate) evkeyvalq;
}

#[allow(non_camel_case_types, reason = "that is what libevent calls it")]
pub(crate) type event_callback_fn = unsafe extern "C" fn(c_int, c_short, *mut c_void);
#[allow(non_camel_case_types, reason = "that is what libevent calls it")]
pub(crate) type bufferevent_data_cb = Option<unsafe extern "C" fn(*mut bufferevent, *mut c_void)>;
#[allow(non_camel_case_types, reason = "that is what libevent calls it")]
pub(crate) type bufferevent_event_cb =
    Option<unsafe extern "C" fn(*mut bufferevent, c_short, *mut c_void)>;
#[allow(non_camel_case_types, reason = "that is what libevent calls it")]
pub(crate) type evconnlistener_cb =
    Option<unsafe extern "C" fn(*mut evconnlistener, c_int, *mut sockaddr, c_int, *mut c_void)>;
#[allow(non_camel_case_types, reason = "that is what libevent calls it")]
pub(crate) type evconnlistener_errorcb =
    Option<unsafe extern "C" fn(*mut evconnlistener, *mut c_void)>;

/// `struct evbuffer_ptr`.
#[allow(non_camel_case_types, reason = "that is what libevent calls it")]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct evbuffer_ptr {
    pub(crate) pos: isize,
    pub(crate) chain: *mut c_void,
    pub(crate) pos_in_chain: usize,
}

/// `struct evbuffer_iovec`, which is a `struct iovec`.
#[allow(non_camel_case_types, reason = "that is what libevent calls it")]
pub(crate) type evbuffer_iovec = libc::iovec;

pub(crate) const BEV_OPT_CLOSE_ON_FREE: c_int = 1;
pub(crate) const BEV_OPT_DEFER_CALLBACKS: c_int = 4;
pub(crate) const BEV_TRIG_DEFER_CALLBACKS: c_int = 4;
pub(crate) const BEV_TRIG_IGNORE_WATERMARKS: c_int = 1 << 16;
pub(crate) const LEV_OPT_CLOSE_ON_FREE: libc::c_uint = 2;
pub(crate) const LEV_OPT_CLOSE_ON_EXEC: libc::c_uint = 4;

// One line for each, in the order of the headers: the test reads them.
#[rustfmt::skip]
unsafe extern "C" {
    // event2/event.h
    pub(crate) fn event_base_new() -> *mut event_base;
    pub(crate) fn event_base_free(base: *mut event_base);
    pub(crate) fn event_base_loop(base: *mut event_base, flags: c_int) -> c_int;
    pub(crate) fn event_base_loopexit(base: *mut event_base, tv: *const timeval) -> c_int;
    pub(crate) fn event_base_loopbreak(base: *mut event_base) -> c_int;
    pub(crate) fn event_base_loopcontinue(base: *mut event_base) -> c_int;
    pub(crate) fn event_base_got_exit(base: *mut event_base) -> c_int;
    pub(crate) fn event_base_got_break(base: *mut event_base) -> c_int;
    pub(crate) fn event_base_get_method(base: *const event_base) -> *const c_char;
    pub(crate) fn event_base_get_npriorities(base: *mut event_base) -> c_int;
    pub(crate) fn event_reinit(base: *mut event_base) -> c_int;
    pub(crate) fn event_new(base: *mut event_base, fd: c_int, what: c_short, call: event_callback_fn, arg: *mut c_void) -> *mut event;
    pub(crate) fn event_assign(ev: *mut event, base: *mut event_base, fd: c_int, what: c_short, call: event_callback_fn, arg: *mut c_void) -> c_int;
    pub(crate) fn event_free(ev: *mut event);
    pub(crate) fn event_add(ev: *mut event, timeout: *const timeval) -> c_int;
    pub(crate) fn event_del(ev: *mut event) -> c_int;
    pub(crate) fn event_remove_timer(ev: *mut event) -> c_int;
    pub(crate) fn event_active(ev: *mut event, what: c_int, calls: c_short);
    pub(crate) fn event_pending(ev: *const event, what: c_short, tv: *mut timeval) -> c_int;
    pub(crate) fn event_priority_set(ev: *mut event, priority: c_int) -> c_int;
    pub(crate) fn event_get_priority(ev: *const event) -> c_int;
    pub(crate) fn event_get_events(ev: *const event) -> c_short;
    // event2/buffer.h
    pub(crate) fn evbuffer_new() -> *mut evbuffer;
    pub(crate) fn evbuffer_free(buf: *mut evbuffer);
    pub(crate) fn evbuffer_get_length(buf: *const evbuffer) -> usize;
    pub(crate) fn evbuffer_add(buf: *mut evbuffer, data: *const c_void, len: usize) -> c_int;
    pub(crate) fn evbuffer_prepend(buf: *mut evbuffer, data: *const c_void, len: usize) -> c_int;
    pub(crate) fn evbuffer_add_buffer(to: *mut evbuffer, from: *mut evbuffer) -> c_int;
    pub(crate) fn evbuffer_prepend_buffer(to: *mut evbuffer, from: *mut evbuffer) -> c_int;
    pub(crate) fn evbuffer_remove_buffer(from: *mut evbuffer, to: *mut evbuffer, len: usize) -> c_int;
    pub(crate) fn evbuffer_drain(buf: *mut evbuffer, len: usize) -> c_int;
    pub(crate) fn evbuffer_remove(buf: *mut evbuffer, data: *mut c_void, len: usize) -> c_int;
    pub(crate) fn evbuffer_copyout_from(buf: *mut evbuffer, pos: *const evbuffer_ptr, data: *mut c_void, len: usize) -> isize;
    pub(crate) fn evbuffer_pullup(buf: *mut evbuffer, len: isize) -> *mut u8;
    pub(crate) fn evbuffer_ptr_set(buf: *mut evbuffer, ptr: *mut evbuffer_ptr, position: usize, how: libc::c_uint) -> c_int;
    pub(crate) fn evbuffer_search_range(buf: *mut evbuffer, what: *const c_char, len: usize, start: *const evbuffer_ptr, end: *const evbuffer_ptr) -> evbuffer_ptr;
    pub(crate) fn evbuffer_search_eol(buf: *mut evbuffer, start: *mut evbuffer_ptr, len: *mut usize, style: libc::c_uint) -> evbuffer_ptr;
    pub(crate) fn evbuffer_peek(buf: *mut evbuffer, len: isize, start: *mut evbuffer_ptr, vec: *mut evbuffer_iovec, n: c_int) -> c_int;
    // event2/bufferevent.h
    pub(crate) fn bufferevent_socket_new(base: *mut event_base, fd: c_int, options: c_int) -> *mut bufferevent;
    pub(crate) fn bufferevent_socket_connect(bev: *mut bufferevent, address: *const sockaddr, len: c_int) -> c_int;
    pub(crate) fn bufferevent_pair_new(base: *mut event_base, options: c_int, pair: *mut *mut bufferevent) -> c_int;
    pub(crate) fn bufferevent_pair_get_partner(bev: *mut bufferevent) -> *mut bufferevent;
    pub(crate) fn bufferevent_free(bev: *mut bufferevent);
    pub(crate) fn bufferevent_incref(bev: *mut bufferevent);
    pub(crate) fn bufferevent_decref(bev: *mut bufferevent) -> c_int;
    pub(crate) fn bufferevent_lock(bev: *mut bufferevent);
    pub(crate) fn bufferevent_unlock(bev: *mut bufferevent);
    pub(crate) fn bufferevent_setcb(bev: *mut bufferevent, read: bufferevent_data_cb, write: bufferevent_data_cb, event: bufferevent_event_cb, arg: *mut c_void);
    pub(crate) fn bufferevent_getcb(bev: *mut bufferevent, read: *mut bufferevent_data_cb, write: *mut bufferevent_data_cb, event: *mut bufferevent_event_cb, arg: *mut *mut c_void);
    pub(crate) fn bufferevent_get_base(bev: *mut bufferevent) -> *mut event_base;
    pub(crate) fn bufferevent_getfd(bev: *mut bufferevent) -> c_int;
    pub(crate) fn bufferevent_setfd(bev: *mut bufferevent, fd: c_int) -> c_int;
    pub(crate) fn bufferevent_get_input(bev: *mut bufferevent) -> *mut evbuffer;
    pub(crate) fn bufferevent_get_output(bev: *mut bufferevent) -> *mut evbuffer;
    pub(crate) fn bufferevent_enable(bev: *mut bufferevent, what: c_short) -> c_int;
    pub(crate) fn bufferevent_disable(bev: *mut bufferevent, what: c_short) -> c_int;
    pub(crate) fn bufferevent_get_enabled(bev: *mut bufferevent) -> c_short;
    pub(crate) fn bufferevent_set_timeouts(bev: *mut bufferevent, read: *const timeval, write: *const timeval) -> c_int;
    pub(crate) fn bufferevent_setwatermark(bev: *mut bufferevent, what: c_short, low: usize, high: usize);
    pub(crate) fn bufferevent_getwatermark(bev: *mut bufferevent, what: c_short, low: *mut usize, high: *mut usize) -> c_int;
    pub(crate) fn bufferevent_priority_set(bev: *mut bufferevent, priority: c_int) -> c_int;
    pub(crate) fn bufferevent_get_priority(bev: *const bufferevent) -> c_int;
    pub(crate) fn bufferevent_set_max_single_read(bev: *mut bufferevent, size: usize) -> c_int;
    pub(crate) fn bufferevent_set_max_single_write(bev: *mut bufferevent, size: usize) -> c_int;
    pub(crate) fn bufferevent_trigger(bev: *mut bufferevent, what: c_short, options: c_int);
    pub(crate) fn bufferevent_trigger_event(bev: *mut bufferevent, what: c_short, options: c_int);
    // event2/listener.h
    pub(crate) fn evconnlistener_new(base: *mut event_base, accept: evconnlistener_cb, arg: *mut c_void, flags: libc::c_uint, backlog: c_int, fd: c_int) -> *mut evconnlistener;
    pub(crate) fn evconnlistener_free(lev: *mut evconnlistener);
    pub(crate) fn evconnlistener_enable(lev: *mut evconnlistener) -> c_int;
    pub(crate) fn evconnlistener_disable(lev: *mut evconnlistener) -> c_int;
    pub(crate) fn evconnlistener_get_base(lev: *mut evconnlistener) -> *mut event_base;
    pub(crate) fn evconnlistener_get_fd(lev: *mut evconnlistener) -> c_int;
    pub(crate) fn evconnlistener_set_cb(lev: *mut evconnlistener, accept: evconnlistener_cb, arg: *mut c_void);
    pub(crate) fn evconnlistener_set_error_cb(lev: *mut evconnlistener, failed: evconnlistener_errorcb);
    // event2/http.h
    pub(crate) fn evhttp_request_get_uri(req: *const evhttp_request) -> *const c_char;
    pub(crate) fn evhttp_request_get_command(req: *const evhttp_request) -> libc::c_uint;
    pub(crate) fn evhttp_request_get_input_headers(req: *mut evhttp_request) -> *mut evkeyvalq;
    pub(crate) fn evhttp_request_get_output_headers(req: *mut evhttp_request) -> *mut evkeyvalq;
    pub(crate) fn evhttp_request_get_input_buffer(req: *mut evhttp_request) -> *mut evbuffer;
    pub(crate) fn evhttp_find_header(headers: *const evkeyvalq, name: *const c_char) -> *const c_char;
    pub(crate) fn evhttp_add_header(headers: *mut evkeyvalq, name: *const c_char, value: *const c_char) -> c_int;
    pub(crate) fn evhttp_send_reply(req: *mut evhttp_request, code: c_int, reason: *const c_char, body: *mut evbuffer);
    pub(crate) fn evhttp_send_error(req: *mut evhttp_request, code: c_int, reason: *const c_char);
}
