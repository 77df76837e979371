//! Taking bytes away from the front.

use bytes::Bytes;

use super::chunk::Chunk;
use super::transfer::COPY_WHOLE;
use super::{Buffer, BufferError};

/// A larger block is not kept by a buffer that has been drained.
const KEPT_BLOCK: usize = 512;

impl Buffer {
    /// Discards the first `n` bytes, or all if there are fewer (`evbuffer_drain`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the front is frozen and the buffer is not empty.
    #[inline]
    pub fn drain(&mut self, n: usize) -> Result<(), BufferError> {
        if self.len == 0 {
            return Ok(());
        }
        self.check_front()?;
        if n < self.len || !self.keep_block() {
            self.drop_front(n.min(self.len));
        }
        Ok(())
    }

    /// Moves bytes from the front into `out`, as many as there are and fit, and says how many (`evbuffer_remove`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the front is frozen and there is something to move; [`BufferError::Unreadable`].
    pub fn remove(&mut self, out: &mut [u8]) -> Result<usize, BufferError> {
        let n = out.len().min(self.len);
        if n == 0 {
            return Ok(0);
        }
        self.check_front()?;
        self.check_readable(n)?;
        self.copy_out(0, out);
        self.drop_front(n);
        Ok(n)
    }

    /// Takes the first `n` bytes out, or all if there are fewer. They are copied only if they are few, or lie in several
    /// chunks.
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the front is frozen and there is something to take; [`BufferError::Unreadable`].
    ///
    /// ```
    /// use ferrevent_core::buffer::Buffer;
    ///
    /// let mut buffer = Buffer::from(&b"length:5 and the rest"[..]);
    /// assert_eq!(buffer.take_bytes(9)?, "length:5 ");
    /// assert_eq!(buffer, b"and the rest");
    /// # Ok::<(), ferrevent_core::buffer::BufferError>(())
    /// ```
    pub fn take_bytes(&mut self, n: usize) -> Result<Bytes, BufferError> {
        let n = n.min(self.len);
        if n == 0 {
            return Ok(Bytes::new());
        }
        self.check_front()?;
        self.check_readable(n)?;
        Ok(self.take_front(n))
    }

    /// Discards the first `n` bytes, of which there must be as many, regardless of the freezes.
    #[inline]
    pub(super) fn drop_front(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        self.len -= n;
        self.counts.deleted = self.counts.deleted.wrapping_add(n);
        if let Some(front) = self.chain.front_mut()
            && n < front.len()
        {
            front.skip(n);
            return;
        }
        self.drop_chunks(n);
    }

    /// Takes the first `n` bytes out, of which there are as many.
    pub(super) fn take_front(&mut self, n: usize) -> Bytes {
        if n > COPY_WHOLE {
            // What is shared has no room any more.
            self.end_reservation();
            if let Some(front) = self.chain.front_mut()
                && front.len() >= n
            {
                let part = Part(front.share(0, n));
                self.drop_front(n);
                return Bytes::from_owner(part);
            }
        }
        let mut bytes = vec![0; n];
        self.copy_out(0, &mut bytes);
        self.drop_front(n);
        bytes.into()
    }

    #[inline(never)]
    fn drop_chunks(&mut self, mut n: usize) {
        while let Some(front) = self.chain.front_mut() {
            let len = front.len();
            if n < len {
                front.skip(n);
                return;
            }
            n -= len;
            // The room of a reserved chunk has been given out and must not go.
            if self.tail_reserved && self.chain.is_single() {
                if let Some(front) = self.chain.front_mut() {
                    front.skip(len);
                }
                return;
            }
            self.chain.drop_front();
        }
        self.has_files = false;
    }

    /// Discards everything but the block, if it is the only one, small, and likely to be wanted again soon. Says whether
    /// it is.
    #[inline]
    fn keep_block(&mut self) -> bool {
        if self.is_fed || self.tail_reserved || !self.chain.is_single() {
            return false;
        }
        let kept = match self.chain.front_mut() {
            Some(front) => front.empty_small(KEPT_BLOCK),
            None => false,
        };
        if kept {
            self.counts.deleted = self.counts.deleted.wrapping_add(self.len);
            self.len = 0;
        }
        kept
    }
}

/// A part of a chunk, as the owner of [`Bytes`].
struct Part(Chunk);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
