//! Connecting by name.
//!
//! While a name is looked up, both directions are suspended, and the look-up holds a reference of the bufferevent. A
//! bufferevent that is freed or connects anew forgets its look-up: whatever still comes of that finds another one noted,
//! or none.

use std::ffi::{CStr, CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ptr::{self, NonNull};

use ferrevent_dns::{AddressError, AddressList};
use ferrevent_sys::Address;
use libc::addrinfo;

use super::connect::{connect_to_one_of, report_failure, stop_dialing};
use super::{Bev, bev_of, hold, special, stage, with};
use crate::abi::bufferevent;
use crate::base::event_base;
use crate::dns::{self, Started, evdns_base, evdns_request};

/// `bufferevent_socket_connect_hostname`: looks the name up, with `dns` or without waiting for it in the loop, and
/// connects to the first of its addresses that can be reached. What fails is told by the event callback, from the loop.
/// 0, or -1 for a bad family or port.
///
/// # Safety
/// `bev` is live; `dns` is NULL or live; `hostname` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_socket_connect_hostname(
    bev: *mut bufferevent,
    dns: *mut evdns_base,
    family: c_int,
    hostname: *const c_char,
    port: c_int,
) -> c_int {
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNSPEC];
    let Ok(port) = u16::try_from(port) else {
        return -1;
    };
    if !families.contains(&family) || port == 0 || hostname.is_null() {
        return -1;
    }
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; what is below a filter has the same lock.
    unsafe {
        let _held = hold(bev);
        let bev = stage::bottom(bev);
        forget_look_up(bev);
        stop_dialing(bev);
        if let Some(special) = &mut (*bev).special {
            special.dns_error = 0;
        }
        let hostname = CStr::from_ptr(hostname);
        if dns.is_null() {
            match look_up(hostname, family, port) {
                Ok(addresses) => connect_to_one_of(bev, addresses),
                Err(error) => give_up(bev, error),
            }
            return 0;
        }
        with(bev, |inner, key| inner.core.retain(key));
        match dns::look_up_for(bev, dns, hostname.to_bytes(), family, port) {
            Started::Waiting(request) => {
                special(bev).dns_request = NonNull::new(request);
                with(bev, |inner, key| inner.core.set_looking_up(key, true));
            }
            Started::Known(result) => {
                connect(bev, result);
                release(bev);
            }
        }
    }
    0
}

/// A look-up has ended; `request` is only compared.
///
/// # Safety
/// The look-up's reference of `bev` is given up.
pub(crate) unsafe fn looked_up(
    bev: *mut Bev,
    request: *mut evdns_request,
    result: Result<AddressList, AddressError>,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        if special(bev).dns_request == NonNull::new(request) {
            special(bev).dns_request = None;
            with(bev, |inner, key| inner.core.set_looking_up(key, false));
            connect(bev, result);
        }
        release(bev);
    }
}

/// Stops looking a name up, and trying its addresses.
///
/// # Safety
/// `bev` is live.
pub(crate) unsafe fn forget_connecting(bev: *mut bufferevent) {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; what is below a filter has the same lock.
    unsafe {
        let _held = hold(bev);
        let bev = stage::bottom(bev);
        forget_look_up(bev);
        stop_dialing(bev);
    }
}

/// A look-up has been dropped together with its event base.
///
/// # Safety
/// The look-up's reference of `bev` is given up.
pub(crate) unsafe fn look_up_discarded(bev: *mut Bev) {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(bev);
        special(bev).dns_request = None;
        release(bev);
    }
}

/// Forgets the look-up that is under way, if there is one.
///
/// # Safety
/// `bev` is live and its lock held.
pub(super) unsafe fn forget_look_up(bev: *mut Bev) {
    // SAFETY: by this function's contract. A request that is noted is alive: its task takes it off this note, with the
    // lock held, before it goes.
    unsafe {
        let Some(special) = &mut (*bev).special else {
            return;
        };
        let Some(request) = special.dns_request.take() else {
            return;
        };
        with(bev, |inner, key| inner.core.set_looking_up(key, false));
        dns::cancel(request.as_ptr());
    }
}

unsafe fn release(bev: *mut Bev) {
    // SAFETY: the caller gives up a reference; the base may have been freed.
    unsafe {
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        event_base::try_with(base, |inner| {
            inner.core.release(key);
            inner.settle();
        });
    }
}

unsafe fn connect(bev: *mut Bev, result: Result<AddressList, AddressError>) {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        match result {
            Ok(mut list) => {
                // IPv6 first (RFC 8305); the system's resolver sorts by what it knows of the routes.
                list.addresses.sort_by_key(SocketAddr::is_ipv4);
                connect_to_one_of(bev, list.addresses);
            }
            Err(error) => give_up(bev, error.code()),
        }
    }
}

unsafe fn give_up(bev: *mut Bev, error: c_int) {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        special(bev).dns_error = error;
        report_failure(bev, 0);
    }
}

/// All addresses of a name, or the system's error. Blocks.
fn look_up(hostname: &CStr, family: c_int, port: u16) -> Result<Vec<SocketAddr>, c_int> {
    let Ok(service) = CString::new(port.to_string()) else {
        return Err(libc::EAI_SERVICE);
    };
    let mut found: *mut addrinfo = ptr::null_mut();
    let mut addresses = Vec::new();
    // SAFETY: a zeroed `addrinfo` is the documented way to give hints; the list is walked before it is freed, once.
    unsafe {
        let mut hints = MaybeUninit::<addrinfo>::zeroed().assume_init();
        hints.ai_family = family;
        hints.ai_protocol = libc::IPPROTO_TCP;
        hints.ai_socktype = libc::SOCK_STREAM;
        let error = libc::getaddrinfo(hostname.as_ptr(), service.as_ptr(), &hints, &mut found);
        if error != 0 {
            return Err(error);
        }
        let mut next = found;
        while let Some(info) = next.as_ref() {
            let bytes = std::slice::from_raw_parts(info.ai_addr.cast(), info.ai_addrlen as usize);
            addresses.extend(Address::from_bytes(bytes).and_then(|address| address.ip()));
            next = info.ai_next;
        }
        libc::freeaddrinfo(found);
    }
    if addresses.is_empty() {
        Err(libc::EAI_NONAME)
    } else {
        Ok(addresses)
    }
}

/// `bufferevent_socket_get_dns_error`: of the last look-up; 0 is none.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_socket_get_dns_error(bev: *mut bufferevent) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; what is below a filter has the same lock.
    unsafe {
        let _held = hold(bev);
        (*stage::bottom(bev))
            .special
            .as_ref()
            .map_or(0, |special| special.dns_error)
    }
}
