//! An HTTP client, against this library's server, and against servers that say what they please.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ferrevent::dns::Resolver;
use ferrevent::http::{
    self, Ask, BadHead, Body, Client, ClientBuilder, Exchange, Failure, Method, Reply, Request,
    Response, ResponseHandler, Server, Service, Version,
};
use ferrevent::{Base, Callbacks, Dirs, Error};
use rustix::net::{self, AddressFamily, SocketType};

const PATIENCE: Duration = Duration::from_secs(20);

/// What was told, in its order.
#[derive(Default)]
struct Log(Vec<String>);

fn note(base: &mut Base, what: impl Into<String>) {
    if base.state::<Log>().is_none() {
        base.insert_state(Log::default());
    }
    base.state_mut::<Log>().unwrap().0.push(what.into());
}

fn notes(base: &mut Base) -> Vec<String> {
    base.remove_state::<Log>().unwrap_or_default().0
}

/// Notes an answer, or why there is none.
fn told(base: &mut Base, answer: Result<Response, Failure>) {
    let text = match answer {
        Ok(answer) => {
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            format!("{} {body}", answer.code())
        }
        Err(failure) => name(&failure),
    };
    note(base, text);
}

fn name(failure: &Failure) -> String {
    match failure {
        Failure::Eof => "eof".into(),
        Failure::Timeout => "timeout".into(),
        Failure::Message(reason) => format!("{reason:?}"),
        Failure::Connection(_) => "connection".into(),
        other => format!("{other:?}"),
    }
}

/// Runs until nothing is left, and fails the test if that takes too long.
fn run(base: &mut Base) {
    let guard = base.after(PATIENCE, |_| panic!("the test hangs"));
    while base.pending_len() > 1 || base.active_len() > 0 {
        base.run_once().unwrap();
    }
    guard.free(base);
}

/// Runs until so much was noted.
fn run_until(base: &mut Base, len: usize) {
    let guard = base.after(PATIENCE, |_| panic!("the test hangs"));
    while base.state::<Log>().map_or(0, |log| log.0.len()) < len {
        base.run_once().unwrap();
    }
    guard.free(base);
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

// ---- This library's server ----

/// A server that answers as `service` says, and its URL.
fn serve(base: &mut Base, service: impl FnMut(&mut Base, Request) + 'static) -> (Server, String) {
    let server = Server::new(base, service);
    let listener = server.bind(base, "127.0.0.1:0".parse().unwrap()).unwrap();
    (server, url(listener.address(base).unwrap()))
}

/// Answers with what was asked, and with the body.
fn echo(base: &mut Base, request: Request) {
    let head = request.head(base).unwrap();
    let mut text = [head.method_name(), b" ", head.target(), b" "].concat();
    text.extend(request.body(base).unwrap().to_vec());
    request.reply(base, Reply::new(200).body(text)).unwrap();
}

#[test]
fn what_is_asked_is_answered_in_order_on_one_connection() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        let server = request.server(base).unwrap();
        assert_eq!(server.connections_len(base), Some(1));
        let host = request.field(base, "host").unwrap();
        assert!(host.starts_with(b"127.0.0.1:"));
        if request.target(base) == Some(b"/slow") {
            base.after(Duration::from_millis(5), move |base| echo(base, request));
        } else {
            echo(base, request);
        }
    });
    let client = Client::new(&mut base, url).unwrap();
    let asks = [
        Ask::get("/slow"),
        Ask::post("/b?c", "body"),
        Ask::new(Method::Delete, "/with a blank"),
        Ask::new(Method::Head, "/h").field("X", "1"),
    ];
    for ask in asks {
        client.request(&mut base, ask, told).unwrap();
    }
    assert_eq!(notes(&mut base), [""; 0], "nobody is told inside the call");
    assert_eq!(client.pending_len(&base), Some(4));
    run_until(&mut base, 4);
    assert_eq!(
        notes(&mut base),
        [
            "200 GET /slow ",
            "200 POST /b?c body",
            "200 DELETE /with%20a%20blank ",
            "200 "
        ]
    );
    assert!(client.is_connected(&base));
    client.request(&mut base, Ask::get("/again"), told).unwrap();
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["200 GET /again "]);
    assert!(client.free(&mut base) && !client.free(&mut base));
    server.free(&mut base);
    assert_eq!(base.bufferevents().count(), 0);
}

#[test]
fn an_answer_can_be_looked_at() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        let reply = Reply::new(418)
            .reason("Short")
            .field("X-A", "1")
            .field("X-A", "2");
        request.reply(base, reply.body("tea")).unwrap();
    });
    http::get(&mut base, format!("{url}a/b?c=d#e"), move |base, answer| {
        let answer = answer.unwrap();
        assert_eq!((answer.code(), answer.reason()), (418, &b"Short"[..]));
        assert_eq!(answer.version(), Version::Http11);
        assert_eq!(answer.field("x-a"), Some(&b"1"[..]));
        assert_eq!(
            answer.fields().filter(|(name, _)| name == b"X-A").count(),
            2
        );
        assert_eq!(answer.body.to_vec(), b"tea");
        note(base, "told");
        server.free(base);
    })
    .unwrap();
    // Nothing is left then, so that the loop ends.
    run(&mut base);
    assert_eq!(notes(&mut base), ["told"]);
}

#[test]
fn what_cannot_be_asked_is_refused_at_once() {
    let mut base = Base::new().unwrap();
    for bad in [
        "",
        "127.0.0.1:80",
        "ftp://h/",
        "http://",
        "http:///a",
        "http://h:0/",
        "http://h:70000/",
    ] {
        let refused = Client::new(&mut base, bad);
        assert!(matches!(refused, Err(Error::Url)), "{bad}");
        let refused = http::get(&mut base, bad, |_, _| panic!("told"));
        assert!(matches!(refused, Err(Error::Url)), "{bad}");
    }
    let client = Client::new(&mut base, "http://127.0.0.1").unwrap();
    for (ask, reason) in [
        (Ask::get(""), BadHead::Target),
        (Ask::get("/a\r\nX: b"), BadHead::Target),
        (Ask::new(Method::Other, "/"), BadHead::Target),
        (Ask::get("/").field("X", "a\r\nY: b"), BadHead::Field),
        (Ask::get("/").field("X Y", "a"), BadHead::Field),
    ] {
        let refused = client.request(&mut base, ask, |_, _| panic!("told"));
        assert!(matches!(refused, Err(Error::Head(bad)) if bad == reason));
    }
    assert_eq!(client.pending_len(&base), Some(0));
    assert!(client.free_when_done(&mut base));
    assert!(!client.exists(&base) && !client.free_when_done(&mut base));
    let refused = client.request(&mut base, Ask::get("/"), told);
    assert!(matches!(refused, Err(Error::Stale)));
}

/// Takes a body slowly, and says how it goes.
struct Slow {
    most: usize,
    taken: usize,
}

impl ResponseHandler for Slow {
    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        let code = exchange.head(base).unwrap().code();
        note(base, format!("head {code}"));
    }

    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        let len = exchange.body(base).unwrap().len();
        self.most = self.most.max(len);
        if len >= 64 << 10 {
            base.after(Duration::from_micros(100), move |base| {
                let body = exchange.take_body(base).unwrap();
                base.insert_state(base.state::<usize>().unwrap_or(&0) + body.len());
            });
        }
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
        assert!(outcome.is_ok());
        self.taken = exchange.take_body(base).unwrap().len();
        self.taken += base.remove_state::<usize>().unwrap();
        note(base, format!("{}", self.taken));
        assert!(self.most < 400_000, "{}", self.most);
    }
}

#[test]
fn a_large_answer_comes_as_it_is_taken() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        let reply = Reply::new(200).body(vec![b'x'; 5_000_000]);
        request.reply(base, reply).unwrap();
    });
    let client = Client::new(&mut base, url).unwrap();
    for _ in 0..2 {
        let slow = Slow { most: 0, taken: 0 };
        client.request_with(&mut base, Ask::get("/"), slow).unwrap();
        run_until(&mut base, 2);
        assert_eq!(notes(&mut base), ["head 200", "5000000"]);
    }
    assert_eq!(server.connections_len(&base), Some(1));
}

#[test]
fn a_body_that_is_collected_has_a_limit() {
    let mut base = Base::new().unwrap();
    let (_, url) = serve(&mut base, echo);
    let client = Client::builder()
        .max_body(10)
        .build(&mut base, url)
        .unwrap();
    client
        .request(&mut base, Ask::get("/0123456789"), told)
        .unwrap();
    client.request(&mut base, Ask::get("/01"), told).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["BodyTooLong", "200 GET /01 "]);
}

#[test]
fn a_body_waits_for_the_servers_word() {
    struct Wants;
    impl Service for Wants {
        fn head(&mut self, base: &mut Base, request: Request) -> Body {
            note(base, "asked");
            if request.target(base) == Some(b"/no") {
                request.reply(base, Reply::new(403)).unwrap();
            }
            Body::Collect
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            echo(base, request);
        }
    }
    let mut base = Base::new().unwrap();
    let server = Server::builder().build_with(&mut base, Wants);
    let listener = server
        .bind(&mut base, "127.0.0.1:0".parse().unwrap())
        .unwrap();
    let url = url(listener.address(&base).unwrap());
    let client = Client::new(&mut base, url).unwrap();
    for target in ["/yes", "/no", "/yes"] {
        let ask = Ask::post(target, "body").field("Expect", "100-continue");
        client.request(&mut base, ask, told).unwrap();
    }
    run_until(&mut base, 6);
    assert_eq!(
        notes(&mut base),
        [
            "asked",
            "200 POST /yes body",
            "asked",
            "403 ",
            "asked",
            "200 POST /yes body"
        ]
    );
}

#[test]
fn a_host_is_found_by_its_name() {
    let mut base = Base::new().unwrap();
    let (_, url) = serve(&mut base, |base, request| {
        let host = request.field(base, "host").unwrap().to_vec();
        request.reply(base, Reply::new(200).body(host)).unwrap();
    });
    let port = url
        .rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let resolver = Resolver::builder()
        .hosts("127.0.0.1 www.test")
        .build(&mut base)
        .unwrap();
    let client = |name: &str, base: &mut Base| {
        let builder = Client::builder().resolver(resolver);
        builder
            .build(base, format!("http://{name}:{port}"))
            .unwrap()
    };
    for name in ["www.test", "a..b"] {
        let client = client(name, &mut base);
        client.request(&mut base, Ask::get("/"), told).unwrap();
        run_until(&mut base, 1);
        let expected = match name {
            "www.test" => format!("200 www.test:{port}"),
            _ => "connection".into(),
        };
        assert_eq!(notes(&mut base), [expected]);
    }
}

#[test]
fn both_sides_can_go_on_in_another_protocol() {
    struct Upgrades;
    impl ResponseHandler for Upgrades {
        fn head(&mut self, base: &mut Base, exchange: Exchange) {
            let bev = exchange.upgrade(base).unwrap();
            assert!(!exchange.exists(base));
            let reads = Callbacks::new().read(|base, bev| {
                let mut text = [0; 16];
                let n = bev.read(base, &mut text);
                note(base, String::from_utf8_lossy(&text[..n]));
            });
            bev.set_handler(base, reads);
            bev.write(base, "ping").unwrap();
        }
        fn end(&mut self, _: &mut Base, _: Exchange, _: Result<(), Failure>) {
            panic!("the program has ended it");
        }
    }
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        if request.field(base, "upgrade").is_none() {
            return echo(base, request);
        }
        let reply = Reply::new(101)
            .field("Connection", "upgrade")
            .field("Upgrade", "echo");
        let bev = request.upgrade(base, reply).unwrap();
        let echo = Callbacks::new().read(|base, bev| _ = bev.forward(base, bev));
        bev.set_handler(base, echo);
        bev.enable(base, Dirs::READ).unwrap();
    });
    let client = Client::new(&mut base, url).unwrap();
    let ask = Ask::get("/")
        .field("Connection", "upgrade")
        .field("Upgrade", "echo");
    client.request_with(&mut base, ask, Upgrades).unwrap();
    client.request(&mut base, Ask::get("/next"), told).unwrap();
    run_until(&mut base, 2);
    let mut seen = notes(&mut base);
    seen.sort();
    assert_eq!(seen, ["200 GET /next ", "ping"]);
    client.free(&mut base);
    server.free(&mut base);
    assert_eq!(base.bufferevents().count(), 2, "those that were taken out");
}

// ---- Servers that say what they please ----

/// Reads a head, and the body of a known length.
fn read_request(stream: &mut TcpStream) -> Option<String> {
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
fn script(connections: Vec<Vec<&'static str>>) -> (String, JoinHandle<Vec<String>>) {
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

/// What comes of one answer.
fn told_of(answer: &'static str) -> String {
    let (url, server) = script(vec![vec![answer]]);
    let mut base = Base::new().unwrap();
    http::get(&mut base, url, told).unwrap();
    run(&mut base);
    server.join().unwrap();
    notes(&mut base).join(";")
}

#[test]
fn answers_end_in_several_ways() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 hi"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more",
            "200 hi",
        ),
        (
            "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1 \r\ni\r\n0\r\nX: y\r\n\r\n",
            "200 hi",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 until the end"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", "200 until the end"),
        ("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "204 "),
        ("HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n", "304 "),
        (
            "HTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "200 ",
        ),
    ] {
        assert_eq!(told_of(answer), expected, "{answer}");
    }
}

#[test]
fn answers_that_are_none_are_not_believed() {
    for (answer, expected) in [
        ("", "eof"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "eof"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
            "eof",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Le", "eof"),
        ("nonsense\r\n\r\n", "Version"),
        ("HTTP/2.0 200 OK\r\n\r\n", "Version"),
        ("HTTP/1.1 20 OK\r\n\r\n", "FirstLine"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc",
            "Length",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", "Length"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Codings",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
            "Chunk",
        ),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "FieldValue"),
        ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", "FieldName"),
    ] {
        assert_eq!(told_of(answer), expected, "{answer}");
    }
}

#[test]
fn answers_that_are_not_the_final_one_come_to_an_end() {
    for (limit, interim, expected) in [
        (None, 100, "200 1"),
        (None, 101, "TooManyInterim"),
        (Some(1), 1, "200 1"),
        (Some(1), 2, "TooManyInterim"),
        (Some(0), 1, "TooManyInterim"),
    ] {
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(interim);
        // A server that goes on with them for ever is not waited for.
        let answer = match expected {
            "200 1" => interim + OK,
            _ => interim,
        };
        let (url, server) = script(vec![vec![answer.leak()]]);
        let mut base = Base::new().unwrap();
        let builder = match limit {
            Some(limit) => Client::builder().max_interim(limit),
            None => Client::builder(),
        };
        let client = builder.build(&mut base, url).unwrap();
        client.request(&mut base, Ask::get("/"), told).unwrap();
        run_until(&mut base, 1);
        assert_eq!(notes(&mut base), [expected]);
        client.free(&mut base);
        base.run_nonblocking().unwrap();
        server.join().unwrap();
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";

#[test]
fn an_answer_that_nobody_has_asked_for_is_not_given_to_the_next() {
    // Two answers at once; the second one could be the attacker's.
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2";
    let (url, server) = script(vec![vec![twice], vec![OK]]);
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url).unwrap();
    for _ in 0..2 {
        client.request(&mut base, Ask::get("/"), told).unwrap();
    }
    client.free_when_done(&mut base);
    run(&mut base);
    assert_eq!(notes(&mut base), ["200 1", "200 1"]);
    server.join().unwrap();
}

#[test]
fn what_comes_while_nothing_is_asked_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told_so) = std::sync::mpsc::channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream).unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        told_so.recv().unwrap();
        let unasked = OK.replace("\r\n\r\n1", "\r\n\r\n2");
        stream.write_all(unasked.as_bytes()).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        read_request(&mut second).unwrap();
        second.write_all(OK.as_bytes()).unwrap();
        // The first connection was open all the time.
        drop(stream);
    });
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url(address)).unwrap();
    client.request(&mut base, Ask::get("/"), told).unwrap();
    run_until(&mut base, 1);
    tell.send(()).unwrap();
    let guard = base.after(PATIENCE, |_| panic!("the test hangs"));
    while client.is_connected(&base) {
        base.run_once().unwrap();
    }
    guard.free(&mut base);
    client.request(&mut base, Ask::get("/"), told).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["200 1", "200 1"]);
    server.join().unwrap();
}

#[test]
fn what_is_safe_is_asked_again_when_a_kept_connection_was_gone() {
    for (ask, expected) in [
        (Ask::get("/second"), "200 1"),
        (Ask::post("/second", "x"), "eof"),
        (Ask::new(Method::Delete, "/second"), "eof"),
    ] {
        // The second request finds the end of the connection.
        let again = expected == "200 1";
        let mut connections = vec![vec![OK, ""]];
        connections.extend(again.then(|| vec![OK]));
        let (url, server) = script(connections);
        let mut base = Base::new().unwrap();
        let client = Client::new(&mut base, url).unwrap();
        client.request(&mut base, Ask::get("/first"), told).unwrap();
        client.request(&mut base, ask, told).unwrap();
        client.free_when_done(&mut base);
        run(&mut base);
        assert_eq!(notes(&mut base), ["200 1", expected]);
        assert_eq!(server.join().unwrap().len(), if again { 3 } else { 2 });
    }
    // Not for ever, and not on a new one.
    let (url, server) = script(vec![vec![OK, ""], vec![""]]);
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url).unwrap();
    for _ in 0..2 {
        client.request(&mut base, Ask::get("/"), told).unwrap();
    }
    client.free_when_done(&mut base);
    run(&mut base);
    assert_eq!(notes(&mut base), ["200 1", "eof"]);
    server.join().unwrap();
}

#[test]
fn a_server_that_takes_no_more_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream).unwrap();
        let answer = b"HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // The rest of the body is taken and thrown away.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url(address)).unwrap();
    let large = Ask::post("/", vec![b'x'; 8 << 20]);
    client.request(&mut base, large, told).unwrap();
    client.free_when_done(&mut base);
    run(&mut base);
    assert_eq!(notes(&mut base), ["413 "]);
    server.join().unwrap();
}

#[test]
fn a_silent_server_is_not_waited_for_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut base = Base::new().unwrap();
    let builder = Client::builder().timeout(Some(Duration::from_millis(20)));
    let client = builder.build(&mut base, url(address)).unwrap();
    for _ in 0..2 {
        client.request(&mut base, Ask::get("/"), told).unwrap();
    }
    client.free_when_done(&mut base);
    run(&mut base);
    assert_eq!(notes(&mut base), ["timeout", "timeout"]);
    assert!(!client.exists(&base));
}

/// A port at which nobody listens, and which nobody else gets as long as the socket is there.
fn closed() -> (OwnedFd, SocketAddr) {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    net::bind(&socket, &anywhere).unwrap();
    let address = net::getsockname(&socket).unwrap();
    (socket, address.try_into().unwrap())
}

fn retrying() -> ClientBuilder {
    Client::builder()
        .retries(3)
        .first_retry(Duration::from_millis(2))
}

#[test]
fn connecting_is_tried_again_and_all_who_wait_are_told() {
    let mut base = Base::new().unwrap();
    let (_socket, nobody) = closed();
    let client = retrying().build(&mut base, url(nobody)).unwrap();
    let start = base.now();
    client
        .request(&mut base, Ask::get("/"), move |base, answer| {
            told(base, answer);
            // This one has tries of its own.
            client.request(base, Ask::get("/"), told).unwrap();
        })
        .unwrap();
    client.request(&mut base, Ask::get("/"), told).unwrap();
    run(&mut base);
    assert_eq!(notes(&mut base), ["connection"; 3]);
    // Twice 2, 4 and 8 milliseconds.
    assert!(base.now() - start >= Duration::from_millis(28));
    assert!(client.exists(&base) && !client.is_connected(&base));

    let (socket, address) = closed();
    let client = retrying().build(&mut base, url(address)).unwrap();
    client.request(&mut base, Ask::get("/late"), told).unwrap();
    client.free_when_done(&mut base);
    let server = Server::new(&mut base, echo);
    // The first try has been refused by then.
    base.after(Duration::from_millis(3), move |base| {
        net::listen(&socket, 8).unwrap();
        server.listen(base, socket.into()).unwrap();
    });
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["200 GET /late "]);
}

#[test]
fn what_is_cancelled_is_not_told_and_the_rest_is() {
    for cancelled in 0..3 {
        let mut base = Base::new().unwrap();
        let (_, url) = serve(&mut base, |base, request| {
            note(base, "asked");
            base.after(Duration::from_millis(2), move |base| {
                if request.exists(base) {
                    echo(base, request);
                }
            });
        });
        let client = Client::new(&mut base, url).unwrap();
        let asked = ["/0", "/1", "/2"]
            .map(|target| client.request(&mut base, Ask::get(target), told).unwrap());
        // The first one is under way.
        run_until(&mut base, 1);
        assert!(asked[cancelled].cancel(&mut base));
        assert!(!asked[cancelled].cancel(&mut base) && !asked[cancelled].exists(&base));
        run_until(&mut base, if cancelled == 0 { 5 } else { 4 });
        let seen = notes(&mut base);
        for (i, target) in ["/0", "/1", "/2"].into_iter().enumerate() {
            let line = format!("200 GET {target} ");
            assert_eq!(seen.contains(&line), i != cancelled, "{cancelled} {target}");
        }
    }
    // While it connects.
    let mut base = Base::new().unwrap();
    let (_socket, nobody) = closed();
    let client = Client::new(&mut base, url(nobody)).unwrap();
    let exchange = client.request(&mut base, Ask::get("/"), told).unwrap();
    assert!(exchange.cancel(&mut base));
    assert_eq!(base.bufferevents().count(), 0, "nobody wants it any more");
    run(&mut base);
    assert_eq!(notes(&mut base), [""; 0]);
}

/// Looks at its request, and cancels it, in one of its callbacks.
struct Cancels {
    at: &'static str,
}

/// The request that waits.
struct Next(Exchange);

impl Cancels {
    fn call(&self, base: &mut Base, at: &'static str, exchange: Exchange) {
        note(base, at);
        if self.at != at {
            return;
        }
        let code = |base: &Base, exchange: Exchange| exchange.head(base).map(|head| head.code());
        let before = code(base, exchange);
        assert!(before.is_some(), "{at}");
        let over = at == "end";
        assert_eq!(exchange.cancel(base), !over);
        assert_eq!(exchange.exists(base), over);
        assert_eq!(code(base, exchange), before.filter(|_| over));
        assert_eq!(exchange.take_body(base).is_some(), over);
        // What waits behind it has nothing of its answer, and can be cancelled.
        let Next(next) = base.remove_state().unwrap();
        assert_eq!(code(base, next), None);
        assert!(next.upgrade(base).is_none());
        assert!(next.cancel(base) && !next.exists(base));
        assert_eq!(exchange.exists(base), over);
        assert_eq!(code(base, exchange), before.filter(|_| over));
    }
}

impl ResponseHandler for Cancels {
    fn interim(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "interim", exchange);
    }

    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "head", exchange);
    }

    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "body", exchange);
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, _: Result<(), Failure>) {
        self.call(base, "end", exchange);
    }
}

#[test]
fn cancelling_in_a_callback_ends_the_request_unless_it_has_ended() {
    let whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let half = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi";
    let places = ["interim", "head", "body", "end"];
    for answer in [whole, half] {
        for (i, at) in places.into_iter().enumerate() {
            // Where it has ended, its connection is kept for what is asked last.
            let kept = at == "end" && answer == whole;
            let connections = match kept {
                true => vec![vec![answer, OK]],
                false => vec![vec![answer], vec![OK]],
            };
            let (url, server) = script(connections);
            let mut base = Base::new().unwrap();
            let client = Client::new(&mut base, url).unwrap();
            let handler = Cancels { at };
            client
                .request_with(&mut base, Ask::get("/"), handler)
                .unwrap();
            let never = |_: &mut Base, _: Result<Response, Failure>| panic!("it is cancelled");
            let next = client.request(&mut base, Ask::get("/"), never).unwrap();
            base.insert_state(Next(next));
            client.request(&mut base, Ask::get("/"), told).unwrap();
            client.free_when_done(&mut base);
            run(&mut base);
            let expected = [&places[..=i], &["200 1"]].concat();
            assert_eq!(notes(&mut base), expected);
            server.join().unwrap();
        }
    }
}

// ---- What callbacks may do ----

#[derive(Clone, Copy)]
struct Deed {
    at: &'static str,
    what: fn(&mut Base, Exchange),
}

impl Deed {
    fn call(self, base: &mut Base, at: &'static str, exchange: Exchange) {
        if self.at == at {
            note(base, at);
            (self.what)(base, exchange);
        }
    }
}

impl ResponseHandler for Deed {
    fn interim(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "interim", exchange);
    }

    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "head", exchange);
    }

    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "body", exchange);
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, _: Result<(), Failure>) {
        self.call(base, "end", exchange);
    }
}

#[test]
fn every_callback_may_do_everything() {
    let deeds: [fn(&mut Base, Exchange); 6] = [
        |base, exchange| _ = exchange.client().free(base),
        |base, exchange| _ = exchange.cancel(base),
        |base, exchange| _ = exchange.upgrade(base),
        |base, exchange| _ = exchange.client().free_when_done(base),
        |base, exchange| _ = exchange.client().request(base, Ask::get("/more"), told),
        |base, _| {
            let all: Vec<_> = base.bufferevents().collect();
            for bev in all {
                bev.free(base);
            }
        },
    ];
    let parts = [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n1",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1",
    ];
    for answer in parts {
        for at in ["interim", "head", "body", "end"] {
            for what in deeds {
                let mut base = Base::new().unwrap();
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let url = url(listener.local_addr().unwrap());
                let client = Client::new(&mut base, url).unwrap();
                let deed = Deed { at, what };
                client.request_with(&mut base, Ask::get("/"), deed).unwrap();
                client.request(&mut base, Ask::get("/next"), told).unwrap();
                let far = thread::spawn(move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    read_request(&mut stream);
                    let _ = stream.write_all(answer.as_bytes());
                });
                run_until(&mut base, 1);
                far.join().unwrap();
                assert_eq!(notes(&mut base)[0], at);
                for _ in 0..5 {
                    base.run_nonblocking().unwrap();
                }
                client.free(&mut base);
                base.run_nonblocking().unwrap();
                assert_eq!(base.bufferevents().count(), 0);
                assert_eq!(base.pending_len(), 0);
            }
        }
    }
}
