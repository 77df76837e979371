//! Looking at the content, which stays where it is.

use super::Buffer;
use super::chunk::Chunk;

impl Buffer {
    /// The bytes that lie contiguously at the front.
    #[inline]
    #[must_use]
    pub fn front(&self) -> &[u8] {
        self.chain.front().map_or(&[], Chunk::bytes)
    }

    /// As [`front`](Self::front), but only what lies in memory of the buffer's own: `None` for what is shared or the
    /// user's, and for no bytes.
    #[inline]
    #[must_use]
    pub fn own_front(&self) -> Option<&[u8]> {
        self.chain.front()?.own_bytes()
    }

    /// How many bytes lie contiguously at the front (`evbuffer_get_contiguous_space`).
    #[inline]
    #[must_use]
    pub fn contiguous_len(&self) -> usize {
        self.chain.front().map_or(0, Chunk::len)
    }

    /// The content, piece by piece from the front. No piece is empty.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.chain
            .iter()
            .map(Chunk::bytes)
            .filter(|bytes| !bytes.is_empty())
    }

    /// The content from byte `position` on, piece by piece (what `evbuffer_peek` shows).
    pub fn chunks_from(&self, position: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let mut skip = position;
        self.chain
            .iter()
            .map(Chunk::bytes)
            .filter_map(move |bytes| {
                let start = skip.min(bytes.len());
                skip -= start;
                (start < bytes.len()).then(|| &bytes[start..])
            })
    }

    /// Copies bytes from `position` on into `out`, as many as there are and fit, and says how many
    /// (`evbuffer_copyout_from`). The buffer keeps them.
    #[inline]
    pub fn copy_out(&self, position: usize, out: &mut [u8]) -> usize {
        // Nearly always, all of it lies in the first chunk.
        if let Some(bytes) = self.front().get(position..)
            && let Some(bytes) = bytes.get(..out.len())
        {
            out.copy_from_slice(bytes);
            return out.len();
        }
        self.copy_out_pieces(position, out)
    }

    fn copy_out_pieces(&self, position: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        for bytes in self.chunks_from(position) {
            let n = bytes.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&bytes[..n]);
            done += n;
            if done == out.len() {
                break;
            }
        }
        done
    }

    /// A copy of the content.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        for chunk in self.chunks() {
            bytes.extend_from_slice(chunk);
        }
        bytes
    }
}
