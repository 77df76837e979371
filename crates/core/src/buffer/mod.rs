//! The segmented byte buffer (libevent's evbuffer): append at the back, take from the front, copy as little as possible.
//!
//! A [`Buffer`] is a queue of bytes in a chain of chunks. Each chunk shows a part of one piece of memory:
//!
//! ```text
//!        front                                                          back
//!   +---------------+    +---------------------+    +---------------------------+
//!   | gone | bytes  | -> | bytes               | -> | bytes       | room        |
//!   +---------------+    +---------------------+    +---------------------------+
//!     owned: a pooled      shared with another        owned: appending fills the
//!     block; draining      buffer, or foreign:        room, reading from a socket
//!     moves its start      the user's `Bytes`         writes straight into it
//! ```
//!
//! * **Owned** memory is given back as soon as its last byte is drained: to the allocator, or to a bounded pool of the
//!   thread. Only a buffer between the user and the user keeps one small block; those of connections keep none. Blocks
//!   grow with the buffer from 256 bytes to 64 KiB, so that a few bytes do not occupy a page; in a buffer of more than
//!   16 MiB they have 2 MiB.
//! * **Shared** memory is what [`append_shared`](Buffer::append_shared) and the splitting of a large chunk leave: the
//!   same block is shown by several chunks and freed by the last one.
//! * A part of a **file**, given by [`append_file`](Buffer::append_file), is not in memory until somebody looks at it; a
//!   transport can send it without that.
//! * **Foreign** memory is the user's, given by [`append_bytes`](Buffer::append_bytes) or
//!   [`append_owner`](Buffer::append_owner).
//!
//! Moving between buffers moves chunks; only pieces so small that a copy is cheaper are copied into existing room.
//! Memory never moves while its bytes are in a buffer, except by [`pullup`](Buffer::pullup).
//!
//! A buffer is a plain value: it takes no locks and calls nobody. What changed is counted, and taken by
//! [`take_change`](Buffer::take_change); whoever owns the buffer reports it.
//!
//! Each end can be [frozen](Buffer::freeze) against the user. The operations for the transport ([`receive`](Buffer::receive),
//! [`transmit`](Buffer::transmit), [`sent`](Buffer::sent)) ignore that, since the transport is not the user. An
//! operation that fails has changed nothing.

mod chain;
mod chunk;
mod contiguous;
mod file;
mod look;
mod pool;
mod search;
mod space;
mod traits;
mod transfer;

use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use self::chain::Chain;
use self::chunk::Chunk;
pub use self::file::{FileContent, FilePiece};
use self::pool::{Block, MAX_POOLED};
pub use self::search::{Eol, EolStyle};

/// No buffer holds more bytes than this, so that every length also fits a signed number.
const MAX_LEN: usize = isize::MAX as usize;

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

/// A larger block is not kept by a buffer that has been drained.
const KEPT_BLOCK: usize = 512;

/// A queue of bytes in chunks. See the [module](self) for how it works.
///
/// The order of its fields keeps everything that is written sixteen bytes at a time on a multiple of sixteen: where such a
/// write goes over the border of a page, it takes longer than all the rest of an operation.
#[repr(C)]
#[derive(Default)]
pub struct Buffer {
    counts: Counts,
    /// The bytes in all chunks together.
    len: usize,
    /// Only the chunk of a buffer without bytes may be empty, and then it is the only one.
    chain: Chain,
    /// An empty block that `expand` or `reserve` has made ready. The next chunk is made of it. Boxed, being rare.
    spare: Option<Box<space::Spare>>,
    /// Where the room of the last chunk began when `reserve` gave it out.
    reserved_from: usize,
    /// Whether it did. While this is set, that chunk stays although it may have been drained empty.
    tail_reserved: bool,
    /// Whether a transport has ever read into this. Such buffers are many, and empty most of the time.
    is_fed: bool,
    /// How reads were sized lately.
    reads: space::ReadSize,
    front_frozen: bool,
    back_frozen: bool,
    /// Whether there may be parts of files.
    has_files: bool,
}

/// Bytes added and deleted since the change was last taken.
#[derive(Default)]
struct Counts {
    added: usize,
    deleted: usize,
}

const _: () = {
    // The first word of a chunk tells its kind, and is written by itself.
    assert!((mem::offset_of!(Buffer, chain) + size_of::<usize>()).is_multiple_of(16));
    assert!(
        size_of::<Buffer>() == 96,
        "it is part of every idle connection, twice"
    );
};

/// One end of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Where bytes are taken from and prepended to.
    Front,
    /// Where bytes are appended to.
    Back,
}

/// Why a buffer was left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BufferError {
    /// The end that the operation works on is frozen.
    #[error("this end of the buffer is frozen")]
    Frozen,
    /// The buffer would hold more than `isize::MAX` bytes.
    #[error("a buffer cannot hold so many bytes")]
    TooLong,
    /// More was committed than had been reserved, or the reservation is no longer in force.
    #[error("not within what was reserved")]
    OutOfRange,
    /// The allocator has no memory of that size.
    #[error("out of memory")]
    NoMemory,
    /// The buffer holds a part of a file that cannot be brought into memory.
    #[error("a part of a file cannot be read")]
    Unreadable,
}

/// What happened to a buffer since the last look (libevent's `struct evbuffer_cb_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Its length in bytes at the last look.
    pub before_len: usize,
    /// Bytes added since.
    pub added: usize,
    /// Bytes deleted since.
    pub deleted: usize,
}

impl Buffer {
    /// An empty buffer, which occupies no memory of its own (`evbuffer_new`).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it holds (`evbuffer_get_length`).
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `end` is frozen.
    #[inline]
    #[must_use]
    pub fn is_frozen(&self, end: End) -> bool {
        match end {
            End::Front => self.front_frozen,
            End::Back => self.back_frozen,
        }
    }

    /// Refuses the user's operations at `end` from now on (`evbuffer_freeze`): at the back everything that appends, at
    /// the front everything that takes bytes away or prepends. Looking is always possible.
    pub fn freeze(&mut self, end: End) {
        self.set_frozen(end, true);
    }

    /// Lifts [`freeze`](Self::freeze) (`evbuffer_unfreeze`).
    pub fn unfreeze(&mut self, end: End) {
        self.set_frozen(end, false);
    }

    /// What has changed since this was last called, or `None` when nothing was added or deleted.
    #[inline]
    pub fn take_change(&mut self) -> Option<Change> {
        if self.counts.added == 0 && self.counts.deleted == 0 {
            return None;
        }
        let added = mem::take(&mut self.counts.added);
        let deleted = mem::take(&mut self.counts.deleted);
        // The sums may each exceed what was ever there at once; only their difference is meaningful as a length.
        let before_len = self.len.wrapping_add(deleted).wrapping_sub(added);
        Some(Change {
            before_len,
            added,
            deleted,
        })
    }

    /// Forgets what has changed, for an owner that has nobody to report it to.
    #[inline]
    pub fn forget_change(&mut self) {
        self.counts.added = 0;
        self.counts.deleted = 0;
    }

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

    /// Appends a copy of `data` regardless of the freezes; on an error nothing is changed.
    #[inline]
    fn append_copy(&mut self, data: &[u8]) -> Result<(), BufferError> {
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

    /// Discards the first `n` bytes, of which there must be as many, regardless of the freezes.
    #[inline]
    fn drop_front(&mut self, n: usize) {
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

    /// Forgets that room of the last chunk was given out, and the only chunk if it is empty.
    #[inline]
    fn end_reservation(&mut self) {
        if self.tail_reserved {
            self.tail_reserved = false;
            if let Some(spare) = &mut self.spare {
                spare.end_reservation();
            }
        }
        if self.chain.front().is_some_and(Chunk::is_empty) {
            self.chain.drop_front();
        }
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

    #[inline]
    fn count_added(&mut self, n: usize) {
        self.len += n;
        self.counts.added = self.counts.added.wrapping_add(n);
    }

    #[inline]
    fn check_append(&self, n: usize) -> Result<(), BufferError> {
        if self.back_frozen {
            return Err(BufferError::Frozen);
        }
        self.check_len(n)
    }

    #[inline]
    fn check_front(&self) -> Result<(), BufferError> {
        if self.front_frozen {
            Err(BufferError::Frozen)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn check_len(&self, n: usize) -> Result<(), BufferError> {
        if n > MAX_LEN - self.len {
            Err(BufferError::TooLong)
        } else {
            Ok(())
        }
    }

    fn set_frozen(&mut self, end: End, frozen: bool) {
        match end {
            End::Front => self.front_frozen = frozen,
            End::Back => self.back_frozen = frozen,
        }
    }
}
