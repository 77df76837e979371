//! A DNS server that the tests ask: it knows a few names, and counts its questions.
#![allow(
    dead_code,
    reason = "each of the tests that share this uses a part of it"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const A: u8 = 1;
const CNAME: u8 = 5;
const PTR: u8 = 12;
const AAAA: u8 = 28;

/// A server on a free port of the loopback, for as long as the test's process lives.
///
/// * `www.test`: 192.0.2.1 and 2001:db8::1, for 300 seconds; `alias.test` leads there
/// * `local.test`: 127.0.0.1
/// * `big.test`: cut off in a datagram, whole on a stream
/// * `silent.test`: no answer
/// * 192.0.2.1 is `www.test`
/// * all others do not exist
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let (socket, listener) = bind();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (by_udp, by_tcp) = (asked.clone(), asked.clone());
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((len, from)) = socket.recv_from(&mut query) {
                by_udp.fetch_add(1, Ordering::SeqCst);
                if let Some(reply) = reply(&query[..len], false) {
                    // Who has gone does not need the answer.
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut len = [0; 2];
                stream.read_exact(&mut len).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut query).unwrap();
                by_tcp.fetch_add(1, Ordering::SeqCst);
                if let Some(reply) = reply(&query, true) {
                    let len = u16::try_from(reply.len()).unwrap().to_be_bytes();
                    stream.write_all(&len).unwrap();
                    stream.write_all(&reply).unwrap();
                }
            }
        });
        Self { address, asked }
    }

    /// How many questions have come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Both on the same port.
fn bind() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
            return (socket, listener);
        }
    }
    panic!("no port is free for both protocols");
}

fn reply(query: &[u8], stream: bool) -> Option<Vec<u8>> {
    let mut name = String::new();
    let mut at = 12;
    while query[at] != 0 {
        let label = &query[at + 1..at + 1 + usize::from(query[at])];
        name += &String::from_utf8_lossy(label).to_ascii_lowercase();
        name.push('.');
        at += 1 + label.len();
    }
    let (kind, end) = (query[at + 2], at + 5);
    let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    reply.extend_from_slice(&query[12..end]);
    let www = match kind {
        A => [192, 0, 2, 1].to_vec(),
        _ => [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1]].concat(),
    };
    match (name.as_str(), kind) {
        ("silent.test.", _) => return None,
        ("www.test.", A | AAAA) => record(&mut reply, &[0xc0, 12], kind, 300, &www),
        ("alias.test.", A | AAAA) => {
            record(&mut reply, &[0xc0, 12], CNAME, 60, b"\x03www\x04test\0");
            record(&mut reply, b"\x03www\x04test\0", kind, 300, &www);
        }
        ("local.test.", A) => record(&mut reply, &[0xc0, 12], A, 300, &[127, 0, 0, 1]),
        ("big.test.", A) if !stream => reply[2] |= 2,
        ("big.test.", A) => {
            for last in 0..200 {
                record(&mut reply, &[0xc0, 12], A, 300, &[192, 0, 2, last]);
            }
        }
        ("1.2.0.192.in-addr.arpa.", PTR) => {
            record(&mut reply, &[0xc0, 12], PTR, 300, b"\x03www\x04test\0");
        }
        ("www.test." | "local.test.", _) => {}
        _ => reply[3] |= 3,
    }
    Some(reply)
}

fn record(reply: &mut Vec<u8>, owner: &[u8], kind: u8, ttl: u16, data: &[u8]) {
    reply[7] += 1;
    reply.extend_from_slice(owner);
    reply.extend_from_slice(&[0, kind, 0, 1, 0, 0]);
    reply.extend_from_slice(&ttl.to_be_bytes());
    reply.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    reply.extend_from_slice(data);
}
