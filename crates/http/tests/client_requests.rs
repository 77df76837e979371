//! What a client writes, and when its body may follow.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use ferrevent_http::client::{Connection, Request, is_target};
use ferrevent_http::server::Next;
use ferrevent_http::{Left, Method, Step, Version};

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
