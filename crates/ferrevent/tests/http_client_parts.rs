//! An HTTP client that sends the body of a request in parts.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod told;

use ferrevent::http::{
    Ask, BadHead, Body, Client, Exchange, Failure, Reply, Request, RequestCallbacks,
    ResponseHandler, Server, Service, Version,
};
use ferrevent::{Base, Error};
use told::{Notes, OneByOne, echo, note, note_end, notes, put, run_until, serve, told, url};

#[test]
fn a_body_in_parts_comes_as_a_whole() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, echo);
    let client = Client::new(&mut base, url).unwrap();
    for length in [None, Some("6")] {
        for first in ["", "a"] {
            let mut ask = put("/x").body(first);
            if let Some(length) = length {
                ask = ask.field("Content-Length", length);
            }
            let left = match first {
                "" => vec!["a", "", "bcd", "ef"],
                _ => vec!["", "bcd", "", "ef"],
            };
            client.start(&mut base, ask, OneByOne(left)).unwrap();
            run_until(&mut base, 1);
            assert_eq!(notes(&mut base), ["200 PUT /x abcdef"]);
        }
    }
    // What is beyond the length is thrown away.
    let ask = put("/x").field("Content-Length", "3");
    let more = OneByOne(vec!["ab", "cd", "ef"]);
    client.start(&mut base, ask, more).unwrap();
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["200 PUT /x abc"]);
    assert_eq!(server.connections_len(&base), Some(1), "it is kept");
}

#[test]
fn parts_can_be_given_before_it_is_their_turn() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, echo);
    let client = Client::new(&mut base, url).unwrap();
    client.request(&mut base, Ask::get("/1"), told).unwrap();
    let second = client.start(&mut base, put("/2").body("a"), Notes).unwrap();
    let third = client.start(&mut base, put("/3"), Notes).unwrap();
    for exchange in [third, second] {
        exchange.part(&mut base, "bc").unwrap();
        exchange.part(&mut base, "").unwrap();
        exchange.part(&mut base, "d").unwrap();
        exchange.end(&mut base).unwrap();
        assert!(exchange.unsent(&base).unwrap() > 3);
    }
    run_until(&mut base, 5);
    let expected = [
        "200 GET /1 ",
        "head 200",
        "200 PUT /2 abcd",
        "head 200",
        "200 PUT /3 bcd",
    ];
    assert_eq!(notes(&mut base), expected);
    assert_eq!(second.unsent(&base), None);
    assert_eq!(server.connections_len(&base), Some(1));
}

#[test]
fn what_is_no_part_is_refused() {
    let mut base = Base::new().unwrap();
    let (_, url) = serve(&mut base, echo);
    let client = Client::new(&mut base, url).unwrap();
    let old = put("/").version(Version::Http10);
    let refused = client.start(&mut base, old, Notes);
    assert!(matches!(refused, Err(Error::Head(BadHead::Length))));
    let refused = client.start(&mut base, put("/").field("a b", "c"), Notes);
    assert!(matches!(refused, Err(Error::Head(BadHead::Field))));
    assert_eq!(client.pending_len(&base), Some(0));

    fn refuses(base: &mut Base, exchange: Exchange) {
        for refused in [exchange.part(base, "x"), exchange.end(base)] {
            assert!(matches!(refused, Err(Error::Head(BadHead::NotNow))));
        }
    }
    struct End;
    impl ResponseHandler for End {
        fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
            refuses(base, exchange);
            note_end(base, exchange, outcome);
        }
    }
    let whole = client
        .request(&mut base, Ask::post("/", "x"), told)
        .unwrap();
    refuses(&mut base, whole);
    let old = put("/old")
        .version(Version::Http10)
        .field("Content-Length", "3");
    let exchange = client.start(&mut base, old, End).unwrap();
    for part in ["a", "b"] {
        exchange.part(&mut base, part).unwrap();
        let refused = exchange.end(&mut base);
        assert!(matches!(refused, Err(Error::Head(BadHead::Length))));
    }
    exchange.part(&mut base, "c").unwrap();
    exchange.end(&mut base).unwrap();
    refuses(&mut base, exchange);
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["200 POST / x", "200 PUT /old abc"]);
    for stale in [exchange.part(&mut base, "x"), exchange.end(&mut base)] {
        assert!(matches!(stale, Err(Error::Stale)));
    }
}

#[test]
fn the_answer_may_come_beside_the_body() {
    struct Upper;
    impl Service for Upper {
        fn head(&mut self, _: &mut Base, _: Request) -> Body {
            Body::Stream
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            request.start(base, Reply::new(200)).unwrap();
            let handler = RequestCallbacks::new()
                .body(|base, request| {
                    let body = request.take_body(base).unwrap().to_vec();
                    request.part(base, body.to_ascii_uppercase()).unwrap();
                })
                .complete(|base, request| request.end(base).unwrap());
            request.set_handler(base, handler);
        }
    }
    /// Gives the next part when the answer to the former one has come.
    struct Ask2(Vec<&'static str>);
    impl ResponseHandler for Ask2 {
        fn head(&mut self, base: &mut Base, exchange: Exchange) {
            exchange.part(base, "a").unwrap();
        }
        fn body(&mut self, base: &mut Base, exchange: Exchange) {
            let body = exchange.take_body(base).unwrap().to_vec();
            note(base, String::from_utf8(body).unwrap());
            match self.0.pop() {
                Some(part) => exchange.part(base, part).unwrap(),
                None => exchange.end(base).unwrap(),
            }
        }
        fn end(&mut self, base: &mut Base, _: Exchange, outcome: Result<(), Failure>) {
            note(base, format!("{outcome:?}"));
        }
    }
    let mut base = Base::new().unwrap();
    let server = Server::builder().build_with(&mut base, Upper);
    let listener = server.bind(&mut base, "127.0.0.1:0".parse().unwrap());
    let url = url(listener.unwrap().address(&base).unwrap());
    let client = Client::new(&mut base, url).unwrap();
    for _ in 0..2 {
        let handler = Ask2(vec!["c", "b"]);
        client.start(&mut base, put("/"), handler).unwrap();
        run_until(&mut base, 4);
        assert_eq!(notes(&mut base), ["A", "B", "C", "Ok(())"]);
    }
    assert_eq!(server.connections_len(&base), Some(1), "it is kept");
}

// ---- What callbacks may do ----

#[test]
fn asking_for_the_next_part_may_do_everything() {
    struct Deed(fn(&mut Base, Exchange));
    impl ResponseHandler for Deed {
        fn drained(&mut self, base: &mut Base, exchange: Exchange) {
            note(base, "drained");
            (self.0)(base, exchange);
        }
        fn end(&mut self, _: &mut Base, _: Exchange, _: Result<(), Failure>) {}
    }
    let deeds: [fn(&mut Base, Exchange); 7] = [
        |base, exchange| _ = exchange.client().free(base),
        |base, exchange| _ = exchange.cancel(base),
        |base, exchange| _ = exchange.upgrade(base),
        |base, exchange| exchange.end(base).unwrap(),
        |base, exchange| _ = exchange.client().free_when_done(base),
        |base, exchange| _ = exchange.client().request(base, Ask::get("/more"), told),
        |base, _| {
            let all: Vec<_> = base.bufferevents().collect();
            for bev in all {
                bev.free(base);
            }
        },
    ];
    for what in deeds {
        let mut base = Base::new().unwrap();
        let (server, url) = serve(&mut base, echo);
        let client = Client::new(&mut base, url).unwrap();
        client.start(&mut base, put("/"), Deed(what)).unwrap();
        run_until(&mut base, 1);
        for _ in 0..5 {
            base.run_nonblocking().unwrap();
        }
        client.free(&mut base);
        server.free(&mut base);
        base.run_nonblocking().unwrap();
        assert_eq!(base.bufferevents().count(), 0);
        assert_eq!(base.pending_len(), 0);
    }
}
