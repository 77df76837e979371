//! How many system calls an echo and a request cost, counted where they are made: in the driver and the transport.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrevent::driver::{
    Driver, Fd, Features, Interest, Kind, Ready, Received, Sent, Token, Transport,
};
use ferrevent::http::{Reply, Server};
use ferrevent::{Base, Buffer, BufferEvent, Callbacks, Dirs, Method};
use ferrevent_sys::{Options, Posix, System};

/// Calls the system, and counts the calls. (Reading the clock is none: Linux answers it in the program's own memory.)
struct Counting<T> {
    inner: T,
    calls: Arc<AtomicUsize>,
}

impl<T> Counting<T> {
    fn count(&self) -> &T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }

    fn count_mut(&mut self) -> &mut T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &mut self.inner
    }
}

impl Driver for Counting<System> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn features(&self) -> Features {
        self.inner.features()
    }

    fn now(&self) -> u64 {
        self.inner.now()
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.count_mut().register(token, interest)
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.count_mut().reregister(token, interest)
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        self.count_mut().deregister(fd)
    }

    fn closing(&mut self, fd: Fd) {
        self.inner.closing(fd);
    }

    fn reset(&mut self) -> io::Result<()> {
        self.count_mut().reset()
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.count_mut().wait(timeout, ready)
    }
}

impl Transport for Counting<Posix> {
    fn kind(&self, fd: Fd) -> Kind {
        self.count().kind(fd)
    }

    fn read(&self, fd: Fd, kind: Kind, into: &mut Buffer, limit: usize) -> io::Result<Received> {
        self.count().read(fd, kind, into, limit)
    }

    fn write(&self, fd: Fd, kind: Kind, from: &mut Buffer, limit: usize) -> io::Result<Sent> {
        self.count().write(fd, kind, from, limit)
    }

    fn take_error(&self, fd: Fd) -> io::Result<()> {
        self.count().take_error(fd)
    }

    fn shutdown(&self, fd: Fd) -> io::Result<()> {
        self.inner.shutdown(fd)
    }

    fn close(&self, fd: Fd) {
        self.count().close(fd);
    }
}

/// A base on epoll, and the count of its calls.
fn counted() -> (Base, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let driver = Counting {
        inner: System::open(Method::Epoll, Options::default()).unwrap(),
        calls: calls.clone(),
    };
    let transport = Counting {
        inner: Posix::default(),
        calls: calls.clone(),
    };
    let mut base = Base::builder()
        .driver(Box::new(driver), Rc::new(transport))
        .build()
        .unwrap();
    base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
    (base, calls)
}

fn adopt(base: &mut Base, socket: UnixStream) -> BufferEvent {
    socket.set_nonblocking(true).unwrap();
    let bev = BufferEvent::builder().adopt(base, socket.into_raw_fd());
    bev.unwrap()
}

fn echo() -> Callbacks {
    Callbacks::new().read(|base, bev| {
        bev.forward(base, bev).unwrap();
    })
}

#[test]
fn an_echo_between_two_bufferevents_costs_at_most_six() {
    const ROUNDS: usize = 100;
    let (mut base, calls) = counted();
    let (near, far) = UnixStream::pair().unwrap();
    let server = adopt(&mut base, far);
    server.set_handler(&mut base, echo());
    let client = adopt(&mut base, near);
    let left = Cell::new(ROUNDS);
    client.set_handler(
        &mut base,
        Callbacks::new().read(move |base, bev| {
            left.set(left.get() - 1);
            if left.get() == 0 {
                base.loop_break();
            } else {
                bev.forward(base, bev).unwrap();
            }
        }),
    );
    server.enable(&mut base, Dirs::READ).unwrap();
    client.enable(&mut base, Dirs::READ).unwrap();
    client.write(&mut base, b"there and back").unwrap();
    // The first round is not like the others: descriptors are registered.
    let before = calls.load(Ordering::Relaxed);
    base.run().unwrap();
    let calls = calls.load(Ordering::Relaxed) - before;
    assert!(base.got_break());
    assert!(calls <= 6 * ROUNDS + 4, "{calls} calls in {ROUNDS} rounds");
}

#[test]
fn a_message_to_a_busy_server_costs_little_more_than_two() {
    const CLIENTS: usize = 100;
    const ROUNDS: usize = 20;
    let (mut base, calls) = counted();
    let mut clients: Vec<UnixStream> = (0..CLIENTS)
        .map(|_| {
            let (near, far) = UnixStream::pair().unwrap();
            let bev = adopt(&mut base, far);
            bev.set_handler(&mut base, echo());
            bev.enable(&mut base, Dirs::READ).unwrap();
            near
        })
        .collect();
    let mut total = 0;
    for round in 0..=ROUNDS {
        for client in &mut clients {
            client.write_all(b"a message").unwrap();
        }
        let before = calls.load(Ordering::Relaxed);
        base.run_once().unwrap();
        // The answers go out at the beginning of the next pass.
        base.run_nonblocking().unwrap();
        if round > 0 {
            total += calls.load(Ordering::Relaxed) - before;
        }
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
            client.read_exact(&mut [0; 9]).unwrap();
        }
    }
    let messages = CLIENTS * ROUNDS;
    assert!(
        total * 10 <= messages * 22,
        "{total} calls for {messages} messages"
    );
}

#[test]
fn a_request_to_a_busy_server_costs_little_more_than_two() {
    const CLIENTS: usize = 100;
    const ROUNDS: usize = 20;
    let (mut base, calls) = counted();
    let server = Server::new(&mut base, |base, request| {
        request.reply(base, Reply::new(200).body("hello")).unwrap();
    });
    let mut clients: Vec<UnixStream> = (0..CLIENTS)
        .map(|_| {
            let (near, far) = UnixStream::pair().unwrap();
            let bev = adopt(&mut base, far);
            server.serve(&mut base, bev, None).unwrap();
            near
        })
        .collect();
    let mut total = 0;
    for round in 0..=ROUNDS {
        for client in &mut clients {
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
        }
        let before = calls.load(Ordering::Relaxed);
        base.run_once().unwrap();
        base.run_nonblocking().unwrap();
        if round > 0 {
            total += calls.load(Ordering::Relaxed) - before;
        }
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
            let mut answer = [0; 512];
            let n = client.read(&mut answer).unwrap();
            assert!(answer[..n].ends_with(b"\r\n\r\nhello"));
        }
    }
    let requests = CLIENTS * ROUNDS;
    assert!(
        total * 10 <= requests * 22,
        "{total} calls for {requests} requests"
    );
}

#[test]
fn a_pass_with_nothing_to_do_costs_one_wait() {
    let (mut base, calls) = counted();
    base.run_nonblocking().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}
