//! Three buffers against three vectors: every operation, sizes across all chunk borders, freezes, change reports.
//!
//! The runs are the same each time; `FERREVENT_SEEDS` says how many there are.

use std::collections::VecDeque;
use std::io::{IoSlice, Read, Write};

use bytes::{Buf, Bytes};
use ferrevent_core::buffer::{Buffer, BufferError, Change, End, EolStyle};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    AppendBytes(usize),
    Write(usize),
    Prepend(usize),
    AppendBuffer(usize),
    AppendFrom(usize, usize),
    Transfer(usize, usize),
    AppendShared(usize),
    PrependBuffer(usize),
    Drain(usize),
    Advance(usize),
    Remove(usize),
    Read(usize),
    CopyOut(usize, usize),
    Pullup(Option<usize>),
    PullupMut(Option<usize>, u8),
    Expand(usize),
    Reserve(usize, usize, usize, Option<usize>),
    Receive(usize, usize),
    Transmit(usize, usize),
    Search(usize, usize, usize, Option<usize>),
    SearchEol(EolStyle, usize),
    ReadLine(EolStyle),
    Freeze(bool, bool),
    Change,
}

#[derive(Default)]
struct Model {
    bytes: VecDeque<u8>,
    added: usize,
    deleted: usize,
    front: bool,
    back: bool,
}

impl Model {
    fn push(&mut self, data: &[u8]) {
        self.bytes.extend(data);
        self.added += data.len();
    }

    fn unshift(&mut self, data: &[u8]) {
        for byte in data.iter().rev() {
            self.bytes.push_front(*byte);
        }
        self.added += data.len();
    }

    fn shift(&mut self, n: usize) -> Vec<u8> {
        let n = n.min(self.bytes.len());
        self.deleted += n;
        self.bytes.drain(..n).collect()
    }

    fn slice(&self, from: usize, n: usize) -> Vec<u8> {
        self.bytes.iter().skip(from).take(n).copied().collect()
    }
}

struct World {
    real: [Buffer; 3],
    model: [Model; 3],
    next: u32,
}

const FROZEN: Result<(), BufferError> = Err(BufferError::Frozen);

impl World {
    /// Bytes that differ from place to place, with line ends among them.
    fn data(&mut self, n: usize) -> Vec<u8> {
        (0..n)
            .map(|_| {
                self.next = self
                    .next
                    .wrapping_mul(1_664_525)
                    .wrapping_add(1_013_904_223);
                match self.next >> 24 {
                    0..=9 => b'\r',
                    10..=19 => b'\n',
                    20..=21 => 0,
                    byte => b'a' + (byte % 7) as u8,
                }
            })
            .collect()
    }

    /// Buffer `i` and another one, with their models.
    fn two(&mut self, i: usize, j: usize) -> (&mut Buffer, &mut Buffer, &mut Model, &mut Model) {
        let j = if i == j { (j + 1) % 3 } else { j };
        let [into, from] = self.real.get_disjoint_mut([i, j]).expect("two buffers");
        let [m, n] = self.model.get_disjoint_mut([i, j]).expect("two models");
        (into, from, m, n)
    }

    fn step(&mut self, i: usize, op: &Op) {
        match *op {
            Op::Append(n) | Op::AppendBytes(n) | Op::Write(n) => self.append(i, op, n),
            Op::Prepend(n) => {
                let data = self.data(n);
                let result = self.real[i].prepend(&data);
                if self.model[i].front && n > 0 {
                    assert_eq!(result, FROZEN);
                } else {
                    assert_eq!(result, Ok(()));
                    self.model[i].unshift(&data);
                }
            }
            Op::AppendBuffer(j) => {
                let (into, from, m, n) = self.two(i, j);
                let result = into.append_buffer(from);
                if (m.back || n.front) && !n.bytes.is_empty() {
                    assert_eq!(result, FROZEN);
                } else {
                    assert_eq!(result, Ok(()));
                    m.push(&n.shift(usize::MAX));
                }
            }
            Op::PrependBuffer(j) => {
                let (into, from, m, n) = self.two(i, j);
                let result = into.prepend_buffer(from);
                if (m.front || n.front) && !n.bytes.is_empty() {
                    assert_eq!(result, FROZEN);
                } else {
                    assert_eq!(result, Ok(()));
                    m.unshift(&n.shift(usize::MAX));
                }
            }
            Op::AppendShared(j) => {
                let (into, from, m, n) = self.two(i, j);
                if m.bytes.len() + n.bytes.len() > 4 << 20 {
                    return;
                }
                let result = into.append_shared(from);
                if m.back && !n.bytes.is_empty() {
                    assert_eq!(result, FROZEN);
                } else {
                    assert_eq!(result, Ok(()));
                    m.push(&n.slice(0, usize::MAX));
                }
            }
            Op::AppendFrom(j, count) => {
                let (into, from, m, n) = self.two(i, j);
                let result = into.append_from(from, count);
                if (m.back || n.front) && count > 0 {
                    assert_eq!(result, Err(BufferError::Frozen));
                } else {
                    assert_eq!(result, Ok(count.min(n.bytes.len())));
                    m.push(&n.shift(count));
                }
            }
            Op::Transfer(j, count) => {
                let (into, from, m, n) = self.two(i, j);
                assert_eq!(into.transfer_from(from, count), count.min(n.bytes.len()));
                m.push(&n.shift(count));
            }
            Op::Reserve(n, segments, less, drained) => self.reserve(i, n, segments, less, drained),
            _ => self.alone(i, op),
        }
    }

    fn append(&mut self, i: usize, op: &Op, n: usize) {
        let data = self.data(n);
        let frozen = self.model[i].back;
        let real = &mut self.real[i];
        match op {
            Op::Append(_) => assert_eq!(real.append(&data), if frozen { FROZEN } else { Ok(()) }),
            Op::Write(_) => assert_eq!(real.write(&data).ok(), (!frozen).then_some(n)),
            _ => {
                let result = real.append_bytes(Bytes::from(data.clone()));
                assert_eq!(result, if frozen { FROZEN } else { Ok(()) });
            }
        }
        if !frozen {
            self.model[i].push(&data);
        }
    }

    fn reserve(&mut self, i: usize, n: usize, pieces: usize, less: usize, drained: Option<usize>) {
        let data = self.data(n);
        let (real, model) = (&mut self.real[i], &mut self.model[i]);
        let mut lengths = Vec::new();
        match real.reserve(n, pieces) {
            Err(error) => {
                assert_eq!(error, BufferError::Frozen);
                assert!(model.back);
                return;
            }
            Ok(mut space) => {
                assert!(!model.back && space.len() <= pieces);
                assert!(space.iter().map(|piece| piece.len()).sum::<usize>() >= n);
                let mut rest = &data[..n.saturating_sub(less)];
                for piece in &mut space {
                    let here = rest.len().min(piece.len());
                    piece[..here].copy_from_slice(&rest[..here]);
                    lengths.push(here);
                    rest = &rest[here..];
                }
            }
        }
        if let Some(count) = drained
            && !model.front
        {
            assert_eq!(real.drain(count), Ok(()));
            model.shift(count);
        }
        let mut too_many = lengths.clone();
        too_many.push(1);
        assert_eq!(real.commit(&too_many), Err(BufferError::OutOfRange));
        if less != 1 {
            assert_eq!(real.commit(&lengths), Ok(()));
            model.push(&data[..n.saturating_sub(less)]);
        }
    }

    fn alone(&mut self, i: usize, op: &Op) {
        let incoming = if let Op::Receive(_, n) = op {
            self.data(*n)
        } else {
            Vec::new()
        };
        let (real, model) = (&mut self.real[i], &mut self.model[i]);
        match *op {
            Op::Drain(n) => {
                let result = real.drain(n);
                if model.front && !model.bytes.is_empty() {
                    assert_eq!(result, FROZEN);
                } else {
                    assert_eq!(result, Ok(()));
                    model.shift(n);
                }
            }
            Op::Advance(n) => {
                assert_eq!(
                    real.remaining(),
                    if model.front { 0 } else { model.bytes.len() }
                );
                let n = n.min(real.remaining());
                real.advance(n);
                model.shift(n);
            }
            Op::Remove(n) | Op::Read(n) => {
                let mut out = vec![0; n];
                let result = match op {
                    Op::Read(_) => real.read(&mut out).map_err(|_| BufferError::Frozen),
                    _ => real.remove(&mut out),
                };
                if model.front && n > 0 && !model.bytes.is_empty() {
                    assert_eq!(result, Err(BufferError::Frozen));
                } else {
                    let expected = model.shift(n);
                    assert_eq!(result, Ok(expected.len()));
                    assert_eq!(out[..expected.len()], expected);
                }
            }
            Op::CopyOut(from, n) => {
                let mut out = vec![0; n];
                let got = real.copy_out(from, &mut out);
                assert_eq!(out[..got], model.slice(from, n));
            }
            Op::Pullup(n) => {
                let wanted = n.unwrap_or(model.bytes.len());
                let expected = (wanted <= model.bytes.len()).then(|| model.slice(0, wanted));
                assert_eq!(real.pullup(n), expected.as_deref());
            }
            Op::PullupMut(n, value) => {
                let wanted = n.unwrap_or(model.bytes.len());
                let expected = (wanted <= model.bytes.len()).then(|| model.slice(0, wanted));
                let bytes = real.pullup_mut(n);
                assert_eq!(bytes.as_deref(), expected.as_deref());
                for byte in bytes.into_iter().flatten() {
                    *byte ^= value;
                }
                if expected.is_some() {
                    model
                        .bytes
                        .iter_mut()
                        .take(wanted)
                        .for_each(|byte| *byte ^= value);
                }
            }
            Op::Expand(n) => assert_eq!(real.expand(n), Ok(())),
            Op::Receive(limit, n) => {
                let result = real.receive(limit, |space| {
                    assert!(space.len() <= limit && (limit == 0 || !space.is_empty()));
                    let n = n.min(space.len());
                    space[..n].copy_from_slice(&incoming[..n]);
                    if n % 13 == 7 { Err(n) } else { Ok(n) }
                });
                if let Ok(n) = result {
                    model.push(&incoming[..n]);
                }
            }
            Op::Transmit(limit, n) => {
                let mut taken = Vec::new();
                let result = real.transmit(limit, |slices| {
                    let shown: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                    assert!(shown.len() <= limit);
                    taken = shown[..n.min(shown.len())].to_vec();
                    if n % 13 == 7 { Err(n) } else { Ok(taken.len()) }
                });
                if let Ok(n) = result {
                    assert_eq!(taken, model.shift(n));
                }
            }
            Op::Search(at, len, from, to) => {
                let mut pattern = model.slice(at, len);
                if at % 5 == 0 {
                    pattern.push(b'z');
                }
                let all = model.bytes.make_contiguous();
                let end = to.unwrap_or(usize::MAX).min(all.len());
                let expected = (from <= end).then(|| &all[from..end]).and_then(|bytes| {
                    memchr::memmem::find(bytes, &pattern).map(|offset| from + offset)
                });
                assert_eq!(real.search(&pattern, from, to), expected);
            }
            Op::SearchEol(style, from) => {
                let found = real
                    .search_eol(style, from)
                    .map(|eol| (eol.position, eol.len));
                assert_eq!(found, line_end(model.bytes.make_contiguous(), style, from));
            }
            Op::ReadLine(style) => {
                let expected = line_end(model.bytes.make_contiguous(), style, 0);
                let line = real.read_line(style);
                match expected {
                    None => assert_eq!(line, Ok(None)),
                    Some(_) if model.front => assert_eq!(line, Err(BufferError::Frozen)),
                    Some((position, len)) => {
                        let mut expected = model.shift(position + len);
                        expected.truncate(position);
                        assert_eq!(line, Ok(Some(expected)));
                    }
                }
            }
            Op::Freeze(front, frozen) => {
                let end = if front { End::Front } else { End::Back };
                if frozen {
                    real.freeze(end);
                } else {
                    real.unfreeze(end);
                }
                *if front {
                    &mut model.front
                } else {
                    &mut model.back
                } = frozen;
                assert_eq!(real.is_frozen(end), frozen);
            }
            Op::Change => {
                let Model { added, deleted, .. } = *model;
                let before_len = (model.bytes.len() + deleted).wrapping_sub(added);
                let expected = Change {
                    before_len,
                    added,
                    deleted,
                };
                assert_eq!(
                    real.take_change(),
                    (added + deleted > 0).then_some(expected)
                );
                (model.added, model.deleted) = (0, 0);
            }
            _ => unreachable!("an operation on two buffers"),
        }
    }

    fn check(&mut self) {
        for (real, model) in self.real.iter().zip(&mut self.model) {
            assert_eq!(real.len(), model.bytes.len());
            assert_eq!(real.is_empty(), model.bytes.is_empty());
            assert!(
                *real == *model.bytes.make_contiguous(),
                "the content differs: {real:?}"
            );
            assert!(real.chunks().all(|bytes| !bytes.is_empty()));
            assert_eq!(
                real.contiguous_len(),
                real.chunks().next().map_or(0, <[u8]>::len)
            );
            let mut slices = [IoSlice::new(&[]); 4];
            let used = real.fill_io_slices(1000, &mut slices);
            let shown: usize = slices[..used].iter().map(|slice| slice.len()).sum();
            assert!(shown == real.len().min(1000) || used == 4);
        }
    }
}

/// The rules of `evbuffer_search_eol`, as measured.
fn line_end(bytes: &[u8], style: EolStyle, from: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(from..)?;
    let one = |wanted: u8| {
        rest.iter()
            .position(|byte| *byte == wanted)
            .map(|at| from + at)
    };
    match style {
        EolStyle::Any => {
            let at = from + rest.iter().position(|byte| b"\r\n".contains(byte))?;
            Some((
                at,
                bytes[at..]
                    .iter()
                    .take_while(|byte| b"\r\n".contains(byte))
                    .count(),
            ))
        }
        EolStyle::Crlf => {
            let at = one(b'\n')?;
            let pair = at > from && bytes[at - 1] == b'\r';
            Some(if pair { (at - 1, 2) } else { (at, 1) })
        }
        EolStyle::CrlfStrict => rest
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map(|at| (from + at, 2)),
        EolStyle::Lf => one(b'\n').map(|at| (at, 1)),
        EolStyle::Nul => one(0).map(|at| (at, 1)),
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..20_usize,
        4 => 200..600_usize,
        2 => 1000..5000_usize,
        1 => prop::sample::select(vec![255, 256, 257, 1024, 4095, 4096, 4097, 16384, 65536]),
        1 => 60_000..70_000_usize,
        1 => prop::sample::select(vec![262_143, 262_144, 262_145, 300_000]),
    ]
}

fn operation() -> impl Strategy<Value = Op> {
    let style = prop::sample::select(vec![
        EolStyle::Any,
        EolStyle::Crlf,
        EolStyle::CrlfStrict,
        EolStyle::Lf,
        EolStyle::Nul,
    ]);
    let maybe = || prop::option::of(size());
    prop_oneof![
        6 => size().prop_map(Op::Append),
        2 => size().prop_map(Op::AppendBytes),
        1 => size().prop_map(Op::Write),
        2 => size().prop_map(Op::Prepend),
        2 => (0..3_usize).prop_map(Op::AppendBuffer),
        4 => (0..3_usize, size()).prop_map(|(j, n)| Op::AppendFrom(j, n)),
        1 => (0..3_usize, size()).prop_map(|(j, n)| Op::Transfer(j, n)),
        1 => (0..3_usize).prop_map(Op::AppendShared),
        1 => (0..3_usize).prop_map(Op::PrependBuffer),
        6 => size().prop_map(Op::Drain),
        1 => Just(Op::Drain(usize::MAX)),
        1 => size().prop_map(Op::Advance),
        3 => size().prop_map(Op::Remove),
        1 => size().prop_map(Op::Read),
        2 => (size(), size()).prop_map(|(from, n)| Op::CopyOut(from, n)),
        2 => maybe().prop_map(Op::Pullup),
        2 => (maybe(), any::<u8>()).prop_map(|(n, value)| Op::PullupMut(n, value)),
        1 => size().prop_map(Op::Expand),
        4 => (size(), 1..4_usize, 0..4_usize, maybe())
            .prop_map(|(n, pieces, less, drained)| Op::Reserve(n, pieces, less, drained)),
        3 => (size(), size()).prop_map(|(limit, n)| Op::Receive(limit, n)),
        3 => (size(), size()).prop_map(|(limit, n)| Op::Transmit(limit, n)),
        2 => (size(), 0..600_usize, size(), maybe())
            .prop_map(|(at, len, from, to)| Op::Search(at, len, from, to)),
        2 => (style.clone(), size()).prop_map(|(style, from)| Op::SearchEol(style, from)),
        2 => style.prop_map(Op::ReadLine),
        1 => (any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(front, frozen)| Op::Freeze(front, frozen)),
        2 => Just(Op::Change),
    ]
}

#[test]
fn buffers_behave_like_vectors() {
    let cases = std::env::var("FERREVENT_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let config = Config {
        cases: cases.unwrap_or(200),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let steps = prop::collection::vec((0..3_usize, operation()), 200..400);
    let result = runner.run(&steps, |steps| {
        let mut world = World {
            real: Default::default(),
            model: Default::default(),
            next: 1,
        };
        for (i, op) in &steps {
            world.step(*i, op);
            world.check();
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
