//! HTTP over TLS.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod duo;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use duo::Configs;
use ferrevent::dns::Resolver;
use ferrevent::http::{Ask, Client, Failure, Reply, Response, Server};
use ferrevent::{Base, Error};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection, StreamOwned};

#[test]
fn a_server_speaks_tls() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let builder = Server::builder().tls(configs.server.clone());
    let server = builder.build(&mut base, |base, request| {
        assert!(request.tls(base).unwrap().protocol_version().is_some());
        assert!(request.peer(base).unwrap().ip().is_loopback());
        let body = request.take_body(base).unwrap();
        request
            .reply(base, Reply::new(200).body_buffer(body))
            .unwrap();
    });
    let listener = server
        .bind(&mut base, "127.0.0.1:0".parse().unwrap())
        .unwrap();
    let address = listener.address(&base).unwrap();
    let remote = base.remote();
    let client = thread::spawn(move || {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(configs.client.clone(), name).unwrap();
        let mut tls = StreamOwned::new(session, stream);
        let body = "x".repeat(100_000);
        let asked = format!(
            "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        tls.write_all(asked.as_bytes()).unwrap();
        tls.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut heard = String::new();
        // Its end is one that TLS has announced.
        tls.read_to_string(&mut heard).unwrap();
        remote.loop_break().unwrap();
        heard
    });
    let watchdog = base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
    base.run().unwrap();
    watchdog.free(&mut base);
    let heard = client.join().unwrap();
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(heard.matches('x').count(), 100_000);
    assert_eq!(server.connections_len(&base), Some(0));
}

#[test]
fn both_sides_speak_tls() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let builder = Server::builder().tls(configs.server.clone());
    let server = builder.build(&mut base, |base, request| {
        let body = request.take_body(base).unwrap();
        request
            .reply(base, Reply::new(200).body_buffer(body))
            .unwrap();
    });
    let listener = server
        .bind(&mut base, "127.0.0.1:0".parse().unwrap())
        .unwrap();
    let port = listener.address(&base).unwrap().port();
    let hosts = Resolver::builder().hosts("127.0.0.1 localhost other");
    let resolver = hosts.build(&mut base).unwrap();
    for (host, is_trusted) in [("localhost", true), ("other", false)] {
        let client = Client::builder()
            .resolver(resolver)
            .tls(configs.client.clone())
            .build(&mut base, format!("https://{host}:{port}/"))
            .unwrap();
        let body = "x".repeat(300_000);
        for len in [300_000, 0, 5] {
            let ask = Ask::post("/", &body[..len]);
            client
                .request(&mut base, ask, move |base, answer| {
                    match answer {
                        Ok(answer) => assert!(is_trusted && answer.body.len() == len),
                        Err(Failure::Connection(error)) => {
                            assert!(!is_trusted && matches!(*error, Error::Tls(_)), "{error}");
                        }
                        Err(failure) => panic!("{failure}"),
                    }
                    base.insert_state(base.state::<u32>().unwrap_or(&0) + 1);
                })
                .unwrap();
        }
        client.free_when_done(&mut base);
    }
    let watchdog = base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
    while base.state::<u32>() != Some(&6) {
        base.run_once().unwrap();
    }
    watchdog.free(&mut base);
}

/// A body that ends with the connection is complete only if TLS says that this is the end.
#[test]
fn an_answer_that_is_cut_off_is_none() {
    for says_so in [true, false] {
        let configs = Configs::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let of_server = configs.server.clone();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let session = ServerConnection::new(of_server).unwrap();
            let mut tls = StreamOwned::new(session, stream);
            let mut asked = Vec::new();
            let mut byte = [0];
            while !asked.ends_with(b"\r\n\r\n") {
                tls.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
            if says_so {
                tls.conn.send_close_notify();
            }
            tls.flush().unwrap();
            tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = tls.sock.read_to_end(&mut Vec::new());
        });
        let mut base = Base::new().unwrap();
        let hosts = Resolver::builder().hosts("127.0.0.1 localhost");
        let resolver = hosts.build(&mut base).unwrap();
        let client = Client::builder()
            .resolver(resolver)
            .tls(configs.client.clone())
            .build(&mut base, format!("https://localhost:{port}/"))
            .unwrap();
        let told = move |base: &mut Base, answer: Result<Response, Failure>| {
            assert_eq!(answer.is_ok(), says_so, "{answer:?}");
            base.loop_break();
        };
        client.request(&mut base, Ask::get("/"), told).unwrap();
        let watchdog = base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
        base.run().unwrap();
        watchdog.free(&mut base);
        client.free(&mut base);
        base.run_nonblocking().unwrap();
        server.join().unwrap();
    }
}

#[test]
fn connecting_takes_no_longer_than_it_may_tls_included() {
    struct Told(Result<(), Failure>);
    // The system takes the connection, and nobody says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut base = Base::new().unwrap();
    let client = Client::builder()
        .connect_timeout(Some(Duration::from_millis(20)))
        .timeout(None)
        .build(
            &mut base,
            format!("https://{}", silent.local_addr().unwrap()),
        )
        .unwrap();
    client
        .request(&mut base, Ask::get("/"), |base, answer| {
            base.insert_state(Told(answer.map(drop)));
        })
        .unwrap();
    client.free_when_done(&mut base);
    let guard = base.after(Duration::from_secs(20), Base::loop_break);
    while client.exists(&base) && guard.exists(&base) {
        base.run_once().unwrap();
    }
    let Told(answer) = base.remove_state().unwrap();
    assert!(matches!(answer, Err(Failure::Timeout)), "{answer:?}");
}
