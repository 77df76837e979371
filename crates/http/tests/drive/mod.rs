//! Both sides, driven with bytes: what they make of them, as values to compare.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses its part, and fails by unwrap where it failed"
)]

use bytes::Buf;
use ferrevent_http::client::{self, Error, Request};
use ferrevent_http::server::{self, Next, Reply, ReplyBody, Sends};
use ferrevent_http::{BadMessage, Limits, Method, Step, Version};

/// A message as its reader saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) first: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|field| field.0.eq_ignore_ascii_case(name));
        found.map(|field| &field.1[..])
    }
}

/// What a server made of its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) requests: Vec<Message>,
    /// What was refused, after which nothing is read.
    pub(crate) refused: Option<BadMessage>,
    /// All that it wrote. (The body of an answer is `ok`.)
    pub(crate) output: String,
    pub(crate) closed: bool,
    /// `Discard` steps, in bytes.
    pub(crate) discarded: usize,
}

pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn take(input: &mut Vec<u8>, n: usize) -> String {
    text(&input.drain(..n).collect::<Vec<_>>())
}

/// The server that answers each request with `ok`, and its input.
pub(crate) struct Server {
    pub(crate) connection: server::Connection,
    input: Vec<u8>,
    body: String,
    pub(crate) served: Served,
}

impl Server {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut connection = server::Connection::new();
        connection.set_limits(limits);
        Self {
            connection,
            input: Vec::new(),
            body: String::new(),
            served: Served::default(),
        }
    }

    pub(crate) fn receive(&mut self, piece: &[u8]) {
        self.input.extend(piece);
        while !self.served.closed {
            let mut rest = &self.input[..];
            let step = self.connection.read(&mut rest);
            let taken = self.input.len() - rest.remaining();
            self.input.drain(..taken);
            match step {
                Ok(Step::Wait) => break,
                Ok(Step::Head) => self.body.clear(),
                Ok(Step::Continue) => self.served.output += &text(server::CONTINUE),
                Ok(Step::Body(n)) => self.body += &take(&mut self.input, n),
                Ok(Step::Discard(n)) => {
                    self.served.discarded += n;
                    take(&mut self.input, n);
                }
                Ok(Step::Complete) => {
                    let request = self.connection.request().unwrap();
                    let fields = request.fields();
                    let fields = fields.iter().map(|(name, value)| (text(name), text(value)));
                    self.served.requests.push(Message {
                        first: format!(
                            "{} {} 1.{}",
                            text(request.method_name()),
                            text(request.target()),
                            request.version().minor()
                        ),
                        fields: fields.collect(),
                        body: std::mem::take(&mut self.body),
                    });
                    self.answer(200);
                }
                Ok(Step::Interim) => unreachable!("servers have none"),
                Err(refusal) => {
                    self.served.refused = Some(refusal.0);
                    self.answer(refusal.code());
                    assert!(self.served.closed);
                }
            }
        }
    }

    fn answer(&mut self, code: u16) {
        let mut out = Vec::new();
        let reply = Reply {
            code,
            body: ReplyBody::Whole(2),
            ..Reply::default()
        };
        let sends = self.connection.reply(&reply, [].into_iter(), &mut out);
        let Sends::Body(n) = sends.unwrap() else {
            unreachable!("the body is whole")
        };
        self.served.output += &text(&out);
        self.served.output += &"ok"[..n as usize];
        self.served.closed = self.connection.written() == Next::Close;
    }
}

/// What the server makes of `input`, which comes at once.
pub(crate) fn serve(input: impl AsRef<[u8]>) -> Served {
    serve_within(Limits::default(), input)
}

pub(crate) fn serve_within(limits: Limits, input: impl AsRef<[u8]>) -> Served {
    let mut server = Server::new(limits);
    server.receive(input.as_ref());
    server.served
}

/// A client that has asked, and its input.
pub(crate) struct Client {
    pub(crate) connection: client::Connection,
    input: Vec<u8>,
    pub(crate) asked: String,
    pub(crate) answer: Option<Message>,
    pub(crate) body: String,
    pub(crate) interim: usize,
    pub(crate) complete: bool,
    pub(crate) error: Option<Error>,
}

impl Client {
    pub(crate) fn ask(request: &Request<'_>, fields: &[(&str, &str)], limits: Limits) -> Self {
        let mut client = Self {
            connection: client::Connection::new(),
            input: Vec::new(),
            asked: String::new(),
            answer: None,
            body: String::new(),
            interim: 0,
            complete: false,
            error: None,
        };
        client.connection.set_limits(limits);
        client.ask_again(request, fields);
        client
    }

    pub(crate) fn ask_again(&mut self, request: &Request<'_>, fields: &[(&str, &str)]) {
        let mut out = Vec::new();
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        self.connection.request(request, fields, &mut out).unwrap();
        self.asked = text(&out);
        self.complete = false;
        self.body.clear();
    }

    pub(crate) fn get() -> Self {
        Self::ask(&Request::new(Method::Get, b"/"), &[], Limits::default())
    }

    pub(crate) fn receive(&mut self, piece: impl AsRef<[u8]>) -> &mut Self {
        self.input.extend(piece.as_ref());
        while self.error.is_none() && !self.complete {
            let mut rest = &self.input[..];
            let step = self.connection.read(&mut rest);
            let taken = self.input.len() - rest.remaining();
            self.input.drain(..taken);
            match step {
                Ok(Step::Wait) => break,
                Ok(Step::Interim) => self.interim += 1,
                Ok(Step::Body(n)) => self.body += &take(&mut self.input, n),
                Ok(Step::Complete) => self.complete(),
                Ok(Step::Head) => {}
                Ok(step) => unreachable!("clients have no {step:?}"),
                Err(error) => self.error = Some(error),
            }
        }
        self
    }

    pub(crate) fn close(&mut self) -> &mut Self {
        if self.error.is_some() || self.complete {
            return self;
        }
        match self.connection.closed() {
            Ok(Step::Complete) => self.complete(),
            Ok(step) => assert_eq!(step, Step::Wait),
            Err(error) => self.error = Some(error),
        }
        self
    }

    fn complete(&mut self) {
        self.complete = true;
        let response = self.connection.response().unwrap();
        let fields = response.fields();
        let fields = fields.iter().map(|(name, value)| (text(name), text(value)));
        let minor = match response.version() {
            Version::Http10 => 0,
            Version::Http11 => 1,
        };
        self.answer = Some(Message {
            first: format!("{} {} 1.{minor}", response.code(), text(response.reason())),
            fields: fields.collect(),
            body: self.body.clone(),
        });
    }

    pub(crate) fn finish(&mut self) -> Next {
        self.connection.finish(&&self.input[..], true)
    }
}

/// The head `POST / HTTP/1.1` with these lines, and what follows it.
pub(crate) fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}")
}

#[track_caller]
pub(crate) fn refuses(input: impl AsRef<[u8]>, why: BadMessage, code: u16) {
    let served = serve(input);
    assert_eq!(served.refused, Some(why));
    assert_eq!(served.requests, []);
    assert!(served.closed);
    let status = format!("HTTP/1.1 {code} ");
    assert!(served.output.starts_with(&status), "{}", served.output);
    assert!(served.output.contains("\r\nConnection: close\r\n"));
}

#[track_caller]
pub(crate) fn one_body(input: impl AsRef<[u8]>, body: &str) -> Served {
    let served = serve(input);
    assert_eq!(served.refused, None);
    assert_eq!(served.requests.len(), 1);
    assert_eq!(served.requests[0].body, body);
    assert!(!served.closed);
    served
}
