//! The segmented byte buffer (libevent's evbuffer).

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct Buffer {}
