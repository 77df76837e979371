//! Debian's transmission, whose remote control and web pages are an `evhttp` server, on our library: it is controlled by HTTP
//! and by its own client, and checks a torrent whose file is there already. It talks to nobody outside of this host.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod http_client;
mod running;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library};
use rustix::process::Signal;

use http_client::Client;
use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed, output_of};

const RPC: &str = "/transmission/rpc";
const SESSION: &str = "X-Transmission-Session-Id";
/// Of the file that the torrent has: some hundred of its pieces.
const LENGTH: usize = 5_000_000;

#[test]
#[ignore = "slow: starts a daemon, which takes its time to end"]
fn transmission_is_controlled_by_http() {
    if !installed(&["transmission-daemon", "transmission-cli"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let dir = folder.path();
    fs::create_dir(dir.join("files")).unwrap();
    let (mut daemon, mut client) = first_success(|| start(&library, dir));
    assert_runs_on(&library, daemon.pid());

    // All of it on one connection.
    let refused = client.ask("GET", RPC, "", "");
    assert_eq!(refused.code, 409, "{refused:?}");
    let session = refused.header(SESSION).unwrap();
    let id = format!("{SESSION}: {session}\r\n");
    let answer = client.ask("POST", RPC, &id, r#"{"method":"session-get"}"#);
    assert_eq!(answer.code, 200, "{answer:?}");
    assert!(answer.text().contains(r#""result":"success""#));
    assert!(answer.text().contains(r#""dht-enabled":false"#));

    let page = client.ask("GET", "/transmission/web/", "", "");
    assert_eq!(page.code, 200);
    assert!(page.text().contains("<html"), "{page:?}");
    let elsewhere = client.ask("GET", "/elsewhere", "", "");
    assert_eq!(elsewhere.code, 301);
    assert_eq!(elsewhere.header("Location"), Some("/transmission/web/"));

    // A torrent without a tracker, whose file is there.
    let bytes: Vec<u8> = (0..LENGTH).map(|i| (i * 7 + i / 256) as u8).collect();
    fs::write(dir.join("files/file"), bytes).unwrap();
    let mut create = ferrevent_run("transmission-create", &library);
    create.current_dir(dir).args(["-o", "file.torrent"]);
    output_of(create.arg("files/file"));
    let address = format!("127.0.0.1:{}", client.port);
    let remote = |args: &[&str]| {
        let mut command = ferrevent_run("transmission-remote", &library);
        output_of(command.current_dir(dir).arg(&address).args(args))
    };
    let added = remote(&["-a", "file.torrent"]);
    assert!(added.contains("success"), "{added}");
    let wanted =
        r#"{"method":"torrent-get","arguments":{"fields":["name","percentDone","sizeWhenDone"]}}"#;
    let deadline = Instant::now() + LIMIT;
    let done = format!(r#"{{"name":"file","percentDone":1,"sizeWhenDone":{LENGTH}}}"#);
    loop {
        let state = client.ask("POST", RPC, &id, wanted).text();
        if state.replace(".0000", "").contains(&done) {
            break;
        }
        assert!(Instant::now() < deadline, "{state}");
        thread::sleep(Duration::from_millis(50));
    }
    let list = remote(&["-l"]);
    assert!(list.contains("100%"), "{list}");

    assert_runs_on(&library, daemon.pid());
    daemon.signal(Signal::TERM).unwrap();
    assert!(daemon.wait(LIMIT).unwrap().success());
}

/// The daemon, and a client that has reached it.
fn start(library: &Path, dir: &Path) -> Result<(Server, Client), String> {
    let (port, peer_port) = (free_port()?, free_port()?);
    let files = dir.join("files");
    let settings = format!(
        r#"{{
        "rpc-enabled": true, "rpc-bind-address": "127.0.0.1", "rpc-port": {port},
        "rpc-whitelist-enabled": false, "rpc-authentication-required": false,
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "blocklist-enabled": false,
        "bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1", "peer-port": {peer_port},
        "download-dir": "{}", "incomplete-dir-enabled": false
        }}"#,
        files.display()
    );
    fs::write(dir.join("settings.json"), settings).map_err(|e| e.to_string())?;
    let mut command = ferrevent_run("transmission-daemon", library);
    command.env("HOME", dir).arg("-f").arg("-g").arg(dir);
    let daemon = Server::start(&mut command)?;
    let client = Client::reach(port, &daemon)?;
    Ok((daemon, client))
}
