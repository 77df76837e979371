//! What may go wrong, and how often.

use std::time::Duration;

/// Odds of the faults, in percent of the occasions. They befall the code under test only, never a
/// [`Peer`](crate::Peer).
///
/// Every fault is one that a kernel may show: whatever is withheld becomes available later by itself, with the edge
/// that belongs to it, so correct code always gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A read brings less than there is.
    pub short_read: u8,
    /// A write takes less than there is room for.
    pub short_write: u8,
    /// A read or write would block although it need not.
    pub would_block: u8,
    /// A read or write is interrupted by a signal.
    pub interrupted: u8,
    /// A wait reports a descriptor that is not ready.
    pub spurious: u8,
    /// A wait ends early with nothing to report.
    pub early_return: u8,
    /// A wait reports only some of what is ready; the rest comes with the next.
    pub partial: u8,
    /// Reports come in random order instead of by descriptor.
    pub shuffled: bool,
    /// Bytes, ends and resets arrive up to this much later than they were sent, in order.
    pub max_delay: Duration,
    /// Bytes that fit between a writer and its reader.
    pub capacity: usize,
}

impl Faults {
    /// A perfect world: everything arrives at once, and 64 KiB fit into a connection.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            short_read: 0,
            short_write: 0,
            would_block: 0,
            interrupted: 0,
            spurious: 0,
            early_return: 0,
            partial: 0,
            shuffled: false,
            max_delay: Duration::ZERO,
            capacity: 64 << 10,
        }
    }

    /// All faults together, often, and little room.
    #[must_use]
    pub const fn wild() -> Self {
        Self {
            short_read: 25,
            short_write: 25,
            would_block: 15,
            interrupted: 10,
            spurious: 5,
            early_return: 10,
            partial: 20,
            shuffled: true,
            max_delay: Duration::from_millis(5),
            capacity: 5000,
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}
