//! A DNS client that asks for addresses, many at the same time.
//!
//! Beside `dig`, which is no client for a crowd: its sockets may share a port with those of
//! another `dig`, and then one gets the other's answers.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::running::LIMIT;

/// Questions under way at the same time.
const WINDOW: usize = 20;
/// After so long a datagram counts as lost. The loopback drops those that nobody has room for.
const LOST: Duration = Duration::from_secs(3);
/// The answer is a single one, to the question: without compression of other names.
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Udp,
    Tcp,
}

/// The addresses of `names`, in their order, from the server at `port` of the loopback. All
/// questions use one socket.
pub(crate) fn addresses(port: u16, protocol: Protocol, names: &[String]) -> Vec<Ipv4Addr> {
    let mut socket = Socket::connect(port, protocol);
    let mut found = HashMap::new();
    let deadline = Instant::now() + LIMIT;
    let ids: Vec<u16> = (0..).take(names.len()).collect();
    for window in ids.chunks(WINDOW) {
        let mut open = window.to_vec();
        while !open.is_empty() {
            assert!(Instant::now() < deadline, "no answers to {open:?}");
            for &id in &open {
                socket.send(&question(id, &names[usize::from(id)]));
            }
            while !open.is_empty() {
                let Some(message) = socket.receive() else {
                    break;
                };
                let id = u16::from_be_bytes([message[0], message[1]]);
                // An answer that was late may come twice.
                open.retain(|&other| other != id);
                let asked = question(id, &names[usize::from(id)]);
                found.insert(id, address(&asked, &message));
            }
        }
    }
    ids.iter().map(|id| found[id]).collect()
}

/// RFC 1035, 4.1: a header that desires recursion, and one question.
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    for field in [id, 0x0100, 1, 0, 0, 0] {
        message.extend(field.to_be_bytes());
    }
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.push(0);
    for field in [TYPE_A, CLASS_IN] {
        message.extend(field.to_be_bytes());
    }
    message
}

/// The address in the first record of the answer to `asked`.
fn address(asked: &[u8], message: &[u8]) -> Ipv4Addr {
    let field = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    assert_eq!(field(2) & 0x800f, 0x8000, "not an answer: {message:?}");
    assert_eq!(message[12..asked.len()], asked[12..], "another question");
    assert_eq!(field(6), 1, "answers");
    // A pointer to the name that was asked for, the type, the class, the time to live, the length.
    let record = asked.len();
    assert_eq!(
        (field(record), field(record + 2), field(record + 4)),
        (0xc00c, TYPE_A, CLASS_IN)
    );
    let bytes: [u8; 4] = message[record + 12..record + 16].try_into().unwrap();
    bytes.into()
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Socket {
    fn connect(port: u16, protocol: Protocol) -> Self {
        let server = (Ipv4Addr::LOCALHOST, port);
        match protocol {
            Protocol::Udp => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                socket.connect(server).unwrap();
                socket.set_read_timeout(Some(LOST)).unwrap();
                Self::Udp(socket)
            }
            Protocol::Tcp => {
                let stream = TcpStream::connect(server).unwrap();
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                stream.set_write_timeout(Some(LIMIT)).unwrap();
                Self::Tcp(stream)
            }
        }
    }

    fn send(&mut self, message: &[u8]) {
        match self {
            Self::Udp(socket) => assert_eq!(socket.send(message).unwrap(), message.len()),
            Self::Tcp(stream) => {
                let length = u16::try_from(message.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, message].concat()).unwrap();
            }
        }
    }

    /// The next message; none if it is lost.
    fn receive(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut message = vec![0; 4096];
                match socket.recv(&mut message) {
                    Ok(length) => message.truncate(length),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                    Err(e) => panic!("{e}"),
                }
                Some(message)
            }
            Self::Tcp(stream) => {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut message).unwrap();
                Some(message)
            }
        }
    }
}
