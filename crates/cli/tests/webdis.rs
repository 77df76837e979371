//! Debian's webdis, which answers HTTP from a Redis server, on our library. Each of its threads has an event base, and events
//! that it adds again each time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod http_client;
mod running;

use std::fs;
use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library};

use http_client::Client;
use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed};

const CLIENTS: usize = 8;
const KEYS: usize = 200;
/// More than fits into any socket.
const LARGE: usize = 3_000_000;

#[test]
#[ignore = "slow: starts two servers"]
fn webdis_answers_from_redis() {
    if !installed(&["webdis", "redis-server"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let (_redis, redis_port) = first_success(|| start_redis(folder.path()));
    let (webdis, mut client) = first_success(|| start(&library, folder.path(), redis_port));
    assert_runs_on(&library, webdis.pid());
    // It connects to Redis after it has begun to listen.
    let deadline = Instant::now() + LIMIT;
    while client.ask("GET", "/PING", "", "").code != 200 {
        assert!(Instant::now() < deadline, "no Redis: {}", webdis.stderr());
        thread::sleep(Duration::from_millis(20));
        client = Client::reach(client.port, &webdis).unwrap();
    }
    let port = client.port;
    let reach = || Client::reach(port, &webdis).unwrap();

    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = reach();
            scope.spawn(move || {
                for key in (number..KEYS).step_by(CLIENTS) {
                    let set = client.ask("GET", &format!("/SET/key{key}/value{key}"), "", "");
                    assert_eq!(set.text(), r#"{"SET":[true,"OK"]}"#);
                    client.ask("GET", "/INCR/count", "", "");
                }
            });
        }
    });
    for key in 0..KEYS {
        let value = client.ask("GET", &format!("/GET/key{key}"), "", "");
        assert_eq!(value.text(), format!(r#"{{"GET":"value{key}"}}"#));
    }
    let count = client.ask("GET", "/GET/count.txt", "", "");
    assert_eq!(count.text(), KEYS.to_string());

    let large: String = ('a'..='z').cycle().take(LARGE).collect();
    let put = client.ask("PUT", "/SET/large", "", &large);
    assert_eq!(put.code, 200, "{put:?}");
    let back = client.ask("GET", "/GET/large.txt", "", "");
    assert!(back.text() == large, "came back changed");

    // An answer without an end, to several.
    let mut subscribers: Vec<Client> = (0..CLIENTS).map(|_| reach()).collect();
    for subscriber in &mut subscribers {
        subscriber.send("GET", "/SUBSCRIBE/news", "", "");
        assert_eq!(subscriber.head().code, 200);
        assert_eq!(chunk(subscriber), r#"{"SUBSCRIBE":["subscribe","news",1]}"#);
    }
    let published = client.ask("GET", "/PUBLISH/news/extra", "", "");
    assert_eq!(published.text(), format!(r#"{{"PUBLISH":{CLIENTS}}}"#));
    for subscriber in &mut subscribers {
        assert_eq!(
            chunk(subscriber),
            r#"{"SUBSCRIBE":["message","news","extra"]}"#
        );
    }
    assert_runs_on(&library, webdis.pid());
}

fn start_redis(dir: &Path) -> Result<(Server, u16), String> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command.current_dir(dir).args(["--bind", "127.0.0.1"]);
    command.args(["--port", &port.to_string()]);
    command.args(["--save", "", "--appendonly", "no"]);
    let server = Server::start(&mut command)?;
    while !server.line(LIMIT)?.contains("Ready to accept connections") {}
    Ok((server, port))
}

fn start(library: &Path, dir: &Path, redis: u16) -> Result<(Server, Client), String> {
    let port = free_port()?;
    let config = dir.join("webdis.json");
    let text = format!(
        r#"{{
        "redis_host": "127.0.0.1", "redis_port": {redis}, "redis_auth": null, "database": 0,
        "http_host": "127.0.0.1", "http_port": {port}, "http_max_request_size": {max},
        "threads": 2, "pool_size": 4, "daemonize": false, "verbosity": 0, "logfile": "/dev/null"
        }}"#,
        max = 2 * LARGE
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let server = Server::start(ferrevent_run("webdis", library).arg(&config))?;
    let client = Client::reach(port, &server)?;
    Ok((server, client))
}

/// The next piece of an answer whose length is not known.
fn chunk(client: &mut Client) -> String {
    let mut line = String::new();
    client.stream.read_line(&mut line).unwrap();
    let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
    let mut bytes = vec![0; length + 2];
    client.stream.read_exact(&mut bytes).unwrap();
    bytes.truncate(length);
    String::from_utf8(bytes).unwrap()
}
