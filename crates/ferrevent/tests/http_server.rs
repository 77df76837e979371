//! An HTTP server: requests, and answers to them.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ferrevent::Error;
use ferrevent::http::{BadHead, Method, Reply, RequestCallbacks, Server};
use ground::{everywhere, on_systems, run};
use talk::{GET, Open, Talk, connect, echo, keep, ok, undated};

// ---- What is asked, and answers as a whole ----

#[test]
fn a_request_is_answered_and_the_connection_is_kept() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            assert_eq!(request.method(base), Some(Method::Post));
            assert_eq!(request.target(base), Some(&b"/a?b=c"[..]));
            assert_eq!(request.uri(base).unwrap().query(), Some(&b"b=c"[..]));
            assert_eq!(request.field(base, "HOST"), Some(&b"h"[..]));
            assert_eq!(request.field(base, "none"), None);
            assert_eq!(request.is_complete(base), Some(true));
            assert_eq!(request.is_answered(base), Some(false));
            assert_eq!(request.peer(base), None);
            echo(base, request);
            assert_eq!(request.is_answered(base), Some(true));
        });
        for body in ["", "abc"] {
            let asked = format!(
                "POST /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let heard = talk.says(asked);
            assert_eq!(undated(&heard), ok(&format!("POST /a?b=c\n{body}")));
        }
        let chunked = "POST /a?b=c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                       2\r\nab\r\n1;x=y\r\nc\r\n0\r\nX: dropped\r\n\r\n";
        let heard = talk.says(chunked);
        assert_eq!(undated(&heard), ok("POST /a?b=c\nabc"));
        assert_eq!(talk.connections(), 1);
    });
}

#[test]
fn requests_that_come_byte_by_byte_or_at_once_get_the_same_answers() {
    everywhere(|ground| {
        let asked = [GET, "PUT /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", GET].concat();
        let expected = [ok("GET /\n"), ok("PUT /x\nbody"), ok("GET /\n")].concat();
        let mut talk = Talk::new(ground, echo);
        assert_eq!(undated(&talk.says(&asked)), expected);
        let mut heard = String::new();
        for byte in asked.bytes() {
            heard += &talk.says([byte]);
        }
        assert_eq!(undated(&heard), expected);
    });
}

#[test]
fn an_answer_has_what_the_program_says() {
    everywhere(|ground| {
        let builder = Server::builder().content_type("text/plain");
        let mut talk = Talk::with(ground, builder, |base, request| {
            let reply = Reply::new(299).reason("Fine").field("X-A", "1");
            request.reply(base, reply.body("hi")).unwrap();
        });
        let heard = talk.says(GET);
        assert_eq!(
            undated(&heard),
            "HTTP/1.1 299 Fine\r\nX-A: 1\r\nDate: -\r\nContent-Length: 2\r\n\
             Content-Type: text/plain\r\n\r\nhi"
        );
        let heard = talk.says("HEAD / HTTP/1.1\r\n\r\n");
        assert!(heard.ends_with("\r\n\r\n"), "{heard}");
    });
}

#[test]
fn an_answer_may_come_later() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            base.after(Duration::from_millis(1), move |base| {
                echo(base, request);
                base.loop_break();
            });
        });
        // The next request waits for its turn.
        assert_eq!(talk.says([GET, GET].concat()), "");
        for _ in 0..2 {
            run(&mut talk.base);
            assert_eq!(undated(&talk.hears()), ok("GET /\n"));
        }
    });
}

#[test]
fn an_answer_may_come_from_the_callback_of_another_request() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            if let Some(Open(former)) = base.remove_state::<Open>() {
                echo(base, former);
                echo(base, request);
            } else {
                keep(base, request);
            }
        });
        let second = connect(ground, &mut talk.base, talk.server);
        assert_eq!(talk.says(GET), "");
        second.send(GET.as_bytes());
        assert_eq!(undated(&talk.hears()), ok("GET /\n"));
        assert!(!second.receive().is_empty());
    });
}

#[test]
fn an_answer_may_come_from_another_thread() {
    on_systems(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            let remote = base.remote();
            thread::spawn(move || {
                remote.post(move |base| {
                    echo(base, request);
                    base.loop_break();
                })
            });
        });
        talk.far.send(GET.as_bytes());
        run(&mut talk.base);
        assert_eq!(undated(&talk.hears()), ok("GET /\n"));
    });
}

#[test]
fn there_is_one_answer() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            let bad = Reply::new(200).field("X", "a\r\nSet-Cookie: b");
            let refused = request.reply(base, bad);
            assert!(matches!(refused, Err(Error::Head(BadHead::Field))));
            let refused = request.reply(base, Reply::new(20));
            assert!(matches!(refused, Err(Error::Head(BadHead::Code))));
            for refused in [request.part(base, "x"), request.end(base)] {
                assert!(matches!(refused, Err(Error::Head(BadHead::NotNow))));
            }
            echo(base, request);
            for refused in [
                request.reply(base, Reply::new(200)),
                request.start(base, Reply::new(200)),
                request.error(base, 500, None),
                request.part(base, "x"),
                request.end(base),
            ] {
                assert!(matches!(refused, Err(Error::Head(BadHead::NotNow))));
            }
            keep(base, request);
        });
        assert_eq!(undated(&talk.says(GET)), ok("GET /\n"));
        let base = &mut talk.base;
        let Open(request) = base.remove_state().unwrap();
        assert!(!request.exists(base));
        assert!(request.head(base).is_none());
        assert!(request.take_body(base).is_none());
        assert!(!request.set_handler(base, RequestCallbacks::new()));
        assert!(!request.abort(base));
        for stale in [
            request.reply(base, Reply::new(200)),
            request.start(base, Reply::new(200)),
            request.part(base, "x"),
            request.end(base),
            request.upgrade(base, Reply::new(101)).map(drop),
        ] {
            assert!(matches!(stale, Err(Error::Stale)));
        }
        assert_eq!(undated(&talk.says(GET)), ok("GET /\n"));
    });
}

#[test]
fn an_old_client_is_answered_in_its_way() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, echo);
        let heard = talk.says("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(heard.contains("\r\nConnection: keep-alive\r\n"), "{heard}");
        let heard = talk.says("GET / HTTP/1.0\r\n\r\n");
        assert!(heard.starts_with("HTTP/1.0 200 OK\r\n"), "{heard}");
        assert!(heard.ends_with("\r\n\r\nGET /\n"));
        assert!(talk.far.is_alone());
        assert_eq!(talk.connections(), 0);
        assert_eq!(talk.base.pending_len(), 0);
    });
}

#[test]
fn errors_look_as_the_program_wants() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            request.error(base, 404, Some("<Gone>")).unwrap();
        });
        let heard = talk.says(GET);
        assert!(heard.starts_with("HTTP/1.1 404 <Gone>\r\n"), "{heard}");
        assert!(heard.contains("<H1>&lt;Gone&gt;</H1>"));

        let builder = Server::builder().error_page(|code| {
            let text = format!("sorry: {code}");
            Reply::new(200).field("X-Page", "1").body(text)
        });
        let mut talk = Talk::with(ground, builder, |base, request| {
            request.error(base, 500, None).unwrap();
        });
        for (asked, code) in [
            (GET, 500),
            ("PATCH / HTTP/1.1\r\n\r\n", 405),
            ("WHAT / HTTP/1.1\r\n\r\n", 501),
            ("nonsense\r\n\r\n", 400),
        ] {
            let heard = talk.says(asked);
            assert!(heard.starts_with(&format!("HTTP/1.1 {code} ")), "{heard}");
            assert!(heard.contains("\r\nX-Page: 1\r\n"));
            assert!(heard.ends_with(&format!("sorry: {code}")));
        }
    });
}

#[test]
fn methods_are_allowed_by_name() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, echo);
        let heard = talk.says("PATCH / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        assert!(heard.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(heard.contains("\r\nAllow: GET, POST, HEAD, PUT, DELETE\r\n"));
        assert!(
            talk.says("PROPFIND / HTTP/1.1\r\n\r\n")
                .starts_with("HTTP/1.1 501 ")
        );
        assert_eq!(
            undated(&talk.says(GET)),
            ok("GET /\n"),
            "they were complete"
        );

        let builder = Server::builder().methods([Method::Patch, Method::Other]);
        let mut talk = Talk::with(ground, builder, echo);
        for method in ["PATCH", "PROPFIND"] {
            let heard = talk.says(format!("{method} / HTTP/1.1\r\n\r\n"));
            assert_eq!(undated(&heard), ok(&format!("{method} /\n")));
        }
        assert!(talk.says(GET).contains("\r\nAllow: PATCH\r\n"));
    });
}

// ---- Other protocols ----

#[test]
fn a_connection_can_be_taken_out() {
    everywhere(|ground| {
        let mut talk = Talk::new(ground, |base, request| {
            let refused = request.upgrade(base, Reply::new(200));
            assert!(matches!(refused, Err(Error::Head(BadHead::Code))));
            let reply = Reply::new(101)
                .field("Connection", "upgrade")
                .field("Upgrade", "echo");
            let dropped = Rc::new(());
            let token = dropped.clone();
            let handler = RequestCallbacks::new().end(move |_, _, _| {
                let _ = &token;
                panic!("the program has ended it itself");
            });
            request.set_handler(base, handler);
            let bev = request.upgrade(base, reply).unwrap();
            assert_eq!(Rc::strong_count(&dropped), 1);
            assert!(!request.exists(base));
            assert_eq!(bev.input_len(base), Some(5), "what came behind it");
            bev.forward(base, bev).unwrap();
            let echo =
                ferrevent::Callbacks::new().read(|base, bev| _ = bev.forward(base, bev).unwrap());
            bev.set_handler(base, echo);
            bev.enable(base, ferrevent::Dirs::READ).unwrap();
        });
        let heard = talk.says([GET, "first"].concat());
        assert_eq!(
            undated(&heard),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nDate: -\r\n\r\nfirst"
        );
        assert_eq!(talk.says("second"), "second");
        assert_eq!(talk.connections(), 0);
        assert!(talk.server.free(&mut talk.base));
        assert_eq!(talk.says("third"), "third");
    });
}

#[test]
fn a_tunnel_begins_with_the_answer_to_connect() {
    everywhere(|ground| {
        let builder = Server::builder().methods([Method::Connect]);
        let mut talk = Talk::with(ground, builder, |base, request| {
            assert_eq!(request.uri(base).unwrap().port(), Some(443));
            let bev = request.upgrade(base, Reply::new(200)).unwrap();
            bev.write(base, "tunnel").unwrap();
        });
        let heard = talk.says("CONNECT h:443 HTTP/1.1\r\n\r\n");
        assert_eq!(undated(&heard), "HTTP/1.1 200 OK\r\nDate: -\r\n\r\ntunnel");
    });
}
