//! Where the library's own memory comes from: the system's allocator, except for large blocks of bytes.
//!
//! A buffer of many megabytes consists of blocks of 2 MiB (`ferrevent_core::buffer`). Page by page, bringing such a block
//! in and giving it back takes several times as long as copying into it. So these blocks are mapped where the system can
//! back them with a large page, and it is asked to. Where it does not, they are as good as any others.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

#[global_allocator]
static MEMORY: Memory = Memory;

/// The size of a large page, on x86-64 and on aarch64 with pages of 4 KiB.
pub(crate) const LARGE_PAGE: usize = 2 << 20;

/// What a mapping's length is a multiple of: the largest page that Linux has on these.
const PAGE: usize = 64 << 10;

struct Memory;

// SAFETY: what is large is decided by the layout alone, so each block goes back to where it came from. `map` gives new
// memory of at least that size at a multiple of `LARGE_PAGE`, or NULL; all else is the system allocator's.
unsafe impl GlobalAlloc for Memory {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promise about the layout is that function's.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promise about the layout is that function's.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: with this layout, `block` came from `map` with this size, and the caller has done with it.
            return unsafe { unmap(block, mapped_len(layout.size())) };
        }
        // SAFETY: with this layout, `block` came from there; the rest is the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` is a valid one for this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if is_large(layout) || is_large(new) {
            // SAFETY: by the caller's promises about the block and both layouts.
            return unsafe { move_block(block, layout, new) };
        }
        // SAFETY: with this layout, `block` came from there, and with the new one it stays there.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Whether such a block is mapped by itself. Only bytes: tables grow in place where the system's allocator can.
#[inline]
fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE_PAGE && layout.align() == 1
}

fn mapped_len(size: usize) -> usize {
    // A layout's size is at most `isize::MAX`.
    size.next_multiple_of(PAGE)
}

/// New memory for `size` bytes, all of them zero; NULL if there is none.
#[cold]
pub(crate) fn map(size: usize) -> *mut u8 {
    let len = mapped_len(size);
    // SAFETY: a new mapping at a place of the system's choice touches nothing.
    let whole = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len + LARGE_PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if whole == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    let whole = whole.cast::<u8>();
    // Down from the end of the surplus, so that something is left over behind, if only a page.
    let before = whole.addr().next_multiple_of(LARGE_PAGE) - whole.addr();
    // SAFETY: all of it lies in the mapping, which is `len + LARGE_PAGE` long, and nobody knows of it yet: what lies
    // before and behind the block goes back. `before` is less than `LARGE_PAGE`.
    unsafe {
        let block = whole.add(before);
        if before > 0 {
            unmap(whole, before);
        }
        unmap(block.add(len), LARGE_PAGE - before);
        // A system without large pages refuses, and nothing is lost.
        libc::madvise(block.cast(), len, libc::MADV_HUGEPAGE);
        block
    }
}

/// Gives `len` bytes back.
///
/// # Safety
/// They are whole pages of a mapping from [`map`] that nobody uses any more.
pub(crate) unsafe fn unmap(block: *mut u8, len: usize) {
    // SAFETY: by this function's contract. It can only fail for lack of kernel memory; the pages then stay mapped.
    unsafe { libc::munmap(block.cast(), len) };
}

/// The content of `block` in a new one, in whose place it goes; NULL, and the old one is as it was, without memory.
///
/// # Safety
/// `block` is the caller's, with the layout `old`; the size of `new` is not 0.
#[cold]
unsafe fn move_block(block: *mut u8, old: Layout, new: Layout) -> *mut u8 {
    // SAFETY: by this function's contract; the two blocks are different, and both have the bytes that are copied.
    unsafe {
        let moved = MEMORY.alloc(new);
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, old.size().min(new.size()));
            MEMORY.dealloc(block, old);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_are_where_large_pages_can_be() {
        let block = vec![0_u8; LARGE_PAGE];
        assert!(block.as_ptr().addr().is_multiple_of(LARGE_PAGE));
        assert!(block.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn growing_and_shrinking_over_the_border_keeps_the_content() {
        let mut bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let content = bytes.clone();
        for size in [
            3 * LARGE_PAGE + 1,
            LARGE_PAGE,
            LARGE_PAGE - 1,
            5 * LARGE_PAGE,
            0,
        ] {
            bytes.reserve_exact(size.saturating_sub(bytes.len()));
            bytes.shrink_to(size);
            assert!(bytes.capacity() >= size);
            assert_eq!(bytes, content);
        }
    }

    #[test]
    fn tables_stay_with_the_systems_allocator() {
        assert!(!is_large(
            Layout::array::<u64>(LARGE_PAGE).unwrap_or(Layout::new::<u8>())
        ));
        assert!(is_large(
            Layout::array::<u8>(LARGE_PAGE).unwrap_or(Layout::new::<u8>())
        ));
    }

    #[test]
    fn a_size_that_nothing_can_have_is_refused() {
        let mut bytes = Vec::<u8>::new();
        assert!(bytes.try_reserve_exact(isize::MAX as usize).is_err());
    }
}
