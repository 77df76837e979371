//! Bytes from buffer to buffer: moving and sharing.

use super::chunk::Chunk;
use super::{Buffer, BufferError};

/// A moved chunk of no more bytes than this is copied when they fit into the room of the last chunk: cheaper than to
/// lengthen the chain, and the next reader finds fewer pieces.
const COPY_WHOLE: usize = 256;

/// Of a chunk that has to be split, a part of no more bytes than this is copied; a larger one is shared.
const COPY_PART: usize = 1024;

impl Buffer {
    /// Moves everything from `source` behind the content (`evbuffer_add_buffer`).
    ///
    /// # Errors
    /// Unless `source` is empty: [`BufferError::Frozen`] if the back of `self` or the front of `source` is frozen;
    /// [`BufferError::TooLong`].
    pub fn append_buffer(&mut self, source: &mut Self) -> Result<(), BufferError> {
        if source.len == 0 {
            return Ok(());
        }
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
            if !self.copied(chunk, len) {
                self.link(chunk.share(0, len));
            }
        }
        self.count_added(source.len);
        Ok(())
    }

    /// Moves everything, neither end being looked at.
    fn take_all(&mut self, source: &mut Self) {
        self.end_reservation();
        source.end_reservation();
        let n = source.len;
        if !self.chain.is_empty()
            && let Some(first) = source.chain.pop_front()
            && !self.copied(&first, first.len())
        {
            self.link(first);
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
            let len = front.len().min(left);
            left -= len;
            if len == front.len() {
                if let Some(chunk) = source.chain.pop_front()
                    && !self.copied(&chunk, len)
                {
                    self.link(chunk);
                }
                continue;
            }
            if len > COPY_PART {
                let part = front.share(0, len);
                self.link(part);
            } else {
                self.copy_part(&front.bytes()[..len]);
            }
            front.skip(len);
        }
        self.count_moved(source, n);
    }

    /// Copies the first `len` bytes of `chunk` into the room of the last chunk, if that is the cheaper way.
    fn copied(&mut self, chunk: &Chunk, len: usize) -> bool {
        if len > COPY_WHOLE || chunk.is_foreign() {
            return false;
        }
        let Some(back) = self.chain.back_mut() else {
            return false;
        };
        let fits = back.room() >= len;
        if fits {
            back.fill(&chunk.bytes()[..len]);
        }
        fits
    }

    /// Copies a few bytes behind the content without counting them.
    fn copy_part(&mut self, data: &[u8]) {
        let filled = self.chain.back_mut().map_or(0, |back| back.fill(data));
        if filled < data.len() {
            let missing = &data[filled..];
            let block = super::Block::small(self.grown(missing.len()));
            let mut chunk = Chunk::owned(block, 0, 0);
            chunk.fill(missing);
            self.chain.push_back(chunk);
        }
    }

    /// Makes `chunk` the last one, or part of the last one if it continues the same shared memory.
    fn link(&mut self, chunk: Chunk) {
        let rejoined = match self.chain.back_mut() {
            Some(back) => back.rejoin(chunk),
            None => Err(chunk),
        };
        if let Err(chunk) = rejoined {
            self.chain.push_back(chunk);
        }
    }

    #[inline]
    fn count_moved(&mut self, source: &mut Self, n: usize) {
        source.len -= n;
        source.deleted = source.deleted.wrapping_add(n);
        self.count_added(n);
    }
}
