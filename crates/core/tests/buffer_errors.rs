//! Whatever fails leaves a buffer as it was: every call that can fail, on buffers in every state.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use ferrevent_core::buffer::{Buffer, BufferError, End, EolStyle, FileContent};
use ferrevent_core::driver::Fd;

const MOST: usize = isize::MAX as usize;

/// A part of a file that cannot be read. Nothing has to be there for it to have a length.
struct Unreadable(usize);

impl AsRef<[u8]> for Unreadable {
    fn as_ref(&self) -> &[u8] {
        panic!("somebody looks at bytes that cannot be read")
    }
}

impl FileContent for Unreadable {
    fn len(&self) -> usize {
        self.0
    }

    fn place(&self) -> Option<(Fd, u64)> {
        Some((99, 0))
    }

    fn load(&self) -> io::Result<()> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn unreadable(len: usize) -> Buffer {
    let mut buffer = Buffer::from(&b"begin "[..]);
    buffer
        .append_file(Arc::new(Unreadable(len)), 0, len)
        .expect("room");
    buffer
}

/// A buffer in one of the states, by its name.
fn states() -> Vec<(&'static str, Buffer)> {
    let mut pieces = Buffer::from(&b"one"[..]);
    for piece in [&b"two"[..], b"three\r\n", b"four"] {
        pieces
            .append_bytes(Bytes::from_static(piece))
            .expect("room");
    }
    let mut reserved = Buffer::from(&b"one"[..]);
    reserved.reserve(1000, 2).expect("room");
    let mut shared = Buffer::from(&[7; 3000][..]);
    Buffer::new().append_shared(&mut shared).expect("room");
    vec![
        ("nothing", Buffer::new()),
        ("one piece", Buffer::from(&b"one piece\n"[..])),
        ("pieces", pieces),
        ("reserved", reserved),
        ("shared", shared),
        ("unreadable", unreadable(100)),
        ("full", unreadable(MOST - 6)),
        ("nearly full", unreadable(MOST - 8)),
    ]
}

/// All that can be seen of a buffer without looking at the bytes of a file, and the bytes of one without.
fn picture(buffer: &Buffer, with_bytes: bool) -> (String, Option<Vec<u8>>) {
    (format!("{buffer:?}"), with_bytes.then(|| buffer.to_vec()))
}

/// What is tried, by its name, and which error it gave if it failed.
type Try = (
    &'static str,
    fn(&mut Buffer, &mut Buffer) -> Result<(), BufferError>,
);

fn of_io<T>(result: io::Result<T>) -> Result<(), BufferError> {
    result.map(drop).map_err(|error| {
        let inner = error.into_inner().expect("an error of the buffer's");
        *inner.downcast().expect("an error of the buffer's")
    })
}

/// Calls with what no buffer can take, and ordinary ones that only some states refuse. The second buffer is another one.
const TRIES: &[Try] = &[
    ("append", |b, _| b.append(b"0123456789")),
    ("append_bytes", |b, _| {
        b.append_bytes(Bytes::from_static(b"012"))
    }),
    ("append_owner", |b, _| b.append_owner(vec![1; 3])),
    ("append_file", |b, _| {
        b.append_file(Arc::new(Unreadable(9)), 0, 9)
    }),
    ("append_file: too far", |b, _| {
        b.append_file(Arc::new(Unreadable(9)), 1, 9)
    }),
    ("append_file: wraps", |b, _| {
        b.append_file(Arc::new(Unreadable(9)), usize::MAX, 2)
    }),
    ("append_file: the most", |b, _| {
        b.append_file(Arc::new(Unreadable(MOST)), 0, MOST)
    }),
    ("append_file: more", |b, _| {
        b.append_file(Arc::new(Unreadable(usize::MAX)), 0, usize::MAX)
    }),
    ("prepend", |b, _| b.prepend(b"0123456789")),
    ("drain", |b, _| b.drain(2)),
    ("remove", |b, _| b.remove(&mut [0; 50]).map(drop)),
    ("append_buffer", |b, other| b.append_buffer(other)),
    ("append_buffer from it", |b, other| other.append_buffer(b)),
    ("append_from", |b, other| {
        b.append_from(other, usize::MAX).map(drop)
    }),
    ("append_from it", |b, other| {
        other.append_from(b, 1).map(drop)
    }),
    ("prepend_buffer", |b, other| b.prepend_buffer(other)),
    ("prepend_buffer from it", |b, other| other.prepend_buffer(b)),
    ("append_shared", |b, other| b.append_shared(other)),
    ("split_to", |b, _| b.split_to(2).map(drop)),
    ("take_bytes", |b, _| b.take_bytes(50).map(drop)),
    ("read_line", |b, _| {
        // To search what cannot be read would not fail.
        if b.load_files(usize::MAX).is_err() {
            return Err(BufferError::Unreadable);
        }
        b.read_line(EolStyle::Any).map(drop)
    }),
    ("expand: the most", |b, _| b.expand(MOST)),
    ("expand: more", |b, _| b.expand(usize::MAX)),
    ("expand: no memory", |b, _| b.expand(MOST / 2)),
    ("reserve: the most", |b, _| b.reserve(MOST, 1).map(drop)),
    ("reserve: more", |b, _| b.reserve(usize::MAX, 2).map(drop)),
    ("reserve: no memory", |b, _| {
        b.reserve(MOST / 2, 2).map(drop)
    }),
    ("reserve: no pieces", |b, _| b.reserve(1, 0).map(drop)),
    ("commit: more", |b, _| b.commit(&[usize::MAX])),
    ("commit: wraps", |b, _| b.commit(&[usize::MAX, 2])),
    ("commit: three", |b, _| b.commit(&[0, 0, 0])),
    ("io::Write", |b, _| of_io(b.write(b"0123456789"))),
    ("io::Write, pieces", |b, _| {
        of_io(b.write_vectored(&[io::IoSlice::new(b"01234"), io::IoSlice::new(b"56789")]))
    }),
    ("io::Read", |b, _| of_io(b.read(&mut [0; 50]))),
    ("io::BufRead", |b, _| {
        if b.front_file(1).is_some() {
            return Ok(());
        }
        of_io(b.fill_buf())
    }),
];

#[test]
fn what_fails_changes_nothing() {
    let mut failures = 0;
    for (attempt, call) in TRIES {
        for (front, back) in [(false, false), (true, false), (false, true), (true, true)] {
            for (state, mut buffer) in states() {
                if front {
                    buffer.freeze(End::Front);
                }
                if back {
                    buffer.freeze(End::Back);
                }
                let mut other = Buffer::from(&b"the other one"[..]);
                let with_bytes = buffer.load_files(usize::MAX).is_ok();
                let before = picture(&buffer, with_bytes);
                let other_before = picture(&other, true);
                let Err(error) = call(&mut buffer, &mut other) else {
                    continue;
                };
                failures += 1;
                let what = format!("{attempt} on {state}, {front} {back}: {error}");
                assert_eq!(picture(&buffer, with_bytes), before, "{what}");
                assert_eq!(picture(&other, true), other_before, "{what}");
            }
        }
    }
    assert!(failures > 500, "only {failures} calls failed");
}

#[test]
fn each_call_fails_somewhere() {
    for (attempt, call) in TRIES {
        let fails = states().into_iter().any(|(_, mut buffer)| {
            buffer.freeze(End::Front);
            buffer.freeze(End::Back);
            call(&mut buffer, &mut Buffer::from(&b"other"[..])).is_err()
        });
        assert!(fails, "{attempt} succeeds on frozen buffers");
    }
}

#[test]
fn what_is_too_long_is_refused_as_that() {
    let mut buffer = unreadable(MOST - 6);
    assert_eq!(buffer.len(), MOST);
    let mut other = Buffer::from(&b"x"[..]);
    let too_long = Err(BufferError::TooLong);
    assert_eq!(buffer.append(b"x"), too_long);
    assert_eq!(buffer.prepend(b"x"), too_long);
    assert_eq!(buffer.append_buffer(&mut other), too_long);
    assert_eq!(buffer.prepend_buffer(&mut other), too_long);
    assert_eq!(buffer.append_shared(&mut other), too_long);
    assert_eq!(buffer.append_from(&mut other, 1), Err(BufferError::TooLong));
    assert_eq!(buffer.expand(1), too_long);
    assert_eq!(buffer.reserve(1, 1).err(), Some(BufferError::TooLong));
    assert_eq!(other.append_shared(&mut buffer), too_long);
    assert_eq!(other.append_buffer(&mut buffer), too_long);
    // A transport is offered no room, a layer moves nothing.
    assert_eq!(buffer.receive(10, |room| Ok::<_, ()>(room.len())), Ok(0));
    assert_eq!(buffer.transfer_from(&mut other, 1), 0);
    // Nothing but its end is too much.
    assert_eq!(buffer.append(b""), Ok(()));
    assert_eq!(buffer.drain(1), Ok(()));
    assert_eq!(buffer.append(b"x"), Ok(()));
    assert_eq!((buffer.len(), other.len()), (MOST, 1));
}
