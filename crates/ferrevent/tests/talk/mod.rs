//! A client of an HTTP server under test: one that writes its bytes itself.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::net::SocketAddr;

use ferrevent::Base;
use ferrevent::http::{Failure, Reply, Request, RequestCallbacks, Server, ServerBuilder, Service};
use ferrevent_sim::{Faults, World};

use crate::ground::{Far, Ground, note, settle};

/// A base with a server, and a connection to it.
pub(crate) struct Talk {
    pub(crate) base: Base,
    pub(crate) server: Server,
    pub(crate) far: Far,
}

impl Talk {
    pub(crate) fn with(
        ground: &Ground,
        builder: ServerBuilder,
        service: impl FnMut(&mut Base, Request) + 'static,
    ) -> Self {
        let mut base = ground.base();
        let server = builder.build(&mut base, service);
        Self::start(ground, base, server)
    }

    pub(crate) fn with_service(
        ground: &Ground,
        builder: ServerBuilder,
        service: impl Service,
    ) -> Self {
        let mut base = ground.base();
        let server = builder.build_with(&mut base, service);
        Self::start(ground, base, server)
    }

    /// With the usual settings.
    pub(crate) fn new(ground: &Ground, service: impl FnMut(&mut Base, Request) + 'static) -> Self {
        Self::with(ground, Server::builder(), service)
    }

    fn start(ground: &Ground, mut base: Base, server: Server) -> Self {
        let far = connect(ground, &mut base, server);
        Self { base, server, far }
    }

    /// Sends, and gives back what is answered then.
    pub(crate) fn says(&mut self, text: impl AsRef<[u8]>) -> String {
        self.far.send(text.as_ref());
        self.hears()
    }

    /// What has come since.
    pub(crate) fn hears(&mut self) -> String {
        let mut all = Vec::new();
        loop {
            settle(&mut self.base);
            let piece = self.far.receive();
            if piece.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            all.extend(piece);
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.server.connections_len(&self.base).unwrap()
    }
}

/// One more connection.
pub(crate) fn connect(ground: &Ground, base: &mut Base, server: Server) -> Far {
    let (bev, far) = ground.pair(base);
    server.serve(base, bev, None).unwrap();
    far
}

/// Answers with what was asked, and with the body.
pub(crate) fn echo(base: &mut Base, request: Request) {
    let head = request.head(base).unwrap();
    let line = [head.method_name(), b" ", head.target(), b"\n"].concat();
    let body = request.body(base).unwrap().to_vec();
    let text = [line, body].concat();
    request.reply(base, Reply::new(200).body(text)).unwrap();
}

/// An answer as [`echo`] gives it.
pub(crate) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What was heard, without its times.
pub(crate) fn undated(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        match line.starts_with("Date: ") {
            true => out.push_str("Date: -\r\n"),
            false => out.push_str(line),
        }
    }
    out
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// The request that is not answered yet.
pub(crate) struct Open(pub(crate) Request);

pub(crate) fn keep(base: &mut Base, request: Request) {
    base.insert_state(Open(request));
}

/// Notes how the request ends, and does not answer it.
pub(crate) fn keep_and_note(base: &mut Base, request: Request) {
    let handler = RequestCallbacks::new()
        .client_ended(|base, _| note(base, "client_ended"))
        .end(|base, request, outcome| {
            assert!(request.exists(base) && request.head(base).is_some());
            assert!(request.reply(base, Reply::new(200)).is_err(), "it is over");
            note(base, name(&outcome));
        });
    request.set_handler(base, handler);
    base.insert_state(Open(request));
}

pub(crate) fn name(outcome: &Result<(), Failure>) -> &'static str {
    match outcome {
        Ok(()) => "ok",
        Err(Failure::Eof) => "eof",
        Err(Failure::Timeout) => "timeout",
        Err(Failure::Message(_)) => "message",
        Err(Failure::Connection(_)) => "connection",
        Err(Failure::Shutdown) => "shutdown",
        Err(_) => "?",
    }
}

/// With a clock of its own.
pub(crate) fn simulated() -> Ground {
    Ground::Simulated(World::new(1, Faults::none()))
}

/// Runs until nothing is left to wait for, and says how many seconds that took.
pub(crate) fn run_out(base: &mut Base) -> u64 {
    let start = base.now();
    base.run().unwrap();
    (base.now() - start).as_secs_f64().round() as u64
}

pub(crate) fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}
