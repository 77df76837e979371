//! The operations, and how they are read from bytes: random ones in the test, chosen ones in the fuzzer.

use arbitrary::{Arbitrary, Result, Unstructured};
use ferrevent_core::buffer::EolStyle;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Append(usize),
    Write(usize),
    Extend(usize),
    ExtendBytes(usize),
    /// A reference to this many bytes, whose dropping is counted.
    AppendOwned(usize),
    /// Two references to the same memory, side by side in it.
    AppendTwice(usize),
    AppendStatic(usize),
    /// What follows so many bytes of a file, and how much of it.
    AppendFile(usize, usize),
    /// At most how much of a file at the front is sent, and how much is then taken.
    SendFile(usize, usize),
    Prepend(usize),
    /// A buffer made of these bytes takes this one's place.
    Replace(usize, u8),
    AppendBuffer(usize),
    AppendFrom(usize, usize),
    Transfer(usize, usize),
    AppendShared(usize),
    PrependBuffer(usize),
    Compare(usize),
    Drain(usize),
    Advance(usize),
    Consume,
    Sent(usize),
    Remove(usize),
    Read(usize),
    TakeBytes(usize),
    CopyOut(usize, usize),
    Pullup(Option<usize>),
    PullupMut(Option<usize>, u8),
    Expand(usize),
    /// How many bytes in how many pieces at most.
    Reserve(usize, usize),
    /// How many bytes less than were written of the first and of the second piece.
    Commit(usize, usize),
    CommitTooMuch,
    Receive(usize, usize),
    Transmit(usize, usize),
    Look(usize, usize),
    Search {
        /// Where the pattern is taken from, and its length.
        pattern: (usize, usize),
        from: usize,
        to: Option<usize>,
    },
    SearchEol(EolStyle, usize),
    ReadLine(EolStyle),
    Freeze {
        front: bool,
        frozen: bool,
    },
    TakeChange,
    /// A size that nothing can have.
    Hopeless(usize),
}

type Make = fn(&mut Unstructured<'_>) -> Result<Op>;

/// How often each comes, and how it is made.
const KINDS: &[(u8, Make)] = &[
    (24, |u| Ok(Op::Append(size(u)?))),
    (3, |u| Ok(Op::Write(size(u)?))),
    (2, |u| Ok(Op::Extend(size(u)?))),
    (2, |u| Ok(Op::ExtendBytes(u.int_in_range(0..=600)?))),
    (8, |u| Ok(Op::AppendOwned(size(u)?))),
    (2, |u| Ok(Op::AppendTwice(size(u)?))),
    (3, |u| Ok(Op::AppendStatic(u.int_in_range(0..=20)?))),
    (6, |u| Ok(Op::AppendFile(size(u)? / 2, size(u)?))),
    (8, |u| Ok(Op::SendFile(size(u)?, size(u)?))),
    (8, |u| Ok(Op::Prepend(size(u)?))),
    (1, |u| Ok(Op::Replace(size(u)?, u.arbitrary()?))),
    (8, |u| Ok(Op::AppendBuffer(other(u)?))),
    (16, |u| Ok(Op::AppendFrom(other(u)?, size(u)?))),
    (4, |u| Ok(Op::Transfer(other(u)?, size(u)?))),
    (4, |u| Ok(Op::AppendShared(other(u)?))),
    (5, |u| Ok(Op::PrependBuffer(other(u)?))),
    (2, |u| Ok(Op::Compare(other(u)?))),
    (24, |u| Ok(Op::Drain(size(u)?))),
    (4, |_| Ok(Op::Drain(usize::MAX))),
    (3, |u| Ok(Op::Advance(size(u)?))),
    (3, |_| Ok(Op::Consume)),
    (3, |u| Ok(Op::Sent(size(u)?))),
    (12, |u| Ok(Op::Remove(size(u)?))),
    (4, |u| Ok(Op::Read(size(u)?))),
    (4, |u| Ok(Op::TakeBytes(size(u)?))),
    (6, |u| Ok(Op::CopyOut(size(u)?, size(u)?))),
    (8, |u| Ok(Op::Pullup(maybe(u)?))),
    (6, |u| Ok(Op::PullupMut(maybe(u)?, u.arbitrary()?))),
    (5, |u| Ok(Op::Expand(size(u)?))),
    (14, |u| Ok(Op::Reserve(size(u)?, u.int_in_range(0..=3)?))),
    (18, |u| Ok(Op::Commit(less(u)?, less(u)?))),
    (2, |_| Ok(Op::CommitTooMuch)),
    (10, |u| Ok(Op::Receive(size(u)?, size(u)?))),
    (10, |u| Ok(Op::Transmit(size(u)?, size(u)?))),
    (6, |u| Ok(Op::Look(size(u)?, size(u)?))),
    (8, search),
    (6, |u| Ok(Op::SearchEol(style(u)?, size(u)?))),
    (6, |u| Ok(Op::ReadLine(style(u)?))),
    (4, freeze),
    (5, |_| Ok(Op::TakeChange)),
    (1, |u| Ok(Op::Hopeless(size(u)?))),
];

const fn total() -> u16 {
    let (mut i, mut sum) = (0, 0);
    while i < KINDS.len() {
        sum += KINDS[i].0 as u16;
        i += 1;
    }
    sum
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut ticket = u.int_in_range(0..=const { total() - 1 })?;
        for (weight, make) in KINDS {
            match ticket.checked_sub(u16::from(*weight)) {
                None => return make(u),
                Some(rest) => ticket = rest,
            }
        }
        Err(arbitrary::Error::IncorrectFormat)
    }
}

/// Mostly small; at times around the sizes at which the buffer changes its mind, seldom large.
fn size(u: &mut Unstructured<'_>) -> Result<usize> {
    const BORDERS: [usize; 12] = [
        0, 64, 256, 257, 512, 1024, 1025, 2048, 4096, 8192, 16384, 32768,
    ];
    Ok(match u.arbitrary::<u8>()? {
        0..=119 => u.int_in_range(0..=31)?,
        120..=183 => u.int_in_range(0..=600)?,
        184..=223 => u.int_in_range(0..=5000)?,
        224..=248 => (*u.choose(&BORDERS)? + u.int_in_range(0..=2)?).saturating_sub(1),
        249..=254 => 65_534 + u.int_in_range(0..=4)?,
        255 => 262_142 + u.int_in_range(0..=40_000)?,
    })
}

fn maybe(u: &mut Unstructured<'_>) -> Result<Option<usize>> {
    Ok(if u.ratio(1, 4)? { None } else { Some(size(u)?) })
}

/// Nothing, or a few bytes, or many.
fn less(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(if u.ratio(1, 2)? { 0 } else { size(u)? })
}

fn other(u: &mut Unstructured<'_>) -> Result<usize> {
    u.int_in_range(0..=1)
}

fn style(u: &mut Unstructured<'_>) -> Result<EolStyle> {
    Ok(*u.choose(&[
        EolStyle::Any,
        EolStyle::Crlf,
        EolStyle::CrlfStrict,
        EolStyle::Lf,
        EolStyle::Nul,
    ])?)
}

fn search(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(Op::Search {
        pattern: (size(u)?, u.int_in_range(0..=600)?),
        from: size(u)?,
        to: maybe(u)?,
    })
}

fn freeze(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(Op::Freeze {
        front: u.arbitrary()?,
        frozen: u.ratio(3, 10)?,
    })
}
