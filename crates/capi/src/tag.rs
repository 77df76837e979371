//! `event2/tag.h`: values with tags before them, in buffers. How they are written is in `ferrevent_core::tag`.
//!
//! The functions that take a value out have taken its head when they fail because of what comes behind it, as libevent's.

use std::ffi::{c_char, c_int, c_void};
use std::{ptr, slice};

use ferrevent_core::tag::{self, LONGEST_NUMBER, LONGEST_TAG, Written};
use libc::timeval;

use crate::buffer::content::{evbuffer_add, evbuffer_copyout, evbuffer_drain, evbuffer_get_length};
use crate::buffer::evbuffer;
use crate::buffer::moves::{evbuffer_add_buffer, evbuffer_remove_buffer};
use crate::memory;

/// `evtag_init`: there is nothing to be done.
#[unsafe(no_mangle)]
pub extern "C" fn evtag_init() {}

/// `evtag_encode_int`
///
/// # Safety
/// The C API's contract: `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_encode_int(buf: *mut evbuffer, number: u32) {
    // SAFETY: by this function's contract.
    unsafe { add(buf, &tag::write_number(number.into())) };
}

/// `evtag_encode_int64`
///
/// # Safety
/// The C API's contract: `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_encode_int64(buf: *mut evbuffer, number: u64) {
    // SAFETY: by this function's contract.
    unsafe { add(buf, &tag::write_number(number)) };
}

/// `evtag_encode_tag`: the number of bytes. (Exported by libevent, declared in no header.)
///
/// # Safety
/// The C API's contract: `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_encode_tag(buf: *mut evbuffer, tag: u32) -> c_int {
    let written = tag::write_tag(tag);
    // SAFETY: by this function's contract.
    unsafe { add(buf, &written) };
    written.as_ref().len() as c_int
}

/// `evtag_marshal`: `len` bytes.
///
/// # Safety
/// The C API's contract: `buf` is live, `data` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_marshal(
    buf: *mut evbuffer,
    tag: u32,
    data: *const c_void,
    len: u32,
) {
    // SAFETY: by this function's contract; of no bytes the pointer is not looked at.
    unsafe {
        let data = match len {
            0 => &[],
            len => slice::from_raw_parts(data.cast::<u8>(), len as usize),
        };
        marshal(buf, tag, data);
    }
}

/// `evtag_marshal_buffer`: all that is in `data`, which is empty then. What is longer than a payload can be stays.
///
/// # Safety
/// The C API's contract: both are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_marshal_buffer(buf: *mut evbuffer, tag: u32, data: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe {
        if u32::try_from(evbuffer_get_length(data)).is_ok() {
            add_head(buf, tag, evbuffer_get_length(data));
            evbuffer_add_buffer(buf, data);
        }
    }
}

/// `evtag_marshal_int`
///
/// # Safety
/// The C API's contract: `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_marshal_int(buf: *mut evbuffer, tag: u32, number: u32) {
    // SAFETY: by this function's contract.
    unsafe { marshal(buf, tag, tag::write_number(number.into()).as_ref()) };
}

/// `evtag_marshal_int64`
///
/// # Safety
/// The C API's contract: `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_marshal_int64(buf: *mut evbuffer, tag: u32, number: u64) {
    // SAFETY: by this function's contract.
    unsafe { marshal(buf, tag, tag::write_number(number).as_ref()) };
}

/// `evtag_marshal_string`: without its zero byte.
///
/// # Safety
/// The C API's contract: `buf` is live, `string` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_marshal_string(buf: *mut evbuffer, tag: u32, string: *const c_char) {
    // SAFETY: by this function's contract.
    unsafe { marshal(buf, tag, std::ffi::CStr::from_ptr(string).to_bytes()) };
}

/// `evtag_marshal_timeval`: 32 bits of the seconds, and the microseconds.
///
/// # Safety
/// The C API's contract: `buf` is live, `time` can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_marshal_timeval(buf: *mut evbuffer, tag: u32, time: *mut timeval) {
    // SAFETY: by this function's contract.
    unsafe {
        let seconds = tag::write_number(u64::from((*time).tv_sec as u32));
        let micros = tag::write_number(u64::from((*time).tv_usec as u32));
        marshal(buf, tag, &[seconds.as_ref(), micros.as_ref()].concat());
    }
}

/// `evtag_decode_int`: takes a number out; -1, and nothing is taken, if there is none. (Exported by libevent, declared
/// in no header, as the next two.)
///
/// # Safety
/// The C API's contract: `number` is writable, `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_decode_int(number: *mut u32, buf: *mut evbuffer) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some((value, length)) = tag::read_u32(Start::of(buf).as_ref()) else {
            return -1;
        };
        number.write(value);
        evbuffer_drain(buf, length);
    }
    0
}

/// `evtag_decode_int64`
///
/// # Safety
/// As [`evtag_decode_int`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_decode_int64(number: *mut u64, buf: *mut evbuffer) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some((value, length)) = tag::read_number(Start::of(buf).as_ref()) else {
            return -1;
        };
        number.write(value);
        evbuffer_drain(buf, length);
    }
    0
}

/// `evtag_decode_tag`: takes a tag out; the number of its bytes, or -1.
///
/// # Safety
/// The C API's contract: `tag` is NULL or writable, `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_decode_tag(tag: *mut u32, buf: *mut evbuffer) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let length = evtag_peek(buf, tag);
        if length > 0 {
            evbuffer_drain(buf, length as usize);
        }
        length
    }
}

/// `evtag_peek`: the tag that comes next; the number of its bytes, or -1.
///
/// # Safety
/// The C API's contract: `buf` is live, `tag` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_peek(buf: *mut evbuffer, tag: *mut u32) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some((value, length)) = tag::read_tag(Start::of(buf).as_ref()) else {
            return -1;
        };
        store(tag, value);
        length as c_int
    }
}

/// `evtag_peek_length`: of the whole value that comes next, tag and all, whether that is there or not. 0, or -1.
///
/// # Safety
/// The C API's contract: `buf` is live, `length` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_peek_length(buf: *mut evbuffer, length: *mut u32) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let whole = Start::of(buf)
            .head()
            .and_then(|head| head.payload.checked_add(head.size as u32));
        let Some(whole) = whole else {
            return -1;
        };
        length.write(whole);
    }
    0
}

/// `evtag_payload_length`: the same of the payload.
///
/// # Safety
/// As [`evtag_peek_length`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_payload_length(buf: *mut evbuffer, length: *mut u32) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(head) = Start::of(buf).head() else {
            return -1;
        };
        length.write(head.payload);
    }
    0
}

/// `evtag_unmarshal_header`: takes tag and length out; the length of the payload, or -1 if that is not all there.
///
/// # Safety
/// The C API's contract: `buf` is live, `tag` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_unmarshal_header(buf: *mut evbuffer, tag: *mut u32) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        if evtag_decode_tag(tag, buf) < 0 {
            return -1;
        }
        take_length(buf).unwrap_or(-1)
    }
}

/// `evtag_consume`: takes a value out and drops it.
///
/// # Safety
/// The C API's contract: `buf` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_consume(buf: *mut evbuffer) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let length = evtag_unmarshal_header(buf, ptr::null_mut());
        if length < 0 {
            return -1;
        }
        evbuffer_drain(buf, length as usize)
    }
}

/// `evtag_unmarshal`: moves a payload to `dst`; its length, or -1.
///
/// # Safety
/// The C API's contract: `src` and `dst` are live, `tag` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_unmarshal(
    src: *mut evbuffer,
    tag: *mut u32,
    dst: *mut evbuffer,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let length = evtag_unmarshal_header(src, tag);
        if length <= 0 {
            return length;
        }
        match evbuffer_remove_buffer(src, dst, length as usize) {
            moved if moved == length => length,
            _ => -1,
        }
    }
}

/// `evtag_unmarshal_int`: the number of bytes of the number, or -1.
///
/// # Safety
/// The C API's contract: `buf` is live, `number` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_unmarshal_int(
    buf: *mut evbuffer,
    need_tag: u32,
    number: *mut u32,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some((value, length)) = unmarshal_number(buf, need_tag, tag::read_u32) else {
            return -1;
        };
        number.write(value);
        length as c_int
    }
}

/// `evtag_unmarshal_int64`: the number of bytes of the number, or -1.
///
/// # Safety
/// The C API's contract: `buf` is live, `number` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_unmarshal_int64(
    buf: *mut evbuffer,
    need_tag: u32,
    number: *mut u64,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some((value, length)) = unmarshal_number(buf, need_tag, tag::read_number) else {
            return -1;
        };
        number.write(value);
        length as c_int
    }
}

/// `evtag_unmarshal_fixed`: a payload of exactly `len` bytes; 0, or -1.
///
/// # Safety
/// The C API's contract: `src` is live, `data` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_unmarshal_fixed(
    src: *mut evbuffer,
    need_tag: u32,
    data: *mut c_void,
    len: usize,
) -> c_int {
    // SAFETY: by this function's contract; the payload is all there.
    unsafe {
        let mut tag = 0;
        let length = evtag_unmarshal_header(src, &mut tag);
        if length < 0 || tag != need_tag || length as usize != len {
            return -1;
        }
        evbuffer_copyout(src, data, len);
        evbuffer_drain(src, len)
    }
}

/// `evtag_unmarshal_string`: for the caller to free; 0, or -1.
///
/// # Safety
/// The C API's contract: `buf` is live, `string` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_unmarshal_string(
    buf: *mut evbuffer,
    need_tag: u32,
    string: *mut *mut c_char,
) -> c_int {
    // SAFETY: by this function's contract; there is room for the payload, which is all there, and a zero byte.
    unsafe {
        let mut tag = 0;
        let length = evtag_unmarshal_header(buf, &mut tag);
        let Ok(length) = usize::try_from(length) else {
            return -1;
        };
        if tag != need_tag {
            return -1;
        }
        let text = memory::allocate(length + 1).cast::<u8>();
        if text.is_null() {
            return -1;
        }
        evbuffer_copyout(buf, text.cast(), length);
        text.add(length).write(0);
        string.write(text.cast());
        evbuffer_drain(buf, length)
    }
}

/// `evtag_unmarshal_timeval`: 0, or -1. The payload is gone in both cases.
///
/// # Safety
/// The C API's contract: `buf` is live, `time` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evtag_unmarshal_timeval(
    buf: *mut evbuffer,
    need_tag: u32,
    time: *mut timeval,
) -> c_int {
    // SAFETY: by this function's contract; the payload is all there.
    unsafe {
        let mut tag = 0;
        let length = evtag_unmarshal_header(buf, &mut tag);
        let Ok(length) = usize::try_from(length) else {
            return -1;
        };
        let mut bytes = [0; 2 * LONGEST_NUMBER];
        let payload = &mut bytes[..length.min(2 * LONGEST_NUMBER)];
        evbuffer_copyout(buf, payload.as_mut_ptr().cast(), payload.len());
        evbuffer_drain(buf, length);
        let numbers = tag::read_u32(payload).and_then(|(seconds, size)| {
            let (micros, _) = tag::read_u32(&payload[size..])?;
            Some((seconds, micros))
        });
        let (Some((seconds, micros)), true) = (numbers, tag == need_tag) else {
            return -1;
        };
        time.write(timeval {
            tv_sec: seconds.into(),
            tv_usec: micros.into(),
        });
    }
    0
}

/// # Safety
/// `buf` is live.
unsafe fn add(buf: *mut evbuffer, written: &Written) {
    let bytes = written.as_ref();
    // There is no way to say that there was no room; libevent's functions have none either.
    // SAFETY: by this function's contract.
    unsafe { evbuffer_add(buf, bytes.as_ptr().cast(), bytes.len()) };
}

/// # Safety
/// `buf` is live; `payload` has at most `u32::MAX` bytes.
unsafe fn marshal(buf: *mut evbuffer, tag: u32, payload: &[u8]) {
    // SAFETY: by this function's contract.
    unsafe {
        add_head(buf, tag, payload.len());
        evbuffer_add(buf, payload.as_ptr().cast(), payload.len());
    }
}

unsafe fn add_head(buf: *mut evbuffer, tag: u32, payload: usize) {
    // SAFETY: the caller's buffer is live.
    unsafe {
        add(buf, &tag::write_tag(tag));
        add(buf, &tag::write_number(payload as u64));
    }
}

/// Takes the length of a payload out, if that is all there.
unsafe fn take_length(buf: *mut evbuffer) -> Option<c_int> {
    // SAFETY: the caller's buffer is live.
    unsafe {
        let mut length = 0;
        if evtag_decode_int(&mut length, buf) < 0 || evbuffer_get_length(buf) < length as usize {
            return None;
        }
        // Beyond that it could not be told from an error (CVE-2026-63384).
        c_int::try_from(length).ok()
    }
}

/// Takes a value out whose payload is a number. A payload of any other kind is taken out too.
unsafe fn unmarshal_number<N>(
    buf: *mut evbuffer,
    need_tag: u32,
    read: impl FnOnce(&[u8]) -> Option<(N, usize)>,
) -> Option<(N, usize)> {
    // SAFETY: the caller's buffer is live.
    unsafe {
        let mut tag = 0;
        if evtag_decode_tag(&mut tag, buf) < 0 || tag != need_tag {
            return None;
        }
        let payload = take_length(buf)? as usize;
        let start = Start::of(buf);
        let bytes = start.as_ref();
        let number = read(&bytes[..payload.min(bytes.len())]);
        evbuffer_drain(buf, payload);
        number
    }
}

/// # Safety
/// `place` is NULL or writable.
unsafe fn store(place: *mut u32, value: u32) {
    if !place.is_null() {
        // SAFETY: by this function's contract.
        unsafe { place.write(value) };
    }
}

/// The first bytes of a buffer: as many as a tag and a length can have.
struct Start {
    bytes: [u8; LONGEST_TAG + LONGEST_NUMBER],
    length: usize,
}

/// A tag and a length.
struct Head {
    /// How many bytes they have.
    size: usize,
    payload: u32,
}

impl Start {
    /// # Safety
    /// `buf` is live.
    unsafe fn of(buf: *mut evbuffer) -> Self {
        let mut bytes = [0; LONGEST_TAG + LONGEST_NUMBER];
        // SAFETY: by this function's contract; there is room for as many bytes as it is told.
        let copied = unsafe { evbuffer_copyout(buf, bytes.as_mut_ptr().cast(), bytes.len()) };
        // A buffer that is frozen gives nothing.
        let length = usize::try_from(copied).unwrap_or(0);
        Self { bytes, length }
    }

    fn head(&self) -> Option<Head> {
        let bytes = self.as_ref();
        let (_, tag_size) = tag::read_tag(bytes)?;
        let (payload, length_size) = tag::read_u32(&bytes[tag_size..])?;
        let size = tag_size + length_size;
        Some(Head { size, payload })
    }
}

impl AsRef<[u8]> for Start {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
