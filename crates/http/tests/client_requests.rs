//! What a client writes, and when its body may follow.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use ferrevent_http::client::{Connection, Request, Sending, is_target};
use ferrevent_http::server::Next;
use ferrevent_http::{BadHead, Left, Method, Step, Version};

const EXPECT: (&[u8], &[u8]) = (b"Expect", b"100-continue");

fn ask(
    connection: &mut Connection,
    request: &Request<'_>,
    fields: &[(&'static [u8], &'static [u8])],
) -> String {
    let mut out = Vec::new();
    connection
        .request(request, fields.iter().copied(), &mut out)
        .unwrap();
    String::from_utf8(out).unwrap()
}

fn post(body: u64) -> Request<'static> {
    Request {
        body,
        ..Request::new(Method::Post, b"/")
    }
}

#[test]
fn a_body_that_the_program_codes_has_no_length() {
    let fields: [(&[u8], &[u8]); 2] = [
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"13"),
    ];
    let written = ask(&mut Connection::new(), &post(13), &fields);
    assert_eq!(
        written,
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
}

#[test]
fn what_is_for_proxies_is_left_out() {
    let fields: [(&[u8], &[u8]); 1] = [(b"proxy-connection", b"close")];
    let request = Request::new(Method::Get, b"/");
    let written = ask(&mut Connection::new(), &request, &fields);
    assert_eq!(written, "GET / HTTP/1.1\r\n\r\n");
}

#[test]
fn blanks_in_a_target_are_coded_and_lines_do_not_end_in_it() {
    let request = Request::new(Method::Get, b" a  b ");
    let written = ask(&mut Connection::new(), &request, &[]);
    assert_eq!(written, "GET %20a%20%20b%20 HTTP/1.1\r\n\r\n");
    for target in [&b""[..], b"/\r\nX: y", b"/\n", b"/\0", b"/\x7f", b"/\t"] {
        assert!(!is_target(target), "{target:?}");
        let request = Request::new(Method::Get, target);
        let mut out = Vec::new();
        let asked = Connection::new().request(&request, [].into_iter(), &mut out);
        assert!(asked.is_err() && out.is_empty());
    }
}

#[test]
fn a_body_is_held_back_until_the_server_wants_it() {
    let mut connection = Connection::new();
    ask(&mut connection, &post(3), &[EXPECT]);
    assert!(connection.holds_body());
    let mut input = &b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\nX: y\r\n\r\n"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Interim));
    assert!(connection.holds_body());
    assert_eq!(connection.read(&mut input), Ok(Step::Interim));
    assert!(!connection.holds_body());
    let head = connection.response().unwrap();
    assert_eq!(head.code(), 100);
    assert_eq!(head.fields().find(b"X"), Some(&b"y"[..]));
    let mut input = &b"HTTP/1.1 204 No Content\r\n\r\n"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Head));
    let head = connection.response().unwrap();
    assert_eq!((head.code(), head.fields().len()), (204, 0));
    assert_eq!(connection.read(&mut input), Ok(Step::Complete));
    assert_eq!(connection.finish(&input, true), Next::Request);
}

#[test]
fn a_body_that_nobody_wants_ends_the_connection() {
    let mut connection = Connection::new();
    ask(&mut connection, &post(3), &[EXPECT]);
    let mut input = &b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Head));
    assert_eq!(connection.read(&mut input), Ok(Step::Complete));
    assert!(connection.holds_body() && !connection.is_told_to_close());
    assert_eq!(connection.finish(&input, true), Next::Close);
}

#[test]
fn nothing_is_held_back_without_a_body_or_by_http_1_0() {
    let mut connection = Connection::new();
    ask(&mut connection, &post(0), &[EXPECT]);
    assert!(!connection.holds_body());
    let old = Request {
        version: Version::Http10,
        ..post(3)
    };
    connection.reset();
    ask(&mut connection, &old, &[EXPECT]);
    assert!(!connection.holds_body());
}

#[test]
fn what_is_left_of_a_body_is_known() {
    let mut connection = Connection::new();
    ask(&mut connection, &Request::new(Method::Get, b"/"), &[]);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let mut input = head.as_bytes();
    assert_eq!(connection.read(&mut input), Ok(Step::Head));
    assert!(connection.is_told_to_close());
    assert_eq!(connection.left(), Left::OfChunk(0));
    let mut input = &b"5\r\nab"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Body(2)));
    assert_eq!(connection.left(), Left::OfChunk(3));
    let mut input = &b"cde\r\n0\r\n\r\n"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Body(3)));
    assert_eq!(connection.left(), Left::OfChunk(0));

    let mut connection = Connection::new();
    ask(&mut connection, &Request::new(Method::Get, b"/"), &[]);
    let mut input = &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Head));
    assert_eq!(connection.left(), Left::Bytes(5));
    assert_eq!(connection.read(&mut input), Ok(Step::Body(2)));
    assert_eq!(connection.left(), Left::Bytes(3));
}

// ---- Bodies in parts ----

/// The head, and the body as these parts make it.
fn in_parts(
    request: &Request<'_>,
    fields: &[(&'static [u8], &'static [u8])],
    parts: &[&str],
) -> (String, Sending) {
    let mut out = Vec::new();
    let mut sending = Connection::new()
        .start(request, fields.iter().copied(), &mut out)
        .unwrap();
    for text in parts {
        assert!(sending.is_open() && !sending.is_ended());
        let part = sending.part(text.len() as u64, &mut out);
        out.extend(&text.as_bytes()[..part.send as usize]);
        out.extend(part.after);
    }
    sending.end(&mut out).unwrap();
    (String::from_utf8(out).unwrap(), sending)
}

#[test]
fn a_body_in_parts_has_a_length_or_chunks() {
    let put = Request::new(Method::Put, b"/");
    let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (written, sending) = in_parts(&put, &[], &["ab", "", "c"]);
    assert_eq!(written, format!("{chunked}2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"));
    assert!(sending.is_whole() && !sending.is_open());
    // A coding that the program names is not done by it.
    let codings: [(&[u8], &[u8]); 2] = [
        (b"Transfer-Encoding", b"gzip, chunked"),
        (b"Content-Length", b"3"),
    ];
    for fields in [&codings[..], &codings[..1], &[(b"Content-Length", b"x")]] {
        let (written, _) = in_parts(&put, fields, &[]);
        assert_eq!(written, format!("{chunked}0\r\n\r\n"));
    }
    let length: [(&[u8], &[u8]); 1] = [(b"Content-Length", b"3")];
    for version in [Version::Http10, Version::Http11] {
        let put = Request { version, ..put };
        let (written, sending) = in_parts(&put, &length, &["ab", "cd", "e"]);
        let minor = version.minor();
        let head = format!("PUT / HTTP/1.{minor}\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(written, format!("{head}abc"), "no more than it says");
        assert!(sending.is_whole());
    }
    let old = Request {
        version: Version::Http10,
        ..put
    };
    let mut connection = Connection::new();
    let mut out = Vec::new();
    let refused = connection.start(&old, [].into_iter(), &mut out);
    assert_eq!((refused, &out[..]), (Err(BadHead::Length), &b""[..]));
    assert!(!connection.is_asked());
}

#[test]
fn a_body_in_parts_ends_when_it_is_as_long_as_it_says() {
    let put = Request::new(Method::Put, b"/");
    let length: [(&[u8], &[u8]); 1] = [(b"Content-Length", b"3")];
    let mut out = Vec::new();
    let start = |out: &mut Vec<u8>| {
        let fields = length.iter().copied();
        Connection::new().start(&put, fields, out).unwrap()
    };
    let mut sending = start(&mut out);
    out.clear();
    for _ in 0..2 {
        assert_eq!(sending.part(1, &mut out).send, 1);
        assert_eq!(sending.end(&mut out), Err(BadHead::Length));
        assert!(sending.is_open() && !sending.is_whole());
    }
    assert_eq!(sending.part(5, &mut out).send, 1);
    assert_eq!(sending.end(&mut out), Ok(()));
    assert_eq!(sending.part(5, &mut out).send, 0);
    assert!(sending.is_whole() && sending.is_ended());
    sending.stop();
    assert!(sending.is_whole(), "it has been sent");

    let mut stopped = start(&mut out);
    out.clear();
    stopped.stop();
    assert_eq!(stopped.part(5, &mut out).send, 0);
    assert!(!stopped.is_open() && !stopped.is_ended());
    assert_eq!(stopped.end(&mut out), Ok(()));
    assert!(stopped.is_ended() && !stopped.is_whole());
    assert_eq!(out, b"");
}

#[test]
fn an_error_says_that_the_rest_of_a_body_is_not_wanted() {
    for (answer, refuses) in [
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 302 There\r\n\r\n", false),
        ("HTTP/1.1 413 No\r\n\r\n", true),
        ("HTTP/1.1 500 No\r\n\r\n", true),
    ] {
        let mut connection = Connection::new();
        let request = Request::new(Method::Put, b"/");
        let fields = [EXPECT];
        connection
            .start(&request, fields.into_iter(), &mut Vec::new())
            .unwrap();
        assert!(connection.holds_body() && !connection.refuses_body());
        let mut input = &b"HTTP/1.1 100 Continue\r\n\r\n"[..];
        assert_eq!(connection.read(&mut input), Ok(Step::Interim));
        assert!(!connection.holds_body() && !connection.refuses_body());
        assert_eq!(connection.read(&mut answer.as_bytes()), Ok(Step::Head));
        assert_eq!(connection.refuses_body(), refuses);
    }
}
