//! Asking for records, cancelling, and calling back.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use ferrevent_dns::{
    AddressError, BadName, Failure, Finished, LookupKey, LookupResult, Question, Records,
};
use libc::{in_addr, in6_addr};

use super::addrinfo::{self, Expansion};
use super::{evdns_base, files, hold, with};
use crate::base::{event_base, push_dns_task};
use crate::bufferevent::{self, Bev};

/// `evdns_callback_type`
pub type evdns_callback_type =
    Option<unsafe extern "C" fn(c_int, c_char, c_int, c_int, *mut c_void, *mut c_void)>;

/// `evdns_getaddrinfo_cb`
pub type evdns_getaddrinfo_cb =
    Option<unsafe extern "C" fn(c_int, *mut libc::addrinfo, *mut c_void)>;

/// A look-up of the program's. It lives until its callback has been called, or is surely not called any more.
pub struct evdns_request {
    /// NULL once the result is on its way.
    dns: *mut evdns_base,
    base: *mut event_base,
    key: LookupKey,
    callback: Callback,
    arg: *mut c_void,
    /// Set while the callback waits for the loop.
    finished: Option<Finished>,
}

pub(super) enum Callback {
    Records(evdns_callback_type),
    Addresses(evdns_getaddrinfo_cb, Expansion),
    /// A bufferevent wants to connect; the request holds a reference of it.
    Connect(*mut Bev),
}

/// `DNS_QUERY_NO_SEARCH`
const NO_SEARCH: c_int = 1;

/// What `evdns_callback_type` is told of the kind of records.
const IPV4: c_char = 1;
const POINTER: c_char = 2;
const IPV6: c_char = 3;

/// libevent gives no more addresses than this to a callback, and programs may have room for no more.
const MAX_ADDRESSES: usize = 32;

/// `evdns_base_resolve_ipv4`: asks for the IPv4 addresses of a name. NULL if it is no name.
///
/// # Safety
/// `dns` is live; `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_resolve_ipv4(
    dns: *mut evdns_base,
    name: *const c_char,
    flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> *mut evdns_request {
    // SAFETY: by this function's contract.
    unsafe { resolve(dns, name, flags, |name| Question::ipv4(name), callback, arg) }
}

/// `evdns_base_resolve_ipv6`: asks for the IPv6 addresses of a name. NULL if it is no name.
///
/// # Safety
/// `dns` is live; `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_resolve_ipv6(
    dns: *mut evdns_base,
    name: *const c_char,
    flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> *mut evdns_request {
    // SAFETY: by this function's contract.
    unsafe { resolve(dns, name, flags, |name| Question::ipv6(name), callback, arg) }
}

unsafe fn resolve(
    dns: *mut evdns_base,
    name: *const c_char,
    flags: c_int,
    question: fn(&[u8]) -> Result<Question, BadName>,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> *mut evdns_request {
    if dns.is_null() || name.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the caller's contract.
    unsafe {
        let search = flags & NO_SEARCH == 0;
        let mut name = CStr::from_ptr(name).to_bytes();
        let has_list = {
            let _held = hold(dns);
            files::refresh(dns);
            (*dns).resolver.search_list().next().is_some()
        };
        // Without a search list libevent takes no name for the root's.
        if name.is_empty() && !(search && has_list) {
            name = b".";
        }
        let Ok(question) = question(name) else {
            return ptr::null_mut();
        };
        let question = if search {
            question
        } else {
            question.without_search()
        };
        ask(dns, question, callback, arg)
    }
}

/// `evdns_base_resolve_reverse`: asks for the name of an IPv4 address.
///
/// # Safety
/// `dns` is live; `address` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_resolve_reverse(
    dns: *mut evdns_base,
    address: *const in_addr,
    _flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> *mut evdns_request {
    if dns.is_null() || address.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by this function's contract; an address is four bytes.
    unsafe {
        refresh(dns);
        let ip = IpAddr::from(Ipv4Addr::from(address.cast::<[u8; 4]>().read()));
        ask(dns, Question::reverse(ip), callback, arg)
    }
}

/// `evdns_base_resolve_reverse_ipv6`: asks for the name of an IPv6 address.
///
/// # Safety
/// `dns` is live; `address` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_resolve_reverse_ipv6(
    dns: *mut evdns_base,
    address: *const in6_addr,
    _flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> *mut evdns_request {
    if dns.is_null() || address.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by this function's contract; an address is sixteen bytes.
    unsafe {
        refresh(dns);
        let ip = IpAddr::from(Ipv6Addr::from(address.cast::<[u8; 16]>().read()));
        ask(dns, Question::reverse(ip), callback, arg)
    }
}

unsafe fn refresh(dns: *mut evdns_base) {
    // SAFETY: the caller's resolver is live.
    unsafe {
        let _held = hold(dns);
        files::refresh(dns);
    }
}

unsafe fn ask(
    dns: *mut evdns_base,
    question: Question,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> *mut evdns_request {
    // SAFETY: the caller's resolver is live.
    unsafe {
        let _held = hold(dns);
        let key = (*dns)
            .resolver
            .look_up(question, ferrevent_sys::monotonic());
        let request = enter(dns, key, Callback::Records(callback), arg);
        super::settle(dns);
        request
    }
}

/// Notes who waits for a look-up that has begun.
///
/// # Safety
/// `dns` is live, its lock held.
pub(super) unsafe fn enter(
    dns: *mut evdns_base,
    key: LookupKey,
    callback: Callback,
    arg: *mut c_void,
) -> *mut evdns_request {
    // SAFETY: by this function's contract.
    unsafe {
        let request = Box::into_raw(Box::new(evdns_request {
            dns,
            base: (*dns).base,
            key,
            callback,
            arg,
            finished: None,
        }));
        (*dns).requests.insert(key, request);
        request
    }
}

/// `evdns_cancel_request`: the callback is told `DNS_ERR_CANCEL`, from the loop; or what it was to be told already.
///
/// # Safety
/// `request` is live: its callback has not been called. `dns` is its resolver or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_cancel_request(_dns: *mut evdns_base, request: *mut evdns_request) {
    // SAFETY: by this function's contract.
    unsafe { cancel(request) }
}

/// # Safety
/// As [`evdns_cancel_request`].
pub(crate) unsafe fn cancel(request: *mut evdns_request) {
    // SAFETY: by this function's contract; the resolver is live as long as it is in the request.
    unsafe {
        if request.is_null() || (*request).dns.is_null() {
            return;
        }
        let dns = (*request).dns;
        let key = (*request).key;
        let _held = hold(dns);
        if (*dns).requests.remove(&key).is_none() {
            return;
        }
        fail(request, Failure::Cancelled);
        with(dns, |resolver, now| resolver.cancel(key, now));
    }
}

/// Has the callback called from the loop, with this failure.
///
/// # Safety
/// `request` is live and in no map any more.
pub(super) unsafe fn fail(request: *mut evdns_request, failure: Failure) {
    // SAFETY: by this function's contract.
    unsafe {
        let result = match (*request).callback {
            Callback::Records(_) => LookupResult::Records(Err(failure)),
            Callback::Addresses(..) | Callback::Connect(_) => {
                LookupResult::Addresses(Err(AddressError::Failed(failure)))
            }
        };
        let key = (*request).key;
        let ttl = 0;
        queue(request, Finished { key, result, ttl });
    }
}

/// Has the callback called from the loop, with this result.
///
/// # Safety
/// `request` is NULL, or live and in no map any more.
pub(super) unsafe fn queue(request: *mut evdns_request, finished: Finished) {
    // SAFETY: by this function's contract; the task takes the request over.
    unsafe {
        if request.is_null() {
            return;
        }
        (*request).dns = ptr::null_mut();
        (*request).finished = Some(finished);
        push_dns_task((*request).base, request);
    }
}

/// Frees a request whose callback is not called.
///
/// # Safety
/// `request` is live, in no map and no queue, and is not used any more.
pub(crate) unsafe fn discard(request: *mut evdns_request) {
    // SAFETY: by this function's contract; the request's reference of its bufferevent goes with it.
    unsafe {
        let request = Box::from_raw(request);
        if let Callback::Connect(bev) = request.callback {
            bufferevent::look_up_discarded(bev);
        }
    }
}

/// Whether it is a bufferevent that waits, which must be told in any case.
///
/// # Safety
/// `request` is live.
pub(super) unsafe fn is_connecting(request: *mut evdns_request) -> bool {
    // SAFETY: by this function's contract.
    matches!(unsafe { &(*request).callback }, Callback::Connect(_))
}

/// Calls back, from the loop.
///
/// # Safety
/// `request` came from a task, which comes once.
pub(crate) unsafe fn run(request: *mut evdns_request) {
    // SAFETY: by this function's contract nobody else uses it; the program promises a function of this type.
    unsafe {
        let token = request;
        let request = Box::from_raw(request);
        let Some(finished) = request.finished else {
            return;
        };
        let arg = request.arg;
        match (request.callback, finished.result) {
            (Callback::Records(Some(callback)), LookupResult::Records(result)) => {
                let ttl = c_int::try_from(finished.ttl).unwrap_or(c_int::MAX);
                match result {
                    Ok(answer) => call(callback, &answer.records, ttl, arg),
                    Err(failure) => callback(failure.code(), 0, 0, ttl, ptr::null_mut(), arg),
                }
            }
            (Callback::Addresses(Some(callback), expansion), LookupResult::Addresses(result)) => {
                addrinfo::call(callback, &expansion, result, arg);
            }
            (Callback::Connect(bev), LookupResult::Addresses(result)) => {
                bufferevent::looked_up(bev, token, result);
            }
            _ => {}
        }
    }
}

unsafe fn call(
    callback: unsafe extern "C" fn(c_int, c_char, c_int, c_int, *mut c_void, *mut c_void),
    records: &Records,
    ttl: c_int,
    arg: *mut c_void,
) {
    // SAFETY: the caller's callback is the program's, and the memory that it gets is alive until it returns.
    unsafe {
        match records {
            Records::Ipv4(list) => {
                let mut bytes: Vec<[u8; 4]> = list.iter().map(Ipv4Addr::octets).collect();
                bytes.truncate(MAX_ADDRESSES);
                let count = bytes.len() as c_int;
                callback(0, IPV4, count, ttl, bytes.as_mut_ptr().cast(), arg);
            }
            Records::Ipv6(list) => {
                let mut bytes: Vec<[u8; 16]> = list.iter().map(Ipv6Addr::octets).collect();
                bytes.truncate(MAX_ADDRESSES);
                let count = bytes.len() as c_int;
                callback(0, IPV6, count, ttl, bytes.as_mut_ptr().cast(), arg);
            }
            Records::Names(list) => {
                let name = list.first().and_then(ferrevent_dns::Name::to_text);
                let text = CString::new(name.unwrap_or_default()).unwrap_or_default();
                let mut text = text.as_ptr().cast_mut();
                callback(0, POINTER, 1, ttl, (&raw mut text).cast(), arg);
            }
        }
    }
}
