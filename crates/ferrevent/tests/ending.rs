//! Endings, and pipes between bufferevents.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::io;
use std::time::Duration;

use ferrevent::{Base, Buffer, BufferEvent, Dirs, Mode, Progress, Stage};
use ferrevent_sim::{Faults, World};
use ground::{Ground, Witness, everywhere, notes, settle};

const MIB: usize = 1 << 20;

/// Passes everything on, and puts a full stop at the end.
struct FullStop;

impl Stage for FullStop {
    fn inbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        _: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        progress(to.append_from(from, limit)?)
    }

    fn outbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        let n = to.append_from(from, limit)?;
        if mode == Mode::Finished && from.is_empty() {
            to.append(b".")?;
            return Ok(Progress::NeedMore);
        }
        progress(n)
    }
}

fn progress(n: usize) -> io::Result<Progress> {
    Ok(if n > 0 {
        Progress::Made
    } else {
        Progress::NeedMore
    })
}

/// Runs until `done`, while the far end takes what comes; everything that it got.
fn take_until(
    base: &mut Base,
    far: &ground::Far,
    mut done: impl FnMut(&mut Base) -> bool,
) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..100_000 {
        base.run_nonblocking().unwrap();
        all.extend(far.receive());
        if done(base) {
            return all;
        }
    }
    panic!("it never ends");
}

#[test]
fn finishing_sends_everything_first_and_reading_goes_on() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        bev.set_handler(&mut base, Witness);
        bev.enable(&mut base, Dirs::READ).unwrap();
        bev.write(&mut base, vec![7; MIB]).unwrap();
        assert!(bev.finish(&mut base, None));
        assert!(!bev.finish(&mut base, None), "once");
        let ended = |base: &mut Base| bev.enabled(base) == Some(Dirs::READ);
        assert_eq!(take_until(&mut base, &far, ended).len(), MIB);
        settle(&mut base);
        assert!(far.is_alone(), "the end has arrived");
        assert_eq!(notes(&mut base), ["W0", "eof writing"]);
        far.send(b"still there");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R11"]);
    });
}

#[test]
fn the_end_goes_through_stages() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (below, far) = ground.pair(&mut base);
        below.set_watermark(&mut base, Dirs::WRITE, 0, 1000);
        let middle = BufferEvent::over(&mut base, below, FullStop).unwrap();
        let top = BufferEvent::over(&mut base, middle, FullStop).unwrap();
        assert!(!below.finish(&mut base, None), "another one stands over it");
        top.write(&mut base, vec![7; 50_000]).unwrap();
        assert!(top.free_when_drained(&mut base, None));
        assert!(!top.exists(&base));
        let gone = |base: &mut Base| !below.exists(base);
        let mut all = take_until(&mut base, &far, gone);
        all.extend(far.receive());
        assert_eq!(all.len(), 50_002);
        assert!(all.ends_with(b".."));
        settle(&mut base);
        assert_eq!(base.pending_len(), 0);
    });
}

#[test]
fn the_other_end_of_a_pair_is_told_after_the_bytes() {
    let ground = Ground::Simulated(World::new(1, Faults::none()));
    let mut base = ground.base();
    let [one, other] = BufferEvent::pair(&mut base);
    other.set_handler(&mut base, Witness);
    other.enable(&mut base, Dirs::READ).unwrap();
    one.write(&mut base, "hello").unwrap();
    assert!(one.free_when_drained(&mut base, None));
    settle(&mut base);
    assert_eq!(notes(&mut base), ["R5", "eof reading"]);
    assert_eq!(base.bufferevents().count(), 1);
}

#[test]
fn a_peer_that_takes_nothing_ends_the_patience() {
    let (ground, patience) = (
        Ground::Simulated(World::new(1, Faults::none())),
        Some(Duration::from_secs(5)),
    );
    for free in [false, true] {
        let mut base = ground.base();
        let (bev, _far) = ground.pair(&mut base);
        bev.set_handler(&mut base, Witness);
        bev.write(&mut base, vec![7; 8 * MIB]).unwrap();
        let before = base.now();
        if free {
            assert!(bev.free_when_drained(&mut base, patience));
        } else {
            assert!(bev.finish(&mut base, patience));
        }
        base.loop_exit(Duration::from_secs(6));
        base.run().unwrap();
        assert!(base.now() - before >= Duration::from_secs(5));
        if free {
            assert_eq!(base.bufferevents().count(), 0);
        } else {
            assert_eq!(notes(&mut base), ["timeout writing"]);
        }
    }
}

#[test]
fn an_end_that_fails_frees_all_the_same() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        let bev = BufferEvent::over(&mut base, bev, FullStop).unwrap();
        bev.write(&mut base, vec![7; 8 * MIB]).unwrap();
        settle(&mut base);
        assert!(bev.free_when_drained(&mut base, None));
        settle(&mut base);
        assert_ne!(base.pending_len(), 0);
        far.close();
        settle(&mut base);
        assert_eq!(base.pending_len(), 0);
        assert_eq!(base.bufferevents().count(), 0);
    });
}

#[test]
fn everything_arrives_under_faults() {
    for seed in 0..300 {
        let world = World::new(seed, Faults::wild());
        let ground = Ground::Simulated(world);
        let mut base = ground.base();
        let (below, far) = ground.pair(&mut base);
        let bev = if seed % 2 == 0 {
            below
        } else {
            BufferEvent::over(&mut base, below, FullStop).unwrap()
        };
        bev.write(&mut base, vec![7; 20_000]).unwrap();
        assert!(bev.free_when_drained(&mut base, None));
        let mut all = 0;
        while base.pending_len() > 0 {
            base.loop_exit(Duration::from_millis(20));
            base.run().unwrap();
            all += far.receive().len();
        }
        all += far.receive().len();
        base.loop_exit(Duration::from_millis(200));
        base.run().unwrap();
        all += far.receive().len();
        assert_eq!(all, 20_000 + (seed % 2) as usize, "seed {seed}");
    }
}

/// A fast server, a slow client, and the proxy between them.
#[test]
fn a_pipe_holds_at_most_twice_its_limit() {
    const LIMIT: usize = 64 * 1024;
    everywhere(|ground| {
        let mut base = ground.base();
        let (from_server, server) = ground.pair(&mut base);
        let (to_client, client) = ground.pair(&mut base);
        assert!(from_server.pipe(&mut base, to_client, LIMIT));
        from_server.enable(&mut base, Dirs::READ).unwrap();
        let mut held = 0;
        let (mut sent, mut got) = (0, 0);
        let mut stalled = 0;
        while got < 4 * MIB {
            // The server sends all that fits, the client takes a little now and then.
            if sent < 4 * MIB && stalled % 3 == 0 && server_has_room(sent, got, held) {
                server.send(&vec![(sent / 4096 % 251) as u8; 4096]);
                sent += 4096;
            }
            base.run_nonblocking().unwrap();
            let both = from_server.input_len(&base).unwrap() + to_client.output_len(&base).unwrap();
            held = held.max(both);
            stalled += 1;
            if stalled % 40 == 0 || sent == 4 * MIB {
                got += client.receive().len();
            }
        }
        assert!(held < 2 * LIMIT, "{held}");
        server.finish();
        settle(&mut base);
        assert!(client.is_alone(), "the end went on");
    });
}

/// The test's own sockets must not fill up: that would fail its `send`.
fn server_has_room(sent: usize, got: usize, held: usize) -> bool {
    sent - got < held + 128 * 1024
}

#[test]
fn a_pipe_ends_and_the_handler_is_called_again() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (one, far_of_one) = ground.pair(&mut base);
        let (other, far_of_other) = ground.pair(&mut base);
        one.set_handler(&mut base, Witness);
        one.enable(&mut base, Dirs::READ).unwrap();
        assert!(one.pipe(&mut base, other, 100));
        far_of_one.send(b"hello");
        settle(&mut base);
        assert_eq!(far_of_other.receive(), b"hello");
        assert!(one.unpipe(&mut base));
        far_of_one.send(b"hello");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R5"]);
        assert!(one.pipe(&mut base, other, 100), "what is there goes too");
        settle(&mut base);
        assert_eq!(far_of_other.receive(), b"hello");
        other.free(&mut base);
        far_of_one.send(b"hello");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R5"], "nobody is there to take it");
    });
}
