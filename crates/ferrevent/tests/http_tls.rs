//! HTTP over TLS.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod duo;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use duo::Configs;
use ferrevent::Base;
use ferrevent::http::{Reply, Server};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

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
