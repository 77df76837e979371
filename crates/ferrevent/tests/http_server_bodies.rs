//! An HTTP server: answers in parts, and bodies of requests.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use ferrevent::http::{
    BadHead, Body, Reply, Request, RequestCallbacks, RequestHandler, Server, Service,
};
use ferrevent::{Base, Error};
use ground::{everywhere, note, notes};
use talk::{GET, Open, Talk, echo, keep, ok, undated};

// ---- Answers in parts ----

#[test]
fn an_answer_in_parts_is_sent_as_the_client_understands_it() {
    fn in_parts(base: &mut Base, request: Request) {
        request.start(base, Reply::new(200).body("a")).unwrap();
        request.part(base, "").unwrap();
        request.part(base, "bc").unwrap();
        request.end(base).unwrap();
    }
    everywhere(|ground| {
        let mut talk = Talk::new(ground, in_parts);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: -\r\n\r\n\
                       1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
        assert_eq!(undated(&talk.says([GET, GET].concat())), chunked.repeat(2));
        let heard = talk.says("HEAD / HTTP/1.1\r\n\r\n");
        assert!(
            heard.ends_with("\r\n\r\n") && !heard.contains("bc"),
            "{heard}"
        );
        let heard = talk.says("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(heard.ends_with("\r\n\r\nabc"), "{heard}");
        assert!(talk.far.is_alone());

        for (length, sent, kept) in [(3, "abc", true), (2, "ab", false), (4, "abc", false)] {
            let mut talk = Talk::new(ground, move |base, request| {
                let reply = Reply::new(200).field("Content-Length", length.to_string());
                request.start(base, reply).unwrap();
                request.part(base, "abc").unwrap();
                request.end(base).unwrap();
            });
            let heard = talk.says(GET);
            assert!(heard.ends_with(&format!("\r\n\r\n{sent}")), "{heard}");
            // What was beyond its length is not sent, so that one is right.
            let kept = kept || length == 2;
            assert_eq!(talk.connections() == 1, kept, "{length}");
        }
    });
}

#[test]
fn the_next_part_is_asked_for_when_the_former_ones_are_gone() {
    struct Count(u32);
    impl RequestHandler for Count {
        fn drained(&mut self, base: &mut Base, request: Request) {
            assert_eq!(request.unsent(base), Some(0));
            self.0 += 1;
            match self.0 {
                1..=3 => request.part(base, self.0.to_string()).unwrap(),
                _ => request.end(base).unwrap(),
            }
        }
        fn end(
            &mut self,
            base: &mut Base,
            request: Request,
            outcome: Result<(), ferrevent::http::Failure>,
        ) {
            assert!(outcome.is_ok());
            assert_eq!(request.target(base), Some(&b"/"[..]));
            note(base, "end");
        }
    }
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            request.set_handler(base, Count(0));
            request.start(base, Reply::new(200)).unwrap();
        });
        for method in ["GET", "HEAD"] {
            let heard = talk.says(format!("{method} / HTTP/1.1\r\n\r\n"));
            let body = "1\r\n1\r\n1\r\n2\r\n1\r\n3\r\n0\r\n\r\n";
            assert_eq!(heard.ends_with(body), method == "GET", "{heard}");
            assert_eq!(notes(&mut talk.base), ["end"]);
        }
    });
}

#[test]
fn who_does_not_read_gets_no_more() {
    struct Endless(usize);
    impl RequestHandler for Endless {
        fn drained(&mut self, base: &mut Base, request: Request) {
            self.0 += 1;
            if self.0 > 300 {
                request.end(base).unwrap();
            } else {
                request.part(base, [b'x'; 10_000]).unwrap();
            }
        }
    }
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            request.set_handler(base, Endless(0));
            request.start(base, Reply::new(200)).unwrap();
            keep(base, request);
        });
        talk.far.send(GET.as_bytes());
        ground::settle(&mut talk.base);
        let Open(request) = talk.base.remove_state().unwrap();
        let parts = request.handler::<Endless>(&talk.base).unwrap().0;
        assert!(parts < 300, "{parts}");
        assert!(request.unsent(&talk.base).unwrap() <= 11_000);
        let heard = talk.hears();
        assert_eq!(heard.matches('x').count(), 3_000_000);
    });
}

// ---- Bodies that are streamed ----

/// Has every body streamed, and notes what comes.
struct Streams;

impl Service for Streams {
    fn head(&mut self, _: &mut Base, _: Request) -> Body {
        Body::Stream
    }

    fn request(&mut self, base: &mut Base, request: Request) {
        note(base, "request");
        let handler = RequestCallbacks::new()
            .body(|base, request| {
                let body = request.take_body(base).unwrap();
                note(base, String::from_utf8(body.to_vec()).unwrap());
            })
            .complete(|base, request| {
                note(base, "complete");
                echo(base, request);
            })
            .end(|base, _, outcome| note(base, format!("{outcome:?}")));
        request.set_handler(base, handler);
    }
}

#[test]
fn a_body_is_told_as_it_comes() {
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Streams);
        talk.says("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(notes(&mut talk.base), ["request"]);
        talk.says("ab");
        talk.says("cd");
        assert_eq!(notes(&mut talk.base), ["ab", "cd"]);
        assert_eq!(undated(&talk.says("e")), ok("POST /\n"));
        assert_eq!(notes(&mut talk.base), ["e", "complete", "Ok(())"]);
        talk.says(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        );
        assert_eq!(
            notes(&mut talk.base),
            ["request", "abc", "complete", "Ok(())"]
        );
        talk.says(GET);
        assert_eq!(notes(&mut talk.base), ["request", "complete", "Ok(())"]);
    });
}

#[test]
fn a_body_that_is_not_taken_holds_the_client_back() {
    struct Slow;
    /// What was there when the last of it came.
    struct Rest(usize);
    impl Service for Slow {
        fn head(&mut self, _: &mut Base, _: Request) -> Body {
            Body::Stream
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            let handler = RequestCallbacks::new()
                .body(|base, _| note(base, "body"))
                .complete(|base, request| {
                    let rest = request.take_body(base).unwrap().len();
                    base.insert_state(Rest(rest));
                    request.reply(base, Reply::new(204)).unwrap();
                });
            request.set_handler(base, handler);
            keep(base, request);
        }
    }
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Slow);
        talk.says("POST / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n");
        let bytes = [b'x'; 30_000];
        let mut sent = 0;
        let Open(request) = talk.base.remove_state().unwrap();
        for _ in 0..3 {
            talk.far.send(&bytes);
            sent += bytes.len();
            ground::settle(&mut talk.base);
        }
        let has = request.body(&talk.base).unwrap().len();
        assert!((65_536..=90_000).contains(&has), "{has}");
        // This stays with the system.
        talk.far.send(&bytes);
        sent += bytes.len();
        ground::settle(&mut talk.base);
        let now = request.body(&talk.base).unwrap().len();
        assert_eq!(now, has);
        let mut taken = 0;
        while let Some(piece) = request.take_body(&mut talk.base) {
            taken += piece.len();
            if sent < 300_000 {
                talk.far.send(&bytes);
                sent += bytes.len();
            }
            ground::settle(&mut talk.base);
        }
        let Rest(rest) = talk.base.remove_state().unwrap();
        assert_eq!(taken + rest, 300_000);
        assert!(talk.hears().starts_with("HTTP/1.1 204 "));
    });
}

#[test]
fn an_answer_may_be_sent_while_the_body_comes() {
    struct Upper;
    impl Service for Upper {
        fn head(&mut self, _: &mut Base, _: Request) -> Body {
            Body::Stream
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            let handler = RequestCallbacks::new()
                .body(|base, request| {
                    let body = request.take_body(base).unwrap().to_vec();
                    if request.is_answered(base) == Some(false) {
                        request.start(base, Reply::new(200)).unwrap();
                    }
                    request.part(base, body.to_ascii_uppercase()).unwrap();
                })
                .complete(|base, request| request.end(base).unwrap());
            request.set_handler(base, handler);
        }
    }
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Upper);
        for _ in 0..2 {
            let heard = talk.says("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab");
            assert!(heard.ends_with("\r\n\r\n2\r\nAB\r\n"), "{heard}");
            assert!(!heard.contains("close"));
            assert_eq!(talk.says("cd"), "2\r\nCD\r\n0\r\n\r\n");
        }
        // The rest of the body is none: nobody must take the answer for a whole one.
        let heard = talk.says("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        assert!(heard.ends_with("1\r\nA\r\n"), "{heard}");
        assert_eq!(talk.says("none\r\n"), "");
        assert!(talk.far.is_alone());
        assert_eq!(talk.connections(), 0);
    });
}

// ---- `Expect: 100-continue` ----

const EXPECTING: &str =
    "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";

#[test]
fn who_waits_is_told_to_go_on() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, echo);
        assert_eq!(talk.says(EXPECTING), "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(undated(&talk.says("abc")), ok("PUT /\nabc"));
        // Whoever does not wait needs not be told.
        assert_eq!(
            undated(&talk.says([EXPECTING, "abc"].concat())),
            ok("PUT /\nabc")
        );
        let mut talk = Talk::with_service(ground, Server::builder(), Streams);
        assert_eq!(talk.says(EXPECTING), "HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(undated(&talk.says("abc")), ok("PUT /\n"));
    });
}

/// Refuses every body.
struct Refuses;

impl Service for Refuses {
    fn head(&mut self, base: &mut Base, request: Request) -> Body {
        request.reply(base, Reply::new(403).body("no")).unwrap();
        Body::Collect
    }

    fn request(&mut self, _: &mut Base, _: Request) {
        panic!("it was answered");
    }
}

#[test]
fn a_body_can_be_refused_before_it_is_sent() {
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Refuses);
        let heard = talk.says(EXPECTING);
        assert_eq!(
            undated(&heard),
            "HTTP/1.1 403 Forbidden\r\nDate: -\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        );
        assert_eq!(talk.connections(), 1, "it waits for the client's end");
        assert_eq!(talk.says("abcGET / HTTP/1.1\r\n\r\n"), "");
        talk.far.finish();
        assert_eq!(talk.hears(), "");
        assert_eq!(talk.connections(), 0);
    });
}

#[test]
fn a_refusal_that_is_none_leaves_the_body_wanted() {
    /// Tries to answer with what is no answer.
    fn tries(base: &mut Base, request: Request) {
        let bad = Reply::new(403).field("X", "a\r\nb");
        let refused = request.reply(base, bad);
        assert!(matches!(refused, Err(Error::Head(BadHead::Field))));
        let refused = request.start(base, Reply::new(20));
        assert!(matches!(refused, Err(Error::Head(BadHead::Code))));
        let refused = request.upgrade(base, Reply::new(101)).map(drop);
        assert!(matches!(refused, Err(Error::Head(BadHead::NotNow))));
        assert_eq!(request.is_answered(base), Some(false));
    }
    struct Clumsy;
    impl Service for Clumsy {
        fn head(&mut self, base: &mut Base, request: Request) -> Body {
            tries(base, request);
            Body::Collect
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            echo(base, request);
        }
    }
    struct Later;
    impl Service for Later {
        fn head(&mut self, _: &mut Base, _: Request) -> Body {
            Body::Stream
        }
        fn request(&mut self, base: &mut Base, request: Request) {
            tries(base, request);
            let handler = RequestCallbacks::new().complete(echo);
            request.set_handler(base, handler);
        }
    }
    everywhere(|ground| {
        for streams in [false, true] {
            let mut talk = match streams {
                true => Talk::with_service(ground, Server::builder(), Later),
                false => Talk::with_service(ground, Server::builder(), Clumsy),
            };
            for _ in 0..2 {
                assert_eq!(talk.says(EXPECTING), "HTTP/1.1 100 Continue\r\n\r\n");
                assert_eq!(undated(&talk.says("abc")), ok("PUT /\nabc"));
            }
        }
    });
}

#[test]
fn without_a_body_an_early_answer_is_one_as_any_other() {
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Refuses);
        for _ in 0..2 {
            let heard = talk.says(GET);
            assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
            assert!(!heard.contains("close"));
        }
    });
}

#[test]
fn who_sends_a_body_that_is_refused_gets_to_see_the_answer() {
    everywhere(|ground| {
        let mut talk = Talk::with_service(ground, Server::builder(), Refuses);
        talk.far
            .send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
        let mut heard = String::new();
        for _ in 0..34 {
            talk.far.send(&[b'x'; 30_000]);
            heard += &talk.hears();
        }
        assert!(heard.starts_with("HTTP/1.1 403 "));
        assert_eq!(heard.matches("HTTP/").count(), 1);
        talk.far.finish();
        talk.hears();
        assert_eq!(talk.connections(), 0);
        assert_eq!(talk.base.pending_len(), 0);
    });
}
