//! `Transfer-Encoding: chunked` (RFC 9112, section 7.1).

use bytes::Buf;

use crate::message::BadMessage;

/// Takes the framing of chunks out of the input, byte by byte, and says where the data is.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    /// Of a response: old servers fill the line of the size up with spaces.
    lenient: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The size, as far as it is read, and the number of its digits.
    Size { size: u64, digits: u8 },
    /// Blanks behind the size.
    Blanks { size: u64 },
    /// An extension: what follows a `;`. So much of it has been skipped.
    Extension { size: u64, skipped: u16 },
    /// The LF behind the size.
    SizeEnd { size: u64 },
    /// The size has been told; so much data is to come.
    Data { left: u64 },
    /// The CR, and then the LF, behind the data.
    DataEnd { cr: bool },
}

impl Default for State {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// There is not enough input.
    Wait,
    /// A chunk of this size begins.
    Size(u64),
    /// So many bytes of the input are data; they are to be taken before the next call.
    Data(usize),
    /// There are no more chunks. The trailer follows.
    Last,
}

/// How long the extensions of a chunk may be. They are skipped.
const MOST_EXTENSION: u16 = 4096;

/// More digits than a number of 64 bits has.
const MOST_DIGITS: u8 = 16;

impl Chunks {
    pub(crate) fn lenient() -> Self {
        Self {
            lenient: true,
            ..Self::default()
        }
    }

    /// How much of the chunk that is being read is still to come.
    pub(crate) fn left(&self) -> u64 {
        match self.state {
            State::Data { left } => left,
            _ => 0,
        }
    }

    pub(crate) fn read(&mut self, input: &mut impl Buf) -> Result<Chunk, BadMessage> {
        loop {
            if let State::Data { left } = &mut self.state {
                if *left == 0 {
                    self.state = State::DataEnd { cr: false };
                    continue;
                }
                let n = (*left).min(input.remaining() as u64);
                if n == 0 {
                    return Ok(Chunk::Wait);
                }
                *left -= n;
                return Ok(Chunk::Data(n as usize));
            }
            if !input.has_remaining() {
                return Ok(Chunk::Wait);
            }
            let byte = input.get_u8();
            self.state = match self.take(byte).ok_or(BadMessage::Chunk)? {
                Taken::To(state) => state,
                Taken::Size(0) => return Ok(Chunk::Last),
                Taken::Size(size) => {
                    self.state = State::Data { left: size };
                    return Ok(Chunk::Size(size));
                }
            };
        }
    }

    /// One byte that is not data; `None` if it should not be there.
    fn take(&self, byte: u8) -> Option<Taken> {
        let state = match self.state {
            State::Size { size, digits } => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if digits < MOST_DIGITS => State::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                },
                (None, _) if digits > 0 => self.behind_size(size, byte)?,
                _ => return None,
            },
            State::Blanks { size } => self.behind_size(size, byte)?,
            State::Extension { size, .. } if byte == b'\r' => State::SizeEnd { size },
            State::Extension { size, skipped } => {
                let fits = skipped < MOST_EXTENSION && (byte >= b' ' || byte == b'\t');
                let skipped = skipped + 1;
                fits.then_some(State::Extension { size, skipped })?
            }
            State::SizeEnd { size } => return (byte == b'\n').then_some(Taken::Size(size)),
            State::DataEnd { cr: false } => {
                (byte == b'\r').then_some(State::DataEnd { cr: true })?
            }
            State::DataEnd { cr: true } => (byte == b'\n').then(State::default)?,
            State::Data { .. } => return None,
        };
        Some(Taken::To(state))
    }

    fn behind_size(&self, size: u64, byte: u8) -> Option<State> {
        match byte {
            b'\r' => Some(State::SizeEnd { size }),
            b';' => Some(State::Extension { size, skipped: 0 }),
            b' ' if self.lenient => Some(State::Blanks { size }),
            _ => None,
        }
    }
}

enum Taken {
    To(State),
    Size(u64),
}
