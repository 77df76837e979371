//! First lines and fields that are not what they should be: each row of the matrix of what libevent takes is here.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod drive;

use drive::{one_body, post, refuses, serve};
use ferrevent_http::BadMessage;

// ---- Header fields ----

#[test]
fn a_zero_byte_and_a_bare_cr_are_refused_in_values() {
    for value in ["a\0b", "\0", "a\rb", "a\r", "\rContent-Length: 3"] {
        let input = post(&format!("A: {value}\r\n"), "");
        refuses(input, BadMessage::FieldValue, 400);
    }
}

#[test]
fn the_name_of_a_field_is_a_token() {
    for line in [
        ": x",
        "X : y",
        "X Y: y",
        "X\t: y",
        "X\0: y",
        "(X): y",
        "X\u{e9}: y",
        "no colon",
        "X",
        "X\r: y",
    ] {
        let input = post(&format!("{line}\r\n"), "");
        refuses(input, BadMessage::FieldName, 400);
    }
}

#[test]
fn a_field_that_goes_on_in_the_next_line_is_refused() {
    for lines in [
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        "A: b\r\n \r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Content-Length:\r\n 3\r\n",
    ] {
        refuses(post(lines, ""), BadMessage::Fold, 400);
    }
    let before_any = "GET / HTTP/1.1\r\n A: b\r\n\r\n";
    refuses(before_any, BadMessage::Fold, 400);
}

#[test]
fn blanks_around_values_are_no_part_of_them() {
    let lines = "A:b\r\nB: \t c \t\r\nC:\r\nD: \t\r\nE: \u{e4} \u{1}\r\nA: again\r\n";
    let served = one_body(post(lines, ""), "");
    let request = &served.requests[0];
    assert_eq!(request.field("a"), Some("b"));
    assert_eq!(request.field("b"), Some("c"));
    assert_eq!(request.field("c"), Some(""));
    assert_eq!(request.field("d"), Some(""));
    assert_eq!(request.field("e"), Some("\u{c3}\u{a4} \u{1}"));
    assert_eq!(request.fields.last().unwrap().1, "again");
}

#[test]
fn all_lines_end_in_the_same_way() {
    let served = serve("POST / HTTP/1.1\nHost: h\nContent-Length: 3\n\nabc");
    assert_eq!(served.requests.len(), 1);
    assert_eq!(served.requests[0].body, "abc");
    for input in [
        "GET / HTTP/1.1\r\nHost: h\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\r\n",
    ] {
        let served = serve(input);
        assert_eq!(served.refused, Some(BadMessage::LineEnd), "{input:?}");
    }
}

#[test]
fn there_is_one_host_at_most_and_it_is_one() {
    for lines in [
        "Host: h\r\nHost: h\r\n",
        "Host: h\r\nhost: other\r\n",
        "Host: a b\r\n",
        "Host: user@h\r\n",
        "Host: h/path\r\n",
        "Host: h\\\r\n",
    ] {
        let input = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        refuses(input, BadMessage::Host, 400);
    }
    for lines in [
        "",
        "Host:\r\n",
        "Host: [::1]:80\r\n",
        "Host: a-b_c.d:8080\r\n",
    ] {
        let served = serve(format!("GET / HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(served.requests.len(), 1, "{lines:?}");
    }
}

// ---- The first line ----

#[test]
fn versions_other_than_1_0_and_1_1_are_refused() {
    for version in [
        "HTTP/1.2",
        "HTTP/1.4294967297",
        "HTTP/01.1",
        "HTTP/1.01",
        "HTTP/0.9",
        "HTTP/2.0",
        "http/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1x",
        "HTTP/1.",
        "",
    ] {
        refuses(
            format!("GET / {version}\r\nHost: h\r\n\r\n"),
            BadMessage::Version,
            400,
        );
    }
}

#[test]
fn a_request_line_has_three_parts_and_two_spaces() {
    for (line, why) in [
        ("GET /", BadMessage::FirstLine),
        ("GET", BadMessage::FirstLine),
        ("", BadMessage::FirstLine),
        (" GET / HTTP/1.1", BadMessage::FirstLine),
        ("\tGET / HTTP/1.1", BadMessage::FirstLine),
        ("GET\t/ HTTP/1.1", BadMessage::FirstLine),
        ("G@T / HTTP/1.1", BadMessage::FirstLine),
        ("GET  / HTTP/1.1", BadMessage::Version),
        ("GET /  HTTP/1.1", BadMessage::Version),
        ("GET /a b HTTP/1.1", BadMessage::Version),
        ("GET  HTTP/1.1", BadMessage::Target),
        ("\0 / HTTP/1.1", BadMessage::FirstLine),
        ("\u{16}\u{3}\u{1}\u{0}garbage", BadMessage::FirstLine),
    ] {
        let input = format!("{line}\r\nHost: h\r\n\r\n");
        let served = serve(input);
        assert_eq!(served.refused, Some(why), "{line:?}");
        assert!(served.closed);
    }
}

#[test]
fn a_target_is_a_path_or_a_uri() {
    for target in [
        "GET /\0a",
        "GET /\u{1}",
        "GET /a\tb",
        "GET /\u{7f}",
        "GET http://[::1/",
        "GET http://h:99999/",
        "CONNECT /",
        "CONNECT //h:80",
        "CONNECT h:80/x",
        "CONNECT u@h:80",
        "CONNECT h:x",
        "CONNECT *?",
        "CONNECT :80",
    ] {
        let input = format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n");
        refuses(input, BadMessage::Target, 400);
    }
    for target in [
        "GET /",
        "GET //h/p",
        "GET /a?b#c",
        "GET http://h:80/a?b",
        "GET *",
        "OPTIONS *",
        "GET /%zz",
        "GET /\u{e4}",
        "CONNECT h:80",
        "CONNECT [::1]:80",
        "FOO /",
        "get /",
    ] {
        let served = serve(format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(served.requests.len(), 1, "{target:?}");
    }
}

#[test]
fn a_bad_line_is_refused_before_the_head_is_complete() {
    for piece in [
        "garbage\r\n",
        "GET / HTTP/1.1\r\ngarbage\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n",
    ] {
        let served = serve(piece);
        assert!(served.refused.is_some(), "{piece:?}");
    }
}
