//! An HTTP client that sends the body of a request in parts, to servers that say what they please.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod told;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ferrevent::http::{Ask, Client, Exchange, Failure, ResponseHandler};
use ferrevent::{Base, Error};
use told::{
    Notes, OK, OneByOne, PATIENCE, note, note_end, notes, put, read_request, run, run_until, told,
    url,
};

/// A server that does on each connection what it is told, one after the other, and its URL.
fn scripted(connections: Vec<Box<dyn FnOnce(TcpStream) + Send>>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for connection in connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            connection(stream);
        }
    });
    (url(address), server)
}

fn signal() -> (Sender<()>, Receiver<()>) {
    mpsc::channel()
}

/// Reads what comes until it ends so.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while !text.ends_with(end.as_bytes()) {
        let n = stream.read(&mut piece).unwrap();
        assert_ne!(n, 0, "it is not the end");
        text.extend(&piece[..n]);
    }
    String::from_utf8(text).unwrap()
}

/// Answers one request, of a connection of its own.
fn answers_one(mut stream: TcpStream) {
    read_request(&mut stream).unwrap();
    stream.write_all(OK.as_bytes()).unwrap();
}

#[test]
fn who_does_not_read_gets_no_more() {
    struct Endless(usize);
    impl ResponseHandler for Endless {
        fn drained(&mut self, base: &mut Base, exchange: Exchange) {
            self.0 += 1;
            if self.0 > 300 {
                exchange.end(base).unwrap();
            } else {
                exchange.part(base, [b'x'; 100_000]).unwrap();
                assert!(exchange.unsent(base).unwrap() < 101_000);
            }
            base.insert_state(self.0);
        }
        fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
            note_end(base, exchange, outcome);
        }
    }
    let (go_on, may_go_on) = signal();
    let (url, server) = scripted(vec![Box::new(move |mut stream| {
        may_go_on.recv().unwrap();
        read_request(&mut stream).unwrap();
        let body = read_until(&mut stream, "0\r\n\r\n");
        assert_eq!(body.matches('x').count(), 30_000_000);
        stream.write_all(OK.as_bytes()).unwrap();
    })]);
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url).unwrap();
    client.start(&mut base, put("/"), Endless(0)).unwrap();
    // Until there is nothing to do: it is connected then, and the system takes no more.
    let parts = |base: &Base| *base.state::<usize>().unwrap_or(&0);
    let guard = base.after(PATIENCE, |_| panic!("the test hangs"));
    while parts(&base) == 0 {
        base.run_once().unwrap();
    }
    let mut before = 0;
    while before < parts(&base) {
        before = parts(&base);
        base.after(Duration::from_millis(20), Base::loop_break);
        base.run().unwrap();
    }
    guard.free(&mut base);
    assert!(before < 300, "{before}");
    go_on.send(()).unwrap();
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["200 1"]);
    client.free(&mut base);
    server.join().unwrap();
}

#[test]
fn an_answer_before_the_end_of_the_body_is_told_and_its_connection_ends() {
    let no = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";
    let yes = "HTTP/1.1 200 Yes\r\nContent-Length: 3\r\n\r\nyes";
    for (answer, expected) in [(no, ["head 413", "413 no"]), (yes, ["head 200", "200 yes"])] {
        let (url, server) = scripted(vec![
            Box::new(move |mut stream| {
                read_request(&mut stream).unwrap();
                read_until(&mut stream, "part\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                // It is the client that ends it.
                assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
            }),
            Box::new(answers_one),
        ]);
        let mut base = Base::new().unwrap();
        let client = Client::new(&mut base, url).unwrap();
        let exchange = client.start(&mut base, put("/"), Notes).unwrap();
        client.request(&mut base, Ask::get("/next"), told).unwrap();
        exchange.part(&mut base, "part").unwrap();
        run_until(&mut base, 4);
        let seen = notes(&mut base);
        assert_eq!(seen, [&["drained"], &expected[..], &["200 1"]].concat());
        for stale in [exchange.part(&mut base, "x"), exchange.end(&mut base)] {
            assert!(matches!(stale, Err(Error::Stale)));
        }
        client.free(&mut base);
        server.join().unwrap();
    }
}

#[test]
fn after_an_error_the_rest_of_the_body_is_thrown_away() {
    let (go_on, may_go_on) = signal();
    let (url, server) = scripted(vec![
        Box::new(move |mut stream| {
            read_request(&mut stream).unwrap();
            let head = "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            may_go_on.recv().unwrap();
            stream.write_all(b"no").unwrap();
            assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "nothing came");
        }),
        Box::new(answers_one),
    ]);
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url).unwrap();
    let exchange = client.start(&mut base, put("/"), Notes).unwrap();
    client.request(&mut base, Ask::get("/next"), told).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["drained", "head 500"]);
    for _ in 0..3 {
        exchange.part(&mut base, "more").unwrap();
        assert_eq!(exchange.unsent(&base), Some(0));
        base.run_nonblocking().unwrap();
    }
    exchange.end(&mut base).unwrap();
    go_on.send(()).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["500 no", "200 1"]);
    client.free(&mut base);
    server.join().unwrap();
}

#[test]
fn a_body_in_parts_waits_for_the_servers_word() {
    let (url, server) = scripted(vec![
        Box::new(|mut stream| {
            read_request(&mut stream).unwrap();
            // The first one asks for nothing.
            for interim in ["102 Wait", "100 Continue"] {
                let head = format!("HTTP/1.1 {interim}\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
            }
            let body = read_until(&mut stream, "0\r\n\r\n");
            assert_eq!(body, "1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n\r\n");
            stream.write_all(OK.as_bytes()).unwrap();
            read_request(&mut stream).unwrap();
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
            let body = read_until(&mut stream, "0\r\n\r\n");
            assert_eq!(body, "1\r\nx\r\n0\r\n\r\n");
            stream.write_all(OK.as_bytes()).unwrap();
            read_request(&mut stream).unwrap();
            let no = "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(no.as_bytes()).unwrap();
            assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "nothing came");
        }),
        Box::new(answers_one),
    ]);
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url).unwrap();
    let ask = || put("/").field("Expect", "100-continue");
    let first = client.start(&mut base, ask().body("a"), Notes).unwrap();
    first.part(&mut base, "bc").unwrap();
    assert_eq!(first.unsent(&base), Some(13));
    run_until(&mut base, 3);
    assert_eq!(notes(&mut base), ["interim", "interim", "drained"]);
    first.part(&mut base, "d").unwrap();
    first.end(&mut base).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["head 200", "200 1"]);

    client.start(&mut base, ask(), OneByOne(vec!["x"])).unwrap();
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["200 1"]);

    let third = client.start(&mut base, ask().body("a"), Notes).unwrap();
    client.request(&mut base, Ask::get("/next"), told).unwrap();
    third.end(&mut base).unwrap();
    run_until(&mut base, 3);
    assert_eq!(notes(&mut base), ["head 417", "417 ", "200 1"]);
    client.free(&mut base);
    server.join().unwrap();
}

#[test]
fn the_program_has_all_the_time_and_the_server_has_not() {
    let (go_on, may_go_on) = signal();
    let (url, server) = scripted(vec![
        Box::new(move |mut stream| {
            read_request(&mut stream).unwrap();
            stream.write_all(b"HTTP/1.1 103 Early\r\n\r\n").unwrap();
            may_go_on.recv().unwrap();
        }),
        Box::new(|mut stream| {
            read_request(&mut stream).unwrap();
            // Until the client has lost its patience.
            let _ = stream.read(&mut [0; 16]);
        }),
    ]);
    let mut base = Base::new().unwrap();
    let limit = Duration::from_millis(150);
    let builder = Client::builder().timeout(Some(limit));
    let client = builder.build(&mut base, url).unwrap();
    let ask = put("/").field("Content-Length", "1");
    let exchange = client.start(&mut base, ask, Notes).unwrap();
    run_until(&mut base, 2);
    base.after(2 * limit, Base::loop_break);
    base.run().unwrap();
    assert_eq!(notes(&mut base), ["drained", "interim"]);
    // From now on the server's time runs, also if there was nothing left to be sent.
    exchange.part(&mut base, "x").unwrap();
    run_until(&mut base, 1);
    exchange.end(&mut base).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["drained", "timeout"]);
    go_on.send(()).unwrap();

    let waits = put("/").field("Expect", "100-continue");
    client.start(&mut base, waits, Notes).unwrap();
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["timeout"]);
    client.free(&mut base);
    server.join().unwrap();
}

#[test]
fn a_body_that_goes_slowly_is_no_silence_of_the_server() {
    const LEN: usize = 30_000_000;
    let limit = Duration::from_millis(500);
    let (url, server) = scripted(vec![Box::new(move |mut stream| {
        read_request(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        // It takes longer than the limit to read all, but not to read a piece.
        let (mut left, mut piece) = (LEN, vec![0; LEN / 40]);
        while left > 0 {
            let n = piece.len().min(left);
            stream.read_exact(&mut piece[..n]).unwrap();
            left -= n;
            thread::sleep(limit / 25);
        }
        stream.write_all(OK.as_bytes()).unwrap();
    })]);
    let mut base = Base::new().unwrap();
    let builder = Client::builder().timeout(Some(limit));
    let client = builder.build(&mut base, url).unwrap();
    let ask = put("/").field("Expect", "100-continue");
    let ask = ask.body(vec![b'x'; LEN]);
    client.request(&mut base, ask, told).unwrap();
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["200 1"]);
    client.free(&mut base);
    server.join().unwrap();
}

#[test]
fn a_server_that_goes_in_the_middle_of_a_body_is_told_of_once() {
    for target in ["/first", "/second"] {
        let (url, server) = scripted(vec![Box::new(move |mut stream| {
            if target == "/second" {
                read_request(&mut stream).unwrap();
                stream.write_all(OK.as_bytes()).unwrap();
            }
            read_request(&mut stream).unwrap();
        })]);
        let mut base = Base::new().unwrap();
        let client = Client::new(&mut base, url).unwrap();
        if target == "/second" {
            client.request(&mut base, Ask::get("/"), told).unwrap();
        }
        // It is safe, but what there was of the body is gone.
        let ask = Ask::get(target);
        let exchange = client.start(&mut base, ask, Notes).unwrap();
        client.free_when_done(&mut base);
        run(&mut base);
        server.join().unwrap();
        let seen = notes(&mut base);
        assert_eq!(seen.last().unwrap(), "eof", "{seen:?}");
        assert!(!exchange.exists(&base) && !client.exists(&base));
    }
}

#[test]
fn a_protocol_is_not_changed_in_the_middle_of_a_body() {
    struct Upgrades;
    impl ResponseHandler for Upgrades {
        fn head(&mut self, base: &mut Base, exchange: Exchange) {
            assert!(exchange.upgrade(base).is_none());
            note(base, "head");
        }
        fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
            assert!(exchange.upgrade(base).is_none());
            note_end(base, exchange, outcome);
        }
    }
    let (url, server) = scripted(vec![Box::new(|mut stream| {
        read_request(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 101 Now\r\n\r\n").unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    })]);
    let mut base = Base::new().unwrap();
    let client = Client::new(&mut base, url).unwrap();
    client.start(&mut base, put("/"), Upgrades).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["head", "101 "]);
    assert_eq!(base.bufferevents().count(), 0);
    client.free(&mut base);
    server.join().unwrap();
}
