//! What the outside world can send, chosen by bytes: the same functions run under the fuzzer, and in the test `corpus`
//! on what the fuzzer has found worth keeping.
#![allow(
    clippy::unwrap_used,
    reason = "what fails here has found something; it says where"
)]

use ferrevent_http::client::{self, Request};
use ferrevent_http::server::{self, Next, Reply, ReplyBody, Sends};
use ferrevent_http::{BadHead, Limits, Method, Step};

/// The bytes that decide; what is beyond their end is zero.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn limits(&mut self) -> Limits {
        match self.byte() {
            0..=127 => Limits::default(),
            n => Limits {
                head: usize::from(n) - 100,
                body: u64::from(self.byte()),
            },
        }
    }

    /// What comes next: some of the rest.
    fn piece(&mut self, len: u8) -> &'a [u8] {
        let len = match len {
            0 => self.0.len(),
            len => usize::from(len).min(self.0.len()),
        };
        let (piece, rest) = self.0.split_at(len);
        self.0 = rest;
        piece
    }
}

/// A server to which a client sends whatever it likes. What the server reads is within the limits, and a client that
/// reads its answers finds one for each request, and nothing else.
pub(crate) fn requests(input: &[u8]) {
    let mut choices = Choices(input);
    let limits = choices.limits();
    let (lingering, answer, len) = (choices.byte() & 1 == 1, choices.byte(), choices.byte());
    let mut server = server::Connection::new();
    server.set_limits(limits);
    server.set_lingering(lingering);
    let mut buffer = Vec::new();
    let mut body = 0_u64;
    while !choices.0.is_empty() {
        buffer.extend_from_slice(choices.piece(len));
        loop {
            let mut rest = &buffer[..];
            let step = server.read(&mut rest);
            buffer = rest.to_vec();
            match step {
                Ok(Step::Wait) => break,
                Ok(Step::Head) => {
                    body = 0;
                    let request = server.request().unwrap();
                    assert!(request.size() <= limits.head);
                    assert!(request.uri().is_ok());
                    for (name, value) in request.fields().iter() {
                        assert!(ferrevent_http::header::is_name(name));
                        assert!(ferrevent_http::header::is_value(value));
                    }
                }
                Ok(Step::Continue) => {}
                Ok(Step::Body(n)) => {
                    body += n as u64;
                    assert!(body <= limits.body);
                    buffer.drain(..n);
                }
                Ok(Step::Discard(n)) => {
                    assert!(lingering);
                    buffer.drain(..n);
                }
                Ok(step) => {
                    assert_eq!(step, Step::Complete);
                    if reply(&mut server, answer) == Next::Close {
                        return;
                    }
                }
                Err(refusal) => {
                    assert!((400..=417).contains(&refusal.code()));
                    assert_eq!(reply(&mut server, answer), Next::Close);
                    return;
                }
            }
        }
    }
}

/// Answers in a way that depends on `answer`, and lets a client read it.
fn reply(server: &mut server::Connection, answer: u8) -> Next {
    let method = server
        .request()
        .map_or(Method::Get, |request| request.method());
    let whole = answer & 1 == 0;
    let reply = Reply {
        code: if answer & 2 == 0 { 200 } else { 404 },
        body: if whole {
            ReplyBody::Whole(5)
        } else {
            ReplyBody::Parts
        },
        ..Reply::default()
    };
    let length = [(&b"Content-Length"[..], &b"4"[..])];
    let fields = if answer & 4 == 0 {
        &[][..]
    } else {
        &length[..]
    };
    let mut out = Vec::new();
    let sends = server
        .reply(&reply, fields.iter().copied(), &mut out)
        .unwrap();
    match sends {
        Sends::Body(n) => out.extend(&b"hello"[..n as usize]),
        Sends::Parts => {
            for data in [&b"hel"[..], b"lo"] {
                let part = server.part(data.len() as u64, &mut out);
                out.extend(&data[..part.send as usize]);
                out.extend(part.after);
            }
            server.end(&mut out);
        }
    }
    assert_eq!(
        server.reply(&reply, [].into_iter(), &mut out),
        Err(BadHead::NotNow)
    );
    let next = server.written();
    // A tunnel has no answers.
    if method != Method::Connect {
        understand(method, &out);
    }
    next
}

fn understand(method: Method, answer: &[u8]) {
    let asked = if method == Method::Head {
        method
    } else {
        Method::Get
    };
    let mut client = client::Connection::new();
    let request = Request::new(asked, b"/");
    client
        .request(&request, [].into_iter(), &mut Vec::new())
        .unwrap();
    let mut rest = answer;
    loop {
        match client.read(&mut rest).unwrap() {
            Step::Head => {}
            Step::Body(n) => rest = &rest[n..],
            Step::Wait => {
                assert_eq!(client.closed(), Ok(Step::Complete));
                break;
            }
            step => {
                assert_eq!(step, Step::Complete);
                break;
            }
        }
    }
    assert_eq!(rest, b"");
}

/// A client to which a server sends whatever it likes. Each request has one end, and what is read is within the limits.
pub(crate) fn answers(input: &[u8]) {
    let mut choices = Choices(input);
    let limits = choices.limits();
    let (method, len, patience) = (choices.byte(), choices.byte(), choices.byte() % 4);
    let method = Method::ALL[usize::from(method) % Method::ALL.len()];
    let mut client = client::Connection::new();
    client.set_limits(limits);
    let mut buffer = Vec::new();
    let mut body = 0_u64;
    let mut answered = 0;
    let request = Request::new(method, b"h:1");
    client
        .request(&request, [].into_iter(), &mut Vec::new())
        .unwrap();
    while !choices.0.is_empty() {
        buffer.extend_from_slice(choices.piece(len));
        loop {
            let mut rest = &buffer[..];
            let step = client.read(&mut rest);
            buffer = rest.to_vec();
            match step {
                Ok(Step::Wait) => break,
                Ok(Step::Interim) => {
                    let code = client.response().unwrap().code();
                    assert!((100..=199).contains(&code) && code != 101);
                }
                Ok(Step::Head) => {
                    body = 0;
                    let response = client.response().unwrap();
                    assert!((100..=999).contains(&response.code()));
                    assert!(response.size() <= limits.head);
                    for (name, value) in response.fields().iter() {
                        assert!(ferrevent_http::header::is_name(name));
                        assert!(ferrevent_http::header::is_value(value));
                    }
                }
                Ok(Step::Body(n)) => {
                    body += n as u64;
                    assert!(body <= limits.body);
                    buffer.drain(..n);
                }
                Ok(step) => {
                    assert_eq!(step, Step::Complete);
                    answered += 1;
                    let next = client.finish(&&buffer[..], true);
                    if next == Next::Close || answered > patience {
                        return;
                    }
                    let request = client.request(&request, [].into_iter(), &mut Vec::new());
                    assert_eq!(request, Ok(()));
                }
                Err(_) => {
                    assert_eq!(client.read(&mut &buffer[..]), Ok(Step::Wait));
                    assert_eq!(client.finish(&&buffer[..], true), Next::Close);
                    return;
                }
            }
        }
    }
    let ended = client.closed();
    assert!(ended != Ok(Step::Complete) || client.response().is_some());
    assert_eq!(client.finish(&&buffer[..], true), Next::Close);
}
