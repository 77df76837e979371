//! Debian's fstrm_capture on our library: it collects the frames of several senders in one file. It accepts by an
//! `evconnlistener`, and reads from bufferevents.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Instant;

use ferrevent_workbench::{Folder, Server, library};
use rustix::process::Signal;

use running::{LIMIT, assert_runs_on, ferrevent_run, installed};

const CONTENT: &[u8] = b"protobuf:ferrevent.Test";
const SENDERS: usize = 6;
const FRAMES: usize = 2_000;
/// Every so many frames one has up to [`LARGEST`] bytes.
const LARGE_EVERY: usize = 500;
const LARGEST: usize = 100_000;

/// The types of control frames, and of the field that says what the frames are.
const ACCEPT: u32 = 1;
const START: u32 = 2;
const STOP: u32 = 3;
const READY: u32 = 4;
const FINISH: u32 = 5;
const CONTENT_TYPE: u32 = 1;

#[test]
#[ignore = "slow: starts a daemon"]
fn fstrm_capture_collects_all_frames() {
    if !installed(&["fstrm-bin"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let (socket, file) = (folder.path().join("socket"), folder.path().join("frames"));
    let mut command = ferrevent_run("fstrm_capture", &library);
    command.arg("-t").arg(str::from_utf8(CONTENT).unwrap());
    command.arg("-u").arg(&socket).arg("-w").arg(&file);
    let mut capture = Server::start(&mut command).unwrap();
    reach(&socket, &capture);
    assert_runs_on(&library, capture.pid());

    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let socket = &socket;
            scope.spawn(move || send_all(socket, sender));
        }
    });
    assert_runs_on(&library, capture.pid());
    capture.signal(Signal::TERM).unwrap();
    let status = capture.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}: {}", capture.stderr());

    let bytes = fs::read(&file).unwrap();
    let mut rest = &bytes[..];
    assert_eq!(read_control(&mut rest), control(START, true));
    let mut next = [0; SENDERS];
    for _ in 0..SENDERS * FRAMES {
        let mut frame = vec![0; read_number(&mut rest) as usize];
        rest.read_exact(&mut frame).unwrap();
        // Those of one sender are in order.
        let sender = usize::from(frame[0]);
        assert!(frame == payload(sender, next[sender]), "of {sender}");
        next[sender] += 1;
    }
    assert_eq!(read_control(&mut rest), control(STOP, false));
    assert!(rest.is_empty(), "{} bytes more", rest.len());
}

/// Waits until it listens.
fn reach(socket: &Path, capture: &Server) {
    let deadline = Instant::now() + LIMIT;
    while UnixStream::connect(socket).is_err() {
        assert!(Instant::now() < deadline, "{}", capture.stderr());
        thread::yield_now();
    }
}

/// The whole conversation of one sender, which ends when all its frames have been taken.
fn send_all(socket: &Path, sender: usize) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&framed(&control(READY, true))).unwrap();
    assert_eq!(read_control(&mut stream), control(ACCEPT, true));
    stream.write_all(&framed(&control(START, true))).unwrap();
    for frame in 0..FRAMES {
        let payload = payload(sender, frame);
        let length = (payload.len() as u32).to_be_bytes();
        stream.write_all(&[&length, &payload[..]].concat()).unwrap();
    }
    stream.write_all(&framed(&control(STOP, false))).unwrap();
    assert_eq!(read_control(&mut stream), control(FINISH, false));
}

/// The bytes of a frame: they differ, and begin with who has sent them.
fn payload(sender: usize, frame: usize) -> Vec<u8> {
    let length = match frame % LARGE_EVERY {
        0 => LARGEST - frame,
        _ => 1 + frame * 7 % 600,
    };
    let rest = (1..length).map(|i| (i * 7 + frame * 31 + sender) as u8);
    [sender as u8].into_iter().chain(rest).collect()
}

/// A control frame without what marks it as one.
fn control(kind: u32, with_content: bool) -> Vec<u8> {
    let mut frame = kind.to_be_bytes().to_vec();
    if with_content {
        frame.extend(CONTENT_TYPE.to_be_bytes());
        frame.extend((CONTENT.len() as u32).to_be_bytes());
        frame.extend(CONTENT);
    }
    frame
}

/// A frame without a length is a control frame, whose own length follows.
fn framed(control: &[u8]) -> Vec<u8> {
    let length = (control.len() as u32).to_be_bytes();
    [&[0; 4], &length, control].concat()
}

fn read_control(from: &mut impl Read) -> Vec<u8> {
    assert_eq!(read_number(from), 0, "not a control frame");
    let mut frame = vec![0; read_number(from) as usize];
    from.read_exact(&mut frame).unwrap();
    frame
}

fn read_number(from: &mut impl Read) -> u32 {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).unwrap();
    u32::from_be_bytes(bytes)
}
