//! A memcached server, and clients of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Folder, Server};

/// How long memcached may take for any one thing.
const LIMIT: Duration = Duration::from_secs(60);

/// A running memcached, on a port of the loopback that the system chose.
#[derive(Debug)]
pub struct Memcached {
    server: Server,
    port: u16,
}

impl Memcached {
    /// Starts it: `command` is the program and whatever comes before it. It has `threads` worker
    /// threads and room for `megabytes`.
    pub fn start(mut command: Command, threads: u32, megabytes: u32) -> Result<Self, String> {
        let folder = Folder::create()?;
        let port_file = folder.path().join("port");
        // TCP only. As root it insists on being told whom to become.
        command.args(["-l", "127.0.0.1", "-p", "-1", "-U", "0", "-u", "root"]);
        command.args(["-t", &threads.to_string(), "-m", &megabytes.to_string()]);
        let mut server = Server::start(command.env("MEMCACHED_PORT_FILENAME", &port_file))?;
        let port = wait_for_port(&mut server, &port_file)?;
        Ok(Self { server, port })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Its port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote to its standard error so far.
    pub fn stderr(&self) -> String {
        self.server.stderr()
    }

    /// Connects a new client.
    pub fn connect(&self) -> Result<MemcachedClient, String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .and_then(|stream| stream.set_read_timeout(Some(LIMIT)).map(|()| stream))
            .and_then(|stream| stream.set_write_timeout(Some(LIMIT)).map(|()| stream))
            .map_err(|e| format!("connecting to memcached: {e}"))?;
        Ok(MemcachedClient {
            stream: BufReader::new(stream),
        })
    }
}

/// memcached writes the file under another name and renames it: once there, it is complete.
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
            return Err(format!("memcached: {status}: {}", server.stderr()));
        }
    }
    Err(format!(
        "memcached told no port within {LIMIT:?}: {}",
        server.stderr()
    ))
}

/// A connection that speaks memcached's text protocol.
#[derive(Debug)]
pub struct MemcachedClient {
    stream: BufReader<TcpStream>,
}

impl MemcachedClient {
    /// Stores `value` under `key`.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        self.store("set", key, value)
    }

    /// Adds `value` to the end of what `key` has.
    pub fn append(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        self.store("append", key, value)
    }

    /// The value of `key`.
    pub fn get(&mut self, key: &str) -> Result<Vec<u8>, String> {
        self.send(format!("get {key}\r\n").as_bytes())?;
        let head = self.line()?;
        let length = head
            .strip_prefix(&format!("VALUE {key} 0 "))
            .and_then(|length| length.parse::<usize>().ok())
            .ok_or_else(|| format!("get {key}: {head}"))?;
        let mut value = vec![0; length + 2];
        self.stream
            .read_exact(&mut value)
            .map_err(|e| format!("get {key}: {e}"))?;
        value.truncate(length);
        match self.line()?.as_str() {
            "END" => Ok(value),
            other => Err(format!("get {key}: {other} instead of its end")),
        }
    }

    /// Adds `by` to the number that `key` has, and returns the sum.
    pub fn incr(&mut self, key: &str, by: u64) -> Result<u64, String> {
        self.send(format!("incr {key} {by}\r\n").as_bytes())?;
        let answer = self.line()?;
        answer.parse().map_err(|_| format!("incr {key}: {answer}"))
    }

    fn store(&mut self, how: &str, key: &str, value: &[u8]) -> Result<(), String> {
        let mut request = format!("{how} {key} 0 0 {}\r\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        self.send(&request)?;
        match self.line()?.as_str() {
            "STORED" => Ok(()),
            other => Err(format!("{how} {key}: {other}")),
        }
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
