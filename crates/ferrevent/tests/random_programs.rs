//! Random programs in a random world: whatever is done to bufferevents, in whatever order, the bytes that come out are
//! those that went in, the marks are kept, and nothing gets stuck.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::rc::Rc;
use std::time::Duration;

use ferrevent::{Base, BufferEvent, Condition, Dirs, Handler, LoopFlags};
use ferrevent_sim::{Faults, Peer, World};

const CONNECTIONS: usize = 3;
const STEPS: usize = 80;
const MS: Duration = Duration::from_millis(1);

/// The byte at a position of every stream: position and value tell each other.
fn byte(position: usize) -> u8 {
    (position % 251) as u8
}

fn bytes(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(byte).collect()
}

/// One connection, seen from both ends.
struct Connection {
    bev: BufferEvent,
    peer: Peer,
    written: usize,
    received: usize,
    sent: usize,
}

/// What the handlers have to remember: how much of each input was taken.
#[derive(Default)]
struct Taken([usize; CONNECTIONS]);

/// Does something at random whenever it is called.
struct Whim {
    number: usize,
    world: World,
    /// What is told agrees with what is seen: nothing was triggered or deferred.
    strict: bool,
}

impl Handler for Whim {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        let len = bev.input_len(base).unwrap();
        let low = bev.watermark(base, Dirs::READ).unwrap().low;
        assert!(
            len >= low || !self.strict,
            "called with {len} bytes under a low mark of {low}"
        );
        self.act(base, bev);
    }

    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        let len = bev.output_len(base).unwrap();
        let low = bev.watermark(base, Dirs::WRITE).unwrap().low;
        assert!(
            len <= low || !self.strict,
            "called with {len} bytes over a low mark of {low}"
        );
        self.act(base, bev);
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        let Condition::Timeout { dirs } = condition else {
            panic!("nothing else happens here: {condition:?}");
        };
        assert!(!bev.enabled(base).unwrap().intersects(dirs) || !self.strict);
        self.act(base, bev);
    }
}

impl Whim {
    fn act(&mut self, base: &mut Base, bev: BufferEvent) {
        match self.world.random_below(6) {
            0 => bev.enable(base, Dirs::all()).unwrap(),
            1 => {
                bev.disable(base, some_dirs(&self.world));
            }
            2 | 3 => take(
                base,
                bev,
                self.number,
                self.world.random_below(5000) as usize,
            ),
            _ => {}
        }
    }
}

/// Takes so many bytes from the input, which must be the next ones of the stream.
fn take(base: &mut Base, bev: BufferEvent, number: usize, count: usize) {
    let mut out = vec![0; count];
    let n = bev.read(base, &mut out);
    let taken = &mut base.state_mut::<Taken>().unwrap().0[number];
    assert!(out[..n] == bytes(*taken, n), "other bytes than were sent");
    *taken += n;
}

fn some_dirs(world: &World) -> Dirs {
    [Dirs::READ, Dirs::WRITE, Dirs::all()][world.random_below(3) as usize]
}

/// A random program, and then the end: everything that was sent must arrive.
fn program(seed: u64) -> Vec<String> {
    let world = World::new(seed, Faults::wild());
    let mut base = Base::builder()
        .driver(Box::new(world.driver()), Rc::new(world.transport()))
        .priorities(3)
        .build()
        .unwrap();
    base.insert_state(Taken::default());
    let strict = seed.is_multiple_of(2);
    let mut connections: Vec<Connection> = (0..CONNECTIONS)
        .map(|number| connection(&mut base, &world, number, strict))
        .collect();
    for _ in 0..STEPS {
        let number = world.random_below(CONNECTIONS as u64) as usize;
        step(&mut base, &world, &mut connections[number], number, strict);
    }
    finish(&mut base, &world, &mut connections, seed);
    for connection in &connections {
        assert!(connection.bev.free(&mut base));
    }
    base.run_with(LoopFlags::ONCE | LoopFlags::NONBLOCK)
        .unwrap();
    assert_eq!(
        (base.pending_len(), base.active_len()),
        (0, 0),
        "seed {seed}"
    );
    assert_eq!(world.open_descriptors(), 0, "seed {seed}");
    world.trace()
}

fn connection(base: &mut Base, world: &World, number: usize, strict: bool) -> Connection {
    let (fd, peer) = world.pair();
    let mut builder = BufferEvent::builder().priority(world.random_below(3) as u8);
    let deferred = world.random_below(2) == 0;
    if deferred {
        builder = builder.deferred();
    }
    let bev = builder.adopt(base, fd).unwrap();
    let world = world.clone();
    // A deferred call may come when things have changed again.
    let strict = strict && !deferred;
    bev.set_handler(
        base,
        Whim {
            number,
            world,
            strict,
        },
    );
    Connection {
        bev,
        peer,
        written: 0,
        received: 0,
        sent: 0,
    }
}

fn step(base: &mut Base, world: &World, connection: &mut Connection, number: usize, strict: bool) {
    let bev = connection.bev;
    let some = |end| world.random_below(end) as usize;
    match world.random_below(14) {
        0 | 1 => {
            let count = some(20_000);
            bev.write(base, bytes(connection.written, count)).unwrap();
            connection.written += count;
        }
        2 | 3 => connection.send(some(5000)),
        4 => connection.receive(some(20_000)),
        5 => bev.enable(base, some_dirs(world)).unwrap(),
        6 => {
            bev.disable(base, some_dirs(world));
        }
        7 => take(base, bev, number, some(5000)),
        8 if strict => {
            // Marks that only grow keep what was called for in the past true.
            let mark = bev.watermark(base, Dirs::WRITE).unwrap();
            bev.set_watermark(base, Dirs::WRITE, mark.low + some(3000), 0);
        }
        8 => {
            bev.set_watermark(base, some_dirs(world), some(3000), some(4000));
        }
        9 => {
            bev.set_max_single(base, some_dirs(world), Some(1 + some(4000)));
        }
        10 => {
            let timeout = (some(2) == 0).then(|| MS * some(50) as u32);
            bev.set_timeouts(base, timeout, timeout);
        }
        11 if !strict => {
            bev.trigger(base, some_dirs(world), some(2) == 0);
        }
        _ => {
            base.loop_exit(MS * some(20) as u32);
            base.run().unwrap();
        }
    }
}

/// Removes every obstacle, and waits for all bytes to arrive.
fn finish(base: &mut Base, world: &World, connections: &mut [Connection], seed: u64) {
    world.set_faults(Faults::none());
    for Connection { bev, .. } in &*connections {
        bev.clear_handler(base);
        bev.set_timeouts(base, None, None);
        bev.set_watermark(base, Dirs::all(), 0, 0);
        bev.enable(base, Dirs::all()).unwrap();
    }
    for _ in 0..1000 {
        base.loop_exit(MS);
        base.run().unwrap();
        for (number, connection) in connections.iter_mut().enumerate() {
            connection.receive(usize::MAX);
            take(base, connection.bev, number, 100_000);
        }
        let taken = &base.state::<Taken>().unwrap().0;
        let all_is_there = connections
            .iter()
            .zip(taken)
            .all(|(c, &taken)| c.received == c.written && taken == c.sent);
        if all_is_there {
            return;
        }
    }
    for (connection, taken) in connections.iter().zip(base.state::<Taken>().unwrap().0) {
        println!(
            "written {}, received {}; sent {}, taken {taken}",
            connection.written, connection.received, connection.sent
        );
    }
    panic!("seed {seed}: something is stuck");
}

impl Connection {
    fn send(&mut self, count: usize) {
        self.sent += self.peer.send(&bytes(self.sent, count)).unwrap();
    }

    fn receive(&mut self, limit: usize) {
        let received = self.peer.receive(limit);
        assert!(
            received == bytes(self.received, received.len()),
            "other bytes than were written"
        );
        self.received += received.len();
    }
}

#[test]
fn bytes_arrive_marks_are_kept_and_nothing_gets_stuck() {
    for seed in 0..1000 {
        program(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..5 {
        assert!(program(seed) == program(seed), "seed {seed}");
    }
}
