//! Debian's ustreamer on our library. It takes the bufferevents of its clients from `evhttp`, and streams pictures on them; without
//! a camera these say that there is none.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod http_client;
mod running;

use std::io::{BufRead, Read};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library};
use rustix::process::Signal;

use http_client::Client;
use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed};

const VIEWERS: usize = 5;

#[test]
#[ignore = "slow: starts a daemon, which takes its time to end"]
fn ustreamer_streams_to_clients_that_come_and_go() {
    if !installed(&["ustreamer"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let (mut ustreamer, mut client) = first_success(|| start(&library, folder.path()));
    assert_runs_on(&library, ustreamer.pid());
    let clients = |n: usize| format!(r#""clients": {n},"#);

    let snapshot = client.ask("GET", "/snapshot", "", "");
    assert_eq!(snapshot.code, 200, "{snapshot:?}");
    assert_eq!(snapshot.header("Content-Type"), Some("image/jpeg"));
    assert_picture(&snapshot.body);
    let nothing = client.ask("GET", "/nothing", "", "");
    assert_eq!(nothing.code, 404, "{nothing:?}");

    let mut viewers: Vec<Client> = (0..VIEWERS)
        .map(|_| Client::reach(client.port, &ustreamer).unwrap())
        .collect();
    for viewer in &mut viewers {
        viewer.send("GET", "/stream", "", "");
    }
    // There is one each second.
    for viewer in &mut viewers {
        assert_eq!(viewer.head().code, 200);
        for _ in 0..2 {
            let picture = next_picture(viewer);
            assert!(picture == snapshot.body, "{} bytes", picture.len());
        }
    }
    // It closes what is idle for ten seconds.
    let port = client.port;
    let state = || {
        let mut client = Client::reach(port, &ustreamer).unwrap();
        client.ask("GET", "/state", "", "").text()
    };
    let with_viewers = state();
    assert!(with_viewers.contains(&clients(VIEWERS)), "{with_viewers}");

    drop(viewers);
    let deadline = Instant::now() + LIMIT;
    loop {
        let without = state();
        if without.contains(&clients(0)) {
            break;
        }
        assert!(Instant::now() < deadline, "{without}");
        thread::sleep(Duration::from_millis(20));
    }
    assert_runs_on(&library, ustreamer.pid());
    ustreamer.signal(Signal::TERM).unwrap();
    assert!(ustreamer.wait(LIMIT).unwrap().success());
}

fn start(library: &Path, dir: &Path) -> Result<(Server, Client), String> {
    let port = free_port()?;
    let mut command = ferrevent_run("ustreamer", library);
    command.current_dir(dir).args(["--device", "camera"]);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    let ustreamer = Server::start(&mut command)?;
    let client = Client::reach(port, &ustreamer)?;
    Ok((ustreamer, client))
}

/// One part of the stream.
fn next_picture(viewer: &mut Client) -> Vec<u8> {
    let mut length = None;
    loop {
        let mut line = String::new();
        viewer.stream.read_line(&mut line).unwrap();
        if let Some(value) = line.trim_end().strip_prefix("Content-Length: ") {
            length = Some(value.parse().unwrap());
        }
        // An empty line ends the headers; there are others before the boundary.
        let (Some(length), "") = (length, line.trim_end()) else {
            continue;
        };
        let mut picture = vec![0; length];
        viewer.stream.read_exact(&mut picture).unwrap();
        assert_picture(&picture);
        return picture;
    }
}

/// A JPEG file has these at its ends.
fn assert_picture(bytes: &[u8]) {
    assert!(bytes.starts_with(&[0xff, 0xd8]) && bytes.ends_with(&[0xff, 0xd9]));
}
