//! TLS with rustls: over sockets, and over other bufferevents.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod duo;

use std::cell::RefCell;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use duo::{Configs, Duo, watch};
use ferrevent::{Base, BufferEvent, Dirs, Error, Listener, TlsSession, tls_client_config};

fn talk(mut duo: Duo) {
    let up: Vec<u8> = (0..1_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let down: Vec<u8> = (0..300_000_u32).map(|n| (n >> 5) as u8).collect();
    duo.client.write(&mut duo.base, &up).unwrap();
    duo.server.write(&mut duo.base, &down).unwrap();
    let (up_len, down_len) = (up.len(), down.len());
    duo.run_until(|duo| {
        duo.of_server.borrow().data.len() >= up_len && duo.of_client.borrow().data.len() >= down_len
    });
    assert!(duo.of_server.borrow().data == up);
    assert!(duo.of_client.borrow().data == down);
    for seen in [&duo.of_client, &duo.of_server] {
        assert_eq!(seen.borrow().connected, 1);
        assert!(seen.borrow().errors.is_empty());
    }
    // Its end is the peer's.
    duo.client.free(&mut duo.base);
    duo.run_until(|duo| duo.of_server.borrow().ends > 0);
    assert!(duo.of_server.borrow().errors.is_empty());
}

#[test]
fn both_sides_talk_over_sockets() {
    let configs = Configs::new();
    talk(Duo::on_sockets(configs.client(), configs.server()));
}

#[test]
fn both_sides_talk_over_a_pair() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let [near, far] = BufferEvent::pair(&mut base);
    let client = BufferEvent::secure_over(&mut base, near, configs.client()).unwrap();
    let server = BufferEvent::secure_over(&mut base, far, configs.server()).unwrap();
    talk(Duo::new(base, client, server));
}

#[test]
fn both_sides_talk_in_tls_in_tls() {
    let configs = Configs::new();
    let outer = Duo::on_sockets(configs.client(), configs.server());
    let mut base = outer.base;
    let client = BufferEvent::secure_over(&mut base, outer.client, configs.client()).unwrap();
    let server = BufferEvent::secure_over(&mut base, outer.server, configs.server()).unwrap();
    talk(Duo::new(base, client, server));
}

#[test]
fn both_sides_know_what_was_agreed_on() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    duo.run_until(|duo| duo.of_client.borrow().connected + duo.of_server.borrow().connected == 2);
    for bev in [duo.client, duo.server] {
        let tls = bev.tls(&duo.base).unwrap();
        assert_eq!(tls.alpn_protocol(), Some(&b"first"[..]));
    }
    let Some(rustls::Connection::Server(server)) = duo.server.tls(&duo.base) else {
        panic!("it is a server");
    };
    assert_eq!(server.server_name(), Some("localhost"));
}

#[test]
fn a_certificate_of_nobody_known_is_refused() {
    let configs = Configs::new();
    let client = TlsSession::client(tls_client_config(&[]), "localhost").unwrap();
    let mut duo = Duo::on_sockets(client, configs.server());
    duo.run_until(|duo| !duo.of_server.borrow().errors.is_empty());
    assert_eq!(duo.of_client.borrow().errors, ["certificate"]);
    assert_eq!(duo.of_server.borrow().errors, ["alert"]);
    assert_eq!(duo.of_client.borrow().connected, 0);
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let configs = Configs::new();
    let client = TlsSession::client(configs.client.clone(), "example.org").unwrap();
    let mut duo = Duo::on_sockets(client, configs.server());
    duo.run_until(|duo| !duo.of_client.borrow().errors.is_empty());
    assert_eq!(duo.of_client.borrow().errors, ["certificate"]);
}

#[test]
fn a_connection_that_is_cut_off_is_an_error_unless_that_is_allowed() {
    for allowed in [false, true] {
        let configs = Configs::new();
        let mut duo = Duo::on_sockets(configs.client(), configs.server());
        duo.run_until(|duo| duo.of_server.borrow().connected == 1);
        assert!(duo.client.allow_truncation(&mut duo.base, allowed));
        duo.server.shutdown(&mut duo.base, Shutdown::Both).unwrap();
        duo.run_until(|duo| {
            let seen = duo.of_client.borrow();
            seen.ends + seen.errors.len() > 0
        });
        let seen = duo.of_client.borrow();
        assert_eq!(seen.errors.len(), usize::from(!allowed));
        assert!(seen.errors.iter().all(|error| error == "cut off"));
        assert_eq!(seen.ends, usize::from(allowed));
        assert_eq!(duo.client.enabled(&duo.base), Some(Dirs::WRITE));
    }
}

#[test]
fn bytes_that_are_not_tls_are_an_error() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let client = BufferEvent::new(&mut base, near).unwrap();
    let server = BufferEvent::new(&mut base, far).unwrap();
    server.secure(&mut base, configs.server()).unwrap();
    let mut duo = Duo::new(base, client, server);
    duo.client
        .write(&mut duo.base, b"GET / HTTP/1.0\r\n\r\n")
        .unwrap();
    duo.run_until(|duo| !duo.of_server.borrow().errors.is_empty());
    assert_eq!(duo.of_server.borrow().connected, 0);
}

#[test]
fn a_large_reply_arrives_whole_when_it_is_freed_after_the_write_callback() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    let reply = vec![7; 4 << 20];
    duo.of_server.borrow_mut().frees_when_written = true;
    duo.client
        .set_watermark(&mut duo.base, Dirs::READ, 0, 10_000);
    duo.server.write(&mut duo.base, &reply).unwrap();
    duo.run_until(|duo| duo.of_client.borrow().ends == 1);
    let seen = duo.of_client.borrow();
    assert!(seen.data == reply, "{} bytes", seen.data.len());
    assert_eq!(duo.of_server.borrow().writes, 1);
}

#[test]
fn a_handler_may_free_it_while_it_reads() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    duo.of_server.borrow_mut().frees_when_read = true;
    duo.client.write(&mut duo.base, [1; 100_000]).unwrap();
    duo.run_until(|duo| !duo.server.exists(&duo.base));
    assert!(!duo.of_server.borrow().data.is_empty());
}

#[test]
fn a_client_connects() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let accepted = Rc::new(RefCell::new(None));
    let server = configs.server.clone();
    let kept = accepted.clone();
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&mut base, anywhere, move |base, _, stream, _| {
        let bev = BufferEvent::new(base, stream).unwrap();
        let session = TlsSession::server(server.clone()).unwrap();
        bev.secure(base, session).unwrap();
        *kept.borrow_mut() = Some((bev, watch(base, bev)));
    })
    .unwrap();
    let address = listener.address(&base).unwrap();
    let client = BufferEvent::unconnected(&mut base);
    client.secure(&mut base, configs.client()).unwrap();
    client.write(&mut base, b"hello").unwrap();
    client.connect(&mut base, address).unwrap();
    let mut duo = Duo::new(base, client, client);
    duo.run_until(|_| {
        let accepted = accepted.borrow();
        let seen = accepted.as_ref();
        seen.is_some_and(|(_, seen)| seen.borrow().data == b"hello")
    });
}

#[test]
fn it_is_secured_once() {
    let configs = Configs::new();
    let mut duo = Duo::on_sockets(configs.client(), configs.server());
    let again = duo.client.secure(&mut duo.base, configs.client());
    assert!(matches!(again, Err(Error::Layered)));
    duo.client.free(&mut duo.base);
    let freed = duo.client.secure(&mut duo.base, configs.client());
    assert!(matches!(freed, Err(Error::Stale)));
}
