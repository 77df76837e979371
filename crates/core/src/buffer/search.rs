//! Finding bytes, and lines.

use memchr::{memchr, memchr2, memmem};
use smallvec::SmallVec;

use super::{Buffer, BufferError};

/// What ends a line (libevent's `enum evbuffer_eol_style`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EolStyle {
    /// Any sequence of CR and LF. What arrives in two parts may be taken for two ends.
    Any,
    /// LF, or CR LF.
    Crlf,
    /// CR LF only.
    CrlfStrict,
    /// LF only.
    Lf,
    /// A byte of value 0.
    Nul,
}

/// The end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Eol {
    /// Where it begins, in bytes from the front.
    pub position: usize,
    /// How many bytes it has.
    pub len: usize,
}

impl Buffer {
    /// Where `pattern` first occurs within bytes `from..to` (`None`: to the end), in bytes from the front
    /// (`evbuffer_search_range`). An empty pattern is found at `from`.
    #[must_use]
    pub fn search(&self, pattern: &[u8], from: usize, to: Option<usize>) -> Option<usize> {
        let to = to.map_or(self.len, |to| to.min(self.len));
        if pattern.len() > to.checked_sub(from)? {
            return None;
        }
        match pattern {
            [] => Some(from),
            [byte] => self.search_byte(*byte, from, to),
            _ => self.search_long(pattern, from, to),
        }
    }

    /// Where `byte` first occurs within `from..to`.
    #[inline]
    fn search_byte(&self, byte: u8, from: usize, to: usize) -> Option<usize> {
        // Nearly always, it is in the first chunk.
        let front = self.front();
        if let Some(bytes) = front.get(from..to.min(front.len()))
            && let Some(offset) = memchr(byte, bytes)
        {
            return Some(from + offset);
        }
        self.find(from.max(front.len()), to, |bytes| memchr(byte, bytes))
    }

    /// Where CR LF first occurs at or behind `from`. LF is rare and quick to find.
    fn search_pair(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let feed = self.search_byte(b'\n', at, self.len)?;
            if feed > from && self.byte(feed - 1) == Some(b'\r') {
                return Some(feed - 1);
            }
            at = feed + 1;
        }
    }

    /// Where the first line end at or behind `from` is (`evbuffer_search_eol`).
    #[must_use]
    pub fn search_eol(&self, style: EolStyle, from: usize) -> Option<Eol> {
        match style {
            EolStyle::Any => {
                let position = self.find(from, self.len, |bytes| memchr2(b'\r', b'\n', bytes))?;
                let len = self.line_bytes(position);
                Some(Eol { position, len })
            }
            EolStyle::Crlf => {
                let feed = self.search_byte(b'\n', from, self.len)?;
                let pair = feed > from && self.byte(feed - 1) == Some(b'\r');
                Some(Eol {
                    position: feed - usize::from(pair),
                    len: 1 + usize::from(pair),
                })
            }
            EolStyle::CrlfStrict => self
                .search_pair(from)
                .map(|position| Eol { position, len: 2 }),
            EolStyle::Lf => self
                .search_byte(b'\n', from, self.len)
                .map(|position| Eol { position, len: 1 }),
            EolStyle::Nul => self
                .search_byte(b'\0', from, self.len)
                .map(|position| Eol { position, len: 1 }),
        }
    }

    /// Takes the first line out, its end being dropped; `None` if there is no whole line (`evbuffer_readln`).
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if there is a line and the front is frozen; [`BufferError::Unreadable`].
    pub fn read_line(&mut self, style: EolStyle) -> Result<Option<Vec<u8>>, BufferError> {
        let Some(eol) = self.search_eol(style, 0) else {
            return Ok(None);
        };
        self.check_front()?;
        self.check_readable(eol.position)?;
        let mut line = Vec::with_capacity(eol.position);
        for bytes in self.chunks() {
            let n = bytes.len().min(eol.position - line.len());
            line.extend_from_slice(&bytes[..n]);
            if line.len() == eol.position {
                break;
            }
        }
        self.drop_front(eol.position + eol.len);
        Ok(Some(line))
    }

    /// The byte at `position`, if there are so many.
    #[must_use]
    #[inline]
    pub fn byte(&self, position: usize) -> Option<u8> {
        if let Some(byte) = self.front().get(position) {
            return Some(*byte);
        }
        self.chunks_from(position).next().map(|bytes| bytes[0])
    }

    /// Where `found` first finds something within `from..to`.
    fn find(
        &self,
        from: usize,
        to: usize,
        found: impl Fn(&[u8]) -> Option<usize>,
    ) -> Option<usize> {
        let mut at = from;
        for bytes in self.chunks_from(from) {
            let left = to.checked_sub(at)?;
            if let Some(offset) = found(&bytes[..bytes.len().min(left)]) {
                return Some(at + offset);
            }
            at += bytes.len();
        }
        None
    }

    /// As `search`, for patterns of two bytes and more, which may lie across chunks.
    fn search_long(&self, pattern: &[u8], from: usize, to: usize) -> Option<usize> {
        let finder = memmem::Finder::new(pattern);
        let overlap = pattern.len() - 1;
        let mut window = SmallVec::<[u8; 256]>::new();
        let mut chunks = self.chunks_from(from);
        let mut at = from;
        while let Some(bytes) = chunks.next() {
            let left = to.checked_sub(at)?;
            let bytes = &bytes[..bytes.len().min(left)];
            if let Some(offset) = finder.find(bytes) {
                return Some(at + offset);
            }
            // What begins in this chunk and ends in a later one: the pattern less one byte on either side of the border.
            let before = &bytes[bytes.len().saturating_sub(overlap)..];
            let mut after = overlap.min(left - bytes.len());
            window.clear();
            window.extend_from_slice(before);
            for next in chunks.clone() {
                if after == 0 {
                    break;
                }
                let n = next.len().min(after);
                window.extend_from_slice(&next[..n]);
                after -= n;
            }
            if window.len() > overlap
                && let Some(offset) = finder.find(&window)
            {
                return Some(at + bytes.len() - before.len() + offset);
            }
            at += bytes.len();
        }
        None
    }

    /// How many CR and LF follow each other from `position` on.
    fn line_bytes(&self, position: usize) -> usize {
        let mut count = 0;
        for bytes in self.chunks_from(position) {
            let here = bytes
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            count += here;
            if here < bytes.len() {
                break;
            }
        }
        count
    }
}
