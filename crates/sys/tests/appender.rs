//! Buffers as `bytes::BufMut`.

use bytes::{Buf, BufMut};
use ferrevent_core::buffer::{Buffer, End};
use ferrevent_sys::Appender;

#[test]
fn numbers_and_slices_are_appended() {
    let mut buffer = Buffer::from(&b">"[..]);
    let mut appender = Appender::new(&mut buffer);
    appender.put_u32(0x6162_6364);
    appender.put_slice(&[b'x'; 3000]);
    appender.put_bytes(b'-', 700);
    appender.put(&b"end"[..]);
    assert_eq!(buffer.len(), 1 + 4 + 3000 + 700 + 3);
    assert_eq!(buffer.search(b"abcdxx", 0, None), Some(1));
    assert_eq!(buffer.search(b"x---", 0, None), Some(3004));
    assert_eq!(buffer.search(b"--end", 0, None), Some(3703));
    buffer.advance(1);
    assert_eq!(buffer.get_u32(), 0x6162_6364);
}

#[test]
fn room_is_written_to_in_place() {
    let mut buffer = Buffer::new();
    let mut appender = Appender::new(&mut buffer);
    for byte in b'a'..=b'z' {
        let room = appender.chunk_mut();
        assert!(room.len() > 0, "room for a byte");
        room[..1].copy_from_slice(&[byte]);
        // SAFETY: one byte of the room has been written.
        unsafe { appender.advance_mut(1) };
    }
    assert_eq!(buffer, b"abcdefghijklmnopqrstuvwxyz");
}

#[test]
fn a_frozen_back_has_no_room() {
    let mut buffer = Buffer::new();
    buffer.freeze(End::Back);
    let mut appender = Appender::new(&mut buffer);
    assert_eq!(appender.remaining_mut(), 0);
    assert!(!appender.has_remaining_mut());
    assert_eq!(appender.chunk_mut().len(), 0);
}

#[test]
#[should_panic(expected = "cannot advance by")]
fn advancing_past_the_room_panics() {
    let mut buffer = Buffer::new();
    // SAFETY: it panics before anything unwritten could be shown.
    unsafe { Appender::new(&mut buffer).advance_mut(1) };
}
