//! Messages on a stream: each with its length in two bytes before it.

/// Puts messages together from the pieces in which they come.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Adds what has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let len = usize::from(u16::from_be_bytes(*self.bytes.first_chunk()?));
        let message = self.bytes.get(2..2 + len)?.to_vec();
        self.bytes.drain(..2 + len);
        Some(message)
    }

    /// How many bytes wait for the rest of their message, or to be taken.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A message with its length before it; `None` if it is too long for any.
    pub fn wrap(message: &[u8]) -> Option<Vec<u8>> {
        let len = u16::try_from(message.len()).ok()?;
        Some([&len.to_be_bytes(), message].concat())
    }
}
