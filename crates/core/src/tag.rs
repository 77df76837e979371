//! How tagged values are written (libevent: `event2/tag.h`, and what `event_rpcgen.py` generates).
//!
//! A value is a *tag*, the length of its payload, and the payload:
//!
//! - A tag has seven bits in each byte, the lowest first; the highest bit of a byte says that another one follows.
//! - A number is written in nibbles, the high one of a byte first: the first says how many more there are, less one, and
//!   those are the number's, the lowest first. The length is such a number, and so is the payload of a value that is one.
//!
//! What is read may come from anybody. The functions that read look at no more bytes than the longest tag or number
//! has, and say `None` for what is cut short and for what is too large.

use smallvec::SmallVec;

/// The most bytes that a tag has.
pub const LONGEST_TAG: usize = 5;

/// The most bytes that a number has: 17 nibbles.
pub const LONGEST_NUMBER: usize = 9;

/// A tag or a number as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(SmallVec<[u8; LONGEST_NUMBER]>);

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Writes a tag.
pub fn write_tag(tag: u32) -> Written {
    let mut bytes = SmallVec::new();
    let mut rest = tag;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    Written(bytes)
}

/// Writes a number.
pub fn write_number(number: u64) -> Written {
    let nibbles = significant_nibbles(number);
    let mut bytes = SmallVec::from_elem(0, nibbles / 2 + 1);
    put_nibble(&mut bytes, 0, nibbles as u8 - 1);
    for i in 0..nibbles {
        put_nibble(&mut bytes, i + 1, (number >> (4 * i)) as u8 & 0xf);
    }
    Written(bytes)
}

/// Of zero it is one.
fn significant_nibbles(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(4) as usize
}

fn put_nibble(bytes: &mut [u8], index: usize, nibble: u8) {
    bytes[index / 2] |= if index.is_multiple_of(2) {
        nibble << 4
    } else {
        nibble
    };
}

/// Reads the tag at the beginning of `bytes`; also says how many bytes it has.
pub fn read_tag(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut tag: u64 = 0;
    for (i, &byte) in bytes.iter().take(LONGEST_TAG).enumerate() {
        tag |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(tag).ok()?, i + 1));
        }
    }
    None
}

/// Reads the number at the beginning of `bytes`; also says how many bytes it has.
pub fn read_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let nibbles = usize::from(nibble(bytes, 0)?) + 1;
    let mut number = 0;
    for i in 0..nibbles {
        number |= u64::from(nibble(bytes, i + 1)?) << (4 * i);
    }
    Some((number, nibbles / 2 + 1))
}

/// The same of a number that is written with 32 bits at most.
pub fn read_u32(bytes: &[u8]) -> Option<(u32, usize)> {
    let (number, length) = read_number(bytes)?;
    // Leading zeros beyond 32 bits are refused too, as libevent does.
    let nibbles = usize::from(nibble(bytes, 0)?) + 1;
    if nibbles > 8 {
        return None;
    }
    Some((u32::try_from(number).ok()?, length))
}

fn nibble(bytes: &[u8], index: usize) -> Option<u8> {
    let byte = *bytes.get(index / 2)?;
    Some(if index.is_multiple_of(2) {
        byte >> 4
    } else {
        byte & 0xf
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_libevent_writes_them() {
        let known: [(u64, &[u8]); 8] = [
            (0, b"\x00"),
            (15, b"\x0f"),
            (16, b"\x10\x10"),
            (255, b"\x1f\xf0"),
            (256, b"\x20\x01"),
            (0x7fff_ffff, b"\x7f\xff\xff\xff\x70"),
            (0x8000_0000, b"\x70\x00\x00\x00\x80"),
            (u64::MAX, b"\xff\xff\xff\xff\xff\xff\xff\xff\xf0"),
        ];
        for (number, bytes) in known {
            assert_eq!(write_number(number).as_ref(), bytes, "{number}");
        }
    }

    #[test]
    fn a_tag_has_32_bits_and_five_bytes_at_most() {
        assert_eq!(read_tag(b"\x80\x80\x80\x80\x0f"), Some((0xf000_0000, 5)));
        assert_eq!(read_tag(b"\x80\x80\x80\x80\x10"), None);
        assert_eq!(read_tag(b"\x80\x80\x80\x80\x80\x01"), None);
        assert_eq!(read_tag(b"\x80\x80"), None);
    }

    #[test]
    fn a_number_of_32_bits_has_eight_nibbles_at_most() {
        assert_eq!(read_u32(b"\x7f\xff\xff\xff\xf0"), Some((u32::MAX, 5)));
        assert_eq!(read_u32(b"\x80\x00\x00\x00\x00"), None);
        assert_eq!(read_number(b"\x80\x00\x00\x00\x00"), Some((0, 5)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(tag: u32, number: u64, rest: Vec<u8>) {
            for shift in 0..64 {
                let (tag, number) = (tag >> (shift % 32), number >> shift);
                let written = write_tag(tag);
                let all = [written.as_ref(), &rest].concat();
                prop_assert_eq!(read_tag(&all), Some((tag, written.as_ref().len())));
                let written = write_number(number);
                let all = [written.as_ref(), &rest].concat();
                prop_assert_eq!(read_number(&all), Some((number, written.as_ref().len())));
                let small = u32::try_from(number).ok();
                prop_assert_eq!(read_u32(&all), small.map(|small| (small, written.as_ref().len())));
            }
        }

        #[test]
        fn what_is_cut_short_is_nothing(tag: u32, number: u64) {
            let (tag, number) = (write_tag(tag), write_number(number));
            for n in 0..tag.as_ref().len() {
                prop_assert_eq!(read_tag(&tag.as_ref()[..n]), None);
            }
            for n in 0..number.as_ref().len() {
                prop_assert_eq!(read_number(&number.as_ref()[..n]), None);
            }
        }

        #[test]
        fn any_bytes_are_read_within_their_length(bytes: Vec<u8>) {
            for length in [read_tag(&bytes).map(|read| read.1), read_number(&bytes).map(|read| read.1)] {
                prop_assert!(length.is_none_or(|length| 0 < length && length <= bytes.len()));
            }
        }
    }
}
