//! An HTTP client, against servers that say what they please, or nothing, or are not there.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod told;

use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::Duration;

use ferrevent::Base;
use ferrevent::http::{self, Ask, Client, ClientBuilder, Method, Server};
use rustix::net;
use told::{OK, PATIENCE, closed, echo, notes, read_request, run, run_until, script, told, url};

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
