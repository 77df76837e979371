//! Debian's redsocks, which joins bufferevents in pairs, on our library: what clients send it goes through a SOCKS5 proxy of
//! this test, which sends it back.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use ferrevent_workbench::{Folder, Server, free_port, library};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed};

const CLIENTS: usize = 8;
/// Of each client: more than fits into any socket.
const LENGTH: usize = 4_000_000;

#[test]
#[ignore = "slow: starts a daemon"]
fn redsocks_takes_connections_through_a_proxy() {
    if !installed(&["redsocks"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy_port = proxy.local_addr().unwrap().port();
    let (mut redsocks, port) = first_success(|| start(&library, folder.path(), proxy_port));
    assert_runs_on(&library, redsocks.pid());

    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let bytes: Vec<u8> = (0..LENGTH)
                    .map(|i| (i * 7 + client + i / 256) as u8)
                    .collect();
                assert!(
                    there_and_back(port, &bytes) == bytes,
                    "client {client}: came back changed"
                );
            });
        }
        // Each client has a connection of its own, the first ones of which wait for the last one.
        let mut asked: Vec<TcpStream> = (0..CLIENTS).map(|_| accepted(&proxy)).collect();
        for stream in &mut asked {
            accept_socks(stream, port);
        }
        for mut stream in asked {
            scope.spawn(move || {
                let mut back = stream.try_clone().unwrap();
                // Ends when the client has said that it has nothing more.
                let length = std::io::copy(&mut stream, &mut back).unwrap();
                assert_eq!(length, LENGTH as u64);
                back.shutdown(Shutdown::Write).unwrap();
            });
        }
    });

    assert_runs_on(&library, redsocks.pid());
    redsocks.signal(Signal::TERM).unwrap();
    let status = redsocks.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}: {}", redsocks.stderr());
}

fn start(library: &Path, dir: &Path, proxy: u16) -> Result<(Server, u16), String> {
    let port = free_port()?;
    let config = dir.join("redsocks.conf");
    let text = format!(
        "base {{ log_info = on; log = stderr; daemon = off; redirector = generic; }}\n\
         redsocks {{ local_ip = 127.0.0.1; local_port = {port}; ip = 127.0.0.1; port = {proxy}; type = socks5; }}\n"
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let mut command = ferrevent_run("redsocks", library);
    let mut server = Server::start(command.arg("-c").arg(&config))?;
    server.wait_for_stderr("redsocks started", LIMIT)?;
    Ok((server, port))
}

/// What comes back of `bytes`.
fn there_and_back(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connected(port);
    let mut sender = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(bytes).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        back
    })
}

fn connected(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    limited(stream)
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    let limit = Timespec::try_from(LIMIT).unwrap();
    assert_eq!(poll(&mut ready, Some(&limit)), Ok(1), "nobody connects");
    limited(listener.accept().unwrap().0)
}

fn limited(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// RFC 1928: no authentication, and a connection to where the client has connected to, which is redsocks itself when nothing
/// redirects it.
fn accept_socks(stream: &mut TcpStream, port: u16) {
    let mut hello = [0; 2];
    stream.read_exact(&mut hello).unwrap();
    let mut methods = vec![0; usize::from(hello[1])];
    stream.read_exact(&mut methods).unwrap();
    assert_eq!(hello[0], 5);
    assert!(methods.contains(&0), "{methods:?}");
    stream.write_all(&[5, 0]).unwrap();
    let mut request = [0; 10];
    stream.read_exact(&mut request).unwrap();
    let mut expected = vec![5, 1, 0, 1, 127, 0, 0, 1];
    expected.extend(port.to_be_bytes());
    assert_eq!(request[..], expected);
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
}
