//! A client that asks programs by HTTP.

#![allow(
    dead_code,
    reason = "each of the test programs that share this uses a part of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ferrevent_workbench::Server;

use crate::running::LIMIT;

/// A connection to a program.
pub(crate) struct Client {
    pub(crate) port: u16,
    pub(crate) stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects to `port` as soon as the program has it.
    pub(crate) fn reach(port: u16, program: &Server) -> Result<Self, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                let limited = stream
                    .set_read_timeout(Some(LIMIT))
                    .and_then(|()| stream.set_write_timeout(Some(LIMIT)));
                limited.map_err(|e| e.to_string())?;
                let stream = BufReader::new(stream);
                return Ok(Self { port, stream });
            }
            if Instant::now() > deadline {
                return Err(format!("nobody is at port {port}: {}", program.stderr()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a request, and reads the whole answer, whose length must be known.
    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        self.send(method, path, headers, body);
        let mut answer = self.head();
        let length = answer.header("Content-Length").unwrap().parse().unwrap();
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).unwrap();
        answer
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
            self.port
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
    }

    /// Reads an answer without its body.
    pub(crate) fn head(&mut self) -> Answer {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let first = lines.remove(0);
        let code = first.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            code,
            headers: lines,
            body: Vec::new(),
        }
    }
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The body.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
