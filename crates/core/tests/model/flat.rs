//! The reference: the same bytes in one vector.

use bytes::Bytes;
use ferrevent_core::buffer::EolStyle;

/// A vector that can also give and take bytes at its front without moving all others.
#[derive(Default)]
pub(crate) struct Flat {
    bytes: Vec<u8>,
    /// Where the content begins.
    start: usize,
}

impl Flat {
    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Bytes `from..from + n`, as far as there are any.
    pub(crate) fn slice(&self, from: usize, n: usize) -> &[u8] {
        let rest = self.all().get(from..).unwrap_or(&[]);
        &rest[..n.min(rest.len())]
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    pub(crate) fn unshift(&mut self, data: &[u8]) {
        if self.start < data.len() {
            // As much free room again as there is content, so that this happens rarely.
            let room = data.len() + self.len();
            let mut moved = vec![0; room];
            moved.extend_from_slice(self.all());
            self.bytes = moved;
            self.start = room;
        }
        let end = self.start;
        self.start -= data.len();
        self.bytes[self.start..end].copy_from_slice(data);
    }

    /// Forgets the first `n` bytes, of which there must be as many.
    pub(crate) fn shift(&mut self, n: usize) {
        assert!(n <= self.len());
        self.start += n;
        if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    pub(crate) fn front_mut(&mut self, n: usize) -> &mut [u8] {
        &mut self.bytes[self.start..][..n]
    }
}

/// The rules of `evbuffer_search_eol`, as measured: position and length of the first line end at or behind `from`.
pub(crate) fn line_end(bytes: &[u8], style: EolStyle, from: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(from..)?;
    let end = |byte: &u8| b"\r\n".contains(byte);
    match style {
        EolStyle::Any => {
            let at = rest.iter().position(end)?;
            let len = rest[at..].iter().take_while(|byte| end(byte)).count();
            Some((from + at, len))
        }
        EolStyle::Crlf => {
            let at = from + memchr::memchr(b'\n', rest)?;
            let pair = at > from && bytes[at - 1] == b'\r';
            Some(if pair { (at - 1, 2) } else { (at, 1) })
        }
        EolStyle::CrlfStrict => {
            let at = rest.windows(2).position(|pair| pair == b"\r\n")?;
            Some((from + at, 2))
        }
        EolStyle::Lf => memchr::memchr(b'\n', rest).map(|at| (from + at, 1)),
        EolStyle::Nul => memchr::memchr(0, rest).map(|at| (from + at, 1)),
    }
}

/// More bytes than the largest operation adds, twice.
const SOURCE: usize = 1 << 20;

/// Bytes that differ from place to place, with line ends among them; handed out in stretches.
pub(crate) struct Source {
    bytes: Bytes,
    next: usize,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self {
            bytes: letters(),
            next: 0,
        }
    }

    pub(crate) fn take(&mut self, n: usize) -> Bytes {
        let at = self.place();
        self.at(at, n)
    }

    /// Where the next stretch begins.
    pub(crate) fn place(&mut self) -> usize {
        // Coprime to the number of starts, so that all of them come by.
        self.next = (self.next + 77_777) % (SOURCE / 2);
        self.next
    }

    pub(crate) fn at(&self, at: usize, n: usize) -> Bytes {
        self.bytes.slice(at..at + n)
    }
}

/// The same for every world: making them takes longer than many a run.
fn letters() -> Bytes {
    static LETTERS: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    let make = || {
        let mut state = 1_u32;
        let letter = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 24 {
                0..=9 => b'\r',
                10..=19 => b'\n',
                20..=21 => 0,
                byte => b'a' + (byte % 7) as u8,
            }
        };
        (0..SOURCE).map(letter).collect::<Vec<u8>>().into()
    };
    LETTERS.get_or_init(make).clone()
}
