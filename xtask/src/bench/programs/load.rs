//! A client that asks a server one question over and over, on many connections at the same time.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::bench::report::Measured;

/// No server may be silent for so long.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections that report in one wait.
const BATCH: usize = 256;

/// A question, and the only right answer to it.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) protocol: Protocol,
    /// Of 127.0.0.1.
    pub(super) port: u16,
    /// What each connection says first, and how the answer to that ends.
    pub(super) greeting: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) question: Vec<u8>,
    pub(super) answer: Vec<u8>,
    /// So many bytes of the answer are always the same. What follows may hold a date.
    pub(super) fixed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// Connections to a server, each with `depth` questions under way.
#[derive(Debug)]
pub(super) struct Load<'a> {
    exchange: &'a Exchange,
    connections: Vec<Connection>,
    epoll: std::os::fd::OwnedFd,
    depth: usize,
}

#[derive(Debug)]
struct Connection {
    socket: Socket,
    /// Bytes of the answers to the questions that were sent last.
    received: usize,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl<'a> Load<'a> {
    /// Connects so many clients. Each then asks `depth` questions at once, and the next ones when all are answered.
    pub(super) fn connect(
        exchange: &'a Exchange,
        connections: usize,
        depth: usize,
    ) -> Result<Self, String> {
        let fault = |e: io::Error| format!("connecting to port {}: {e}", exchange.port);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| fault(e.into()))?;
        let mut connected = Vec::new();
        for number in 0..connections as u64 {
            let socket = Socket::connect(exchange).map_err(fault)?;
            let data = epoll::EventData::new_u64(number);
            epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)
                .map_err(|e| fault(e.into()))?;
            connected.push(Connection {
                socket,
                received: 0,
            });
        }
        Ok(Self {
            exchange,
            connections: connected,
            epoll,
            depth,
        })
    }

    /// Asks for some time that does not count, and then for `time`; process `pid` answers.
    pub(super) fn measure(
        &mut self,
        pid: u32,
        warm_up: Duration,
        time: Duration,
    ) -> Result<(Measured, u64), String> {
        self.ask_for(warm_up)?;
        let (before, start) = (cpu_of(pid)?, Instant::now());
        let answers = self.ask_for(time)?;
        let (cpu, took) = (cpu_of(pid)? - before, start.elapsed());
        let measured = Measured {
            rate: answers as f64 / took.as_secs_f64(),
            cpu: cpu as f64 / answers as f64,
        };
        Ok((measured, answers))
    }

    /// Asks until `time` is over and all questions are answered; how many there were.
    fn ask_for(&mut self, time: Duration) -> Result<u64, String> {
        let deadline = Instant::now() + time;
        self.ask_while(|_| Instant::now() < deadline)
    }

    /// Asks at least so many questions; how many there were.
    pub(super) fn ask(&mut self, questions: u64) -> Result<u64, String> {
        self.ask_while(|asked| asked < questions)
    }

    fn ask_while(&mut self, mut more: impl FnMut(u64) -> bool) -> Result<u64, String> {
        let fault = |e: &dyn std::fmt::Display| format!("port {}: {e}", self.exchange.port);
        let questions = self.exchange.question.repeat(self.depth);
        let mut buffer = vec![0; 64 * 1024];
        let mut ready = Vec::with_capacity(BATCH);
        let timeout = Timespec::try_from(SILENCE).map_err(|e| fault(&e))?;
        let mut answered = 0;
        let mut busy = 0;
        for connection in &mut self.connections {
            connection.received = 0;
            connection
                .socket
                .send(&questions, self.depth)
                .map_err(|e| fault(&e))?;
            busy += 1;
        }
        while busy > 0 {
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&timeout)) {
                Ok(0) => return Err(fault(&format!("no answer within {SILENCE:?}"))),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(e) => return Err(fault(&e)),
            }
            for event in ready.drain(..) {
                let connection = &mut self.connections[event.data.u64() as usize];
                let complete = connection
                    .receive(self.exchange, self.depth, &mut buffer)
                    .map_err(|e| fault(&e))?;
                if !complete {
                    continue;
                }
                answered += self.depth as u64;
                connection.received = 0;
                let under_way = (busy - 1) * self.depth as u64;
                if more(answered + under_way) {
                    connection
                        .socket
                        .send(&questions, self.depth)
                        .map_err(|e| fault(&e))?;
                } else {
                    busy -= 1;
                }
            }
        }
        Ok(answered)
    }
}

impl Connection {
    /// Takes what is there; true when all answers are.
    fn receive(
        &mut self,
        exchange: &Exchange,
        depth: usize,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let length = self.socket.receive(buffer)?;
        let mut bytes = &buffer[..length];
        if bytes.is_empty() || self.received + length > depth * exchange.answer.len() {
            return Err(io::Error::other(format!("{length} bytes of an answer")));
        }
        while !bytes.is_empty() {
            let at = self.received % exchange.answer.len();
            let piece = bytes.len().min(exchange.answer.len() - at);
            let checked = piece.min(exchange.fixed.saturating_sub(at));
            if bytes[..checked] != exchange.answer[at..at + checked] {
                return Err(io::Error::other(format!(
                    "another answer: {:?}",
                    String::from_utf8_lossy(bytes)
                )));
            }
            self.received += piece;
            bytes = &bytes[piece..];
        }
        Ok(self.received == depth * exchange.answer.len())
    }
}

impl Socket {
    fn connect(exchange: &Exchange) -> io::Result<Self> {
        let server = (Ipv4Addr::LOCALHOST, exchange.port);
        match exchange.protocol {
            Protocol::Udp => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.connect(server)?;
                Ok(Self::Udp(socket))
            }
            Protocol::Tcp => {
                let mut stream = TcpStream::connect(server)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE))?;
                stream.set_write_timeout(Some(SILENCE))?;
                if let Some((greeting, end)) = &exchange.greeting {
                    stream.write_all(greeting)?;
                    read_to(&mut stream, end)?;
                }
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// The questions are few and short enough for any socket, so that this does not block.
    fn send(&mut self, questions: &[u8], depth: usize) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(questions),
            Self::Udp(socket) => questions
                .chunks(questions.len() / depth)
                .try_for_each(|question| socket.send(question).map(drop)),
        }
    }

    /// What is there: the caller knows that something is.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Udp(socket) => socket.recv(buffer),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

/// Reads until what came ends with `end`, and returns all of it.
pub(super) fn read_to(stream: &mut TcpStream, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.ends_with(end) {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(bytes)
}

/// Nanoseconds of CPU that the threads of process `pid` have used.
fn cpu_of(pid: u32) -> Result<u64, String> {
    let tasks = format!("/proc/{pid}/task");
    let fault = |e: &dyn std::fmt::Display| format!("{tasks}: {e}");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).map_err(|e| fault(&e))? {
        let path = task.map_err(|e| fault(&e))?.path().join("schedstat");
        let text = fs::read_to_string(&path).map_err(|e| fault(&e))?;
        let first = text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse::<u64>().ok());
        sum += first.ok_or_else(|| fault(&format!("{text:?} in schedstat")))?;
    }
    Ok(sum)
}
