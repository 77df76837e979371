//! The functions of OpenSSL that are used here. This library does not need OpenSSL: the sixth file,
//! `libevent_openssl-2.1.so.7`, does, and hands over a table of them with each call that makes a bufferevent.

use std::ffi::{c_char, c_int, c_long, c_ulong, c_void};
use std::sync::OnceLock;

/// OpenSSL's `SSL`.
#[repr(C)]
pub struct Ssl {
    _opaque: [u8; 0],
}

/// OpenSSL's `BIO`.
#[repr(C)]
pub(super) struct Bio {
    _opaque: [u8; 0],
}

/// OpenSSL's `BIO_METHOD`.
#[repr(C)]
pub(super) struct BioMethod {
    _opaque: [u8; 0],
}

/// The table that was handed over first: a process has one OpenSSL.
static KNOWN: OnceLock<Api> = OnceLock::new();

/// Keeps a copy of the table, unless there is one.
pub(super) fn learn(api: &Api) -> &'static Api {
    KNOWN.get_or_init(|| *api)
}

/// The table, once there is one.
pub(super) fn known() -> Option<&'static Api> {
    KNOWN.get()
}

/// The table; `openssl.c` has the same one.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Api {
    pub(super) ssl_do_handshake: unsafe extern "C" fn(*mut Ssl) -> c_int,
    pub(super) ssl_read: unsafe extern "C" fn(*mut Ssl, *mut c_void, c_int) -> c_int,
    pub(super) ssl_write: unsafe extern "C" fn(*mut Ssl, *const c_void, c_int) -> c_int,
    pub(super) ssl_shutdown: unsafe extern "C" fn(*mut Ssl) -> c_int,
    pub(super) ssl_renegotiate: unsafe extern "C" fn(*mut Ssl) -> c_int,
    pub(super) ssl_get_error: unsafe extern "C" fn(*const Ssl, c_int) -> c_int,
    pub(super) ssl_free: unsafe extern "C" fn(*mut Ssl),
    pub(super) ssl_clear: unsafe extern "C" fn(*mut Ssl) -> c_int,
    pub(super) ssl_get_fd: unsafe extern "C" fn(*const Ssl) -> c_int,
    pub(super) ssl_set_fd: unsafe extern "C" fn(*mut Ssl, c_int) -> c_int,
    pub(super) ssl_get_rbio: unsafe extern "C" fn(*const Ssl) -> *mut Bio,
    pub(super) ssl_set_bio: unsafe extern "C" fn(*mut Ssl, *mut Bio, *mut Bio),
    pub(super) ssl_ctrl: unsafe extern "C" fn(*mut Ssl, c_int, c_long, *mut c_void) -> c_long,
    pub(super) ssl_set_connect_state: unsafe extern "C" fn(*mut Ssl),
    pub(super) ssl_set_accept_state: unsafe extern "C" fn(*mut Ssl),
    pub(super) bio_get_new_index: unsafe extern "C" fn() -> c_int,
    pub(super) bio_meth_new: unsafe extern "C" fn(c_int, *const c_char) -> *mut BioMethod,
    pub(super) bio_meth_set_write: unsafe extern "C" fn(*mut BioMethod, BioWrite) -> c_int,
    pub(super) bio_meth_set_read: unsafe extern "C" fn(*mut BioMethod, BioRead) -> c_int,
    pub(super) bio_meth_set_ctrl: unsafe extern "C" fn(*mut BioMethod, BioCtrl) -> c_int,
    pub(super) bio_new: unsafe extern "C" fn(*const BioMethod) -> *mut Bio,
    pub(super) bio_set_data: unsafe extern "C" fn(*mut Bio, *mut c_void),
    pub(super) bio_get_data: unsafe extern "C" fn(*mut Bio) -> *mut c_void,
    pub(super) bio_set_init: unsafe extern "C" fn(*mut Bio, c_int),
    pub(super) bio_set_flags: unsafe extern "C" fn(*mut Bio, c_int),
    pub(super) bio_clear_flags: unsafe extern "C" fn(*mut Bio, c_int),
    pub(super) bio_method_type: unsafe extern "C" fn(*const Bio) -> c_int,
    pub(super) bio_ctrl: BioCtrl,
    pub(super) bio_read: unsafe extern "C" fn(*mut Bio, *mut c_void, c_int) -> c_int,
    pub(super) bio_push: unsafe extern "C" fn(*mut Bio, *mut Bio) -> *mut Bio,
    pub(super) bio_up_ref: unsafe extern "C" fn(*mut Bio) -> c_int,
    pub(super) bio_free: unsafe extern "C" fn(*mut Bio) -> c_int,
    pub(super) bio_f_buffer: unsafe extern "C" fn() -> *const BioMethod,
    pub(super) bio_new_socket: unsafe extern "C" fn(c_int, c_int) -> *mut Bio,
    pub(super) err_clear_error: unsafe extern "C" fn(),
    pub(super) err_get_error: unsafe extern "C" fn() -> c_ulong,
}

/// A BIO's write function.
pub(super) type BioWrite = unsafe extern "C" fn(*mut Bio, *const c_char, c_int) -> c_int;
/// A BIO's read function.
pub(super) type BioRead = unsafe extern "C" fn(*mut Bio, *mut c_char, c_int) -> c_int;
/// A BIO's control function.
pub(super) type BioCtrl = unsafe extern "C" fn(*mut Bio, c_int, c_long, *mut c_void) -> c_long;

/// What `SSL_get_error` answers.
pub(super) const WANT_READ: c_int = 2;
pub(super) const WANT_WRITE: c_int = 3;
pub(super) const ZERO_RETURN: c_int = 6;

/// `SSL_MODE_ENABLE_PARTIAL_WRITE` and `SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER`, set by `SSL_CTRL_MODE`.
pub(super) const CTRL_MODE: c_int = 33;
pub(super) const MODES: c_long = 1 | 2;

/// Whether an error says that the peer has ended the connection without saying so in TLS.
pub(super) fn is_unexpected_eof(error: c_ulong) -> bool {
    const LIB_SSL: c_ulong = 20;
    const UNEXPECTED_EOF: c_ulong = 294;
    error >> 23 == LIB_SSL && error & 0x7f_ffff == UNEXPECTED_EOF
}

/// What a BIO is, for `BIO_meth_new`.
pub(super) const TYPE_DESCRIPTOR: c_int = 0x100;
pub(super) const TYPE_SOURCE_SINK: c_int = 0x400;
/// What `BIO_method_type` answers for a BIO that buffers another one.
pub(super) const TYPE_BUFFER: c_int = 9 | 0x200;

/// Commands to a BIO.
pub(super) const BIO_CTRL_EOF: c_int = 2;
pub(super) const BIO_CTRL_SET_CLOSE: c_int = 9;
pub(super) const BIO_CTRL_PENDING: c_int = 10;
pub(super) const BIO_CTRL_FLUSH: c_int = 11;
pub(super) const BIO_CTRL_DUP: c_int = 12;
pub(super) const BIO_CTRL_WPENDING: c_int = 13;
pub(super) const BIO_C_GET_FD: c_int = 105;
pub(super) const BIO_C_SET_BUFF_READ_DATA: c_int = 122;

/// The flags of a BIO that concern its last operation, and the one set "reading, and to be tried again".
pub(super) const BIO_FLAGS_RETRY: c_int = 0x0f;
pub(super) const BIO_FLAGS_RETRY_READ: c_int = 0x01 | 0x08;
