//! Formatted text. Rust cannot define variadic functions, nor pass a `va_list` on: the bodies are C (`variadic.c`), and
//! the public names are jumps to them, which leave all arguments as they are.

use std::arch::naked_asm;
use std::ffi::{c_char, c_int, c_void};
use std::slice;

use super::{change, evbuffer, status};

unsafe extern "C" {
    fn ferrevent_add_printf(buf: *mut c_void, format: *const c_char, ...) -> c_int;
    fn ferrevent_add_vprintf(buf: *mut c_void, format: *const c_char, list: *mut c_void) -> c_int;
}

/// `evbuffer_add_printf`: how many bytes were added, or -1.
///
/// # Safety
/// The C API's contract: `buf` is alive; the arguments fit the format.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn evbuffer_add_printf(buf: *mut evbuffer, format: *const c_char) -> c_int {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("jmp {}", sym ferrevent_add_printf);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("b {}", sym ferrevent_add_printf);
}

/// `evbuffer_add_vprintf`: how many bytes were added, or -1.
///
/// # Safety
/// The C API's contract: `buf` is alive; the arguments fit the format.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn evbuffer_add_vprintf(
    buf: *mut evbuffer,
    format: *const c_char,
    list: *mut c_void,
) -> c_int {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("jmp {}", sym ferrevent_add_vprintf);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("b {}", sym ferrevent_add_vprintf);
}

/// What the two above have formatted: `len` bytes, and a zero byte, which goes behind the content without being a part of it.
/// C programs know that libevent's own formatting leaves one, and read such a text as a string where it lies.
///
/// # Safety
/// `buf` is alive; `text` has `len` readable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn ferrevent_add_text(
    buf: *mut evbuffer,
    text: *const c_char,
    len: usize,
) -> c_int {
    // SAFETY: by the function's contract; the text is the formatter's own, so that nothing changes it meanwhile.
    unsafe {
        let text = slice::from_raw_parts(text.cast(), len);
        status(change(buf, |buffer| buffer.append_text(text)))
    }
}
