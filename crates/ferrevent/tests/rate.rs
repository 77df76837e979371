//! Rate limits, on a virtual clock.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::time::Duration;

use ferrevent::{Base, BufferEvent, Callbacks, Dirs, Error, RateGroup, RateLimit};
use ferrevent_sim::{Faults, World};
use ground::{Far, Ground, settle};

const TICK: Duration = Duration::from_millis(100);

fn simulated(seed: u64, faults: Faults) -> (Ground, Base) {
    let ground = Ground::Simulated(World::new(seed, faults));
    let base = ground.base();
    (ground, base)
}

/// A bufferevent that reads for ever and drops what it gets, with `len` bytes waiting for it.
fn reader(ground: &Ground, base: &mut Base, len: usize) -> (BufferEvent, Far) {
    let (bev, far) = ground.pair(base);
    far.send(&vec![7; len]);
    bev.enable(base, Dirs::READ).unwrap();
    (bev, far)
}

fn run_for(base: &mut Base, time: Duration) {
    base.loop_exit(time);
    base.run().unwrap();
}

#[test]
fn what_is_no_rate_limit_is_refused() {
    let second = Duration::from_secs(1);
    assert!(RateLimit::new(1, 1, Duration::from_millis(1)).is_ok());
    assert!(RateLimit::new(1, usize::MAX >> 1, Duration::MAX).is_ok());
    for refused in [
        RateLimit::new(0, 1, second),
        RateLimit::new(1, 0, second),
        RateLimit::new(usize::MAX, 1, second),
        RateLimit::new(1, 1, Duration::from_micros(999)),
        RateLimit::with_bursts([2, 2], [2, 1], second),
    ] {
        assert!(matches!(refused, Err(Error::RateLimit)));
    }
}

#[test]
fn reading_keeps_to_the_rate_in_the_long_run() {
    let (ground, mut base) = simulated(1, Faults::none());
    let (bev, _far) = reader(&ground, &mut base, 50_000);
    bev.set_rate_limit(&mut base, Some(RateLimit::new(100, 100, TICK).unwrap()));
    for ticks in [10, 100, 200] {
        let before = bev.input_len(&base).unwrap();
        run_for(&mut base, TICK * ticks);
        let read = bev.input_len(&base).unwrap() - before;
        let should = 100 * ticks as usize;
        assert!((should - 100..=should + 100).contains(&read), "{read}");
    }
}

#[test]
fn a_burst_uses_what_was_left() {
    let (ground, mut base) = simulated(1, Faults::none());
    let (bev, far) = ground.pair(&mut base);
    let limit = RateLimit::with_bursts([100, 100], [1000, 1000], TICK).unwrap();
    bev.set_rate_limit(&mut base, Some(limit));
    bev.enable(&mut base, Dirs::READ).unwrap();
    assert_eq!(bev.rate_level(&mut base, Dirs::READ), Some(100));
    run_for(&mut base, TICK * 50);
    assert_eq!(bev.rate_level(&mut base, Dirs::READ), Some(1000));
    far.send(&[7; 5000]);
    settle(&mut base);
    assert_eq!(bev.input_len(&base), Some(1000));
    assert_eq!(bev.allowance(&mut base, Dirs::READ), Some(0));
}

#[test]
fn writing_keeps_to_the_rate_too() {
    let (ground, mut base) = simulated(1, Faults::none());
    let (bev, far) = ground.pair(&mut base);
    bev.set_rate_limit(&mut base, Some(RateLimit::new(100, 100, TICK).unwrap()));
    bev.write(&mut base, vec![7; 5000]).unwrap();
    run_for(&mut base, TICK * 20);
    let sent = far.receive().len();
    assert!((1900..=2100).contains(&sent), "{sent}");
    bev.set_rate_limit(&mut base, None);
    settle(&mut base);
    assert_eq!(far.receive().len(), 5000 - sent);
}

#[test]
fn a_group_shares_and_nobody_starves() {
    let (ground, mut base) = simulated(1, Faults::none());
    let group = RateGroup::new(&mut base, RateLimit::new(1000, 1000, TICK).unwrap());
    let readers: Vec<_> = (0..30)
        .map(|_| reader(&ground, &mut base, 20_000))
        .collect();
    for (bev, _) in &readers {
        assert!(group.add(&mut base, *bev));
    }
    run_for(&mut base, TICK * 100);
    let [read, written] = group.totals(&base).unwrap();
    // What the last tick has over-drawn is paid back later.
    assert!((99_000..=103_000).contains(&read), "{read}");
    assert_eq!(written, 0);
    for (bev, _) in &readers {
        let got = bev.input_len(&base).unwrap();
        assert!((2000..=5000).contains(&got), "{got} of some 3,333");
    }
    group.free(&mut base);
    settle(&mut base);
    for (bev, _) in &readers {
        assert_eq!(bev.input_len(&base), Some(20_000));
        bev.free(&mut base);
    }
    base.run().unwrap();
}

#[test]
fn an_empty_bucket_keeps_the_loop_going_and_ends_with_its_bufferevent() {
    let (ground, mut base) = simulated(1, Faults::none());
    let (bev, _far) = reader(&ground, &mut base, 350);
    bev.set_rate_limit(&mut base, Some(RateLimit::new(100, 100, TICK).unwrap()));
    let free_when_all_is_there = Callbacks::new().read(|base, bev| {
        if bev.input_len(base) == Some(350) {
            bev.free(base);
        }
    });
    bev.set_handler(&mut base, free_when_all_is_there);
    base.run().unwrap();
    assert!(!bev.exists(&base));
    assert_eq!(base.pending_len(), 0);
}

#[test]
fn bytes_moved_elsewhere_count_if_they_are_told() {
    let (ground, mut base) = simulated(1, Faults::none());
    let (bev, _far) = reader(&ground, &mut base, 5000);
    assert!(!bev.spend(&mut base, Dirs::READ, 5), "no limit yet");
    bev.set_rate_limit(&mut base, Some(RateLimit::new(100, 100, TICK).unwrap()));
    assert!(bev.spend(&mut base, Dirs::READ, 1100));
    run_for(&mut base, TICK * 9);
    assert_eq!(bev.input_len(&base), Some(0), "ten ticks are owed");
    run_for(&mut base, TICK * 10);
    let read = bev.input_len(&base).unwrap();
    assert!((700..=1000).contains(&read), "{read}");
    assert!(bev.spend(&mut base, Dirs::READ, -5000));
    settle(&mut base);
    assert_eq!(bev.input_len(&base), Some(5000));
}

#[test]
fn limits_change_in_mid_stream_and_everything_arrives() {
    for seed in 0..200 {
        let (ground, mut base) = simulated(seed, Faults::wild());
        let (bev, far) = ground.pair(&mut base);
        let group = RateGroup::new(&mut base, RateLimit::new(150, 150, TICK).unwrap());
        bev.enable(&mut base, Dirs::READ).unwrap();
        bev.write(&mut base, vec![7; 3000]).unwrap();
        let mut arrived = 0;
        for round in 0..400usize {
            match (round + seed as usize) % 7 {
                0 => {
                    let limit = RateLimit::new(40 + round, 70 + round, TICK).unwrap();
                    bev.set_rate_limit(&mut base, Some(limit));
                }
                2 => {
                    group.add(&mut base, bev);
                }
                4 => {
                    bev.leave_rate_group(&mut base);
                }
                5 => {
                    bev.set_rate_limit(&mut base, None);
                }
                _ => {}
            }
            run_for(&mut base, TICK / 3);
            arrived += far.receive().len();
        }
        assert_eq!(arrived, 3000, "seed {seed}");
    }
}
