//! `struct evhttp_uri`: a URI in parts.

use std::ffi::{CString, c_char, c_int, c_uint};
use std::ptr;

use ferrevent_http::{BadUri, Conformance, Uri};

use super::bytes;

/// `EVHTTP_URI_NONCONFORMANT`
const NONCONFORMANT: c_uint = 1;

/// `struct evhttp_uri`
#[allow(non_camel_case_types, reason = "C's name")]
#[derive(Default)]
pub struct evhttp_uri {
    uri: Uri,
    /// The parts as the program sees them: strings that stay where they are until the part is set again.
    shown: Shown,
}

#[derive(Default)]
struct Shown {
    scheme: Option<CString>,
    user_info: Option<CString>,
    host: Option<CString>,
    path: Option<CString>,
    query: Option<CString>,
    fragment: Option<CString>,
}

impl Shown {
    fn of(uri: &Uri) -> Self {
        let text = |part: Option<&str>| string(part.map(str::as_bytes));
        Self {
            scheme: text(uri.scheme()),
            user_info: text(uri.user_info()),
            host: text(uri.host()),
            path: string(uri.path()),
            query: string(uri.query()),
            fragment: string(uri.fragment()),
        }
    }
}

/// A part comes from a C string, so that there is no zero byte in it.
fn string(part: Option<&[u8]>) -> Option<CString> {
    part.and_then(|part| CString::new(part).ok())
}

/// `evhttp_uri_new`
#[unsafe(no_mangle)]
pub extern "C" fn evhttp_uri_new() -> *mut evhttp_uri {
    Box::into_raw(Box::default())
}

/// `evhttp_uri_parse`: NULL for what is no URI.
///
/// # Safety
/// The C API's contract: `text` is NULL or a string. NULL gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uri_parse(text: *const c_char) -> *mut evhttp_uri {
    // SAFETY: by this function's contract.
    unsafe { evhttp_uri_parse_with_flags(text, 0) }
}

/// `evhttp_uri_parse_with_flags`: NULL for what is no URI. Unknown flags are ignored.
///
/// # Safety
/// The C API's contract: `text` is NULL or a string. NULL gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uri_parse_with_flags(
    text: *const c_char,
    flags: c_uint,
) -> *mut evhttp_uri {
    // SAFETY: by this function's contract.
    let text = unsafe { bytes(text) };
    match text.map(|text| Uri::parse_with(text, conformance(flags))) {
        Some(Ok(uri)) => for_program(uri),
        _ => ptr::null_mut(),
    }
}

/// A URI as programs see it; for `evhttp_uri_free`.
pub(super) fn for_program(uri: Uri) -> *mut evhttp_uri {
    let shown = Shown::of(&uri);
    Box::into_raw(Box::new(evhttp_uri { uri, shown }))
}

/// `evhttp_uri_free`
///
/// # Safety
/// The C API's contract: `uri` is NULL or live, and not used any more. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uri_free(uri: *mut evhttp_uri) {
    if !uri.is_null() {
        // SAFETY: it was made by `Box::into_raw` in one of the functions above.
        drop(unsafe { Box::from_raw(uri) });
    }
}

/// `evhttp_uri_set_flags`: for the parts that are set from now on.
///
/// # Safety
/// The C API's contract: `uri` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uri_set_flags(uri: *mut evhttp_uri, flags: c_uint) {
    // SAFETY: by this function's contract; no other thread uses it meanwhile.
    unsafe { &mut *uri }.uri.set_conformance(conformance(flags));
}

fn conformance(flags: c_uint) -> Conformance {
    match flags & NONCONFORMANT {
        0 => Conformance::Strict,
        _ => Conformance::Lenient,
    }
}

/// `evhttp_uri_join`: writes it to `buffer` and returns that; NULL, and nothing is written, if there is no room or
/// the parts do not fit together.
///
/// # Safety
/// The C API's contract: `uri` is NULL or live, `buffer` is NULL or has room for `limit` bytes. NULL gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uri_join(
    uri: *mut evhttp_uri,
    buffer: *mut c_char,
    limit: usize,
) -> *mut c_char {
    // SAFETY: by this function's contract; nobody changes it meanwhile.
    let Some(uri) = (unsafe { uri.as_ref() }) else {
        return ptr::null_mut();
    };
    let Ok(text) = uri.uri.join() else {
        return ptr::null_mut();
    };
    if buffer.is_null() || text.len() >= limit {
        return ptr::null_mut();
    }
    // SAFETY: there is room for the text and its end.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len());
        buffer.add(text.len()).write(0);
    }
    buffer
}

/// `evhttp_uri_get_port`: -1 if there is none.
///
/// # Safety
/// The C API's contract: `uri` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uri_get_port(uri: *const evhttp_uri) -> c_int {
    // SAFETY: by this function's contract; nobody changes it meanwhile.
    let port = unsafe { &*uri }.uri.port();
    port.and_then(|port| c_int::try_from(port).ok())
        .unwrap_or(-1)
}

/// `evhttp_uri_set_port`: -1 takes it away; -1 is returned for what is below that.
///
/// # Safety
/// The C API's contract: `uri` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_uri_set_port(uri: *mut evhttp_uri, port: c_int) -> c_int {
    if port < -1 {
        return -1;
    }
    // SAFETY: by this function's contract; no other thread uses it meanwhile.
    unsafe { &mut *uri }.uri.set_port(u32::try_from(port).ok());
    0
}

macro_rules! part {
    ($get:ident, $set:ident, $field:ident, $change:path) => {
        #[doc = concat!("`", stringify!($get), "`: NULL if it is not there. Valid until the part is set or the URI freed.")]
        ///
        /// # Safety
        /// The C API's contract: `uri` is live.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get(uri: *const evhttp_uri) -> *const c_char {
            // SAFETY: by this function's contract; nobody changes it meanwhile.
            let part = unsafe { &(*uri).shown.$field };
            part.as_ref().map_or(ptr::null(), |part| part.as_ptr())
        }

        #[doc = concat!("`", stringify!($set), "`: NULL takes it away; -1, and nothing changes, if it is none.")]
        ///
        /// # Safety
        /// The C API's contract: `uri` is live, `part` is NULL or a string.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(uri: *mut evhttp_uri, part: *const c_char) -> c_int {
            // It may be the string that the getter gave, which is about to go.
            // SAFETY: by this function's contract.
            let part = unsafe { bytes(part) }.map(<[u8]>::to_vec);
            // SAFETY: by this function's contract; no other thread uses it meanwhile.
            let uri = unsafe { &mut *uri };
            let changed: Result<(), BadUri> = $change(&mut uri.uri, part.as_deref());
            if changed.is_err() {
                return -1;
            }
            uri.shown.$field = string(part.as_deref());
            0
        }
    };
}

part!(
    evhttp_uri_get_scheme,
    evhttp_uri_set_scheme,
    scheme,
    Uri::set_scheme
);
part!(
    evhttp_uri_get_userinfo,
    evhttp_uri_set_userinfo,
    user_info,
    Uri::set_user_info
);
part!(
    evhttp_uri_get_host,
    evhttp_uri_set_host,
    host,
    Uri::set_host
);
part!(
    evhttp_uri_get_path,
    evhttp_uri_set_path,
    path,
    Uri::set_path
);
part!(
    evhttp_uri_get_query,
    evhttp_uri_set_query,
    query,
    Uri::set_query
);
part!(
    evhttp_uri_get_fragment,
    evhttp_uri_set_fragment,
    fragment,
    Uri::set_fragment
);
