//! Debian's memcached on our library.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ferrevent_workbench::Server;

use super::{Folder, LIMIT, Outcome, Stage, ensure, installed};

const CONNECTIONS: usize = 10;
const KEYS: usize = 1_000;
/// Just below what memcached stores by default.
const LARGE: usize = 900 * 1024;

pub(super) fn step(stage: &Stage) -> Result<Outcome, String> {
    let Some(program) = installed("memcached") else {
        return Ok(Outcome::Skipped(
            "not installed (apt-get install memcached)".into(),
        ));
    };
    let folder = Folder::create("memcached")?;
    let port_file = folder.path().join("port");
    // A port that the system chooses, four threads, no UDP; as root it asks whom to become.
    let mut command = stage.ferrevent_run(&program);
    command.args([
        "-l",
        "127.0.0.1",
        "-p",
        "-1",
        "-U",
        "0",
        "-t",
        "4",
        "-m",
        "128",
        "-u",
        "root",
    ]);
    let mut server = Server::start(command.env("MEMCACHED_PORT_FILENAME", &port_file))?;
    let port = wait_for_port(&mut server, &port_file)?;
    print!("{}", server.stderr());
    stage.show_maps(server.pid())?;

    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(port)?);
    }
    let start = Instant::now();
    for key in 0..KEYS {
        let client = &mut clients[key % CONNECTIONS];
        client.set(&format!("key:{key}"), &value(key))?;
    }
    for key in 0..KEYS {
        // Another connection than the one that set it.
        let client = &mut clients[(key + 1) % CONNECTIONS];
        let got = client.get(&format!("key:{key}"))?;
        ensure(got == value(key), || format!("key:{key} came back changed"))?;
    }
    println!(
        "{KEYS} keys set and read back over {CONNECTIONS} connections in {:.0?}",
        start.elapsed()
    );

    let client = &mut clients[0];
    let large: Vec<u8> = (0..LARGE).map(|i| (i % 251) as u8).collect();
    client.set("large", &large)?;
    ensure(client.get("large")? == large, || {
        "the large value came back changed".into()
    })?;
    println!("a value of {} KiB set and read back", LARGE / 1024);

    client.set("counter", b"41")?;
    let counted = client.ask("incr counter 1\r\n")?;
    ensure(counted == "42", || format!("41 and 1 are {counted}"))?;
    let appended = client.ask("append counter 0 0 5\r\n and \r\n")?;
    ensure(appended == "STORED", || appended.clone())?;
    let text = client.get("counter")?;
    ensure(text == b"42 and ", || format!("appended: {text:?}"))?;
    println!(
        "incr 41 by 1: {counted}; append: {:?}",
        String::from_utf8_lossy(&text)
    );
    Ok(Outcome::Pass)
}

/// A value of 1 to some thousand bytes that no other key has.
fn value(key: usize) -> Vec<u8> {
    let length = 1 + key * 7 % 5_000;
    (0..length).map(|i| ((i + key * 31) % 256) as u8).collect()
}

/// memcached writes the file under another name and renames it: once there it is complete.
fn wait_for_port(server: &mut Server, path: &Path) -> Result<u16, String> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Ok(text) = fs::read_to_string(path) {
            let port = text
                .lines()
                .find_map(|line| line.strip_prefix("TCP INET: "));
            return port
                .and_then(|port| port.parse().ok())
                .ok_or_else(|| format!("no port in {text:?}"));
        }
        if let Ok(status) = server.wait(Duration::from_millis(20)) {
            return Err(format!("{status}: {}", server.stderr()));
        }
    }
    Err(format!(
        "memcached told no port within {LIMIT:?}: {}",
        server.stderr()
    ))
}

/// memcached's text protocol.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .and_then(|stream| stream.set_read_timeout(Some(LIMIT)).map(|()| stream))
            .map_err(|e| format!("connecting to memcached: {e}"))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn set(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let mut request = format!("set {key} 0 0 {}\r\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        self.send(&request)?;
        let answer = self.line()?;
        ensure(answer == "STORED", || format!("set {key}: {answer}"))
    }

    fn get(&mut self, key: &str) -> Result<Vec<u8>, String> {
        let head = self.ask(&format!("get {key}\r\n"))?;
        let length = head
            .strip_prefix(&format!("VALUE {key} 0 "))
            .and_then(|length| length.parse::<usize>().ok())
            .ok_or_else(|| format!("get {key}: {head}"))?;
        let mut value = vec![0; length + 2];
        self.stream
            .read_exact(&mut value)
            .map_err(|e| format!("get {key}: {e}"))?;
        value.truncate(length);
        let end = self.line()?;
        ensure(end == "END", || {
            format!("get {key}: {end} instead of its end")
        })?;
        Ok(value)
    }

    fn ask(&mut self, request: &str) -> Result<String, String> {
        self.send(request.as_bytes())?;
        self.line()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .get_mut()
            .write_all(bytes)
            .map_err(|e| format!("to memcached: {e}"))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .map_err(|e| format!("from memcached: {e}"))?;
        Ok(line.trim_end().to_string())
    }
}
