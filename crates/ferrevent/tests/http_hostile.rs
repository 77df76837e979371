//! What hostile clients send to an HTTP server: one refusal, nothing behind it, and no connection left.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use ferrevent::Base;
use ferrevent::http::{Body, Reply, Request, RequestCallbacks, Server, Service};
use ground::{Ground, everywhere};
use talk::{Talk, echo, ok, undated};

/// Bytes that could be taken for a second request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// Heads, without the first line and the line that ends them, and bodies that nobody can read in one way only.
const AMBIGUOUS: [(&str, &str); 25] = [
    ("Content-Length: 3\r\nContent-Length: 5", "abc"),
    ("Content-Length: 0\r\nContent-Length: 36", ""),
    ("Content-Length: 3\r\nContent-Length: 3", "abc"),
    ("Content-Length: +3", "abc"),
    ("Content-Length: -1", ""),
    ("Content-Length: 0x3", "abc"),
    ("Content-Length: 3, 3", "abc"),
    ("Content-Length:", ""),
    (
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "0\r\n\r\n",
    ),
    ("Transfer-Encoding: gzip", "abc"),
    ("Transfer-Encoding: xchunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "0\r\n\r\n",
    ),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("X: a\r\n Transfer-Encoding: chunked", ""),
    ("Host: h\r\nHost: other", ""),
    ("X Y: z", ""),
    (": z", ""),
    ("no colon", ""),
    ("X: a\0b", ""),
    ("X: a\rb", ""),
    ("X: a\nY: b\r\nZ: c", ""),
    ("Content-Length: 3\n", "abc"),
];

/// Chunks that are none.
const CHUNKS: [&str; 12] = [
    "0x3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    "-0\r\n\r\n",
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "\r\n3\r\nabc\r\n0\r\n\r\n",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "3\r\nabc\r\n0\r\n folded: x\r\n\r\n",
    "3\r\nabc\r\n0\r\nno colon\r\n\r\n",
];

const FIRST_LINES: [&str; 12] = [
    "GET / HTTP/1.2",
    "GET / HTTP/2.0",
    "GET / HTTP/1.4294967297",
    "GET / http/1.1",
    "GET /",
    "GET  / HTTP/1.1",
    "GET / a HTTP/1.1",
    "GET /\t HTTP/1.1",
    "G@T / HTTP/1.1",
    " GET / HTTP/1.1",
    "GET http://[::1 HTTP/1.1",
    "CONNECT /path HTTP/1.1",
];

/// Streams the body, and answers in parts, from the head on.
struct Streams;

impl Service for Streams {
    fn head(&mut self, _: &mut Base, _: Request) -> Body {
        Body::Stream
    }

    fn request(&mut self, base: &mut Base, request: Request) {
        let handler = RequestCallbacks::new()
            .body(|base, request| drop(request.take_body(base)))
            .complete(|base, request| request.reply(base, Reply::new(200)).unwrap());
        request.set_handler(base, handler);
    }
}

/// There is one answer with a 4xx, and then the end.
fn is_refused(ground: &Ground, asked: &str) {
    for streams in [false, true] {
        let all = Server::builder().methods(ferrevent::http::Method::ALL);
        let mut talk = match streams {
            true => Talk::with_service(ground, all, Streams),
            false => Talk::with(ground, all, echo),
        };
        let heard = talk.says([asked, SMUGGLED].concat());
        let status = heard.get(..10).unwrap_or_default();
        assert!(
            ["HTTP/1.1 4", "HTTP/1.0 4"].contains(&status),
            "{asked:?}: {heard}"
        );
        assert_eq!(heard.matches("HTTP/1.").count(), 1, "{asked:?}: {heard}");
        let says_so = heard.contains("\r\nConnection: close\r\n");
        // HTTP/1.0 closes without a word.
        assert!(
            says_so || heard.starts_with("HTTP/1.0"),
            "{asked:?}: {heard}"
        );
        assert_eq!(talk.says(SMUGGLED), "", "{asked:?}");
        talk.far.finish();
        talk.hears();
        assert_eq!(talk.connections(), 0, "{asked:?}");
        assert_eq!(talk.base.pending_len(), 0);
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    everywhere(|ground| {
        for (fields, body) in AMBIGUOUS {
            is_refused(
                ground,
                &format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n{body}"),
            );
        }
        for chunks in CHUNKS {
            let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
            is_refused(ground, &format!("{head}{chunks}"));
        }
        for line in FIRST_LINES {
            is_refused(ground, &format!("{line}\r\nHost: h\r\n\r\n"));
        }
        is_refused(
            ground,
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
        is_refused(
            ground,
            "POST / HTTP/1.1\r\nExpect: more\r\nContent-Length: 3\r\n\r\nabc",
        );
    });
}

/// All that is said to what is no request.
fn bad(version: &str) -> String {
    let page = "<HTML><HEAD>\n<TITLE>400 Bad Request</TITLE>\n</HEAD><BODY>\n<H1>Bad Request</H1>\n</BODY></HTML>\n";
    let fields = match version {
        // The end of the connection is that of the answer.
        "1.0" => String::new(),
        _ => format!(
            "Date: -\r\nContent-Length: {}\r\nConnection: close\r\n",
            page.len()
        ),
    };
    format!("HTTP/{version} 400 Bad Request\r\nContent-Type: text/html\r\n{fields}\r\n{page}")
}

/// What RFC 9112 lets a server take or has it refuse, as libevent does it. (An empty line before a request may be skipped,
/// section 2.2; libevent takes it for the request.)
#[test]
fn what_is_odd_and_refused_has_one_answer() {
    let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: h\r\n";
    let post = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let cases = [
        // There are no chunks in HTTP/1.0 (section 6.1).
        (format!("POST / HTTP/1.0\r\n{chunks}"), bad("1.0")),
        (
            format!("POST / HTTP/1.0\r\nConnection: keep-alive\r\n{chunks}"),
            bad("1.0"),
        ),
        (
            format!("POST / HTTP/1.0\r\nContent-Length: 3\r\n{chunks}"),
            bad("1.0"),
        ),
        (format!("\r\n{get}\r\n"), bad("1.1")),
        (format!("\n{get}\r\n"), bad("1.1")),
        ("\r\n\r\n".into(), bad("1.1")),
        (format!(" {get}\r\n"), bad("1.1")),
        (format!("\t{get}\r\n"), bad("1.1")),
        (format!("\r\n {get}\r\n"), bad("1.1")),
        (
            format!("{post}\r\n{get}\r\n"),
            ok("POST /\nabc") + &bad("1.1"),
        ),
        // Lines that go on (section 5.2).
        (format!("{get}X: a\r\n b\r\n\r\n"), bad("1.1")),
        (format!("{get}X: a\r\n\tb\r\n\r\n"), bad("1.1")),
        (format!("{get} \r\n\r\n"), bad("1.1")),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n".into(), bad("1.1")),
        ("GET /\r\n HTTP/1.1\r\n\r\n".into(), bad("1.1")),
    ];
    everywhere(|ground| {
        for (asked, expected) in &cases {
            let mut talk = Talk::new(ground, echo);
            let heard = talk.says([asked, SMUGGLED].concat());
            assert_eq!(undated(&heard), *expected, "{asked:?}");
            assert_eq!(talk.says(SMUGGLED), "", "{asked:?}");
            talk.far.finish();
            talk.hears();
            assert_eq!(talk.connections(), 0, "{asked:?}");
        }
    });
}

/// A target has no fragment, and octets only in percent coding (RFC 9112, section 3.2); libevent gives both to the program
/// as they come, and so does this server.
#[test]
fn what_is_odd_and_taken_comes_as_it_is() {
    fn parts(base: &mut Base, request: Request) {
        let uri = request.uri(base).unwrap();
        let text = [
            request.target(base),
            uri.path(),
            uri.query(),
            uri.fragment(),
        ]
        .map(|part| part.map_or("-".into(), |part| part.escape_ascii().to_string()));
        let reply = Reply::new(200).body(text.join(" "));
        request.reply(base, reply).unwrap();
    }
    let cases: [(&[u8], &str); 7] = [
        (b"/\xc3\xa4", r"/\xc3\xa4 /\xc3\xa4 - -"),
        (b"/\xff?\x80=\xe4", r"/\xff?\x80=\xe4 /\xff \x80=\xe4 -"),
        (b"/a#f", "/a#f /a - f"),
        (b"/a?b#c?d", "/a?b#c?d /a b c?d"),
        (b"/#\xfc", r"/#\xfc / - \xfc"),
        (b"/a#", "/a# /a - "),
        (b"http://h/a#f", "http://h/a#f /a - f"),
    ];
    everywhere(|ground| {
        let mut talk = Talk::new(ground, parts);
        for (target, expected) in cases {
            let asked = [b"GET ", target, b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
            assert_eq!(undated(&talk.says(asked)), ok(expected), "{expected}");
        }
        assert_eq!(talk.connections(), 1);
    });
}

#[test]
fn trailers_are_dropped_and_codings_that_end_with_chunks_are_taken() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            assert_eq!(request.field(base, "x-admin"), None);
            echo(base, request);
        });
        for coding in ["chunked", "Chunked", "gzip, chunked", "chunked;q=1"] {
            let asked = format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding: {coding}\r\n\r\n3\r\nabc\r\n0\r\nX-Admin: yes\r\n\r\n"
            );
            let heard = talk.says(asked);
            if coding.contains(';') {
                assert!(heard.starts_with("HTTP/1.1 400 "), "{coding}: {heard}");
            } else {
                assert_eq!(undated(&heard), ok("POST /\nabc"), "{coding}");
            }
        }
    });
}

#[test]
fn a_flood_of_small_requests_is_answered_within_bounds() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            let reply = Reply::new(200).body(vec![b'x'; 10_000]);
            request.reply(base, reply).unwrap();
        });
        // The client does not read: some answers wait, and the rest of the requests with the system.
        let flood = SMUGGLED.repeat(1000);
        talk.far.send(flood.as_bytes());
        ground::settle(&mut talk.base);
        let bev = talk.base.bufferevents().next().unwrap();
        let unsent = bev.output_len(&talk.base).unwrap();
        assert!(unsent < 200_000, "{unsent}");
        let heard = talk.hears();
        assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 1000);
    });
}
