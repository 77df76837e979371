//! Debian's coturn, a relay with threads that hand connections to each other, on our library; its own client measures
//! what comes back through it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod running;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Server, free_port, library};
use rustix::process::Signal;

use running::{LIMIT, assert_runs_on, ferrevent_run, first_success, installed, output_of};

const CLIENTS: u16 = 3;
const MESSAGES_OF_EACH: u16 = 40;
/// Each client takes a few.
const RELAY_PORTS: u16 = 40;

#[test]
#[ignore = "slow: some seconds for each transport"]
fn coturn_relays_what_comes_by_udp_tcp_and_tls() {
    if !installed(&["coturn", "openssl"]) {
        return;
    }
    let library = library().unwrap();
    let folder = Folder::create().unwrap();
    let dir = folder.path();
    certificate(dir);
    let (mut turnserver, port) = first_success(|| start_turnserver(&library, dir));
    let (_peer, peer_port) = first_success(|| start_peer(&library));
    assert_runs_on(&library, turnserver.pid());

    let by_udp = CLIENTS * MESSAGES_OF_EACH;
    // Between relays, and the client makes their number even.
    let by_tcp = CLIENTS.next_multiple_of(2) * MESSAGES_OF_EACH;
    for (transport, all, may_be_lost) in [
        // Between the relay and the peer it is UDP, which may lose some on a machine that is busy.
        (&[][..], by_udp, by_udp / 10),
        (&["-t"], by_udp, by_udp / 10),
        (&["-t", "-S"], by_udp, by_udp / 10),
        (&["-T"], by_tcp, 0),
        (&["-T", "-S"], by_tcp, 0),
    ] {
        let report = relay(&library, port, peer_port, transport);
        let (sent, received) = counted(&report);
        assert_eq!(sent, all, "{transport:?}: {report}");
        assert!(
            received >= all - may_be_lost,
            "{transport:?}: {received} of {sent}\n{report}"
        );
    }
    assert_runs_on(&library, turnserver.pid());
    turnserver.signal(Signal::TERM).unwrap();
    turnserver.wait(LIMIT).unwrap();
}

/// Makes `key.pem` and `cert.pem`.
fn certificate(dir: &Path) {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(["req", "-x509", "-nodes"]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-days", "2", "-subj", "/CN=localhost"]);
    output_of(command.args(["-keyout", "key.pem", "-out", "cert.pem"]));
}

fn start_turnserver(library: &Path, dir: &Path) -> Result<(Server, u16), String> {
    let (port, tls_port) = (free_port()?, free_port()?);
    let first_relay = free_range()?;
    let number = |n: u16| n.to_string();
    let mut command = ferrevent_run("turnserver", library);
    command.current_dir(dir);
    // No file of settings; nothing outside the folder.
    command.args(["-n", "--no-cli", "--simple-log", "-l", "stdout"]);
    command.args(["--pidfile", "pid", "-b", "database"]);
    command.args(["-L", "127.0.0.1", "-E", "127.0.0.1", "-p", &number(port)]);
    command.args(["--tls-listening-port", &number(tls_port)]);
    command.args(["--min-port", &number(first_relay)]);
    command.args(["--max-port", &number(first_relay + RELAY_PORTS - 1)]);
    command.args(["--cert", "cert.pem", "--pkey", "key.pem"]);
    command.args(["--lt-cred-mech", "-u", "user:secret", "-r", "example.org"]);
    command.args(["--allow-loopback-peers", "--no-rfc5780", "-m", "2"]);
    let turnserver = Server::start(&mut command)?;
    await_udp(port, &turnserver)?;
    Ok((turnserver, port))
}

/// What sends everything back.
fn start_peer(library: &Path) -> Result<(Server, u16), String> {
    let port = free_port()?;
    let mut command = ferrevent_run("turnutils_peer", library);
    command.args(["-L", "127.0.0.1", "-p", &port.to_string()]);
    let peer = Server::start(&mut command)?;
    await_udp(port, &peer)?;
    Ok((peer, port))
}

/// Runs the client to its end; what it reports.
fn relay(library: &Path, port: u16, peer: u16, transport: &[&str]) -> String {
    let number = |n: u16| n.to_string();
    let mut command = ferrevent_run("turnutils_uclient", library);
    command.args(transport).args(["-c", "-L", "127.0.0.1"]);
    command.args(["-u", "user", "-w", "secret"]);
    command.args(["-e", "127.0.0.1", "-r", &number(peer)]);
    command.args(["-m", &number(CLIENTS), "-n", &number(MESSAGES_OF_EACH)]);
    command.args(["-l", "400", "-z", "5", "-p", &number(port), "127.0.0.1"]);
    output_of(&mut command)
}

/// The messages that the client sent, and that came back to it.
fn counted(report: &str) -> (u16, u16) {
    let last = report
        .lines()
        .rfind(|line| line.contains("start_mclient: tot_send_msgs="))
        .unwrap_or_else(|| panic!("no count: {report}"));
    let after = |mark: &str| {
        let (_, rest) = last.split_once(mark).unwrap();
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap().parse().unwrap()
    };
    (after("tot_send_msgs="), after("tot_recv_msgs="))
}

/// Waits until somebody has the UDP port. (To bind it, in order to see, could take it away from the server.)
fn await_udp(port: u16, server: &Server) -> Result<(), String> {
    let address = format!("0100007F:{port:04X} ");
    let deadline = Instant::now() + LIMIT;
    loop {
        let sockets = fs::read_to_string("/proc/net/udp").map_err(|e| e.to_string())?;
        if sockets.contains(&address) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("nobody is at port {port}: {}", server.stderr()));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The first of [`RELAY_PORTS`] ports in a row that are free.
fn free_range() -> Result<u16, String> {
    for _ in 0..50 {
        let Some(end) = free_port()?.checked_add(RELAY_PORTS) else {
            continue;
        };
        let is_free = |port: u16| {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
                && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        };
        if (end - RELAY_PORTS..end).all(is_free) {
            return Ok(end - RELAY_PORTS);
        }
    }
    Err("no ports in a row are free".into())
}
