//! Reservations of a buffer, and what its transport reads into it.

use ferrevent_core::buffer::BufferError;

use super::Slot;
use super::flat::Source;
use super::op::Op;

/// What was written into a reservation.
pub(super) struct Pending {
    /// How much room each piece had, and the bytes that were put at its start.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Whether the reservation is in force for certain. If not, a commit may be refused; otherwise it must not add
    /// anything but what was written.
    certain: bool,
}

impl Slot {
    /// After an operation that may end a reservation.
    pub(super) fn unsettle(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.certain = false;
        }
    }

    pub(super) fn space(&mut self, op: &Op, source: &mut Source) {
        match *op {
            Op::Expand(n) => {
                assert_eq!(self.real.expand(n), Ok(()));
                self.unsettle();
            }
            Op::Reserve(n, pieces) => self.reserve(n, pieces, source),
            Op::Commit(first, second) => self.commit([first, second]),
            Op::CommitTooMuch => self.commit_too_much(),
            Op::Receive(limit, n) => {
                let incoming = source.take(n.min(limit));
                let result = self.real.receive(limit, |space| {
                    assert!(space.len() <= limit && (limit == 0 || !space.is_empty()));
                    let n = incoming.len().min(space.len());
                    space[..n].copy_from_slice(&incoming[..n]);
                    if n % 13 == 7 { Err(n) } else { Ok(n) }
                });
                match result {
                    Ok(n) => self.push(&incoming[..n]),
                    // What was written has gone where something else may be pending.
                    Err(_) => self.pending = None,
                }
            }
            Op::Hopeless(n) => {
                let n = (isize::MAX as usize).saturating_add(n + 1);
                assert_eq!(self.real.expand(n), Err(BufferError::TooLong));
                let error = self.real.reserve(n, 2).err();
                let expected = if self.back {
                    BufferError::Frozen
                } else {
                    BufferError::TooLong
                };
                assert_eq!(error, Some(expected));
                assert_eq!(self.real.pullup(Some(n)), None);
                assert_eq!(self.real.pullup_mut(Some(n)), None);
                assert_eq!(self.real.copy_out(n, &mut [0]), 0);
                assert_eq!(self.real.search(b"", n, None), None);
                assert_eq!(self.real.byte(n), None);
                self.unsettle();
            }
            _ => unreachable!("{op:?} is none of these"),
        }
    }

    fn reserve(&mut self, n: usize, most: usize, source: &mut Source) {
        let mut space = match self.real.reserve(n, most) {
            Ok(space) => space,
            Err(BufferError::Frozen) => return assert!(self.back),
            Err(error) => {
                assert!(!self.back && most == 0);
                return assert_eq!(error, BufferError::OutOfRange);
            }
        };
        assert!(!self.back && space.len() <= most);
        assert!(space.iter().map(|piece| piece.len()).sum::<usize>() >= n);
        let mut pieces = Vec::new();
        // Also a little more than was asked for, which the pieces may have.
        let mut left = n + 10;
        for piece in &mut space {
            let data = source.take(left.min(piece.len()));
            piece[..data.len()].copy_from_slice(&data);
            left -= data.len();
            pieces.push((piece.len(), data.to_vec()));
        }
        self.pending = Some(Pending {
            pieces,
            certain: true,
        });
    }

    fn commit(&mut self, less: [usize; 2]) {
        let Some(Pending { pieces, certain }) = self.pending.take() else {
            return self.commit_nothing();
        };
        let (mut lengths, mut data) = (Vec::new(), Vec::new());
        for ((_, written), less) in pieces.iter().zip(less) {
            let n = written.len().saturating_sub(less);
            lengths.push(n);
            data.extend_from_slice(&written[..n]);
        }
        match self.real.commit(&lengths) {
            Ok(()) => {
                assert!(!self.back);
                self.push(&data);
                // It is over.
                assert_eq!(self.real.commit(&[1]), Err(BufferError::OutOfRange));
            }
            Err(BufferError::Frozen) => {
                assert!(self.back);
                self.pending = Some(Pending { pieces, certain });
            }
            Err(error) => {
                assert_eq!(error, BufferError::OutOfRange);
                assert!(!certain, "a reservation is not in force any more");
            }
        }
    }

    fn commit_nothing(&mut self) {
        let expected = if self.back {
            Err(BufferError::Frozen)
        } else {
            Ok(())
        };
        assert_eq!(self.real.commit(&[]), expected);
    }

    fn commit_too_much(&mut self) {
        let out_of_range = Err(BufferError::OutOfRange);
        let Some(Pending { pieces, .. }) = &self.pending else {
            return assert_eq!(self.real.commit(&[usize::MAX, usize::MAX]), out_of_range);
        };
        let mut lengths: Vec<usize> = pieces.iter().map(|(room, _)| *room).collect();
        for i in 0..lengths.len() {
            lengths[i] += 1;
            assert_eq!(self.real.commit(&lengths), out_of_range);
            lengths[i] -= 1;
        }
        lengths.push(0);
        assert_eq!(self.real.commit(&lengths), out_of_range);
        if let Some(Pending { pieces, certain }) = &self.pending {
            let reserved = self.real.reserved();
            assert!(reserved.len() == pieces.len() || !certain);
            for ((room, written), piece) in pieces.iter().zip(reserved) {
                assert!(piece.len() == *room && piece.starts_with(written));
            }
        }
    }
}
