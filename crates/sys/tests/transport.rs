//! Bytes move between buffers and descriptors of each kind.
// A test that fails by unwrap says where it failed.
#![allow(clippy::unwrap_used)]

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use bytes::Bytes;
use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Kind, Transport};
use ferrevent_sys::{Mode, Posix, set_nonblocking, socket_pair};

const QUIET: Posix = Posix {
    suppress_sigpipe: true,
};

/// Where to read, where to write, and what they are.
fn each_kind() -> [(Kind, OwnedFd, OwnedFd); 3] {
    let (a, b) = socket_pair(Mode::default()).unwrap();
    let mut message = [0; 2];
    let mut pipe = [0; 2];
    // SAFETY: both arrays are valid for writing two descriptors, which nobody else owns.
    let [c, d, e, f] = unsafe {
        let flags = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
        assert_eq!(
            libc::socketpair(libc::AF_UNIX, flags, 0, message.as_mut_ptr()),
            0
        );
        assert_eq!(libc::pipe2(pipe.as_mut_ptr(), libc::O_NONBLOCK), 0);
        [message[0], message[1], pipe[0], pipe[1]].map(|fd| OwnedFd::from_raw_fd(fd))
    };
    [
        (Kind::Stream, a, b),
        (Kind::Message, c, d),
        (Kind::Other, e, f),
    ]
}

#[test]
fn kinds_are_recognized() {
    for (kind, a, b) in each_kind() {
        assert_eq!(QUIET.kind(a.as_raw_fd()), kind);
        assert_eq!(QUIET.kind(b.as_raw_fd()), kind);
    }
    assert_eq!(QUIET.kind(-1), Kind::Other);
}

#[test]
fn pieces_are_gathered_in_order() {
    for (kind, a, b) in each_kind() {
        for posix in [QUIET, Posix::default()] {
            for pieces in [1, 2, 5] {
                let mut output = Buffer::new();
                for n in 0..pieces {
                    output
                        .append_bytes(Bytes::from(format!("piece {n};")))
                        .unwrap();
                }
                let all = output.to_vec();
                let sent = posix
                    .write(b.as_raw_fd(), kind, &mut output, usize::MAX)
                    .unwrap();
                assert_eq!(
                    (sent.bytes, sent.blocked, output.len()),
                    (all.len(), false, 0)
                );
                let mut input = Buffer::new();
                let got = posix
                    .read(a.as_raw_fd(), kind, &mut input, usize::MAX)
                    .unwrap();
                assert_eq!((got.bytes, got.drained), (all.len(), true));
                assert_eq!(input.to_vec(), all);
            }
        }
    }
}

#[test]
fn limits_are_kept() {
    let (a, b) = socket_pair(Mode::default()).unwrap();
    let mut output = Buffer::new();
    output.append_bytes(Bytes::from_static(b"0123")).unwrap();
    output.append_bytes(Bytes::from_static(b"4567")).unwrap();
    let sent = QUIET
        .write(b.as_raw_fd(), Kind::Stream, &mut output, 6)
        .unwrap();
    assert_eq!((sent.bytes, sent.blocked), (6, false));
    assert_eq!(output.to_vec(), b"67");
    let mut input = Buffer::new();
    let got = QUIET
        .read(a.as_raw_fd(), Kind::Stream, &mut input, 4)
        .unwrap();
    assert_eq!((got.bytes, got.drained), (4, false));
    let got = QUIET
        .read(a.as_raw_fd(), Kind::Stream, &mut input, 4)
        .unwrap();
    assert_eq!((got.bytes, got.drained), (2, true));
    assert_eq!(input.to_vec(), b"012345");
    let none = QUIET
        .read(a.as_raw_fd(), Kind::Stream, &mut input, 0)
        .unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
    let sent = QUIET
        .write(b.as_raw_fd(), Kind::Stream, &mut output, 0)
        .unwrap();
    assert_eq!((sent.bytes, sent.blocked, output.len()), (0, false, 2));
}

#[test]
fn nothing_there_would_block_and_a_closed_peer_is_the_end() {
    for (kind, a, b) in each_kind() {
        let mut input = Buffer::new();
        let error = QUIET
            .read(a.as_raw_fd(), kind, &mut input, 100)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        if kind != Kind::Message {
            drop(b);
            assert_eq!(
                QUIET
                    .read(a.as_raw_fd(), kind, &mut input, 100)
                    .unwrap()
                    .bytes,
                0
            );
        }
        assert!(input.is_empty());
    }
}

#[test]
fn a_full_socket_takes_a_part_and_then_none() {
    let (a, b) = socket_pair(Mode::default()).unwrap();
    let mut output = Buffer::new();
    output.append(&vec![1; 8 << 20]).unwrap();
    let mut taken = 0;
    let error = loop {
        match QUIET.write(b.as_raw_fd(), Kind::Stream, &mut output, usize::MAX) {
            Ok(sent) => taken += sent.bytes,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(taken + output.len(), 8 << 20);
    let mut input = Buffer::new();
    while input.len() < taken {
        QUIET
            .read(a.as_raw_fd(), Kind::Stream, &mut input, usize::MAX)
            .unwrap();
    }
}

#[test]
fn a_write_to_a_closed_peer_raises_no_signal() {
    // The test harness ignores SIGPIPE; give it back its deadly default.
    // SAFETY: installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let (a, b) = socket_pair(Mode::default()).unwrap();
    QUIET.close(a.into_raw_fd());
    for pieces in 1..3 {
        let mut output = Buffer::new();
        for _ in 0..pieces {
            output.append_bytes(Bytes::from_static(b"x")).unwrap();
        }
        let error = QUIET
            .write(b.as_raw_fd(), Kind::Stream, &mut output, 100)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(output.len(), pieces, "what was not sent stays");
    }
    set_nonblocking(b.as_raw_fd(), true).unwrap();
    QUIET.take_error(b.as_raw_fd()).unwrap();
}
