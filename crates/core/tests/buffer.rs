//! What a buffer promises beyond holding bytes: no copies, clean-up, freezes, limits, reports.

use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use ferrevent_core::buffer::{Buffer, BufferError, Change, End, Eol, EolStyle};

fn of(data: &[u8]) -> Buffer {
    Buffer::from(data)
}

/// A buffer with one chunk for each piece.
fn pieces(pieces: &[&'static [u8]]) -> Buffer {
    let mut buffer = Buffer::new();
    for piece in pieces {
        buffer
            .append_bytes(Bytes::from_static(piece))
            .expect("room");
    }
    buffer
}

fn front_address(buffer: &Buffer) -> *const u8 {
    buffer.chunks().next().expect("not empty").as_ptr()
}

struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn moving_copies_nothing() {
    let mut from = of(&[1; 5000]);
    let at = front_address(&from);
    let mut into = Buffer::new();
    into.append_buffer(&mut from).expect("moved");
    assert_eq!((into.len(), from.len()), (5000, 0));
    assert_eq!(front_address(&into), at);
    let mut behind = of(b"x");
    behind.append_buffer(&mut into).expect("moved");
    assert_eq!(behind.chunks().nth(1).map(<[u8]>::as_ptr), Some(at));
}

#[test]
fn moving_into_a_buffer_that_keeps_an_empty_block_loses_nothing() {
    for reserved in [false, true] {
        let mut into = of(b"gone");
        into.drain(4).expect("drained");
        if reserved {
            into.reserve(10, 1).expect("room");
        }
        let mut from = of(&[7; 600]);
        from.append(b"end").expect("room");
        into.append_buffer(&mut from).expect("moved");
        assert!(from.is_empty() && from.chunks().next().is_none());
        assert_eq!(into.len(), 603);
        assert!(into.to_vec().ends_with(b"\x07end"));
        // Both can be used on.
        from.append(b"x").expect("room");
        into.append_buffer(&mut from).expect("moved");
        assert!(into.to_vec().ends_with(b"endx"));
    }
}

#[test]
fn a_buffer_of_many_megabytes_has_chunks_of_two() {
    const MIB: usize = 1 << 20;
    let piece: Vec<u8> = (0..5000).map(|i| (i % 251) as u8).collect();
    let mut buffer = Buffer::new();
    let mut expected = Vec::new();
    while buffer.len() < 23 * MIB {
        buffer.append(&piece).expect("room");
        expected.extend_from_slice(&piece);
    }
    assert!(buffer == expected);
    let sizes: Vec<usize> = buffer.chunks().map(<[u8]>::len).collect();
    assert!(sizes[0] <= 64 << 10);
    assert_eq!(sizes.iter().filter(|size| **size == 2 * MIB).count(), 3);
    // Parts of them are moved without copying, and what is left is as it was.
    let at = buffer.chunks().nth(sizes.len() - 2).map(<[u8]>::as_ptr);
    buffer.drain(expected.len() - 5 * MIB).expect("drained");
    let mut part = Buffer::new();
    part.append_from(&mut buffer, 2 * MIB).expect("moved");
    let rest = &expected[expected.len() - 5 * MIB..];
    assert!(part == rest[..2 * MIB] && buffer == rest[2 * MIB..]);
    part.append_buffer(&mut buffer).expect("moved");
    assert!(part == *rest);
    assert!(part.chunks().any(|bytes| Some(bytes.as_ptr()) == at));
}

#[test]
fn a_split_chunk_is_shared_and_grows_together_again() {
    let mut from = of(&[7; 60_000]);
    let at = front_address(&from);
    let mut into = Buffer::new();
    while !from.is_empty() {
        into.append_from(&mut from, 4089).expect("moved");
    }
    assert_eq!(into.chunks().count(), 1);
    assert_eq!(front_address(&into), at);
}

#[test]
fn small_moves_fill_the_room_of_the_last_chunk() {
    let mut into = of(b"a");
    for _ in 0..100 {
        into.append_buffer(&mut of(b"b")).expect("moved");
    }
    assert_eq!((into.len(), into.chunks().count()), (101, 1));
}

#[test]
fn a_multicast_shows_the_same_memory_and_writing_separates_it() {
    let mut source = of(&[3; 2000]);
    let mut copies = [Buffer::new(), Buffer::new()];
    for copy in &mut copies {
        copy.append_shared(&mut source).expect("shared");
        assert_eq!(front_address(copy), front_address(&source));
    }
    source.pullup_mut(None).expect("bytes")[0] = 9;
    source.append(b"more").expect("room");
    assert_eq!(copies[0], vec![3; 2000]);
    assert_eq!(copies[0], copies[1]);
    assert_eq!((source.len(), source.byte(0)), (2004, Some(9)));
}

#[test]
fn a_reference_is_dropped_once_when_its_last_byte_goes() {
    let drops = Arc::new(AtomicUsize::new(0));
    let dropped = || drops.load(Ordering::Relaxed);
    let mut buffer = Buffer::new();
    let owner = Counted(vec![5; 3000], Arc::clone(&drops));
    buffer.append_bytes(Bytes::from_owner(owner)).expect("room");
    let mut part = Buffer::new();
    part.append_from(&mut buffer, 2000).expect("moved");
    drop(buffer);
    part.drain(1999).expect("drained");
    assert_eq!(dropped(), 0);
    part.drain(1).expect("drained");
    assert_eq!(dropped(), 1);
}

#[test]
fn a_refused_reference_is_dropped_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let mut buffer = Buffer::new();
    buffer.freeze(End::Back);
    let bytes = Bytes::from_owner(Counted(vec![5; 10], Arc::clone(&drops)));
    assert_eq!(buffer.append_bytes(bytes), Err(BufferError::Frozen));
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn a_frozen_back_refuses_what_appends() {
    let (mut buffer, mut other) = (of(b"0123"), of(b"abc"));
    buffer.freeze(End::Back);
    let frozen = Err(BufferError::Frozen);
    assert_eq!(buffer.append(b""), frozen);
    assert_eq!(buffer.append_buffer(&mut other), frozen);
    assert_eq!(buffer.append_buffer(&mut Buffer::new()), Ok(()));
    assert_eq!(buffer.append_from(&mut other, 1), Err(BufferError::Frozen));
    assert_eq!(buffer.append_from(&mut other, 0), Ok(0));
    assert_eq!(buffer.append_shared(&mut other), frozen);
    assert!(buffer.reserve(1, 1).is_err());
    assert_eq!(buffer.expand(100), Ok(()));
    assert_eq!(buffer.prepend(b"x"), Ok(()));
    assert_eq!(buffer.drain(1), Ok(()));
    assert_eq!((buffer.len(), other.len()), (4, 3));
}

#[test]
fn a_frozen_front_refuses_what_takes_or_prepends() {
    let (mut buffer, mut other) = (of(b"01\n3"), of(b"abc"));
    buffer.freeze(End::Front);
    let frozen = Err(BufferError::Frozen);
    assert_eq!(buffer.drain(0), frozen);
    assert_eq!(buffer.remove(&mut [0; 2]), Err(BufferError::Frozen));
    assert_eq!(buffer.remove(&mut []), Ok(0));
    assert_eq!(buffer.prepend(b"x"), frozen);
    assert_eq!(buffer.prepend(b""), Ok(()));
    assert_eq!(buffer.prepend_buffer(&mut other), frozen);
    assert_eq!(other.append_buffer(&mut buffer), frozen);
    assert_eq!(buffer.read_line(EolStyle::Lf), Err(BufferError::Frozen));
    assert_eq!(other.append_shared(&mut buffer), Ok(()));
    assert_eq!(buffer.append(b"4"), Ok(()));
    assert!(buffer.fill_buf().is_err());
    assert_eq!((buffer.len(), other.len()), (5, 7));
    assert_eq!(Buffer::new().drain(1), Ok(()));
}

#[test]
fn the_transport_is_not_stopped_by_freezes() {
    let mut buffer = of(b"01");
    buffer.freeze(End::Front);
    buffer.freeze(End::Back);
    let read: Result<usize, ()> = buffer.receive(2, |space| {
        space.copy_from_slice(b"ab");
        Ok(2)
    });
    assert_eq!(read, Ok(2));
    let sent: Result<usize, ()> = buffer.transmit(3, |slices| {
        assert_eq!(slices.iter().map(|slice| slice.len()).sum::<usize>(), 3);
        Ok(1)
    });
    assert_eq!(sent, Ok(1));
    buffer.sent(1);
    assert_eq!(buffer, b"ab");
}

#[test]
fn reads_are_offered_more_when_they_fill_their_room() {
    let mut buffer = Buffer::new();
    let mut offered = Vec::new();
    for _ in 0..5 {
        let read: Result<usize, ()> = buffer.receive(usize::MAX, |space| {
            offered.push(space.len());
            Ok(space.len())
        });
        assert!(read.is_ok());
        buffer.drain(usize::MAX).expect("drained");
    }
    assert_eq!(offered, [4 << 10, 16 << 10, 64 << 10, 256 << 10, 256 << 10]);
}

#[test]
fn a_change_report_sums_up_since_the_last_one() {
    let mut buffer = of(b"0123456789");
    assert_eq!(
        buffer.take_change(),
        Some(Change {
            before_len: 0,
            added: 10,
            deleted: 0
        })
    );
    assert_eq!(buffer.take_change(), None);
    buffer.append(b"ab").expect("room");
    buffer.drain(5).expect("drained");
    buffer.prepend(b"c").expect("room");
    assert_eq!(
        buffer.take_change(),
        Some(Change {
            before_len: 10,
            added: 3,
            deleted: 5
        })
    );
}

#[test]
fn what_is_reserved_stays_through_a_drain() {
    let mut buffer = of(b"0123456789");
    let at = {
        let mut pieces = buffer.reserve(20, 2).expect("room");
        pieces[0][..3].copy_from_slice(b"abc");
        pieces[0].as_ptr()
    };
    buffer.drain(10).expect("drained");
    assert!(buffer.is_empty() && buffer.chunks().next().is_none());
    buffer.commit(&[3]).expect("committed");
    assert_eq!(buffer, b"abc");
    assert_eq!(front_address(&buffer), at);
    assert_eq!(buffer.commit(&[1]), Err(BufferError::OutOfRange));
}

#[test]
fn appending_ends_a_reservation() {
    let mut buffer = of(b"0");
    buffer.reserve(20, 1).expect("room");
    buffer.append(b"1").expect("room");
    assert_eq!(buffer.commit(&[1]), Err(BufferError::OutOfRange));
    assert_eq!(buffer, b"01");
}

/// What the pieces show after it must be what a commit appends.
#[test]
fn gathering_and_expanding_end_a_reservation() {
    let mut buffer = pieces(&[b"ab", b"cd"]);
    buffer.append(b"ef").expect("room");
    assert_eq!(buffer.reserve(1000, 2).expect("room").len(), 2);
    buffer.pullup(None).expect("bytes");
    assert_eq!(buffer.commit(&[3]), Err(BufferError::OutOfRange));
    assert_eq!(buffer.reserve(1000, 1).expect("room").len(), 1);
    buffer.expand(50_000).expect("room");
    assert_eq!(buffer.commit(&[3]), Err(BufferError::OutOfRange));
    assert_eq!(buffer, b"abcdef");
}

#[test]
fn prepending_after_a_drain_of_a_reserved_chunk_keeps_every_byte() {
    let mut buffer = of(&[1; 100]);
    buffer.reserve(10, 1).expect("room");
    buffer.drain(100).expect("drained");
    buffer.prepend(b"abc").expect("room");
    assert_eq!(buffer, b"abc");
}

#[test]
fn hopeless_sizes_are_refused() {
    let mut buffer = of(b"0");
    assert_eq!(buffer.expand(usize::MAX), Err(BufferError::TooLong));
    assert_eq!(
        buffer.expand(isize::MAX as usize),
        Err(BufferError::TooLong)
    );
    assert_eq!(
        buffer.expand(isize::MAX as usize - 1),
        Err(BufferError::NoMemory)
    );
    assert_eq!(
        buffer.reserve(usize::MAX, 2).err(),
        Some(BufferError::TooLong)
    );
    assert_eq!(buffer.pullup(Some(2)), None);
    assert_eq!(buffer, b"0");
}

#[test]
fn a_pattern_is_found_across_chunks() {
    let buffer = pieces(&[b"xxne", b"e", b"dl", b"eneed", b"le"]);
    assert_eq!(buffer.search(b"needle", 0, None), Some(2));
    assert_eq!(buffer.search(b"needle", 3, None), Some(8));
    assert_eq!(buffer.search(b"needle", 3, Some(13)), None);
    assert_eq!(buffer.search(b"needle", 9, None), None);
    assert_eq!(buffer.search(b"needles", 0, None), None);
    assert_eq!(buffer.search(b"", 14, None), Some(14));
    assert_eq!(buffer.search(b"", 15, None), None);
}

#[test]
fn line_ends_are_found_across_chunks() {
    let buffer = pieces(&[b"a\r", b"\n\r", b"\n", b"b\0"]);
    let found = |style, from| {
        buffer
            .search_eol(style, from)
            .map(|Eol { position, len }| (position, len))
    };
    assert_eq!(found(EolStyle::Any, 0), Some((1, 4)));
    assert_eq!(found(EolStyle::Crlf, 0), Some((1, 2)));
    assert_eq!(found(EolStyle::Crlf, 2), Some((2, 1)));
    assert_eq!(found(EolStyle::CrlfStrict, 2), Some((3, 2)));
    assert_eq!(found(EolStyle::Lf, 0), Some((2, 1)));
    assert_eq!(found(EolStyle::Nul, 0), Some((6, 1)));
    assert_eq!(found(EolStyle::Any, 7), None);
}

#[test]
fn it_reads_and_writes_like_any_stream() {
    let mut buffer = Buffer::new();
    write!(buffer, "{}-{}", 1, 2).expect("written");
    buffer.extend([b'\n', b'x']);
    buffer.extend([&b"yz"[..], b"!"]);
    let mut line = String::new();
    buffer
        .read_line(EolStyle::Lf)
        .expect("unfrozen")
        .expect("a line");
    buffer.read_to_string(&mut line).expect("text");
    assert_eq!(line, "xyz!");
}

#[test]
fn taking_many_bytes_from_one_chunk_copies_nothing() {
    let mut buffer = of(&[1; 5000]);
    let at = front_address(&buffer);
    let bytes = buffer.take_bytes(1000).expect("readable");
    assert_eq!((bytes.as_ptr(), bytes.len()), (at, 1000));
    // What is left can be used on, and does not reach into what was taken.
    buffer.append(&[2; 3000]).expect("room");
    buffer.pullup_mut(Some(4000)).expect("there").fill(3);
    assert!(bytes.iter().all(|byte| *byte == 1));
    assert_eq!(buffer.len(), 7000);

    let small = buffer.copy_to_bytes(10);
    assert_eq!(small, [3; 10][..]);
    let across = buffer.take_bytes(usize::MAX).expect("readable");
    assert_eq!((across.len(), buffer.len()), (6990, 0));
    assert_eq!(buffer.take_bytes(1).expect("nothing"), "");
}

#[test]
fn taking_ends_a_reservation() {
    let mut buffer = of(&[1; 600]);
    buffer.reserve(100, 1).expect("room");
    let bytes = buffer.take_bytes(600).expect("readable");
    assert_eq!(buffer.commit(&[1]), Err(BufferError::OutOfRange));
    assert_eq!((bytes.len(), buffer.len()), (600, 0));
}

#[test]
fn it_reads_from_and_writes_to_streams() {
    let mut buffer = Buffer::new();
    let pieces = [&b"one, "[..], b"", b"two, "].map(std::io::IoSlice::new);
    assert_eq!(buffer.write_vectored(&pieces).expect("room"), 10);
    assert_eq!(buffer.read_from(&mut &b"three"[..], 100).expect("read"), 5);
    assert_eq!(
        buffer.read_from(&mut std::io::empty(), 100).expect("end"),
        0
    );
    assert_eq!(buffer, b"one, two, three");
    let mut first = Vec::new();
    assert_eq!(buffer.write_to(&mut first, 8).expect("written"), 8);
    assert_eq!(buffer.split_to(2).expect("split"), b", ");
    assert_eq!(
        (&*first, buffer.to_vec()),
        (&b"one, two"[..], b"three".to_vec())
    );

    buffer.freeze(End::Back);
    buffer.freeze(End::Front);
    let denied = std::io::ErrorKind::PermissionDenied;
    let results = [
        buffer.read_from(&mut &b"more"[..], 4),
        buffer.write_to(&mut first, 4),
        buffer.write_vectored(&pieces),
    ];
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().is_err_and(|e| e.kind() == denied))
    );
    assert_eq!(buffer.take_bytes(3), Err(BufferError::Frozen));
    assert_eq!(buffer.split_to(3).err(), Some(BufferError::Frozen));
    assert_eq!(buffer, b"three");
}
