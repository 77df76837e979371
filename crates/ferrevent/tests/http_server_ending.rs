//! An HTTP server: how requests, connections and the server end.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use std::rc::Rc;
use std::time::Duration;

use ferrevent::http::{Body, Reply, Request, RequestCallbacks, Server, Service};
use ferrevent::{Base, Buffer, Error, Mode, Progress};
use ground::{everywhere, note, notes, settle};
use talk::{
    GET, Open, Talk, anywhere, connect, echo, keep_and_note, name, ok, run_out, simulated, undated,
};

const NOTHING: [&str; 0] = [];

// ---- Clients that go ----

#[test]
fn a_client_that_has_ended_its_direction_still_gets_the_answer() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, keep_and_note);
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
            keep_and_note(base, request);
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
            keep_and_note(base, request);
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
            keep_and_note(base, request);
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

// ---- The end of the server ----

#[test]
fn a_server_that_shuts_down_finishes_what_has_begun() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, keep_and_note);
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
    let mut talk = Talk::new(&simulated(), keep_and_note);
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
            keep_and_note(base, request);
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
