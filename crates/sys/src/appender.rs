//! A buffer as a `bytes::BufMut`.

use bytes::BufMut;
use bytes::buf::UninitSlice;
use ferrevent_core::buffer::{Buffer, End};

/// Appends to a [`Buffer`] for whatever writes to a [`BufMut`]: encoders of protocol buffers, codecs, `put_u32` and its
/// like. A buffer itself cannot be one, since that takes an `unsafe impl`, which its crate has none of.
///
/// A frozen back has no room.
#[derive(Debug)]
pub struct Appender<'a>(&'a mut Buffer);

impl<'a> Appender<'a> {
    /// What appends to `buffer`.
    #[must_use]
    pub fn new(buffer: &'a mut Buffer) -> Self {
        Self(buffer)
    }
}

// SAFETY: `chunk_mut` shows the room of a reservation, which is initialised memory; `advance_mut` commits no more of it
// than the buffer has reserved. The other functions append copies.
unsafe impl BufMut for Appender<'_> {
    fn remaining_mut(&self) -> usize {
        if self.0.is_frozen(End::Back) {
            0
        } else {
            isize::MAX as usize - self.0.len()
        }
    }

    /// # Panics
    /// If `n` is more than `chunk_mut` has shown.
    unsafe fn advance_mut(&mut self, n: usize) {
        if n > 0
            && let Err(error) = self.0.commit(&[n])
        {
            panic!("cannot advance by {n}: {error}");
        }
    }

    /// # Panics
    /// If there is no memory.
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.remaining_mut() == 0 {
            return UninitSlice::new(&mut []);
        }
        if let Err(error) = self.0.reserve(1, 1) {
            panic!("no room: {error}");
        }
        UninitSlice::new(self.0.first_reserved().unwrap_or_default())
    }

    fn put_slice(&mut self, data: &[u8]) {
        if let Err(error) = self.0.append(data) {
            panic!("cannot append: {error}");
        }
    }
}
