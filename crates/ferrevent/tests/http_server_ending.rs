//! An HTTP server: how requests, connections and the server end.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ferrevent::http::{Body, Failure, Reply, Request, RequestCallbacks, Server, Service};
use ferrevent::{Base, Buffer, Error, Mode, Progress};
use ferrevent_sim::{Faults, World};
use ground::{Far, Ground, everywhere, note, notes, run, settle};
use talk::{Talk, connect, echo, ok, undated};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const NOTHING: [&str; 0] = [];

struct Open(Request);

/// Notes how the request ends, and does not answer it.
fn keep(base: &mut Base, request: Request) {
    let handler = RequestCallbacks::new()
        .client_ended(|base, _| note(base, "client_ended"))
        .end(|base, request, outcome| {
            assert!(request.exists(base) && request.head(base).is_some());
            assert!(request.reply(base, Reply::new(200)).is_err(), "it is over");
            note(base, name(&outcome));
        });
    request.set_handler(base, handler);
    base.insert_state(Open(request));
}

fn name(outcome: &Result<(), Failure>) -> &'static str {
    match outcome {
        Ok(()) => "ok",
        Err(Failure::Eof) => "eof",
        Err(Failure::Timeout) => "timeout",
        Err(Failure::Message(_)) => "message",
        Err(Failure::Connection(_)) => "connection",
        Err(Failure::Shutdown) => "shutdown",
        Err(_) => "?",
    }
}

// ---- Clients that go ----

#[test]
fn a_client_that_has_ended_its_direction_still_gets_the_answer() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, keep);
        talk.says(GET);
        talk.far.finish();
        assert_eq!(talk.hears(), "");
        assert_eq!(notes(&mut talk.base), ["client_ended"]);
        let Open(request) = talk.base.remove_state().unwrap();
        echo(&mut talk.base, request);
        assert_eq!(undated(&talk.hears()), ok("GET /\n"));
        assert_eq!(notes(&mut talk.base), ["ok"]);
        assert_eq!(talk.connections(), 0);
    });
}

#[test]
fn what_came_before_the_end_is_answered() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, echo);
        talk.far
            .send([GET, GET, "GET /half HTTP"].concat().as_bytes());
        talk.far.finish();
        assert_eq!(undated(&talk.hears()), ok("GET /\n").repeat(2));
        assert!(talk.far.is_alone());
        assert_eq!(talk.connections(), 0);
        assert_eq!(talk.base.pending_len(), 0);
    });
}

#[test]
fn a_client_that_is_gone_is_told_of_once() {
    everywhere(|ground| {
        let token = Rc::new(());
        let held = token.clone();
        let mut talk = Talk::new(ground, move |base, request| {
            keep(base, request);
            let held = held.clone();
            let ended = RequestCallbacks::new().end(move |base, _, outcome| {
                let _ = &held;
                note(base, name(&outcome));
            });
            request.set_handler(base, ended);
        });
        talk.says(GET);
        assert_eq!(Rc::strong_count(&token), 3);
        let Talk {
            mut base,
            server,
            far,
        } = talk;
        far.close();
        settle(&mut base);
        let Open(request) = base.remove_state().unwrap();
        // Whether it is known already that nobody reads is the system's matter.
        if request.exists(&base) {
            request.start(&mut base, Reply::new(200)).unwrap();
            for _ in 0..10 {
                settle(&mut base);
                if request.part(&mut base, "x").is_err() {
                    break;
                }
            }
        }
        settle(&mut base);
        assert_eq!(notes(&mut base), ["connection"]);
        assert!(!request.exists(&base));
        assert_eq!(Rc::strong_count(&token), 2, "its handler is dropped");
        assert_eq!(server.connections_len(&base), Some(0));
    });
}

#[test]
fn half_a_body_is_none() {
    struct Streams;
    impl Service for Streams {
        fn head(&mut self, _: &mut Base, _: Request) -> Body {
            Body::Stream
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            keep(base, request);
        }
    }
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Streams);
        talk.says("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf");
        talk.far.finish();
        assert_eq!(talk.hears(), "");
        assert_eq!(notes(&mut talk.base), ["eof"]);
        assert_eq!(talk.connections(), 0);

        let mut talk = Talk::with_service(ground, Server::builder(), Streams);
        let heard = talk.says("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\n");
        assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
        assert_eq!(notes(&mut talk.base), ["message"]);
    });
}

#[test]
fn the_end_of_a_request_is_that_of_its_answer() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            keep(base, request);
            let handler = RequestCallbacks::new().end(|base, request, outcome| {
                assert!(outcome.is_ok());
                assert_eq!(request.unsent(base), Some(0));
                note(base, "end");
            });
            request.set_handler(base, handler);
            echo(base, request);
        });
        let heard = talk.says(GET.repeat(3));
        assert_eq!(undated(&heard), ok("GET /\n").repeat(3));
        assert_eq!(notes(&mut talk.base), ["end"; 3]);
    });
}

#[test]
fn what_cannot_be_served_is_refused() {
    everywhere(|ground| {
        let mut base = ground.base();
        let server = Server::new(&mut base, echo);
        let [below, other] = ground.both(&mut base);
        struct Plain;
        impl ferrevent::Stage for Plain {
            fn inbound(
                &mut self,
                from: &mut Buffer,
                to: &mut Buffer,
                _: Mode,
                _: usize,
            ) -> std::io::Result<Progress> {
                to.append_buffer(from)?;
                Ok(Progress::NeedMore)
            }
            fn outbound(
                &mut self,
                from: &mut Buffer,
                to: &mut Buffer,
                mode: Mode,
                limit: usize,
            ) -> std::io::Result<Progress> {
                self.inbound(from, to, mode, limit)
            }
        }
        let above = ferrevent::BufferEvent::over(&mut base, below, Plain).unwrap();
        let refused = server.serve(&mut base, below, None);
        assert!(matches!(refused, Err(Error::Layered)));
        other.free(&mut base);
        let refused = server.serve(&mut base, other, None);
        assert!(matches!(refused, Err(Error::Stale)));
        assert_eq!(server.connections_len(&base), Some(0));
        server.serve(&mut base, above, None).unwrap();
        settle(&mut base);
        assert_eq!(
            server.connections_len(&base),
            Some(0),
            "its far end is gone"
        );
    });
}

#[test]
fn what_is_served_already_is_not_served_twice() {
    everywhere(|ground| {
        let mut base = ground.base();
        let server = Server::new(&mut base, |base, request| {
            // Also while its own handler runs.
            let server = request.server(base).unwrap();
            let bev = base.bufferevents().next().unwrap();
            let refused = server.serve(base, bev, None);
            assert!(matches!(refused, Err(Error::Served)));
            echo(base, request);
        });
        let other = Server::new(&mut base, |_, _| panic!("it has nobody to serve"));
        let (bev, far) = ground.pair(&mut base);
        server.serve(&mut base, bev, None).unwrap();
        far.send(b"GET /half HT");
        settle(&mut base);
        for server in [server, other] {
            let refused = server.serve(&mut base, bev, None);
            assert!(matches!(refused, Err(Error::Served)));
        }
        // Nothing of the first one is lost.
        far.send([&b"TP/1.1\r\n\r\n"[..], GET.as_bytes()].concat().as_slice());
        let mut heard = Vec::new();
        for _ in 0..5 {
            settle(&mut base);
            heard.extend(far.receive());
        }
        let heard = String::from_utf8(heard).unwrap();
        assert_eq!(undated(&heard), [ok("GET /half\n"), ok("GET /\n")].concat());
        assert_eq!(server.connections_len(&base), Some(1));
        assert_eq!(other.connections_len(&base), Some(0));
        assert!(other.free(&mut base) && bev.exists(&base));
        far.finish();
        settle(&mut base);
        assert_eq!(server.connections_len(&base), Some(0));
        assert_eq!(base.pending_len(), 0);
    });
}

#[test]
fn what_a_server_has_given_out_can_be_served_again() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            let server = request.server(base).unwrap();
            if request.target(base) == Some(b"/up") {
                let bev = request.upgrade(base, Reply::new(101)).unwrap();
                return server.serve(base, bev, None).unwrap();
            }
            echo(base, request);
        });
        let up = "GET /up HTTP/1.1\r\n\r\n";
        let heard = talk.says([up, GET].concat());
        assert!(heard.starts_with("HTTP/1.1 101 "), "{heard}");
        assert!(undated(&heard).ends_with(&ok("GET /\n")), "{heard}");
        assert_eq!(talk.connections(), 1);
    });
}

// ---- Limits ----

#[test]
fn what_is_too_long_is_refused() {
    everywhere(|ground| {
        let builder = || Server::builder().max_head(100).max_body(10);
        for (asked, code) in [
            (format!("GET /{} HTTP/1.1\r\n", "x".repeat(100)), 400),
            ("PUT / HTTP/1.1\r\nContent-Length: 11\r\n\r\n".into(), 413),
            (
                "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n".into(),
                413,
            ),
            (
                "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\n".into(),
                413,
            ),
            (
                "PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n".into(),
                413,
            ),
        ] {
            let mut talk = Talk::with(ground, builder(), echo);
            let heard = talk.says(&asked);
            assert!(heard.starts_with(&format!("HTTP/1.1 {code} ")), "{heard}");
            assert!(heard.contains("\r\nConnection: close\r\n"));
            assert_eq!(talk.says(GET), "", "nothing is answered behind it");
            talk.far.finish();
            talk.hears();
            assert_eq!(talk.connections(), 0);
        }
        let mut talk = Talk::with(ground, builder(), echo);
        for _ in 0..2 {
            let heard = talk.says("PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789");
            assert_eq!(undated(&heard), ok("PUT /\n0123456789"));
        }
    });
}

#[test]
fn a_streamed_body_has_any_length() {
    struct Streams;
    impl Service for Streams {
        fn head(&mut self, base: &mut Base, request: Request) -> Body {
            match request.target(base) {
                Some(b"/collected") => Body::Collect,
                _ => Body::Stream,
            }
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            if request.is_complete(base) == Some(true) {
                return echo(base, request);
            }
            let handler = RequestCallbacks::new()
                .body(|base, request| _ = request.take_body(base))
                .complete(|base, request| request.reply(base, Reply::new(204)).unwrap());
            request.set_handler(base, handler);
        }
    }
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder().max_body(10), Streams);
        let heard = talk.says("PUT /collected HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!(undated(&heard), ok("PUT /collected\nabc"));
        talk.says("PUT / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n");
        let mut heard = String::new();
        for _ in 0..10 {
            heard += &talk.says([b'x'; 10_000]);
        }
        assert!(heard.starts_with("HTTP/1.1 204 "), "{heard}");
    });
}

/// With a clock of its own.
fn simulated() -> Ground {
    Ground::Simulated(World::new(1, Faults::none()))
}

/// Runs until nothing is left to wait for, and says how many seconds that took.
fn run_out(base: &mut Base) -> u64 {
    let start = base.now();
    base.run().unwrap();
    (base.now() - start).as_secs_f64().round() as u64
}

fn timed() -> ferrevent::http::ServerBuilder {
    Server::builder()
        .idle_timeout(Some(Duration::from_secs(10)))
        .head_timeout(Some(Duration::from_secs(3)))
        .body_timeout(Some(Duration::from_secs(5)))
        .write_timeout(Some(Duration::from_secs(7)))
}

#[test]
fn clients_have_deadlines() {
    for (asked, seconds) in [
        ("", 3),
        ("GET / HT", 3),
        ("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", 5),
        (GET, 10),
    ] {
        let mut talk = Talk::with(&simulated(), timed(), echo);
        talk.says(asked);
        let waited = run_out(&mut talk.base);
        assert_eq!(waited, seconds, "{asked}");
        assert!(talk.far.is_alone());
        assert_eq!(talk.connections(), 0);
    }
}

#[test]
fn a_head_that_trickles_has_one_deadline_and_a_body_one_for_each_step() {
    // Every two seconds a byte.
    fn trickle(talk: &mut Talk, text: &'static str) -> usize {
        let mut sent = 0;
        for byte in text.bytes() {
            talk.far.send(&[byte]);
            sent += 1;
            talk.base.after(Duration::from_secs(2), Base::loop_break);
            talk.base.run().unwrap();
            if talk.connections() == 0 {
                break;
            }
        }
        sent
    }
    let mut talk = Talk::with(&simulated(), timed(), echo);
    assert_eq!(trickle(&mut talk, GET), 2);
    let mut talk = Talk::with(&simulated(), timed(), echo);
    talk.says("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(trickle(&mut talk, "slow body"), 9);
    assert_eq!(undated(&talk.hears()), ok("PUT /\nslow body"));
    // The next head's deadline begins with it.
    talk.base.after(Duration::from_secs(8), Base::loop_break);
    talk.base.run().unwrap();
    assert_eq!(undated(&talk.says(GET)), ok("GET /\n"));
}

#[test]
fn the_program_has_all_the_time_and_who_does_not_read_has_not() {
    let mut talk = Talk::with(&simulated(), timed(), keep);
    talk.says(GET);
    talk.base.after(Duration::from_secs(1000), Base::loop_break);
    talk.base.run().unwrap();
    let Open(request) = talk.base.remove_state().unwrap();
    let large = Reply::new(200).body(vec![b'x'; 1 << 20]);
    request.reply(&mut talk.base, large).unwrap();
    let waited = run_out(&mut talk.base);
    assert_eq!(waited, 7);
    assert_eq!(notes(&mut talk.base), ["timeout"]);
    assert_eq!(talk.connections(), 0);
}

#[test]
fn who_lingers_is_not_waited_for_for_long() {
    let mut talk = Talk::with(&simulated(), timed(), echo);
    talk.says("nonsense\r\n\r\n");
    assert_eq!(talk.connections(), 1);
    assert_eq!(run_out(&mut talk.base), 2);
    assert_eq!(talk.connections(), 0);
}

#[test]
fn a_full_server_lets_the_next_ones_wait() {
    let mut base = Base::new().unwrap();
    let builder = Server::builder().max_connections(2);
    let server = builder.build(&mut base, |base, request| {
        assert!(request.peer(base).unwrap().ip().is_loopback());
        echo(base, request);
    });
    let listener = server.bind(&mut base, anywhere()).unwrap();
    assert_eq!(server.listeners(&base).unwrap(), [listener]);
    let address = listener.address(&base).unwrap();
    let remote = base.remote();
    let clients = thread::spawn(move || {
        let ask = |mut stream: &TcpStream| {
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.write_all(GET.as_bytes()).unwrap();
            let mut answer = [0; 512];
            let n = stream.read(&mut answer).unwrap();
            assert!(answer[..n].starts_with(b"HTTP/1.1 200 "));
        };
        let [one, two, three] = [0; 3].map(|_| TcpStream::connect(address).unwrap());
        ask(&one);
        ask(&two);
        // The third one's connection is with the kernel.
        (&three).write_all(GET.as_bytes()).unwrap();
        let stands = || {
            let (tell, told) = std::sync::mpsc::channel();
            let look = move |base: &mut Base| {
                let now = (server.connections_len(base), listener.is_enabled(base));
                tell.send(now).unwrap();
            };
            remote.post(look).unwrap();
            told.recv().unwrap()
        };
        assert_eq!(stands(), (Some(2), false));
        drop(one);
        let mut answer = [0; 512];
        three
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let n = (&three).read(&mut answer).unwrap();
        assert!(answer[..n].starts_with(b"HTTP/1.1 200 "));
        assert_eq!(stands(), (Some(2), false), "it is full again");
        remote.loop_break().unwrap();
    });
    run(&mut base);
    clients.join().unwrap();
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

// ---- The end of the server ----

#[test]
fn a_server_that_shuts_down_finishes_what_has_begun() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, keep);
        let idle = connect(ground, &mut talk.base, talk.server);
        let half = connect(ground, &mut talk.base, talk.server);
        half.send(b"GET /half HT");
        talk.says(GET);
        let Open(first) = talk.base.remove_state().unwrap();
        let Talk {
            mut base,
            server,
            far,
        } = talk;
        let told = |base: &mut Base| note(base, "down");
        assert!(server.shut_down(&mut base, None, told));
        assert!(!server.shut_down(&mut base, None, |_| panic!("twice")));
        settle(&mut base);
        assert!(idle.is_alone());
        assert_eq!(server.connections_len(&base), Some(2));
        let refused = server.bind(&mut base, anywhere()).map(drop);
        assert!(matches!(refused, Err(Error::Stale)));

        echo(&mut base, first);
        settle(&mut base);
        let answer = String::from_utf8(far.receive()).unwrap();
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(far.is_alone());
        assert_eq!(notes(&mut base), ["ok"]);

        half.send(b"TP/1.1\r\n\r\n");
        settle(&mut base);
        let Open(second) = base.remove_state().unwrap();
        second.start(&mut base, Reply::new(200)).unwrap();
        second.end(&mut base).unwrap();
        settle(&mut base);
        let answer = String::from_utf8(half.receive()).unwrap();
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["ok", "down"]);
        assert!(!server.exists(&base));
        assert_eq!(base.pending_len(), 0);
    });
}

#[test]
fn the_patience_of_a_server_that_shuts_down_has_an_end() {
    let mut talk = Talk::new(&simulated(), keep);
    talk.says(GET);
    let patience = Some(Duration::from_secs(4));
    talk.server
        .shut_down(&mut talk.base, patience, |base| note(base, "down"));
    assert_eq!(run_out(&mut talk.base), 4);
    assert_eq!(notes(&mut talk.base), ["shutdown", "down"]);
    assert!(talk.far.is_alone());
}

#[test]
fn a_server_without_connections_is_down_at_once() {
    let mut base = Base::new().unwrap();
    let server = Server::new(&mut base, echo);
    let listener = server.bind(&mut base, anywhere()).unwrap();
    server.shut_down(&mut base, Some(Duration::from_secs(100)), |base| {
        note(base, "down")
    });
    assert_eq!(notes(&mut base), NOTHING, "it is told from the loop");
    base.run().unwrap();
    assert_eq!(notes(&mut base), ["down"]);
    assert!(!listener.exists(&base) && !server.exists(&base));
}

#[test]
fn freeing_a_server_calls_nobody_and_leaves_nothing() {
    everywhere(|ground| {
        let token = Rc::new(());
        let held = token.clone();
        let mut talk = Talk::new(ground, move |base, request| {
            let _ = &held;
            keep(base, request);
        });
        let other = connect(ground, &mut talk.base, talk.server);
        talk.says(GET);
        assert!(talk.server.free(&mut talk.base));
        assert!(!talk.server.free(&mut talk.base));
        assert_eq!(talk.hears(), "");
        assert_eq!(notes(&mut talk.base), NOTHING);
        assert!(talk.far.is_alone() && other.is_alone());
        assert_eq!(Rc::strong_count(&token), 1);
        assert_eq!(talk.base.pending_len(), 0);
        assert_eq!(talk.base.bufferevents().count(), 0);
        assert_eq!(talk.server.connections_len(&talk.base), None);
    });
}

// ---- What callbacks may do ----

/// Does one thing in one callback.
#[derive(Clone, Copy)]
struct Deed {
    at: &'static str,
    what: fn(&mut Base, Request),
}

impl Deed {
    fn call(self, base: &mut Base, at: &'static str, request: Request) {
        if self.at == at {
            note(base, at);
            (self.what)(base, request);
        }
    }
}

impl Service for Deed {
    fn head(&mut self, base: &mut Base, request: Request) -> Body {
        let deed = *self;
        let handler = RequestCallbacks::new()
            .body(move |base, request| deed.call(base, "body", request))
            .complete(move |base, request| {
                deed.call(base, "complete", request);
                // Whatever is left of it.
                let _ = request.start(base, Reply::new(200).body("part"));
            })
            .drained(move |base, request| {
                deed.call(base, "drained", request);
                let _ = request.end(base);
            })
            .client_ended(move |base, request| deed.call(base, "client_ended", request))
            .end(move |base, request, _| deed.call(base, "end", request));
        request.set_handler(base, handler);
        self.call(base, "head", request);
        Body::Stream
    }

    fn request(&mut self, base: &mut Base, request: Request) {
        self.call(base, "request", request);
    }
}

/// The connection may have ended.
fn try_to_send(far: &Far, bytes: &[u8]) {
    match far {
        Far::Socket(socket) => _ = (&mut &*socket).write(bytes),
        Far::Peer(peer) => _ = peer.send(bytes),
    }
}

#[test]
fn every_callback_may_do_everything() {
    let deeds: [fn(&mut Base, Request); 9] = [
        |base, request| {
            let server = request.server(base).unwrap();
            server.free(base);
        },
        |base, request| _ = request.abort(base),
        |base, request| _ = request.reply(base, Reply::new(200)),
        |base, request| {
            let _ = request.start(base, Reply::new(200));
            let _ = request.end(base);
        },
        |base, request| _ = request.error(base, 503, None),
        |base, request| {
            _ = request
                .upgrade(base, Reply::new(101))
                .map(|bev| bev.free(base))
        },
        |base, request| _ = request.set_handler(base, RequestCallbacks::new()),
        |base, request| {
            let server = request.server(base).unwrap();
            server.shut_down(base, None, |_| {});
        },
        // Somebody who knows of its bufferevent.
        |base, _| {
            let all: Vec<_> = base.bufferevents().collect();
            for bev in all {
                bev.free(base);
            }
        },
    ];
    let places = [
        "head",
        "request",
        "body",
        "complete",
        "drained",
        "client_ended",
        "end",
    ];
    everywhere(|ground| {
        for at in places {
            for (i, what) in deeds.into_iter().enumerate() {
                let mut talk = Talk::with_service(ground, Server::builder(), Deed { at, what });
                talk.far
                    .send(b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc");
                settle(&mut talk.base);
                try_to_send(&talk.far, b"defGET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n");
                settle(&mut talk.base);
                if at == "client_ended" {
                    // While the answer is due.
                    talk = Talk::with_service(ground, Server::builder(), Deed { at, what });
                    talk.far.send(GET.as_bytes());
                }
                talk.far.finish();
                settle(&mut talk.base);
                talk.far.receive();
                settle(&mut talk.base);
                let seen = notes(&mut talk.base);
                if at != "client_ended" {
                    assert!(seen.contains(&at.to_string()), "{at} {i}: {seen:?}");
                }
                // What is left is the server's to free.
                talk.server.free(&mut talk.base);
                settle(&mut talk.base);
                assert_eq!(talk.base.bufferevents().count(), 0, "{at} {i}");
                assert_eq!(talk.base.pending_len(), 0, "{at} {i}");
            }
        }
    });
}

#[test]
fn a_service_that_has_panicked_is_missed() {
    let ground = simulated();
    let mut talk = Talk::new(&ground, |_, _| panic!("on purpose"));
    talk.far.send(GET.as_bytes());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = catch_unwind(AssertUnwindSafe(|| settle(&mut talk.base)));
    std::panic::set_hook(hook);
    assert!(panicked.is_err());
    let second = connect(&ground, &mut talk.base, talk.server);
    second.send(GET.as_bytes());
    settle(&mut talk.base);
    assert!(second.receive().starts_with(b"HTTP/1.1 500 "));
    talk.server.free(&mut talk.base);
}

#[test]
fn bytes_that_come_in_any_way_get_the_same_answers() {
    let asked = [
        GET,
        "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
        "GET /c HTTP/1.1\r\nConnection: close\r\n\r\n",
    ];
    let expected = [ok("GET /\n"), ok("POST /a\nabc"), ok("POST /b\nabcdef")].concat();
    for seed in 0..200 {
        let ground = Ground::Simulated(World::new(seed, Faults::wild()));
        let mut talk = Talk::new(&ground, move |base, request| {
            // Some are answered at once, some later.
            let len = request.body(base).unwrap().len() as u64;
            if (seed + len).is_multiple_of(2) {
                return echo(base, request);
            }
            base.after(Duration::from_millis(3), move |base| echo(base, request));
        });
        let Far::Peer(peer) = &talk.far else {
            unreachable!()
        };
        let mut rest = asked.concat().into_bytes();
        let mut heard = Vec::new();
        let mut passes = 0;
        while talk.server.connections_len(&talk.base) == Some(1) {
            passes += 1;
            assert!(passes < 100_000, "{seed}");
            let n = peer.send(&rest).unwrap();
            rest.drain(..n);
            talk.base.run_once().unwrap();
            heard.extend(peer.receive(usize::MAX));
        }
        while !peer.at_end() {
            passes += 1;
            assert!(passes < 100_000, "{seed}");
            // What is on its way needs time.
            talk.base.after(Duration::from_millis(1), |_| {});
            talk.base.run_once().unwrap();
            heard.extend(peer.receive(usize::MAX));
        }
        let heard = undated(&String::from_utf8(heard).unwrap());
        let (most, last) = heard.split_at(expected.len());
        assert_eq!(most, expected, "{seed}");
        assert!(last.contains("\r\nConnection: close\r\n"), "{seed}");
        assert!(last.ends_with("\r\n\r\nGET /c\n"), "{seed}");
    }
}
