//! Messages: `event_set_log_callback`, `event_set_fatal_callback`, `event_enable_debug_logging`.

use std::arch::naked_asm;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{self, Write};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::abi::{event_fatal_cb, event_log_cb};

/// `EVENT_LOG_*`
#[derive(Clone, Copy)]
#[repr(i32)]
pub(crate) enum Level {
    Message = 1,
    Warn = 2,
    Error = 3,
}

static LOG: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static FATAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// `event_set_log_callback`: messages go to `callback`, or to stderr if it is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn event_set_log_callback(callback: event_log_cb) {
    let address = callback.map_or(std::ptr::null_mut(), |f| f as *mut c_void);
    LOG.store(address, Ordering::Release);
}

/// `event_set_fatal_callback`: called instead of `exit` where the library cannot go on.
#[unsafe(no_mangle)]
pub extern "C" fn event_set_fatal_callback(callback: event_fatal_cb) {
    let address = callback.map_or(std::ptr::null_mut(), |f| f as *mut c_void);
    FATAL.store(address, Ordering::Release);
}

/// `event_enable_debug_logging`: this library logs no debug messages, so that there is nothing to turn on.
#[unsafe(no_mangle)]
pub extern "C" fn event_enable_debug_logging(_which: u32) {}

pub(crate) fn message(message: &str) {
    write(Level::Message, message);
}

pub(crate) fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that no program can recover from: the callback, or the end.
pub(crate) fn fatal(message: &str) -> ! {
    fatal_with(ABORT, message)
}

/// `EVENT_ERR_ABORT_`
pub(crate) const ABORT: c_int = 0xdead_dead_u32 as c_int;

/// The same with another number for the callback; without one the program ends with it.
pub(crate) fn fatal_with(code: c_int, message: &str) -> ! {
    write(Level::Error, message);
    let callback = FATAL.load(Ordering::Acquire);
    if !callback.is_null() {
        // SAFETY: the pointer was made from an `event_fatal_cb` in `event_set_fatal_callback`.
        let callback: event_fatal_cb = unsafe { std::mem::transmute(callback) };
        if let Some(callback) = callback {
            // SAFETY: the program promises a function of this type.
            unsafe { callback(code) };
        }
    }
    if code == ABORT {
        std::process::abort()
    }
    std::process::exit(code)
}

fn write(level: Level, message: &str) {
    let callback = LOG.load(Ordering::Acquire);
    if callback.is_null() {
        let name = match level {
            Level::Message => "msg",
            Level::Warn => "warn",
            Level::Error => "err",
        };
        // Whether anybody reads it or not, the program goes on.
        let _ = writeln!(io::stderr(), "[{name}] {message}");
        return;
    }
    // SAFETY: the pointer was made from an `event_log_cb` in `event_set_log_callback`.
    let callback: event_log_cb = unsafe { std::mem::transmute(callback) };
    let Ok(text) = CString::new(message.replace('\0', " ")) else {
        return;
    };
    if let Some(callback) = callback {
        // SAFETY: the program promises a function of this type; the text lives until it returns.
        unsafe { callback(level as c_int, text.as_ptr()) };
    }
}

unsafe extern "C" {
    fn ferrevent_event_err(code: c_int, format: *const c_char, ...);
    fn ferrevent_event_errx(code: c_int, format: *const c_char, ...);
    fn ferrevent_event_warn(format: *const c_char, ...);
    fn ferrevent_event_warnx(format: *const c_char, ...);
    fn ferrevent_event_msgx(format: *const c_char, ...);
}

/// What `variadic.c` has formatted. An error of `code` does not return.
#[unsafe(no_mangle)]
unsafe extern "C" fn ferrevent_log(level: c_int, code: c_int, text: *const c_char) {
    // SAFETY: the only caller passes a string.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    match level {
        1 => write(Level::Message, &text),
        2 => write(Level::Warn, &text),
        _ => fatal_with(code, &text),
    }
}

macro_rules! jump {
    ($(#[$doc:meta] $name:ident($($arg:ident: $type:ty),*) -> $body:ident;)*) => {$(
        #[$doc]
        ///
        /// # Safety
        /// The arguments fit the format.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            naked_asm!("jmp {}", sym $body);
            #[cfg(target_arch = "aarch64")]
            naked_asm!("b {}", sym $body);
        }
    )*};
}

// No header declares these, but programs made by event_rpcgen call them.
jump! {
    /// `event_err`: a message with the text of `errno`, and the end.
    event_err(code: c_int, format: *const c_char) -> ferrevent_event_err;
    /// `event_errx`: a message, and the end.
    event_errx(code: c_int, format: *const c_char) -> ferrevent_event_errx;
    /// `event_warn`: a warning with the text of `errno`.
    event_warn(format: *const c_char) -> ferrevent_event_warn;
    /// `event_warnx`: a warning.
    event_warnx(format: *const c_char) -> ferrevent_event_warnx;
    /// `event_msgx`: a message.
    event_msgx(format: *const c_char) -> ferrevent_event_msgx;
}
