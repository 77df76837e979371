//! Files that are sent without being read.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use ferrevent_core::buffer::{Buffer, BufferError, FileContent};
use ferrevent_core::driver::Fd;

/// A part of a file, to be put into buffers (`struct evbuffer_file_segment`).
///
/// A bufferevent on a socket sends it with `sendfile`, so that its bytes never come into this process. Any function that
/// looks at the bytes works too: they are read into memory then, once for all buffers that show them.
///
/// Any number of buffers may show it, in parts and at the same time. The file is closed when the last of them and the last
/// clone of this have gone.
///
/// A file that becomes shorter meanwhile ends the sending: the handler is told [`Condition`](crate::Condition) "end of
/// stream while writing", and what is left stays in the output.
#[derive(Clone)]
pub struct FileSegment(Arc<Segment>);

const _: () = {
    const fn goes_anywhere<T: Send + Sync + 'static>() {}
    goes_anywhere::<FileSegment>();
};

struct Segment {
    file: File,
    offset: u64,
    len: usize,
    content: OnceLock<Content>,
}

enum Content {
    Read(Box<[u8]>),
    /// Zeros in place of what could not be read when somebody looked at it.
    Lost(Box<[u8]>),
}

impl FileSegment {
    /// `len` bytes of `file` from byte `offset` on, or all that follow (`evbuffer_file_segment_new`). Whether the file has
    /// so many is not looked at.
    ///
    /// # Errors
    /// If `len` is `None`: what the system says when asked for the file's size, and `InvalidInput` if the file ends before
    /// `offset`.
    pub fn new(file: File, offset: u64, len: Option<usize>) -> io::Result<Self> {
        let len = match len {
            Some(len) => len,
            None => {
                let rest = file.metadata()?.len().checked_sub(offset);
                rest.and_then(|rest| usize::try_from(rest).ok())
                    .ok_or(io::ErrorKind::InvalidInput)?
            }
        };
        Ok(Self(Arc::new(Segment {
            file,
            offset,
            len,
            content: OnceLock::new(),
        })))
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// Appends its bytes `start..start + len` to `buffer` (`evbuffer_add_file_segment`), without reading them.
    ///
    /// # Errors
    /// [`BufferError::OutOfRange`] if it has not so many; [`BufferError::Frozen`] if the buffer's back is frozen;
    /// [`BufferError::TooLong`].
    pub fn append_to(
        &self,
        buffer: &mut Buffer,
        start: usize,
        len: usize,
    ) -> Result<(), BufferError> {
        let content: Arc<Segment> = Arc::clone(&self.0);
        buffer.append_file(content, start, len)
    }
}

impl std::fmt::Debug for FileSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSegment")
            .field("file", &self.0.file)
            .field("offset", &self.0.offset)
            .field("len", &self.0.len)
            .finish()
    }
}

impl Segment {
    fn content(&self) -> io::Result<&Content> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.len)?;
        bytes.resize(self.len, 0);
        self.file.read_exact_at(&mut bytes, self.offset)?;
        // Two threads may get here at once; one result is as good as the other.
        let content = || Content::Read(bytes.into_boxed_slice());
        Ok(self.content.get_or_init(content))
    }
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        let content = self.content().unwrap_or_else(|_| {
            let zeros = || Content::Lost(vec![0; self.len].into_boxed_slice());
            self.content.get_or_init(zeros)
        });
        match content {
            Content::Read(bytes) | Content::Lost(bytes) => bytes,
        }
    }
}

impl FileContent for Segment {
    fn len(&self) -> usize {
        self.len
    }

    fn place(&self) -> Option<(Fd, u64)> {
        if self.content.get().is_some() {
            return None;
        }
        Some((self.file.as_raw_fd(), self.offset))
    }

    fn load(&self) -> io::Result<()> {
        match self.content()? {
            Content::Read(_) => Ok(()),
            Content::Lost(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
