//! Clients of a server port that come by TCP.
//!
//! A client belongs to its port, and the port's lock guards it. It lives until its connection has ended and its last
//! request has been answered or dropped.

use std::ffi::{c_int, c_short, c_void};
use std::io::{self, ErrorKind};
use std::os::fd::IntoRawFd;
use std::ptr;

use ferrevent_core::driver::Fd;
use ferrevent_dns::Frames;
use ferrevent_dns::server::Request;
use ferrevent_sys::{Address, Mode};
use libc::timeval;

use super::port::{self, evdns_server_port};
use super::request::{self, Peer, evdns_server_request};
use crate::abi::event;
use crate::base::event_base;
use crate::debug;
use crate::event::{event_add, event_assign, event_del_noblock};
use crate::finalize::event_finalize;
use crate::lock::{self, Lock};

pub(super) struct Client {
    event: event,
    lock: Option<Lock>,
    port: *mut evdns_server_port,
    address: Address,
    frames: Frames,
    out: Vec<u8>,
    /// The connection's, one for each request, one while callbacks run.
    references: usize,
    gone: bool,
}

/// Clients that a port has at once; more are turned away.
const MAX_CLIENTS: usize = 256;

/// Replies that a client has not read; one that reads nothing is left.
const MAX_UNREAD: usize = 1 << 20;

/// What is read at once.
const PIECE: usize = 4096;

/// How long a connection may be idle.
const IDLE: timeval = timeval {
    tv_sec: 30,
    tv_usec: 0,
};

const TIMEOUT: c_short = 0x01;
const READ: c_short = 0x02;
const WRITE: c_short = 0x04;
const PERSIST: c_short = 0x10;

/// Takes the connections that wait, up to `most`.
///
/// # Safety
/// `port` is live, its lock held; `fd` is its listening socket.
pub(super) unsafe fn accept(port: *mut evdns_server_port, fd: Fd, most: usize) {
    for _ in 0..most {
        let Ok((socket, address)) = ferrevent_sys::accept(fd, Mode::default()) else {
            return;
        };
        // SAFETY: by this function's contract; an `event` of zeros is valid, and assigned before it is used.
        unsafe {
            if (*port).clients.len() >= MAX_CLIENTS {
                continue;
            }
            let client = Box::into_raw(Box::new(Client {
                event: std::mem::zeroed(),
                lock: (*port).lock.clone(),
                port,
                address,
                frames: Frames::default(),
                out: Vec::new(),
                references: 1,
                gone: false,
            }));
            (*port).clients.push(client);
            port::retain(port);
            let base = (*port).event.ev_base;
            watch(client, base, socket.into_raw_fd(), READ);
        }
    }
}

unsafe fn watch(client: *mut Client, base: *mut event_base, fd: Fd, events: c_short) {
    // SAFETY: the caller's client is live and locked.
    unsafe {
        let event = &raw mut (*client).event;
        event_assign(
            event,
            base,
            fd,
            events | PERSIST,
            Some(on_event),
            client.cast(),
        );
        event_add(event, &IDLE);
    }
}

unsafe fn rewatch(client: *mut Client, events: c_short) {
    // SAFETY: the caller's client is live and locked.
    unsafe {
        let event = &raw mut (*client).event;
        event_del_noblock(event);
        let (base, fd) = ((*event).ev_base, (*event).ev_fd);
        watch(client, base, fd, events);
    }
}

/// Ends the connection.
///
/// # Safety
/// `client` is live, its lock held by a clone that outlives it.
pub(super) unsafe fn end(client: *mut Client) {
    // SAFETY: by this function's contract.
    unsafe {
        if (*client).gone {
            return;
        }
        (*client).gone = true;
        event_del_noblock(&raw mut (*client).event);
        ferrevent_sys::close((*client).event.ev_fd);
        (*(*client).port)
            .clients
            .retain(|other| !ptr::eq(*other, client));
        release(client);
    }
}

/// Gives a reference back; the last one takes the client with it.
///
/// # Safety
/// As [`end`], and the reference is the caller's.
pub(super) unsafe fn release(client: *mut Client) {
    // SAFETY: by this function's contract. The memory goes as that of other watches does.
    unsafe {
        (*client).references -= 1;
        if (*client).references > 0 {
            return;
        }
        let port = (*client).port;
        let event = &raw mut (*client).event;
        let base = (*event).ev_base;
        if !event_base::is_shared(base) || event_finalize(0, event, Some(drop_client)) != 0 {
            debug::forget(event);
            drop(Box::from_raw(client));
        }
        port::release(port);
    }
}

unsafe extern "C" fn drop_client(_event: *mut event, arg: *mut c_void) {
    // SAFETY: a finalizer runs once, when nobody uses the client any more.
    let gone = unsafe { Box::from_raw(arg.cast::<Client>()) };
    // Whoever ended it has given the lock back; this shows it to thread checkers, which do not know of `Arc`.
    drop(lock::hold(&gone.lock));
}

/// Sends a reply, now or when there is room. 0, 1 if some of it waits, or -1.
///
/// # Safety
/// `client` is live, its lock held.
pub(super) unsafe fn send(client: *mut Client, message: &[u8]) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(bytes) = Frames::wrap(message) else {
            return -1;
        };
        if (*client).gone || (*client).out.len() > MAX_UNREAD {
            return -1;
        }
        let waited = !(*client).out.is_empty();
        (*client).out.extend(bytes);
        if waited {
            return 1;
        }
        let fd = (*client).event.ev_fd;
        if !flush(fd, &mut (*client).out) {
            end(client);
            return -1;
        }
        if (*client).out.is_empty() {
            return 0;
        }
        rewatch(client, READ | WRITE);
        1
    }
}

/// Sends what waits. False if the connection is of no use.
pub(super) fn flush(fd: Fd, out: &mut Vec<u8>) -> bool {
    while !out.is_empty() {
        // SAFETY: `out` is valid for reading as many bytes as it is long.
        let sent = unsafe { libc::send(fd, out.as_ptr().cast(), out.len(), libc::MSG_NOSIGNAL) };
        match usize::try_from(sent) {
            Ok(sent) => drop(out.drain(..sent)),
            Err(_) => match io::Error::last_os_error().kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => return true,
                _ => return false,
            },
        }
    }
    true
}

unsafe extern "C" fn on_event(fd: c_int, what: c_short, arg: *mut c_void) {
    let client: *mut Client = arg.cast();
    // SAFETY: the client is alive while its event's callback runs, see `release`; a reference keeps it over the
    // program's callbacks, which run without the lock.
    unsafe {
        let mut held = lock::hold(&(*client).lock);
        if (*client).gone {
            return;
        }
        (*client).references += 1;
        if what & TIMEOUT != 0 || (what & WRITE != 0 && !flush(fd, &mut (*client).out)) {
            end(client);
        } else if what & WRITE != 0 && (*client).out.is_empty() {
            rewatch(client, READ);
        }
        if what & READ != 0 && !(*client).gone && !read(client, fd) {
            end(client);
        }
        while !(*client).gone
            && let Some(message) = (*client).frames.pop()
        {
            let Some(request) = make(client, &message) else {
                end(client);
                break;
            };
            let port = (*client).port;
            let (callback, user) = ((*port).callback, (*port).arg);
            drop(held);
            match callback {
                Some(callback) => callback(request, user),
                None => drop(request::evdns_server_request_drop(request)),
            }
            held = lock::hold(&(*client).lock);
        }
        release(client);
        drop(held);
    }
}

/// Reads what has come. False if the connection has ended.
unsafe fn read(client: *mut Client, fd: Fd) -> bool {
    let mut bytes = [0; PIECE];
    match ferrevent_sys::receive_datagram(fd, &mut bytes) {
        Ok((0, _)) => false,
        Ok((len, _)) => {
            // SAFETY: the caller's client is live and locked. Whole messages are taken out each time, so that no more
            // than one of them waits.
            unsafe { (*client).frames.push(&bytes[..len]) };
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock),
    }
}

unsafe fn make(client: *mut Client, message: &[u8]) -> Option<*mut evdns_server_request> {
    let request = Request::parse(message)?;
    // SAFETY: the caller's client is live and locked; the request takes a reference of it and of the port.
    unsafe {
        let address = (*client).address;
        let peer = Peer::stream(client, address, request.stream_limit());
        let made = request::make((*client).port, peer, &request);
        if made.is_null() {
            return None;
        }
        (*client).references += 1;
        port::retain((*client).port);
        Some(made)
    }
}
