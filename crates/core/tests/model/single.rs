//! The operations of one buffer.

use std::io::{BufRead, Read, Write};

use bytes::{Buf, Bytes};
use ferrevent_core::buffer::{Buffer, BufferError, Change, End};

use super::flat::{Source, line_end};
use super::op::Op;
use super::{FROZEN, Slot};

const STATIC: &[u8] = b"a static reference\r\n";

impl Slot {
    pub(super) fn step(&mut self, op: &Op, source: &mut Source) {
        match *op {
            Op::Append(n) | Op::Write(n) | Op::Extend(n) | Op::ExtendBytes(n) => {
                self.append(op, &source.take(n));
            }
            Op::AppendStatic(n) => self.append_bytes(Bytes::from_static(&STATIC[..n])),
            Op::AppendTwice(n) => {
                let bytes = source.take(n);
                self.append_bytes(bytes.slice(..n / 2));
                self.append_bytes(bytes.slice(n / 2..));
            }
            Op::Prepend(n) => {
                let data = source.take(n);
                let result = self.real.prepend(&data);
                if self.front && n > 0 {
                    return assert_eq!(result, FROZEN);
                }
                assert_eq!(result, Ok(()));
                self.unshift(&data);
            }
            Op::Replace(n, from) => self.replace(&source.take(n), from),
            Op::Drain(_)
            | Op::Advance(_)
            | Op::Consume
            | Op::Sent(_)
            | Op::Remove(_)
            | Op::Read(_)
            | Op::TakeBytes(_)
            | Op::ReadLine(_)
            | Op::Transmit(..) => self.take(op),
            Op::Expand(_)
            | Op::Reserve(..)
            | Op::Commit(..)
            | Op::CommitTooMuch
            | Op::Receive(..)
            | Op::Hopeless(_) => self.space(op, source),
            Op::Pullup(n) => {
                let wanted = n.unwrap_or(self.model.len());
                let fits = wanted <= self.model.len();
                let expected = fits.then(|| self.model.slice(0, wanted));
                assert_eq!(self.real.pullup(n), expected);
                self.unsettle();
            }
            Op::PullupMut(n, value) => {
                let wanted = n.unwrap_or(self.model.len());
                let fits = wanted <= self.model.len();
                let bytes = self.real.pullup_mut(n);
                assert_eq!(bytes.as_deref(), fits.then(|| self.model.slice(0, wanted)));
                if let Some(bytes) = bytes {
                    let expected = self.model.front_mut(wanted);
                    bytes.iter_mut().for_each(|byte| *byte ^= value);
                    expected.iter_mut().for_each(|byte| *byte ^= value);
                }
                self.unsettle();
            }
            Op::Freeze { front, frozen } => self.freeze(front, frozen),
            Op::TakeChange => {
                let expected = Change {
                    before_len: (self.model.len().wrapping_add(self.deleted))
                        .wrapping_sub(self.added),
                    added: self.added,
                    deleted: self.deleted,
                };
                let something = self.added > 0 || self.deleted > 0;
                assert_eq!(self.real.take_change(), something.then_some(expected));
                (self.added, self.deleted) = (0, 0);
            }
            _ => self.look(op),
        }
    }

    fn append(&mut self, op: &Op, data: &[u8]) {
        let real = &mut self.real;
        match op {
            Op::Append(_) => {
                let result = real.append(data);
                assert_eq!(result, if self.back { FROZEN } else { Ok(()) });
            }
            Op::Write(n) => assert_eq!(real.write(data).ok(), (!self.back).then_some(*n)),
            // The others panic where `append` fails.
            _ if self.back => {}
            Op::Extend(_) => real.extend(data.chunks(700)),
            _ => real.extend(data.iter().copied()),
        }
        if !self.back {
            self.push(data);
        }
    }

    fn replace(&mut self, data: &[u8], from: u8) {
        let real = match from % 3 {
            0 => Buffer::from(data),
            1 => Buffer::from(data.to_vec()),
            _ => Buffer::from(Bytes::copy_from_slice(data)),
        };
        *self = Self {
            real,
            ..Self::default()
        };
        self.push(data);
    }

    /// Takes bytes from the front.
    fn take(&mut self, op: &Op) {
        let (real, model) = (&mut self.real, &self.model);
        let len = model.len();
        let gone = match *op {
            Op::Drain(n) => {
                let result = real.drain(n);
                if self.front && len > 0 {
                    return assert_eq!(result, FROZEN);
                }
                assert_eq!(result, Ok(()));
                n.min(len)
            }
            Op::Advance(n) => {
                assert_eq!(real.remaining(), if self.front { 0 } else { len });
                assert!(model.all().starts_with(real.chunk()));
                assert_eq!(real.chunk().is_empty(), self.front || len == 0);
                let n = n.min(real.remaining());
                real.advance(n);
                n
            }
            Op::Consume => {
                let Ok(bytes) = real.fill_buf() else {
                    return assert!(self.front && len > 0);
                };
                assert!(!self.front || len == 0);
                assert!(model.all().starts_with(bytes) && bytes.is_empty() == (len == 0));
                let n = bytes.len();
                real.consume(n);
                n
            }
            Op::Sent(n) => {
                let n = n.min(len);
                real.sent(n);
                n
            }
            Op::Remove(n) | Op::Read(n) => {
                let mut out = vec![0; n];
                let result = match op {
                    Op::Read(_) => real.read(&mut out).map_err(|_| BufferError::Frozen),
                    _ => real.remove(&mut out),
                };
                if self.front && n > 0 && len > 0 {
                    return assert_eq!(result, Err(BufferError::Frozen));
                }
                let expected = model.slice(0, n);
                assert_eq!(result, Ok(expected.len()));
                assert_eq!(&out[..expected.len()], expected);
                expected.len()
            }
            Op::TakeBytes(n) => {
                let result = real.take_bytes(n);
                if self.front && n > 0 && len > 0 {
                    return assert_eq!(result, Err(BufferError::Frozen));
                }
                let expected = model.slice(0, n);
                assert_eq!(result.as_deref(), Ok(expected));
                let n = expected.len();
                // What has no room any more cannot be reserved either.
                self.unsettle();
                n
            }
            Op::ReadLine(style) => {
                let line = real.read_line(style);
                let Some((position, eol)) = line_end(model.all(), style, 0) else {
                    return assert_eq!(line, Ok(None));
                };
                if self.front {
                    return assert_eq!(line, Err(BufferError::Frozen));
                }
                let line = line.ok().flatten();
                assert_eq!(line.as_deref(), Some(model.slice(0, position)));
                position + eol
            }
            Op::Transmit(limit, n) => {
                let mut taken = 0;
                let result = real.transmit(limit, |slices| {
                    let shown: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                    assert!(shown.len() <= limit && model.all().starts_with(&shown));
                    assert_eq!(shown.is_empty(), limit == 0 || len == 0);
                    taken = n.min(shown.len());
                    if n % 13 == 7 { Err(n) } else { Ok(taken) }
                });
                match result {
                    Ok(n) => assert_eq!(n, taken),
                    Err(error) => return assert_eq!(error, n),
                }
                taken
            }
            _ => unreachable!("{op:?} takes nothing"),
        };
        self.shift(gone);
    }

    fn freeze(&mut self, front: bool, frozen: bool) {
        let end = if front { End::Front } else { End::Back };
        if frozen {
            self.real.freeze(end);
        } else {
            self.real.unfreeze(end);
        }
        *if front {
            &mut self.front
        } else {
            &mut self.back
        } = frozen;
        assert_eq!(self.real.is_frozen(End::Front), self.front);
        assert_eq!(self.real.is_frozen(End::Back), self.back);
    }

    /// Changes nothing.
    fn look(&self, op: &Op) {
        let (real, model) = (&self.real, &self.model);
        match *op {
            Op::CopyOut(from, n) => {
                let mut out = vec![0; n];
                let got = real.copy_out(from, &mut out);
                assert_eq!(&out[..got], model.slice(from, n));
            }
            Op::Look(position, n) => {
                assert_eq!(
                    real.byte(position),
                    model.slice(position, 1).first().copied()
                );
                let mut rest = model.slice(position, usize::MAX);
                for bytes in real.chunks_from(position).take(n) {
                    assert!(!bytes.is_empty() && rest.starts_with(bytes));
                    rest = &rest[bytes.len()..];
                }
                if n > model.len() {
                    assert_eq!(rest, b"");
                    assert_eq!(real.to_vec(), model.all());
                }
            }
            Op::Search {
                pattern: (at, len),
                from,
                to,
            } => {
                let mut pattern = model.slice(at, len).to_vec();
                if at % 5 == 0 {
                    // What occurs nowhere, except by the changes of `pullup_mut`.
                    pattern.push(b'z');
                }
                let all = model.all();
                let end = to.unwrap_or(usize::MAX).min(all.len());
                let expected = all
                    .get(from..end)
                    .and_then(|bytes| memchr::memmem::find(bytes, &pattern))
                    .map(|offset| from + offset);
                assert_eq!(real.search(&pattern, from, to), expected);
            }
            Op::SearchEol(style, from) => {
                let found = real
                    .search_eol(style, from)
                    .map(|eol| (eol.position, eol.len));
                assert_eq!(found, line_end(model.all(), style, from));
            }
            _ => unreachable!("{op:?} is none of these"),
        }
    }
}
