//! Bufferevents in random situations, against a model, with a driver that knows edges and one that does not.
//!
//! `FERREVENT_SEEDS` is the number of situations, `FERREVENT_SEED` runs a single one.

mod due;
mod model;
mod remote;
mod settle;
#[path = "../shell/mod.rs"]
mod shell;
mod user;

use std::time::Duration;

use ferrevent_core::driver::Driver;
use ferrevent_core::{Dirs, LoopEnd, LoopFlags, Options, Watermark};
use ferrevent_sim::{Faults, Random, World};

use crate::shell::{Call, Shell, User};
use crate::user::Tester;

const SECOND: u64 = 1_000_000_000;

/// Half of the worlds are wild or perfect, the others somewhere between.
fn faults(random: &mut Random) -> Faults {
    let mut odds = |most: u64| random.below(most) as u8;
    let between = Faults {
        short_read: odds(60),
        short_write: odds(60),
        would_block: odds(40),
        interrupted: odds(20),
        spurious: odds(30),
        early_return: odds(20),
        partial: odds(50),
        shuffled: odds(2) == 1,
        max_delay: Duration::from_micros(random.below(20_000)),
        capacity: 400 + random.below(70_000) as usize,
    };
    match random.below(4) {
        0 => Faults::none(),
        1 => Faults::wild(),
        _ => between,
    }
}

/// One situation from beginning to end; returns its trace.
fn play(seed: u64, edge: bool) -> Vec<String> {
    let mut random = Random::new(seed);
    let world = World::new(seed, faults(&mut random));
    let _confession = shell::Confession(&world);
    let mut shell = Shell::new(&world, edge);
    if random.chance(30) {
        shell.core.set_priorities(3).expect("nothing is active");
    }
    let mut tester = Tester::new(random);
    for _ in 0..1 + tester.random.below(3) {
        tester.add(&mut shell);
    }
    for _ in 0..4 + tester.random.below(12) {
        for _ in 0..tester.random.below(5) {
            tester.act(&mut shell);
        }
        tester.plan(&world);
        tester.budget = 20;
        let within = 1 + tester.random.below(60_000_000);
        run(&mut shell, &mut tester, within);
    }
    let settled = tester.settle(&mut shell);
    // Everything that is on its way arrives, in bounded time.
    for _ in 0..20 {
        tester.run_until(&mut shell, 3 * SECOND);
    }
    tester.check_settled(&shell, &settled);
    tester.end(&mut shell);
    // A loop that was broken has left its exit to a later one.
    while shell
        .run(&mut tester, LoopFlags::empty())
        .expect("nothing to wait for")
        != LoopEnd::Empty
    {
        assert!(shell.core.got_exit(), "nothing else ends it");
    }
    tester.check_ended(&shell);
    world.trace()
}

/// Runs a loop of any kind; each must return in time.
fn run(shell: &mut Shell, tester: &mut Tester, within: u64) {
    match tester.random.below(6) {
        0 => {
            let end = shell.run(tester, LoopFlags::NONBLOCK);
            end.expect("it does not wait");
        }
        1 | 2 => tester.run_once(shell, within),
        _ => tester.run_until(shell, within),
    }
}

#[test]
fn they_do_as_the_model_says_with_edges() {
    shell::for_each_seed(shell::seeds(10_000), |seed| {
        play(seed, true);
    });
}

#[test]
fn they_do_as_the_model_says_with_levels() {
    shell::for_each_seed(shell::seeds(10_000), |seed| {
        play(seed, false);
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        for edge in [false, true] {
            assert_eq!(play(seed, edge), play(seed, edge), "seed {seed}");
        }
    }
}

/// Renews the timeout of the other bufferevent when it hears of one.
struct Renewer {
    heard: Vec<(usize, u64)>,
}

impl User for Renewer {
    fn called(&mut self, shell: &mut Shell, stream: usize, _call: Call) {
        self.heard.push((stream, shell.core.now()));
        let other = shell.key(1 - stream);
        let driver = Some(&mut *shell.driver as &mut dyn Driver);
        let enabled = shell.core.enable(other, Dirs::READ, driver);
        enabled.expect("it can be watched");
        shell.core.loop_exit(SECOND);
    }
}

/// Too rare for the random situations: both are over in the same pass.
#[test]
fn a_timeout_that_is_over_can_be_renewed_until_it_is_told() {
    for edge in [false, true] {
        let world = World::new(1, Faults::none());
        let mut shell = Shell::new(&world, edge);
        shell.tick();
        let began = shell.core.now();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (fd, peer) = world.pair();
            peers.push(peer);
            let stream = shell.new_stream(fd, Options::empty());
            let key = shell.key(stream);
            shell.core.set_timeouts(key, Some(2 * SECOND), None);
            let driver = Some(&mut *shell.driver as &mut dyn Driver);
            let enabled = shell.core.enable(key, Dirs::READ, driver);
            enabled.expect("it can be watched");
        }
        let mut renewer = Renewer { heard: Vec::new() };
        let end = shell.run(&mut renewer, LoopFlags::empty());
        assert_eq!(end.expect("it ends in time"), LoopEnd::Stopped);
        assert_eq!(renewer.heard, [(0, began + 2 * SECOND)]);
    }
}

/// The marks of a user who takes part of what there is.
fn any_mark(random: &mut Random) -> Watermark {
    let low = match random.below(3) {
        0 => random.below(5000) as usize,
        _ => 0,
    };
    let high = match random.below(3) {
        0 => 1 + random.below(10_000) as usize,
        _ => 0,
    };
    Watermark { low, high }
}

fn any_dirs(random: &mut Random) -> Dirs {
    [Dirs::READ, Dirs::WRITE, Dirs::all()][random.below(3) as usize]
}
