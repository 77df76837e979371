//! What an HTTP server holds for its clients, and for how long, when both are in the middle of something.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use std::time::Duration;

use ferrevent::Base;
use ferrevent::http::{Body, Reply, Request, RequestCallbacks, RequestHandler, Server, Service};
use ferrevent_sim::{Faults, World};
use ground::{Ground, everywhere, settle};
use talk::{Talk, undated};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// More than a connection takes that is not read.
const LARGE: usize = 8 << 20;

/// Streams bodies, and answers with much as soon as more has come than anybody wants.
struct Fed;

impl Service for Fed {
    fn head(&mut self, _: &mut Base, _: Request) -> Body {
        Body::Stream
    }

    fn request(&mut self, base: &mut Base, request: Request) {
        let handler = RequestCallbacks::new().body(|base, request| {
            if request.body(base).unwrap().len() >= 64 << 10 {
                let large = Reply::new(413).body(vec![b'x'; LARGE]);
                request.reply(base, large).unwrap();
            }
        });
        request.set_handler(base, handler);
    }
}

#[test]
fn what_is_left_of_a_body_after_the_answer_is_not_kept() {
    everywhere(|ground| {
        let mut base = ground.base();
        let server = Server::builder().build_with(&mut base, Fed);
        let (bev, far) = ground.pair(&mut base);
        server.serve(&mut base, bev, None).unwrap();
        far.send(b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n");
        for _ in 0..20 {
            far.send(&[b'x'; 30_000]);
            settle(&mut base);
        }
        assert!(bev.output_len(&base).unwrap() > 0);
        assert_eq!(bev.input_len(&base), Some(0));
    });
}

/// Takes requests before their bodies, and keeps them.
struct Early;

/// A request that is kept.
struct Open(Request);

impl Service for Early {
    fn head(&mut self, _: &mut Base, _: Request) -> Body {
        Body::Stream
    }

    fn request(&mut self, base: &mut Base, request: Request) {
        base.insert_state(Open(request));
    }
}

const HALF: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf";

fn pass(base: &mut Base, seconds: u64) {
    base.after(Duration::from_secs(seconds), Base::loop_break);
    base.run().unwrap();
}

#[test]
fn who_takes_the_answer_needs_to_send_no_more_of_the_body() {
    let ground = Ground::Simulated(World::new(1, Faults::none()));
    let mut talk = Talk::with_service(&ground, Server::builder(), Early);
    talk.far.send(HALF.as_bytes());
    settle(&mut talk.base);
    let Open(request) = talk.base.remove_state().unwrap();
    let large = Reply::new(200).body(vec![b'x'; LARGE]);
    request.reply(&mut talk.base, large).unwrap();
    let mut got = 0;
    for _ in 0..200 {
        got += talk.far.receive().len();
        pass(&mut talk.base, 1);
    }
    assert!(got > LARGE, "{got}");
}

#[test]
fn an_answer_in_parts_to_half_a_body_is_followed_by_the_end_alone() {
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Early);
        talk.says(HALF);
        let Open(request) = talk.base.remove_state().unwrap();
        request.start(&mut talk.base, Reply::new(200)).unwrap();
        request.end(&mut talk.base).unwrap();
        assert!(talk.hears().ends_with("0\r\n\r\n"));
        // What comes is thrown away; on a closed connection it would take the answer with it.
        assert_eq!(talk.connections(), 1);
        talk.far.send(b"-body");
        settle(&mut talk.base);
        talk.far.finish();
        settle(&mut talk.base);
        assert_eq!(talk.connections(), 0);
    });
}

#[test]
fn what_came_behind_the_last_request_does_not_cost_its_answer() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, talk::echo);
        let last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let heard = undated(&talk.says([last, GET].concat()));
        assert!(heard.ends_with("GET /last\n"), "{heard}");
        assert_eq!(talk.connections(), 1);
        talk.far.finish();
        settle(&mut talk.base);
        assert_eq!(talk.connections(), 0);
    });
}

/// A server whose answers are as long as they may be while another request is read.
fn generous(base: &mut Base) -> Server {
    Server::new(base, |base, request| {
        let fits = Reply::new(200).body(vec![b'x'; 60 << 10]);
        request.reply(base, fits).unwrap();
    })
}

/// How many answers a connection takes of which none is read.
fn most_answers(ground: &Ground) -> usize {
    let mut base = ground.base();
    let server = generous(&mut base);
    let (bev, far) = ground.pair(&mut base);
    server.serve(&mut base, bev, None).unwrap();
    for n in 0..1000 {
        far.send(GET.as_bytes());
        settle(&mut base);
        if bev.output_len(&base) != Some(0) {
            return n;
        }
    }
    panic!("it takes everything");
}

#[test]
fn a_server_is_down_when_all_answers_are_sent() {
    struct Down;
    everywhere(|ground| {
        let most = most_answers(ground);
        let mut base = ground.base();
        let server = generous(&mut base);
        let (bev, far) = ground.pair(&mut base);
        server.serve(&mut base, bev, None).unwrap();
        for _ in 0..most {
            far.send(GET.as_bytes());
            settle(&mut base);
        }
        far.send([GET, "GET /ha"].concat().as_bytes());
        far.finish();
        settle(&mut base);
        assert!(bev.output_len(&base).unwrap() > 0);
        assert_eq!(server.connections_len(&base), Some(1));
        server.shut_down(&mut base, None, |base| {
            base.insert_state(Down);
        });
        settle(&mut base);
        assert!(base.state::<Down>().is_none());
        let mut heard = far.receive();
        settle(&mut base);
        heard.extend(far.receive());
        assert!(heard.len() > (most + 1) * (60 << 10));
        settle(&mut base);
        assert!(base.state::<Down>().is_some());
    });
}

/// Sends parts for as long as anybody takes them.
struct Endless;

/// How many were asked for.
struct Parts(usize);

impl RequestHandler for Endless {
    fn drained(&mut self, base: &mut Base, request: Request) {
        let Parts(before) = base.remove_state().unwrap_or(Parts(0));
        base.insert_state(Parts(before + 1));
        let _ = request.part(base, "more\n");
    }
}

#[test]
fn an_answer_without_a_body_ends_with_its_head() {
    everywhere(|ground| {
        for (asked, code) in [(GET, 204), (GET, 304), ("HEAD / HTTP/1.1\r\n\r\n", 200)] {
            let mut talk = Talk::new(ground, move |base, request| {
                request.set_handler(base, Endless);
                request.start(base, Reply::new(code)).unwrap();
            });
            let heard = talk.says([asked, "GET /ha"].concat());
            // They would be asked for without an end, since none of them is ever sent.
            assert!(talk.base.state::<Parts>().is_none(), "{code}");
            assert!(heard.starts_with(&format!("HTTP/1.1 {code} ")), "{heard}");
            assert!(heard.ends_with("\r\n\r\n"), "{heard}");
            talk.far.finish();
            settle(&mut talk.base);
            assert_eq!(talk.connections(), 0, "{code}");
        }
    });
}

#[test]
fn an_answer_without_a_body_waits_for_the_body_of_its_request() {
    struct Eager;
    impl Service for Eager {
        fn head(&mut self, _: &mut Base, _: Request) -> Body {
            Body::Stream
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            request.set_handler(base, Endless);
            request.start(base, Reply::new(200)).unwrap();
        }
    }
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Eager);
        let heard = talk.says("HEAD / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab");
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
        assert!(talk.base.state::<Parts>().is_none_or(|parts| parts.0 == 1));
        talk.says("cd");
        // It is over, and the next one begins.
        let heard = talk.says("HEAD / HTTP/1.1\r\n\r\n");
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    });
}

#[test]
fn a_protocol_is_changed_while_the_server_shuts_down() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            base.insert_state(Open(request));
        });
        talk.says("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n");
        let Open(request) = talk.base.remove_state().unwrap();
        talk.server.shut_down(&mut talk.base, None, |_| ());
        let reply = Reply::new(101)
            .field("Connection", "Upgrade")
            .field("Upgrade", "other");
        let bev = request.upgrade(&mut talk.base, reply).unwrap();
        let heard = talk.hears();
        assert!(heard.contains("Connection: Upgrade\r\n"), "{heard}");
        assert!(!heard.contains("close"), "{heard}");
        bev.free(&mut talk.base);
    });
}
