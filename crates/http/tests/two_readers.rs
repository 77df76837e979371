//! What one side writes is what the other side reads, whatever the program, or somebody who talks it into something,
//! asks for; and another reader of heads sees the same as ours.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod drive;

use drive::{Client, Message, Server, text};
use ferrevent_http::client::{self, Request};
use ferrevent_http::server::{self, Next, Reply, ReplyBody, Sends};
use ferrevent_http::{Limits, Method, Step};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes of which requests and answers are made.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let texts: &[&[u8]] = &[
        b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HTTP/1.1 200 Smuggled\r\nContent-Length: 0\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"\r\n\r\n",
        b"x",
    ];
    vec(prop::sample::select(texts), 0..4).prop_map(|texts| texts.concat())
}

/// A field that HTTP knows, whether right or wrong, or now and then one that is an attack.
fn field() -> impl Strategy<Value = (String, String)> {
    let known = &[
        ("Host", "h"),
        ("content-length", "0"),
        ("Content-Length", "3"),
        ("Content-Length", "5"),
        ("Content-Length", "77"),
        ("Content-Length", "x"),
        ("Transfer-Encoding", "chunked"),
        ("transfer-encoding", "gzip"),
        ("Connection", "close"),
        ("Connection", "keep-alive"),
        ("Expect", "100-continue"),
        ("Date", "now"),
        ("X", " a\t\u{e4}"),
    ];
    let bad = &[
        ("", "a"),
        ("a b", "a"),
        ("X:", "a"),
        ("X\r\nY", "a"),
        ("Content-Length ", "0"),
        ("X", "a\r\nContent-Length: 0"),
        ("X", "a\n b"),
        ("X", "\r\n\r\nGET / HTTP/1.1"),
        ("X", "a\0"),
    ];
    let field = prop_oneof![
        15 => prop::sample::select(&known[..]),
        1 => prop::sample::select(&bad[..]),
    ];
    field.prop_map(|(name, value)| (name.into(), value.into()))
}

fn is_coded(fields: &[(String, String)]) -> bool {
    let coded = |field: &(String, String)| field.0.eq_ignore_ascii_case("Transfer-Encoding");
    fields.iter().any(coded)
}

fn good_field() -> impl Strategy<Value = (String, String)> {
    (
        "[A-Z][a-z!#$%&'*+.^_`|~0-9-]{0,8}x",
        "([!-~\u{a1}-\u{ff}]([ -~\t]{0,12}[!-~])?)?",
    )
}

fn as_bytes(fields: &[(String, String)]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

/// All that a client sends for this request, or `None` if it refuses.
fn asked(request: &Request<'_>, fields: &[(String, String)], body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut client = client::Connection::new();
    client.request(request, as_bytes(fields), &mut out).ok()?;
    out.extend(body);
    Some(out)
}

/// All that a server sends for this answer, or `None` if it refuses, and whether it goes on then.
fn answered(
    request: &[u8],
    reply: &Reply<'_>,
    fields: &[(String, String)],
    body: &[u8],
    cut: usize,
) -> Option<(Vec<u8>, Next)> {
    let mut server = server::Connection::new();
    let mut input = request;
    while server.read(&mut input).unwrap() != Step::Complete {}
    let mut out = Vec::new();
    match server.reply(reply, as_bytes(fields), &mut out).ok()? {
        Sends::Body(n) => out.extend(&body[..n as usize]),
        Sends::Parts => {
            let cut = cut.min(body.len());
            for data in [&body[..cut], &body[cut..]] {
                let part = server.part(data.len() as u64, &mut out);
                out.extend(&data[..part.send as usize]);
                out.extend(part.after);
            }
            server.end(&mut out);
        }
    }
    Some((out, server.written()))
}

proptest! {
    #[test]
    fn a_server_reads_the_one_request_that_was_written(
        method in prop::sample::select(&Method::ALL[..]),
        target in prop::sample::select(
            &["/a", "h:80", "/a b", "/ HTTP/1.1\r\n\r\nGET /"][..],
        ),
        fields in vec(field(), 0..4),
        body in payload(),
    ) {
        let request = Request { body: body.len() as u64, ..Request::new(method, target.as_bytes()) };
        let Some(written) = asked(&request, &fields, &body) else {
            return Ok(());
        };
        let mut server = Server::new(Limits::default());
        server.receive(&written);
        if is_coded(&fields) {
            // What it is in that coding, the program has to know.
            return Ok(());
        }
        if server.served.refused.is_some() {
            // Two hosts, a path for `CONNECT`; it must not be taken for several requests.
            prop_assert_eq!(server.served.requests.len(), 0);
            return Ok(());
        }
        prop_assert_eq!(server.served.requests.len(), 1);
        prop_assert_eq!(&server.served.requests[0].body, &text(&body));
    }

    #[test]
    fn a_client_reads_the_one_answer_that_was_written(
        head in any::<bool>(),
        old in any::<bool>(),
        keep in any::<bool>(),
        code in prop::sample::select(&[200, 204, 304, 404, 500][..]),
        fields in vec(field(), 0..4),
        body in payload(),
        parts in any::<bool>(),
        cut in 0..20_usize,
    ) {
        let method = if head { Method::Head } else { Method::Get };
        let (minor, connection) = (u8::from(!old), if keep { "keep-alive" } else { "close" });
        let request = format!("{} / HTTP/1.{minor}\r\nConnection: {connection}\r\n\r\n", method.name());
        let reply = Reply {
            code,
            body: if parts { ReplyBody::Parts } else { ReplyBody::Whole(body.len() as u64) },
            ..Reply::default()
        };
        let Some((written, next)) = answered(request.as_bytes(), &reply, &fields, &body, cut) else {
            return Ok(());
        };
        let coded_by_program = !parts && is_coded(&fields);
        let mut client = Client::ask(
            &Request::new(method, b"/"),
            &[("Connection", connection)],
            Limits::default(),
        );
        client.receive(&written);
        if next == Next::Request {
            // Nothing may be left over that could be taken for the next answer.
            prop_assert!(client.complete, "{}", text(&written));
            prop_assert_eq!(client.error, None);
            if !old {
                prop_assert_eq!(client.finish(), Next::Request, "{}", text(&written));
            }
            return Ok(());
        }
        client.close();
        prop_assert_eq!(client.finish(), Next::Close, "{}", text(&written));
        if let (Some(answer), false) = (&client.answer, coded_by_program) {
            prop_assert!(text(&body).starts_with(&answer.body));
        }
    }

    #[test]
    fn what_was_asked_and_answered_is_understood(
        fields in vec(good_field(), 0..6),
        body in vec(any::<u8>(), 0..40),
        reason in "[a-zA-Z ]{0,9}x",
        parts in any::<bool>(),
        cut in 0..40_usize,
    ) {
        let sent: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.clone(), text(value.as_bytes())))
            .collect();
        let request = Request {
            body: body.len() as u64,
            host: Some(b"h:80"),
            ..Request::new(Method::Put, b"/x?y")
        };
        let written = asked(&request, &fields, &body).unwrap();
        let mut server = Server::new(Limits::default());
        server.receive(&written);
        let mut expected = vec![("Host".to_owned(), "h:80".to_owned())];
        expected.extend(sent.clone());
        expected.push(("Content-Length".to_owned(), body.len().to_string()));
        prop_assert_eq!(server.served.requests, vec![Message {
            first: "PUT /x?y 1.1".into(),
            fields: expected,
            body: text(&body),
        }]);

        let reply = Reply {
            reason: Some(reason.as_bytes()),
            body: if parts { ReplyBody::Parts } else { ReplyBody::Whole(body.len() as u64) },
            ..Reply::default()
        };
        let (written, next) =
            answered(b"GET / HTTP/1.1\r\n\r\n", &reply, &fields, &body, cut).unwrap();
        let mut client = Client::get();
        client.receive(&written);
        let answer = client.answer.clone().unwrap();
        prop_assert_eq!(answer.first, format!("200 {reason} 1.1"));
        prop_assert_eq!(&answer.fields[..sent.len()], &sent[..]);
        prop_assert_eq!(answer.body, text(&body));
        prop_assert_eq!((client.finish(), next), (Next::Request, Next::Request));
    }

    /// The crate `httparse` takes more than we do; what we take has to mean the same to it.
    #[test]
    fn another_reader_sees_the_same_head(
        first in prop_oneof![
            Just("GET / HTTP/1.1".to_owned()), Just("POST /a?b HTTP/1.0".into()), "[A-Z]{1,4} [ -~]{1,6} HTTP/1.[01]",
            "[!-~]{1,4} /[!-~]{0,6} HTTP/1.1",
        ],
        lines in vec(prop_oneof![
            4 => "[A-Za-z0-9-]{1,9}: ?[ -~\t]{0,9}", 1 => "[ -~\t\r]{0,9}", 1 => "[A-Z]{1,3}:[\t -~\u{80}-\u{ff}]{0,5}",
        ], 0..5),
        end in prop_oneof![Just("\r\n"), Just("\n")],
    ) {
        let mut input = first + end;
        for line in lines {
            input += &line;
            input += end;
        }
        input += end;
        let mut server = server::Connection::new();
        let mut rest = input.as_bytes();
        if server.read(&mut rest) != Ok(Step::Head) {
            return Ok(());
        }
        let ours = server.request().unwrap();
        let mut room = [httparse::EMPTY_HEADER; 16];
        let mut theirs = httparse::Request::new(&mut room);
        let parsed = theirs.parse(input.as_bytes());
        prop_assert_eq!(parsed, Ok(httparse::Status::Complete(input.len() - rest.len())));
        prop_assert_eq!(theirs.method.unwrap().as_bytes(), ours.method_name());
        prop_assert_eq!(theirs.path.unwrap().as_bytes(), ours.target());
        prop_assert_eq!(theirs.version, Some(ours.version().minor()));
        let fields: Vec<_> = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        prop_assert_eq!(fields, ours.fields().iter().collect::<Vec<_>>());
    }
}
