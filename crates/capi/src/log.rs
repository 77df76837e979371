//! Messages: `event_set_log_callback`, `event_set_fatal_callback`, `event_enable_debug_logging`.

use std::ffi::{CString, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::abi::{event_fatal_cb, event_log_cb};

/// `EVENT_LOG_*`
#[derive(Clone, Copy)]
#[repr(i32)]
pub(crate) enum Level {
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

pub(crate) fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that no program can recover from: the callback, or the end.
pub(crate) fn fatal(message: &str) -> ! {
    write(Level::Error, message);
    let callback = FATAL.load(Ordering::Acquire);
    if !callback.is_null() {
        // SAFETY: the pointer was made from an `event_fatal_cb` in `event_set_fatal_callback`.
        let callback: event_fatal_cb = unsafe { std::mem::transmute(callback) };
        if let Some(callback) = callback {
            // SAFETY: the program promises a function of this type.
            unsafe { callback(0xdead_dead_u32 as c_int) };
        }
    }
    std::process::abort()
}

fn write(level: Level, message: &str) {
    let callback = LOG.load(Ordering::Acquire);
    if callback.is_null() {
        let name = match level {
            Level::Warn => "warn",
            Level::Error => "err",
        };
        eprintln!("[{name}] {message}");
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
