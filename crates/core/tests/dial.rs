//! Connecting to a host with several addresses, in virtual time: what is tried when, and what a bufferevent's user
//! hears of it.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ferrevent_core::driver::{
    Connect, Driver, Fd, Features, Interest, Kind, Readiness, Ready, Token,
};
use ferrevent_core::{
    Callbacks, Core, Dialed, Dirs, Host, Io, LoopFlags, NoPlaces, Options, Step, StreamEvent,
    StreamKey, timeout_until,
};

const MS: u64 = 1_000_000;

#[derive(Debug)]
struct Ids;

impl Host for Ids {
    type Event = ();
    type Stream = ();
    type Task = ();
    type Block = Infallible;
    type Slots = NoPlaces;
    type Clocks = NoPlaces;
}

/// How an address answers.
#[derive(Clone, Copy)]
enum Answers {
    /// After so many milliseconds.
    Accepts(u64),
    Refuses(u64),
    /// Never: packets are dropped.
    Never,
    /// The attempt cannot begin: no route.
    Unreachable,
}

/// Knows when each descriptor becomes writable.
#[derive(Default)]
struct Wires {
    now: u64,
    watched: BTreeMap<Fd, Token>,
    answers_at: BTreeMap<Fd, u64>,
}

impl Driver for Wires {
    fn name(&self) -> &'static str {
        "wires"
    }
    fn features(&self) -> Features {
        Features::EDGE
    }
    fn now(&self) -> u64 {
        self.now
    }
    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        assert!(interest.contains(Interest::WRITE) || !self.answers_at.contains_key(&token.fd));
        self.watched.insert(token.fd, token);
        Ok(())
    }
    fn reregister(&mut self, token: Token, _: Interest) -> io::Result<()> {
        self.watched.insert(token.fd, token);
        Ok(())
    }
    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        self.watched.remove(&fd);
        Ok(())
    }
    fn reset(&mut self) -> io::Result<()> {
        unreachable!("no registration is stale")
    }
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let limit = timeout.map(|timeout| self.now + timeout.as_nanos() as u64);
        let next = self.answers_at.values().copied().chain(limit).min();
        self.now = next.expect("it would wait for ever").max(self.now);
        let now = self.now;
        for (fd, token) in &self.watched {
            if self.answers_at.get(fd).is_some_and(|at| *at <= now) {
                let (token, readiness) = (*token, Readiness::WRITE);
                ready.push(Ready { token, readiness });
            }
        }
        self.answers_at.retain(|_, at| *at > now);
        Ok(())
    }
}

/// A bufferevent that connects, its shell, and what happened: at which millisecond, and what.
struct Scene {
    core: Core<Ids>,
    wires: Wires,
    key: StreamKey,
    answers: Vec<(SocketAddr, Answers)>,
    open: BTreeMap<Fd, Answers>,
    log: Vec<String>,
    next_fd: Fd,
}

impl Scene {
    fn new(answers: &[(&str, Answers)]) -> Self {
        let mut core = Core::<Ids>::new(Features::EDGE);
        let key = core
            .new_stream((), -1, Kind::Stream, Options::empty())
            .unwrap();
        core.set_listening(key, true, true, true);
        let parse = |(text, answers): &(&str, Answers)| (text.parse().unwrap(), *answers);
        Self {
            core,
            wires: Wires::default(),
            key,
            answers: answers.iter().map(parse).collect(),
            open: BTreeMap::new(),
            log: Vec::new(),
            next_fd: 3,
        }
    }

    fn start(&mut self) {
        let addresses = self.answers.iter().map(|(address, _)| *address);
        self.core
            .start_dial(self.key, addresses.collect::<Vec<_>>());
    }

    fn run(mut self) -> Vec<String> {
        self.start();
        self.run_on();
        self.log
    }

    fn run_on(&mut self) {
        assert!(self.core.begin_loop(LoopFlags::empty()));
        loop {
            match self.core.step() {
                Step::Wait { until } => {
                    self.core
                        .sync(&mut self.wires, |failed| panic!("{failed:?}"));
                    let timeout = timeout_until(until, || self.wires.now);
                    let mut ready = Vec::new();
                    self.wires.wait(timeout, &mut ready).unwrap();
                    self.core.handle_ready(&ready);
                    self.core.wait_done(Some(self.wires.now));
                }
                Step::Stream(work) => self.work(work.io),
                Step::Done(_) => return,
                step => panic!("{step:?}"),
            }
        }
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        self.log.push(format!("{} {what}", self.wires.now / MS));
    }

    fn work(&mut self, io: Io) {
        match io {
            Io::Dial => self.dial(),
            Io::FinishAttempt { fd } => {
                let outcome = match self.open[&fd] {
                    Answers::Refuses(_) => Err(io::ErrorKind::ConnectionRefused.into()),
                    _ => Ok(()),
                };
                if self.core.handle_attempt(self.key, fd, outcome) {
                    self.close(fd);
                }
                self.dial();
            }
            Io::Call(callbacks) => self.call(callbacks),
            io => panic!("{io:?}"),
        }
    }

    fn dial(&mut self) {
        while let Some(address) = self.core.next_attempt(self.key) {
            self.note(address.ip());
            let answers = self
                .answers
                .iter()
                .find(|(one, _)| *one == address)
                .unwrap()
                .1;
            let at = match answers {
                Answers::Unreachable => {
                    let error = io::Error::from_raw_os_error(101);
                    self.core.attempt_failed(self.key, &error);
                    continue;
                }
                Answers::Never => None,
                Answers::Accepts(ms) | Answers::Refuses(ms) => Some(self.wires.now + ms * MS),
            };
            let fd = self.next_fd;
            self.next_fd += 1;
            self.open.insert(fd, answers);
            self.wires.answers_at.extend(at.map(|at| (fd, at)));
            self.core
                .attempt_begun(self.key, fd, Connect::Started, Some(&mut self.wires))
                .unwrap();
        }
        match self.core.dialed(self.key) {
            Dialed::Going => {}
            Dialed::Stands {
                others, callbacks, ..
            } => {
                for fd in others {
                    self.close(fd);
                }
                assert_eq!(self.open.len(), 1, "only the winner stays open");
                self.call(callbacks);
            }
            Dialed::Failed(callbacks) => {
                assert!(self.open.is_empty(), "all are closed");
                self.call(callbacks);
            }
        }
    }

    fn close(&mut self, fd: Fd) {
        self.core.closing_fd(fd, Some(&mut self.wires));
        self.open.remove(&fd).expect("closed once");
        self.wires.answers_at.remove(&fd);
        self.wires.watched.remove(&fd);
    }

    fn call(&mut self, callbacks: Callbacks) {
        let what = match callbacks.event {
            StreamEvent::CONNECTED => "connected".to_owned(),
            event if event == StreamEvent::ERROR => format!("failed {}", callbacks.error),
            event => format!("{event:?}"),
        };
        self.note(what);
    }
}

use Answers::{Accepts, Never, Refuses, Unreachable};

#[test]
fn a_black_hole_costs_250_ms() {
    let scene = Scene::new(&[("[::1]:1", Never), ("192.0.2.1:1", Accepts(20))]);
    assert_eq!(scene.run(), ["0 ::1", "250 192.0.2.1", "270 connected"]);
}

#[test]
fn the_first_that_stands_wins_and_no_further_one_begins() {
    let scene = Scene::new(&[
        ("[::1]:1", Accepts(400)),
        ("[::2]:1", Accepts(1)),
        ("192.0.2.1:1", Accepts(200)),
        ("192.0.2.2:1", Accepts(1)),
    ]);
    assert_eq!(scene.run(), ["0 ::1", "250 192.0.2.1", "400 connected"]);
}

#[test]
fn a_refusal_lets_the_next_begin_at_once() {
    let scene = Scene::new(&[
        ("192.0.2.1:1", Refuses(5)),
        ("[::1]:1", Unreachable),
        ("192.0.2.2:1", Accepts(7)),
    ]);
    let wanted = ["0 192.0.2.1", "5 ::1", "5 192.0.2.2", "12 connected"];
    assert_eq!(scene.run(), wanted);
}

#[test]
fn an_early_refusal_does_not_end_an_attempt_that_still_runs() {
    let scene = Scene::new(&[("[::1]:1", Accepts(600)), ("192.0.2.1:1", Refuses(1))]);
    assert_eq!(scene.run(), ["0 ::1", "250 192.0.2.1", "600 connected"]);
}

#[test]
fn the_error_is_told_once_when_all_have_failed() {
    let scene = Scene::new(&[("[::1]:1", Refuses(300)), ("192.0.2.1:1", Unreachable)]);
    let log = scene.run();
    assert_eq!(log[..2], ["0 ::1", "250 192.0.2.1"]);
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(log[2].starts_with("300 failed"), "{log:?}");
    let scene = Scene::new(&[("[::1]:1", Unreachable), ("192.0.2.1:1", Unreachable)]);
    assert_eq!(scene.run(), ["0 ::1", "0 192.0.2.1", "0 failed 101"]);
}

#[test]
fn the_write_timeout_is_one_deadline_for_all_attempts() {
    let mut scene = Scene::new(&[
        ("[::1]:1", Never),
        ("192.0.2.1:1", Never),
        ("192.0.2.2:1", Accepts(300)),
    ]);
    scene.core.set_timeouts(scene.key, None, Some(600 * MS));
    let log = scene.run();
    // The attempts go on after it, as a single one does.
    let wanted = [
        "0 ::1",
        "250 192.0.2.1",
        "500 192.0.2.2",
        "600 WRITING | TIMEOUT",
        "800 connected",
    ];
    assert_eq!(log.len(), wanted.len(), "{log:?}");
    assert_eq!(log[..3], wanted[..3]);
    assert!(
        log[3].starts_with("600 ") && log[3].contains("TIMEOUT"),
        "{log:?}"
    );
    assert_eq!(log[4], wanted[4]);
}

#[test]
fn what_is_enabled_moves_only_once_it_stands() {
    let mut scene = Scene::new(&[("[::1]:1", Never), ("192.0.2.1:1", Accepts(10))]);
    scene
        .core
        .enable(scene.key, Dirs::READ, Some(&mut scene.wires))
        .unwrap();
    scene.start();
    scene.core.output_changed(scene.key, 5, 5);
    assert!(scene.core.begin_loop(LoopFlags::empty()));
    let mut wrote = false;
    while !wrote {
        match scene.core.step() {
            Step::Wait { until } => {
                scene
                    .core
                    .sync(&mut scene.wires, |failed| panic!("{failed:?}"));
                let timeout = timeout_until(until, || scene.wires.now);
                let mut ready = Vec::new();
                scene.wires.wait(timeout, &mut ready).unwrap();
                scene.core.handle_ready(&ready);
                scene.core.wait_done(Some(scene.wires.now));
            }
            Step::Stream(work) => match work.io {
                Io::Write { fd, .. } => {
                    assert_eq!(fd, 4);
                    assert_eq!(scene.log.last().map(String::as_str), Some("260 connected"));
                    wrote = true;
                }
                io => scene.work(io),
            },
            step => panic!("{step:?}"),
        }
    }
}

#[test]
fn stopping_gives_back_every_descriptor() {
    let mut scene = Scene::new(&[("[::1]:1", Never), ("192.0.2.1:1", Never)]);
    scene.start();
    assert!(scene.core.begin_loop(LoopFlags::empty()));
    while scene.log.len() < 2 {
        match scene.core.step() {
            Step::Wait { until } => {
                let timeout = timeout_until(until, || scene.wires.now);
                scene.wires.wait(timeout, &mut Vec::new()).unwrap();
                scene.core.wait_done(Some(scene.wires.now));
            }
            Step::Stream(work) => scene.work(work.io),
            step => panic!("{step:?}"),
        }
    }
    assert_eq!(scene.core.stop_dialing(scene.key)[..], [3, 4]);
    assert!(scene.core.stop_dialing(scene.key).is_empty());
    scene.core.abort_loop();
    // Nothing is left to wait for.
    scene
        .core
        .set_fd(scene.key, -1, Kind::Stream, None)
        .unwrap();
    assert_eq!(scene.core.pending_len(), 0);
    let mut scene_log = std::mem::take(&mut scene.log);
    scene.run_on();
    scene_log.append(&mut scene.log);
    assert_eq!(scene_log, ["0 ::1", "250 192.0.2.1"]);
}
