//! The grounds that tests run on: epoll, poll, and the simulated system.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use ferrevent::driver::Fd;
use ferrevent::{Base, BufferEvent, BufferEventBuilder, Condition, Dirs, Handler, LoopEnd, Method};
use ferrevent_sim::{Faults, Peer, World};

/// Longer than any test takes.
const TOO_LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub(crate) enum Ground {
    System(Method),
    Simulated(World),
}

/// Runs a test on every ground.
pub(crate) fn everywhere(test: impl Fn(&Ground)) {
    on_systems(&test);
    test(&Ground::Simulated(World::new(1, Faults::none())));
}

/// Runs a test on the grounds that have real sockets.
pub(crate) fn on_systems(test: impl Fn(&Ground)) {
    for method in [Method::Epoll, Method::Poll] {
        test(&Ground::System(method));
    }
}

impl Ground {
    pub(crate) fn base(&self) -> Base {
        self.base_with_priorities(1)
    }

    pub(crate) fn base_with_priorities(&self, priorities: u8) -> Base {
        let builder = match self {
            Self::System(method) => Base::builder().method(*method),
            Self::Simulated(world) => {
                Base::builder().driver(Box::new(world.driver()), Rc::new(world.transport()))
            }
        };
        builder.priorities(priorities).build().unwrap()
    }

    /// A bufferevent and the far end of its connection.
    pub(crate) fn pair(&self, base: &mut Base) -> (BufferEvent, Far) {
        self.pair_with(base, BufferEvent::builder())
    }

    pub(crate) fn pair_with(
        &self,
        base: &mut Base,
        builder: BufferEventBuilder,
    ) -> (BufferEvent, Far) {
        match self {
            Self::System(_) => {
                let (near, far) = UnixStream::pair().unwrap();
                far.set_nonblocking(true).unwrap();
                (builder.open(base, near).unwrap(), Far::Socket(far))
            }
            Self::Simulated(world) => {
                let (fd, peer) = world.pair();
                (builder.adopt(base, fd).unwrap(), Far::Peer(peer))
            }
        }
    }

    /// Two bufferevents that are connected with each other.
    pub(crate) fn both(&self, base: &mut Base) -> [BufferEvent; 2] {
        match self {
            Self::System(_) => {
                let (near, far) = UnixStream::pair().unwrap();
                [near, far].map(|socket| BufferEvent::new(base, socket).unwrap())
            }
            Self::Simulated(world) => {
                let (near, far) = world.local_pair();
                [near, far].map(|fd| BufferEvent::builder().adopt(base, fd).unwrap())
            }
        }
    }

    /// A descriptor for plain events, which stays open as long as its owner, and its far end.
    pub(crate) fn descriptor(&self) -> (Near, Far) {
        match self {
            Self::System(_) => {
                let (near, far) = UnixStream::pair().unwrap();
                near.set_nonblocking(true).unwrap();
                far.set_nonblocking(true).unwrap();
                (Near::Socket(near), Far::Socket(far))
            }
            Self::Simulated(world) => {
                let (fd, peer) = world.pair();
                (Near::Number(world.clone(), fd), Far::Peer(peer))
            }
        }
    }
}

/// A descriptor without a bufferevent.
pub(crate) enum Near {
    Socket(UnixStream),
    Number(World, Fd),
}

impl Near {
    pub(crate) fn fd(&self) -> Fd {
        use std::os::fd::AsRawFd;
        match self {
            Self::Socket(socket) => socket.as_raw_fd(),
            Self::Number(_, fd) => *fd,
        }
    }

    /// Takes what has arrived.
    pub(crate) fn receive(&self) -> Vec<u8> {
        use ferrevent::driver::{Kind, Transport};
        match self {
            Self::Socket(socket) => receive(socket),
            Self::Number(world, fd) => {
                let mut into = ferrevent::Buffer::new();
                let read = world
                    .transport()
                    .read(*fd, Kind::Stream, &mut into, 1 << 20);
                read.map(|_| into.to_vec()).unwrap_or_default()
            }
        }
    }
}

/// The end of a connection that the test plays.
pub(crate) enum Far {
    Socket(UnixStream),
    Peer(Peer),
}

impl Far {
    pub(crate) fn send(&self, bytes: &[u8]) {
        let sent = match self {
            Self::Socket(socket) => (&mut &*socket).write(bytes).unwrap(),
            Self::Peer(peer) => peer.send(bytes).unwrap(),
        };
        assert_eq!(sent, bytes.len(), "there was no room");
    }

    /// Takes what has arrived.
    pub(crate) fn receive(&self) -> Vec<u8> {
        match self {
            Self::Socket(socket) => receive(socket),
            Self::Peer(peer) => peer.receive(usize::MAX),
        }
    }

    /// Ends the stream; the other direction stays.
    pub(crate) fn finish(&self) {
        match self {
            Self::Socket(socket) => socket.shutdown(Shutdown::Write).unwrap(),
            Self::Peer(peer) => peer.shutdown(),
        }
    }

    pub(crate) fn close(self) {
        if let Self::Peer(peer) = self {
            peer.close();
        }
    }

    /// Whether the near end has been closed. (Takes what has arrived.)
    pub(crate) fn is_alone(&self) -> bool {
        match self {
            Self::Socket(socket) => {
                receive(socket);
                matches!((&mut &*socket).read(&mut [0]), Ok(0))
            }
            Self::Peer(peer) => {
                peer.receive(usize::MAX);
                peer.at_end()
            }
        }
    }
}

fn receive(mut socket: &UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 65536];
    while let Ok(n @ 1..) = socket.read(&mut piece) {
        all.extend_from_slice(&piece[..n]);
    }
    all
}

/// Runs until a callback breaks the loop.
pub(crate) fn run(base: &mut Base) {
    let end = run_guarded(base);
    assert_eq!(end, LoopEnd::Stopped);
    assert!(base.got_break(), "the loop has ended by itself");
}

/// Runs until nothing happens any more at this time.
pub(crate) fn settle(base: &mut Base) {
    for _ in 0..20 {
        base.run_nonblocking().unwrap();
    }
}

/// Runs, and fails the test if that takes too long.
fn run_guarded(base: &mut Base) -> LoopEnd {
    let watchdog = base.after(TOO_LONG, |_| panic!("the test hangs"));
    let end = base.run().unwrap();
    watchdog.free(base);
    end
}

/// What was called, in the notation of libevent's testers: `R10` is the read callback with 10 bytes in the input, `W0`
/// the write callback with none in the output; conditions by their names.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) Vec<String>);

pub(crate) fn note(base: &mut Base, what: impl Into<String>) {
    if base.state::<Log>().is_none() {
        base.insert_state(Log::default());
    }
    base.state_mut::<Log>().unwrap().0.push(what.into());
}

/// What was noted since the last look.
pub(crate) fn notes(base: &mut Base) -> Vec<String> {
    base.remove_state::<Log>().unwrap_or_default().0
}

/// Notes whatever it is told, and does nothing else.
pub(crate) struct Witness;

impl Handler for Witness {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        let len = bev.input_len(base).unwrap();
        note(base, format!("R{len}"));
    }

    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        let len = bev.output_len(base).unwrap();
        note(base, format!("W{len}"));
    }

    fn event(&mut self, base: &mut Base, _: BufferEvent, condition: Condition) {
        note(base, describe(&condition));
    }
}

pub(crate) fn describe(condition: &Condition) -> String {
    match condition {
        Condition::Connected => "connected".into(),
        Condition::Eof { dirs } => format!("eof {}", names(*dirs)),
        Condition::Timeout { dirs } => format!("timeout {}", names(*dirs)),
        Condition::Error { dirs, error } => format!("error {} {error:?}", names(*dirs)),
        other => format!("{other:?}"),
    }
}

fn names(dirs: Dirs) -> &'static str {
    match (dirs.contains(Dirs::READ), dirs.contains(Dirs::WRITE)) {
        (true, true) => "both",
        (true, false) => "reading",
        (false, true) => "writing",
        (false, false) => "none",
    }
}
