//! `evutil_getaddrinfo`: the system's, with libevent's texts.

use std::ffi::{c_char, c_int};

use libc::addrinfo;

use crate::dns;

/// `EVUTIL_EAI_CANCEL`
const CANCEL: c_int = -90001;

/// `EAI_ADDRFAMILY`, `EAI_NODATA`, `EAI_CANCELED`: not in POSIX, and so not in `libc`.
const ADDRFAMILY: c_int = -9;
const NODATA: c_int = -5;
const CANCELED: c_int = -101;

/// `evutil_getaddrinfo`: 0 or an `EVUTIL_EAI_...` code. Blocks.
///
/// # Safety
/// The C API's contract: names are NULL or strings, `hints` is NULL or readable, `result` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { libc::getaddrinfo(node, service, hints, result) }
}

/// `evutil_freeaddrinfo`: NULL is allowed.
///
/// # Safety
/// The C API's contract: `list` is NULL or came from `evutil_getaddrinfo` or `evdns_getaddrinfo`, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_freeaddrinfo(list: *mut addrinfo) {
    if list.is_null() {
        return;
    }
    // SAFETY: by the C API's contract; the mark is in no list of the system's.
    unsafe {
        if (*list).ai_flags & dns::OURS != 0 {
            dns::free_list(list);
        } else {
            libc::freeaddrinfo(list);
        }
    }
}

/// `evutil_gai_strerror`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_gai_strerror(code: c_int) -> *const c_char {
    let text = match code {
        0 => c"No error",
        ADDRFAMILY => c"address family for nodename not supported",
        libc::EAI_AGAIN => c"temporary failure in name resolution",
        libc::EAI_BADFLAGS => c"invalid value for ai_flags",
        libc::EAI_FAIL => c"non-recoverable failure in name resolution",
        libc::EAI_FAMILY => c"ai_family not supported",
        libc::EAI_MEMORY => c"memory allocation failure",
        NODATA => c"no address associated with nodename",
        libc::EAI_NONAME => c"nodename nor servname provided, or not known",
        libc::EAI_SERVICE => c"servname not supported for ai_socktype",
        libc::EAI_SOCKTYPE => c"ai_socktype not supported",
        libc::EAI_SYSTEM => c"system error",
        CANCEL | CANCELED => c"Request canceled",
        // SAFETY: gives a constant text for every number.
        _ => return unsafe { libc::gai_strerror(code) },
    };
    text.as_ptr()
}
