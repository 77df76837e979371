//! Whatever pieces the input comes in, and whatever it is: the result is the same, and nothing panics.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod drive;

use drive::{Client, Served, Server, text};
use ferrevent_http::client::Request;
use ferrevent_http::{Limits, Method};
use proptest::collection::vec;
use proptest::prelude::*;

/// Pieces of requests and answers, good and bad.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fragments: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"POST /a?b HTTP/1.1\r\n",
        b"HEAD http://h/ HTTP/1.0\r\n",
        b"GET / HTTP/1.1\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Host: h\r\n",
        b"Connection: keep-alive\r\n",
        b"Connection: close\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 30\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"A: b\r\n",
        b" folded\r\n",
        b"B:\t c \n",
        b"\r\n",
        b"\n",
        b"\r",
        b"3\r\nabc\r\n",
        b"1;x=y\r\nz\r\n",
        b"0\r\n\r\n",
        b"0\r\nTrailer: x\r\n\r\n",
        b"abc",
        b": ",
        b"\0",
    ];
    prop_oneof![
        9 => prop::sample::select(fragments).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..6),
    ]
}

/// A stream of messages, most of them whole, and some with a byte that is wrong.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let request = (
        prop::sample::select(&["GET", "POST", "HEAD"][..]),
        vec(
            prop::sample::select(
                &[
                    "Host: h",
                    "A: b",
                    "Connection: keep-alive",
                    "Expect: 100-continue",
                ][..],
            ),
            0..4,
        ),
        prop_oneof![
            Just(("", "")),
            Just(("Content-Length: 5\r\n", "hello")),
            Just((
                "Transfer-Encoding: chunked\r\n",
                "2;x\r\nhe\r\n3\r\nllo\r\n0\r\nT: x\r\n\r\n"
            )),
        ],
    );
    let request = request.prop_map(|(method, lines, (framing, body))| {
        let lines: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
        format!("{method} / HTTP/1.1\r\n{lines}{framing}\r\n{body}").into_bytes()
    });
    let answers: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\nA: b\r\n\tc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3 \r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.0 200\nServer: old\n\nhello",
    ];
    let answer = prop::sample::select(answers);
    let stream = prop_oneof![
        2 => vec(request, 1..4).prop_map(|requests| requests.concat()),
        1 => answer.prop_map(<[u8]>::to_vec),
        1 => vec(fragment(), 0..12).prop_map(|fragments| fragments.concat()),
    ];
    (
        stream,
        any::<prop::sample::Index>(),
        prop::option::weighted(0.3, any::<u8>()),
    )
        .prop_map(|(mut stream, index, byte)| {
            if let (Some(byte), false) = (byte, stream.is_empty()) {
                let place = index.index(stream.len());
                stream[place] = byte;
            }
            stream
        })
}

fn limits() -> impl Strategy<Value = Limits> {
    let some = (0..120_usize, 0..12_u64).prop_map(|(head, body)| Limits { head, body });
    prop_oneof![3 => Just(Limits::default()), 1 => some]
}

/// `stream` in pieces whose lengths are `lengths`, again and again.
fn pieces<'a>(stream: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = stream;
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let n = (*lengths.next()?).min(rest.len());
        let (piece, behind) = rest.split_at(n);
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

fn served(
    limits: Limits,
    lingering: bool,
    pieces: impl Iterator<Item = impl AsRef<[u8]>>,
) -> Served {
    let mut server = Server::new(limits);
    server.connection.set_lingering(lingering);
    for piece in pieces {
        server.receive(piece.as_ref());
    }
    let mut served = server.served;
    // Who waits, and so is asked to go on, depends on the pieces.
    let asked = text(ferrevent_http::server::CONTINUE);
    served.output = served.output.replace(&asked, "");
    served
}

proptest! {
    #[test]
    fn a_server_does_not_see_the_pieces(
        stream in stream(),
        lengths in vec(1..9_usize, 1..6),
        limits in limits(),
        lingering in any::<bool>(),
    ) {
        let whole = served(limits, lingering, std::iter::once(&stream));
        let in_pieces = served(limits, lingering, pieces(&stream, &lengths));
        prop_assert_eq!(&in_pieces, &whole);
        // What was taken for a body, a target or a value was in the input.
        for request in &whole.requests {
            prop_assert!(request.body.len() <= stream.len());
            prop_assert!(!request.first.contains(['\r', '\n', '\0']));
            for (name, value) in &request.fields {
                prop_assert!(!name.is_empty());
                prop_assert!(![&name[..], value].concat().contains(['\r', '\n', '\0']));
                prop_assert_eq!(value.trim_matches([' ', '\t']), value);
            }
        }
    }

    #[test]
    fn a_client_does_not_see_the_pieces(
        stream in stream(),
        lengths in vec(1..9_usize, 1..6),
        limits in limits(),
        method in prop::sample::select(&Method::ALL[..]),
    ) {
        let outcome = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut client = Client::ask(&Request::new(method, b"h:1"), &[], limits);
            for piece in pieces {
                client.receive(piece);
            }
            client.close();
            let next = client.finish();
            (client.answer.clone(), client.interim, client.complete, client.error, next)
        };
        let whole = outcome(&mut std::iter::once(&stream[..]));
        let in_pieces = outcome(&mut pieces(&stream, &lengths));
        prop_assert_eq!(in_pieces, whole);
    }
}
