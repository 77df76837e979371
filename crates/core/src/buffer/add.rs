//! Putting copies and references of bytes in, at either end.

use std::sync::Arc;

use bytes::Bytes;

use super::chunk::Chunk;
use super::pool::{Block, MAX_POOLED};
use super::{Buffer, BufferError};

/// Blocks stop growing with the buffer at this size.
const GROWN_BLOCK: usize = 64 << 10;

/// A buffer with so many bytes gets blocks of [`LARGE_BLOCK`] bytes.
const LARGE_BUFFER: usize = 16 << 20;

/// A large page of the system: one of them is brought in and given back several times as fast as the pages in it, if the
/// allocator has the system do so. The C library's does.
const LARGE_BLOCK: usize = 2 << 20;

/// Blocks for prepended bytes, usually headers, stop growing at this size: they have to be cleared, unless pooled.
const PREPENDED_BLOCK: usize = 2 << 10;

/// What is prepended to a chunk of at least so many bytes gets a block without room for more.
const LONG_FRONT: usize = 512;

impl Buffer {
    /// Appends a copy of `data` (`evbuffer_add`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the back is frozen, even for no bytes; [`BufferError::TooLong`];
    /// [`BufferError::NoMemory`].
    #[inline]
    pub fn append(&mut self, data: &[u8]) -> Result<(), BufferError> {
        self.check_append(data.len())?;
        self.append_copy(data)
    }

    /// Appends a reference to `bytes` without copying (`evbuffer_add_reference`). Empty `bytes` are dropped at once.
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the back is frozen; [`BufferError::TooLong`].
    pub fn append_bytes(&mut self, bytes: Bytes) -> Result<(), BufferError> {
        self.append_owner(bytes)
    }

    /// Appends a reference to the memory of `owner` without copying (`evbuffer_add_reference`). `owner` must show the
    /// same bytes each time it is asked.
    ///
    /// It is dropped when the last of these bytes has left every buffer, once, possibly inside a call to this buffer; an
    /// owner whose clean-up is user code must therefore only note there that it is due. One without bytes is dropped at
    /// once.
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the back is frozen; [`BufferError::TooLong`].
    pub fn append_owner<T>(&mut self, owner: T) -> Result<(), BufferError>
    where
        T: AsRef<[u8]> + Send + Sync + 'static,
    {
        let len = owner.as_ref().len();
        self.check_append(len)?;
        if len == 0 {
            return Ok(());
        }
        self.end_reservation();
        self.count_added(len);
        self.chain.push_back(Chunk::foreign(Arc::new(owner), len));
        Ok(())
    }

    /// Puts a copy of `data` before the content (`evbuffer_prepend`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the front is frozen and there is something to prepend; [`BufferError::TooLong`];
    /// [`BufferError::NoMemory`].
    pub fn prepend(&mut self, data: &[u8]) -> Result<(), BufferError> {
        if data.is_empty() {
            return Ok(());
        }
        self.check_front()?;
        self.check_len(data.len())?;
        // First, since it may remove the front chunk.
        self.end_reservation();
        let room = self.chain.front().map_or(0, Chunk::room_front);
        if data.len() > room {
            let (before, behind) = data.split_at(data.len() - room);
            self.prepend_chunk(before)?;
            if room > 0
                && let Some(front) = self.chain.second_mut()
            {
                front.fill_front(behind);
            }
        } else if let Some(front) = self.chain.front_mut() {
            front.fill_front(data);
        }
        self.count_added(data.len());
        Ok(())
    }

    /// Appends a copy of `data` regardless of the freezes; on an error nothing is changed.
    #[inline]
    pub(super) fn append_copy(&mut self, data: &[u8]) -> Result<(), BufferError> {
        let filled = match self.chain.back_mut() {
            Some(back) => back.fill_whole(data),
            None => false,
        };
        if !filled {
            self.append_chunk(data)?;
        }
        self.count_added(data.len());
        Ok(())
    }

    /// Copies `data` into the room of the last chunk, and what does not fit there into a new chunk.
    #[inline(never)]
    fn append_chunk(&mut self, data: &[u8]) -> Result<(), BufferError> {
        if data.is_empty() {
            return Ok(());
        }
        if self.len == 0 && !self.tail_reserved {
            return self.append_first(data);
        }
        let room = self.chain.back_mut().map_or(0, |back| {
            back.reclaim();
            back.room()
        });
        let missing = data.len().saturating_sub(room);
        if missing == 0 {
            if let Some(back) = self.chain.back_mut() {
                back.fill(data);
            }
            return Ok(());
        }
        let mut block = match self.take_spare(missing) {
            Some(spare) => spare,
            None => Block::of(self.grown(missing))?,
        };
        block.write(0, &data[room..]);
        if room > 0
            && let Some(back) = self.chain.back_mut()
        {
            back.fill(data);
        }
        self.end_reservation();
        self.chain.push_back(Chunk::owned(block, 0, missing));
        Ok(())
    }

    /// As `append_chunk`, where there is nothing, or only a kept block that is too small.
    #[inline]
    fn append_first(&mut self, data: &[u8]) -> Result<(), BufferError> {
        if data.len() > MAX_POOLED || self.spare.is_some() {
            return self.append_first_large(data);
        }
        self.chain
            .set_only(Chunk::owned(Block::small_holding(data), 0, data.len()));
        Ok(())
    }

    #[cold]
    fn append_first_large(&mut self, data: &[u8]) -> Result<(), BufferError> {
        let mut block = match self.take_spare(data.len()) {
            Some(spare) => spare,
            None => Block::of(data.len())?,
        };
        block.write(0, data);
        self.chain.set_only(Chunk::owned(block, 0, data.len()));
        Ok(())
    }

    /// The size of the block to get when `missing` bytes find no room: as much as is here already, up to a limit.
    fn grown(&self, missing: usize) -> usize {
        let grown = if self.len < LARGE_BUFFER {
            self.len.min(GROWN_BLOCK)
        } else {
            LARGE_BLOCK
        };
        missing.max(grown)
    }

    /// Puts a copy of `data` into a chunk of its own before the others.
    #[inline]
    fn prepend_chunk(&mut self, data: &[u8]) -> Result<(), BufferError> {
        let front = self.chain.front().map_or(0, Chunk::len);
        if data.len() > MAX_POOLED {
            self.prepend_large(data)?;
        } else if front >= LONG_FRONT {
            // A header, which is most often the last thing to be prepended.
            self.chain
                .push_front(Chunk::owned(Block::fitting(data), 0, data.len()));
        } else {
            // Its content is at its end, so that the next bytes to be prepended find room before it.
            let size = data.len().max(self.len.min(PREPENDED_BLOCK));
            let block = Block::small_ending_with(data, size);
            let end = block.size();
            self.chain
                .push_front(Chunk::owned(block, end - data.len(), end));
        }
        Ok(())
    }

    #[cold]
    fn prepend_large(&mut self, data: &[u8]) -> Result<(), BufferError> {
        let mut block = Block::of(data.len())?;
        block.write(0, data);
        self.chain.push_front(Chunk::owned(block, 0, data.len()));
        Ok(())
    }
}
