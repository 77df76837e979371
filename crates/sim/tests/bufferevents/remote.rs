//! The other ends of the connections: what they send is known, and what they receive is checked.

use std::sync::{Arc, Mutex, MutexGuard};

use ferrevent_sim::{Peer, Random};

/// The byte at a position of a sequence.
pub(crate) fn byte(sequence: u64, position: usize) -> u8 {
    let position = position as u64;
    (sequence.wrapping_mul(37) + position.wrapping_mul(11) + (position >> 8).wrapping_mul(29)) as u8
}

pub(crate) fn bytes(sequence: u64, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| byte(sequence, at)).collect()
}

/// One connection, seen from its far end.
#[derive(Debug)]
pub(crate) struct Remote {
    peer: Peer,
    /// What it sends.
    sequence: u64,
    pub(crate) sent: usize,
    /// How much of that the bufferevent has read.
    pub(crate) read: usize,
    /// What it receives: this sequence, from there on.
    written_sequence: u64,
    written_from: usize,
    pub(crate) received: usize,
    pub(crate) shut: bool,
    /// Reset or closed from its side: what is under way may be lost.
    pub(crate) broken: bool,
}

/// Shared with what the world does later.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Remote>>);

impl Shared {
    pub(crate) fn new(peer: Peer, sequence: u64, written: (u64, usize)) -> Self {
        Self(Arc::new(Mutex::new(Remote {
            peer,
            sequence,
            sent: 0,
            read: 0,
            written_sequence: written.0,
            written_from: written.1,
            received: 0,
            shut: false,
            broken: false,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Remote> {
        self.0.lock().expect("one thread only")
    }
}

impl Remote {
    pub(crate) fn send(&mut self, count: usize) {
        let bytes = bytes(self.sequence, self.sent, count);
        // After a reset or a shutdown there is nothing to send on.
        self.sent += self.peer.send(&bytes).unwrap_or(0);
    }

    pub(crate) fn receive(&mut self, limit: usize) {
        for got in self.peer.receive(limit) {
            let at = self.written_from + self.received;
            assert_eq!(got, byte(self.written_sequence, at), "written byte {at}");
            self.received += 1;
        }
    }

    /// Where in the written sequence this connection began.
    pub(crate) fn written_from(&self) -> usize {
        self.written_from
    }

    pub(crate) fn shut_down(&mut self) {
        self.shut = true;
        self.peer.shutdown();
    }

    /// The next bytes that the bufferevent is to read.
    pub(crate) fn next_read(&mut self, count: usize) -> Vec<u8> {
        let expected = bytes(self.sequence, self.read, count);
        self.read += count;
        assert!(self.read <= self.sent, "bytes that nobody has sent");
        expected
    }

    /// Something that a remote end does; mostly it talks.
    pub(crate) fn act(&mut self, random: &mut Random) {
        match random.below(40) {
            0 => self.shut_down(),
            1 if random.chance(50) => {
                self.broken = true;
                self.peer.reset();
            }
            1 => {
                self.broken = true;
                self.peer.close();
            }
            2..20 => self.send(random.below(9000) as usize),
            _ => self.receive(random.below(20_000) as usize),
        }
    }
}
