//! The programs that are measured: how each one is started, and what it is asked.

use std::any::Any;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::{Folder, Memcached, Postgres, Server, free_port, with_library};

use super::load::{Exchange, Protocol, read_to};
use crate::bench::{Contestant, LIMIT};

/// What memcached keeps.
const VALUE: [u8; 100] = [b'v'; 100];
/// What unbound knows.
const ADDRESS: [u8; 4] = [198, 18, 0, 1];

/// A program that runs, and the question that it is to be asked.
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) exchange: Exchange,
    /// Ends the program when it is dropped.
    _server: Box<dyn Any>,
}

impl Running {
    fn server(server: Server, folder: Folder, exchange: Exchange) -> Self {
        Self {
            pid: server.pid(),
            exchange,
            _server: Box::new((server, folder)),
        }
    }
}

/// What the programs run on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) on: Contestant,
    pub(super) library: &'a Path,
}

impl Ground<'_> {
    fn command(self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_remove("LD_LIBRARY_PATH");
        if self.on == Contestant::Ferrevent {
            with_library(&mut command, self.library);
        }
        command
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memcache {
    Get,
    Set,
}

/// memcached with its own settings, four threads among them.
pub(super) fn memcached(ground: Ground<'_>, what: Memcache) -> Result<Running, String> {
    let server = Memcached::start(ground.command("memcached"), 4, 64)?;
    server.connect()?.set("key", &VALUE)?;
    let value = String::from_utf8_lossy(&VALUE);
    let (question, answer) = match what {
        Memcache::Get => (
            "get key\r\n".into(),
            format!("VALUE key 0 100\r\n{value}\r\nEND\r\n"),
        ),
        Memcache::Set => (
            format!("set key 0 0 100\r\n{value}\r\n"),
            "STORED\r\n".into(),
        ),
    };
    let exchange = exact(Protocol::Tcp, server.port(), question.into(), answer.into());
    Ok(Running {
        pid: server.pid(),
        exchange,
        _server: Box::new(server),
    })
}

/// unbound with one thread and a zone of its own.
pub(super) fn unbound(ground: Ground<'_>, protocol: Protocol) -> Result<Running, String> {
    let folder = Folder::create()?;
    let port = free_port()?;
    let config = folder.path().join("unbound.conf");
    let [a, b, c, d] = ADDRESS;
    let text = format!(
        "server:\n interface: 127.0.0.1@{port}\n num-threads: 1\n incoming-num-tcp: 200\n \
         do-daemonize: no\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n directory: \"{}\"\n \
         use-syslog: no\n logfile: \"\"\n module-config: \"iterator\"\n \
         local-zone: \"local.example.\" static\n \
         local-data: \"host.local.example. A {a}.{b}.{c}.{d}\"\n\
         remote-control:\n control-enable: no\n",
        folder.path().display()
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let mut server = Server::start(ground.command("unbound").arg("-d").arg("-c").arg(&config))?;
    server.wait_for_stderr("start of service", LIMIT)?;
    // RFC 1035, 4.1: an id, a header that desires recursion, and one question for an address.
    let mut question = vec![0xfe, 0xed, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(b"\x04host\x05local\x07example\x00\x00\x01\x00\x01");
    let mut answer = asked_by_udp(port, &question)?;
    if !answer.starts_with(&question[..2]) || !answer.ends_with(&ADDRESS) {
        return Err(format!("not the answer of unbound: {answer:?}"));
    }
    if protocol == Protocol::Tcp {
        for message in [&mut question, &mut answer] {
            let length = (message.len() as u16).to_be_bytes();
            message.splice(..0, length);
        }
    }
    let exchange = exact(protocol, port, question, answer);
    Ok(Running::server(server, folder, exchange))
}

fn asked_by_udp(port: u16, question: &[u8]) -> Result<Vec<u8>, String> {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.send(question)?;
        let mut answer = vec![0; 1024];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    ask().map_err(|e: std::io::Error| format!("port {port}: {e}"))
}

/// pgbouncer with ten connections to a PostgreSQL server, which transactions take turns on.
pub(super) fn pgbouncer(ground: Ground<'_>, postgres: &Postgres) -> Result<Running, String> {
    let folder = Folder::create()?;
    let port = free_port()?;
    let config = folder.path().join("pgbouncer.ini");
    let mut text = format!(
        "[databases]\nbank = host={} port={} dbname=postgres user=postgres pool_size=10\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\npool_mode = transaction\n",
        postgres.socket().display(),
        Postgres::PORT
    );
    let fault = |e: std::io::Error| format!("{}: {e}", config.display());
    if let Some((uid, gid)) = postgres.user() {
        // It refuses to stay root.
        text.push_str("user = nobody\n");
        chown(folder.path(), Some(uid), Some(gid)).map_err(fault)?;
    }
    fs::write(&config, text).map_err(fault)?;
    let mut server = Server::start(ground.command("pgbouncer").arg(&config))?;
    server.wait_for_stderr("process up: ", LIMIT)?;

    // Version 3.0 of the protocol: the length, the version, and pairs of texts that end with zeros.
    let mut greeting = vec![0; 4];
    greeting.extend(b"\x00\x03\x00\x00user\0postgres\0database\0bank\0\0");
    greeting[3] = greeting.len() as u8;
    let ready = b"Z\x00\x00\x00\x05I";
    let mut question = b"Q\x00\x00\x00\x00select 1\x00".to_vec();
    question[4] = question.len() as u8 - 1;
    let learn = || {
        let mut stream = connected(port)?;
        stream.write_all(&greeting)?;
        read_to(&mut stream, ready)?;
        stream.write_all(&question)?;
        read_to(&mut stream, ready)
    };
    let answer = learn().map_err(|e| format!("pgbouncer: {e}: {}", server.stderr()))?;
    // A row with one field of one byte, and what has been done.
    for part in [
        &b"D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x011"[..],
        b"SELECT 1\x00",
    ] {
        if !answer.windows(part.len()).any(|window| window == part) {
            let answer = String::from_utf8_lossy(&answer);
            return Err(format!("not the answer of PostgreSQL: {answer:?}"));
        }
    }
    let mut exchange = exact(Protocol::Tcp, port, question, answer);
    exchange.greeting = Some((greeting, ready.to_vec()));
    Ok(Running::server(server, folder, exchange))
}

/// transmission without any torrent, and a question to its remote control.
pub(super) fn transmission(ground: Ground<'_>) -> Result<Running, String> {
    const SESSION: &str = "X-Transmission-Session-Id: ";
    let folder = Folder::create()?;
    let (port, peer_port) = (free_port()?, free_port()?);
    let settings = format!(
        r#"{{
        "rpc-enabled": true, "rpc-bind-address": "127.0.0.1", "rpc-port": {port},
        "rpc-whitelist-enabled": false, "rpc-authentication-required": false,
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "blocklist-enabled": false,
        "bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1", "peer-port": {peer_port},
        "download-dir": "{}", "incomplete-dir-enabled": false
        }}"#,
        folder.path().display()
    );
    let file = folder.path().join("settings.json");
    fs::write(&file, settings).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut command = ground.command("transmission-daemon");
    command.env("HOME", folder.path()).arg("-f").arg("-g");
    let server = Server::start(command.arg(folder.path()))?;
    wait_for_listener(port)?;

    let body = r#"{"method":"session-get","arguments":{"fields":["version"]}}"#;
    let ask = |session: &str| {
        format!(
            "POST /transmission/rpc HTTP/1.1\r\nHost: localhost\r\n{session}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let refused = asked_by_http(port, &ask(""))?;
    let refused = String::from_utf8_lossy(&refused);
    let session = refused.lines().find(|line| line.starts_with(SESSION));
    let session = session.ok_or_else(|| format!("no session in {refused:?}"))?;
    let question = ask(&format!("{session}\r\n"));
    let answer = asked_by_http(port, &question)?;
    let head = b"HTTP/1.1 200 OK\r\n";
    let text = String::from_utf8_lossy(&answer);
    if !answer.starts_with(head) || !text.contains(r#""result":"success""#) {
        return Err(format!("not the answer of transmission: {text:?}"));
    }
    let mut exchange = exact(Protocol::Tcp, port, question.into(), answer);
    exchange.fixed = head.len();
    Ok(Running::server(server, folder, exchange))
}

fn wait_for_listener(port: u16) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(()),
            Err(e) if Instant::now() > deadline => return Err(format!("port {port}: {e}")),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The answer to `question`, all of it.
fn asked_by_http(port: u16, question: &str) -> Result<Vec<u8>, String> {
    const LENGTH: &str = "content-length: ";
    let ask = || {
        let mut stream = connected(port)?;
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        let head = String::from_utf8_lossy(&answer).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix(LENGTH));
        let length = length.and_then(|length| length.parse().ok());
        let mut body = vec![0; length.ok_or_else(|| std::io::Error::other(head))?];
        stream.read_exact(&mut body)?;
        answer.extend(body);
        Ok(answer)
    };
    ask().map_err(|e: std::io::Error| format!("port {port}: {e}"))
}

fn connected(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn exact(protocol: Protocol, port: u16, question: Vec<u8>, answer: Vec<u8>) -> Exchange {
    Exchange {
        protocol,
        port,
        greeting: None,
        question,
        fixed: answer.len(),
        answer,
    }
}
