//! Buffers.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use ferrevent_core::buffer::{BufferError, Eol, EolStyle};
use libc::c_uint;

use crate::ffi::{self, evbuffer, evbuffer_ptr};

/// A buffer, wherever it belongs: libevent's `struct evbuffer`. A `&mut Buffer` is the `struct evbuffer *` of C.
///
/// One that Rust owns is an [`OwnedBuffer`]; the two of a bufferevent are [lent](crate::BufferEvent::input).
///
/// libevent does not say why a function failed. Where [`BufferError::Frozen`] is given, it may also have been the memory.
#[repr(transparent)]
pub struct Buffer(evbuffer);

/// A buffer that Rust owns (`evbuffer_new`): dropping it frees it.
pub struct OwnedBuffer(NonNull<evbuffer>);

impl Buffer {
    /// A new buffer without content.
    ///
    /// # Panics
    /// If there is no memory.
    #[allow(
        clippy::new_ret_no_self,
        reason = "the name that it has in the crate ferrevent"
    )]
    pub fn new() -> OwnedBuffer {
        // SAFETY: it has no preconditions.
        let raw = unsafe { ffi::evbuffer_new() };
        OwnedBuffer(NonNull::new(raw).expect("memory for a buffer"))
    }

    /// Lends Rust a buffer of C.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// `raw` is a live buffer for as long as the reference is used. Nobody else uses it meanwhile but through functions
    /// that were given this reference: above all C, and other threads, do not change it while Rust looks at its bytes.
    pub unsafe fn from_raw<'a>(raw: *mut evbuffer) -> &'a mut Self {
        assert!(!raw.is_null(), "a buffer");
        // SAFETY: the type has no bytes, so that a reference to it asserts nothing about the buffer's memory but that it is
        // not NULL. That the buffer lives is the caller's promise.
        unsafe { &mut *raw.cast::<Self>() }
    }

    /// The buffer, for C to use but not to free.
    pub fn as_raw(&self) -> *mut evbuffer {
        std::ptr::from_ref(&self.0).cast_mut()
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        // SAFETY: a `&Buffer` is only made of a live buffer.
        unsafe { ffi::evbuffer_get_length(self.as_raw()) }
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a copy of `data` (`evbuffer_add`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn append(&mut self, data: &[u8]) -> Result<(), BufferError> {
        // SAFETY: the buffer is live, as in `len`; `data` is copied before the call returns.
        done(unsafe { ffi::evbuffer_add(self.as_raw(), data.as_ptr().cast(), data.len()) })
    }

    /// Puts a copy of `data` in front (`evbuffer_prepend`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn prepend(&mut self, data: &[u8]) -> Result<(), BufferError> {
        // SAFETY: as in `append`.
        done(unsafe { ffi::evbuffer_prepend(self.as_raw(), data.as_ptr().cast(), data.len()) })
    }

    /// Moves everything from `source` behind the content, without a copy (`evbuffer_add_buffer`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn append_buffer(&mut self, source: &mut Self) -> Result<(), BufferError> {
        // SAFETY: both are live, as in `len`.
        done(unsafe { ffi::evbuffer_add_buffer(self.as_raw(), source.as_raw()) })
    }

    /// Moves everything from `source` in front of the content, without a copy (`evbuffer_prepend_buffer`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn prepend_buffer(&mut self, source: &mut Self) -> Result<(), BufferError> {
        // SAFETY: both are live, as in `len`.
        done(unsafe { ffi::evbuffer_prepend_buffer(self.as_raw(), source.as_raw()) })
    }

    /// Moves at most `n` bytes from the front of `source` behind the content, and says how many
    /// (`evbuffer_remove_buffer`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn append_from(&mut self, source: &mut Self, n: usize) -> Result<usize, BufferError> {
        let n = n.min(i32::MAX.unsigned_abs() as usize);
        // SAFETY: both are live, as in `len`.
        let moved = unsafe { ffi::evbuffer_remove_buffer(source.as_raw(), self.as_raw(), n) };
        usize::try_from(moved).map_err(|_| BufferError::Frozen)
    }

    /// Drops at most `n` bytes from the front (`evbuffer_drain`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn drain(&mut self, n: usize) -> Result<(), BufferError> {
        // SAFETY: the buffer is live, as in `len`.
        done(unsafe { ffi::evbuffer_drain(self.as_raw(), n) })
    }

    /// Takes bytes from the front, as many as there are and fit, and says how many (`evbuffer_remove`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn remove(&mut self, out: &mut [u8]) -> Result<usize, BufferError> {
        let len = out.len().min(i32::MAX.unsigned_abs() as usize);
        // SAFETY: the buffer is live, as in `len`; it writes at most `len` bytes.
        let n = unsafe { ffi::evbuffer_remove(self.as_raw(), out.as_mut_ptr().cast(), len) };
        usize::try_from(n).map_err(|_| BufferError::Frozen)
    }

    /// Copies bytes from `position` on, as many as there are and fit, and says how many (`evbuffer_copyout_from`).
    pub fn copy_out(&self, position: usize, out: &mut [u8]) -> usize {
        let Some(at) = self.at(position) else {
            return 0;
        };
        let (out, len) = (out.as_mut_ptr().cast(), out.len());
        // SAFETY: the buffer is live, as in `len`; it writes at most `len` bytes, and `at` was made just now.
        let n = unsafe { ffi::evbuffer_copyout_from(self.as_raw(), &raw const at, out, len) };
        usize::try_from(n).unwrap_or(0)
    }

    /// A copy of the whole content.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        let n = self.copy_out(0, &mut bytes);
        bytes.truncate(n);
        bytes
    }

    /// The byte at a position, if there is one.
    pub fn byte(&self, position: usize) -> Option<u8> {
        let mut byte = [0];
        (self.copy_out(position, &mut byte) == 1).then_some(byte[0])
    }

    /// The bytes at the front that lie together (`evbuffer_peek`); none only if the buffer is empty, or begins with a part of
    /// a file.
    pub fn front(&self) -> &[u8] {
        let mut piece = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let start = std::ptr::null_mut();
        // SAFETY: the buffer is live, as in `len`, and there is room for one piece.
        let n = unsafe { ffi::evbuffer_peek(self.as_raw(), -1, start, &raw mut piece, 1) };
        if n < 1 || piece.iov_base.is_null() {
            return &[];
        }
        // SAFETY: libevent says that these bytes are the buffer's. They stay where they are while nobody changes it: not
        // this program, which has lent it, nor C, by the promise of `from_raw` and the lock of `BufferMut`.
        unsafe { std::slice::from_raw_parts(piece.iov_base.cast(), piece.iov_len) }
    }

    /// Makes the first `n` bytes, or all, lie together (`evbuffer_pullup`). `None` if there are not so many.
    pub fn pullup(&mut self, n: Option<usize>) -> Option<&[u8]> {
        let n = n.unwrap_or(self.len());
        if n == 0 {
            return Some(&[]);
        }
        // SAFETY: the buffer is live, as in `len`.
        let bytes = unsafe { ffi::evbuffer_pullup(self.as_raw(), isize::try_from(n).ok()?) };
        // SAFETY: as in `front`; it has made `n` bytes lie together there.
        NonNull::new(bytes).map(|bytes| unsafe { std::slice::from_raw_parts(bytes.as_ptr(), n) })
    }

    /// Where `pattern` first occurs within bytes `from..to` (`None`: to the end), in bytes from the front
    /// (`evbuffer_search_range`). An empty pattern is found at `from`.
    pub fn search(&self, pattern: &[u8], from: usize, to: Option<usize>) -> Option<usize> {
        let to = to.map_or(self.len(), |to| to.min(self.len()));
        if pattern.len() > to.checked_sub(from)? {
            return None;
        }
        if pattern.is_empty() {
            return Some(from);
        }
        let (from, to) = (self.at(from)?, self.at(to)?);
        let (raw, text) = (self.as_raw(), pattern.as_ptr().cast());
        // SAFETY: the buffer is live, as in `len`, and the positions were made just now.
        let found = unsafe {
            ffi::evbuffer_search_range(raw, text, pattern.len(), &raw const from, &raw const to)
        };
        usize::try_from(found.pos).ok()
    }

    /// The first end of a line at or behind `from` (`evbuffer_search_eol`).
    pub fn search_eol(&self, style: EolStyle, from: usize) -> Option<Eol> {
        let mut from = self.at(from)?;
        let mut len = 0;
        let raw = self.as_raw();
        let style = number(style);
        // SAFETY: the buffer is live, as in `len`, and the position was made just now.
        let found = unsafe { ffi::evbuffer_search_eol(raw, &raw mut from, &raw mut len, style) };
        let position = usize::try_from(found.pos).ok()?;
        Some(Eol { position, len })
    }

    /// Takes the first whole line, its end being dropped (`evbuffer_readln`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`]
    pub fn read_line(&mut self, style: EolStyle) -> Result<Option<Vec<u8>>, BufferError> {
        let Some(end) = self.search_eol(style, 0) else {
            return Ok(None);
        };
        let mut line = vec![0; end.position];
        let n = self.remove(&mut line)?;
        line.truncate(n);
        self.drain(end.len)?;
        Ok(Some(line))
    }

    /// A position; none behind the end.
    fn at(&self, position: usize) -> Option<evbuffer_ptr> {
        const SET: c_uint = 0;
        if position > self.len() {
            return None;
        }
        let mut at = evbuffer_ptr {
            pos: 0,
            chain: std::ptr::null_mut(),
            pos_in_chain: 0,
        };
        // SAFETY: the buffer is live, as in `len`.
        let set = unsafe { ffi::evbuffer_ptr_set(self.as_raw(), &raw mut at, position, SET) };
        (set == 0).then_some(at)
    }
}

impl OwnedBuffer {
    /// Takes over a buffer of C: Rust frees it from now on.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// `raw` came of `evbuffer_new`, and C neither uses nor frees it any more.
    pub unsafe fn from_raw(raw: *mut evbuffer) -> Self {
        Self(NonNull::new(raw).expect("a buffer"))
    }

    /// Gives the buffer to C, which has to free it.
    pub fn into_raw(self) -> *mut evbuffer {
        std::mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Deref for OwnedBuffer {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        // SAFETY: the buffer lives until `self` is dropped, and only `self` gives references to it.
        unsafe { Buffer::from_raw(self.0.as_ptr()) }
    }
}

impl DerefMut for OwnedBuffer {
    fn deref_mut(&mut self) -> &mut Buffer {
        // SAFETY: as in `deref`, and `self` is borrowed for as long as the reference.
        unsafe { Buffer::from_raw(self.0.as_ptr()) }
    }
}

impl Default for OwnedBuffer {
    fn default() -> Self {
        Buffer::new()
    }
}

impl Drop for OwnedBuffer {
    fn drop(&mut self) {
        // SAFETY: it came of `evbuffer_new`, and only this value owns it.
        unsafe { ffi::evbuffer_free(self.0.as_ptr()) };
    }
}

impl io::Write for Buffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.append(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Buffer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.remove(out)?)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len()).finish()
    }
}

impl fmt::Debug for OwnedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

fn done(result: libc::c_int) -> Result<(), BufferError> {
    if result == 0 {
        return Ok(());
    }
    Err(BufferError::Frozen)
}

/// libevent's `enum evbuffer_eol_style`.
fn number(style: EolStyle) -> c_uint {
    match style {
        EolStyle::Any => 0,
        EolStyle::Crlf => 1,
        EolStyle::CrlfStrict => 2,
        EolStyle::Lf => 3,
        EolStyle::Nul => 4,
    }
}
