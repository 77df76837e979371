//! Starting connections.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::ptr;

use ferrevent_core::driver::{Connect, Kind, Transport};
use ferrevent_core::{StreamEvent, Trigger};
use ferrevent_sys::{Address, Mode};
use libc::{addrinfo, sockaddr};

use super::{
    Bev, TRANSPORT, bev_of, guard_buffers, hold, kind_of, listen, set_public_fd, stage, with,
};
use crate::abi::bufferevent;
use crate::log;

/// The addresses of a host name that are still to be tried, the next one last.
pub(super) struct Candidates(Vec<Address>);

/// Why no connection attempt began.
struct Refused;

/// `bufferevent_socket_connect`: 0 if the attempt has begun, or has been refused at once, which the event callback then
/// hears; -1 otherwise. Of a filter, the socket below connects. A NULL address says that the descriptor is connecting already.
///
/// # Safety
/// `bev` is live; `sa` is NULL or has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_socket_connect(
    bev: *mut bufferevent,
    sa: *const sockaddr,
    len: c_int,
) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; what is below a filter has the same lock.
    unsafe {
        let _held = hold(bev);
        let bev = stage::bottom(bev);
        let begun = if sa.is_null() {
            let fd = (*bev).public.ev_read.ev_fd;
            if fd < 0 {
                Err(Refused)
            } else {
                begin(bev, fd, kind_of(fd), Connect::Started)
            }
        } else {
            let len = usize::try_from(len).unwrap_or(0);
            match Address::from_bytes(std::slice::from_raw_parts(sa.cast(), len)) {
                Some(address) => connect_to(bev, &address),
                None => Err(Refused),
            }
        };
        if begun.is_ok() { 0 } else { -1 }
    }
}

/// Begins an attempt, on a new socket if there is none.
unsafe fn connect_to(bev: *mut Bev, address: &Address) -> Result<(), Refused> {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        let given = (*bev).public.ev_read.ev_fd;
        if given >= 0 {
            let begun = ferrevent_sys::connect(given, address).map_err(|_| Refused)?;
            return begin(bev, given, kind_of(given), begun);
        }
        let socket =
            ferrevent_sys::stream_socket(address.family(), SOCKET_MODE).map_err(|_| Refused)?;
        let begun = ferrevent_sys::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), address)
            .map_err(|_| Refused)?;
        begin(bev, socket.into_raw_fd(), Kind::Stream, begun)
    }
}

/// As libevent makes them: non-blocking, and inherited over `exec`.
const SOCKET_MODE: Mode = Mode {
    blocking: false,
    inheritable: true,
};

unsafe fn begin(bev: *mut Bev, fd: c_int, kind: Kind, begun: Connect) -> Result<(), Refused> {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        set_public_fd(bev, fd);
        guard_buffers(bev, false);
        with(bev, |inner, key| {
            listen(inner, bev, key);
            let (core, driver) = inner.parts();
            core.start_connect(key, fd, kind, begun, driver)
                .map_err(|error| {
                    log::warn(&format!("bufferevent_socket_connect: {error}"));
                    Refused
                })
        })
    }
}

/// The attempt has failed: begins one at the name's next address. Returns false if none is left.
///
/// # Safety
/// `bev` is live and its lock held.
pub(super) unsafe fn try_next(bev: *mut Bev) -> bool {
    // SAFETY: by this function's contract.
    unsafe {
        loop {
            let Some(candidates) = &mut (*bev).candidates else {
                return false;
            };
            let Some(address) = candidates.0.pop() else {
                (*bev).candidates = None;
                return false;
            };
            // A socket that has failed to connect cannot be used again; the name's sockets are ours.
            let fd = (*bev).public.ev_read.ev_fd;
            set_public_fd(bev, -1);
            with(bev, |inner, key| {
                let (core, driver) = inner.parts();
                // Taking a descriptor away waits for nothing, so that it cannot fail.
                let _ = core.set_fd(key, -1, Kind::Stream, driver);
                let (core, driver) = inner.parts();
                core.closing_fd(fd, driver);
            });
            if fd >= 0 {
                TRANSPORT.close(fd);
            }
            if connect_to(bev, &address).is_ok() {
                return true;
            }
        }
    }
}

/// `bufferevent_socket_connect_hostname` without a resolver: the look-up blocks; all addresses are tried, one after the
/// other; failure is told by the event callback, from the loop. 0, or -1 for a bad family or port.
///
/// # Safety
/// `bev` is live; `dns` is NULL, since this library exports nothing that makes one; `hostname` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_socket_connect_hostname(
    bev: *mut bufferevent,
    _dns: *mut c_void,
    family: c_int,
    hostname: *const c_char,
    port: c_int,
) -> c_int {
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_UNSPEC];
    if !families.contains(&family) || !(1..=65535).contains(&port) || hostname.is_null() {
        return -1;
    }
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; what is below a filter has the same lock.
    unsafe {
        let _held = hold(bev);
        let bev = stage::bottom(bev);
        (*bev).dns_error = 0;
        (*bev).candidates = None;
        let mut addresses = match look_up(CStr::from_ptr(hostname), family, port) {
            Ok(addresses) => addresses,
            Err(error) => {
                (*bev).dns_error = error;
                report_failure(bev, 0);
                return 0;
            }
        };
        addresses.reverse();
        let given = (*bev).public.ev_read.ev_fd >= 0;
        if given {
            // The caller's own socket has one try.
            addresses.drain(..addresses.len().saturating_sub(1));
        }
        while let Some(address) = addresses.pop() {
            if connect_to(bev, &address).is_ok() {
                (*bev).candidates =
                    (!addresses.is_empty()).then(|| Box::new(Candidates(addresses)));
                return 0;
            }
        }
        report_failure(bev, *libc::__errno_location());
    }
    0
}

unsafe fn report_failure(bev: *mut Bev, error: c_int) {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        with(bev, |inner, key| {
            listen(inner, bev, key);
            // Deferred, so that nothing is left to call at once.
            let _ = inner
                .core
                .trigger_event(key, StreamEvent::ERROR, error, Trigger::DEFER);
        });
    }
}

/// All addresses of a name, or the resolver's error.
fn look_up(hostname: &CStr, family: c_int, port: c_int) -> Result<Vec<Address>, c_int> {
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
            addresses.extend(Address::from_bytes(bytes));
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
        (*stage::bottom(bev)).dns_error
    }
}
