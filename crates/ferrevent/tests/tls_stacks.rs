//! Random stacks with TLS in them: TLS over stages over sockets and pairs, TLS in TLS, stages over TLS, with rate
//! limits, watermarks, faults and resets. Both ends are bufferevents of one base, in the simulated world.
//!
//! Whatever is done to them: bytes come out in the order in which they went in, the end comes last and once, nobody is
//! called after he was freed, and nothing stays suspended for ever.
//!
//! It is rustls that secures all of the situations: with Ed25519 a handshake takes about a millisecond, so nothing simpler is
//! needed in its place. Its random numbers do not follow the seed, but the lengths of all its messages are the same
//! each time, and nothing else matters to the core: the same seed gives the same trace.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod seeds;

use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ferrevent::{
    Base, BufferEvent, Condition, Dirs, Handler, Mode, RateGroup, RateLimit, TlsSession,
};
use ferrevent_sim::{Faults, Random, World};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use seeds::{Blocks, bytes_from, every_seed};

/// The most that two stages on each side keep of incomplete blocks.
const STUCK: usize = 4 * 19;

/// The two sides, as indices.
const SIDES: [usize; 2] = [0, 1];

/// Of TLS 1.2, and of 1.3 with no, one and two session tickets, which are messages that nobody waits for.
struct Configs {
    client: [Arc<ClientConfig>; 2],
    server: [Arc<ServerConfig>; 4],
}

impl Configs {
    fn get() -> &'static Self {
        static CONFIGS: OnceLock<Configs> = OnceLock::new();
        CONFIGS.get_or_init(Self::new)
    }

    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(["localhost".into()]).unwrap();
        let signed = params.self_signed(&key).unwrap();
        let certificate: CertificateDer<'static> = signed.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = [&TLS12, &TLS13].map(|version| {
            let mut config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            // What other situations have left behind would make a difference.
            config.resumption = Resumption::disabled();
            Arc::new(config)
        });
        let server = [(&TLS12, 0), (&TLS13, 0), (&TLS13, 1), (&TLS13, 2)];
        let server = server.map(|(version, tickets)| {
            let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
            let mut config = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], key)
                .unwrap();
            config.send_tls13_tickets = tickets;
            Arc::new(config)
        });
        Self { client, server }
    }

    /// A session for each side.
    fn sessions(random: &mut Random) -> [TlsSession; 2] {
        let configs = Self::get();
        let kind = random.below(4) as usize;
        let client = configs.client[kind.min(1)].clone();
        [
            TlsSession::client(client, "localhost").unwrap(),
            TlsSession::server(configs.server[kind].clone()).unwrap(),
        ]
    }
}

/// What the handlers of both sides have seen, as the base's state.
#[derive(Debug, Default)]
struct Seen {
    sides: [SeenOfSide; 2],
    /// The connection has been reset: it may fail, but everybody is told.
    reset: bool,
}

#[derive(Debug, Default)]
struct SeenOfSide {
    read: usize,
    ends: usize,
    finished: usize,
    timeouts: usize,
    errors: usize,
    freed: bool,
    /// Takes everything at once.
    greedy: bool,
}

fn seen(base: &mut Base) -> &mut Seen {
    base.state_mut().unwrap()
}

fn seen_of(base: &mut Base, side: usize) -> &mut SeenOfSide {
    &mut seen(base).sides[side]
}

/// Takes bytes from the input of a side and compares them with what was sent.
fn take(base: &mut Base, side: usize, bev: BufferEvent, count: usize) {
    let mut piece = vec![0; count];
    let n = bev.read(base, &mut piece);
    let start = seen_of(base, side).read;
    assert_eq!(piece[..n], bytes_from(start, n, 0), "from {start} on");
    seen_of(base, side).read += n;
}

struct Watcher(usize);

impl Handler for Watcher {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        let seen = seen_of(base, self.0);
        assert!(!seen.freed, "read after free");
        assert_eq!(seen.ends, 0, "bytes after the end");
        if seen.greedy {
            take(base, self.0, bev, 1 << 16);
        }
    }

    fn write(&mut self, base: &mut Base, _: BufferEvent) {
        assert!(!seen_of(base, self.0).freed, "write after free");
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        let reset = seen(base).reset;
        let seen = seen_of(base, self.0);
        assert!(!seen.freed, "event after free");
        match condition {
            Condition::Connected => {}
            // Deferred, both may come in one.
            Condition::Eof { dirs } => {
                seen.finished += usize::from(dirs.contains(Dirs::WRITE));
                if dirs.contains(Dirs::READ) {
                    seen.ends += 1;
                    take(base, self.0, bev, 1 << 20);
                }
            }
            Condition::Timeout { dirs } if dirs == Dirs::WRITE => seen.timeouts += 1,
            Condition::Error { .. } if reset => seen.errors += 1,
            other => panic!("side {}: {other}", self.0),
        }
    }
}

/// One end of the connection.
struct Side {
    /// From the bottom up.
    layers: Vec<BufferEvent>,
    written: usize,
    /// It has been asked to end, and must not write any more.
    finishing: bool,
}

impl Side {
    fn top(&self) -> BufferEvent {
        *self.layers.last().unwrap()
    }
}

struct Situation {
    world: World,
    base: Base,
    random: Random,
    sides: [Side; 2],
    /// One of the sockets, if it is not a pair.
    fd: Option<i32>,
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
        let mut fd = None;
        let bottoms = if random.chance(75) {
            let (near, far) = world.local_pair();
            fd = Some(near);
            [near, far].map(|fd| builder(&mut random).adopt(&mut base, fd).unwrap())
        } else {
            BufferEvent::pair(&mut base)
        };
        let mut layers = bottoms.map(|bottom| vec![bottom]);
        // TLS needs what is below it to hold nothing back.
        let below = random.below(3);
        let above = random.below(3);
        for _ in 0..below {
            add_stage(&mut base, &mut random, &mut layers, 1);
        }
        let nested = random.chance(25);
        for _ in 0..1 + u64::from(nested) {
            add_tls(&mut base, &mut random, &mut layers);
            if nested && random.chance(50) {
                add_stage(&mut base, &mut random, &mut layers, 1);
            }
        }
        for _ in 0..above {
            let size = 1 + random.below(20) as usize;
            add_stage(&mut base, &mut random, &mut layers, size);
        }
        let sides = layers.map(|layers| Side {
            layers,
            written: 0,
            finishing: false,
        });
        for side in SIDES {
            sides[side].top().set_handler(&mut base, Watcher(side));
        }
        let tick = Duration::from_millis(5);
        let group = RateGroup::new(&mut base, RateLimit::new(3000, 3000, tick).unwrap());
        Self {
            world,
            base,
            random,
            sides,
            fd,
            group,
        }
    }

    fn act(&mut self) {
        let (base, random) = (&mut self.base, &mut self.random);
        let any = random.below(3000) as usize;
        let index = random.below(2) as usize;
        let side = &mut self.sides[index];
        let (top, bottom) = (side.top(), side.layers[0]);
        let layer = side.layers[random.below(side.layers.len() as u64) as usize];
        let dirs = [Dirs::READ, Dirs::WRITE, Dirs::all()][random.below(3) as usize];
        match random.below(24) {
            0..=6 if !side.finishing => {
                let bytes = bytes_from(side.written, any, 0);
                top.write(base, bytes).unwrap();
                side.written += any;
            }
            7..=9 => take(base, index, top, any),
            10..=12 => enable(base, index, top, dirs),
            13 | 14 => {
                top.disable(base, dirs);
            }
            15..=17 => {
                let high = [0, 1, 100, 5000][random.below(4) as usize];
                layer.set_watermark(base, dirs, 0, high);
            }
            18 | 19 => {
                let limited = if random.chance(50) { bottom } else { layer };
                limited.set_rate_limit(base, Some(limit(random, 2000, 3)));
            }
            20 => {
                self.group.add(base, bottom);
            }
            21 => {
                top.flush(base, Dirs::WRITE, Mode::Flush);
            }
            22 if !side.finishing && random.chance(20) => {
                side.finishing = true;
                assert!(top.finish(base, None));
            }
            _ => {}
        }
    }

    fn run_for(&mut self, milliseconds: u64) {
        self.base.loop_exit(Duration::from_millis(milliseconds));
        self.base.run().unwrap();
    }

    /// Runs until it is so, for some seconds of the world's time at most.
    fn run_until(&mut self, done: impl Fn(&mut Self) -> bool) -> bool {
        (0..600).any(|_| {
            self.run_for(20);
            done(self)
        })
    }

    /// Takes away whatever holds bytes back.
    fn let_go(&mut self) {
        for side in SIDES {
            let base = &mut self.base;
            seen_of(base, side).greedy = true;
            for layer in self.sides[side].layers.clone() {
                layer.set_watermark(base, Dirs::all(), 0, 0);
                // Some are slow, but go on.
                let slow = RateLimit::new(1000, 1000, Duration::from_millis(1)).unwrap();
                let slow = Some(slow).filter(|_| self.random.chance(30));
                layer.set_rate_limit(base, slow);
            }
            let top = self.sides[side].top();
            take(base, side, top, 1 << 20);
            enable(base, side, top, Dirs::all());
        }
    }

    fn has_read_all_but(&mut self, side: usize, stuck: usize) -> bool {
        seen_of(&mut self.base, side).read + stuck >= self.sides[1 - side].written
    }

    /// Sees everything arrive, and both ends.
    fn end_well(&mut self) {
        self.let_go();
        // Without any end, only what makes no whole block of a stage stays where it is.
        let arrived = self.run_until(|this| {
            SIDES
                .into_iter()
                .all(|side| this.has_read_all_but(side, STUCK))
        });
        assert!(arrived, "nothing is stuck: {:?}", seen(&mut self.base));
        let frees = self.random.chance(30);
        let first = self.random.below(2) as usize;
        for side in [first, 1 - first] {
            let top = self.sides[side].top();
            if frees {
                // The other one may write no more, so that it ends first.
                let other = 1 - side;
                if !self.sides[other].finishing {
                    assert!(self.sides[other].top().finish(&mut self.base, None));
                }
                let told = self.run_until(|this| seen_of(&mut this.base, other).finished == 1);
                assert!(told, "the end is told: {:?}", seen(&mut self.base));
                self.run_until(|this| seen_of(&mut this.base, side).ends == 1);
                assert!(top.free_when_drained(&mut self.base, None));
                let gone = self.run_until(|this| seen_of(&mut this.base, other).ends == 1);
                assert!(gone, "the end arrives: {:?}", seen(&mut self.base));
                seen_of(&mut self.base, side).freed = true;
                break;
            }
            if !self.sides[side].finishing {
                assert!(top.finish(&mut self.base, None));
            }
        }
        let ended = self.run_until(|this| {
            SIDES.into_iter().all(|side| {
                let seen = seen_of(&mut this.base, side);
                seen.freed || seen.ends == 1 && seen.finished == 1
            })
        });
        assert!(ended, "each end is told: {:?}", seen(&mut self.base));
        self.run_for(50);
        for side in SIDES {
            let seen = seen_of(&mut self.base, side);
            assert_eq!((seen.ends, seen.timeouts, seen.errors), (1, 0, 0), "once");
            assert!(seen.freed || seen.finished == 1, "once");
            assert_eq!(seen.read, self.sides[1 - side].written, "all bytes");
        }
    }

    /// The connection is reset: whoever has asked for an end with a deadline is told how it went.
    fn end_badly(&mut self) {
        let Some(fd) = self.fd else {
            // There is nothing to reset; what is freed before its end is cut off.
            seen(&mut self.base).reset = true;
            return;
        };
        self.let_go();
        let patience = Some(Duration::from_secs(1));
        let mut asked = [false; 2];
        for side in SIDES {
            if !self.sides[side].finishing {
                asked[side] = self.sides[side].top().finish(&mut self.base, patience);
            }
        }
        if self.random.chance(50) {
            self.run_for(1);
        }
        seen(&mut self.base).reset = true;
        if let Some(peer) = self.world.peer(fd) {
            peer.reset();
        }
        let told = self.run_until(|this| {
            SIDES.into_iter().all(|side| {
                let seen = seen_of(&mut this.base, side);
                !asked[side] || seen.finished + seen.timeouts + seen.errors > 0
            })
        });
        assert!(told, "each is told: {:?}", seen(&mut self.base));
        for side in SIDES {
            let seen = seen_of(&mut self.base, side);
            assert!(seen.ends <= 1 && seen.finished <= 1 && seen.errors <= 2);
        }
    }

    fn free(&mut self) {
        for side in SIDES {
            if std::mem::replace(&mut seen_of(&mut self.base, side).freed, true) {
                continue;
            }
            assert!(self.sides[side].top().free(&mut self.base));
            if self.random.chance(50) {
                self.run_for(5);
            }
        }
        self.group.free(&mut self.base);
        // What TLS has said last may have to wait, but not for ever.
        self.run_for(40_000);
        assert_eq!(self.base.bufferevents().count(), 0);
        assert_eq!(self.base.pending_len(), 0);
        assert_eq!(self.world.open_descriptors(), 0);
    }
}

fn builder(random: &mut Random) -> ferrevent::BufferEventBuilder {
    let builder = BufferEvent::builder();
    if random.chance(30) {
        builder.deferred()
    } else {
        builder
    }
}

/// Whoever enables reading after the end is told of it again, and asks for that.
fn enable(base: &mut Base, side: usize, top: BufferEvent, mut dirs: Dirs) {
    if seen_of(base, side).ends > 0 {
        dirs -= Dirs::READ;
    }
    top.enable(base, dirs).unwrap();
}

fn limit(random: &mut Random, most: u64, milliseconds: u64) -> RateLimit {
    let rate = 1 + random.below(most) as usize;
    RateLimit::new(rate, rate, Duration::from_millis(milliseconds)).unwrap()
}

/// The same stage on both sides.
fn add_stage(
    base: &mut Base,
    random: &mut Random,
    layers: &mut [Vec<BufferEvent>; 2],
    size: usize,
) {
    let mask = random.below(256) as u8;
    for layers in layers {
        let below = *layers.last().unwrap();
        let stage = Blocks { mask, size };
        layers.push(builder(random).over(base, below, stage).unwrap());
    }
}

fn add_tls(base: &mut Base, random: &mut Random, layers: &mut [Vec<BufferEvent>; 2]) {
    let mut sessions = Configs::sessions(random);
    if random.chance(50) {
        sessions.reverse();
    }
    for (layers, session) in layers.iter_mut().zip(sessions) {
        let below = *layers.last().unwrap();
        let plain = layers.len() == 1 && below.tls(base).is_none();
        let on_socket = plain && below.fd(base).is_some();
        if on_socket && random.chance(60) {
            below.secure(base, session).unwrap();
        } else {
            layers.push(BufferEvent::secure_over(base, below, session).unwrap());
        }
    }
}

fn play(seed: u64) -> Vec<String> {
    let mut situation = Situation::new(seed);
    for _ in 0..10 + situation.random.below(50) {
        situation.act();
        if situation.random.chance(40) {
            let milliseconds = 1 + situation.random.below(10);
            situation.run_for(milliseconds);
        }
    }
    match situation.random.below(10) {
        0..=6 => situation.end_well(),
        7 | 8 => situation.end_badly(),
        // What is freed before its end is cut off.
        _ => seen(&mut situation.base).reset = true,
    }
    situation.free();
    situation.world.trace()
}

#[test]
fn bytes_come_out_as_they_went_in_and_the_end_comes_last() {
    every_seed(|seed| {
        play(seed);
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (one, other) = (play(seed), play(seed));
        let differs = one.iter().zip(&other).find(|(one, other)| one != other);
        assert!(differs.is_none(), "seed {seed}: {differs:?}");
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}
