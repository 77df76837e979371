//! Percent coding and HTML.

use std::ffi::{c_char, c_int};
use std::{ptr, slice};

use ferrevent_http::html;
use ferrevent_http::percent::{self, Plus, Space};
use libc::ssize_t;

use super::bytes;
use crate::memory;

/// How much longer a text can become by encoding.
const GROWTH: usize = "%20".len();

/// `evhttp_encode_uri`: for the caller to free.
///
/// # Safety
/// The C API's contract: `text` is NULL or a string. NULL gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_encode_uri(text: *const c_char) -> *mut c_char {
    // SAFETY: by this function's contract.
    unsafe { evhttp_uriencode(text, -1, 0) }
}

/// `evhttp_uriencode`: for the caller to free. NULL if there is no memory, or there could be none for the result.
///
/// # Safety
/// The C API's contract: `text` has `size` bytes; if `size` is negative, it is NULL or a string. NULL gives NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uriencode(
    text: *const c_char,
    size: ssize_t,
    space_to_plus: c_int,
) -> *mut c_char {
    let text = match usize::try_from(size) {
        Ok(0) => Some(&[][..]),
        Ok(size) if text.is_null() || size > isize::MAX as usize / GROWTH - 1 => None,
        // SAFETY: by this function's contract it has as many bytes.
        Ok(size) => Some(unsafe { slice::from_raw_parts(text.cast::<u8>(), size) }),
        // SAFETY: by this function's contract.
        Err(_) => unsafe { bytes(text) },
    };
    let space = match space_to_plus {
        0 => Space::Percent,
        _ => Space::Plus,
    };
    text.map_or(ptr::null_mut(), |text| {
        memory::string(percent::encode(text, space).as_bytes())
    })
}

/// `evhttp_decode_uri`: a `+` is a space behind the first `?`. For the caller to free. NULL for a text with `%00` in it.
///
/// # Safety
/// The C API's contract: `text` is NULL or a string. NULL gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_decode_uri(text: *const c_char) -> *mut c_char {
    // SAFETY: by this function's contract.
    match unsafe { bytes(text) } {
        Some(text) => whole_string(&percent::decode(text, Plus::SpaceInQuery)),
        None => ptr::null_mut(),
    }
}

/// `evhttp_uridecode`: for the caller to free. Without `size_out` NULL for a text with `%00` in it, since then the
/// caller could see only what is before it.
///
/// # Safety
/// The C API's contract: `text` is NULL or a string, `size_out` is NULL or writable. NULL as a text gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uridecode(
    text: *const c_char,
    decode_plus: c_int,
    size_out: *mut usize,
) -> *mut c_char {
    let plus = match decode_plus {
        0 => Plus::Plus,
        _ => Plus::Space,
    };
    // SAFETY: by this function's contract.
    let Some(text) = (unsafe { bytes(text) }) else {
        return ptr::null_mut();
    };
    let decoded = percent::decode(text, plus);
    if size_out.is_null() {
        return whole_string(&decoded);
    }
    let string = memory::string(&decoded);
    if !string.is_null() {
        // SAFETY: by this function's contract it is writable.
        unsafe { size_out.write(decoded.len()) };
    }
    string
}

/// `evhttp_htmlescape`: for the caller to free.
///
/// # Safety
/// The C API's contract: `text` is NULL or a string. NULL gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_htmlescape(text: *const c_char) -> *mut c_char {
    // SAFETY: by this function's contract.
    match unsafe { bytes(text) } {
        Some(text) => memory::string(&html::escape(text)),
        None => ptr::null_mut(),
    }
}

/// For a caller that takes the first zero byte for the end: NULL if there is one in the text.
fn whole_string(text: &[u8]) -> *mut c_char {
    match text.contains(&0) {
        true => ptr::null_mut(),
        false => memory::string(text),
    }
}
