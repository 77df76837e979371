//! `evdns_getaddrinfo`.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::{MaybeUninit, offset_of};
use std::net::SocketAddr;
use std::num::IntErrorKind;
use std::ptr;

use ferrevent_dns::{AddressError, AddressList, AddressQuery, Family, LookupResult};
use ferrevent_sys::{Address, monotonic};
use libc::{AF_INET, AF_INET6, AF_UNSPEC, addrinfo};

use super::lookup::{self, Callback, evdns_getaddrinfo_cb};
use super::{evdns_base, evdns_request, files, hold, settle};
use crate::bufferevent::Bev;
use crate::memory;
use crate::util::{evutil_freeaddrinfo, evutil_getaddrinfo, socket_address};

/// What the entries of a list are to say besides the address.
#[derive(Clone, Copy)]
pub(super) struct Expansion {
    socket_type: c_int,
    protocol: c_int,
    wants_canonical: bool,
}

/// `EVUTIL_AI_LIBEVENT_ALLOCATED`: the entry is this library's, and not the system's.
pub(crate) const OURS: c_int = c_int::MIN;

/// An entry, with its address behind it.
#[repr(C)]
struct Entry {
    info: addrinfo,
    address: libc::sockaddr_storage,
}

/// `evdns_getaddrinfo`: if the answer is known, calls back at once and returns NULL; otherwise from the loop.
///
/// # Safety
/// `dns` is live; names are NULL or strings; `hints` is NULL or readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_getaddrinfo(
    dns: *mut evdns_base,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    callback: evdns_getaddrinfo_cb,
    arg: *mut c_void,
) -> *mut evdns_request {
    // SAFETY: by this function's contract. No lock is held while the callback runs.
    unsafe {
        // What needs no name server is the system's business altogether, as in libevent.
        if hints
            .as_ref()
            .is_some_and(|hints| hints.ai_flags & libc::AI_NUMERICHOST != 0)
        {
            let mut found = ptr::null_mut();
            let code = evutil_getaddrinfo(node, service, hints, &mut found);
            if let Some(callback) = callback {
                callback(code, found, arg);
            } else {
                evutil_freeaddrinfo(found);
            }
            return ptr::null_mut();
        }
        let (query, expansion) = match prepare(node, service, hints) {
            Ok(prepared) => prepared,
            Err(code) => {
                if let Some(callback) = callback {
                    callback(code, ptr::null_mut(), arg);
                }
                return ptr::null_mut();
            }
        };
        let dns = if dns.is_null() {
            super::compat::global()
        } else {
            dns
        };
        if dns.is_null() {
            if let Some(callback) = callback {
                callback(libc::EAI_FAIL, ptr::null_mut(), arg);
            }
            return ptr::null_mut();
        }
        let held = hold(dns);
        files::refresh(dns);
        if query.configured {
            let (ipv4, ipv6) = ferrevent_sys::configured_families();
            (*dns).resolver.set_interfaces(ipv4, ipv6);
        }
        let key = (*dns).resolver.get_address_info(query, monotonic());
        let at_once = take_finished(dns, key);
        if let Some(result) = at_once {
            drop(held);
            if let Some(callback) = callback {
                call(callback, &expansion, result, arg);
            }
            return ptr::null_mut();
        }
        let request = lookup::enter(dns, key, Callback::Addresses(callback, expansion), arg);
        settle(dns);
        request
    }
}

/// What has become of a look-up that a bufferevent has asked for.
pub(crate) enum Started {
    /// It will be told from the loop.
    Waiting(*mut evdns_request),
    /// The result is known.
    Known(Result<AddressList, AddressError>),
}

/// Looks for addresses that a bufferevent is to connect to.
///
/// # Safety
/// `dns` is live; the caller has taken a reference of `bev`, which a request that waits takes over.
pub(crate) unsafe fn look_up_for(
    bev: *mut Bev,
    dns: *mut evdns_base,
    host: &[u8],
    family: c_int,
    port: u16,
) -> Started {
    let query = AddressQuery {
        host: Some(plain_host(host)),
        port,
        family: match family {
            AF_INET => Family::Ipv4,
            AF_INET6 => Family::Ipv6,
            _ => Family::Any,
        },
        ..AddressQuery::default()
    };
    // SAFETY: by this function's contract.
    unsafe {
        let _held = hold(dns);
        files::refresh(dns);
        let key = (*dns).resolver.get_address_info(query, monotonic());
        if let Some(result) = take_finished(dns, key) {
            return Started::Known(result);
        }
        let request = lookup::enter(dns, key, Callback::Connect(bev), ptr::null_mut());
        settle(dns);
        Started::Waiting(request)
    }
}

/// The result of a look-up that has just begun, if it has ended already.
unsafe fn take_finished(
    dns: *mut evdns_base,
    key: ferrevent_dns::LookupKey,
) -> Option<Result<AddressList, AddressError>> {
    // SAFETY: the caller's resolver is live and locked. Results are taken after each change, so that there is no other.
    let finished = unsafe { (*dns).resolver.poll_finished() }?;
    match finished.result {
        LookupResult::Addresses(result) if finished.key == key => Some(result),
        _ => None,
    }
}

/// `evdns_getaddrinfo_cancel`: the callback is told `EVUTIL_EAI_CANCEL`, from the loop.
///
/// # Safety
/// `request` is live: its callback has not been called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_getaddrinfo_cancel(request: *mut evdns_request) {
    // SAFETY: by this function's contract.
    unsafe { lookup::cancel(request) }
}

/// What is asked, or an `EVUTIL_EAI_...`.
unsafe fn prepare(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
) -> Result<(AddressQuery, Expansion), c_int> {
    // SAFETY: the caller's contract; only numbers are read from the hints.
    unsafe {
        let (family, flags, socket_type, protocol) = match hints.as_ref() {
            Some(hints) => (
                hints.ai_family,
                hints.ai_flags,
                hints.ai_socktype,
                hints.ai_protocol,
            ),
            None => (AF_UNSPEC, 0, 0, 0),
        };
        let family = match family {
            AF_UNSPEC => Family::Any,
            AF_INET => Family::Ipv4,
            AF_INET6 => Family::Ipv6,
            _ => return Err(libc::EAI_FAMILY),
        };
        if node.is_null() && service.is_null() {
            return Err(libc::EAI_NONAME);
        }
        // The usual pairs complete each other.
        let socket_type = match (socket_type, protocol) {
            (0, libc::IPPROTO_TCP | libc::IPPROTO_SCTP) => libc::SOCK_STREAM,
            (0, libc::IPPROTO_UDP) => libc::SOCK_DGRAM,
            (given, _) => given,
        };
        let protocol = match (socket_type, protocol) {
            (libc::SOCK_STREAM, 0) => libc::IPPROTO_TCP,
            (libc::SOCK_DGRAM, 0) => libc::IPPROTO_UDP,
            (_, given) => given,
        };
        let port = if service.is_null() {
            0
        } else {
            let numeric = flags & libc::AI_NUMERICSERV != 0;
            port_of(CStr::from_ptr(service), numeric, protocol).ok_or(libc::EAI_NONAME)?
        };
        let query = AddressQuery {
            host: (!node.is_null()).then(|| plain_host(CStr::from_ptr(node).to_bytes())),
            port,
            family,
            passive: flags & libc::AI_PASSIVE != 0,
            numeric: flags & libc::AI_NUMERICHOST != 0,
            configured: flags & libc::AI_ADDRCONFIG != 0,
        };
        let expansion = Expansion {
            socket_type,
            protocol,
            wants_canonical: flags & libc::AI_CANONNAME != 0,
        };
        Ok((query, expansion))
    }
}

/// An address is written the way that the resolver reads: without signs and leading zeros, and with a number for the
/// interface that its scope names.
fn plain_host(host: &[u8]) -> Vec<u8> {
    // Addresses with a port, and those in brackets, are names here.
    if host.starts_with(b"[") {
        return host.to_vec();
    }
    match socket_address(host, 0) {
        Some(SocketAddr::V4(v4)) if v4.port() == 0 => v4.ip().to_string().into_bytes(),
        Some(SocketAddr::V6(v6)) => format!("{}%{}", v6.ip(), v6.scope_id()).into_bytes(),
        _ => host.to_vec(),
    }
}

/// The port of a service. Its name is looked for among those of the protocol; of any, if that is none in particular.
fn port_of(service: &CStr, numeric: bool, protocol: c_int) -> Option<u16> {
    let bytes = service.to_bytes();
    if let Some(port) = number(bytes) {
        return u16::try_from(port).ok();
    }
    if numeric || bytes.is_empty() {
        return None;
    }
    let mut found: *mut addrinfo = ptr::null_mut();
    // SAFETY: a zeroed `addrinfo` is the documented way to give hints; the list is freed once, after it has been read.
    unsafe {
        let mut hints = MaybeUninit::<addrinfo>::zeroed().assume_init();
        hints.ai_family = AF_INET;
        hints.ai_flags = libc::AI_PASSIVE;
        // There are no others.
        if matches!(protocol, 0..=255) {
            hints.ai_protocol = protocol;
        }
        if libc::getaddrinfo(ptr::null(), service.as_ptr(), &hints, &mut found) != 0 {
            return None;
        }
        let first = (*found).ai_addr.cast::<libc::sockaddr_in>();
        let port = u16::from_be((*first).sin_port);
        libc::freeaddrinfo(found);
        Some(port)
    }
}

/// A number as C's `strtol` reads it, if nothing follows. One that is too large is no port either.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    match text
        .trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
        .parse()
    {
        Ok(number) => Some(number),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Some(i64::MAX),
            _ => None,
        },
    }
}

/// Calls back with a list that the program frees.
///
/// # Safety
/// The callback is the program's.
pub(super) unsafe fn call(
    callback: unsafe extern "C" fn(c_int, *mut addrinfo, *mut c_void),
    expansion: &Expansion,
    result: Result<AddressList, AddressError>,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe {
        match result.map(|list| make_list(&list, expansion)) {
            Ok(Some(list)) => callback(0, list, arg),
            Ok(None) => callback(libc::EAI_MEMORY, ptr::null_mut(), arg),
            Err(error) => callback(error.code(), ptr::null_mut(), arg),
        }
    }
}

fn make_list(list: &AddressList, expansion: &Expansion) -> Option<*mut addrinfo> {
    let kinds: &[(c_int, c_int)] = match (expansion.socket_type, expansion.protocol) {
        (0, 0) => &[
            (libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ],
        ref one => &[*one],
    };
    let mut first: *mut addrinfo = ptr::null_mut();
    // Built from its end.
    for address in list.addresses.iter().rev() {
        for &(socket_type, protocol) in kinds.iter().rev() {
            // SAFETY: the rest of the list is ours to give up.
            unsafe {
                let Some(entry) = make_entry(*address, socket_type, protocol) else {
                    free_list(first);
                    return None;
                };
                (*entry).ai_next = first;
                first = entry;
            }
        }
    }
    if expansion.wants_canonical
        && let Some(name) = list.canonical.as_ref().and_then(|name| name.to_text())
        && let Ok(name) = CString::new(name)
    {
        let bytes = name.as_bytes_with_nul();
        let memory = memory::allocate(bytes.len()).cast::<c_char>();
        if !memory.is_null() {
            // SAFETY: there is room for as many bytes; the list is not empty, since there are addresses.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr().cast(), memory, bytes.len());
                if first.is_null() {
                    memory::release(memory.cast());
                } else {
                    (*first).ai_canonname = memory;
                }
            }
        }
    }
    Some(first)
}

fn make_entry(address: SocketAddr, socket_type: c_int, protocol: c_int) -> Option<*mut addrinfo> {
    let entry = memory::allocate(size_of::<Entry>()).cast::<Entry>();
    if entry.is_null() {
        return None;
    }
    let address = Address::from(address);
    let bytes = address.as_bytes();
    // SAFETY: the memory is large enough for an `Entry`, and aligned for anything; zeros are valid in all of it.
    unsafe {
        entry.write_bytes(0, 1);
        let storage = entry.byte_add(offset_of!(Entry, address)).cast::<u8>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), storage, bytes.len());
        let info = entry.cast::<addrinfo>();
        (*info).ai_flags = OURS;
        (*info).ai_family = address.family();
        (*info).ai_socktype = socket_type;
        (*info).ai_protocol = protocol;
        (*info).ai_addrlen = bytes.len() as libc::socklen_t;
        (*info).ai_addr = storage.cast();
        Some(info)
    }
}

/// Frees a list of entries that are this library's.
///
/// # Safety
/// `list` is NULL or such a list, and is not used any more.
pub(crate) unsafe fn free_list(list: *mut addrinfo) {
    let mut next = list;
    // SAFETY: by this function's contract.
    unsafe {
        while !next.is_null() {
            let entry = next;
            next = (*entry).ai_next;
            memory::release((*entry).ai_canonname.cast());
            memory::release(entry.cast());
        }
    }
}
