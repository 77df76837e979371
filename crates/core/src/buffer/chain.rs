//! A queue of chunks whose first element lies in the queue itself.
//!
//! Most buffers hold one chunk or none. Keeping it inline saves them an allocation and a cache line; the ring buffer
//! for the others is only allocated by the second chunk.

use std::collections::VecDeque;
use std::mem;

use super::chunk::Chunk;

/// A ring of more chunks than this is given back when it has become empty.
const KEEP_RING: usize = 32;

/// Invariant: without a head there is no rest.
#[derive(Default)]
pub(super) struct Chain {
    head: Option<Chunk>,
    rest: VecDeque<Chunk>,
}

impl Chain {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.head.is_some()) + self.rest.len()
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
    pub(super) fn back(&self) -> Option<&Chunk> {
        if self.rest.is_empty() {
            self.head.as_ref()
        } else {
            self.rest.back()
        }
    }

    #[inline]
    pub(super) fn back_mut(&mut self) -> Option<&mut Chunk> {
        if self.rest.is_empty() {
            self.head.as_mut()
        } else {
            self.rest.back_mut()
        }
    }

    #[inline]
    pub(super) fn push_back(&mut self, chunk: Chunk) {
        if self.head.is_none() {
            self.head = Some(chunk);
        } else {
            self.rest.push_back(chunk);
        }
    }

    pub(super) fn push_front(&mut self, chunk: Chunk) {
        if let Some(second) = self.head.replace(chunk) {
            self.rest.push_front(second);
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Chunk> {
        if self.rest.is_empty() {
            return self.head.take();
        }
        let front = mem::replace(&mut self.head, self.rest.pop_front());
        self.shrink();
        front
    }

    pub(super) fn pop_back(&mut self) -> Option<Chunk> {
        if self.rest.is_empty() {
            return self.head.take();
        }
        let back = self.rest.pop_back();
        self.shrink();
        back
    }

    /// Moves everything from `other` behind what is here.
    pub(super) fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            mem::swap(self, other);
            return;
        }
        if let Some(head) = other.head.take() {
            self.rest.push_back(head);
            self.rest.append(&mut other.rest);
            other.shrink();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Chunk> + Clone {
        self.head.iter().chain(self.rest.iter())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Chunk> {
        self.head.iter_mut().chain(self.rest.iter_mut())
    }

    fn shrink(&mut self) {
        if self.rest.is_empty() && self.rest.capacity() > KEEP_RING {
            self.rest = VecDeque::new();
        }
    }
}
