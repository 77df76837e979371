//! Debian's DNS servers unbound and nsd on our library.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod dns_client;
mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library};

use dns_client::{Protocol, addresses};
use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed, output_of};

/// Hosts in each zone.
const HOSTS: usize = 500;
/// Clients that ask at the same time, by each protocol.
const ASKERS: usize = 4;

#[test]
#[ignore = "slow: starts DNS servers"]
fn unbound_answers_resolves_and_reloads() {
    if !installed(&["unbound", "nsd", "bind9-dnsutils"]) {
        return;
    }
    let library = library().unwrap();
    let nsd = first_success(|| Nsd::start(&library));
    let mut unbound = first_success(|| Unbound::start(&library, nsd.port));
    assert_runs_on(&library, unbound.server.pid());

    // Its own zone; and zones that it asks nsd for, by UDP and by TCP.
    for zone in ["local.example", "udp.example", "tcp.example"] {
        ask_all(unbound.port, zone, 1);
    }
    // unbound adds up what its threads tell.
    let stats = unbound.control(&["stats_noreset"]);
    let total = stats
        .lines()
        .find_map(|line| line.strip_prefix("total.num.queries="));
    let total: usize = total.unwrap().parse().unwrap();
    assert!(total >= 3 * 2 * ASKERS * HOSTS, "{stats}");

    unbound.control(&["local_data", "added.local.example A 192.0.2.1"]);
    assert_eq!(
        dig(unbound.port, "+notcp", "added.local.example"),
        "192.0.2.1"
    );

    write_unbound_config(unbound.folder.path(), unbound.port, nsd.port, 2);
    let services = unbound.services();
    unbound.control(&["reload"]);
    let deadline = Instant::now() + LIMIT;
    while unbound.services() == services {
        assert!(Instant::now() < deadline, "{}", unbound.server.stderr());
        thread::sleep(Duration::from_millis(20));
    }
    ask_all(unbound.port, "local.example", 2);
    ask_all(unbound.port, "tcp.example", 1);
    assert_eq!(dig(unbound.port, "+notcp", "added.local.example"), "");
    assert_runs_on(&library, unbound.server.pid());

    unbound.control(&["stop"]);
    let status = unbound.server.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}: {}", unbound.server.stderr());
}

#[test]
#[ignore = "slow: starts DNS servers"]
fn nsd_answers_and_reloads() {
    if !installed(&["nsd", "bind9-dnsutils"]) {
        return;
    }
    let library = library().unwrap();
    let mut nsd = first_success(|| Nsd::start(&library));
    nsd.assert_runs_on(&library);
    for zone in Nsd::ZONES {
        ask_all(nsd.port, zone, 1);
    }

    for round in 2..=4 {
        write_zones(nsd.folder.path(), round);
        nsd.control("reload");
        // It answers at once, and reloads while the servers with the old zone go on.
        let deadline = Instant::now() + LIMIT;
        while dig(nsd.port, "+notcp", "h0.tcp.example") != address(0, round) {
            assert!(Instant::now() < deadline, "{}", nsd.server.stderr());
        }
        for zone in Nsd::ZONES {
            ask_all(nsd.port, zone, round);
        }
        nsd.assert_runs_on(&library);
    }

    nsd.control("stop");
    let status = nsd.server.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}: {}", nsd.server.stderr());
}

struct Unbound {
    server: Server,
    port: u16,
    folder: Folder,
}

impl Unbound {
    fn start(library: &Path, nsd_port: u16) -> Result<Self, String> {
        let folder = Folder::create()?;
        let port = free_port()?;
        let config = write_unbound_config(folder.path(), port, nsd_port, 1);
        let mut command = ferrevent_run("unbound", library);
        let mut server = Server::start(command.arg("-d").arg("-c").arg(&config))?;
        server
            .wait_for_stderr(Self::STARTED, LIMIT)
            .map_err(|e| format!("unbound: {e}"))?;
        Ok(Self {
            server,
            port,
            folder,
        })
    }

    const STARTED: &str = "start of service";

    /// How often it has started its service.
    fn services(&self) -> usize {
        self.server.stderr().matches(Self::STARTED).count()
    }

    fn control(&self, args: &[&str]) -> String {
        let mut command = Command::new("unbound-control");
        command.arg("-c").arg(unbound_config(self.folder.path()));
        output_of(command.args(args))
    }
}

fn unbound_config(folder: &Path) -> PathBuf {
    folder.join("unbound.conf")
}

/// Two threads, a zone of its own with the addresses of `round`, and two zones of nsd.
fn write_unbound_config(folder: &Path, port: u16, nsd_port: u16, round: usize) -> PathBuf {
    let mut text = format!(
        "server:\n interface: 127.0.0.1@{port}\n num-threads: 2\n do-daemonize: no\n \
         chroot: \"\"\n username: \"\"\n pidfile: \"\"\n directory: \"{dir}\"\n use-syslog: no\n \
         logfile: \"\"\n module-config: \"iterator\"\n do-not-query-localhost: no\n \
         local-zone: \"local.example.\" static\n",
        dir = folder.display()
    );
    for host in 0..HOSTS {
        let address = address(host, round);
        text.push_str(&format!(
            " local-data: \"h{host}.local.example. A {address}\"\n"
        ));
    }
    text.push_str(&format!(
        "stub-zone:\n name: \"udp.example\"\n stub-addr: 127.0.0.1@{nsd_port}\n\
         stub-zone:\n name: \"tcp.example\"\n stub-addr: 127.0.0.1@{nsd_port}\n \
         stub-tcp-upstream: yes\n\
         remote-control:\n control-enable: yes\n control-use-cert: no\n \
         control-interface: {}\n",
        folder.join("control").display()
    ));
    let path = unbound_config(folder);
    fs::write(&path, text).unwrap();
    path
}

struct Nsd {
    server: Server,
    port: u16,
    folder: Folder,
}

impl Nsd {
    const ZONES: [&str; 2] = ["udp.example", "tcp.example"];
    const SERVERS: usize = 2;

    fn start(library: &Path) -> Result<Self, String> {
        let folder = Folder::create()?;
        let port = free_port()?;
        let dir = folder.path();
        write_zones(dir, 1);
        let mut text = format!(
            "server:\n server-count: {servers}\n ip-address: 127.0.0.1@{port}\n username: \"\"\n \
             chroot: \"\"\n database: \"\"\n pidfile: \"\"\n xfrdfile: \"\"\n zonesdir: \"{dir}\"\n \
             xfrdir: \"{dir}\"\n zonelistfile: \"{dir}/zones\"\n\
             remote-control:\n control-enable: yes\n control-interface: {dir}/control\n",
            servers = Self::SERVERS,
            dir = dir.display()
        );
        for zone in Self::ZONES {
            text.push_str(&format!("zone:\n name: {zone}\n zonefile: {zone}\n"));
        }
        let config = dir.join("nsd.conf");
        fs::write(&config, text).map_err(|e| e.to_string())?;
        let mut command = ferrevent_run("nsd", library);
        let mut server = Server::start(command.arg("-d").arg("-c").arg(&config))?;
        server
            .wait_for_stderr("nsd started", LIMIT)
            .map_err(|e| format!("nsd: {e}"))?;
        Ok(Self {
            server,
            port,
            folder,
        })
    }

    /// Not only the first of its processes: those that answer too.
    fn assert_runs_on(&self, library: &Path) {
        // It says that it has started before all of them are there.
        let deadline = Instant::now() + LIMIT;
        let mut pids = self.processes();
        while pids.len() <= Self::SERVERS {
            assert!(Instant::now() < deadline, "{pids:?}");
            pids = self.processes();
        }
        for pid in pids {
            assert_runs_on(library, pid);
        }
    }

    /// It and its descendants.
    fn processes(&self) -> Vec<u32> {
        let mut pids = vec![self.server.pid()];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            next += 1;
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            pids.extend(
                children
                    .split_whitespace()
                    .map(|pid| pid.parse::<u32>().unwrap()),
            );
        }
        pids
    }

    fn control(&self, what: &str) {
        let mut command = Command::new("nsd-control");
        command.arg("-c").arg(self.folder.path().join("nsd.conf"));
        output_of(command.arg(what));
    }
}

fn write_zones(folder: &Path, round: usize) {
    for zone in Nsd::ZONES {
        let mut text = format!("$TTL 60\n@ SOA ns admin {round} 3600 600 86400 60\n@ NS ns\n");
        text.push_str("ns A 127.0.0.1\n");
        for host in 0..HOSTS {
            text.push_str(&format!("h{host} A {}\n", address(host, round)));
        }
        fs::write(folder.join(zone), text).unwrap();
    }
}

/// What a host's name stands for; another address in each round.
fn address(host: usize, round: usize) -> String {
    format!("198.18.{}.{}", round * 10 + host / 250, host % 250)
}

/// Asks for all hosts of `zone`, from several clients at the same time, by both protocols.
fn ask_all(port: u16, zone: &str, round: usize) {
    let names: Vec<String> = (0..HOSTS).map(|host| format!("h{host}.{zone}")).collect();
    thread::scope(|scope| {
        for asker in 0..2 * ASKERS {
            let protocol = [Protocol::Udp, Protocol::Tcp][asker % 2];
            let names = &names;
            scope.spawn(move || {
                let found = addresses(port, protocol, names);
                for (host, found) in found.iter().enumerate() {
                    let expected = address(host, round);
                    assert_eq!(
                        found.to_string(),
                        expected,
                        "{} by {protocol:?}",
                        names[host]
                    );
                }
            });
        }
    });
    // A client that is not ours.
    for how in ["+notcp", "+tcp"] {
        assert_eq!(dig(port, how, &names[HOSTS - 1]), address(HOSTS - 1, round));
    }
}

/// The address of `name`, or nothing.
fn dig(port: u16, how: &str, name: &str) -> String {
    let mut command = Command::new("dig");
    // Without anybody's .digrc.
    command.args(["-r", "@127.0.0.1", "-p", &port.to_string(), "+short", how]);
    let answer = output_of(command.args([name, "A"]));
    answer.trim_end().to_string()
}
