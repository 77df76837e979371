//! Files in buffers: `evbuffer_add_file` and file segments.
//!
//! A buffer that is only written to a descriptor (`EVBUFFER_FLAG_DRAINS_TO_FD`) keeps a segment as what it is, and it is
//! sent with `sendfile`. If somebody looks at its bytes after all, they are brought into memory then. In any other buffer,
//! and with `EVBUF_FS_DISABLE_SENDFILE`, that happens when the segment is added, so that its errors are seen there. In
//! memory the file is mapped, or read if that is not possible or not wanted.

use std::ffi::{c_int, c_uint, c_void};
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

use ferrevent_core::buffer::{End, FileContent};
use libc::off_t;

use super::reference::{CleanUp, append_empty, clean_up, note_due};
use super::{evbuffer, notify, status};
use crate::lock;
use crate::log;

/// `EVBUF_FS_CLOSE_ON_FREE`
const CLOSE_ON_FREE: c_uint = 1;
/// `EVBUF_FS_DISABLE_MMAP`
const DISABLE_MMAP: c_uint = 2;
/// `EVBUF_FS_DISABLE_SENDFILE`
const DISABLE_SENDFILE: c_uint = 4;

/// `evbuffer_file_segment_cleanup_cb`
#[allow(non_camel_case_types, reason = "this is C's name")]
pub type evbuffer_file_segment_cleanup_cb =
    Option<unsafe extern "C" fn(*const evbuffer_file_segment, c_int, *mut c_void)>;

/// `struct evbuffer_file_segment`
#[allow(non_camel_case_types, reason = "this is C's name")]
pub struct evbuffer_file_segment {
    /// The program's reference, and one for each piece of the segment in a buffer.
    references: AtomicUsize,
    fd: c_int,
    offset: u64,
    len: usize,
    flags: c_uint,
    content: OnceLock<Content>,
    function: evbuffer_file_segment_cleanup_cb,
    argument: *mut c_void,
}

/// A segment's bytes.
enum Content {
    /// `size` bytes mapped at `base`; the segment begins `skip` bytes behind that.
    Mapped {
        base: *mut c_void,
        size: usize,
        skip: usize,
    },
    Read(Box<[u8]>),
    /// Zeros in place of what could not be read when somebody looked at it.
    Lost(Box<[u8]>),
}

// SAFETY: the mapping belongs to the segment and is only read.
unsafe impl Send for Content {}
// SAFETY: as above.
unsafe impl Sync for Content {}

/// `evbuffer_add_file`: `length` bytes from `offset` on, -1 for all that follow. The descriptor is closed when the last
/// of them has left the buffer; also when this fails, unless `offset` and `length` are impossible.
///
/// # Safety
/// The C API's contract: `buf` is alive; the file is not shortened while its bytes are in a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add_file(
    buf: *mut evbuffer,
    fd: c_int,
    offset: off_t,
    length: off_t,
) -> c_int {
    let segment = evbuffer_file_segment_new(fd, offset, length, CLOSE_ON_FREE);
    if segment.is_null() {
        return -1;
    }
    // SAFETY: by the C API's contract; the segment is new.
    unsafe {
        let added = evbuffer_add_file_segment(buf, segment, 0, -1);
        evbuffer_file_segment_free(segment);
        added
    }
}

/// `evbuffer_file_segment_new`: NULL if `offset` or `length` is impossible.
#[unsafe(no_mangle)]
pub extern "C" fn evbuffer_file_segment_new(
    fd: c_int,
    offset: off_t,
    length: off_t,
    flags: c_uint,
) -> *mut evbuffer_file_segment {
    let Some((offset, len)) = extent(fd, offset, length) else {
        return std::ptr::null_mut();
    };
    Box::into_raw(Box::new(evbuffer_file_segment {
        references: AtomicUsize::new(1),
        fd,
        offset,
        len,
        flags,
        content: OnceLock::new(),
        function: None,
        argument: std::ptr::null_mut(),
    }))
}

/// `evbuffer_file_segment_free`: the segment goes when no buffer shows it any more.
///
/// # Safety
/// The C API's contract: `segment` is alive, and the caller does not use it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_file_segment_free(segment: *mut evbuffer_file_segment) {
    // SAFETY: by the C API's contract.
    unsafe { release(segment) };
    clean_up();
}

/// `evbuffer_file_segment_add_cleanup_cb`: `function` is called when the segment goes.
///
/// # Safety
/// The C API's contract: `segment` is alive and in no other thread's use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_file_segment_add_cleanup_cb(
    segment: *mut evbuffer_file_segment,
    function: evbuffer_file_segment_cleanup_cb,
    argument: *mut c_void,
) {
    // SAFETY: by the C API's contract.
    unsafe {
        (*segment).function = function;
        (*segment).argument = argument;
    }
}

/// `evbuffer_add_file_segment`: `length` bytes of the segment from its byte `offset` on, -1 for all that follow. -1 if
/// it has not so many, or the file cannot be read (which is not tried if the buffer drains to a descriptor).
///
/// # Safety
/// The C API's contract: both are alive; the file is not shortened while its bytes are in a buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add_file_segment(
    buf: *mut evbuffer,
    segment: *mut evbuffer_file_segment,
    offset: off_t,
    length: off_t,
) -> c_int {
    // SAFETY: by the C API's contract; each piece has a reference of its own.
    unsafe {
        let Some(start) = usize::try_from(offset)
            .ok()
            .filter(|start| *start <= (*segment).len)
        else {
            return -1;
        };
        let rest = (*segment).len - start;
        let len = match length {
            -1 => rest,
            _ => match usize::try_from(length) {
                Ok(len) if len <= rest => len,
                _ => return -1,
            },
        };
        let _held = lock::hold(&(*buf).lock);
        let buffer = &(*buf).buffer;
        if buffer.is_frozen(End::Back) || len > isize::MAX as usize - buffer.len() {
            return -1;
        }
        let sent_as_file = (*buf).drains_to_fd && (*segment).flags & DISABLE_SENDFILE == 0;
        if !sent_as_file && let Err(error) = content(&*segment) {
            log::warn(&format!("evbuffer_add_file_segment: {error}"));
            return -1;
        }
        (*segment).references.fetch_add(1, Ordering::Relaxed);
        let piece = Piece {
            segment,
            start,
            len,
        };
        if len == 0 {
            append_empty(buf, piece);
            return 0;
        }
        let appended = (*buf).buffer.append_file(Arc::new(piece), 0, len);
        notify(buf);
        status(appended)
    }
}

/// A part of a segment in a buffer.
struct Piece {
    segment: *mut evbuffer_file_segment,
    start: usize,
    len: usize,
}

// SAFETY: the reference count is atomic, and the segment's content is set once and only read.
unsafe impl Send for Piece {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for Piece {}

impl Piece {
    fn segment(&self) -> &evbuffer_file_segment {
        // SAFETY: the segment is alive because of this piece's reference; what changes in it is atomic or in a `OnceLock`,
        // and its clean-up function, which the program must not set while others use the segment.
        unsafe { &*self.segment }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        let segment = self.segment();
        let content = content(segment).unwrap_or_else(|_| {
            let zeros = || Content::Lost(vec![0; segment.len].into_boxed_slice());
            segment.content.get_or_init(zeros)
        });
        &content.bytes()[self.start..self.start + self.len]
    }
}

impl FileContent for Piece {
    fn len(&self) -> usize {
        self.len
    }

    fn place(&self) -> Option<(c_int, u64)> {
        let segment = self.segment();
        if segment.content.get().is_some() {
            return None;
        }
        Some((segment.fd, segment.offset.checked_add(self.start as u64)?))
    }

    fn load(&self) -> io::Result<()> {
        match content(self.segment())? {
            Content::Lost(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Content::Mapped { .. } | Content::Read(_) => Ok(()),
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: the piece had a reference, which ends here.
        unsafe { release(self.segment) };
    }
}

/// A segment without references.
struct Unused(*mut evbuffer_file_segment);

impl CleanUp for Unused {
    unsafe fn run(self: Box<Self>) {
        // SAFETY: nobody else refers to the segment; the program's function is called once, before it goes.
        unsafe {
            let segment = self.0;
            let flags = (*segment).flags;
            if let Some(function) = (*segment).function {
                // Flags fit in an `int`.
                function(segment, flags as c_int, (*segment).argument);
            }
            if flags & CLOSE_ON_FREE != 0 {
                libc::close((*segment).fd);
            }
            drop(Box::from_raw(segment));
        }
    }
}

/// Drops a reference; with the last one, notes that the segment is to go.
///
/// # Safety
/// The caller has a reference.
unsafe fn release(segment: *mut evbuffer_file_segment) {
    // SAFETY: by this function's contract.
    let before = unsafe { (*segment).references.fetch_sub(1, Ordering::Release) };
    if before == 1 {
        fence(Ordering::Acquire);
        note_due(Box::new(Unused(segment)));
    }
}

/// Where a segment lies in its file: offset and length in bytes.
fn extent(fd: c_int, offset: off_t, length: off_t) -> Option<(u64, usize)> {
    let offset = u64::try_from(offset).ok()?;
    let len = match length {
        -1 => usize::try_from(file(fd)?.metadata().ok()?.len().checked_sub(offset)?).ok()?,
        _ => usize::try_from(length).ok()?,
    };
    Some((offset, len))
}

/// The segment's bytes, got at the first time.
fn content(segment: &evbuffer_file_segment) -> io::Result<&Content> {
    if let Some(content) = segment.content.get() {
        return Ok(content);
    }
    let content = load(segment)?;
    // Two threads may get here at once; one result is as good as the other.
    Ok(segment.content.get_or_init(|| content))
}

fn load(segment: &evbuffer_file_segment) -> io::Result<Content> {
    if segment.len == 0 {
        return Ok(Content::Read(Box::default()));
    }
    let file = file(segment.fd).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    let size = file.metadata()?.len();
    let end = segment.offset.checked_add(segment.len as u64);
    // Memory mapped behind the end of a file must not be touched.
    let within = end.is_some_and(|end| end <= size);
    if within
        && segment.flags & DISABLE_MMAP == 0
        && let Ok(content) = map(segment)
    {
        return Ok(content);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(segment.len)?;
    bytes.resize(segment.len, 0);
    file.read_exact_at(&mut bytes, segment.offset)?;
    Ok(Content::Read(bytes.into_boxed_slice()))
}

fn map(segment: &evbuffer_file_segment) -> io::Result<Content> {
    // SAFETY: asks for a number.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let skip = segment.offset % page;
    let start = off_t::try_from(segment.offset - skip)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // Less than a page.
    let skip = skip as usize;
    let size = segment.len + skip;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            segment.fd,
            start,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(Content::Mapped { base, size, skip })
}

/// The descriptor as a file that is not closed with it; `None` for no descriptor.
fn file(fd: c_int) -> Option<ManuallyDrop<File>> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the descriptor is the program's, and this does not close it.
    Some(ManuallyDrop::new(unsafe { File::from_raw_fd(fd) }))
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Read(bytes) | Self::Lost(bytes) => bytes,
            // SAFETY: the mapping lives as long as `self`; the program promises that the file keeps its length.
            Self::Mapped { base, size, skip } => unsafe {
                std::slice::from_raw_parts(base.cast::<u8>().add(*skip), size - skip)
            },
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Self::Mapped { base, size, .. } = *self {
            // SAFETY: nobody refers to the mapping any more.
            unsafe { libc::munmap(base, size) };
        }
    }
}
