//! Clients.
//!
//! * this file: what a client's connection is, and its settings;
//! * `dial`: connecting, trying again, and what follows the end of a connection;
//! * `ask`: the queue of requests, and what becomes of each;
//! * `answer`: reading answers.
//!
//! Any callback may free the connection or a request. Whoever has called the program looks at the holds of both before
//! anything else.

mod answer;
mod ask;
mod dial;

pub use ask::*;
pub(super) use ask::{abandon, end};
pub(super) use dial::set_timeout;

use std::collections::VecDeque;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

use ferrevent_http::client::Connection;
use libc::{sockaddr_storage, socklen_t, timeval};

use super::bytes;
use super::connection::{self, Role, evhttp_connection};
use crate::abi::{bufferevent, event, evhttp_request};
use crate::base::event_base;
use crate::bufferevent::{bufferevent_base_set, bufferevent_socket_new};
use crate::dns::evdns_base;

/// How long the first try after a failed one waits, unless the program says something else.
const FIRST_RETRY: timeval = timeval {
    tv_sec: 2,
    tv_usec: 0,
};

/// The client's side of a connection.
pub(in crate::http) struct Client {
    pub(in crate::http) protocol: Connection,
    phase: Phase,
    /// The first one is being answered, or connected for.
    requests: VecDeque<*mut evhttp_request>,
    /// Those that are being told that there is no connection.
    failing: VecDeque<*mut evhttp_request>,
    dns: *mut evdns_base,
    family: c_int,
    local_address: Option<CString>,
    local_port: u16,
    /// Where the last connection went.
    reached: Option<(sockaddr_storage, socklen_t)>,
    retries: Retries,
    /// Assigned whenever it is needed.
    timer: event,
    /// The request could not be sent to its end.
    cut: bool,
    /// Memory for the heads of requests.
    head: Vec<u8>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none.
    Apart,
    /// Connecting has failed, and is tried again when the timer comes.
    Waiting,
    /// Connecting could not begin, which is told when the timer comes.
    Refused,
    Connecting,
    /// Connected, with nothing to be done.
    Idle,
    /// The request is being written.
    Sending,
    /// It is written.
    Reading,
    /// It cannot be written, which is told when the timer comes.
    Unsendable,
    /// All of the answer is there, and the program is told; then the connection ends.
    Ending,
}

impl Phase {
    fn is_connected(self) -> bool {
        match self {
            Self::Apart | Self::Waiting | Self::Refused | Self::Connecting => false,
            Self::Idle | Self::Sending | Self::Reading | Self::Unsendable | Self::Ending => true,
        }
    }
}

/// Trying again.
#[derive(Clone, Copy)]
struct Retries {
    /// How often, at most; negative for no limit.
    most: c_int,
    made: u32,
    /// Each wait is twice as long as the one before.
    first: timeval,
}

impl Client {
    pub(super) fn is_connected(&self) -> bool {
        self.phase.is_connected()
    }
}

/// The client's side of `evcon`, for a moment; `None` for a server's connection.
///
/// # Safety
/// `evcon` is live or held; no other such reference is used while this one is.
unsafe fn side<'a>(evcon: *mut evhttp_connection) -> Option<&'a mut Client> {
    // SAFETY: by this function's contract.
    match unsafe { &mut (*evcon).role } {
        Role::Client(client) => Some(client),
        Role::Server(_) => None,
    }
}

/// The same of a connection that is known to be a client's.
///
/// # Safety
/// As for [`side`].
unsafe fn client<'a>(evcon: *mut evhttp_connection) -> &'a mut Client {
    // SAFETY: by this function's contract.
    unsafe { side(evcon).unwrap_or_else(|| unreachable!("a client's connection stays one")) }
}

/// Whether it has no requests.
///
/// # Safety
/// `evcon` is live.
pub(crate) unsafe fn is_free(evcon: *mut evhttp_connection) -> bool {
    // SAFETY: by this function's contract.
    unsafe { side(evcon) }.is_some_and(|client| client.requests.is_empty())
}

/// `evhttp_connection_base_new`
///
/// # Safety
/// As [`evhttp_connection_base_bufferevent_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_base_new(
    base: *mut event_base,
    dns: *mut evdns_base,
    address: *const c_char,
    port: u16,
) -> *mut evhttp_connection {
    // SAFETY: by this function's contract.
    unsafe { evhttp_connection_base_bufferevent_new(base, dns, ptr::null_mut(), address, port) }
}

/// `evhttp_connection_base_bufferevent_new`: connects when there is a request. Without `bev` over a socket of its own,
/// without `dns` with the system's resolver, which blocks. NULL without an address; `bev` stays the caller's then.
///
/// # Safety
/// The C API's contract: `base` and `dns` are NULL or live, and outlive the connection; `bev` is NULL or live, and the
/// connection's from now on; `address` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_base_bufferevent_new(
    base: *mut event_base,
    dns: *mut evdns_base,
    bev: *mut bufferevent,
    address: *const c_char,
    port: u16,
) -> *mut evhttp_connection {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(address) = bytes(address).and_then(|address| CString::new(address).ok()) else {
            return ptr::null_mut();
        };
        let bev = match bev.is_null() {
            true => bufferevent_socket_new(base, -1, 0),
            false => {
                // What is no socket has the base of what it stands on.
                if !base.is_null() {
                    bufferevent_base_set(base, bev);
                }
                bev
            }
        };
        if bev.is_null() {
            return ptr::null_mut();
        }
        let client = Client {
            protocol: Connection::new(),
            phase: Phase::Apart,
            requests: VecDeque::new(),
            failing: VecDeque::new(),
            dns,
            family: libc::AF_UNSPEC,
            local_address: None,
            local_port: 0,
            reached: None,
            retries: Retries {
                most: 0,
                made: 0,
                first: FIRST_RETRY,
            },
            // An event of zeros is valid, and assigned before it is used.
            timer: std::mem::zeroed(),
            cut: false,
            head: Vec::new(),
        };
        connection::new(base, bev, (address, port), Role::Client(Box::new(client)))
    }
}

/// `evhttp_connection_new`: in the base of `event_init`.
///
/// # Safety
/// The C API's contract: `address` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_new(
    address: *const c_char,
    port: u16,
) -> *mut evhttp_connection {
    // SAFETY: by this function's contract.
    unsafe { evhttp_connection_base_new(ptr::null_mut(), ptr::null_mut(), address, port) }
}

/// `evhttp_connection_set_base`: of a connection that has not been used yet.
///
/// # Safety
/// The C API's contract: both are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_base(
    evcon: *mut evhttp_connection,
    base: *mut event_base,
) {
    // SAFETY: by this function's contract.
    unsafe {
        (*evcon).base = base;
        bufferevent_base_set(base, (*evcon).bev);
    }
}

/// `evhttp_connection_set_family`: which addresses of the host's count: `AF_UNSPEC`, `AF_INET` or `AF_INET6`.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_family(
    evcon: *mut evhttp_connection,
    family: c_int,
) {
    // SAFETY: by this function's contract.
    if let Some(client) = unsafe { side(evcon) } {
        client.family = family;
    }
}

/// `evhttp_connection_set_local_address`: from which address to connect; NULL for any.
///
/// # Safety
/// The C API's contract: `evcon` is live, `address` NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_local_address(
    evcon: *mut evhttp_connection,
    address: *const c_char,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let address = bytes(address).and_then(|address| CString::new(address).ok());
        if let Some(client) = side(evcon) {
            client.local_address = address;
        }
    }
}

/// `evhttp_connection_set_local_port`: from which port to connect; 0 for any.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_local_port(
    evcon: *mut evhttp_connection,
    port: u16,
) {
    // SAFETY: by this function's contract.
    if let Some(client) = unsafe { side(evcon) } {
        client.local_port = port;
    }
}

/// `evhttp_connection_set_initial_retry_tv`: how long the first try after a failed one waits; NULL for two seconds.
///
/// # Safety
/// The C API's contract: `evcon` is live, `wait` NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_initial_retry_tv(
    evcon: *mut evhttp_connection,
    wait: *const timeval,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let wait = wait.as_ref().copied().unwrap_or(FIRST_RETRY);
        if let Some(client) = side(evcon) {
            client.retries.first = wait;
        }
    }
}

/// `evhttp_connection_set_retries`: how often connecting is tried again; negative for no limit.
///
/// # Safety
/// The C API's contract: `evcon` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_connection_set_retries(
    evcon: *mut evhttp_connection,
    retry_max: c_int,
) {
    // SAFETY: by this function's contract.
    if let Some(client) = unsafe { side(evcon) } {
        client.retries.most = retry_max;
    }
}
