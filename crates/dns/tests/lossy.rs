//! A network that loses three packets out of ten, with one of two servers dead: every look-up ends, and soon.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod script;

use std::collections::BTreeMap;

use ferrevent_dns::{Config, LookupResult, Question, Resolver};
use script::{SECOND, ip, read_query, seeded, server};

/// Look-ups in one run.
const LOOKUPS: u64 = 8;

/// One run: look-ups that begin a second apart. How long each took, and whether it was found.
fn run(seed: u64, config: Config) -> Vec<(u64, bool)> {
    let mut dice = seeded(seed ^ 0x5eed);
    let mut percent = move || {
        let mut bytes = [0; 4];
        dice(&mut bytes);
        u32::from_ne_bytes(bytes) % 100
    };
    let mut resolver = Resolver::new(config, seeded(seed));
    resolver.add_server(server(1), 0);
    resolver.add_server(server(2), 0);
    let dead = server(1 + (seed % 2) as u8);
    let mut now = 0;
    let mut begun = BTreeMap::new();
    let mut ended = Vec::new();
    // Replies on their way: when, and what.
    let mut replies = BTreeMap::new();
    let mut count = 0;
    let mut asked = 0;
    loop {
        while let Some(action) = resolver.poll_action() {
            let ferrevent_dns::Action::Send(transmit) = action else {
                continue;
            };
            let (there, back) = (percent() >= 30, percent() >= 30);
            if transmit.server == dead || !there || !back {
                continue;
            }
            let query = read_query(transmit);
            let delay = SECOND / 1000 * u64::from(10 + percent());
            count += 1;
            let reply = query.answer(&[(&query.name, ip("192.0.2.1"))]);
            replies.insert((now + delay, count), (query.transmit, reply));
        }
        while let Some(finished) = resolver.poll_finished() {
            let start: u64 = begun.remove(&finished.key).unwrap();
            let found = matches!(finished.result, LookupResult::Records(Ok(_)));
            ended.push((now - start, found));
        }
        let next_lookup = (asked < LOOKUPS).then_some(asked * SECOND);
        let next_reply = replies.first_key_value().map(|(key, _)| key.0);
        let times = [next_lookup, next_reply, resolver.next_timeout()];
        if next_lookup.is_none() && begun.is_empty() {
            return ended;
        }
        now = times.into_iter().flatten().min().unwrap_or_else(|| {
            panic!("seed {seed}: a look-up hangs");
        });
        if next_lookup == Some(now) {
            let question = Question::ipv4(format!("host{asked}.test")).unwrap();
            begun.insert(resolver.look_up(question, now), now);
            asked += 1;
        } else if next_reply == Some(now) {
            let (_, (transmit, reply)) = replies.pop_first().unwrap();
            resolver.handle_datagram(transmit.socket, transmit.server, &reply, now);
        } else {
            resolver.handle_timeout(now);
        }
        assert!(now < 1000 * SECOND, "seed {seed}: there is no end");
    }
}

fn percentile(times: &mut [u64], percent: usize) -> u64 {
    times.sort_unstable();
    times[times.len() * percent / 100]
}

#[test]
fn no_look_up_hangs_and_99_of_100_end_within_the_timeout() {
    let config = Config::default();
    let timeout = config.timeout.as_nanos() as u64;
    let mut times = Vec::new();
    let mut found = 0;
    for seed in 0..10_000 {
        for (time, success) in run(seed, config.clone()) {
            times.push(time);
            found += u64::from(success);
        }
    }
    assert_eq!(times.len() as u64, 10_000 * LOOKUPS);
    let p99 = percentile(&mut times, 99);
    let limit = timeout * 12 / 10;
    println!(
        "99th percentile {} ms, longest {} ms, found {found} of {}",
        p99 / 1_000_000,
        times[times.len() - 1] / 1_000_000,
        times.len()
    );
    assert!(p99 < limit, "{p99} ns");
    assert!(found * 1000 > times.len() as u64 * 998, "{found}");
}

#[test]
fn with_libevents_settings_every_look_up_ends_too() {
    let config = Config::libevent();
    let end = (config.timeout * config.attempts).as_nanos() as u64;
    for seed in 0..1000 {
        for (time, _) in run(seed, config.clone()) {
            assert!(time <= end, "seed {seed}: {time} ns");
        }
    }
}
