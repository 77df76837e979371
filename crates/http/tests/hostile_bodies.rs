//! Bodies whose end is not where it seems to be: each row of the matrix of what libevent takes, or took, and that lets
//! requests be smuggled, is here; and limits.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod drive;

use drive::{Server, one_body, post, refuses, serve, serve_within};
use ferrevent_http::{BadMessage, Limits};

/// A body whose end is not where an attacker may want it to be: a request is at its end.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

// ---- Where the body ends ----

#[test]
fn a_length_beside_a_transfer_coding_is_refused() {
    let chunks = format!("3\r\nabc\r\n0\r\n\r\n{SMUGGLED}");
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: gzip\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: identity\r\n",
        "tRANSFER-eNCODING: chunked\r\ncONTENT-lENGTH: 0\r\n",
    ] {
        refuses(post(lines, &chunks), BadMessage::Codings, 400);
    }
}

#[test]
fn chunked_must_be_the_last_coding_and_be_there_once() {
    let chunks = format!("3\r\nabc\r\n0\r\n\r\n{SMUGGLED}");
    for lines in [
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: \r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: x chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,\r\n",
    ] {
        refuses(post(lines, &chunks), BadMessage::Codings, 400);
    }
}

#[test]
fn chunked_after_other_codings_ends_the_body() {
    for lines in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ,gzip,,\tchunked ,\r\n",
        "Transfer-Encoding: CHUNKED\r\n",
    ] {
        one_body(post(lines, "3\r\nabc\r\n0\r\n\r\n"), "abc");
    }
}

#[test]
fn a_transfer_coding_in_http_1_0_is_refused() {
    let input = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let served = serve(input);
    assert_eq!(served.refused, Some(BadMessage::Codings));
    assert!(served.closed);
}

#[test]
fn several_lengths_are_refused() {
    for lines in [
        "Content-Length: 3\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 34\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: 3,\r\n",
    ] {
        refuses(
            post(lines, &format!("abc{SMUGGLED}")),
            BadMessage::Length,
            400,
        );
    }
}

#[test]
fn a_length_is_made_of_digits() {
    for length in [
        "+3", "-3", "-0", "0x3", "3x", "3 3", "3.0", "", "３", "3;", "3\u{b}", "\"3\"",
    ] {
        let lines = format!("Content-Length: {length}\r\n");
        refuses(post(&lines, "abc"), BadMessage::Length, 400);
    }
    for length in ["3", "003", " 3 ", "\t3"] {
        one_body(post(&format!("Content-Length:{length}\r\n"), "abc"), "abc");
    }
}

#[test]
fn a_length_beyond_all_numbers_is_too_long() {
    for length in [
        "9223372036854775808",
        "18446744073709551616",
        &"9".repeat(400),
    ] {
        let input = post(&format!("Content-Length: {length}\r\n"), "");
        let limits = Limits {
            body: i64::MAX as u64,
            ..Limits::default()
        };
        let served = serve_within(limits, input);
        assert_eq!(served.refused, Some(BadMessage::BodyTooLong));
    }
}

#[test]
fn the_body_of_any_method_is_read() {
    for method in ["GET", "HEAD", "TRACE", "DELETE", "OPTIONS", "PATCH", "FOO"] {
        let input = format!(
            "{method} /first HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{SMUGGLED}",
            SMUGGLED.len()
        );
        one_body(input, SMUGGLED);
    }
}

// ---- Chunks ----

#[test]
fn a_chunk_that_is_none_is_refused() {
    for body in [
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3 ;a\r\nabc\r\n0\r\n\r\n",
        "\t3\r\nabc\r\n0\r\n\r\n",
        "g\r\n",
        ";a=b\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
        "\n3\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\r\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\r\n\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\0b\r\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
    ] {
        let input = post("Transfer-Encoding: chunked\r\n", body);
        refuses(input, BadMessage::Chunk, 400);
    }
}

#[test]
fn extensions_of_chunks_are_skipped_up_to_a_limit() {
    let with = |extension: &str| {
        post(
            "Transfer-Encoding: chunked\r\n",
            &format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n"),
        )
    };
    for extension in [
        ";a=b",
        ";a",
        ";",
        "; a = \"b;c\" ;d",
        &format!(";{}", "x".repeat(4000)),
    ] {
        one_body(with(extension), "abc");
    }
    refuses(
        with(&format!(";{}", "x".repeat(5000))),
        BadMessage::Chunk,
        400,
    );
}

#[test]
fn sizes_of_chunks_are_hexadecimal_in_any_case() {
    let body = "A\r\n0123456789\r\n0a\r\n0123456789\r\n0000000000000001\r\nx\r\n00\r\n\r\n";
    let served = one_body(
        post("Transfer-Encoding: chunked\r\n", body),
        "01234567890123456789x",
    );
    assert_eq!(
        served.requests[0].field("transfer-encoding"),
        Some("chunked")
    );
}

// ---- Trailers ----

#[test]
fn a_trailer_adds_nothing_to_the_head() {
    let body = "3\r\nabc\r\n0\r\nX-Admin: yes\r\nContent-Length: 7\r\nHost: other\r\n\r\n";
    let served = one_body(post("Transfer-Encoding: chunked\r\n", body), "abc");
    let fields = &served.requests[0].fields;
    let names: Vec<_> = fields.iter().map(|field| &field.0[..]).collect();
    assert_eq!(names, ["Host", "Transfer-Encoding"]);
}

#[test]
fn a_trailer_is_judged_as_a_head_is() {
    for (trailer, why) in [
        (" X: y\r\n\r\n", BadMessage::Fold),
        ("\tX: y\r\n\r\n", BadMessage::Fold),
        ("X: y\r\n z\r\n\r\n", BadMessage::Fold),
        ("no colon\r\n\r\n", BadMessage::FieldName),
        ("X : y\r\n\r\n", BadMessage::FieldName),
        (": y\r\n\r\n", BadMessage::FieldName),
        ("X: y\0\r\n\r\n", BadMessage::FieldValue),
        ("X: y\rz\r\n\r\n", BadMessage::FieldValue),
        ("X: y\n\r\n", BadMessage::LineEnd),
        ("\n", BadMessage::LineEnd),
    ] {
        let body = format!("3\r\nabc\r\n0\r\n{trailer}");
        refuses(post("Transfer-Encoding: chunked\r\n", &body), why, 400);
    }
}

#[test]
fn a_trailer_counts_for_the_limit_of_the_head() {
    // 15 + 7 + 26 of the head, so that 12 are left.
    let limits = Limits {
        head: 60,
        ..Limits::default()
    };
    let with = |trailer: &str| {
        let body = format!("3\r\nabc\r\n0\r\n{trailer}\r\n");
        serve_within(limits, post("Transfer-Encoding: chunked\r\n", &body))
    };
    assert_eq!(with("A: 3456\r\nB: 01\r\n").requests.len(), 1);
    assert_eq!(
        with("A: 3456\r\nB: 012\r\n").refused,
        Some(BadMessage::HeadTooLong)
    );
}

// ---- Limits ----

#[test]
fn the_limit_of_the_head_counts_lines_without_their_ends() {
    let limits = Limits {
        head: 40,
        ..Limits::default()
    };
    for (n, fits) in [(22, true), (23, true), (24, false)] {
        // 14 of the first line, and 3 before the value.
        for end in ["\r\n", "\n"] {
            let input = format!("GET / HTTP/1.1{end}A: {}{end}{end}", "x".repeat(n));
            let served = serve_within(limits, input);
            assert_eq!(served.requests.len() == 1, fits);
            assert_eq!(served.refused == Some(BadMessage::HeadTooLong), !fits);
        }
    }
}

#[test]
fn a_line_without_an_end_is_refused_at_the_limit() {
    let limits = Limits {
        head: 40,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    server.receive(b"GET /");
    server.receive(&[b'x'; 35]);
    assert_eq!(server.served.refused, None);
    // This one may be the beginning of the line's end.
    server.receive(b"\r");
    assert_eq!(server.served.refused, None);
    server.receive(b"x");
    assert_eq!(server.served.refused, Some(BadMessage::HeadTooLong));
}

#[test]
fn a_body_over_the_limit_is_refused_with_413() {
    let limits = Limits {
        body: 10,
        ..Limits::default()
    };
    for (lines, body, fits) in [
        ("Content-Length: 10", "0123456789", true),
        ("Content-Length: 11", "", false),
        ("Content-Length: 11\r\nExpect: 100-continue", "", false),
        (
            "Transfer-Encoding: chunked",
            "a\r\n0123456789\r\n0\r\n\r\n",
            true,
        ),
        (
            "Transfer-Encoding: chunked",
            "6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\n",
            true,
        ),
        ("Transfer-Encoding: chunked", "b\r\n", false),
        ("Transfer-Encoding: chunked", "6\r\n012345\r\n5\r\n", false),
        ("Transfer-Encoding: chunked", "ffffffffffffffff\r\n", false),
        (
            "Transfer-Encoding: chunked",
            "1\r\nx\r\nffffffffffffffff\r\n",
            false,
        ),
    ] {
        let served = serve_within(limits, post(&format!("{lines}\r\n"), body));
        assert_eq!(served.requests.len() == 1, fits, "{lines} {body}");
        if !fits {
            assert_eq!(served.refused, Some(BadMessage::BodyTooLong));
            assert!(served.output.starts_with("HTTP/1.1 413 "));
            assert!(!served.output.contains("100 Continue"));
        }
    }
}

#[test]
fn a_lingering_server_reads_the_body_that_it_refuses() {
    let limits = Limits {
        body: 10,
        ..Limits::default()
    };
    let mut server = Server::new(limits);
    server.connection.set_lingering(true);
    server.receive(post("Content-Length: 20\r\n", "0123456789").as_bytes());
    assert_eq!(server.served.output, "");
    server.receive(b"012345678");
    assert_eq!(server.served.refused, None);
    server.receive(b"9GET / HTTP/1.1\r\n\r\n");
    assert_eq!(server.served.refused, Some(BadMessage::BodyTooLong));
    assert_eq!(server.served.discarded, 20);
    assert_eq!(server.served.requests, []);
    assert!(server.served.closed);
}

// ---- Expectations ----

#[test]
fn an_unknown_expectation_is_refused_with_417() {
    for lines in [
        "Expect: 200-ok\r\nContent-Length: 3\r\n",
        "Expect: 100-continue\r\nExpect: foo\r\nContent-Length: 3\r\n",
        "Expect:\r\nTransfer-Encoding: chunked\r\n",
    ] {
        refuses(post(lines, ""), BadMessage::Expectation, 417);
    }
    one_body(post("Expect: 200-ok\r\n", ""), "");
}

#[test]
fn continue_is_sent_only_to_those_that_wait() {
    let head = post("Expect: 100-Continue\r\nContent-Length: 3\r\n", "");
    let mut server = Server::new(Limits::default());
    server.receive(head.as_bytes());
    assert_eq!(server.served.output, "HTTP/1.1 100 Continue\r\n\r\n");
    server.receive(b"abc");
    assert_eq!(server.served.requests[0].body, "abc");
    assert_eq!(server.served.output.matches("100 Continue").count(), 1);

    for input in [
        head.clone() + "a",
        head.replace("1.1", "1.0"),
        post("Expect: 100-continue\r\n", ""),
        post("Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
    ] {
        let served = serve(&input);
        assert!(!served.output.contains("100 Continue"), "{input}");
    }
}
