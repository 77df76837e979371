//! Requests to a server of C.

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::ptr::NonNull;

use libc::c_int;

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::ffi::{self, evhttp_request, evkeyvalq};

/// A request that an `evhttp` server of C has got, to be answered by Rust: libevent's `struct evhttp_request`, as the
/// server's callbacks get it.
///
/// It may be kept and answered later. If it is dropped without an answer, the client gets 500. That the client has gone
/// in the meantime does no harm.
///
/// In the crate `ferrevent`, `http::Server` gives its requests to Rust itself. This is for a program whose callbacks move
/// before its server does.
#[must_use = "a request that is dropped is answered with 500"]
pub struct HttpRequest(NonNull<evhttp_request>);

impl HttpRequest {
    /// Takes over a request that C has got.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// - `raw` was passed to a callback of an `evhttp` server, and is not answered yet. C neither answers nor frees it any
    ///   more.
    /// - It is answered, or dropped, before C frees the server or its connection, on the thread that runs the server's
    ///   loop.
    pub unsafe fn from_raw(raw: *mut evhttp_request) -> Self {
        Self(NonNull::new(raw).expect("a request"))
    }

    /// The request, for C to look at, but not to answer.
    pub fn as_raw(&self) -> *mut evhttp_request {
        self.0.as_ptr()
    }

    /// Gives the request to C, which has to answer it.
    #[must_use = "C has to answer it"]
    pub fn into_raw(self) -> *mut evhttp_request {
        std::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// What is asked for, as the client has sent it (`evhttp_request_get_uri`).
    pub fn uri(&self) -> &[u8] {
        // SAFETY: the request is live until it is answered, which takes `self`. The text is the request's own, and nobody
        // changes it.
        unsafe { text(ffi::evhttp_request_get_uri(self.as_raw())) }.unwrap_or_default()
    }

    /// The method (`evhttp_request_get_command`), such as "GET"; empty of one that libevent has no name for.
    pub fn method(&self) -> &'static str {
        // SAFETY: the request is live, as in `uri`.
        let number = unsafe { ffi::evhttp_request_get_command(self.as_raw()) };
        METHODS
            .iter()
            .find(|(method, _)| *method == number)
            .map_or("", |(_, name)| name)
    }

    /// A field of the request's head (`evhttp_find_header`); the first, if there are several of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let name = CString::new(name).ok()?;
        // SAFETY: the request is live, as in `uri`.
        let headers = unsafe { ffi::evhttp_request_get_input_headers(self.as_raw()) };
        // SAFETY: the list is the request's. So is the text, and nothing of this type changes either.
        unsafe { text(ffi::evhttp_find_header(headers, name.as_ptr())) }
    }

    /// The body (`evhttp_request_get_input_buffer`).
    pub fn body(&mut self) -> &mut Buffer {
        // SAFETY: the request is live, as in `uri`.
        let body = unsafe { ffi::evhttp_request_get_input_buffer(self.as_raw()) };
        // SAFETY: the buffer is the request's, which is borrowed for as long as it is lent. Every request has one.
        unsafe { Buffer::from_raw(body) }
    }

    /// Adds a field to the answer's head (`evhttp_add_header`).
    ///
    /// # Errors
    /// [`Error::Io`] of a name or a value that cannot be sent, such as one with the end of a line in it.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<()> {
        let invalid = || Error::Io(std::io::ErrorKind::InvalidInput.into());
        let texts = CString::new(name).ok().zip(CString::new(value).ok());
        let texts = texts.filter(|_| is_one_line(name) && is_one_line(value));
        let (name, value) = texts.ok_or_else(invalid)?;
        // SAFETY: the request is live, as in `uri`.
        let headers: *mut evkeyvalq =
            unsafe { ffi::evhttp_request_get_output_headers(self.as_raw()) };
        // SAFETY: the list is the request's; both texts are copied.
        match unsafe { ffi::evhttp_add_header(headers, name.as_ptr(), value.as_ptr()) } {
            0 => Ok(()),
            _ => Err(invalid()),
        }
    }

    /// Answers it (`evhttp_send_reply`), with what is in `body`, which is moved. Without a reason there is the usual one
    /// for the code; so there is for a reason that cannot be sent, because it has a zero byte or the end of a line in it.
    pub fn reply(self, code: u16, reason: Option<&str>, body: Option<&mut Buffer>) {
        let reason = c_reason(reason);
        let body = body.map_or(std::ptr::null_mut(), |body| body.as_raw());
        let raw = self.into_raw();
        // SAFETY: the request was live until now, as in `uri`, and is the server's from now on. The reason is copied.
        unsafe { ffi::evhttp_send_reply(raw, c_int::from(code), pointer(reason.as_ref()), body) };
    }

    /// Answers it with a page that says what is wrong (`evhttp_send_error`). The reason is as in [`reply`](Self::reply).
    pub fn error(self, code: u16, reason: Option<&str>) {
        let reason = c_reason(reason);
        let raw = self.into_raw();
        // SAFETY: as in `reply`.
        unsafe { ffi::evhttp_send_error(raw, c_int::from(code), pointer(reason.as_ref())) };
    }
}

/// libevent's `enum evhttp_cmd_type`.
const METHODS: &[(libc::c_uint, &str)] = &[
    (1 << 0, "GET"),
    (1 << 1, "POST"),
    (1 << 2, "HEAD"),
    (1 << 3, "PUT"),
    (1 << 4, "DELETE"),
    (1 << 5, "OPTIONS"),
    (1 << 6, "TRACE"),
    (1 << 7, "CONNECT"),
    (1 << 8, "PATCH"),
];

/// # Safety
/// `text` is NULL, or ends with a zero byte, and lives unchanged for as long as the result is used.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// A reason with a zero byte or the end of a line is none: what is behind it would be read as header fields, or as
/// another answer.
fn c_reason(reason: Option<&str>) -> Option<CString> {
    CString::new(reason.filter(|reason| is_one_line(reason))?).ok()
}

/// Whether it stays one line when it is sent. libevent looks at no reason, and up to Debian's `+deb12u1` its values may go
/// on in the next line.
fn is_one_line(text: &str) -> bool {
    !text.contains(['\r', '\n'])
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |text| text.as_ptr())
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method())
            .field("uri", &self.uri().escape_ascii().to_string())
            .finish()
    }
}

impl Drop for HttpRequest {
    fn drop(&mut self) {
        // SAFETY: as in `reply`.
        unsafe { ffi::evhttp_send_error(self.as_raw(), 500, std::ptr::null()) };
    }
}
