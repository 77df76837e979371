//! What an HTTP client under test is told, and servers for it: this library's, and some that say what they please.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ferrevent::Base;
use ferrevent::http::{
    Ask, Exchange, Failure, Method, Reply, Request, Response, ResponseHandler, Server,
};
use rustix::net::{self, AddressFamily, SocketType};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What was told, in its order.
#[derive(Default)]
struct Log(Vec<String>);

pub(crate) fn note(base: &mut Base, what: impl Into<String>) {
    if base.state::<Log>().is_none() {
        base.insert_state(Log::default());
    }
    base.state_mut::<Log>().unwrap().0.push(what.into());
}

pub(crate) fn notes(base: &mut Base) -> Vec<String> {
    base.remove_state::<Log>().unwrap_or_default().0
}

/// Notes an answer, or why there is none.
pub(crate) fn told(base: &mut Base, answer: Result<Response, Failure>) {
    let text = match answer {
        Ok(answer) => {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            format!("{} {body}", answer.code())
        }
        Err(failure) => name(&failure),
    };
    note(base, text);
}

pub(crate) fn name(failure: &Failure) -> String {
    match failure {
        Failure::Eof => "eof".into(),
        Failure::Timeout => "timeout".into(),
        Failure::Message(reason) => format!("{reason:?}"),
        Failure::Connection(_) => "connection".into(),
        other => format!("{other:?}"),
    }
}

/// Runs until nothing is left, and fails the test if that takes too long.
pub(crate) fn run(base: &mut Base) {
    let guard = base.after(PATIENCE, |_| panic!("the test hangs"));
    while base.pending_len() > 1 || base.active_len() > 0 {
        base.run_once().unwrap();
    }
    guard.free(base);
}

/// Runs until so much was noted.
pub(crate) fn run_until(base: &mut Base, len: usize) {
    let guard = base.after(PATIENCE, |_| panic!("the test hangs"));
    while base.state::<Log>().map_or(0, |log| log.0.len()) < len {
        base.run_once().unwrap();
    }
    guard.free(base);
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

// ---- This library's server ----

/// A server that answers as `service` says, and its URL.
pub(crate) fn serve(
    base: &mut Base,
    service: impl FnMut(&mut Base, Request) + 'static,
) -> (Server, String) {
    let server = Server::new(base, service);
    let listener = server.bind(base, "127.0.0.1:0".parse().unwrap()).unwrap();
    (server, url(listener.address(base).unwrap()))
}

/// Answers with what was asked, and with the body.
pub(crate) fn echo(base: &mut Base, request: Request) {
    let head = request.head(base).unwrap();
    let mut text = [head.method_name(), b" ", head.target(), b" "].concat();
    text.extend(request.body(base).unwrap().to_vec());
    request.reply(base, Reply::new(200).body(text)).unwrap();
}

// ---- Servers that say what they please ----

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";

/// Reads a head, and the body of a known length.
pub(crate) fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    Some(String::from_utf8(text).unwrap())
}

/// Takes one connection after the other. On each it gives these answers, then ends it; what was asked is given back.
pub(crate) fn script(connections: Vec<Vec<&'static str>>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            for answer in answers {
                asked.extend(read_request(&mut stream));
                stream.write_all(answer.as_bytes()).unwrap();
            }
            // Not by a reset.
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
        asked
    });
    (url(address), server)
}

/// A port at which nobody listens, and which nobody else gets as long as the socket is there.
pub(crate) fn closed() -> (OwnedFd, SocketAddr) {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    net::bind(&socket, &anywhere).unwrap();
    let address = net::getsockname(&socket).unwrap();
    (socket, address.try_into().unwrap())
}

// ---- Bodies in parts ----

pub(crate) fn put(target: &str) -> Ask {
    Ask::new(Method::Put, target)
}

/// Notes how the request ends: the status and the body, or why there is none.
pub(crate) fn note_end(base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
    if let Err(failure) = outcome {
        return note(base, name(&failure));
    }
    let code = exchange.head(base).unwrap().code();
    let body = exchange.take_body(base).unwrap().to_vec();
    note(base, format!("{code} {}", String::from_utf8(body).unwrap()));
}

/// Gives one part after the other, each when the former one is gone.
pub(crate) struct OneByOne(pub(crate) Vec<&'static str>);

impl ResponseHandler for OneByOne {
    fn drained(&mut self, base: &mut Base, exchange: Exchange) {
        assert_eq!(exchange.unsent(base), Some(0));
        match self.0.is_empty() {
            true => exchange.end(base).unwrap(),
            false => exchange.part(base, self.0.remove(0)).unwrap(),
        }
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
        note_end(base, exchange, outcome);
    }
}

/// Only notes what it is told.
pub(crate) struct Notes;

impl ResponseHandler for Notes {
    fn interim(&mut self, base: &mut Base, _: Exchange) {
        note(base, "interim");
    }

    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        let code = exchange.head(base).unwrap().code();
        note(base, format!("head {code}"));
    }

    fn drained(&mut self, base: &mut Base, _: Exchange) {
        note(base, "drained");
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
        note_end(base, exchange, outcome);
    }
}
