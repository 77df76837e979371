//! Requests to a server of C, on the libevent that the loader finds.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::ffi::{c_char, c_int, c_void};
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::FromRawFd;
use std::time::Duration;

use ferrevent_mixed::raw::{event_base, evhttp_request};
use ferrevent_mixed::{Base, Buffer, HttpRequest};

#[repr(C)]
struct Opaque([u8; 0]);

unsafe extern "C" {
    fn evhttp_new(base: *mut event_base) -> *mut Opaque;
    fn evhttp_free(http: *mut Opaque);
    fn evhttp_bind_socket_with_handle(
        http: *mut Opaque,
        address: *const c_char,
        port: u16,
    ) -> *mut Opaque;
    fn evhttp_bound_socket_get_fd(bound: *mut Opaque) -> c_int;
    fn evhttp_set_gencb(
        http: *mut Opaque,
        call: unsafe extern "C" fn(*mut evhttp_request, *mut c_void),
        arg: *mut c_void,
    );
    fn evhttp_send_reply(
        request: *mut evhttp_request,
        code: c_int,
        reason: *const c_char,
        body: *mut c_void,
    );
}

/// What a server does with a request.
type Serve = fn(&mut Base, HttpRequest);

struct Server {
    base: Base,
    http: *mut Opaque,
    address: SocketAddr,
    /// What the callback of C is passed: the base, and whom to call.
    _call: Box<(*mut event_base, Serve)>,
}

unsafe extern "C" fn on_request(request: *mut evhttp_request, arg: *mut c_void) {
    // SAFETY: the server passes what it was made with, which outlives it.
    let (base, serve) = unsafe { &*arg.cast::<(*mut event_base, Serve)>() };
    // SAFETY: the base is live, and this its thread.
    let mut base = unsafe { Base::from_raw(*base) };
    // SAFETY: it is not answered yet, and nobody else will.
    serve(&mut base, unsafe { HttpRequest::from_raw(request) });
}

impl Server {
    fn start(serve: Serve) -> Self {
        let base = Base::new().unwrap();
        // SAFETY: the base is live.
        let http = unsafe { evhttp_new(base.as_raw()) };
        // SAFETY: the server is live.
        let bound = unsafe { evhttp_bind_socket_with_handle(http, c"127.0.0.1".as_ptr(), 0) };
        // SAFETY: it has bound. The descriptor stays the server's.
        let socket = unsafe { TcpListener::from_raw_fd(evhttp_bound_socket_get_fd(bound)) };
        let address = ManuallyDrop::new(socket).local_addr().unwrap();
        let call = Box::new((base.as_raw(), serve));
        let arg = std::ptr::from_ref(&*call).cast_mut().cast();
        // SAFETY: the server is live, and is freed before `call`.
        unsafe { evhttp_set_gencb(http, on_request, arg) };
        Self {
            base,
            http,
            address,
            _call: call,
        }
    }

    /// Says `text` and gives what comes until the end of the connection.
    fn ask(&mut self, text: &str) -> String {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut answer = Vec::new();
        let guard = self
            .base
            .after(Duration::from_secs(30), |_| panic!("no answer"));
        loop {
            self.base.run_once().unwrap();
            match client.read_to_end(&mut answer) {
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            // So that the loop looks, whatever it has to wait for.
            self.base.after(Duration::from_millis(1), |_| {});
        }
        guard.free(&mut self.base);
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: it came of `evhttp_new`, and its base is dropped after this.
        unsafe { evhttp_free(self.http) };
    }
}

const POST: &str = "POST /notes?x=1 HTTP/1.1\r\nHost: h\r\nX-Sort: one\r\n\
                    Connection: close\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_request_is_looked_at_and_answered() {
    let mut server = Server::start(|_, mut request| {
        assert_eq!(
            (request.method(), request.uri()),
            ("POST", &b"/notes?x=1"[..])
        );
        assert_eq!(request.header("x-sort"), Some(&b"one"[..]));
        assert_eq!(request.header("X-Other"), None);
        let mut answer = Buffer::new();
        answer.append_buffer(request.body()).unwrap();
        answer.append(b" back").unwrap();
        request.add_header("X-Answer", "42").unwrap();
        request.add_header("X-Bad", "4\n2").unwrap_err();
        request.add_header("X-Bad", "4\x002").unwrap_err();
        request.add_header("X-Bad", "4\r\n 2").unwrap_err();
        request.add_header("X\r\nBad", "42").unwrap_err();
        request.reply(202, Some("Taken"), Some(&mut answer));
        assert!(answer.is_empty());
    });
    let answer = server.ask(POST);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 202 Taken\r\n"), "{answer}");
    assert!(head.contains("\r\nX-Answer: 42"), "{answer}");
    assert_eq!(body, "hello back");
}

#[test]
fn a_request_that_is_dropped_is_answered_with_500() {
    let answer = Server::start(|_, request| drop(request)).ask(POST);
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let answer = Server::start(|_, request| request.error(404, None)).ask(POST);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn a_reason_is_one_line_or_the_usual_one() {
    const SPLIT: [&str; 4] = [
        "Yes\r\nSet-Cookie: a",
        "Yes\r\n\r\nHTTP/1.1 200 Mine",
        "Yes\nX: y",
        "Yes\rX: y",
    ];
    fn split(request: &HttpRequest) -> &'static str {
        let which = request.uri().strip_prefix(b"/notes?x=").unwrap();
        SPLIT[usize::from(which[0] - b'0')]
    }
    let mut replies = Server::start(|_, request| {
        let reason = split(&request);
        request.reply(404, Some(reason), None);
    });
    let mut errors = Server::start(|_, request| {
        let reason = split(&request);
        request.error(404, Some(reason));
    });
    for which in 0..SPLIT.len() {
        let asked = POST.replace("x=1", &format!("x={which}"));
        for server in [&mut replies, &mut errors] {
            let answer = server.ask(&asked);
            assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
            for theirs in ["Yes", "Set-Cookie", "Mine", "X: y"] {
                assert!(!answer.contains(theirs), "{answer}");
            }
        }
    }
}

#[test]
fn a_request_is_answered_later_and_goes_back_to_c() {
    let mut server = Server::start(|base, request| {
        base.after(Duration::from_millis(1), |_| {
            let raw = request.into_raw();
            // SAFETY: it is C's again, and not answered yet.
            unsafe { evhttp_send_reply(raw, 204, c"Nothing".as_ptr(), std::ptr::null_mut()) };
        });
    });
    let answer = server.ask(POST);
    assert!(answer.starts_with("HTTP/1.1 204 Nothing\r\n"), "{answer}");
}

#[test]
fn a_request_outlives_its_client() {
    let mut server = Server::start(|base, request| {
        let mut kept = base.remove_state::<Vec<HttpRequest>>().unwrap_or_default();
        kept.push(request);
        base.insert_state(kept);
    });
    for _ in 0..2 {
        let mut client = TcpStream::connect(server.address).unwrap();
        client.write_all(POST.as_bytes()).unwrap();
        let before = server
            .base
            .state::<Vec<HttpRequest>>()
            .map_or(0, |kept| kept.len());
        while server
            .base
            .state::<Vec<HttpRequest>>()
            .map_or(0, |kept| kept.len())
            == before
        {
            server.base.run_once().unwrap();
        }
        drop(client);
        // The server has something to read: the end.
        for _ in 0..3 {
            server.base.run_nonblocking().unwrap();
        }
    }
    let mut kept = server.base.remove_state::<Vec<HttpRequest>>().unwrap();
    kept.pop().unwrap().reply(200, None, None);
    drop(kept);
    server.base.run_nonblocking().unwrap();
}
