//! Three buffers against three vectors: an interpreter of operations that checks every answer.
//!
//! The test of random seeds, the test that replays the fuzzer's corpus and the fuzz target itself all run it.

mod file;
mod flat;
mod op;
mod single;
mod space;

use std::io::IoSlice;
use std::sync::Arc;

use arbitrary::Unstructured;
use bytes::Bytes;
use ferrevent_core::buffer::{Buffer, BufferError};

use self::file::FileLike;
use self::flat::{Flat, Source};
use self::op::Op;
use self::space::Pending;

const FROZEN: Result<(), BufferError> = Err(BufferError::Frozen);

/// A buffer that has become longer than this is nearly emptied, so that no operation takes long.
const LONGEST: usize = 600_000;

/// For the fuzzer, which is slow with many bytes and has much to try: still longer than the longest pooled block.
const FUZZED_LONGEST: usize = 300_000;
/// How many operations of one input are carried out.
const FUZZED_OPERATIONS: usize = 100;
/// Between two looks at everything.
const FUZZED_EVERY: usize = 8;

/// Carries out the first operations that `input` stands for, on new buffers: one run of the fuzzer.
pub(crate) fn run(input: &[u8]) {
    let mut world = World {
        longest: FUZZED_LONGEST,
        ..World::new()
    };
    world.run(input, FUZZED_EVERY, FUZZED_OPERATIONS);
    world.finish();
}

/// One buffer and what it should hold.
#[derive(Default)]
struct Slot {
    real: Buffer,
    model: Flat,
    added: usize,
    deleted: usize,
    front: bool,
    back: bool,
    pending: Option<Pending>,
}

/// The memory of a counted reference.
struct Owned {
    bytes: Bytes,
    /// Has one more strong reference for each that is alive.
    _alive: Arc<()>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the operations work on.
pub(crate) struct World {
    slots: [Slot; 3],
    source: Source,
    alive: Arc<()>,
    longest: usize,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            slots: Default::default(),
            source: Source::new(),
            alive: Arc::new(()),
            longest: LONGEST,
        }
    }

    /// Reads operations from `input` to its end, but at most `most`, and carries them out, with a look at everything
    /// after every `every`th. Says how many there were.
    pub(crate) fn run(&mut self, input: &[u8], every: usize, most: usize) -> usize {
        let mut input = Unstructured::new(input);
        let mut count = 0;
        while !input.is_empty() && count < most {
            let Ok(i) = input.int_in_range(0..=2_usize) else {
                break;
            };
            let Ok(op) = input.arbitrary::<Op>() else {
                break;
            };
            self.step(i, &op);
            count += 1;
            if count % every == 0 {
                self.check();
            }
        }
        self.check();
        count
    }

    /// Lets everything go: each reference must have been dropped.
    pub(crate) fn finish(mut self) {
        self.slots = Default::default();
        assert_eq!(self.references(), 0, "references outlive their buffers");
    }

    fn references(&self) -> usize {
        Arc::strong_count(&self.alive) - 1
    }

    fn step(&mut self, i: usize, op: &Op) {
        match *op {
            Op::AppendBuffer(j)
            | Op::AppendFrom(j, _)
            | Op::Transfer(j, _)
            | Op::AppendShared(j)
            | Op::PrependBuffer(j)
            | Op::Compare(j) => self.between(i, (i + 1 + j) % 3, op),
            Op::AppendOwned(n) => {
                let owned = Owned {
                    bytes: self.source.take(n),
                    _alive: Arc::clone(&self.alive),
                };
                self.slots[i].append_owner(owned);
            }
            Op::AppendFile(start, n) => {
                let file = FileLike::new(&mut self.source, start + n, &self.alive);
                self.slots[i].append_file(file, start, n);
            }
            Op::SendFile(limit, n) => self.slots[i].send_file(limit, n, &self.source),
            _ => self.slots[i].step(op, &mut self.source),
        }
        let slot = &mut self.slots[i];
        if slot.model.len() > self.longest {
            slot.step(
                &Op::Freeze {
                    front: true,
                    frozen: false,
                },
                &mut self.source,
            );
            let most = slot.model.len() - 1000;
            slot.step(&Op::Drain(most), &mut self.source);
        }
        slot.check_length();
    }

    /// The operations of two buffers.
    fn between(&mut self, i: usize, j: usize, op: &Op) {
        let Ok([into, from]) = self.slots.get_disjoint_mut([i, j]) else {
            unreachable!("two different buffers");
        };
        let something = from.model.len() > 0;
        match *op {
            Op::AppendBuffer(_) => {
                let result = into.real.append_buffer(&mut from.real);
                if (into.back || from.front) && something {
                    return assert_eq!(result, FROZEN);
                }
                assert_eq!(result, Ok(()));
                into.moved_behind(from, usize::MAX);
            }
            Op::AppendFrom(_, n) => {
                let result = into.real.append_from(&mut from.real, n);
                if (into.back || from.front) && n > 0 {
                    return assert_eq!(result, Err(BufferError::Frozen));
                }
                assert_eq!(result, Ok(n.min(from.model.len())));
                into.moved_behind(from, n);
            }
            Op::Transfer(_, n) => {
                let moved = into.real.transfer_from(&mut from.real, n);
                assert_eq!(moved, n.min(from.model.len()));
                into.moved_behind(from, n);
            }
            Op::PrependBuffer(_) => {
                let result = into.real.prepend_buffer(&mut from.real);
                if (into.front || from.front) && something {
                    return assert_eq!(result, FROZEN);
                }
                assert_eq!(result, Ok(()));
                let n = from.model.len();
                into.unshift(from.model.all());
                from.shift(n);
                from.unsettle();
            }
            Op::AppendShared(_) => {
                if into.model.len() + from.model.len() > self.longest {
                    return;
                }
                let result = into.real.append_shared(&mut from.real);
                if into.back && something {
                    return assert_eq!(result, FROZEN);
                }
                assert_eq!(result, Ok(()));
                into.push(from.model.all());
                from.unsettle();
            }
            _ => assert_eq!(into.real == from.real, into.model.all() == from.model.all()),
        }
    }

    /// Looks at everything.
    fn check(&self) {
        for slot in &self.slots {
            slot.check();
        }
        if self.slots.iter().all(|slot| slot.model.len() == 0) {
            assert_eq!(self.references(), 0, "references to bytes that are gone");
        }
    }
}

impl Slot {
    fn push(&mut self, data: &[u8]) {
        self.model.push(data);
        self.added = self.added.wrapping_add(data.len());
        self.unsettle();
    }

    fn unshift(&mut self, data: &[u8]) {
        self.model.unshift(data);
        self.added = self.added.wrapping_add(data.len());
        self.unsettle();
    }

    fn shift(&mut self, n: usize) {
        self.model.shift(n);
        self.deleted = self.deleted.wrapping_add(n);
    }

    fn moved_behind(&mut self, from: &mut Self, n: usize) {
        let n = n.min(from.model.len());
        self.push(from.model.slice(0, n));
        from.shift(n);
        from.unsettle();
    }

    fn append_owner(&mut self, owned: Owned) {
        let bytes = owned.bytes.clone();
        let result = self.real.append_owner(owned);
        if self.back {
            return assert_eq!(result, FROZEN);
        }
        assert_eq!(result, Ok(()));
        self.push(&bytes);
    }

    fn append_bytes(&mut self, bytes: Bytes) {
        let result = self.real.append_bytes(bytes.clone());
        if self.back {
            return assert_eq!(result, FROZEN);
        }
        assert_eq!(result, Ok(()));
        self.push(&bytes);
    }

    fn check_length(&self) {
        assert_eq!(self.real.len(), self.model.len());
        assert_eq!(self.real.is_empty(), self.model.len() == 0);
    }

    fn check(&self) {
        let (real, bytes) = (&self.real, self.model.all());
        self.check_length();
        assert!(*real == *bytes, "the content differs: {real:?}");
        assert!(real.chunks().all(|chunk| !chunk.is_empty()));
        assert_eq!(real.front(), real.chunks().next().unwrap_or(&[]));
        assert_eq!(real.contiguous_len(), real.front().len());
        let mut slices = [IoSlice::new(&[]); 4];
        let used = real.fill_io_slices(1000, &mut slices);
        let shown: usize = slices[..used].iter().map(|slice| slice.len()).sum();
        assert!(shown == bytes.len().min(1000) || used == 4);
    }
}
