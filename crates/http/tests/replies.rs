//! What a server writes, and what becomes of the connection.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod drive;

use drive::{serve, text};
use ferrevent_http::server::{self, Connection, Next, Part, Reply, ReplyBody, Sends};
use ferrevent_http::{BadHead, Date, Step, Version};

/// A server that has read a request, whose head is `lines`.
fn asked(lines: &str) -> Connection {
    let mut connection = Connection::new();
    let head = format!("{lines}\r\n\r\n");
    let mut input = head.as_bytes();
    while connection.read(&mut input).unwrap() != Step::Complete {}
    connection
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h";

/// An answer of 3 bytes without a type.
fn reply(code: u16) -> Reply<'static> {
    Reply {
        code,
        body: ReplyBody::Whole(3),
        content_type: None,
        date: 784_111_777,
        ..Reply::default()
    }
}

fn parts(code: u16) -> Reply<'static> {
    Reply {
        body: ReplyBody::Parts,
        ..reply(code)
    }
}

const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// The head that the answer gets, with a body of 3 bytes, and what else is said of it.
#[track_caller]
fn head(lines: &str, reply: &Reply<'_>, fields: &[(&str, &str)]) -> (String, Sends, Next) {
    let mut connection = asked(lines);
    let (head, sends) = write(&mut connection, reply, fields);
    if sends == Sends::Parts {
        connection.end(&mut Vec::new());
    }
    let keep = connection.keep_alive();
    let next = connection.written();
    assert_eq!(keep, next == Next::Request);
    (head, sends, next)
}

#[track_caller]
fn write(
    connection: &mut Connection,
    reply: &Reply<'_>,
    fields: &[(&str, &str)],
) -> (String, Sends) {
    let mut out = Vec::new();
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let sends = connection.reply(reply, fields, &mut out).unwrap();
    assert!(out.ends_with(b"\r\n\r\n"));
    (text(&out), sends)
}

// ---- The fields that come by themselves ----

#[test]
fn an_answer_gets_a_date_a_length_and_a_type() {
    let usual = Reply {
        content_type: Some(server::USUAL_TYPE),
        ..reply(200)
    };
    let (head, sends, next) = head(GET, &usual, &[("A", "b"), ("c", "")]);
    let expected = format!(
        "HTTP/1.1 200 OK\r\nA: b\r\nc: \r\n{DATE}Content-Length: 3\r\n\
         Content-Type: text/html; charset=ISO-8859-1\r\n\r\n"
    );
    assert_eq!(head, expected);
    assert_eq!((sends, next), (Sends::Body(3), Next::Request));
}

#[test]
fn fields_that_the_program_sets_are_not_added() {
    let usual = Reply {
        content_type: Some(b"x/y"),
        ..reply(200)
    };
    let fields = [
        ("content-TYPE", "a/b"),
        ("DATE", "never"),
        ("Content-length", "3"),
    ];
    let (head, ..) = head(GET, &usual, &fields);
    let expected =
        "HTTP/1.1 200 OK\r\ncontent-TYPE: a/b\r\nDATE: never\r\nContent-length: 3\r\n\r\n";
    assert_eq!(head, expected);
}

#[test]
fn an_empty_body_has_the_length_0() {
    let empty = Reply {
        body: ReplyBody::Whole(0),
        ..reply(404)
    };
    let (head, sends, _) = head(GET, &empty, &[]);
    assert_eq!(
        head,
        format!("HTTP/1.1 404 Not Found\r\n{DATE}Content-Length: 0\r\n\r\n")
    );
    assert_eq!(sends, Sends::Body(0));
}

#[test]
fn the_reason_cannot_bring_lines_with_it() {
    for (reason, expected) in [
        (&b"Fine"[..], "HTTP/1.1 200 Fine\r\n"),
        (b"", "HTTP/1.1 200 \r\n"),
        (b"\xe4", "HTTP/1.1 200 \u{e4}\r\n"),
        (b"OK\r\nSet-Cookie: x", "HTTP/1.1 200 OK\r\n"),
        (b"O\nK", "HTTP/1.1 200 OK\r\n"),
        (b"O\0K", "HTTP/1.1 200 OK\r\n"),
    ] {
        let with_reason = Reply {
            reason: Some(reason),
            ..reply(200)
        };
        let (head, ..) = head(GET, &with_reason, &[]);
        assert!(head.starts_with(expected), "{head}");
    }
}

#[test]
fn a_head_that_cannot_be_written_is_refused_and_another_can_be() {
    let mut connection = asked(GET);
    let mut out = b"before".to_vec();
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("a\r\nb", "x"),
        ("a", "x\r\nB: y"),
        ("a", "x\n y"),
        ("a", "\0"),
    ] {
        let fields = [("Fine", "yes"), (name, value)];
        let fields = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let answer = connection.reply(&reply(200), fields.into_iter(), &mut out);
        assert_eq!(answer, Err(BadHead::Field));
    }
    let with_type = Reply {
        content_type: Some(b"a\r\n"),
        ..reply(200)
    };
    let answer = connection.reply(&with_type, [].into_iter(), &mut out);
    assert_eq!(answer, Err(BadHead::Field));
    for code in [0, 99, 1000] {
        let answer = connection.reply(&reply(code), [].into_iter(), &mut out);
        assert_eq!(answer, Err(BadHead::Code));
    }
    assert_eq!(out, b"before");
    assert!(
        connection
            .reply(&reply(500), [].into_iter(), &mut out)
            .is_ok()
    );
    let again = connection.reply(&reply(500), [].into_iter(), &mut out);
    assert_eq!(again, Err(BadHead::NotNow));
}

#[test]
fn an_answer_before_the_request_is_refused() {
    let mut connection = Connection::new();
    let mut out = Vec::new();
    let mut input = &b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab"[..];
    for _ in 0..2 {
        let answer = connection.reply(&reply(200), [].into_iter(), &mut out);
        assert_eq!(answer, Err(BadHead::NotNow));
        assert_eq!(connection.part(3, &mut out).send, 0);
        connection.end(&mut out);
        connection.read(&mut input).unwrap();
    }
    assert_eq!(out, b"");
}

// ---- Whether the connection lives on ----

#[test]
fn http_1_1_lives_on_unless_one_side_says_close() {
    for (lines, fields, lives) in [
        (GET, &[][..], true),
        ("GET / HTTP/1.1\r\nConnection: keep-alive", &[], true),
        ("GET / HTTP/1.1\r\nConnection: close", &[], false),
        ("GET / HTTP/1.1\r\nConnection: TE, Close", &[], false),
        (
            "GET / HTTP/1.1\r\nConnection: TE\r\nConnection: close",
            &[],
            false,
        ),
        ("GET / HTTP/1.1\r\nConnection: closed", &[], true),
        ("GET http://h/ HTTP/1.1\r\nHost: h", &[], true),
        (GET, &[("Connection", "close")], false),
        (GET, &[("connection", "Foo, Close")], false),
        (GET, &[("Connection", "keep-alive")], true),
        (
            "GET / HTTP/1.1\r\nConnection: close",
            &[("Connection", "keep-alive")],
            false,
        ),
    ] {
        let (head, _, next) = head(lines, &reply(200), fields);
        assert_eq!(next == Next::Request, lives, "{lines} {fields:?}");
        let head = head.to_ascii_lowercase();
        assert_eq!(head.contains("close\r\n"), !lives, "{head}");
        assert!(head.matches("connection: ").count() <= 1, "{head}");
    }
}

#[test]
fn http_1_0_lives_on_only_if_it_is_asked_for() {
    let (head_of_plain, sends, next) = head("GET / HTTP/1.0", &reply(200), &[]);
    assert_eq!(head_of_plain, "HTTP/1.0 200 OK\r\n\r\n");
    assert_eq!((sends, next), (Sends::Body(3), Next::Close));

    let lines = "GET / HTTP/1.0\r\nConnection: foo, Keep-Alive";
    let (head_of_kept, _, next) = head(lines, &reply(200), &[]);
    let expected = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(head_of_kept, expected);
    assert_eq!(next, Next::Request);

    // The program cannot promise what the client has not asked for.
    let fields = [("Connection", "keep-alive")];
    let (head, _, next) = head("GET / HTTP/1.0", &reply(200), &fields);
    assert!(!head.contains("keep-alive"), "{head}");
    assert_eq!(next, Next::Close);
}

#[test]
fn the_version_of_an_answer_can_be_chosen() {
    let newer = Reply {
        version: Some(Version::Http11),
        ..reply(404)
    };
    let (head, _, next) = head("GET / HTTP/1.0", &newer, &[]);
    assert_eq!(
        head,
        format!("HTTP/1.1 404 Not Found\r\n{DATE}Content-Length: 3\r\nConnection: close\r\n\r\n")
    );
    assert_eq!(next, Next::Close);
}

#[test]
fn requests_wait_until_the_answer_before_is_written() {
    let mut connection = Connection::new();
    let mut input = &b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nrest"[..];
    for (target, left) in [(b"/1", 23), (b"/2", 4)] {
        assert_eq!(connection.read(&mut input), Ok(Step::Head));
        assert_eq!(connection.read(&mut input), Ok(Step::Complete));
        assert_eq!(connection.read(&mut input), Ok(Step::Wait));
        assert_eq!(input.len(), left);
        assert_eq!(connection.request().unwrap().target(), target);
        let sends = connection.reply(&reply(200), [].into_iter(), &mut Vec::new());
        assert_eq!(sends, Ok(Sends::Body(3)));
        assert!(connection.is_replied());
        assert_eq!(connection.read(&mut input), Ok(Step::Wait));
        assert_eq!(connection.written(), Next::Request);
        assert!(connection.request().is_none());
    }
    assert!(!connection.is_reading());
    assert_eq!(connection.read(&mut input), Ok(Step::Wait));
    assert!(connection.is_reading());
}

#[test]
fn nothing_is_read_after_a_request_that_ends_the_connection() {
    let served = serve("GET /1 HTTP/1.1\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
    assert_eq!(served.requests.len(), 1);
    assert!(served.closed);

    let mut connection = asked("GET / HTTP/1.1\r\nConnection: close");
    write(&mut connection, &reply(200), &[]);
    assert_eq!(connection.written(), Next::Close);
    let mut input = &b"GET /2 HTTP/1.1\r\n\r\n"[..];
    assert_eq!(connection.read(&mut input), Ok(Step::Wait));
    assert_eq!(connection.written(), Next::Close);
    assert_eq!(input.len(), 19);
}

// ---- Bodies that are not there, and lengths that are wrong ----

#[test]
fn some_answers_have_no_body_whatever_the_program_gives() {
    let head_request = "HEAD / HTTP/1.1\r\nHost: h";
    for (lines, code) in [(head_request, 200), (GET, 204), (GET, 304), (GET, 101)] {
        let with_type = Reply {
            content_type: Some(b"a/b"),
            ..reply(code)
        };
        let (whole, sends, next) = head(lines, &with_type, &[]);
        assert!(whole.ends_with(&format!("\r\n{DATE}\r\n")), "{whole}");
        assert_eq!((sends, next), (Sends::Body(0), Next::Request));

        let mut connection = asked(lines);
        let (head, _) = write(
            &mut connection,
            &parts(code),
            &[("Transfer-Encoding", "chunked")],
        );
        assert!(head.ends_with(&format!("\r\n{DATE}\r\n")), "{head}");
        let mut out = Vec::new();
        let nothing = Part {
            send: 0,
            after: b"",
        };
        assert_eq!(connection.part(3, &mut out), nothing);
        connection.end(&mut out);
        assert_eq!(out, b"");
        assert_eq!(connection.written(), Next::Request);
    }
}

#[test]
fn an_interim_answer_is_the_last_one() {
    for (code, lives) in [(100, false), (103, false), (199, false), (101, true)] {
        for reply in [reply(code), parts(code)] {
            let (head, _, next) = head(GET, &reply, &[]);
            assert_eq!(next == Next::Request, lives);
            assert_eq!(head.contains("\r\nConnection: close\r\n"), !lives);
        }
    }
}

#[test]
fn the_length_of_a_missing_body_may_be_told_where_it_means_something() {
    for (lines, code, told) in [
        ("HEAD / HTTP/1.1\r\nHost: h", 200, true),
        (GET, 304, true),
        ("HEAD / HTTP/1.1\r\nHost: h", 204, false),
        (GET, 204, false),
        (GET, 101, false),
    ] {
        let (head, ..) = head(lines, &reply(code), &[("Content-Length", "77")]);
        assert_eq!(head.contains("Content-Length: 77\r\n"), told, "{head}");
    }
}

#[test]
fn a_length_that_is_wrong_ends_the_connection() {
    for (length, sent) in [("1", 1), ("5", 3), ("0", 0)] {
        let (head, sends, next) = head(GET, &reply(200), &[("Content-Length", length)]);
        assert!(head.contains(&format!("\r\nContent-Length: {length}\r\n")));
        assert!(head.contains("\r\nConnection: close\r\n"));
        assert_eq!(sends, Sends::Body(sent));
        assert_eq!(next, Next::Close);
    }
}

#[test]
fn a_length_that_is_none_is_replaced() {
    for fields in [
        &[("Content-Length", "x")][..],
        &[("Content-Length", "")],
        &[("Content-Length", "3"), ("Content-Length", "3")],
        &[("Content-Length", "3"), ("content-length", "4")],
    ] {
        let (head, sends, next) = head(GET, &reply(200), fields);
        assert_eq!(
            head,
            format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: 3\r\n\r\n")
        );
        assert_eq!((sends, next), (Sends::Body(3), Next::Request));
    }
}

#[test]
fn a_body_that_the_program_has_coded_goes_out_as_it_is_and_ends_the_connection() {
    let fields = [("Transfer-Encoding", "chunked"), ("Content-Length", "3")];
    let (head_1_1, sends, next) = head(GET, &reply(200), &fields);
    let expected =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{DATE}Connection: close\r\n\r\n");
    assert_eq!(head_1_1, expected);
    assert_eq!((sends, next), (Sends::Body(3), Next::Close));

    let lines = "GET / HTTP/1.0\r\nConnection: keep-alive";
    let (head_1_0, _, next) = head(lines, &reply(200), &fields);
    assert_eq!(head_1_0, "HTTP/1.0 200 OK\r\n\r\n");
    assert_eq!(next, Next::Close);
}

#[test]
fn what_follows_an_accepted_connect_is_the_tunnels() {
    let lines = "CONNECT h:80 HTTP/1.1\r\nHost: h:80";
    let with_type = Reply {
        content_type: Some(b"a/b"),
        ..reply(200)
    };
    let (accepted, sends, next) = head(lines, &with_type, &[]);
    assert_eq!(accepted, format!("HTTP/1.1 200 OK\r\n{DATE}\r\n"));
    assert_eq!((sends, next), (Sends::Body(3), Next::Request));
    let (refused, ..) = head(lines, &reply(403), &[]);
    assert_eq!(
        refused,
        format!("HTTP/1.1 403 Forbidden\r\n{DATE}Content-Length: 3\r\n\r\n")
    );
}

// ---- Answers in parts ----

/// What is written of the parts `abc`, nothing, and 19 bytes.
fn all_parts(connection: &mut Connection) -> String {
    let mut out = Vec::new();
    for data in [&b"abc"[..], b"", b"0123456789012345678"] {
        let part = connection.part(data.len() as u64, &mut out);
        out.extend(&data[..part.send as usize]);
        out.extend(part.after);
    }
    connection.end(&mut out);
    text(&out)
}

#[test]
fn parts_are_chunks_in_http_1_1() {
    for fields in [
        &[][..],
        &[("Transfer-Encoding", "gzip")],
        &[("Content-Length", "x")],
    ] {
        let mut connection = asked(GET);
        let (head, _) = write(&mut connection, &parts(200), fields);
        let expected = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{DATE}\r\n");
        assert_eq!(head, expected);
        let written = all_parts(&mut connection);
        assert_eq!(
            written,
            "3\r\nabc\r\n13\r\n0123456789012345678\r\n0\r\n\r\n"
        );
        assert_eq!(connection.written(), Next::Request);
    }
}

#[test]
fn parts_go_on_until_the_end_of_the_connection_in_http_1_0() {
    for lines in ["GET / HTTP/1.0", "GET / HTTP/1.0\r\nConnection: keep-alive"] {
        let mut connection = asked(lines);
        let (head, _) = write(
            &mut connection,
            &parts(200),
            &[("Transfer-Encoding", "chunked")],
        );
        assert_eq!(head, "HTTP/1.0 200 OK\r\n\r\n");
        assert_eq!(all_parts(&mut connection), "abc0123456789012345678");
        assert_eq!(connection.written(), Next::Close);
    }
}

#[test]
fn parts_keep_to_a_length_that_was_told() {
    for (length, written, next) in [
        ("22", "abc0123456789012345678", Next::Request),
        ("5", "abc01", Next::Request),
        ("0", "", Next::Request),
        ("23", "abc0123456789012345678", Next::Close),
    ] {
        for lines in [GET, "GET / HTTP/1.0\r\nConnection: keep-alive"] {
            let mut connection = asked(lines);
            let (head, sends) = write(&mut connection, &parts(200), &[("Content-Length", length)]);
            assert_eq!(sends, Sends::Parts);
            assert!(!head.contains("chunked"));
            assert_eq!(all_parts(&mut connection), written);
            assert_eq!(connection.written(), next);
        }
    }
}

#[test]
fn an_answer_that_is_not_complete_ends_the_connection() {
    let mut connection = asked(GET);
    write(&mut connection, &parts(200), &[]);
    connection.part(3, &mut Vec::new());
    assert!(!connection.is_replied());
    assert_eq!(connection.written(), Next::Close);
}

// ---- Pages ----

#[test]
fn the_page_of_an_error_has_no_markup_but_its_own() {
    let usual = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n\
                 </BODY></HTML>\n";
    assert_eq!(text(&server::error_page(404, None)), usual);
    let page = text(&server::error_page(500, Some(b"<script>")));
    assert!(page.contains("<TITLE>500 &lt;script&gt;</TITLE>"));
    assert!(page.contains("<H1>&lt;script&gt;</H1>"));
}

#[test]
fn dates_are_those_of_http() {
    assert_eq!(DATE, format!("Date: {}\r\n", Date::new(784_111_777)));
}
