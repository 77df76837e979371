//! Bytes from buffer to buffer: moving and sharing.

use super::chunk::Chunk;
use super::pool::Block;
use super::{Buffer, BufferError};

/// A moved chunk of no more bytes than this is copied when they fit into the room of the last chunk: cheaper than to
/// lengthen the chain, and the next reader finds fewer pieces.
pub(super) const COPY_WHOLE: usize = 256;

/// Of a chunk that has to be split, a part of no more bytes than this is copied if it fits into the room of the last
/// chunk, since both chunks can then be appended to later. Another one is shared.
const COPY_PART: usize = 1024;

impl Buffer {
    /// Moves everything from `source` behind the content (`evbuffer_add_buffer`).
    ///
    /// # Errors
    /// Unless `source` is empty: [`BufferError::Frozen`] if the back of `self` or the front of `source` is frozen;
    /// [`BufferError::TooLong`].
    #[inline]
    pub fn append_buffer(&mut self, source: &mut Self) -> Result<(), BufferError> {
        if source.len == 0 {
            return Ok(());
        }
        // Mostly into a buffer without anything. Then there is room, and no reservation but of a spare block.
        if self.chain.is_empty() && !(self.back_frozen | source.front_frozen | source.tail_reserved)
        {
            self.chain.take_from(&mut source.chain);
            self.count_moved(source, source.len);
            return Ok(());
        }
        self.append_behind(source)
    }

    /// As `append_buffer`, where there is something in both.
    #[inline(never)]
    fn append_behind(&mut self, source: &mut Self) -> Result<(), BufferError> {
        source.check_front()?;
        self.check_append(source.len)?;
        self.take_all(source);
        Ok(())
    }

    /// Moves the first `n` bytes of `source`, or all if there are fewer, behind the content and says how many
    /// (`evbuffer_remove_buffer`).
    ///
    /// # Errors
    /// Unless `n` is 0: [`BufferError::Frozen`] if the back of `self` or the front of `source` is frozen;
    /// [`BufferError::TooLong`].
    pub fn append_from(&mut self, source: &mut Self, n: usize) -> Result<usize, BufferError> {
        if n == 0 {
            return Ok(0);
        }
        let n = n.min(source.len);
        source.check_front()?;
        self.check_append(n)?;
        self.transfer(source, n);
        Ok(n)
    }

    /// A new buffer with the first `n` bytes, or all if there are fewer, which leave this one without being copied.
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the front is frozen and `n` is not 0.
    ///
    /// ```
    /// use ferrevent_core::buffer::Buffer;
    ///
    /// let mut stream = Buffer::from(&b"headbody"[..]);
    /// let head = stream.split_to(4)?;
    /// assert_eq!((head.to_vec(), stream.to_vec()), (b"head".to_vec(), b"body".to_vec()));
    /// # Ok::<(), ferrevent_core::buffer::BufferError>(())
    /// ```
    pub fn split_to(&mut self, n: usize) -> Result<Self, BufferError> {
        let mut front = Self::new();
        front.append_from(self, n)?;
        Ok(front)
    }

    /// Moves up to `n` bytes as [`append_from`](Self::append_from) does, but regardless of the freezes: for a layer
    /// that stands between two buffers as a transport does. Says how many; none if they would be too many.
    pub fn transfer_from(&mut self, source: &mut Self, n: usize) -> usize {
        let n = n.min(source.len).min(super::MAX_LEN - self.len);
        self.transfer(source, n);
        n
    }

    /// Puts everything from `source` before the content (`evbuffer_prepend_buffer`).
    ///
    /// # Errors
    /// Unless `source` is empty: [`BufferError::Frozen`] if the front of either is frozen; [`BufferError::TooLong`].
    pub fn prepend_buffer(&mut self, source: &mut Self) -> Result<(), BufferError> {
        if source.len == 0 {
            return Ok(());
        }
        source.check_front()?;
        self.check_front()?;
        self.check_len(source.len)?;
        self.end_reservation();
        source.end_reservation();
        let n = source.len;
        if self.chain.is_empty() {
            self.chain.append(&mut source.chain);
        }
        while let Some(chunk) = source.chain.pop_back() {
            self.chain.push_front(chunk);
        }
        self.count_moved(source, n);
        Ok(())
    }

    /// Appends the content of `source`, which keeps it, without copying more than a few bytes
    /// (`evbuffer_add_buffer_reference`). Afterwards both show the same memory, and so neither appends into the room
    /// behind it.
    ///
    /// # Errors
    /// Unless `source` is empty: [`BufferError::Frozen`] if the back of `self` is frozen; [`BufferError::TooLong`].
    pub fn append_shared(&mut self, source: &mut Self) -> Result<(), BufferError> {
        if source.len == 0 {
            return Ok(());
        }
        self.check_append(source.len)?;
        self.end_reservation();
        source.end_reservation();
        for chunk in source.chain.iter_mut() {
            let len = chunk.len();
            let copied = len <= COPY_WHOLE
                && !chunk.is_foreign()
                && self
                    .chain
                    .back_mut()
                    .is_some_and(|back| back.fill_whole(chunk.bytes()));
            if copied {
                continue;
            }
            let mut shared = chunk.share(0, len);
            match self.chain.back_mut() {
                Some(back) if back.continues_in(&shared) => back.take_over(&mut shared, len),
                _ => self.chain.push_back(shared),
            }
        }
        self.has_files |= source.has_files;
        self.count_added(source.len);
        Ok(())
    }

    /// Moves everything, neither end being looked at.
    #[inline]
    fn take_all(&mut self, source: &mut Self) {
        self.end_reservation();
        source.end_reservation();
        let n = source.len;
        if !self.chain.is_empty() {
            self.take_first(source);
        }
        self.chain.append(&mut source.chain);
        self.count_moved(source, n);
    }

    fn transfer(&mut self, source: &mut Self, n: usize) {
        if n == source.len {
            return self.take_all(source);
        }
        self.end_reservation();
        source.end_reservation();
        let mut left = n;
        while left > 0
            && let Some(front) = source.chain.front_mut()
        {
            let len = front.len();
            if left < len {
                self.take_part(front, left);
                break;
            }
            left -= len;
            self.take_first(source);
        }
        self.count_moved(source, n);
    }

    /// Moves the first chunk of `source` without counting it.
    #[inline(never)]
    fn take_first(&mut self, source: &mut Self) {
        let Some(first) = source.chain.front_mut() else {
            return;
        };
        let len = first.len();
        if let Some(back) = self.chain.back_mut() {
            let taken = if back.continues_in(first) {
                back.take_over(first, len);
                true
            } else {
                len <= COPY_WHOLE && !first.is_foreign() && back.fill_whole(first.bytes())
            };
            if taken {
                source.chain.drop_front();
                return;
            }
        }
        if let Some(first) = source.chain.pop_front() {
            self.chain.push_back(first);
        }
    }

    /// Moves the first `n` bytes of `front`, which has more, without counting them.
    fn take_part(&mut self, front: &mut Chunk, n: usize) {
        let back = self.chain.back_mut();
        if let Some(back) = back {
            if back.continues_in(front) {
                back.take_over(front, n);
                return;
            }
            if n <= COPY_PART && !front.is_unloaded() && back.fill_whole(&front.bytes()[..n]) {
                front.skip(n);
                return;
            }
        }
        // Memory that is shared already is shared on, since its parts can grow together again.
        let part = if n <= COPY_WHOLE && front.is_owned() {
            let mut block = Block::small(n);
            block.write(0, &front.bytes()[..n]);
            Chunk::owned(block, 0, n)
        } else {
            front.share(0, n)
        };
        front.skip(n);
        self.chain.push_back(part);
    }

    #[inline]
    fn count_moved(&mut self, source: &mut Self, n: usize) {
        self.has_files |= source.has_files;
        source.len -= n;
        source.has_files &= source.len > 0;
        source.counts.deleted = source.counts.deleted.wrapping_add(n);
        self.count_added(n);
    }
}
