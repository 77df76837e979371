//! Options, search lists, hosts, messages.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use ferrevent_dns::{ConfParts, domain};

use super::{evdns_base, hold, with};
use crate::log;

/// `evdns_base_set_option`: 0, or -1 if the value does not fit. Unknown options are ignored, as in libevent.
///
/// # Safety
/// `dns` is live; `option` and `value` are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_set_option(
    dns: *mut evdns_base,
    option: *const c_char,
    value: *const c_char,
) -> c_int {
    if dns.is_null() || option.is_null() || value.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let option = CStr::from_ptr(option).to_string_lossy();
        let value = CStr::from_ptr(value).to_string_lossy();
        let set = with(dns, |resolver, now| {
            let mut config = resolver.config().clone();
            let set = config.set_option(&option, &value, ConfParts::all());
            resolver.set_config(config, now);
            set
        });
        if set.is_ok() { 0 } else { -1 }
    }
}

/// `evdns_base_clear_host_addresses`
///
/// # Safety
/// `dns` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_clear_host_addresses(dns: *mut evdns_base) {
    if !dns.is_null() {
        // SAFETY: by this function's contract.
        unsafe {
            let _held = hold(dns);
            (*dns).files.forget_hosts();
            with(dns, |resolver, _| resolver.hosts_mut().clear());
        }
    }
}

/// `evdns_base_search_clear`
///
/// # Safety
/// `dns` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_search_clear(dns: *mut evdns_base) {
    if !dns.is_null() {
        // SAFETY: by this function's contract.
        unsafe {
            let _held = hold(dns);
            (*dns).files.keep_search_list();
            with(dns, |resolver, _| resolver.clear_search_list());
        }
    }
}

/// `evdns_base_search_add`: in front of the others, as in libevent. What is no domain is ignored.
///
/// # Safety
/// `dns` is live; `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_search_add(dns: *mut evdns_base, name: *const c_char) {
    if dns.is_null() || name.is_null() {
        return;
    }
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(domain) = domain(CStr::from_ptr(name).to_bytes()) {
            let _held = hold(dns);
            (*dns).files.keep_search_list();
            with(dns, |resolver, _| resolver.add_search_domain(domain, true));
        }
    }
}

/// `evdns_base_search_ndots_set`
///
/// # Safety
/// `dns` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_search_ndots_set(dns: *mut evdns_base, ndots: c_int) {
    if dns.is_null() {
        return;
    }
    // SAFETY: by this function's contract.
    unsafe {
        with(dns, |resolver, now| {
            let mut config = resolver.config().clone();
            config.ndots = usize::try_from(ndots).unwrap_or(0);
            resolver.set_config(config, now);
        });
    }
}

/// `evdns_debug_log_fn_type`
pub type evdns_debug_log_fn_type = Option<unsafe extern "C" fn(c_int, *const c_char)>;

static LOG: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// `evdns_set_log_fn`: messages of resolvers go there, or with NULL where all others go.
#[unsafe(no_mangle)]
pub extern "C" fn evdns_set_log_fn(function: evdns_debug_log_fn_type) {
    let address = function.map_or(ptr::null_mut(), |f| f as *mut c_void);
    LOG.store(address, Ordering::Release);
}

/// No lock is held, since the program's function is called.
pub(super) fn warn(message: &str) {
    let function = LOG.load(Ordering::Acquire);
    if function.is_null() {
        return log::warn(message);
    }
    // SAFETY: the pointer was made from an `evdns_debug_log_fn_type` in `evdns_set_log_fn`.
    let function: evdns_debug_log_fn_type = unsafe { std::mem::transmute(function) };
    if let (Some(function), Ok(text)) = (function, CString::new(message)) {
        // SAFETY: the program promises a function of this type.
        unsafe { function(1, text.as_ptr()) };
    }
}

/// `evdns_set_transaction_id_fn`: has no effect, as in libevent: the numbers are random.
#[unsafe(no_mangle)]
pub extern "C" fn evdns_set_transaction_id_fn(_function: Option<unsafe extern "C" fn() -> u16>) {}

/// `evdns_set_random_bytes_fn`: has no effect, as in libevent.
#[unsafe(no_mangle)]
pub extern "C" fn evdns_set_random_bytes_fn(
    _function: Option<unsafe extern "C" fn(*mut c_char, usize)>,
) {
}

/// `evdns_err_to_string`
#[unsafe(no_mangle)]
pub extern "C" fn evdns_err_to_string(error: c_int) -> *const c_char {
    let text = match error {
        0 => c"no error",
        1 => c"misformatted query",
        2 => c"server failed",
        3 => c"name does not exist",
        4 => c"query not implemented",
        5 => c"refused",
        65 => c"reply truncated or ill-formed",
        66 => c"unknown",
        67 => c"request timed out",
        68 => c"dns subsystem shut down",
        69 => c"dns request canceled",
        70 => c"no records in the reply",
        _ => c"[Unknown error code]",
    };
    text.as_ptr()
}
