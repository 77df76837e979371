//! An HTTP server: what callbacks may do, and bytes that come in any way.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ferrevent::Base;
use ferrevent::http::{Body, Reply, Request, RequestCallbacks, Server, Service};
use ferrevent_sim::{Faults, World};
use ground::{Far, Ground, everywhere, note, notes, settle};
use talk::{GET, Talk, connect, echo, ok, simulated, undated};

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
