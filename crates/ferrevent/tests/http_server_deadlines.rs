//! An HTTP server: how long requests may be, how long clients may take, and how many there are.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;
mod talk;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use ferrevent::Base;
use ferrevent::http::{Body, Reply, Request, RequestCallbacks, Server, Service};
use ground::{everywhere, notes, run};
use talk::{GET, Open, Talk, anywhere, echo, keep_and_note, ok, run_out, simulated, undated};

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
    let mut talk = Talk::with(&simulated(), timed(), keep_and_note);
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
