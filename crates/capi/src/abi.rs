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
