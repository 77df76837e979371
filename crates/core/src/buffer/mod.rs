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

mod add;
mod chain;
mod chunk;
mod contiguous;
mod file;
mod look;
mod pool;
mod search;
mod space;
mod take;
mod traits;
mod transfer;

use std::mem;
use std::sync::Arc;

use self::chain::Chain;
use self::chunk::Chunk;
pub use self::file::{FileContent, FilePiece};
pub use self::search::{Eol, EolStyle};

/// No buffer holds more bytes than this, so that every length also fits a signed number.
const MAX_LEN: usize = isize::MAX as usize;

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
    // A plain value: another thread may have it, and several may look at it.
    const fn goes_anywhere<T: Send + Sync + 'static>() {}
    goes_anywhere::<Buffer>();
    goes_anywhere::<Arc<dyn FileContent>>();
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
