//! Whole programs in a simulated world where everything goes wrong that may: short reads and writes, interruptions,
//! spurious and late reports, little room. Whatever the seed, no byte is lost, and the same seed gives the same run.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::rc::Rc;
use std::time::Duration;

use ferrevent::{Base, BufferEvent, Callbacks, Condition, Dirs, Event, Handler, What};
use ferrevent_sim::{Dial, Faults, Peer, World};

/// Longer than any of these programs takes, in virtual time.
const TOO_LONG: Duration = Duration::from_secs(3600);

fn base_in(world: &World) -> Base {
    let mut base = Base::builder()
        .driver(Box::new(world.driver()), Rc::new(world.transport()))
        .build()
        .unwrap();
    base.after(TOO_LONG, |_| panic!("the program hangs"));
    base
}

fn text(len: u32) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Sends back what comes, with back-pressure, until all has been sent back after the end.
struct Echo {
    limit: usize,
    ended: bool,
}

impl Handler for Echo {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        bev.forward(base, bev).unwrap();
        if bev.output_len(base) >= Some(self.limit) {
            bev.disable(base, Dirs::READ);
        }
    }

    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        if !self.ended {
            bev.enable(base, Dirs::READ).unwrap();
        } else if bev.output_len(base) == Some(0) {
            bev.free(base);
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        assert!(
            matches!(condition, Condition::Eof { dirs: Dirs::READ }),
            "{condition:?}"
        );
        bev.forward(base, bev).unwrap();
        self.ended = true;
        if bev.output_len(base) == Some(0) {
            bev.free(base);
        }
    }
}

/// What the test's end of a connection still sends, and what it has received.
struct Exchange {
    peer: Peer,
    rest: Vec<u8>,
    received: Vec<u8>,
}

/// Lets the peers send and receive every now and then, until all echo servers have hung up.
fn play(base: &mut Base, world: &World, mut exchanges: Vec<Exchange>) -> Vec<Vec<u8>> {
    while !exchanges.iter().all(|exchange| exchange.peer.at_end()) {
        for exchange in &mut exchanges {
            let n = world.random_below(2000) as usize;
            let piece = &exchange.rest[..n.min(exchange.rest.len())];
            if !exchange.rest.is_empty() {
                let sent = exchange.peer.send(piece).unwrap();
                exchange.rest.drain(..sent);
                if exchange.rest.is_empty() {
                    exchange.peer.shutdown();
                }
            }
            let n = world.random_below(2000) as usize;
            exchange.received.extend(exchange.peer.receive(n));
        }
        base.loop_exit(Duration::from_millis(1));
        base.run().unwrap();
    }
    exchanges
        .into_iter()
        .map(|exchange| exchange.received)
        .collect()
}

fn echo_server(seed: u64) -> Vec<String> {
    let world = World::new(seed, Faults::wild());
    let mut base = base_in(&world);
    let listening = world.listen();
    let acceptor = world.clone();
    let listener = Event::new(
        &mut base,
        &listening,
        What::READ | What::PERSIST,
        move |base, _, _| {
            while let Ok(fd) = acceptor.accept(listening) {
                let bev = BufferEvent::builder().watermark(Dirs::READ, 0, 3000);
                let bev = bev.watermark(Dirs::WRITE, 1000, 0).adopt(base, fd).unwrap();
                bev.set_handler(
                    base,
                    Echo {
                        limit: 4000,
                        ended: false,
                    },
                );
                bev.enable(base, Dirs::READ).unwrap();
            }
        },
    );
    listener.add(&mut base, None).unwrap();
    let exchanges = [1, 5_000, 20_000].map(|len| Exchange {
        peer: world.dial(listening).unwrap(),
        rest: text(len),
        received: Vec::new(),
    });
    let received = play(&mut base, &world, exchanges.into());
    for (received, len) in received.iter().zip([1, 5_000, 20_000]) {
        assert!(
            *received == text(len),
            "seed {seed}: {} of {len}",
            received.len()
        );
    }
    assert_eq!(base.bufferevents().count(), 0, "seed {seed}");
    drop(base);
    world.trace()
}

#[test]
fn an_echo_server_loses_nothing() {
    for seed in 0..300 {
        echo_server(seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 17] {
        let (one, two) = (echo_server(seed), echo_server(seed));
        assert!(!one.is_empty() && one == two);
    }
    assert_ne!(echo_server(3), echo_server(17));
}

/// What a client has been told.
#[derive(Default)]
struct Told(Vec<&'static str>);

#[test]
fn a_connection_attempt_is_told_of_once_and_first() {
    for seed in 0..300 {
        let world = World::new(seed, Faults::wild());
        let mut base = base_in(&world);
        base.insert_state(Told::default());
        let fd = world.socket();
        let bev = BufferEvent::builder().adopt(&mut base, fd).unwrap();
        let note = |base: &mut Base, what| base.state_mut::<Told>().unwrap().0.push(what);
        bev.set_handler(
            &mut base,
            Callbacks::new()
                .write(move |base, _| {
                    note(base, "written");
                    base.loop_break();
                })
                .event(move |base, bev, condition| match condition {
                    Condition::Connected => note(base, "connected"),
                    _ => {
                        note(base, "refused");
                        bev.free(base);
                        base.loop_break();
                    }
                }),
        );
        bev.write(&mut base, text(9_000)).unwrap();
        let begun = world.connect(fd, Dial::Any).unwrap();
        let peer = world.peer(fd);
        bev.enable(&mut base, Dirs::READ).unwrap();
        bev.await_connected(&mut base, begun).unwrap();
        // The peer takes what comes, so that there is room for all of it.
        let taker = peer.clone();
        base.insert_state(Vec::<u8>::new());
        base.every(Duration::from_millis(1), move |base, _| {
            let taken = taker.as_ref().map(|peer| peer.receive(usize::MAX));
            base.state_mut::<Vec<u8>>()
                .unwrap()
                .extend(taken.into_iter().flatten());
        });
        base.run().unwrap();
        match &base.state::<Told>().unwrap().0[..] {
            ["connected", "written"] => {
                // What is still on its way arrives in its time.
                world.advance(Duration::from_secs(10));
                let mut all = base.remove_state::<Vec<u8>>().unwrap();
                all.extend(peer.unwrap().receive(usize::MAX));
                assert!(all == text(9_000), "seed {seed}: {}", all.len());
            }
            ["refused"] => {}
            told => panic!("seed {seed}: {told:?}"),
        }
        drop(base);
    }
}
