//! One end of a connection.

use std::collections::VecDeque;

use ferrevent_core::driver::{Fd, Interest, Readiness};

use crate::errors;

/// Names an endpoint for as long as the world lasts, unlike its descriptor's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndpointId(pub(crate) u64);

/// A time that does not come.
pub(crate) const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not connected yet.
    Fresh,
    /// The attempt ends at this time: well, or refused.
    Connecting {
        ends: u64,
        refused: bool,
    },
    Open,
    /// Reset, or never connected.
    Dead,
}

/// What is under way to an endpoint.
#[derive(Debug)]
pub(crate) enum Arrival {
    Bytes(Vec<u8>),
    End,
    Reset,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) phase: Phase,
    /// The descriptor; none of a remote end, or when it is closed.
    pub(crate) fd: Option<Fd>,
    pub(crate) closed: bool,
    pub(crate) other: Option<EndpointId>,
    pub(crate) inbox: VecDeque<u8>,
    /// In the order in which it arrives, each with its time.
    pub(crate) arrivals: VecDeque<(u64, Arrival)>,
    /// The other end sends no more.
    pub(crate) ended: bool,
    /// This end sends no more.
    pub(crate) shut: bool,
    /// `SO_ERROR`.
    pub(crate) error: Option<i32>,
    /// Until then reading, or writing, is pretended to be impossible.
    pub(crate) read_withheld: Option<u64>,
    pub(crate) write_withheld: Option<u64>,
    /// The writer has found too little room, and waits to be told that there is some.
    pub(crate) wants_room: bool,
}

impl Endpoint {
    pub(crate) fn new(phase: Phase, fd: Option<Fd>) -> Self {
        Self {
            phase,
            fd,
            closed: false,
            other: None,
            inbox: VecDeque::new(),
            arrivals: VecDeque::new(),
            ended: false,
            shut: false,
            error: None,
            read_withheld: None,
            write_withheld: None,
            wants_room: false,
        }
    }

    /// Bytes that have been sent here and not been read.
    pub(crate) fn unread(&self) -> usize {
        let under_way = self.arrivals.iter().map(|(_, arrival)| match arrival {
            Arrival::Bytes(bytes) => bytes.len(),
            Arrival::End | Arrival::Reset => 0,
        });
        self.inbox.len() + under_way.sum::<usize>()
    }

    /// When something here changes by itself next.
    pub(crate) fn next_change(&self) -> Option<u64> {
        // Nothing arrives before the connection stands.
        if let Phase::Connecting { ends, .. } = self.phase {
            return (ends != NEVER).then_some(ends);
        }
        let arrival = self.arrivals.front().map(|(time, _)| *time);
        [arrival, self.read_withheld, self.write_withheld]
            .into_iter()
            .flatten()
            .min()
    }

    /// The connection is gone.
    pub(crate) fn reset(&mut self) {
        // Linux: who was told of the end before learns that the pipe is broken.
        let number = if self.ended {
            errors::EPIPE
        } else {
            errors::ECONNRESET
        };
        self.die(number);
    }

    pub(crate) fn die(&mut self, number: i32) {
        self.phase = Phase::Dead;
        self.error = Some(number);
        self.ended = true;
        self.shut = true;
        self.arrivals.clear();
        self.read_withheld = None;
        self.write_withheld = None;
    }

    /// What `poll` would find, `free` being the room for writing.
    pub(crate) fn level(&self, free: usize, capacity: usize) -> Level {
        match self.phase {
            Phase::Connecting { .. } => Level::default(),
            Phase::Fresh => Level {
                writable: true,
                hung_up: true,
                ..Level::default()
            },
            Phase::Open | Phase::Dead => Level {
                readable: (self.ended || !self.inbox.is_empty()) && self.read_withheld.is_none(),
                writable: self.write_withheld.is_none() && (self.shut || has_room(free, capacity)),
                closed: self.ended,
                error: self.error.is_some(),
                hung_up: self.ended && self.shut,
            },
        }
    }
}

/// Whether a writer is told that there is room: from a third on, as TCP does it.
pub(crate) fn has_room(free: usize, capacity: usize) -> bool {
    free > 0 && free >= capacity / 3
}

/// What `poll` finds of a descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) closed: bool,
    pub(crate) error: bool,
    pub(crate) hung_up: bool,
}

impl Level {
    /// What is reported of it to a registration.
    pub(crate) fn readiness(self, interest: Interest) -> Readiness {
        let mut readiness = Readiness::empty();
        readiness.set(
            Readiness::READ,
            self.readable && interest.contains(Interest::READ),
        );
        readiness.set(
            Readiness::WRITE,
            self.writable && interest.contains(Interest::WRITE),
        );
        readiness.set(
            Readiness::CLOSED,
            self.closed && interest.contains(Interest::CLOSED),
        );
        let hung_up = self.hung_up && !readiness.contains(Readiness::CLOSED);
        readiness.set(Readiness::FAILED, self.error || hung_up);
        readiness
    }
}
