//! Parts of files in a buffer: bytes that are counted but not in memory.
//!
//! A transport that can send a file to its descriptor (`sendfile`) asks for the [`FilePiece`] at the front and never
//! touches the bytes. Whoever looks at them brings them into memory: all functions work on files. Only the owner of the
//! content, which is the shell's, opens, maps or reads anything.

use std::io;
use std::sync::Arc;

use super::chunk::Chunk;
use super::{Buffer, BufferError};
use crate::driver::Fd;

/// A part of a file, as its owner knows it. Any number of buffers may show pieces of it.
pub trait FileContent: AsRef<[u8]> + Send + Sync {
    /// How many bytes it has. Never changes, also when the file becomes shorter.
    fn len(&self) -> usize;

    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The descriptor, and where the content begins in the file. `None` when the bytes are to be taken from memory:
    /// because they are there, or cannot be sent from the descriptor.
    fn place(&self) -> Option<(Fd, u64)>;

    /// Brings the bytes into memory, unless they are there.
    ///
    /// [`as_ref`](AsRef::as_ref) does that too, but cannot fail: it shows zero bytes in place of what cannot be read. It
    /// always shows [`len`](Self::len) bytes, the same each time.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` if the file is too short by now.
    fn load(&self) -> io::Result<()>;
}

/// Bytes at the front of a buffer that can be sent from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePiece {
    /// The file's descriptor, open for reading.
    pub fd: Fd,
    /// Where the bytes begin in the file.
    pub offset: u64,
    /// How many there are.
    pub len: usize,
}

impl Buffer {
    /// Appends `len` bytes of `content` from its byte `start` on, without reading them (`evbuffer_add_file_segment`).
    ///
    /// The content is dropped when the last of these bytes has left every buffer, as with
    /// [`append_owner`](Self::append_owner).
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the back is frozen; [`BufferError::OutOfRange`] if the content has not so many bytes;
    /// [`BufferError::TooLong`].
    pub fn append_file(
        &mut self,
        content: Arc<dyn FileContent>,
        start: usize,
        len: usize,
    ) -> Result<(), BufferError> {
        let end = start.checked_add(len).ok_or(BufferError::OutOfRange)?;
        if end > content.len() {
            return Err(BufferError::OutOfRange);
        }
        self.check_append(len)?;
        if len == 0 {
            return Ok(());
        }
        self.end_reservation();
        self.has_files = true;
        self.count_added(len);
        self.chain.push_back(Chunk::file(content, start, end));
        Ok(())
    }

    /// For the transport: what it can send from a file next, at most `limit` bytes; `None` if the bytes at the front are
    /// in memory. Then [`sent`](Self::sent) drains them.
    #[inline]
    #[must_use]
    pub fn front_file(&self, limit: usize) -> Option<FilePiece> {
        if !self.has_files {
            return None;
        }
        self.chain.front()?.file_piece(limit)
    }

    /// Brings those of the first `n` bytes into memory that are not. Functions that look at bytes do that by themselves,
    /// but not all of them can say that it failed.
    ///
    /// # Errors
    /// What the system says: bytes that cannot be read look like zeros.
    #[inline]
    pub fn load_files(&self, n: usize) -> io::Result<()> {
        if self.has_files { self.load(n) } else { Ok(()) }
    }

    /// As [`load_files`](Self::load_files); says whether it has succeeded.
    #[inline]
    pub fn can_load_files(&self, n: usize) -> bool {
        !self.has_files || self.load(n).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn load(&self, n: usize) -> io::Result<()> {
        let mut left = n;
        for chunk in self.chain.iter() {
            if left == 0 {
                break;
            }
            chunk.load()?;
            left = left.saturating_sub(chunk.len());
        }
        Ok(())
    }

    /// As [`load_files`](Self::load_files), for functions that say why a buffer was left as it was.
    #[inline]
    pub(super) fn check_readable(&self, n: usize) -> Result<(), BufferError> {
        if self.can_load_files(n) {
            Ok(())
        } else {
            Err(BufferError::Unreadable)
        }
    }
}
