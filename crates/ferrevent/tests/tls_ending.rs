//! Endings and pipes with TLS: over sockets, pairs and stages, under a stage, and TLS in TLS.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod duo;

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use duo::{Configs, Duo, watch};
use ferrevent::{Base, Buffer, BufferEvent, Dirs, Mode, Progress, Stage, tls_client_config};

const MIB: usize = 1 << 20;

/// What stands on what.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stack {
    Socket,
    OverSocket,
    OverPair,
    OverStage,
    InTls,
    UnderStage,
}

const STACKS: [Stack; 6] = [
    Stack::Socket,
    Stack::OverSocket,
    Stack::OverPair,
    Stack::OverStage,
    Stack::InTls,
    Stack::UnderStage,
];

/// Flips all bits.
struct Flip;

impl Flip {
    fn run(from: &mut Buffer, to: &mut Buffer, limit: usize) -> io::Result<Progress> {
        let mut piece = vec![0; from.len().min(limit).min(3000)];
        let n = from.remove(&mut piece)?;
        piece.iter_mut().for_each(|byte| *byte ^= 0xff);
        to.append(&piece[..n])?;
        Ok(if n > 0 {
            Progress::Made
        } else {
            Progress::NeedMore
        })
    }
}

impl Stage for Flip {
    fn inbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        _: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        Self::run(from, to, limit)
    }

    fn outbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        _: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        Self::run(from, to, limit)
    }
}

/// Two ends of such a stack.
fn duo(stack: Stack) -> Duo {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let below = if stack == Stack::OverPair {
        BufferEvent::pair(&mut base)
    } else {
        let (near, far) = UnixStream::pair().unwrap();
        [near, far].map(|socket| BufferEvent::new(&mut base, socket).unwrap())
    };
    let sessions = || [configs.client(), configs.server()];
    let secure_over = |base: &mut Base, below: [BufferEvent; 2]| {
        let mut sessions = sessions().into_iter();
        below.map(|below| BufferEvent::secure_over(base, below, sessions.next().unwrap()).unwrap())
    };
    let flip_over = |base: &mut Base, below: [BufferEvent; 2]| {
        below.map(|below| BufferEvent::over(base, below, Flip).unwrap())
    };
    let secure = |base: &mut Base, on: [BufferEvent; 2]| {
        for (bev, session) in on.into_iter().zip(sessions()) {
            bev.secure(base, session).unwrap();
        }
        on
    };
    let [client, server] = match stack {
        Stack::Socket => secure(&mut base, below),
        Stack::OverSocket | Stack::OverPair => secure_over(&mut base, below),
        Stack::OverStage => {
            let below = flip_over(&mut base, below);
            secure_over(&mut base, below)
        }
        Stack::InTls => {
            let below = secure(&mut base, below);
            secure_over(&mut base, below)
        }
        Stack::UnderStage => {
            let below = secure(&mut base, below);
            flip_over(&mut base, below)
        }
    };
    Duo::new(base, client, server)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n >> 3) as u8).collect()
}

#[test]
fn one_direction_ends_and_the_other_goes_on() {
    for stack in STACKS {
        let mut duo = duo(stack);
        let (up, down) = (bytes(MIB), bytes(300_000));
        duo.client.write(&mut duo.base, &up).unwrap();
        // Before the handshake.
        assert!(duo.client.finish(&mut duo.base, None), "{stack:?}");
        assert!(!duo.client.finish(&mut duo.base, None), "once");
        duo.run_until(|duo| {
            duo.of_server.borrow().ends == 1 && duo.of_client.borrow().finished == 1
        });
        assert!(duo.of_server.borrow().data == up, "{stack:?}");
        assert_eq!(duo.client.enabled(&duo.base), Some(Dirs::READ));
        duo.server.write(&mut duo.base, &down).unwrap();
        duo.run_until(|duo| duo.of_client.borrow().data.len() == down.len());
        assert!(duo.of_client.borrow().data == down, "{stack:?}");
        assert!(duo.server.finish(&mut duo.base, None));
        duo.run_until(|duo| {
            duo.of_client.borrow().ends == 1 && duo.of_server.borrow().finished == 1
        });
        for seen in [&duo.of_client, &duo.of_server] {
            let seen = seen.borrow();
            assert!(seen.errors.is_empty(), "{stack:?}: {:?}", seen.errors);
            assert_eq!((seen.ends, seen.finished), (1, 1), "{stack:?}");
        }
        for bev in [duo.client, duo.server] {
            assert!(bev.free(&mut duo.base));
        }
        run_shortly(&mut duo);
        assert_eq!(duo.base.bufferevents().count(), 0, "{stack:?}");
    }
}

#[test]
fn it_is_freed_when_everything_has_been_sent() {
    for stack in STACKS {
        let mut duo = duo(stack);
        let up = bytes(MIB);
        let of_one_side = duo.base.bufferevents().count() / 2;
        duo.client.write(&mut duo.base, &up).unwrap();
        duo.server
            .set_watermark(&mut duo.base, Dirs::READ, 0, 10_000);
        assert!(duo.client.free_when_drained(&mut duo.base, None));
        assert!(!duo.client.exists(&duo.base));
        duo.run_until(|duo| duo.of_server.borrow().ends == 1);
        assert!(duo.of_server.borrow().data == up, "{stack:?}");
        assert!(duo.of_server.borrow().errors.is_empty());
        run_shortly(&mut duo);
        assert_eq!(duo.base.bufferevents().count(), of_one_side, "{stack:?}");
    }
}

#[test]
fn a_peer_that_takes_nothing_ends_the_patience() {
    let patience = Some(Duration::from_millis(100));
    for stack in STACKS {
        if stack == Stack::OverPair {
            // The other end of a pair has room for everything at the end.
            continue;
        }
        for free in [false, true] {
            let mut duo = duo(stack);
            let of_one_side = duo.base.bufferevents().count() / 2;
            duo.run_until(|duo| duo.of_client.borrow().connected == 1);
            duo.server.disable(&mut duo.base, Dirs::READ);
            duo.client.write(&mut duo.base, vec![7; 8 * MIB]).unwrap();
            if free {
                assert!(duo.client.free_when_drained(&mut duo.base, patience));
                duo.run_until(|duo| duo.base.bufferevents().count() == of_one_side);
            } else {
                assert!(duo.client.finish(&mut duo.base, patience));
                duo.run_until(|duo| duo.of_client.borrow().timeouts == 1);
                assert_eq!(duo.client.enabled(&duo.base), Some(Dirs::READ));
                assert_eq!(duo.of_client.borrow().finished, 0);
            }
        }
    }
}

#[test]
fn a_peer_that_goes_away_fails_the_end() {
    for stack in STACKS {
        let mut duo = duo(stack);
        duo.run_until(|duo| duo.of_client.borrow().connected == 1);
        duo.client.disable(&mut duo.base, Dirs::READ);
        duo.server.disable(&mut duo.base, Dirs::READ);
        duo.client.write(&mut duo.base, vec![7; 8 * MIB]).unwrap();
        if stack == Stack::OverPair {
            // The end of a pair that is alone keeps what is written.
            continue;
        }
        assert!(duo.client.finish(&mut duo.base, None));
        run_shortly(&mut duo);
        duo.server.shutdown(&mut duo.base, Shutdown::Both).unwrap();
        duo.server.free(&mut duo.base);
        duo.run_until(|duo| !duo.of_client.borrow().errors.is_empty());
        assert_eq!(duo.of_client.borrow().finished, 0, "{stack:?}");
        if stack != Stack::UnderStage {
            // A stage keeps its directions when an error is passed on.
            assert_eq!(
                duo.client.enabled(&duo.base),
                Some(Dirs::empty()),
                "{stack:?}"
            );
        }
    }
}

#[test]
fn a_handshake_that_fails_fails_the_end() {
    for free in [false, true] {
        let configs = Configs::new();
        let mut base = Base::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let [client, server] =
            [near, far].map(|socket| BufferEvent::new(&mut base, socket).unwrap());
        let suspicious =
            ferrevent::TlsSession::client(tls_client_config(&[]), "localhost").unwrap();
        client.secure(&mut base, suspicious).unwrap();
        server.secure(&mut base, configs.server()).unwrap();
        let mut duo = Duo::new(base, client, server);
        if free {
            assert!(duo.client.free_when_drained(&mut duo.base, None));
            duo.run_until(|duo| duo.base.bufferevents().count() == 1);
        } else {
            assert!(duo.client.finish(&mut duo.base, None));
            duo.run_until(|duo| !duo.of_client.borrow().errors.is_empty());
            assert_eq!(duo.of_client.borrow().finished, 0);
            assert!(!duo.client.finish(&mut duo.base, None), "nothing will come");
            assert!(duo.client.free_when_drained(&mut duo.base, None));
            duo.run_until(|duo| duo.base.bufferevents().count() == 1);
        }
    }
}

#[test]
fn what_is_under_tls_does_not_end_by_itself() {
    let configs = Configs::new();
    let mut base = Base::new().unwrap();
    let [below, _other] = BufferEvent::pair(&mut base);
    let bev = BufferEvent::secure_over(&mut base, below, configs.client()).unwrap();
    assert!(!below.finish(&mut base, None));
    assert!(bev.free(&mut base));
}

/// A proxy that ends TLS on one side and begins it on the other.
#[test]
fn a_pipe_between_two_connections_with_tls_ends_cleanly() {
    const LIMIT: usize = 64 * 1024;
    let configs = Configs::new();
    let mut front = Duo::on_sockets(configs.client(), configs.server());
    let (near, far) = UnixStream::pair().unwrap();
    let back = [(near, configs.client()), (far, configs.server())].map(|(socket, session)| {
        let bev = BufferEvent::new(&mut front.base, socket).unwrap();
        bev.secure(&mut front.base, session).unwrap();
        bev
    });
    let of_back = back.map(|bev| watch(&mut front.base, bev));
    let proxy = (front.server, back[0]);
    assert!(proxy.0.pipe(&mut front.base, proxy.1, LIMIT));
    assert!(proxy.1.pipe(&mut front.base, proxy.0, LIMIT));
    let up = bytes(2 * MIB);
    front.client.write(&mut front.base, &up).unwrap();
    assert!(front.client.finish(&mut front.base, None));
    back[1].set_watermark(&mut front.base, Dirs::READ, 0, 5000);
    front.run_until(|front| {
        let from = proxy.0.input_len(&front.base).unwrap();
        let to = proxy.1.output_len(&front.base).unwrap();
        assert!(from + to < 2 * LIMIT, "{from} and {to}");
        of_back[1].borrow().ends == 1
    });
    assert!(of_back[1].borrow().data == up);
    back[1].write(&mut front.base, bytes(1000)).unwrap();
    assert!(back[1].finish(&mut front.base, None));
    front.run_until(|front| front.of_client.borrow().ends == 1);
    assert_eq!(front.of_client.borrow().data, bytes(1000));
    let seen = [&front.of_client, &front.of_server, &of_back[0], &of_back[1]];
    for seen in seen {
        assert!(seen.borrow().errors.is_empty());
        assert_eq!((seen.borrow().ends, seen.borrow().finished), (1, 1));
    }
}

fn run_shortly(duo: &mut Duo) {
    duo.base.loop_exit(Duration::from_millis(20));
    duo.base.run().unwrap();
}
