//! An HTTP client, against this library's server.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod told;

use std::time::Duration;

use ferrevent::dns::Resolver;
use ferrevent::http::{
    self, Ask, BadHead, Body, Client, Exchange, Failure, Method, Reply, Request, ResponseHandler,
    Server, Service, Version,
};
use ferrevent::{Base, Callbacks, Dirs, Error};
use told::{echo, note, notes, run, run_until, serve, told, url};

#[test]
fn what_is_asked_is_answered_in_order_on_one_connection() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        let server = request.server(base).unwrap();
        assert_eq!(server.connections_len(base), Some(1));
        let host = request.field(base, "host").unwrap();
        assert!(host.starts_with(b"127.0.0.1:"));
        if request.target(base) == Some(b"/slow") {
            base.after(Duration::from_millis(5), move |base| echo(base, request));
        } else {
            echo(base, request);
        }
    });
    let client = Client::new(&mut base, url).unwrap();
    let asks = [
        Ask::get("/slow"),
        Ask::post("/b?c", "body"),
        Ask::new(Method::Delete, "/with a blank"),
        Ask::new(Method::Head, "/h").field("X", "1"),
    ];
    for ask in asks {
        client.request(&mut base, ask, told).unwrap();
    }
    assert_eq!(notes(&mut base), [""; 0], "nobody is told inside the call");
    assert_eq!(client.pending_len(&base), Some(4));
    run_until(&mut base, 4);
    assert_eq!(
        notes(&mut base),
        [
            "200 GET /slow ",
            "200 POST /b?c body",
            "200 DELETE /with%20a%20blank ",
            "200 "
        ]
    );
    assert!(client.is_connected(&base));
    client.request(&mut base, Ask::get("/again"), told).unwrap();
    run_until(&mut base, 1);
    assert_eq!(notes(&mut base), ["200 GET /again "]);
    assert!(client.free(&mut base) && !client.free(&mut base));
    server.free(&mut base);
    assert_eq!(base.bufferevents().count(), 0);
}

#[test]
fn an_answer_can_be_looked_at() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        let reply = Reply::new(418)
            .reason("Short")
            .field("X-A", "1")
            .field("X-A", "2");
        request.reply(base, reply.body("tea")).unwrap();
    });
    http::get(&mut base, format!("{url}a/b?c=d#e"), move |base, answer| {
        let answer = answer.unwrap();
        assert_eq!((answer.code(), answer.reason()), (418, &b"Short"[..]));
        assert_eq!(answer.version(), Version::Http11);
        assert_eq!(answer.field("x-a"), Some(&b"1"[..]));
        assert_eq!(
            answer.fields().filter(|(name, _)| name == b"X-A").count(),
            2
        );
        assert_eq!(answer.body.to_vec(), b"tea");
        note(base, "told");
        server.free(base);
    })
    .unwrap();
    // Nothing is left then, so that the loop ends.
    run(&mut base);
    assert_eq!(notes(&mut base), ["told"]);
}

#[test]
fn what_cannot_be_asked_is_refused_at_once() {
    let mut base = Base::new().unwrap();
    for bad in [
        "",
        "127.0.0.1:80",
        "ftp://h/",
        "http://",
        "http:///a",
        "http://h:0/",
        "http://h:70000/",
    ] {
        let refused = Client::new(&mut base, bad);
        assert!(matches!(refused, Err(Error::Url)), "{bad}");
        let refused = http::get(&mut base, bad, |_, _| panic!("told"));
        assert!(matches!(refused, Err(Error::Url)), "{bad}");
    }
    let client = Client::new(&mut base, "http://127.0.0.1").unwrap();
    for (ask, reason) in [
        (Ask::get(""), BadHead::Target),
        (Ask::get("/a\r\nX: b"), BadHead::Target),
        (Ask::new(Method::Other, "/"), BadHead::Target),
        (Ask::get("/").field("X", "a\r\nY: b"), BadHead::Field),
        (Ask::get("/").field("X Y", "a"), BadHead::Field),
    ] {
        let refused = client.request(&mut base, ask, |_, _| panic!("told"));
        assert!(matches!(refused, Err(Error::Head(bad)) if bad == reason));
    }
    assert_eq!(client.pending_len(&base), Some(0));
    assert!(client.free_when_done(&mut base));
    assert!(!client.exists(&base) && !client.free_when_done(&mut base));
    let refused = client.request(&mut base, Ask::get("/"), told);
    assert!(matches!(refused, Err(Error::Stale)));
}

/// Takes a body slowly, and says how it goes.
struct Slow {
    most: usize,
    taken: usize,
}

impl ResponseHandler for Slow {
    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        let code = exchange.head(base).unwrap().code();
        note(base, format!("head {code}"));
    }

    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        let len = exchange.body(base).unwrap().len();
        self.most = self.most.max(len);
        if len >= 64 << 10 {
            base.after(Duration::from_micros(100), move |base| {
                let body = exchange.take_body(base).unwrap();
                base.insert_state(base.state::<usize>().unwrap_or(&0) + body.len());
            });
        }
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
        assert!(outcome.is_ok());
        self.taken = exchange.take_body(base).unwrap().len();
        self.taken += base.remove_state::<usize>().unwrap();
        note(base, format!("{}", self.taken));
        assert!(self.most < 400_000, "{}", self.most);
    }
}

#[test]
fn a_large_answer_comes_as_it_is_taken() {
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        let reply = Reply::new(200).body(vec![b'x'; 5_000_000]);
        request.reply(base, reply).unwrap();
    });
    let client = Client::new(&mut base, url).unwrap();
    for _ in 0..2 {
        let slow = Slow { most: 0, taken: 0 };
        client.request_with(&mut base, Ask::get("/"), slow).unwrap();
        run_until(&mut base, 2);
        assert_eq!(notes(&mut base), ["head 200", "5000000"]);
    }
    assert_eq!(server.connections_len(&base), Some(1));
}

#[test]
fn a_body_that_is_collected_has_a_limit() {
    let mut base = Base::new().unwrap();
    let (_, url) = serve(&mut base, echo);
    let client = Client::builder()
        .max_body(10)
        .build(&mut base, url)
        .unwrap();
    client
        .request(&mut base, Ask::get("/0123456789"), told)
        .unwrap();
    client.request(&mut base, Ask::get("/01"), told).unwrap();
    run_until(&mut base, 2);
    assert_eq!(notes(&mut base), ["BodyTooLong", "200 GET /01 "]);
}

#[test]
fn a_body_waits_for_the_servers_word() {
    struct Wants;
    impl Service for Wants {
        fn head(&mut self, base: &mut Base, request: Request) -> Body {
            note(base, "asked");
            if request.target(base) == Some(b"/no") {
                request.reply(base, Reply::new(403)).unwrap();
            }
            Body::Collect
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            echo(base, request);
        }
    }
    let mut base = Base::new().unwrap();
    let server = Server::builder().build_with(&mut base, Wants);
    let listener = server
        .bind(&mut base, "127.0.0.1:0".parse().unwrap())
        .unwrap();
    let url = url(listener.address(&base).unwrap());
    let client = Client::new(&mut base, url).unwrap();
    for target in ["/yes", "/no", "/yes"] {
        let ask = Ask::post(target, "body").field("Expect", "100-continue");
        client.request(&mut base, ask, told).unwrap();
    }
    run_until(&mut base, 6);
    assert_eq!(
        notes(&mut base),
        [
            "asked",
            "200 POST /yes body",
            "asked",
            "403 ",
            "asked",
            "200 POST /yes body"
        ]
    );
}

#[test]
fn a_host_is_found_by_its_name() {
    let mut base = Base::new().unwrap();
    let (_, url) = serve(&mut base, |base, request| {
        let host = request.field(base, "host").unwrap().to_vec();
        request.reply(base, Reply::new(200).body(host)).unwrap();
    });
    let port = url
        .rsplit(':')
        .next()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let resolver = Resolver::builder()
        .hosts("127.0.0.1 www.test")
        .build(&mut base)
        .unwrap();
    let client = |name: &str, base: &mut Base| {
        let builder = Client::builder().resolver(resolver);
        builder
            .build(base, format!("http://{name}:{port}"))
            .unwrap()
    };
    for name in ["www.test", "a..b"] {
        let client = client(name, &mut base);
        client.request(&mut base, Ask::get("/"), told).unwrap();
        run_until(&mut base, 1);
        let expected = match name {
            "www.test" => format!("200 www.test:{port}"),
            _ => "connection".into(),
        };
        assert_eq!(notes(&mut base), [expected]);
    }
}

#[test]
fn both_sides_can_go_on_in_another_protocol() {
    struct Upgrades;
    impl ResponseHandler for Upgrades {
        fn head(&mut self, base: &mut Base, exchange: Exchange) {
            let bev = exchange.upgrade(base).unwrap();
            assert!(!exchange.exists(base));
            let reads = Callbacks::new().read(|base, bev| {
                let mut text = [0; 16];
                let n = bev.read(base, &mut text);
                note(base, String::from_utf8_lossy(&text[..n]));
            });
            bev.set_handler(base, reads);
            bev.write(base, "ping").unwrap();
        }
        fn end(&mut self, _: &mut Base, _: Exchange, _: Result<(), Failure>) {
            panic!("the program has ended it");
        }
    }
    let mut base = Base::new().unwrap();
    let (server, url) = serve(&mut base, |base, request| {
        if request.field(base, "upgrade").is_none() {
            return echo(base, request);
        }
        let reply = Reply::new(101)
            .field("Connection", "upgrade")
            .field("Upgrade", "echo");
        let bev = request.upgrade(base, reply).unwrap();
        let echo = Callbacks::new().read(|base, bev| _ = bev.forward(base, bev));
        bev.set_handler(base, echo);
        bev.enable(base, Dirs::READ).unwrap();
    });
    let client = Client::new(&mut base, url).unwrap();
    let ask = Ask::get("/")
        .field("Connection", "upgrade")
        .field("Upgrade", "echo");
    client.request_with(&mut base, ask, Upgrades).unwrap();
    client.request(&mut base, Ask::get("/next"), told).unwrap();
    run_until(&mut base, 2);
    let mut seen = notes(&mut base);
    seen.sort();
    assert_eq!(seen, ["200 GET /next ", "ping"]);
    client.free(&mut base);
    server.free(&mut base);
    assert_eq!(base.bufferevents().count(), 2, "those that were taken out");
}
