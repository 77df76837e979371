//! Name servers.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong};
use std::net::{Ipv4Addr, SocketAddr};
use std::ptr;

use ferrevent_sys::Address;
use libc::sockaddr;

use super::{evdns_base, hold, settings, with};
use crate::util::socket_address;

const PORT: u16 = 53;

/// What libevent answers if the server is there already, and if the text is no address.
const KNOWN: c_int = 3;
const BAD_ADDRESS: c_int = 4;

/// `evdns_base_nameserver_add`: by an IPv4 address in network byte order. 0, or 3 if it is there already.
///
/// # Safety
/// `dns` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_nameserver_add(
    dns: *mut evdns_base,
    address: c_ulong,
) -> c_int {
    let ip = Ipv4Addr::from((address as u32).to_ne_bytes());
    // SAFETY: by this function's contract.
    unsafe { add(dns, SocketAddr::from((ip, PORT))) }
}

/// `evdns_base_nameserver_ip_add`: by text. 0; 3 if it is there already, 4 if it is no address.
///
/// # Safety
/// `dns` is live; `text` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_nameserver_ip_add(
    dns: *mut evdns_base,
    text: *const c_char,
) -> c_int {
    if text.is_null() {
        return BAD_ADDRESS;
    }
    // SAFETY: by this function's contract.
    unsafe { add_text(dns, CStr::from_ptr(text).to_bytes()) }
}

/// The address of a server, if the text is one.
pub(super) fn address(text: &[u8]) -> Option<SocketAddr> {
    socket_address(text, PORT)
}

/// # Safety
/// `dns` is live.
pub(super) unsafe fn add_text(dns: *mut evdns_base, text: &[u8]) -> c_int {
    let Some(address) = address(text) else {
        settings::warn(&format!(
            "Unable to parse nameserver address {}",
            String::from_utf8_lossy(text)
        ));
        return BAD_ADDRESS;
    };
    // SAFETY: by this function's contract.
    unsafe { add(dns, address) }
}

/// `evdns_base_nameserver_sockaddr_add`: 0; 3 if it is there already, -1 if it is of no family that names can be asked
/// for by.
///
/// # Safety
/// `dns` is live; `sa` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_nameserver_sockaddr_add(
    dns: *mut evdns_base,
    sa: *const sockaddr,
    len: libc::socklen_t,
    _flags: c_uint,
) -> c_int {
    if sa.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let bytes = std::slice::from_raw_parts(sa.cast::<u8>(), len as usize);
        match Address::from_bytes(bytes).and_then(|address| address.ip()) {
            Some(address) => add(dns, address),
            None => -1,
        }
    }
}

unsafe fn add(dns: *mut evdns_base, address: SocketAddr) -> c_int {
    if dns.is_null() {
        return -1;
    }
    // SAFETY: the caller's resolver is live.
    let added = unsafe {
        let _held = hold(dns);
        (*dns).files.keep_servers();
        with(dns, |resolver, now| resolver.add_server(address, now))
    };
    if added { 0 } else { KNOWN }
}

/// `evdns_base_count_nameservers`
///
/// # Safety
/// `dns` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_count_nameservers(dns: *mut evdns_base) -> c_int {
    if dns.is_null() {
        return 0;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(dns);
        (*dns).resolver.servers().len() as c_int
    }
}

/// `evdns_base_get_nameserver_addr`: the bytes written to `sa`; more than `len` if there is no room for them; -1 if there
/// are not so many servers.
///
/// # Safety
/// `dns` is live; `sa` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_get_nameserver_addr(
    dns: *mut evdns_base,
    index: c_int,
    sa: *mut sockaddr,
    len: libc::socklen_t,
) -> c_int {
    if dns.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(dns);
        // A negative index has always been the first.
        let index = usize::try_from(index).unwrap_or(0);
        let Some(address) = (*dns).resolver.servers().nth(index) else {
            return -1;
        };
        let address = Address::from(address);
        let bytes = address.as_bytes();
        if bytes.len() <= len as usize && !sa.is_null() {
            ptr::copy_nonoverlapping(bytes.as_ptr(), sa.cast(), bytes.len());
        }
        bytes.len() as c_int
    }
}

/// `evdns_base_clear_nameservers_and_suspend`: look-ups wait until [`evdns_base_resume`].
///
/// # Safety
/// `dns` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_clear_nameservers_and_suspend(dns: *mut evdns_base) -> c_int {
    if dns.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(dns);
        (*dns).files.keep_servers();
        with(dns, |resolver, _| resolver.clear_servers_and_suspend());
    }
    0
}

/// `evdns_base_resume`
///
/// # Safety
/// `dns` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_resume(dns: *mut evdns_base) -> c_int {
    if dns.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe { with(dns, |resolver, now| resolver.resume(now)) };
    0
}
