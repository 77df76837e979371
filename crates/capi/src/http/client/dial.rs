//! Connecting, trying again, and what follows the end of a connection.

use std::ffi::{CString, c_int, c_short, c_void};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::{ptr, slice};

use ferrevent_sys::{Address, Listen, Mode};
use libc::{addrinfo, sockaddr_storage, socklen_t, timeval};

use super::answer::{on_event, on_read, on_written};
use super::ask::{INVALID_HEADER, fail, finish_if_disowned, hand_over, send};
use super::{Client, Phase, client};
use crate::abi::{bufferevent, evutil_socket_t};
use crate::buffer::content::{evbuffer_drain, evbuffer_get_length};
use crate::bufferevent::{
    bufferevent_disable, bufferevent_enable, bufferevent_getfd, bufferevent_set_timeouts,
    bufferevent_setcb, bufferevent_setfd, bufferevent_socket_connect,
    bufferevent_socket_connect_hostname, forget_connecting,
};
use crate::debug;
use crate::event::{event_active, event_add, event_assign, event_del, event_initialized};
use crate::held::Hold;
use crate::http::connection::{REUSE_CONNECTED_ADDRESS, call_close_cb, evhttp_connection};
use crate::util::resolve::{evutil_freeaddrinfo, evutil_getaddrinfo};

pub(super) const EV_TIMEOUT: c_int = 1;
pub(super) const EV_READ: c_short = 2;
pub(super) const EV_WRITE: c_short = 4;

const EVENT_CONNECTED: c_short = 0x80;

/// How long connecting may take, unless the program says something else.
const CONNECT_TIMEOUT: timeval = timeval {
    tv_sec: 45,
    tv_usec: 0,
};
/// How long nothing may come, or go, unless the program says something else.
const TRANSFER_TIMEOUT: timeval = timeval {
    tv_sec: 50,
    tv_usec: 0,
};
/// The longest wait before connecting is tried again, in microseconds.
const LONGEST_WAIT: i64 = 3_600_000_000;

/// There is no such local address.
pub(super) struct NoSocket;

/// Begins to connect. What fails later, or is known at once to be hopeless, is told from the loop.
///
/// # Safety
/// `evcon` is live.
pub(super) unsafe fn connect(evcon: *mut evhttp_connection) -> Result<(), NoSocket> {
    // SAFETY: by this function's contract. No reference to the client's side is alive during the calls.
    unsafe {
        disconnect(evcon);
        let bev = (*evcon).bev;
        let mut family = client(evcon).family;
        if let Some((socket, its)) = bind_local(client(evcon))? {
            bufferevent_setfd(bev, socket.into_raw_fd());
            family = its;
        }
        client(evcon).phase = Phase::Connecting;
        bufferevent_setcb(bev, None, None, Some(on_dialed), evcon.cast());
        apply_timeouts(evcon);
        bufferevent_enable(bev, EV_WRITE);
        let reached = client(evcon).reached;
        let begun = match reached {
            Some((address, len)) if (*evcon).flags & REUSE_CONNECTED_ADDRESS != 0 => {
                bufferevent_socket_connect(bev, (&raw const address).cast(), len as c_int)
            }
            _ => {
                let (dns, host) = (client(evcon).dns, (*evcon).address.as_ptr());
                let port = c_int::from((*evcon).port);
                bufferevent_socket_connect_hostname(bev, dns, family, host, port)
            }
        };
        if begun < 0 {
            tell_later(evcon, Phase::Refused);
        }
        Ok(())
    }
}

/// The same where nobody can be told now that there is no socket.
unsafe fn connect_or_tell(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live.
    unsafe {
        if connect(evcon).is_err() {
            tell_later(evcon, Phase::Refused);
        }
    }
}

/// A socket that is bound to where connections are to come from, and its family; `None` if that does not matter.
fn bind_local(client: &Client) -> Result<Option<(OwnedFd, c_int)>, NoSocket> {
    if client.local_address.is_none() && client.local_port == 0 {
        return Ok(None);
    }
    let address = client.local_address.as_ref();
    let address = address.map_or(ptr::null(), |address| address.as_ptr());
    let Ok(service) = CString::new(client.local_port.to_string()) else {
        return Err(NoSocket);
    };
    let options = Listen {
        mode: Mode {
            blocking: false,
            inheritable: true,
        },
        reuse_address: false,
        reuse_port: false,
        v6_only: false,
        defer_accept: false,
        keep_alive: true,
    };
    let mut list = ptr::null_mut();
    // SAFETY: hints of zeros ask for nothing in particular; both texts are strings. The first of the list has as many
    // bytes of address as it says, and the list is freed, and not used after that.
    unsafe {
        let mut hints = std::mem::zeroed::<addrinfo>();
        hints.ai_family = client.family;
        hints.ai_socktype = libc::SOCK_STREAM;
        hints.ai_flags = libc::AI_PASSIVE;
        if evutil_getaddrinfo(address, service.as_ptr(), &hints, &mut list) != 0 {
            return Err(NoSocket);
        }
        let info = &*list;
        let bytes = slice::from_raw_parts(info.ai_addr.cast::<u8>(), info.ai_addrlen as usize);
        let socket = Address::from_bytes(bytes).and_then(|address| options.bind(&address).ok());
        let family = info.ai_family;
        evutil_freeaddrinfo(list);
        socket.map(|socket| Some((socket, family))).ok_or(NoSocket)
    }
}

unsafe extern "C" fn on_dialed(_bev: *mut bufferevent, what: c_short, evcon: *mut c_void) {
    let evcon: *mut evhttp_connection = evcon.cast();
    // SAFETY: the callbacks are taken away before the connection goes.
    unsafe {
        if what & EVENT_CONNECTED == 0 {
            return connecting_failed(evcon);
        }
        client(evcon).phase = Phase::Idle;
        client(evcon).retries.made = 0;
        if (*evcon).flags & REUSE_CONNECTED_ADDRESS != 0 {
            client(evcon).reached = peer_of(bufferevent_getfd((*evcon).bev));
        }
        apply_timeouts(evcon);
        proceed(evcon);
    }
}

fn peer_of(fd: evutil_socket_t) -> Option<(sockaddr_storage, socklen_t)> {
    let mut len = size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: any bytes are a `sockaddr_storage`, and the system writes as many as there is room for.
    unsafe {
        let mut address = std::mem::zeroed::<sockaddr_storage>();
        let known = libc::getpeername(fd, (&raw mut address).cast(), &raw mut len) == 0;
        known.then_some((address, len))
    }
}

/// Tries again, or tells all requests that there is no connection: they are handed over without a response.
unsafe fn connecting_failed(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live; the hold keeps it over the program's callbacks.
    unsafe {
        let hold = Hold::new(evcon);
        client(evcon).phase = Phase::Apart;
        disconnect(evcon);
        if let Some(wait) = next_wait(client(evcon)) {
            client(evcon).phase = Phase::Waiting;
            assign_timer(evcon);
            event_add(&raw mut client(evcon).timer, &wait);
            return;
        }
        let Client {
            requests, failing, ..
        } = client(evcon);
        failing.append(requests);
        while let Some(req) = client(evcon).failing.pop_front() {
            hand_over(req);
            if hold.is_gone() {
                return;
            }
        }
        finish_if_disowned(evcon);
    }
}

/// How long to wait before the next try; `None` if there is none.
fn next_wait(client: &mut Client) -> Option<timeval> {
    let retries = &mut client.retries;
    if retries.most >= 0 && i64::from(retries.made) >= i64::from(retries.most) {
        retries.made = 0;
        return None;
    }
    let first = retries
        .first
        .tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(retries.first.tv_usec);
    let times = 1_i64.checked_shl(retries.made.min(62)).unwrap_or(i64::MAX);
    let wait = first.saturating_mul(times).clamp(0, LONGEST_WAIT);
    retries.made = retries.made.saturating_add(1);
    Some(timeval {
        tv_sec: wait / 1_000_000,
        tv_usec: wait % 1_000_000,
    })
}

/// Has the timer come in the next pass, for what must not be told inside a call of the program's.
///
/// # Safety
/// `evcon` is live.
pub(super) unsafe fn tell_later(evcon: *mut evhttp_connection, phase: Phase) {
    // SAFETY: by this function's contract.
    unsafe {
        client(evcon).phase = phase;
        assign_timer(evcon);
        event_active(&raw mut client(evcon).timer, EV_TIMEOUT, 1);
    }
}

unsafe fn assign_timer(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live, and its timer not pending.
    unsafe {
        let (timer, base) = (&raw mut client(evcon).timer, (*(*evcon).bev).ev_base);
        event_assign(timer, base, -1, 0, Some(on_timer), evcon.cast());
    }
}

unsafe extern "C" fn on_timer(_fd: evutil_socket_t, _what: c_short, evcon: *mut c_void) {
    let evcon: *mut evhttp_connection = evcon.cast();
    // SAFETY: the timer is stopped before the connection goes.
    unsafe {
        match client(evcon).phase {
            Phase::Waiting => connect_or_tell(evcon),
            Phase::Refused => connecting_failed(evcon),
            Phase::Unsendable => fail(evcon, INVALID_HEADER),
            _ => {}
        }
    }
}

/// Stops the timer, for good if the connection goes.
///
/// # Safety
/// `evcon` is live or held.
pub(super) unsafe fn stop_timer(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract; it may never have been assigned.
    unsafe {
        let timer = &raw mut client(evcon).timer;
        if event_initialized(timer) != 0 {
            event_del(timer);
            debug::forget(timer);
            timer.write(std::mem::zeroed());
        }
    }
}

/// Ends the connection, if there is one, which the program's close callback hears.
///
/// # Safety
/// `evcon` is held. It may be gone afterwards, or connecting again.
pub(super) unsafe fn reset(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe {
        let connected = client(evcon).phase.is_connected();
        client(evcon).phase = Phase::Apart;
        bufferevent_setcb((*evcon).bev, None, None, None, ptr::null_mut());
        stop_timer(evcon);
        if connected {
            let hold = Hold::new(evcon);
            call_close_cb(evcon);
            if hold.is_gone() {
                return;
            }
        }
        if client(evcon).phase == Phase::Apart {
            disconnect(evcon);
        }
    }
}

/// Makes the bufferevent one without a connection.
unsafe fn disconnect(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live.
    unsafe {
        let bev = (*evcon).bev;
        bufferevent_setcb(bev, None, None, None, ptr::null_mut());
        bufferevent_disable(bev, EV_READ | EV_WRITE);
        forget_connecting(bev);
        let fd = bufferevent_getfd(bev);
        if fd >= 0 {
            bufferevent_setfd(bev, -1);
            if bufferevent_getfd(bev) == fd {
                // It belongs to the bufferevent below.
                libc::shutdown(fd, libc::SHUT_RDWR);
            } else {
                ferrevent_sys::close(fd);
            }
        }
        for buffer in [(*bev).input, (*bev).output] {
            evbuffer_drain(buffer, evbuffer_get_length(buffer));
        }
        (*evcon).peer = None;
        client(evcon).protocol.reset();
        client(evcon).cut = false;
    }
}

/// Goes on with the next request, or rests.
///
/// # Safety
/// `evcon` is live.
pub(super) unsafe fn proceed(evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract.
    unsafe {
        let waiting = !client(evcon).requests.is_empty();
        match client(evcon).phase {
            Phase::Apart if waiting => connect_or_tell(evcon),
            Phase::Idle if waiting => send(evcon),
            Phase::Idle => {
                // Whatever comes now is the end of it.
                watch(evcon);
                bufferevent_disable((*evcon).bev, EV_WRITE);
                bufferevent_enable((*evcon).bev, EV_READ);
            }
            _ => {}
        }
    }
}

/// Sets the bufferevent's callbacks to those of a connection that stands.
///
/// # Safety
/// `evcon` is live.
pub(super) unsafe fn watch(evcon: *mut evhttp_connection) {
    let (read, write, event) = (
        Some(on_read as _),
        Some(on_written as _),
        Some(on_event as _),
    );
    // SAFETY: by this function's contract.
    unsafe { bufferevent_setcb((*evcon).bev, read, write, event, evcon.cast()) };
}

/// From now on. Without any the client has its own.
///
/// # Safety
/// `evcon` is live, and a client's.
pub(in crate::http) unsafe fn set_timeout(evcon: *mut evhttp_connection, timeout: Option<timeval>) {
    // SAFETY: by this function's contract.
    unsafe {
        let zero = |timeout: &timeval| timeout.tv_sec == 0 && timeout.tv_usec == 0;
        (*evcon).timeout = timeout.filter(|timeout| !zero(timeout));
        if timeout.as_ref().is_some_and(zero) {
            // As in libevent, until there is the next step.
            bufferevent_set_timeouts((*evcon).bev, ptr::null(), ptr::null());
        } else {
            apply_timeouts(evcon);
        }
    }
}

unsafe fn apply_timeouts(evcon: *mut evhttp_connection) {
    // SAFETY: the caller's connection is live.
    unsafe {
        let usual = match client(evcon).phase {
            Phase::Connecting => CONNECT_TIMEOUT,
            _ => TRANSFER_TIMEOUT,
        };
        let timeout = (*evcon).timeout.unwrap_or(usual);
        bufferevent_set_timeouts((*evcon).bev, &timeout, &timeout);
    }
}
