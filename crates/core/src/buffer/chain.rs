//! A queue of chunks whose first element lies in the queue itself.
//!
//! Most buffers hold one chunk or none. Keeping it inline saves them an allocation and a cache line; the ring buffer
//! for the others is only allocated by the second chunk.

use std::collections::VecDeque;
use std::mem;

use super::chunk::Chunk;

/// A ring of more chunks than this is given back when it has become empty.
const KEEP_RING: usize = 16;

/// From so many chunks on, a ring grows by less than it holds.
const LONG_RING: usize = 256;

/// Invariant: without a head there is no rest.
#[repr(C)]
#[derive(Default)]
pub(super) struct Chain {
    head: Option<Chunk>,
    #[allow(
        clippy::box_collection,
        reason = "the many buffers without a second chunk are smaller for it"
    )]
    rest: Option<Box<VecDeque<Chunk>>>,
}

impl Chain {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Whether there is no second chunk.
    #[inline]
    pub(super) fn is_single(&self) -> bool {
        self.rest.as_ref().is_none_or(|rest| rest.is_empty())
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Chunk> {
        self.head.as_ref()
    }

    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Chunk> {
        self.head.as_mut()
    }

    #[inline]
    pub(super) fn second_mut(&mut self) -> Option<&mut Chunk> {
        self.rest.as_mut()?.front_mut()
    }

    #[inline]
    pub(super) fn back(&self) -> Option<&Chunk> {
        if let Some(rest) = &self.rest
            && let Some(back) = rest.back()
        {
            return Some(back);
        }
        self.head.as_ref()
    }

    #[inline]
    pub(super) fn back_mut(&mut self) -> Option<&mut Chunk> {
        if let Some(rest) = &mut self.rest
            && let Some(back) = rest.back_mut()
        {
            return Some(back);
        }
        self.head.as_mut()
    }

    /// Puts `chunk` into the place of the only chunk, or of none.
    #[inline]
    pub(super) fn set_only(&mut self, chunk: Chunk) {
        debug_assert!(self.is_single());
        self.head = Some(chunk);
    }

    #[inline]
    pub(super) fn push_back(&mut self, chunk: Chunk) {
        if self.head.is_none() {
            self.head = Some(chunk);
        } else {
            let rest = self.rest.get_or_insert_default();
            if rest.len() == rest.capacity() {
                grow(rest);
            }
            rest.push_back(chunk);
        }
    }

    // Inlined, so that a chunk that was just made is not moved as a whole.
    #[inline(always)]
    pub(super) fn push_front(&mut self, chunk: Chunk) {
        if let Some(second) = self.head.replace(chunk) {
            self.rest.get_or_insert_default().push_front(second);
        }
    }

    /// Lets the first chunk go. It is dropped where it lies: moving it out first would cost more than all the rest.
    #[inline]
    pub(super) fn drop_front(&mut self) {
        let next = match &mut self.rest {
            None => None,
            Some(rest) => {
                let next = rest.pop_front();
                if rest.is_empty() && rest.capacity() > KEEP_RING {
                    self.rest = None;
                }
                next
            }
        };
        self.head = next;
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Chunk> {
        let next = match &mut self.rest {
            None => None,
            Some(rest) => {
                let next = rest.pop_front();
                if rest.is_empty() {
                    self.shrink();
                }
                next
            }
        };
        mem::replace(&mut self.head, next)
    }

    pub(super) fn pop_back(&mut self) -> Option<Chunk> {
        if let Some(rest) = &mut self.rest
            && let Some(back) = rest.pop_back()
        {
            if rest.is_empty() {
                self.shrink();
            }
            return Some(back);
        }
        self.head.take()
    }

    /// Moves everything from `other` here, where nothing is.
    #[inline]
    pub(super) fn take_from(&mut self, other: &mut Self) {
        debug_assert!(self.is_empty());
        self.head = other.head.take().map(Chunk::moved);
        // An empty ring goes the other way.
        mem::swap(&mut self.rest, &mut other.rest);
    }

    /// Moves everything from `other` behind what is here.
    #[inline]
    pub(super) fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            self.take_from(other);
            return;
        }
        if let Some(head) = other.head.take() {
            let rest = self.rest.get_or_insert_default();
            rest.push_back(head);
            if let Some(more) = &mut other.rest {
                rest.append(more);
                other.shrink();
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Chunk> + Clone {
        self.head
            .iter()
            .chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Chunk> {
        self.head
            .iter_mut()
            .chain(self.rest.iter_mut().flat_map(|rest| rest.iter_mut()))
    }

    /// Gives the empty ring back if it is large.
    #[inline]
    fn shrink(&mut self) {
        self.rest.take_if(|rest| rest.capacity() > KEEP_RING);
    }
}

/// Makes room in a full ring: a long one grows by a quarter, since buffers of many small references consist mostly of it.
#[cold]
fn grow(ring: &mut VecDeque<Chunk>) {
    ring.reserve_exact(match ring.len() {
        len if len < LONG_RING => len.max(4),
        len => len / 4,
    });
}
