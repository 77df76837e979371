//! Virtual hosts, aliases, and whose callback a request is for.

use std::ffi::{c_char, c_int};

use ferrevent_http::host;
use ferrevent_http::percent::{self, Plus};

use super::{Callback, evhttp, string};
use crate::abi::evhttp_request;
use crate::http::bytes;
use crate::http::request::{evhttp_request_get_evhttp_uri, evhttp_request_get_host};
use crate::http::uri::evhttp_uri_get_path;

/// `evhttp_add_virtual_host`: -1 if `vhost` is one already, listens itself, or `http` is one of its own hosts. `http` frees
/// it.
///
/// # Safety
/// The C API's contract: both are live, `pattern` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_add_virtual_host(
    http: *mut evhttp,
    pattern: *const c_char,
    vhost: *mut evhttp,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(pattern) = string(pattern) else {
            return -1;
        };
        if !(*vhost).parent.is_null() || !(*vhost).bound.is_empty() || stands_above(vhost, http) {
            return -1;
        }
        (*vhost).parent = http;
        (*http).hosts.push((pattern, vhost));
        0
    }
}

/// Whether `http` is `vhost` or one of its hosts, at any depth.
unsafe fn stands_above(vhost: *mut evhttp, http: *mut evhttp) -> bool {
    let mut at = http;
    while !at.is_null() {
        if at == vhost {
            return true;
        }
        // SAFETY: the caller's server is live, and a host is removed from its parent before that is gone.
        at = unsafe { (*at).parent };
    }
    false
}

/// `evhttp_remove_virtual_host`: -1 if it is none of this one. The caller frees it.
///
/// # Safety
/// The C API's contract: both are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_remove_virtual_host(
    http: *mut evhttp,
    vhost: *mut evhttp,
) -> c_int {
    // SAFETY: by this function's contract; the reference ends here.
    unsafe {
        let hosts = &mut (*http).hosts;
        let Some(at) = hosts.iter().position(|&(_, other)| other == vhost) else {
            return -1;
        };
        hosts.remove(at);
        (*vhost).parent = std::ptr::null_mut();
        0
    }
}

/// `evhttp_add_server_alias`
///
/// # Safety
/// The C API's contract: `http` is live, `alias` a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_add_server_alias(http: *mut evhttp, alias: *const c_char) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(alias) = string(alias) else {
            return -1;
        };
        (*http).aliases.push(alias);
        0
    }
}

/// `evhttp_remove_server_alias`: -1 if it is none.
///
/// # Safety
/// The C API's contract: `http` is live, `alias` a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_remove_server_alias(
    http: *mut evhttp,
    alias: *const c_char,
) -> c_int {
    // SAFETY: by this function's contract; the reference ends here.
    unsafe {
        let aliases = &mut (*http).aliases;
        let Some(alias) = bytes(alias) else {
            return -1;
        };
        let found = aliases
            .iter()
            .position(|other| other.to_bytes().eq_ignore_ascii_case(alias));
        let Some(at) = found else { return -1 };
        aliases.remove(at);
        0
    }
}

/// Whose callback a request is for: that of its path on its host, or the general one there.
///
/// # Safety
/// `http` and `req` are live. No code of the program's runs.
pub(super) unsafe fn callback_for(http: *mut evhttp, req: *mut evhttp_request) -> Option<Callback> {
    // SAFETY: by this function's contract; virtual hosts live as long as they are in the list.
    unsafe {
        let mut host = http;
        if !(*http).hosts.is_empty() {
            let name = bytes(evhttp_request_get_host(req));
            host = name.map_or(http, |name| host_of(http, name));
        }
        let callbacks = &(*host).callbacks;
        if !callbacks.is_empty()
            && let Some(path) = path_of(req)
            && let Some((_, callback)) = callbacks.iter().find(|(of, _)| of.to_bytes() == path)
        {
            return Some(*callback);
        }
        (*host).general
    }
}

/// The path, decoded; `None` if there is none, or it could not be that of a callback.
unsafe fn path_of(req: *mut evhttp_request) -> Option<Vec<u8>> {
    // SAFETY: the caller's request is live; its parts belong to it.
    unsafe {
        let uri = evhttp_request_get_evhttp_uri(req);
        let path = bytes(evhttp_uri_get_path(uri.as_ref()?))?;
        Some(percent::decode(path, Plus::Plus))
    }
}

/// The virtual host that has this name, at any depth; otherwise the server itself.
unsafe fn host_of(http: *mut evhttp, name: &[u8]) -> *mut evhttp {
    // SAFETY: the caller's server is live, and so are its hosts.
    unsafe {
        let mut found = http;
        // By the pattern, from the outermost to the innermost.
        while let Some(&(_, inner)) = (*found)
            .hosts
            .iter()
            .find(|(pattern, _)| host::matches(pattern.to_bytes(), name))
        {
            found = inner;
        }
        if found == http {
            alias_of(http, name).unwrap_or(http)
        } else {
            found
        }
    }
}

/// The first one, from the outermost, with this alias.
unsafe fn alias_of(http: *mut evhttp, name: &[u8]) -> Option<*mut evhttp> {
    // SAFETY: the caller's server is live, and so are its hosts. Their depth is what the program has made of it.
    unsafe {
        if (*http)
            .aliases
            .iter()
            .any(|alias| alias.to_bytes().eq_ignore_ascii_case(name))
        {
            return Some(http);
        }
        (*http)
            .hosts
            .iter()
            .find_map(|&(_, host)| alias_of(host, name))
    }
}
