//! What a client asks, and what it takes for an answer.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod drive;

use drive::Client;
use ferrevent_http::client::{Connection, Error, MOST_INTERIM, Request};
use ferrevent_http::server::Next;
use ferrevent_http::{BadHead, BadMessage, Limits, Method, Step, Version};

/// The head of this request, and a body of `body` bytes, with these fields.
fn head(method: Method, body: u64, fields: &[(&str, &str)]) -> String {
    let request = Request {
        body,
        ..Request::new(method, b"/x")
    };
    Client::ask(&request, fields, Limits::default()).asked
}

/// What a client that has asked with `GET` makes of `input`.
fn get(input: impl AsRef<[u8]>) -> Client {
    let mut client = Client::get();
    client.receive(input);
    client
}

/// The fields, and the body, of an answer 200 of HTTP/1.1.
fn ok(lines: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}")
}

#[track_caller]
fn invalid(input: impl AsRef<[u8]>, why: BadMessage) {
    let mut client = get(input);
    assert_eq!(client.error, Some(Error::Invalid(why)));
    assert!(!client.connection.keep_alive());
    assert_eq!(client.finish(), Next::Close);
}

// ---- What is asked ----

#[test]
fn a_request_says_how_long_its_body_is() {
    assert_eq!(head(Method::Get, 0, &[]), "GET /x HTTP/1.1\r\n\r\n");
    for method in Method::ALL {
        let line = format!("{} /x HTTP/1.1\r\n", method.name());
        let expected = format!("{line}Content-Length: 5\r\n\r\n");
        assert_eq!(head(method, 5, &[]), expected);
        let empty = match method {
            Method::Post | Method::Put => format!("{line}Content-Length: 0\r\n\r\n"),
            _ => format!("{line}\r\n"),
        };
        assert_eq!(head(method, 0, &[]), empty);
    }
}

#[test]
fn a_length_that_is_not_the_bodys_is_not_written() {
    let right = "POST /x HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(head(Method::Post, 5, &[("content-length", "5")]), right);
    let replaced = "GET /x HTTP/1.1\r\nA: b\r\nContent-Length: 5\r\n\r\n";
    for wrong in [("Content-Length", "3"), ("Content-Length", "x")] {
        assert_eq!(head(Method::Get, 5, &[wrong, ("A", "b")]), replaced);
    }
    let twice = [("Content-Length", "5"), ("A", "b"), ("Content-Length", "5")];
    assert_eq!(head(Method::Get, 5, &twice), replaced);
}

#[test]
fn the_host_is_added_unless_the_program_has_set_it() {
    let request = Request {
        host: Some(b"h:81"),
        ..Request::new(Method::Get, b"/x")
    };
    let asked = |fields: &[(&str, &str)]| Client::ask(&request, fields, Limits::default()).asked;
    assert_eq!(asked(&[]), "GET /x HTTP/1.1\r\nHost: h:81\r\n\r\n");
    assert_eq!(
        asked(&[("hOST", "me")]),
        "GET /x HTTP/1.1\r\nhOST: me\r\n\r\n"
    );
}

#[test]
fn what_cannot_be_read_as_it_is_meant_is_not_written() {
    let mut connection = Connection::new();
    let mut out = Vec::new();
    for target in [&b""[..], b"/a\r\nX: y", b"/\0", b"/\x7f"] {
        let request = Request::new(Method::Get, target);
        let asked = connection.request(&request, [].into_iter(), &mut out);
        assert_eq!(asked, Err(BadHead::Target));
    }
    let request = Request::new(Method::Other, b"/");
    let asked = connection.request(&request, [].into_iter(), &mut out);
    assert_eq!(asked, Err(BadHead::Target));
    let request = Request::new(Method::Get, b"/");
    for field in [(&b"a b"[..], &b"c"[..]), (b"a", b"c\r\nd: e"), (b"", b"c")] {
        let asked = connection.request(&request, [field].into_iter(), &mut out);
        assert_eq!(asked, Err(BadHead::Field));
    }
    let with_host = Request {
        host: Some(b"h\r\nX: y"),
        ..request
    };
    let asked = connection.request(&with_host, [].into_iter(), &mut out);
    assert_eq!(asked, Err(BadHead::Field));
    assert_eq!(out, b"");
    assert_eq!(
        connection.request(&request, [].into_iter(), &mut out),
        Ok(())
    );
    let asked = connection.request(&request, [].into_iter(), &mut out);
    assert_eq!(asked, Err(BadHead::NotNow));
}

// ---- Where answers end ----

#[test]
fn an_answer_ends_after_its_length() {
    let mut client = get(ok("Content-Length: 3\r\nA: b\r\n", "ab"));
    assert!(!client.complete);
    client.receive("c");
    let answer = client.answer.clone().unwrap();
    assert_eq!(answer.first, "200 OK 1.1");
    assert_eq!(answer.field("a"), Some("b"));
    assert_eq!(answer.body, "abc");
    assert_eq!(client.finish(), Next::Request);
}

#[test]
fn an_answer_ends_with_its_last_chunk() {
    let chunks = "3\r\nabc\r\n2;x\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
    let mut client = get(ok("Transfer-Encoding: chunked\r\n", chunks));
    let answer = client.answer.clone().unwrap();
    assert_eq!(answer.body, "abcde");
    assert_eq!(answer.field("trailer"), None);
    assert_eq!(client.finish(), Next::Request);
}

#[test]
fn an_answer_without_a_length_ends_with_the_connection() {
    for lines in [
        "",
        "Connection: keep-alive\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        let mut client = get(ok(lines, "abc"));
        client.receive("def");
        assert!(!client.complete);
        client.close();
        assert_eq!(client.answer.as_ref().unwrap().body, "abcdef");
        assert_eq!(client.finish(), Next::Close);
    }
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    for (method, line) in [
        (Method::Head, "200 OK"),
        (Method::Get, "204 No Content"),
        (Method::Get, "304 Not Modified"),
    ] {
        let fields = "Content-Length: 3\r\n";
        let request = Request::new(method, b"/");
        let mut client = Client::ask(&request, &[], Limits::default());
        client.receive(format!("HTTP/1.1 {line}\r\n{fields}\r\n"));
        assert_eq!(client.answer.as_ref().unwrap().body, "");
        assert_eq!(client.finish(), Next::Request);
    }
}

#[test]
fn an_end_too_early_is_an_error() {
    for input in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nA: b\r\n",
        &ok("Content-Length: 3\r\n", "ab"),
        &ok("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
        &ok("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let mut client = get(input);
        assert_eq!(client.error, None);
        client.close();
        assert_eq!(client.error, Some(Error::Eof), "{input:?}");
        assert_eq!(client.finish(), Next::Close);
    }
}

#[test]
fn an_answer_whose_end_is_not_clear_is_refused() {
    for (lines, why) in [
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            BadMessage::Codings,
        ),
        (
            "Transfer-Encoding: gzip\r\nContent-Length: 3\r\n",
            BadMessage::Codings,
        ),
        ("Transfer-Encoding: chunked, gzip\r\n", BadMessage::Codings),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            BadMessage::Codings,
        ),
        (
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            BadMessage::Length,
        ),
        ("Content-Length: x\r\n", BadMessage::Length),
        ("Content-Length: +3\r\n", BadMessage::Length),
        ("Content-Length: 3, 3\r\n", BadMessage::Length),
        ("Content-Length: 3\r\n 0\r\n", BadMessage::Fold),
    ] {
        invalid(ok(lines, "3\r\nabc\r\n0\r\n\r\n"), why);
    }
    let same = "Content-Length: 3\r\nContent-Length: 3\r\n";
    assert_eq!(get(ok(same, "abc")).answer.unwrap().body, "abc");
}

#[test]
fn the_chunks_of_old_servers_are_taken() {
    let padded = get(ok(
        "Transfer-Encoding: chunked\r\n",
        "3  \r\nabc\r\n0 ;x\r\n\r\n",
    ));
    assert_eq!(padded.answer.unwrap().body, "abc");
    // HTTP/1.0 has no chunks; but what else could it be?
    let input = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\n\r\n";
    let mut client = get(input);
    assert_eq!(client.answer.as_ref().unwrap().body, "abc");
    assert_eq!(client.finish(), Next::Close);

    for body in [
        "zz\r\n",
        "3\nabc\r\n",
        "3\r\nabc\n0\r\n",
        " 3\r\nabc\r\n",
        "0x3\r\n",
    ] {
        invalid(
            ok("Transfer-Encoding: chunked\r\n", body),
            BadMessage::Chunk,
        );
    }
}

#[test]
fn the_limits_count_for_answers_too() {
    let limits = Limits { head: 40, body: 10 };
    let ask = |input: &str| {
        let mut client = Client::ask(&Request::new(Method::Get, b"/"), &[], limits);
        client.receive(input);
        client.error
    };
    assert_eq!(ask(&ok("Content-Length: 10\r\n", "0123456789")), None);
    for input in [
        ok("Content-Length: 11\r\n", ""),
        ok("", "01234567890"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:gzip\r\n\r\n01234567890".into(),
    ] {
        assert_eq!(ask(&input), Some(Error::TooLong));
    }
    let long = Error::Invalid(BadMessage::HeadTooLong);
    assert_eq!(
        ask(&ok(&format!("A: {}\r\n", "x".repeat(30)), "")),
        Some(long)
    );
}

// ---- What a head may be ----

#[test]
fn the_reason_may_be_missing() {
    for (line, first) in [
        ("HTTP/1.1 200", "200  1.1"),
        ("HTTP/1.1 200 ", "200  1.1"),
        ("HTTP/1.1 200 a b\tc", "200 a b\tc 1.1"),
        ("HTTP/1.0 999 \u{e4}", "999 \u{c3}\u{a4} 1.0"),
    ] {
        let client = get(format!("{line}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(client.answer.unwrap().first, first);
    }
}

#[test]
fn a_first_line_that_is_none_is_refused() {
    for (line, why) in [
        ("", BadMessage::FirstLine),
        (" HTTP/1.1 200 OK", BadMessage::FirstLine),
        ("HTTP/1.1", BadMessage::FirstLine),
        ("HTTP/1.1 20 OK", BadMessage::FirstLine),
        ("HTTP/1.1 2000 OK", BadMessage::FirstLine),
        ("HTTP/1.1 000 OK", BadMessage::FirstLine),
        ("HTTP/1.1 +20 OK", BadMessage::FirstLine),
        ("HTTP/1.1  200 OK", BadMessage::FirstLine),
        ("HTTP/1.1 200 O\rK", BadMessage::FirstLine),
        ("HTTP/1.1 200 O\0K", BadMessage::FirstLine),
        ("HTTP/2.0 200 OK", BadMessage::Version),
        ("HTTP/1.2 200 OK", BadMessage::Version),
        ("ICY 200 OK", BadMessage::Version),
        ("<html>hello", BadMessage::Version),
    ] {
        invalid(format!("{line}\r\n"), why);
    }
}

#[test]
fn fields_of_answers_are_judged_but_old_servers_are_understood() {
    for (lines, why) in [
        ("A b\r\n", BadMessage::FieldName),
        ("A b: c\r\n", BadMessage::FieldName),
        ("Content-Length : 3\r\n", BadMessage::FieldName),
        ("Transfer-Encoding\t: chunked\r\n", BadMessage::FieldName),
        ("Connection : close\r\n", BadMessage::FieldName),
        (" : c\r\n", BadMessage::Fold),
        (": b\r\n", BadMessage::FieldName),
        ("A: b\0\r\n", BadMessage::FieldValue),
        ("A: b\rc\r\n", BadMessage::FieldValue),
        ("A: b\r\n c\0d\r\n", BadMessage::FieldValue),
        ("A: b\r\n c\rd\r\n", BadMessage::FieldValue),
        (" A: b\r\n", BadMessage::Fold),
        ("Transfer-Encoding: x\r\n chunked\r\n", BadMessage::Fold),
    ] {
        invalid(ok(lines, ""), why);
    }
    let lines =
        "A: b \r\n\t c  \r\n \r\n d\r\nB:\r\n  e\r\nC: f\r\n\t\r\nD \t: g\r\nContent-Length: 1\n";
    let answer = get(ok(lines, "x")).answer.unwrap();
    assert_eq!(answer.field("a"), Some("b c d"));
    assert_eq!(answer.field("b"), Some("e"));
    assert_eq!(answer.field("c"), Some("f"));
    assert_eq!(answer.field("d"), Some("g"));
    let bare = get("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc");
    assert_eq!(bare.answer.unwrap().body, "abc");
}

#[test]
fn interim_answers_come_to_an_end() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    let most = MOST_INTERIM as usize;
    let mut client = Client::get();
    client.receive(interim.repeat(most) + &ok("Content-Length: 2\r\n", "hi"));
    assert_eq!(client.interim, most);
    assert_eq!(client.answer.as_ref().unwrap().body, "hi");
    // The next request has as many.
    assert_eq!(client.finish(), Next::Request);
    let request = Request::new(Method::Get, b"/");
    let mut connection = client.connection;
    for left in [MOST_INTERIM, 2, 0] {
        if left != MOST_INTERIM {
            connection.set_max_interim(left);
        }
        connection
            .request(&request, [].into_iter(), &mut Vec::new())
            .unwrap();
        let flood = interim.repeat(left as usize + 1);
        let mut input = flood.as_bytes();
        for _ in 0..left {
            assert_eq!(connection.read(&mut input), Ok(Step::Interim));
        }
        let refused = connection.read(&mut input);
        assert_eq!(refused, Err(Error::Invalid(BadMessage::TooManyInterim)));
        assert!(!connection.keep_alive());
        // What was set stays for a new connection.
        connection.reset();
    }
}

#[test]
fn interim_answers_are_skipped() {
    let mut client = get("HTTP/1.1 100 Continue\r\n\r\n");
    client.receive("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
    assert!(!client.complete);
    client.receive(ok("Content-Length: 0\r\n", ""));
    assert_eq!(client.interim, 3);
    let answer = client.answer.unwrap();
    assert_eq!(answer.first, "200 OK 1.1");
    assert_eq!(answer.field("link"), None);
}

// ---- Whether the connection lives on ----

#[test]
fn the_connection_lives_on_if_both_sides_let_it() {
    let full = |first: &str, lines: &str| format!("{first}\r\nContent-Length: 0\r\n{lines}\r\n");
    for (asked, first, lines, lives) in [
        (&[][..], "HTTP/1.1 200 OK", "", true),
        (&[], "HTTP/1.1 200 OK", "Connection: close\r\n", false),
        (&[], "HTTP/1.1 200 OK", "Connection: foo, Close\r\n", false),
        (&[], "HTTP/1.0 200 OK", "", false),
        (&[], "HTTP/1.0 200 OK", "Connection: keep-alive\r\n", true),
        (&[("Connection", "close")], "HTTP/1.1 200 OK", "", false),
        (&[("Connection", "keep-alive")], "HTTP/1.1 200 OK", "", true),
    ] {
        let request = Request::new(Method::Get, b"/");
        let mut client = Client::ask(&request, asked, Limits::default());
        client.receive(full(first, lines));
        assert_eq!(client.connection.keep_alive(), lives);
        assert_eq!(client.finish() == Next::Request, lives, "{asked:?} {lines}");
    }
    let request = Request {
        version: Version::Http10,
        ..Request::new(Method::Get, b"/")
    };
    let mut client = Client::ask(&request, &[], Limits::default());
    client.receive(full("HTTP/1.1 200 OK", ""));
    assert_eq!(client.finish(), Next::Close);
}

#[test]
fn what_nobody_asked_for_is_no_answer_to_the_next_request() {
    let answer = ok("Content-Length: 3\r\n", "abc");
    for behind in ["x", &answer] {
        let mut client = get(answer.clone() + behind);
        assert!(client.complete);
        assert_eq!(client.finish(), Next::Close);
    }
    // It comes later.
    let mut client = get(&answer);
    assert_eq!(client.finish(), Next::Request);
    assert_eq!(client.connection.read(&mut &b""[..]), Ok(Step::Wait));
    let unasked = client.connection.read(&mut &b"HTTP"[..]);
    assert_eq!(unasked, Err(Error::Invalid(BadMessage::Unasked)));
    assert!(!client.connection.keep_alive());

    let mut never = Connection::new();
    assert!(never.read(&mut &b"HTTP"[..]).is_err());
}

#[test]
fn a_body_that_the_program_has_coded_ends_the_connection() {
    let request = Request {
        body: 5,
        ..Request::new(Method::Post, b"/")
    };
    let coded = [("Transfer-Encoding", "chunked")];
    let mut client = Client::ask(&request, &coded, Limits::default());
    client.receive(ok("Content-Length: 0\r\n", ""));
    assert!(client.complete);
    assert_eq!(client.finish(), Next::Close);
}

#[test]
fn a_request_that_was_not_sent_whole_ends_the_connection() {
    let mut client = get(ok("Content-Length: 0\r\n", ""));
    assert_eq!(client.connection.finish(&&b""[..], false), Next::Close);
}

#[test]
fn one_request_follows_the_other() {
    let mut client = get(ok("Content-Length: 3\r\nA: b\r\n", "abc"));
    assert_eq!(client.finish(), Next::Request);
    client.ask_again(&Request::new(Method::Head, b"/2"), &[]);
    assert!(client.connection.is_asked());
    assert!(client.connection.response().is_none());
    client.receive(ok("Content-Length: 5\r\n", ""));
    let answer = client.answer.clone().unwrap();
    assert_eq!((answer.body.as_str(), answer.field("a")), ("", None));
    assert_eq!(client.finish(), Next::Request);
}

#[test]
fn the_end_of_an_idle_connection_is_no_error() {
    let mut client = get(ok("Content-Length: 0\r\n", ""));
    assert_eq!(client.finish(), Next::Request);
    assert_eq!(client.connection.closed(), Ok(Step::Wait));
    let request = Request::new(Method::Get, b"/");
    let asked = client
        .connection
        .request(&request, [].into_iter(), &mut Vec::new());
    assert_eq!(asked, Err(BadHead::NotNow));
    client.connection.reset();
    client.ask_again(&request, &[]);
    client.receive(ok("Content-Length: 0\r\n", ""));
    assert!(client.complete);
}

#[test]
fn a_tunnel_is_left_alone() {
    let connect = Request::new(Method::Connect, b"h:80");
    for (request, answer) in [
        (connect, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw"),
        (
            connect,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nraw",
        ),
        (
            Request::new(Method::Get, b"/"),
            "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nraw",
        ),
    ] {
        let mut client = Client::ask(&request, &[], Limits::default());
        client.receive(answer);
        assert_eq!(client.answer.as_ref().unwrap().body, "");
        assert!(client.connection.is_tunnel());
        assert_eq!(client.finish(), Next::Request);
        let mut input = &b"raw"[..];
        assert_eq!(client.connection.read(&mut input), Ok(Step::Wait));
        assert_eq!(input, b"raw");
    }
    let mut refused = Client::ask(&connect, &[], Limits::default());
    refused.receive("HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(refused.answer.unwrap().body, "abc");
    assert!(!refused.connection.is_tunnel());
}
