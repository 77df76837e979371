//! The two buffers.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use ferrevent_core::Dirs;
use ferrevent_core::buffer::EolStyle;

use super::BufferEvent;
use crate::base::Base;
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::ffi::{self, bufferevent, evbuffer};

/// A buffer of a bufferevent, lent. While it is, the bufferevent has one reference more, so that nobody can free the
/// buffer, and is locked, if it has a lock, so that other threads of the program wait.
pub struct BufferMut<'a> {
    bev: NonNull<bufferevent>,
    buffer: NonNull<evbuffer>,
    _base: PhantomData<&'a mut Base>,
}

/// The buffers. `None`, or [`Error::Stale`], if the bufferevent has been freed.
impl BufferEvent {
    /// What has been read (`bufferevent_get_input`): to be looked at and taken, not to be appended to.
    pub fn input(self, base: &mut Base) -> Option<BufferMut<'_>> {
        base.lend(self, Dirs::READ)
    }

    /// What is to be written (`bufferevent_get_output`): to be appended to, not to be taken.
    pub fn output(self, base: &mut Base) -> Option<BufferMut<'_>> {
        base.lend(self, Dirs::WRITE)
    }

    /// How many bytes have been read and not been taken.
    pub fn input_len(self, base: &Base) -> Option<usize> {
        Some(base.lend(self, Dirs::READ)?.len())
    }

    /// How many bytes are still to be sent.
    pub fn output_len(self, base: &Base) -> Option<usize> {
        Some(base.lend(self, Dirs::WRITE)?.len())
    }

    /// Appends a copy of `data` to the output (`bufferevent_write`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Buffer`].
    pub fn write(self, base: &mut Base, data: impl AsRef<[u8]>) -> Result<()> {
        let mut output = self.output(base).ok_or(Error::Stale)?;
        Ok(output.append(data.as_ref())?)
    }

    /// Moves everything from `source` to the output, without a copy (`bufferevent_write_buffer`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Buffer`].
    pub fn write_buffer(self, base: &mut Base, source: &mut Buffer) -> Result<()> {
        let mut output = self.output(base).ok_or(Error::Stale)?;
        Ok(output.append_buffer(source)?)
    }

    /// Takes bytes from the input, as many as there are and fit, and says how many (`bufferevent_read`).
    pub fn read(self, base: &mut Base, out: &mut [u8]) -> usize {
        match self.input(base) {
            // The front of an input is never frozen.
            Some(mut input) => input.remove(out).unwrap_or(0),
            None => 0,
        }
    }

    /// Moves the whole input behind the content of `into`, without a copy, and says how much it was
    /// (`bufferevent_read_buffer`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Buffer`] when the back of `into` is frozen.
    pub fn read_buffer(self, base: &mut Base, into: &mut Buffer) -> Result<usize> {
        let mut input = self.input(base).ok_or(Error::Stale)?;
        let len = input.len();
        into.append_buffer(&mut input)?;
        Ok(len)
    }

    /// Takes the first whole line from the input, its end being dropped.
    pub fn read_line(self, base: &mut Base, style: EolStyle) -> Option<Vec<u8>> {
        // The front of an input is never frozen.
        self.input(base)?.read_line(style).unwrap_or(None)
    }

    /// Moves the whole input to the output of `to`, which may be this one, without a copy, and says how much it was.
    ///
    /// # Errors
    /// [`Error::Stale`] if either has been freed; [`Error::Buffer`].
    pub fn forward(self, base: &mut Base, to: Self) -> Result<usize> {
        let mut input = base.lend(self, Dirs::READ).ok_or(Error::Stale)?;
        let mut output = base.lend(to, Dirs::WRITE).ok_or(Error::Stale)?;
        let len = input.len();
        output.append_buffer(&mut input)?;
        Ok(len)
    }
}

impl Base {
    fn lend(&self, bev: BufferEvent, dir: Dirs) -> Option<BufferMut<'_>> {
        let bev = self.stream(bev)?;
        // SAFETY: it is live: `stream` has looked.
        unsafe { ffi::bufferevent_incref(bev.as_ptr()) };
        // SAFETY: as above. The lock is recursive, and without a lock this does nothing.
        unsafe { ffi::bufferevent_lock(bev.as_ptr()) };
        let buffer = if dir == Dirs::READ {
            // SAFETY: as above.
            unsafe { ffi::bufferevent_get_input(bev.as_ptr()) }
        } else {
            // SAFETY: as above.
            unsafe { ffi::bufferevent_get_output(bev.as_ptr()) }
        };
        let lent = BufferMut {
            bev,
            // Every bufferevent has both.
            buffer: NonNull::new(buffer).unwrap_or(NonNull::dangling()),
            _base: PhantomData,
        };
        (!buffer.is_null()).then_some(lent)
    }
}

impl Deref for BufferMut<'_> {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        // SAFETY: it is a buffer of `bev`, which lives by the reference that is dropped with `self`.
        unsafe { Buffer::from_raw(self.buffer.as_ptr()) }
    }
}

impl DerefMut for BufferMut<'_> {
    fn deref_mut(&mut self) -> &mut Buffer {
        // SAFETY: as in `deref`.
        unsafe { Buffer::from_raw(self.buffer.as_ptr()) }
    }
}

impl Drop for BufferMut<'_> {
    fn drop(&mut self) {
        // SAFETY: it lives by the reference that `lend` has taken, and `lend` has locked it.
        unsafe { ffi::bufferevent_unlock(self.bev.as_ptr()) };
        // SAFETY: this is that reference.
        unsafe { ffi::bufferevent_decref(self.bev.as_ptr()) };
    }
}

impl fmt::Debug for BufferMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
