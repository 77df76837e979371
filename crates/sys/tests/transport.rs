//! Bytes move between buffers and descriptors of each kind.
// A test that fails by unwrap says where it failed.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::OnceLock;

use bytes::Bytes;
use ferrevent_core::buffer::{Buffer, FileContent};
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

/// A file whose bytes are taken into memory only where `may_load` says so.
struct FileLike {
    file: File,
    len: usize,
    may_load: bool,
    loaded: OnceLock<Vec<u8>>,
}

impl AsRef<[u8]> for FileLike {
    fn as_ref(&self) -> &[u8] {
        self.loaded.get().expect("nobody looks before it is loaded")
    }
}

impl FileContent for FileLike {
    fn len(&self) -> usize {
        self.len
    }

    fn place(&self) -> Option<(i32, u64)> {
        self.loaded
            .get()
            .is_none()
            .then(|| (self.file.as_raw_fd(), 2))
    }

    fn load(&self) -> io::Result<()> {
        assert!(self.may_load, "the file is to be sent, not read");
        let mut bytes = vec![0; self.len];
        std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut bytes, 2)?;
        self.loaded.get_or_init(|| bytes);
        Ok(())
    }
}

/// A file that holds `text`, and shows so many bytes from the third on.
fn file_like(text: &[u8], len: usize, may_load: bool) -> (Arc<FileLike>, File) {
    let path = std::env::temp_dir().join(format!(
        "ferrevent-transport-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(text).unwrap();
    let other = file.try_clone().unwrap();
    let content = FileLike {
        file,
        len,
        may_load,
        loaded: OnceLock::new(),
    };
    (Arc::new(content), other)
}

/// Reads what is there into `into`.
fn read_all(fd: &OwnedFd, kind: Kind, into: &mut Buffer) {
    while let Ok(received) = QUIET.read(fd.as_raw_fd(), kind, into, usize::MAX) {
        assert!(received.bytes > 0);
    }
}

#[test]
fn files_are_sent_without_being_read_except_to_message_sockets() {
    for (kind, from, to) in each_kind() {
        let (file, _) = file_like(b"..0123456789", 10, kind == Kind::Message);
        let mut output = Buffer::new();
        output.append(b"<").unwrap();
        output.append_file(file.clone(), 1, 9).unwrap();
        output.append(b">").unwrap();
        let mut input = Buffer::new();
        for limit in [5, 1, 3, 100, 100] {
            let before = output.len();
            let sent = QUIET
                .write(to.as_raw_fd(), kind, &mut output, limit)
                .unwrap();
            assert_eq!(before - output.len(), sent.bytes);
            assert!(sent.bytes > 0 && sent.bytes <= limit);
            read_all(&from, kind, &mut input);
            if output.is_empty() {
                break;
            }
        }
        assert_eq!(input, b"<123456789>", "{kind:?}");
        assert_eq!(file.loaded.get().is_some(), kind == Kind::Message);
        assert_eq!(Arc::strong_count(&file), 1, "it goes with its last byte");
    }
}

#[test]
fn a_file_that_has_become_shorter_sends_nothing() {
    let (kind, from, to) = each_kind().into_iter().next().unwrap();
    let (file, handle) = file_like(b"..0123456789", 10, false);
    let mut output = Buffer::new();
    output.append_file(file, 0, 10).unwrap();
    handle.set_len(6).unwrap();
    let sent = QUIET.write(to.as_raw_fd(), kind, &mut output, 100).unwrap();
    assert_eq!((sent.bytes, sent.blocked), (4, false));
    let sent = QUIET.write(to.as_raw_fd(), kind, &mut output, 100).unwrap();
    assert_eq!((sent.bytes, sent.blocked), (0, false));
    let mut input = Buffer::new();
    read_all(&from, kind, &mut input);
    assert_eq!(input, b"0123");
    assert_eq!(output.len(), 6);
}

#[test]
fn what_cannot_be_sent_from_its_descriptor_is_read() {
    // The target is opened for appending, which sendfile refuses.
    let (file, _) = file_like(b"..0123456789", 10, true);
    let path = std::env::temp_dir().join(format!("ferrevent-append-{}", std::process::id()));
    let target = File::options()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap();
    let mut output = Buffer::new();
    output.append_file(file, 0, 10).unwrap();
    let sent = QUIET
        .write(target.as_raw_fd(), Kind::Other, &mut output, 100)
        .unwrap();
    assert_eq!(sent.bytes, 10);
    let written = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(written, b"0123456789");
}

#[test]
fn a_full_socket_takes_no_more_of_a_file() {
    let (kind, from, to) = each_kind().into_iter().next().unwrap();
    let (file, _) = file_like(&vec![b'x'; 1 << 20], (1 << 20) - 2, false);
    let mut output = Buffer::new();
    output.append_file(file, 0, (1 << 20) - 2).unwrap();
    let mut input = Buffer::new();
    let mut blocked = 0;
    while !output.is_empty() {
        match QUIET.write(to.as_raw_fd(), kind, &mut output, usize::MAX) {
            Ok(sent) => assert!(sent.bytes > 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked += 1;
                read_all(&from, kind, &mut input);
            }
        }
    }
    read_all(&from, kind, &mut input);
    assert!(blocked > 0);
    assert_eq!(input.len(), (1 << 20) - 2);
}
