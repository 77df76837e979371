//! `event2/dns_compat.h`: the same functions with the one resolver that a process may have as its global one.

use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{in_addr, in6_addr};

use super::life::{evdns_base_free, evdns_base_new};
use super::lookup::{
    evdns_base_resolve_ipv4, evdns_base_resolve_ipv6, evdns_base_resolve_reverse,
    evdns_base_resolve_reverse_ipv6, evdns_callback_type,
};
use super::port::{
    evdns_add_server_port_with_base, evdns_request_callback_fn_type, evdns_server_port,
};
use super::{evdns_base, evdns_request, files, servers, settings};
use crate::abi::evutil_socket_t;

static GLOBAL: AtomicPtr<evdns_base> = AtomicPtr::new(ptr::null_mut());

pub(super) fn global() -> *mut evdns_base {
    GLOBAL.load(Ordering::Acquire)
}

/// The global resolver, made if there is none. NULL if there is no event base either.
fn global_or_new() -> *mut evdns_base {
    let known = global();
    if !known.is_null() {
        return known;
    }
    // SAFETY: NULL stands for the current event base.
    let made = unsafe { evdns_base_new(ptr::null_mut(), 0) };
    GLOBAL.store(made, Ordering::Release);
    made
}

/// A resolver has been freed.
pub(super) fn forget(dns: *mut evdns_base) {
    let gone = ptr::null_mut();
    // If it was another one there is nothing to forget.
    let _ = GLOBAL.compare_exchange(dns, gone, Ordering::AcqRel, Ordering::Acquire);
}

/// `evdns_get_global_base`
#[unsafe(no_mangle)]
pub extern "C" fn evdns_get_global_base() -> *mut evdns_base {
    global()
}

/// `evdns_init`: makes the global resolver, on the current event base, from the system's files. 0, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn evdns_init() -> c_int {
    // SAFETY: NULL stands for the current event base.
    let made = unsafe { evdns_base_new(ptr::null_mut(), 1) };
    if made.is_null() {
        return -1;
    }
    GLOBAL.store(made, Ordering::Release);
    0
}

/// `evdns_shutdown`: frees the global resolver.
///
/// # Safety
/// Nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_shutdown(fail_requests: c_int) {
    let dns = GLOBAL.swap(ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: by this function's contract; NULL is allowed.
    unsafe { evdns_base_free(dns, fail_requests) };
}

/// `evdns_nameserver_add`
#[unsafe(no_mangle)]
pub extern "C" fn evdns_nameserver_add(address: c_ulong) -> c_int {
    // SAFETY: the global resolver is live, or NULL.
    unsafe { servers::evdns_base_nameserver_add(global_or_new(), address) }
}

/// `evdns_count_nameservers`: 0 without a resolver.
#[unsafe(no_mangle)]
pub extern "C" fn evdns_count_nameservers() -> c_int {
    // SAFETY: the global resolver is live, or NULL.
    unsafe { servers::evdns_base_count_nameservers(global()) }
}

/// `evdns_clear_nameservers_and_suspend`
#[unsafe(no_mangle)]
pub extern "C" fn evdns_clear_nameservers_and_suspend() -> c_int {
    // SAFETY: the global resolver is live, or NULL.
    unsafe { servers::evdns_base_clear_nameservers_and_suspend(global()) }
}

/// `evdns_resume`
#[unsafe(no_mangle)]
pub extern "C" fn evdns_resume() -> c_int {
    // SAFETY: the global resolver is live, or NULL.
    unsafe { servers::evdns_base_resume(global()) }
}

/// `evdns_nameserver_ip_add`
///
/// # Safety
/// `text` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_nameserver_ip_add(text: *const c_char) -> c_int {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    unsafe { servers::evdns_base_nameserver_ip_add(global_or_new(), text) }
}

/// 0 if a look-up has begun, otherwise -1.
fn begun(request: *mut evdns_request) -> c_int {
    if request.is_null() { -1 } else { 0 }
}

/// `evdns_resolve_ipv4`: 0, or -1.
///
/// # Safety
/// `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_resolve_ipv4(
    name: *const c_char,
    flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    begun(unsafe { evdns_base_resolve_ipv4(global(), name, flags, callback, arg) })
}

/// `evdns_resolve_ipv6`: 0, or -1.
///
/// # Safety
/// `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_resolve_ipv6(
    name: *const c_char,
    flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    begun(unsafe { evdns_base_resolve_ipv6(global(), name, flags, callback, arg) })
}

/// `evdns_resolve_reverse`: 0, or -1.
///
/// # Safety
/// `address` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_resolve_reverse(
    address: *const in_addr,
    flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    begun(unsafe { evdns_base_resolve_reverse(global(), address, flags, callback, arg) })
}

/// `evdns_resolve_reverse_ipv6`: 0, or -1.
///
/// # Safety
/// `address` is readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_resolve_reverse_ipv6(
    address: *const in6_addr,
    flags: c_int,
    callback: evdns_callback_type,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    begun(unsafe { evdns_base_resolve_reverse_ipv6(global(), address, flags, callback, arg) })
}

/// `evdns_set_option`
///
/// # Safety
/// `option` and `value` are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_set_option(
    option: *const c_char,
    value: *const c_char,
    _flags: c_int,
) -> c_int {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    unsafe { settings::evdns_base_set_option(global_or_new(), option, value) }
}

/// `evdns_resolv_conf_parse`
///
/// # Safety
/// `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_resolv_conf_parse(flags: c_int, name: *const c_char) -> c_int {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    unsafe { files::evdns_base_resolv_conf_parse(global_or_new(), flags, name) }
}

/// `evdns_search_clear`
#[unsafe(no_mangle)]
pub extern "C" fn evdns_search_clear() {
    // SAFETY: the global resolver is live, or NULL.
    unsafe { settings::evdns_base_search_clear(global()) }
}

/// `evdns_search_add`
///
/// # Safety
/// `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_search_add(name: *const c_char) {
    // SAFETY: by this function's contract; the global resolver is live, or NULL.
    unsafe { settings::evdns_base_search_add(global_or_new(), name) }
}

/// `evdns_search_ndots_set`
#[unsafe(no_mangle)]
pub extern "C" fn evdns_search_ndots_set(ndots: c_int) {
    // SAFETY: the global resolver is live, or NULL.
    unsafe { settings::evdns_base_search_ndots_set(global_or_new(), ndots) }
}

/// `evdns_add_server_port`: on the current event base.
///
/// # Safety
/// There is one, and it is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_add_server_port(
    socket: evutil_socket_t,
    flags: c_int,
    callback: evdns_request_callback_fn_type,
    arg: *mut c_void,
) -> *mut evdns_server_port {
    // SAFETY: by this function's contract.
    unsafe { evdns_add_server_port_with_base(ptr::null_mut(), socket, flags, callback, arg) }
}
