//! Random stacks of stages over sockets and pairs, with rate limits, watermarks and faults.
//!
//! Whatever is done to them: bytes come out in the order in which they went in, the end comes last and once, nobody is
//! called after he was freed, and nothing stays suspended for ever.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod seeds;

use std::rc::Rc;
use std::time::Duration;

use ferrevent::{Base, BufferEvent, Condition, Dirs, Handler, Mode, RateGroup, RateLimit};
use ferrevent_sim::{Faults, Peer, Random, World};
use seeds::{Blocks, bytes_from, every_seed};

/// The most that three stages keep of incomplete blocks.
const STUCK: usize = 3 * 19;

/// What a handler has seen, as the base's state.
#[derive(Debug, Default)]
struct Seen {
    read: usize,
    ends: usize,
    freed: bool,
    finished: usize,
    /// Takes everything at once.
    greedy: bool,
}

fn seen(base: &mut Base) -> &mut Seen {
    base.state_mut().unwrap()
}

/// Takes bytes from the input of `bev` and compares them with what was sent.
fn take(base: &mut Base, bev: BufferEvent, count: usize) {
    let mut piece = vec![0; count];
    let n = bev.read(base, &mut piece);
    let start = seen(base).read;
    assert_eq!(piece[..n], bytes_from(start, n, 0), "from {start} on");
    seen(base).read += n;
}

struct Watcher;

impl Handler for Watcher {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        assert!(!seen(base).freed, "read after free");
        assert_eq!(seen(base).ends, 0, "bytes after the end");
        if seen(base).greedy {
            take(base, bev, 1 << 16);
        }
    }

    fn write(&mut self, base: &mut Base, _: BufferEvent) {
        assert!(!seen(base).freed, "write after free");
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        assert!(!seen(base).freed, "event after free");
        match condition {
            // Deferred, both may come in one.
            Condition::Eof { dirs } => {
                if dirs.contains(Dirs::READ) {
                    seen(base).ends += 1;
                    take(base, bev, 1 << 16);
                }
                if dirs.contains(Dirs::WRITE) {
                    seen(base).finished += 1;
                }
            }
            other => panic!("{other}"),
        }
    }
}

/// The far end: a peer of the simulated world, or the other end of a pair, which reads and writes without layers.
enum Far {
    Peer(Peer),
    End(BufferEvent),
}

struct Situation {
    base: Base,
    random: Random,
    top: BufferEvent,
    bottom: BufferEvent,
    far: Far,
    /// All masks together.
    mask: u8,
    written: usize,
    arrived: usize,
    sent: usize,
    group: RateGroup,
}

impl Situation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let faults = match random.below(3) {
            0 => Faults::none(),
            _ => Faults::wild(),
        };
        let world = World::new(seed, faults);
        let (driver, transport) = (Box::new(world.driver()), Rc::new(world.transport()));
        let mut base = Base::builder().driver(driver, transport).build().unwrap();
        base.insert_state(Seen::default());
        let (bottom, far) = if random.chance(70) {
            let (fd, peer) = world.pair();
            let builder = BufferEvent::builder();
            (builder.adopt(&mut base, fd).unwrap(), Far::Peer(peer))
        } else {
            let [near, far] = BufferEvent::pair(&mut base);
            far.enable(&mut base, Dirs::READ).unwrap();
            (near, Far::End(far))
        };
        let mut top = bottom;
        let mut all_masks = 0;
        for _ in 0..random.below(4) {
            let mask = random.below(256) as u8;
            all_masks ^= mask;
            let size = 1 + random.below(20) as usize;
            let mut builder = BufferEvent::builder();
            if random.chance(30) {
                builder = builder.deferred();
            }
            top = builder.over(&mut base, top, Blocks { mask, size }).unwrap();
        }
        top.set_handler(&mut base, Watcher);
        let tick = Duration::from_millis(5);
        let group = RateGroup::new(&mut base, RateLimit::new(3000, 3000, tick).unwrap());
        Self {
            base,
            random,
            top,
            bottom,
            far,
            mask: all_masks,
            written: 0,
            arrived: 0,
            sent: 0,
            group,
        }
    }

    fn act(&mut self) {
        let (base, random) = (&mut self.base, &mut self.random);
        let any = random.below(3000) as usize;
        let layer = if random.chance(50) {
            self.top
        } else {
            self.bottom
        };
        let dirs = [Dirs::READ, Dirs::WRITE, Dirs::all()][random.below(3) as usize];
        match random.below(13) {
            0..=2 => {
                let bytes = bytes_from(self.written, any, 0);
                self.top.write(base, bytes).unwrap();
                self.written += any;
            }
            3 | 4 => self.send(any),
            5 => take(base, self.top, any),
            6 => {
                self.top.enable(base, dirs).unwrap();
            }
            7 => {
                self.top.disable(base, dirs);
            }
            8 => {
                let high = [0, 1, 100, 5000][random.below(4) as usize];
                layer.set_watermark(base, dirs, 0, high);
            }
            9 => {
                let rate = 1 + random.below(2000) as usize;
                let limit = RateLimit::new(rate, rate, Duration::from_millis(3)).unwrap();
                self.bottom.set_rate_limit(base, Some(limit));
            }
            10 => {
                self.group.add(base, self.bottom);
            }
            11 => {
                self.top.flush(base, Dirs::WRITE, Mode::Flush);
            }
            _ => self.receive(),
        }
    }

    fn send(&mut self, count: usize) {
        let bytes = bytes_from(self.sent, count, self.mask);
        self.sent += match &self.far {
            Far::Peer(peer) => peer.send(&bytes).unwrap_or(0),
            Far::End(end) => {
                end.write(&mut self.base, bytes).unwrap();
                count
            }
        };
    }

    fn receive(&mut self) {
        let bytes = match &self.far {
            Far::Peer(peer) => peer.receive(usize::MAX),
            Far::End(end) => {
                let mut bytes = vec![0; 1 << 20];
                let n = end.read(&mut self.base, &mut bytes);
                bytes.truncate(n);
                bytes
            }
        };
        let should = bytes_from(self.arrived, bytes.len(), self.mask);
        assert_eq!(bytes, should, "from {} on", self.arrived);
        self.arrived += bytes.len();
        assert!(self.arrived <= self.written);
    }

    fn run_for(&mut self, milliseconds: u64) {
        self.base.loop_exit(Duration::from_millis(milliseconds));
        self.base.run().unwrap();
    }

    /// Takes away whatever holds bytes back, and sees everything arrive.
    fn end_well(&mut self) {
        let base = &mut self.base;
        seen(base).greedy = true;
        for layer in [self.top, self.bottom] {
            layer.set_watermark(base, Dirs::all(), 0, 0);
        }
        take(base, self.top, 1 << 16);
        self.top.enable(base, Dirs::all()).unwrap();
        if self.random.chance(50) {
            self.bottom.set_rate_limit(base, None);
        } else {
            // Slow, but it goes on.
            let limit = RateLimit::new(500, 500, Duration::from_millis(1)).unwrap();
            self.bottom.set_rate_limit(base, Some(limit));
        }
        // Without any end, only what makes no whole block of a stage stays where it is.
        for _ in 0..400 {
            self.run_for(20);
            self.receive();
            if self.arrived + STUCK >= self.written
                && seen(&mut self.base).read + STUCK >= self.sent
            {
                break;
            }
        }
        assert!(
            self.arrived + STUCK >= self.written,
            "nothing is stuck on the way out"
        );
        assert!(
            seen(&mut self.base).read + STUCK >= self.sent,
            "nothing is stuck on the way in"
        );
        let base = &mut self.base;
        match &self.far {
            Far::Peer(peer) => peer.shutdown(),
            Far::End(end) => {
                end.flush(base, Dirs::WRITE, Mode::Finished);
            }
        }
        assert!(self.top.finish(base, None));
        for _ in 0..400 {
            self.run_for(20);
            self.receive();
            let seen = seen(&mut self.base);
            if seen.finished == 1 && seen.ends == 1 && self.arrived == self.written {
                break;
            }
        }
        assert_eq!(self.arrived, self.written, "written bytes arrive");
        let seen = seen(&mut self.base);
        assert_eq!(seen.read, self.sent, "sent bytes are read");
        assert_eq!((seen.ends, seen.finished), (1, 1), "each end is told once");
    }

    fn free(&mut self) {
        seen(&mut self.base).freed = true;
        assert!(self.top.free(&mut self.base));
        self.run_for(50);
        if let Far::End(end) = &self.far {
            end.free(&mut self.base);
        }
        self.group.free(&mut self.base);
        self.run_for(50);
        assert_eq!(self.base.bufferevents().count(), 0);
        assert_eq!(self.base.pending_len(), 0);
    }
}

fn play(seed: u64) {
    let mut situation = Situation::new(seed);
    for _ in 0..10 + situation.random.below(40) {
        situation.act();
        if situation.random.chance(40) {
            let milliseconds = 1 + situation.random.below(10);
            situation.run_for(milliseconds);
        }
    }
    if situation.random.chance(80) {
        situation.end_well();
    }
    situation.free();
}

#[test]
fn bytes_come_out_as_they_went_in_and_the_end_comes_last() {
    every_seed(play);
}
