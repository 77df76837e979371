//! An HTTP client: cancelling, and what callbacks may do.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod told;

use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use ferrevent::Base;
use ferrevent::http::{Ask, Client, Exchange, Failure, Response, ResponseHandler};
use told::{
    OK, PATIENCE, closed, echo, note, notes, read_request, run, run_until, script, serve, told, url,
};

#[test]
fn what_is_cancelled_is_not_told_and_the_rest_is() {
    for cancelled in 0..3 {
        let mut base = Base::new().unwrap();
        let (_, url) = serve(&mut base, |base, request| {
            note(base, "asked");
            base.after(Duration::from_millis(2), move |base| {
                if request.exists(base) {
                    echo(base, request);
                }
            });
        });
        let client = Client::new(&mut base, url).unwrap();
        let asked = ["/0", "/1", "/2"]
            .map(|target| client.request(&mut base, Ask::get(target), told).unwrap());
        // The first one is under way.
        run_until(&mut base, 1);
        assert!(asked[cancelled].cancel(&mut base));
        assert!(!asked[cancelled].cancel(&mut base) && !asked[cancelled].exists(&base));
        run_until(&mut base, if cancelled == 0 { 5 } else { 4 });
        let seen = notes(&mut base);
        for (i, target) in ["/0", "/1", "/2"].into_iter().enumerate() {
            let line = format!("200 GET {target} ");
            assert_eq!(seen.contains(&line), i != cancelled, "{cancelled} {target}");
        }
    }
    // While it connects.
    let mut base = Base::new().unwrap();
    let (_socket, nobody) = closed();
    let client = Client::new(&mut base, url(nobody)).unwrap();
    let exchange = client.request(&mut base, Ask::get("/"), told).unwrap();
    assert!(exchange.cancel(&mut base));
    assert_eq!(base.bufferevents().count(), 0, "nobody wants it any more");
    run(&mut base);
    assert_eq!(notes(&mut base), [""; 0]);
}

/// Looks at its request, and cancels it, in one of its callbacks.
struct Cancels {
    at: &'static str,
}

/// The request that waits.
struct Next(Exchange);

impl Cancels {
    fn call(&self, base: &mut Base, at: &'static str, exchange: Exchange) {
        note(base, at);
        if self.at != at {
            return;
        }
        let code = |base: &Base, exchange: Exchange| exchange.head(base).map(|head| head.code());
        let before = code(base, exchange);
        assert!(before.is_some(), "{at}");
        let over = at == "end";
        assert_eq!(exchange.cancel(base), !over);
        assert_eq!(exchange.exists(base), over);
        assert_eq!(code(base, exchange), before.filter(|_| over));
        assert_eq!(exchange.take_body(base).is_some(), over);
        // What waits behind it has nothing of its answer, and can be cancelled.
        let Next(next) = base.remove_state().unwrap();
        assert_eq!(code(base, next), None);
        assert!(next.upgrade(base).is_none());
        assert!(next.cancel(base) && !next.exists(base));
        assert_eq!(exchange.exists(base), over);
        assert_eq!(code(base, exchange), before.filter(|_| over));
    }
}

impl ResponseHandler for Cancels {
    fn interim(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "interim", exchange);
    }

    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "head", exchange);
    }

    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "body", exchange);
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, _: Result<(), Failure>) {
        self.call(base, "end", exchange);
    }
}

#[test]
fn cancelling_in_a_callback_ends_the_request_unless_it_has_ended() {
    let whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let half = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi";
    let places = ["interim", "head", "body", "end"];
    for answer in [whole, half] {
        for (i, at) in places.into_iter().enumerate() {
            // Where it has ended, its connection is kept for what is asked last.
            let kept = at == "end" && answer == whole;
            let connections = match kept {
                true => vec![vec![answer, OK]],
                false => vec![vec![answer], vec![OK]],
            };
            let (url, server) = script(connections);
            let mut base = Base::new().unwrap();
            let client = Client::new(&mut base, url).unwrap();
            let handler = Cancels { at };
            client
                .request_with(&mut base, Ask::get("/"), handler)
                .unwrap();
            let never = |_: &mut Base, _: Result<Response, Failure>| panic!("it is cancelled");
            let next = client.request(&mut base, Ask::get("/"), never).unwrap();
            base.insert_state(Next(next));
            client.request(&mut base, Ask::get("/"), told).unwrap();
            client.free_when_done(&mut base);
            run(&mut base);
            let expected = [&places[..=i], &["200 1"]].concat();
            assert_eq!(notes(&mut base), expected);
            server.join().unwrap();
        }
    }
}

// ---- What callbacks may do ----

#[derive(Clone, Copy)]
struct Deed {
    at: &'static str,
    what: fn(&mut Base, Exchange),
}

impl Deed {
    fn call(self, base: &mut Base, at: &'static str, exchange: Exchange) {
        if self.at == at {
            note(base, at);
            (self.what)(base, exchange);
        }
    }
}

impl ResponseHandler for Deed {
    fn interim(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "interim", exchange);
    }

    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "head", exchange);
    }

    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        self.call(base, "body", exchange);
    }

    fn end(&mut self, base: &mut Base, exchange: Exchange, _: Result<(), Failure>) {
        self.call(base, "end", exchange);
    }
}

#[test]
fn every_callback_may_do_everything() {
    let deeds: [fn(&mut Base, Exchange); 6] = [
        |base, exchange| _ = exchange.client().free(base),
        |base, exchange| _ = exchange.cancel(base),
        |base, exchange| _ = exchange.upgrade(base),
        |base, exchange| _ = exchange.client().free_when_done(base),
        |base, exchange| _ = exchange.client().request(base, Ask::get("/more"), told),
        |base, _| {
            let all: Vec<_> = base.bufferevents().collect();
            for bev in all {
                bev.free(base);
            }
        },
    ];
    let parts = [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n1",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1",
    ];
    for answer in parts {
        for at in ["interim", "head", "body", "end"] {
            for what in deeds {
                let mut base = Base::new().unwrap();
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let url = url(listener.local_addr().unwrap());
                let client = Client::new(&mut base, url).unwrap();
                let deed = Deed { at, what };
                client.request_with(&mut base, Ask::get("/"), deed).unwrap();
                client.request(&mut base, Ask::get("/next"), told).unwrap();
                let far = thread::spawn(move || {
                    let (mut stream, _) = listener.accept().unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    read_request(&mut stream);
                    let _ = stream.write_all(answer.as_bytes());
                });
                run_until(&mut base, 1);
                far.join().unwrap();
                assert_eq!(notes(&mut base)[0], at);
                for _ in 0..5 {
                    base.run_nonblocking().unwrap();
                }
                client.free(&mut base);
                base.run_nonblocking().unwrap();
                assert_eq!(base.bufferevents().count(), 0);
                assert_eq!(base.pending_len(), 0);
            }
        }
    }
}
