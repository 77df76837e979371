//! Debian's links2, a browser whose one loop runs on events, on our library: it fetches pages from a server of this test.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use ferrevent_workbench::{Folder, Server, library};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use running::{LIMIT, assert_runs_on, ferrevent_run, installed};

const LINES: usize = 20_000;

#[test]
#[ignore = "slow: starts a browser"]
fn links2_fetches_pages() {
    if !installed(&["links2"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut command = ferrevent_run("links2", &library);
    command.env("HOME", folder.path());
    command.args(["-source", &format!("http://127.0.0.1:{port}/old")]);
    let mut browser = Server::start(&mut command).unwrap();

    let mut first = request(&listener, "/old", &browser);
    // It is waiting for the answer.
    assert_runs_on(&library, browser.pid());
    let moved =
        "HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    first.write_all(moved.as_bytes()).unwrap();
    drop(first);
    let mut second = request(&listener, "/new", &browser);
    assert_runs_on(&library, browser.pid());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    second.write_all(head.as_bytes()).unwrap();
    for n in 0..LINES {
        let text = line(n) + "\n";
        write!(second, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    }
    second.write_all(b"0\r\n\r\n").unwrap();

    for n in 0..LINES {
        assert_eq!(browser.line(LIMIT).unwrap(), line(n));
    }
    assert!(browser.line(LIMIT).is_err(), "more than was sent");
    let status = browser.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}: {}", browser.stderr());
}

/// The next connection, after its request for `path`.
fn request(listener: &TcpListener, path: &str, browser: &Server) -> TcpStream {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    let limit = Timespec::try_from(LIMIT).unwrap();
    let connections = poll(&mut ready, Some(&limit));
    assert_eq!(connections, Ok(1), "no connection: {}", browser.stderr());
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().unwrap().unwrap();
    assert_eq!(first, format!("GET {path} HTTP/1.1"));
    while !lines.next().unwrap().unwrap().is_empty() {}
    drop(lines);
    stream
}

/// One that no other is equal to.
fn line(n: usize) -> String {
    format!("{n}: {}", "links".repeat(n % 40))
}
