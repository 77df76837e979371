//! Where unpredictable bytes come from.

/// A source of bytes that nobody can guess; in tests, of bytes that come again with the same seed.
///
/// Transaction numbers, the case of letters in queries, and the server to begin with depend on it. Source ports are the
/// system's to choose: every query has a socket of its own, which the shell binds to no port.
pub trait Random: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Random for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}
