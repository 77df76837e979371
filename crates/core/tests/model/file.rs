//! Parts of files: that all operations work on them, and that what is offered for sending is the right part.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ferrevent_core::buffer::FileContent;

use super::flat::Source;
use super::{FROZEN, Slot};

/// The descriptor that all of them have.
const FD: i32 = 7;

/// A stretch of the source, which is the file.
pub(crate) struct FileLike {
    bytes: Bytes,
    /// Where in the source it begins.
    at: usize,
    loaded: AtomicBool,
    /// Has one more strong reference for each that is alive.
    _alive: Arc<()>,
}

impl FileLike {
    pub(crate) fn new(source: &mut Source, len: usize, alive: &Arc<()>) -> Self {
        let at = source.place();
        Self {
            bytes: source.at(at, len),
            at,
            loaded: AtomicBool::new(false),
            _alive: Arc::clone(alive),
        }
    }
}

impl AsRef<[u8]> for FileLike {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FileContent for FileLike {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Looking at the bytes does not count as loading here, so that what is not in memory is met more often.
    fn place(&self) -> Option<(i32, u64)> {
        (!self.loaded.load(Ordering::Relaxed)).then_some((FD, self.at as u64))
    }

    fn load(&self) -> io::Result<()> {
        self.loaded.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Slot {
    pub(crate) fn append_file(&mut self, file: FileLike, start: usize, n: usize) {
        let bytes = file.bytes.slice(start..start + n);
        let file = Arc::new(file);
        let beyond = self.real.append_file(file.clone(), start, n + 1);
        assert!(beyond.is_err(), "one byte more than the file has");
        let result = self.real.append_file(file, start, n);
        if self.back {
            return assert_eq!(result, FROZEN);
        }
        assert_eq!(result, Ok(()));
        self.push(&bytes);
    }

    pub(crate) fn send_file(&mut self, limit: usize, n: usize, source: &Source) {
        let Some(piece) = self.real.front_file(limit) else {
            return;
        };
        let at = usize::try_from(piece.offset).expect("a place in the source");
        assert!(piece.fd == FD && piece.len <= limit);
        assert_eq!(piece.len, limit.min(self.real.contiguous_len()));
        assert_eq!(source.at(at, piece.len), self.model.slice(0, piece.len));
        let taken = n.min(piece.len);
        self.real.sent(taken);
        self.shift(taken);
    }
}
