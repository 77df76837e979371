//! Strings, numbers and dates.

use std::arch::naked_asm;
use std::cmp::Ordering;
use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

unsafe extern "C" {
    fn ferrevent_snprintf(text: *mut c_char, size: usize, format: *const c_char, ...) -> c_int;
    fn ferrevent_vsnprintf(
        text: *mut c_char,
        size: usize,
        format: *const c_char,
        list: *mut c_void,
    ) -> c_int;
}

/// `evutil_snprintf`: as C's `snprintf`, but 0 when there is no room at all.
///
/// # Safety
/// The C API's contract: `text` has room for `size` bytes; the arguments fit the format.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn evutil_snprintf(
    text: *mut c_char,
    size: usize,
    format: *const c_char,
) -> c_int {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("jmp {}", sym ferrevent_snprintf);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("b {}", sym ferrevent_snprintf);
}

/// `evutil_vsnprintf`: as C's `vsnprintf`, but 0 when there is no room at all.
///
/// # Safety
/// The C API's contract: `text` has room for `size` bytes; the arguments fit the format.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn evutil_vsnprintf(
    text: *mut c_char,
    size: usize,
    format: *const c_char,
    list: *mut c_void,
) -> c_int {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("jmp {}", sym ferrevent_vsnprintf);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("b {}", sym ferrevent_vsnprintf);
}

/// `evutil_strtoll`
///
/// # Safety
/// The C API's contract: `text` is a string; `end` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_strtoll(
    text: *const c_char,
    end: *mut *mut c_char,
    base: c_int,
) -> i64 {
    // SAFETY: by the C API's contract.
    unsafe { libc::strtoll(text, end, base) }
}

/// `evutil_ascii_strcasecmp`: -1, 0 or 1.
///
/// # Safety
/// The C API's contract: both are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_ascii_strcasecmp(
    one: *const c_char,
    other: *const c_char,
) -> c_int {
    // SAFETY: by the C API's contract; no string is as long as that.
    unsafe { evutil_ascii_strncasecmp(one, other, usize::MAX) }
}

/// `evutil_ascii_strncasecmp`: -1, 0 or 1.
///
/// # Safety
/// The C API's contract: both have `len` readable bytes or a zero byte before that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_ascii_strncasecmp(
    one: *const c_char,
    other: *const c_char,
    len: usize,
) -> c_int {
    for index in 0..len {
        // SAFETY: by the C API's contract; the loop ends at the first zero byte.
        let (a, b) = unsafe { (*one.add(index), *other.add(index)) };
        // Compared as C's `char`, which has a sign on some systems.
        match lower(a).cmp(&lower(b)) {
            Ordering::Less => return -1,
            Ordering::Greater => return 1,
            Ordering::Equal if a == 0 => return 0,
            Ordering::Equal => {}
        }
    }
    0
}

/// `evutil_date_rfc1123`: the length of the whole date, of which as much is written as fits.
///
/// # Safety
/// The C API's contract: `text` has room for `size` bytes; `time` is NULL (now) or readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_date_rfc1123(
    text: *mut c_char,
    size: usize,
    time: *const libc::tm,
) -> c_int {
    if size == 0 {
        return 0;
    }
    // SAFETY: by the C API's contract; `written` is less than `size`.
    unsafe {
        let now;
        let time = if time.is_null() {
            now = universal_time();
            &now
        } else {
            &*time
        };
        let date = rfc1123(time);
        let written = date.len().min(size - 1);
        std::ptr::copy_nonoverlapping(date.as_ptr(), text.cast(), written);
        text.add(written).write(0);
        c_int::try_from(date.len()).unwrap_or(c_int::MAX)
    }
}

fn lower(byte: c_char) -> c_char {
    (byte as u8).to_ascii_lowercase() as c_char
}

fn rfc1123(time: &libc::tm) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    format!(
        "{}, {:02} {} {:4} {:02}:{:02}:{:02} GMT",
        name(&DAYS, time.tm_wday),
        time.tm_mday,
        name(&MONTHS, time.tm_mon),
        i64::from(time.tm_year) + 1900,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
    )
}

/// The program may have filled in anything.
fn name(names: &'static [&'static str], index: c_int) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or("???")
}

fn universal_time() -> libc::tm {
    let mut time = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: `time` outlives the call, and a `tm` of zeros is valid should there be no result.
    unsafe {
        let seconds = libc::time(std::ptr::null_mut());
        libc::gmtime_r(&raw const seconds, time.as_mut_ptr());
        time.assume_init()
    }
}
