//! A client has connected.

use std::ffi::CString;
use std::net::IpAddr;

use ferrevent_core::Options;
use ferrevent_core::driver::Kind;
use ferrevent_sys::Address;

use super::evhttp;
use super::serve::{self, EV_READ, Served};
use crate::abi::{bufferevent, evutil_socket_t};
use crate::base::event_base;
use crate::bufferevent::{
    bufferevent_enable, bufferevent_free, bufferevent_get_underlying, bufferevent_setfd,
    new_on_socket,
};
use crate::held::Hold;
use crate::http::connection::{self, Role, evhttp_connection_free};
use crate::log;

/// A client has connected.
///
/// # Safety
/// `http` is live, `base` is that of its listener, and `fd` is this function's.
pub(super) unsafe fn accept(
    http: *mut evhttp,
    base: *mut event_base,
    fd: evutil_socket_t,
    address: &[u8],
) {
    // SAFETY: by this function's contract. The server is held while the program makes a bufferevent.
    unsafe {
        let bev = match make_bufferevent(http, base, fd) {
            Some(bev) => bev,
            None => return ferrevent_sys::close(fd),
        };
        let role = Role::Server(Box::new(Served::new(http)));
        let evcon = connection::new(base, bev, peer(address), role);
        (*http).connections.push(evcon);
        (*evcon).limits = (*http).limits;
        if (*http).lingering {
            (*evcon).flags |= connection::LINGERING_CLOSE;
        }
        connection::apply_limits(evcon);
        if let Some(timeout) = (*http).timeout {
            connection::set_timeout(evcon, Some(timeout));
        }
        serve::set_callbacks(evcon);
        let hold = Hold::new(evcon);
        if bufferevent_enable(bev, EV_READ) < 0 && !hold.is_gone() {
            evhttp_connection_free(evcon);
        }
    }
}

/// `None` if there can be none, or the program has freed the server instead. Then the descriptor is still the caller's.
unsafe fn make_bufferevent(
    http: *mut evhttp,
    base: *mut event_base,
    fd: evutil_socket_t,
) -> Option<*mut bufferevent> {
    // SAFETY: the caller's server is live, and held over the program's function.
    unsafe {
        if let Some(make) = (*http).bev_cb {
            let hold = Hold::new(http);
            let bev = make(base, (*http).bev_cb_arg);
            if hold.is_gone() {
                if !bev.is_null() {
                    bufferevent_free(bev);
                }
                return None;
            }
            if !bev.is_null() {
                if bufferevent_setfd(bottom(bev), fd) < 0 {
                    log::warn("evhttp: the program's bufferevent takes no descriptor");
                    bufferevent_free(bev);
                    return None;
                }
                return Some(bev);
            }
        }
        // What is accepted is a stream: the system need not be asked.
        let bev = new_on_socket(base, fd, Kind::Stream, Options::CLOSE_ON_FREE);
        (!bev.is_null()).then_some(bev)
    }
}

/// The bufferevent that everything else stands on.
unsafe fn bottom(bev: *mut bufferevent) -> *mut bufferevent {
    // SAFETY: the caller's bufferevent is live, and with it what is below.
    let below = unsafe { bufferevent_get_underlying(bev) };
    match below.is_null() {
        true => bev,
        // SAFETY: as above.
        false => unsafe { bottom(below) },
    }
}

/// The other end as text. What has no address of the internet is this host.
fn peer(address: &[u8]) -> (CString, u16) {
    let ip = Address::from_bytes(address).and_then(|address| address.ip());
    let Some(ip) = ip else {
        return (c"localhost".to_owned(), 0);
    };
    let text = match ip.ip() {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => host.to_string(),
    };
    // There is no zero byte in an address.
    (CString::new(text).unwrap_or_default(), ip.port())
}
