//! A port on which a program is a DNS server.
//!
//! It lives until it has been closed and its last request has been answered or dropped. Its events follow the rules of
//! `watch`: with threads on, their memory goes only from the loop.

use std::collections::VecDeque;
use std::ffi::{c_int, c_short, c_void};
use std::io::ErrorKind;
use std::ptr;

use ferrevent_dns::server::Request;
use ferrevent_sys::Address;

use super::request::{self, Peer, evdns_server_request};
use super::stream::{self, Client};
use crate::abi::{event, evutil_socket_t};
use crate::base::{current, event_base};
use crate::event::{event_add, event_assign, event_del_noblock};
use crate::finalize::event_finalize;
use crate::lock::{self, Held, Lock};
use crate::{debug, log};

/// `evdns_request_callback_fn_type`
pub type evdns_request_callback_fn_type =
    Option<unsafe extern "C" fn(*mut evdns_server_request, *mut c_void)>;

/// A server's port.
pub struct evdns_server_port {
    pub(super) event: event,
    pub(super) lock: Option<Lock>,
    pub(super) callback: evdns_request_callback_fn_type,
    pub(super) arg: *mut c_void,
    /// The program's, until it closes the port; one for each request and client; one while callbacks run.
    references: usize,
    closed: bool,
    /// The socket takes connections.
    is_stream: bool,
    pub(super) clients: Vec<*mut Client>,
    /// Replies that the socket had no room for, the oldest first.
    unsent: VecDeque<(Address, Vec<u8>)>,
    buffer: Box<[u8]>,
}

/// Requests that are taken at once.
const BATCH: usize = 16;

/// The longest datagram.
const LONGEST: usize = 65536;

/// Replies that wait for room; more are dropped, as the network would.
const MAX_UNSENT: usize = 1024;

const READ: c_short = 0x02;
const WRITE: c_short = 0x04;
const PERSIST: c_short = 0x10;

/// `evdns_add_server_port_with_base`: takes requests from a datagram socket, which the port owns from then on. NULL if
/// `flags` is not 0. A socket that listens for connections will do as well, and serves clients by TCP.
///
/// # Safety
/// `base` is NULL, for the current one, or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_add_server_port_with_base(
    base: *mut event_base,
    socket: evutil_socket_t,
    flags: c_int,
    callback: evdns_request_callback_fn_type,
    arg: *mut c_void,
) -> *mut evdns_server_port {
    let base = if base.is_null() { current() } else { base };
    if flags != 0 || base.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by this function's contract; an `event` of zeros is valid, and assigned before it is used.
    unsafe {
        let port = Box::into_raw(Box::new(evdns_server_port {
            event: std::mem::zeroed(),
            lock: Lock::new(),
            callback,
            arg,
            references: 1,
            closed: false,
            is_stream: ferrevent_sys::is_stream(socket).unwrap_or(false),
            clients: Vec::new(),
            unsent: VecDeque::new(),
            buffer: vec![0; LONGEST].into_boxed_slice(),
        }));
        watch(port, base, socket, READ);
        port
    }
}

/// `evdns_close_server_port`: requests that are still there may be answered.
///
/// # Safety
/// `port` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_close_server_port(port: *mut evdns_server_port) {
    if port.is_null() {
        return;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(port);
        (*port).closed = true;
        event_del_noblock(&raw mut (*port).event);
        while let Some(&client) = (*port).clients.last() {
            stream::end(client);
        }
        release(port);
    }
}

unsafe fn hold(port: *mut evdns_server_port) -> Held {
    // SAFETY: the caller's port is live; its lock is not replaced.
    lock::hold(unsafe { &(*port).lock })
}

/// Waits for these events from now on.
unsafe fn watch(
    port: *mut evdns_server_port,
    base: *mut event_base,
    fd: evutil_socket_t,
    events: c_short,
) {
    // SAFETY: the caller's port is live and locked, or new.
    unsafe {
        let event = &raw mut (*port).event;
        event_assign(
            event,
            base,
            fd,
            events | PERSIST,
            Some(on_event),
            port.cast(),
        );
        if fd >= 0 && event_add(event, ptr::null()) != 0 {
            log::warn("evdns: the server's socket cannot be watched");
        }
    }
}

/// Takes a reference.
///
/// # Safety
/// `port` is live, its lock held.
pub(super) unsafe fn retain(port: *mut evdns_server_port) {
    // SAFETY: by this function's contract.
    unsafe { (*port).references += 1 };
}

/// Gives a reference back; the last one takes the port and its socket with it.
///
/// # Safety
/// `port` is live, its lock held by a clone that outlives it, and the reference is the caller's.
pub(super) unsafe fn release(port: *mut evdns_server_port) {
    // SAFETY: by this function's contract.
    unsafe {
        (*port).references -= 1;
        if (*port).references > 0 {
            return;
        }
        let event = &raw mut (*port).event;
        let (base, fd) = ((*event).ev_base, (*event).ev_fd);
        if !event_base::is_shared(base) || event_finalize(0, event, Some(drop_port)) != 0 {
            event_del_noblock(event);
            debug::forget(event);
            drop(Box::from_raw(port));
        }
        if fd >= 0 {
            ferrevent_sys::close(fd);
        }
    }
}

unsafe extern "C" fn drop_port(_event: *mut event, arg: *mut c_void) {
    // SAFETY: a finalizer runs once, when nobody uses the port any more.
    let gone = unsafe { Box::from_raw(arg.cast::<evdns_server_port>()) };
    // Whoever ended it has given the lock back; this shows it to thread checkers, which do not know of `Arc`.
    drop(lock::hold(&gone.lock));
}

/// A request has been answered or dropped.
///
/// # Safety
/// `port` is live, `client` is NULL or live, and the request's references of them go.
pub(super) unsafe fn request_done(port: *mut evdns_server_port, client: *mut Client) {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(port);
        if !client.is_null() {
            stream::release(client);
        }
        release(port);
    }
}

/// Sends a reply on a connection. 0, 1 if some of it waits, or -1.
///
/// # Safety
/// `port` is live, and `client` one of its own.
pub(super) unsafe fn send_on(
    port: *mut evdns_server_port,
    client: *mut Client,
    bytes: &[u8],
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(port);
        stream::send(client, bytes)
    }
}

/// Sends a reply, now or when there is room. 0, 1 if it waits, or -1.
///
/// # Safety
/// `port` is live.
pub(super) unsafe fn send(port: *mut evdns_server_port, to: &Address, bytes: Vec<u8>) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(port);
        let fd = (*port).event.ev_fd;
        if (*port).unsent.is_empty() {
            match ferrevent_sys::send_datagram(fd, &bytes, Some(to)) {
                Ok(()) => return 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    log::warn(&format!("evdns: a reply cannot be sent: {error}"));
                    return -1;
                }
            }
        }
        if (*port).unsent.len() >= MAX_UNSENT || (*port).closed {
            return -1;
        }
        (*port).unsent.push_back((*to, bytes));
        rewatch(port, READ | WRITE);
        1
    }
}

unsafe fn rewatch(port: *mut evdns_server_port, events: c_short) {
    // SAFETY: the caller's port is live and locked.
    unsafe {
        let event = &raw mut (*port).event;
        event_del_noblock(event);
        let (base, fd) = ((*event).ev_base, (*event).ev_fd);
        watch(port, base, fd, events);
    }
}

unsafe extern "C" fn on_event(fd: c_int, what: c_short, arg: *mut c_void) {
    let port: *mut evdns_server_port = arg.cast();
    // SAFETY: the port is alive while its event's callback runs, see `release`; a reference keeps it over the program's
    // callbacks, which run without the lock.
    unsafe {
        let mut held = hold(port);
        if (*port).closed {
            return;
        }
        retain(port);
        if what & WRITE != 0 {
            send_waiting(port, fd);
        }
        if what & READ != 0 && (*port).is_stream {
            stream::accept(port, fd, BATCH);
        } else if what & READ != 0 {
            for _ in 0..BATCH {
                let Some(request) = receive(port, fd) else {
                    break;
                };
                let (callback, user) = ((*port).callback, (*port).arg);
                drop(held);
                match callback {
                    Some(callback) => callback(request, user),
                    None => drop(request::evdns_server_request_drop(request)),
                }
                held = hold(port);
                if (*port).closed {
                    break;
                }
            }
        }
        release(port);
        drop(held);
    }
}

unsafe fn send_waiting(port: *mut evdns_server_port, fd: c_int) {
    // SAFETY: the caller's port is live and locked.
    unsafe {
        while let Some((to, bytes)) = (*port).unsent.front() {
            match ferrevent_sys::send_datagram(fd, bytes, Some(to)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Nobody is left to hear of it: the request is gone.
                Ok(()) | Err(_) => drop((*port).unsent.pop_front()),
            }
        }
        rewatch(port, READ);
    }
}

/// The next request that makes sense; what does not is dropped.
unsafe fn receive(port: *mut evdns_server_port, fd: c_int) -> Option<*mut evdns_server_request> {
    // SAFETY: the caller's port is live and locked.
    unsafe {
        for _ in 0..BATCH {
            let buffer = &mut (*port).buffer;
            match ferrevent_sys::receive_datagram(fd, buffer) {
                Ok((len, from)) => {
                    let Some(request) = Request::parse(&buffer[..len]) else {
                        continue;
                    };
                    let limit = request.datagram_limit();
                    let made = request::make(port, Peer::datagram(from, limit), &request);
                    if made.is_null() {
                        return None;
                    }
                    retain(port);
                    return Some(made);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What else there is concerns replies that were sent before.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
        None
    }
}
