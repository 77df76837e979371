//! Answers that are given before the request's body has come, and the last request of a connection.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use ferrevent_http::server::{Connection, Next, Reply, ReplyBody, Sends};
use ferrevent_http::{BadHead, Left, Limits, Step};

const PUT: &str = "PUT / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";

/// A server that has read a head, and lets the rest be read ahead of the answer. Whether there is one.
fn early(head: &str) -> (Connection, bool) {
    let mut connection = Connection::new();
    assert_eq!(connection.read(&mut head.as_bytes()), Ok(Step::Head));
    let more = connection.answer_early();
    (connection, more)
}

/// Answers, and gives the head back.
fn answer(connection: &mut Connection, body: ReplyBody) -> String {
    let mut out = Vec::new();
    let reply = Reply {
        body,
        ..Reply::default()
    };
    connection.reply(&reply, [].into_iter(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn before_there_is_a_head_nothing_can_be_answered() {
    let mut connection = Connection::new();
    assert!(!connection.answer_early());
    assert_eq!(connection.read(&mut &b"GET /"[..]), Ok(Step::Wait));
    assert!(!connection.answer_early());
    let reply = connection.reply(&Reply::default(), [].into_iter(), &mut Vec::new());
    assert_eq!(reply, Err(BadHead::NotNow));
}

#[test]
fn a_request_without_a_body_is_complete_with_its_head() {
    let (mut connection, more) = early("GET / HTTP/1.1\r\n\r\n");
    assert!(!more && !connection.wants_input());
    let head = answer(&mut connection, ReplyBody::Whole(0));
    assert!(!head.contains("close"), "{head}");
    assert_eq!(connection.written(), Next::Request);
    assert_eq!(
        connection.read(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]),
        Ok(Step::Head)
    );
}

#[test]
fn an_answer_as_a_whole_ends_the_connection_if_the_body_is_still_to_come() {
    let (mut connection, more) = early(PUT);
    assert!(more && connection.wants_input());
    assert_eq!(connection.left(), Left::Bytes(4));
    let head = answer(&mut connection, ReplyBody::Whole(0));
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    // The body is still told from what follows it.
    let mut input = &b"bodyGET / HTTP/1.1\r\n\r\n"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Body(4)));
    input = &input[4..];
    assert_eq!(connection.read(&mut input), Ok(Step::Complete));
    assert_eq!(connection.read(&mut input), Ok(Step::Wait));
    assert_eq!(connection.written(), Next::Close);
}

#[test]
fn an_answer_in_parts_goes_beside_the_body() {
    for (comes_first, next) in [(true, Next::Request), (false, Next::Close)] {
        let (mut connection, _) = early(PUT);
        let head = answer(&mut connection, ReplyBody::Parts);
        assert!(!head.contains("close"), "{head}");
        if comes_first {
            assert_eq!(connection.read(&mut &b"body"[..]), Ok(Step::Body(4)));
            assert_eq!(connection.read(&mut &b""[..]), Ok(Step::Complete));
        }
        connection.end(&mut Vec::new());
        assert_eq!(connection.keep_alive(), comes_first);
        assert_eq!(connection.written(), next);
        assert!(!connection.wants_input() || comes_first);
    }
}

#[test]
fn a_body_that_turns_out_to_be_none_ends_the_connection() {
    let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut connection, _) = early(chunked);
    let refusal = connection.read(&mut &b"+1\r\n"[..]).unwrap_err();
    assert_eq!(refusal.code(), 400);
    let head = answer(&mut connection, ReplyBody::Whole(0));
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");

    let (mut connection, _) = early(chunked);
    answer(&mut connection, ReplyBody::Parts);
    assert!(connection.read(&mut &b"+1\r\n"[..]).is_err());
    assert_eq!(
        connection.read(&mut &b"GET / HTTP/1.1\r\n\r\n"[..]),
        Ok(Step::Wait)
    );
    connection.end(&mut Vec::new());
    assert_eq!(connection.written(), Next::Close);
}

#[test]
fn who_was_not_told_to_continue_is_not_told_any_more() {
    let expecting = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let (mut connection, more) = early(expecting);
    assert!(more);
    assert_eq!(connection.read(&mut &b""[..]), Ok(Step::Wait));
    let head = answer(&mut connection, ReplyBody::Parts);
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    connection.end(&mut Vec::new());
    assert_eq!(connection.written(), Next::Close);
}

#[test]
fn an_early_answer_that_is_refused_changes_nothing() {
    let expecting = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut connection = Connection::new();
    let mut out = Vec::new();
    let usual = Reply::default();
    let early = connection.reply_early(&usual, [].into_iter(), &mut out);
    assert_eq!(early, Err(BadHead::NotNow));
    assert_eq!(connection.read(&mut expecting.as_bytes()), Ok(Step::Head));
    let field = [(&b"X"[..], &b"a\r\nb"[..])];
    let refused = connection.reply_early(&usual, field.into_iter(), &mut out);
    assert_eq!(refused, Err(BadHead::Field));
    let bad = Reply { code: 20, ..usual };
    let refused = connection.reply_early(&bad, [].into_iter(), &mut out);
    assert_eq!(refused, Err(BadHead::Code));
    assert_eq!(out, b"");
    assert_eq!(connection.read(&mut &b""[..]), Ok(Step::Continue));
    assert_eq!(connection.read(&mut &b"body"[..]), Ok(Step::Body(4)));
    let sends = connection.reply_early(&usual, [].into_iter(), &mut out);
    assert_eq!(sends, Ok(Sends::Body(0)));
    assert!(!out.windows(5).any(|at| at == b"close"), "it has all come");
}

#[test]
fn what_is_refused_cannot_be_answered_otherwise() {
    let mut connection = Connection::new();
    connection.set_lingering(true);
    connection.set_limits(Limits {
        body: 3,
        ..Limits::default()
    });
    assert_eq!(connection.read(&mut PUT.as_bytes()), Ok(Step::Head));
    assert!(!connection.answer_early());
    assert_eq!(connection.read(&mut &b"body"[..]), Ok(Step::Discard(4)));
    assert_eq!(connection.read(&mut &b""[..]).unwrap_err().code(), 413);
}

#[test]
fn the_last_request_says_so() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    // Before it has come, before its answer, in the middle of it, and after it.
    for at in 0..4 {
        let mut connection = Connection::new();
        let last = |now: usize, connection: &mut Connection| {
            if now == at {
                connection.set_last();
            }
        };
        last(0, &mut connection);
        let mut input = get.as_bytes();
        while connection.read(&mut input) != Ok(Step::Complete) {}
        last(1, &mut connection);
        let head = answer(&mut connection, ReplyBody::Parts);
        assert_eq!(head.contains("\r\nConnection: close\r\n"), at < 2, "{head}");
        last(2, &mut connection);
        connection.end(&mut Vec::new());
        last(3, &mut connection);
        assert!(!connection.keep_alive());
        assert_eq!(connection.written(), Next::Close);
    }
}
