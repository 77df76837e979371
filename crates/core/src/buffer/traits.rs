//! What a buffer is to the rest of Rust: a reader, a writer, a `bytes::Buf`, a collection.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::chunk::Chunk;
use super::{Buffer, BufferError};

impl From<BufferError> for io::Error {
    fn from(error: BufferError) -> Self {
        let kind = match error {
            BufferError::Frozen => io::ErrorKind::PermissionDenied,
            BufferError::TooLong | BufferError::OutOfRange => io::ErrorKind::InvalidInput,
            BufferError::NoMemory => io::ErrorKind::OutOfMemory,
            BufferError::Unreadable => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

/// Takes bytes from the front; an empty buffer reads as ended.
impl io::Read for Buffer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.remove(out)?)
    }
}

impl io::BufRead for Buffer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.len > 0 {
            self.check_front()?;
            self.check_readable(1)?;
        }
        Ok(self.front())
    }

    /// Drains `n` bytes, which `fill_buf` must have shown.
    fn consume(&mut self, n: usize) {
        self.sent(n);
    }
}

/// Appends everything, or fails.
impl io::Write for Buffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.append(data)?;
        Ok(data.len())
    }

    /// As `evbuffer_add_iovec`.
    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let total = pieces
            .iter()
            .fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        self.check_append(total)?;
        for piece in pieces {
            self.append_copy(piece)?;
        }
        Ok(total)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frozen front offers nothing.
impl Buf for Buffer {
    fn remaining(&self) -> usize {
        if self.front_frozen { 0 } else { self.len }
    }

    fn chunk(&self) -> &[u8] {
        if self.front_frozen { &[] } else { self.front() }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [io::IoSlice<'a>]) -> usize {
        if self.front_frozen {
            0
        } else {
            self.fill_io_slices(usize::MAX, slices)
        }
    }

    fn advance(&mut self, n: usize) {
        assert!(n <= self.remaining(), "cannot advance past what remains");
        self.drop_front(n);
    }

    /// Copies nothing if the bytes are more than a few and lie in one chunk.
    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        assert!(n <= self.remaining(), "cannot take more than what remains");
        self.take_front(n)
    }
}

/// Panics where [`Buffer::append`] fails.
impl Extend<u8> for Buffer {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        let mut piece = [0; 256];
        let mut filled = 0;
        for byte in bytes {
            piece[filled] = byte;
            filled += 1;
            if filled == piece.len() {
                extend(self, &piece);
                filled = 0;
            }
        }
        extend(self, &piece[..filled]);
    }
}

/// Panics where [`Buffer::append`] fails.
impl<'a> Extend<&'a [u8]> for Buffer {
    fn extend<I: IntoIterator<Item = &'a [u8]>>(&mut self, pieces: I) {
        for piece in pieces {
            extend(self, piece);
        }
    }
}

fn extend(buffer: &mut Buffer, data: &[u8]) {
    if let Err(error) = buffer.append(data) {
        panic!("cannot extend: {error}");
    }
}

impl From<&[u8]> for Buffer {
    fn from(data: &[u8]) -> Self {
        let mut buffer = Self::new();
        extend(&mut buffer, data);
        buffer
    }
}

/// Refers to the bytes without copying.
impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        let mut buffer = Self::new();
        let len = bytes.len();
        if len > 0 {
            buffer.count_added(len);
            buffer.chain.push_back(Chunk::foreign(Arc::new(bytes), len));
        }
        buffer
    }
}

/// Takes the vector's memory without copying.
impl From<Vec<u8>> for Buffer {
    fn from(data: Vec<u8>) -> Self {
        Self::from(Bytes::from(data))
    }
}

impl PartialEq<[u8]> for Buffer {
    fn eq(&self, other: &[u8]) -> bool {
        let mut rest = other;
        self.len == other.len()
            && self.chunks().all(|bytes| {
                let (here, behind) = rest.split_at(bytes.len());
                rest = behind;
                here == bytes
            })
    }
}

impl PartialEq<&[u8]> for Buffer {
    fn eq(&self, other: &&[u8]) -> bool {
        *self == **other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Buffer {
    fn eq(&self, other: &&[u8; N]) -> bool {
        *self == other[..]
    }
}

impl PartialEq<Vec<u8>> for Buffer {
    fn eq(&self, other: &Vec<u8>) -> bool {
        *self == other[..]
    }
}

/// Compares the bytes; how they are spread over chunks, freezes and changes do not matter.
impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        if self.len != other.len {
            return false;
        }
        let mut at = 0;
        self.chunks().all(|bytes| {
            let mut left = bytes;
            for piece in other.chunks_from(at) {
                let n = piece.len().min(left.len());
                if left[..n] != piece[..n] {
                    return false;
                }
                left = &left[n..];
                if left.is_empty() {
                    break;
                }
            }
            at += bytes.len();
            true
        })
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks: Vec<usize> = self.chain.iter().map(Chunk::len).collect();
        f.debug_struct("Buffer")
            .field("len", &self.len)
            .field("chunks", &chunks)
            .field("front_frozen", &self.front_frozen)
            .field("back_frozen", &self.back_frozen)
            .field("added", &self.counts.added)
            .field("deleted", &self.counts.deleted)
            .finish()
    }
}
