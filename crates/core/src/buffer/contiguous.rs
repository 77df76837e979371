//! Bytes made contiguous.

use super::Buffer;
use super::chunk::Chunk;
use super::pool::{Block, MAX_POOLED};

impl Buffer {
    /// Makes the first `n` bytes (`None`: all) contiguous and shows them; `None` if there are fewer, no memory, or a file among
    /// them that cannot be read
    /// (`evbuffer_pullup`). Bytes that are contiguous already stay where they are.
    #[inline]
    pub fn pullup(&mut self, n: Option<usize>) -> Option<&[u8]> {
        let n = n.unwrap_or(self.len);
        if n > self.contiguous_len() {
            self.gather(n)?;
        } else {
            self.check_readable(n).ok()?;
        }
        self.chain
            .front()
            .map_or(Some(&[][..]), |front| front.bytes().get(..n))
    }

    /// As [`pullup`](Self::pullup), for writing: the bytes are copied if anyone else might see them.
    pub fn pullup_mut(&mut self, n: Option<usize>) -> Option<&mut [u8]> {
        let n = n.unwrap_or(self.len);
        let private = self.chain.front_mut().is_none_or(Chunk::reclaim);
        if n > self.contiguous_len() || (!private && n > 0) {
            self.gather(n)?;
        }
        match self.chain.front_mut() {
            Some(front) if n > 0 => front.bytes_mut()?.get_mut(..n),
            _ => Some(&mut []),
        }
    }

    /// Copies the first `n` bytes together into one owned chunk at the front.
    fn gather(&mut self, n: usize) -> Option<()> {
        if n > self.len {
            return None;
        }
        self.check_readable(n).ok()?;
        let fits = self
            .chain
            .front()
            .is_some_and(|front| front.is_owned() && front.len() + front.room() >= n);
        let mut front = if fits {
            self.end_reservation();
            self.chain.pop_front()?
        } else {
            // Beyond the pooled sizes, some room behind the bytes: a buffer that grows and is pulled up each time
            // should not be copied as a whole each time.
            let size = if n > MAX_POOLED {
                n.checked_add(n / 4)?
            } else {
                n
            };
            let block = Block::of(size).ok()?;
            self.end_reservation();
            Chunk::owned(block, 0, 0)
        };
        while front.len() < n {
            let next = self.chain.front_mut()?;
            let wanted = next.len().min(n - front.len());
            front.fill_whole(&next.bytes()[..wanted]);
            next.skip(wanted);
            if next.is_empty() {
                self.chain.drop_front();
            }
        }
        self.chain.push_front(front);
        Some(())
    }
}
