//! Files in buffers: sent without being read, read when somebody looks.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrevent::{Buffer, BufferError, FileSegment};
use ground::{Witness, everywhere, notes, on_systems, settle};

/// A nameless file that holds `text`.
fn file_of(text: &[u8]) -> File {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ferrevent-file-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(text).unwrap();
    file
}

#[test]
fn a_bufferevent_sends_a_part_of_a_file() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        let text: Vec<u8> = (0..60_000_u32).map(|n| n as u8).collect();
        let segment = FileSegment::new(file_of(&text), 100, None).unwrap();
        assert_eq!(segment.len(), 59_900);
        {
            let mut output = bev.output(&mut base).unwrap();
            output.append(b"<").unwrap();
            segment.append_to(&mut output, 900, 50_000).unwrap();
            output.append(b">").unwrap();
        }
        settle(&mut base);
        let received = far.receive();
        assert_eq!(received.len(), 50_002);
        assert_eq!(received[1..50_001], text[1000..51_000]);
        assert_eq!(bev.output_len(&base), Some(0));
    });
}

#[test]
fn a_file_that_becomes_shorter_ends_the_sending() {
    on_systems(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        bev.set_handler(&mut base, Witness);
        let file = file_of(b"0123456789");
        let handle = file.try_clone().unwrap();
        let segment = FileSegment::new(file, 0, None).unwrap();
        handle.set_len(4).unwrap();
        segment
            .append_to(&mut bev.output(&mut base).unwrap(), 0, 10)
            .unwrap();
        settle(&mut base);
        assert_eq!(far.receive(), b"0123");
        assert_eq!(notes(&mut base), ["eof writing"]);
        assert_eq!(bev.output_len(&base), Some(6));
    });
}

#[test]
fn looking_reads_the_file_once_for_all_buffers() {
    let file = file_of(b"0123456789");
    let handle = file.try_clone().unwrap();
    let segment = FileSegment::new(file, 0, Some(10)).unwrap();
    let (mut one, mut other) = (Buffer::new(), Buffer::new());
    segment.append_to(&mut one, 0, 10).unwrap();
    segment.append_to(&mut other, 5, 5).unwrap();
    assert!(one.front_file(100).is_some());
    assert_eq!(one.search(b"67", 0, None), Some(6));
    assert!(other.front_file(100).is_none(), "it is in memory now");
    handle.set_len(0).unwrap();
    assert_eq!(other, b"56789");
    let mut text = String::new();
    one.read_to_string(&mut text).unwrap();
    assert_eq!(text, "0123456789");
}

#[test]
fn what_cannot_be_read_is_an_error_and_looks_like_zeros() {
    let segment = FileSegment::new(file_of(b"0123"), 0, Some(8)).unwrap();
    let mut buffer = Buffer::new();
    segment.append_to(&mut buffer, 0, 8).unwrap();
    let mut out = [1; 8];
    assert_eq!(buffer.remove(&mut out), Err(BufferError::Unreadable));
    assert_eq!(out, [1; 8]);
    assert_eq!(buffer.pullup(None), None);
    let error = buffer.read(&mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(buffer.len(), 8);
    assert_eq!(buffer.to_vec(), [0; 8]);
    assert_eq!(
        buffer.load_files(1).unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(buffer.drain(8), Ok(()));
}

#[test]
fn impossible_parts_are_refused() {
    let file = file_of(b"0123");
    let handle = file.try_clone().unwrap();
    let error = FileSegment::new(handle, 5, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let segment = FileSegment::new(file, 1, None).unwrap();
    let mut buffer = Buffer::new();
    let out_of_range = Err(BufferError::OutOfRange);
    assert_eq!(segment.append_to(&mut buffer, 0, 4), out_of_range);
    assert_eq!(segment.append_to(&mut buffer, 4, 0), out_of_range);
    assert_eq!(segment.append_to(&mut buffer, 1, usize::MAX), out_of_range);
    assert_eq!(segment.append_to(&mut buffer, 3, 0), Ok(()));
    assert!(buffer.is_empty());
}
