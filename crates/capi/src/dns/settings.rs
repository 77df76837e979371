//! Options, search lists, `resolv.conf`, hosts, messages.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use ferrevent_dns::{ConfParts, ResolvConf, domain};

use super::{evdns_base, servers, with};
use crate::log;

pub(super) const RESOLV_CONF: &CStr = c"/etc/resolv.conf";
const HOSTS: &CStr = c"/etc/hosts";

/// Files are read up to this many bytes; they have no need to be longer.
const LONGEST_FILE: u64 = 16 << 20;

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

/// `evdns_base_resolv_conf_parse`: 0; 1 if the file cannot be opened, 2 if it cannot be read, 3 if it is too long, 6 if it
/// names no server. The server of this machine is taken then, unless `flags` say otherwise.
///
/// # Safety
/// `dns` is live; `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_resolv_conf_parse(
    dns: *mut evdns_base,
    flags: c_int,
    name: *const c_char,
) -> c_int {
    if dns.is_null() || name.is_null() {
        return -1;
    }
    let parts = ConfParts::from_bits_truncate(flags as u32);
    // SAFETY: by this function's contract.
    unsafe { read_conf(dns, parts, CStr::from_ptr(name)) }
}

/// # Safety
/// `dns` is live.
pub(super) unsafe fn read_conf(dns: *mut evdns_base, parts: ConfParts, name: &CStr) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        if parts.contains(ConfParts::HOSTS) {
            evdns_base_load_hosts(dns, HOSTS.as_ptr());
        }
        let wants_servers = parts.contains(ConfParts::SERVERS);
        let default_server = wants_servers && !parts.contains(ConfParts::NO_DEFAULT_SERVER);
        let text = match read_file(name) {
            Ok(text) => text,
            Err(code) => {
                if code == NO_FILE && default_server {
                    servers::add_text(dns, b"127.0.0.1");
                }
                return code;
            }
        };
        let mut conf = ResolvConf::parse(&text);
        if parts.contains(ConfParts::SEARCH) && conf.search.is_none() {
            conf.search = Some(domain_of_this_host().into_iter().collect());
        }
        with(dns, |resolver, now| resolver.apply(&conf, parts, now));
        if !wants_servers {
            return 0;
        }
        for server in &conf.servers {
            servers::add_text(dns, server);
        }
        if default_server && servers::evdns_base_count_nameservers(dns) == 0 {
            servers::add_text(dns, b"127.0.0.1");
            return NO_SERVERS;
        }
        0
    }
}

const NO_FILE: c_int = 1;
const UNREADABLE: c_int = 2;
const TOO_LONG: c_int = 3;
const NO_SERVERS: c_int = 6;

/// A file's text, or libevent's number for what is wrong with it.
fn read_file(name: &CStr) -> Result<Vec<u8>, c_int> {
    let file = File::open(OsStr::from_bytes(name.to_bytes())).map_err(|_| NO_FILE)?;
    let mut text = Vec::new();
    let read = file.take(LONGEST_FILE + 1).read_to_end(&mut text);
    read.map_err(|_| UNREADABLE)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(TOO_LONG);
    }
    Ok(text)
}

/// What stands behind the first dot of this machine's name.
fn domain_of_this_host() -> Option<ferrevent_dns::Name> {
    let mut name = [0_u8; 256];
    // SAFETY: `name` is valid for writing as many bytes as it is long.
    if unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) } != 0 {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&name).ok()?.to_bytes();
    let dot = name.iter().position(|&byte| byte == b'.')?;
    domain(&name[dot..])
}

/// `evdns_base_load_hosts`: adds what a file says; NULL stands for `localhost` alone. -1 if it cannot be read, and then
/// `localhost` is known all the same.
///
/// # Safety
/// `dns` is live; `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_load_hosts(dns: *mut evdns_base, name: *const c_char) -> c_int {
    if dns.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        let text = (!name.is_null()).then(|| read_file(CStr::from_ptr(name)));
        with(dns, |resolver, _| match &text {
            Some(Ok(text)) => resolver.hosts_mut().add_file(text),
            Some(Err(_)) | None => resolver.hosts_mut().add_localhost(),
        });
        if matches!(text, Some(Err(_))) { -1 } else { 0 }
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
        unsafe { with(dns, |resolver, _| resolver.hosts_mut().clear()) };
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
        unsafe { with(dns, |resolver, _| resolver.clear_search_list()) };
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
