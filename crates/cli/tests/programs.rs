//! Debian's own memcached and tmux, doing their job on our library.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::thread;

use ferrevent_workbench::{Memcached, MemcachedClient, Tmux, apt_install, library};

use running::{assert_runs_on, ferrevent_run};

const CONNECTIONS: usize = 50;
const KEYS: usize = 100_000;
/// Every so many keys one has a value of up to [`LARGEST`] bytes.
const LARGE_EVERY: usize = 2_000;
const LARGEST: usize = 900 * 1024;

#[test]
#[ignore = "slow: 100,000 keys"]
fn memcached_keeps_a_hundred_thousand_keys() {
    apt_install(&["memcached"]).unwrap();
    let library = library().unwrap();
    let server = Memcached::start(ferrevent_run("memcached", &library), 4, 1024).unwrap();
    assert_runs_on(&library, server.pid());

    // Each connection on a thread of its own, so that memcached serves them at the same time.
    each_connection(&server, |client, key| {
        let name = format!("key:{key}");
        client.set(&name, &value(key)).unwrap();
        client
            .set(&format!("counter:{key}"), key.to_string().as_bytes())
            .unwrap();
    });
    each_connection(&server, |client, key| {
        let counter = format!("counter:{key}");
        assert_eq!(client.incr(&counter, 7).unwrap(), key as u64 + 7);
        client.append(&counter, b" and more").unwrap();
    });
    // What one connection has set, another one reads.
    each_connection(&server, |client, key| {
        let key = KEYS - 1 - key;
        assert!(
            client.get(&format!("key:{key}")).unwrap() == value(key),
            "key:{key}"
        );
        // A shorter number is padded when it is incremented in place.
        let counter = client.get(&format!("counter:{key}")).unwrap();
        let text = String::from_utf8(counter).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, [(key + 7).to_string().as_str(), "and", "more"]);
    });
    assert_runs_on(&library, server.pid());
}

/// Runs `job` for all keys, each connection for its share of them.
fn each_connection(server: &Memcached, job: impl Fn(&mut MemcachedClient, usize) + Sync) {
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let mut client = server.connect().unwrap();
            let job = &job;
            scope.spawn(move || {
                for key in (connection..KEYS).step_by(CONNECTIONS) {
                    job(&mut client, key);
                }
            });
        }
    });
}

/// A value that no other key has: mostly small, sometimes large.
fn value(key: usize) -> Vec<u8> {
    let length = match key % LARGE_EVERY {
        0 => LARGEST - key,
        _ => 1 + key * 7 % 1_000,
    };
    (0..length)
        .map(|i| ((i * 7 + key * 31 + i / 256) % 256) as u8)
        .collect()
}

#[test]
#[ignore = "slow: starts many processes"]
fn tmux_does_its_job() {
    apt_install(&["tmux"]).unwrap();
    let library = library().unwrap();
    let dir = library.clone();
    let start = move || {
        let dir = dir.clone();
        Tmux::start(move || ferrevent_run("tmux", &dir)).unwrap()
    };
    let inner = start();
    assert_runs_on(&library, inner.pid().unwrap());

    inner.enter("", "echo typed $((40 + 2))").unwrap();
    inner.wait_for("", "typed 42").unwrap();
    inner
        .enter("", "seq 5000 | tail -1; echo end $((1 + 1))")
        .unwrap();
    assert!(inner.wait_for("", "end 2").unwrap().contains("5000"));

    inner
        .ask(&["split-window", "-h", "env", "PS1=$ ", "sh"])
        .unwrap();
    inner.ask(&["resize-pane", "-t", ".0", "-x", "20"]).unwrap();
    let panes = || {
        inner
            .ask(&["list-panes", "-F", "#{pane_width}x#{pane_height}"])
            .unwrap()
    };
    assert_eq!(panes(), "20x24\n59x24");
    inner.enter(".1", "exit").unwrap();
    inner.wait_for("", "typed 42").unwrap();

    // Another tmux is the terminal in which a client attaches.
    let outer = start();
    assert_runs_on(&library, outer.pid().unwrap());
    for round in 1..=2 {
        outer
            .enter("", &format!("clear; {} attach", inner.command_line()))
            .unwrap();
        outer.wait_for("", "end 2").unwrap();
        let client = inner.ask(&["list-clients", "-F", "#{client_pid}"]).unwrap();
        assert_runs_on(&library, client.parse().unwrap());
        outer
            .enter("", &format!("echo through $((50 + {round}))"))
            .unwrap();
        outer.wait_for("", &format!("through 5{round}")).unwrap();
        inner.ask(&["detach-client"]).unwrap();
        outer.wait_for("", "[detached").unwrap();
    }
    inner.kill().unwrap();
    outer.kill().unwrap();
}
