//! Sockets: making, connecting, listening, accepting.
// A test that fails by unwrap says where it failed.
#![allow(clippy::unwrap_used)]

use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ferrevent_core::driver::{Connect, Driver, Interest, Readiness, Token};
use ferrevent_sys::{
    Address, Listen, Method, Mode, Options, System, accept, connect, listen, local_address,
    peer_address, resolve, set_close_on_exec, set_nodelay, set_nonblocking, shutdown,
    stream_socket, take_error,
};

const BOUND: Duration = Duration::from_secs(10);

fn any_port() -> Address {
    Address::from("127.0.0.1:0".parse::<SocketAddr>().unwrap())
}

fn flags(fd: &impl AsRawFd) -> (bool, bool) {
    // SAFETY: takes no memory.
    let (status, descriptor) = unsafe {
        (
            libc::fcntl(fd.as_raw_fd(), libc::F_GETFL),
            libc::fcntl(fd.as_raw_fd(), libc::F_GETFD),
        )
    };
    (
        status & libc::O_NONBLOCK != 0,
        descriptor & libc::FD_CLOEXEC != 0,
    )
}

#[test]
fn a_connection_is_made_and_accepted_on_each_driver() {
    for method in Method::ALL {
        let mut driver = System::open(method, Options::default()).unwrap();
        let all = Listen {
            reuse_address: true,
            reuse_port: true,
            defer_accept: true,
            keep_alive: true,
            ..Listen::default()
        };
        for options in [
            Listen::default(),
            Listen {
                defer_accept: false,
                ..all
            },
        ] {
            let listener = options.bind(&any_port()).unwrap();
            listen(listener.as_raw_fd(), 5).unwrap();
            assert_eq!(
                accept(listener.as_raw_fd(), Mode::default())
                    .unwrap_err()
                    .kind(),
                std::io::ErrorKind::WouldBlock
            );
            let address = local_address(listener.as_raw_fd()).unwrap();
            let client = stream_socket(address.family(), Mode::default()).unwrap();
            assert!(matches!(
                connect(client.as_raw_fd(), &address).unwrap(),
                Connect::Started | Connect::Done
            ));
            let token = Token {
                fd: client.as_raw_fd(),
                generation: 0,
            };
            driver.register(token, Interest::WRITE).unwrap();
            let mut ready = Vec::new();
            driver.wait(Some(BOUND), &mut ready).unwrap();
            assert_eq!(ready[0].readiness, Readiness::WRITE);
            take_error(client.as_raw_fd()).unwrap();
            let (server, peer) = accept(listener.as_raw_fd(), Mode::default()).unwrap();
            assert_eq!(peer, local_address(client.as_raw_fd()).unwrap());
            assert_eq!(peer_address(client.as_raw_fd()).unwrap(), address);
            assert_eq!(local_address(server.as_raw_fd()).unwrap(), address);
            set_nodelay(server.as_raw_fd(), true).unwrap();
            shutdown(server.as_raw_fd(), Shutdown::Both).unwrap();
            driver.deregister(client.as_raw_fd()).unwrap();
        }
    }
}

#[test]
fn a_refused_connection_is_told_now_or_later() {
    // A bound socket that does not listen keeps the port from others.
    let silent = Listen::default().bind(&any_port()).unwrap();
    let address = local_address(silent.as_raw_fd()).unwrap();
    let client = stream_socket(address.family(), Mode::default()).unwrap();
    if connect(client.as_raw_fd(), &address).unwrap() == Connect::Started {
        let mut driver = System::open(Method::Epoll, Options::default()).unwrap();
        driver
            .register(
                Token {
                    fd: client.as_raw_fd(),
                    generation: 0,
                },
                Interest::WRITE,
            )
            .unwrap();
        let mut ready = Vec::new();
        driver.wait(Some(BOUND), &mut ready).unwrap();
        assert!(ready[0].readiness.contains(Readiness::FAILED));
        let error = take_error(client.as_raw_fd()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn unix_sockets_connect_or_are_refused_at_once() {
    let name = format!("\0ferrevent-test-{}", std::process::id());
    let address = Address::unix(name.as_bytes()).unwrap();
    let listener = Listen {
        reuse_address: true,
        v6_only: true,
        defer_accept: true,
        ..Listen::default()
    }
    .bind(&address)
    .unwrap();
    let client = stream_socket(libc::AF_UNIX, Mode::default()).unwrap();
    assert_eq!(
        connect(client.as_raw_fd(), &address).unwrap(),
        Connect::Refused
    );
    listen(listener.as_raw_fd(), 5).unwrap();
    assert_eq!(
        connect(client.as_raw_fd(), &address).unwrap(),
        Connect::Done
    );
    assert_eq!(
        peer_address(client.as_raw_fd()).unwrap().unix_path(),
        Some(name.as_bytes())
    );
    let (_server, peer) = accept(listener.as_raw_fd(), Mode::default()).unwrap();
    assert_eq!(peer.unix_path(), Some(&b""[..]));
    let nowhere = Address::unix(b"/nonexistent/socket").unwrap();
    let other = stream_socket(libc::AF_UNIX, Mode::default()).unwrap();
    assert_eq!(
        connect(other.as_raw_fd(), &nowhere)
            .unwrap_err()
            .raw_os_error(),
        Some(libc::ENOENT)
    );
}

#[test]
fn modes_and_flags() {
    for (blocking, inheritable) in [(false, false), (true, false), (false, true), (true, true)] {
        let socket = stream_socket(
            libc::AF_INET,
            Mode {
                blocking,
                inheritable,
            },
        )
        .unwrap();
        assert_eq!(flags(&socket), (!blocking, !inheritable));
        set_nonblocking(socket.as_raw_fd(), blocking).unwrap();
        set_close_on_exec(socket.as_raw_fd(), inheritable).unwrap();
        assert_eq!(flags(&socket), (blocking, inheritable));
    }
    assert_eq!(
        set_nonblocking(-1, true).unwrap_err().raw_os_error(),
        Some(libc::EBADF)
    );
}

#[test]
fn numeric_hosts_resolve_without_a_server() {
    assert_eq!(
        resolve("127.0.0.1", 80).unwrap(),
        ["127.0.0.1:80".parse().unwrap()]
    );
    assert_eq!(resolve("::1", 80).unwrap(), ["[::1]:80".parse().unwrap()]);
}
