//! What the outside world can send, chosen by bytes: the same functions run under the fuzzer, and in the test `corpus`
//! on what the fuzzer has found worth keeping.
#![allow(
    clippy::unwrap_used,
    reason = "what fails here has found something; it says where"
)]

use std::net::SocketAddr;
use std::time::Duration;

use ferrevent_dns::server::{Data, Record, Reply, Request, Section};
use ferrevent_dns::{
    Action, AddressQuery, ConfParts, Config, Family, Frames, Hosts, Name, Protocol, Question,
    ResolvConf, Resolver, SocketKey, server_address,
};

/// The bytes that decide; what is beyond their end is zero.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A piece with its length in two bytes before it.
    fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
        let (piece, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        piece
    }
}

/// A whole resolver, whose servers answer what `input` says. Whatever that is, every look-up ends, in time and once.
pub(crate) fn replies(input: &[u8]) {
    let mut choices = Choices(input);
    let mut resolver = resolver(choices.byte());
    let mut now = 0;
    let asked = start(&mut resolver, choices.byte());
    let mut ended = Vec::new();
    let mut open: Vec<(SocketKey, SocketAddr, Protocol)> = Vec::new();
    // More than the attempts of all look-ups; a resolver that needs them all does not end.
    for _ in 0..2_000 {
        while let Some(action) = resolver.poll_action() {
            match action {
                Action::Close(socket) => open.retain(|(other, ..)| *other != socket),
                Action::Send(sent) => {
                    if !open.iter().any(|(other, ..)| *other == sent.socket) {
                        open.push((sent.socket, sent.server, sent.protocol));
                    }
                    for _ in 0..choices.byte() % 3 {
                        let reply = forge(&mut choices, &sent.bytes, sent.protocol);
                        deliver(
                            &mut resolver,
                            sent.socket,
                            sent.server,
                            sent.protocol,
                            &reply,
                            now,
                        );
                    }
                }
            }
        }
        while let Some(finished) = resolver.poll_finished() {
            assert!(asked.contains(&finished.key), "nobody asked");
            assert!(!ended.contains(&finished.key), "ended twice");
            ended.push(finished.key);
        }
        if ended.len() == asked.len() {
            assert!(!resolver.is_busy());
            break;
        }
        match choices.byte() {
            // Something late, for a socket of long ago.
            1 if !open.is_empty() => {
                let (socket, server, protocol) = open[usize::from(choices.byte()) % open.len()];
                let reply = choices.piece();
                deliver(&mut resolver, socket, server, protocol, reply, now);
            }
            2 if !open.is_empty() => {
                let (socket, ..) = open[usize::from(choices.byte()) % open.len()];
                resolver.handle_failure(socket, now);
            }
            _ => {
                now = resolver
                    .next_timeout()
                    .expect("a look-up waits for nothing");
                resolver.handle_timeout(now);
            }
        }
    }
    assert_eq!(ended.len(), asked.len(), "a look-up hangs");
    let limit = Duration::from_secs(10) + Duration::from_millis(1);
    assert!(now <= limit.as_nanos() as u64, "a look-up took {now} ns");
}

fn resolver(choice: u8) -> Resolver {
    let base = if choice & 1 == 0 {
        Config::default()
    } else {
        Config {
            deadline: Some(Duration::from_secs(10)),
            ..Config::libevent()
        }
    };
    let config = Config {
        // Fewer attempts, so that the input decides about all of them.
        attempts: 1 + u32::from(choice >> 1 & 1),
        randomize_case: choice & 4 != 0,
        ..base
    };
    let mut state = 0_u8;
    let mut resolver = Resolver::new(config, move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state.wrapping_mul(5).wrapping_add(3);
            *byte = state;
        }
    });
    resolver.add_server(SocketAddr::from(([127, 0, 0, 1], 53)), 0);
    if choice & 8 != 0 {
        resolver.add_server(SocketAddr::from(([127, 0, 0, 2], 53)), 0);
    }
    if choice & 16 != 0 {
        resolver.add_search_domain(Name::parse("test").unwrap(), false);
    }
    resolver
}

fn start(resolver: &mut Resolver, choice: u8) -> Vec<ferrevent_dns::LookupKey> {
    let mut keys = Vec::new();
    if choice & 3 == 0 || choice & 4 != 0 {
        keys.push(resolver.look_up(Question::ipv4("www.test").unwrap(), 0));
    }
    if choice & 3 == 1 {
        keys.push(resolver.look_up(Question::ipv6("www").unwrap(), 0));
    }
    if choice & 3 == 2 {
        keys.push(resolver.look_up(Question::reverse([192, 0, 2, 1].into()), 0));
    }
    if choice & 3 == 3 {
        let query = AddressQuery {
            host: Some(b"www.test".to_vec()),
            port: 80,
            family: Family::Any,
            ..AddressQuery::default()
        };
        keys.push(resolver.get_address_info(query, 0));
    }
    keys
}

/// A reply to `query`: bytes of the input, with as much of the query before them as makes a resolver look further.
fn forge(choices: &mut Choices<'_>, query: &[u8], protocol: Protocol) -> Vec<u8> {
    let query = match protocol {
        Protocol::Udp => query,
        Protocol::Tcp => &query[2..],
    };
    let question = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
    let kind = choices.byte();
    let piece = choices.piece();
    let mut reply = match kind % 4 {
        0 => piece.to_vec(),
        // The right number.
        1 => [&query[..2], piece].concat(),
        // The question too, and counts that the input has chosen.
        _ => {
            let (counts, records) = piece.split_at(piece.len().min(8));
            let mut head = [0; 12];
            head[..2].copy_from_slice(&query[..2]);
            head[2] = 0x81;
            head[5] = 1;
            if let [flags, code, answers, authorities, additions, ..] = *counts {
                head[2] |= flags & 0x06;
                head[3] = code;
                head[7] = answers;
                head[9] = authorities;
                head[11] = additions;
            }
            [&head, &query[12..question], records].concat()
        }
    };
    if protocol == Protocol::Tcp && kind & 128 == 0 {
        reply = Frames::wrap(&reply).unwrap_or_default();
    }
    reply
}

fn deliver(
    resolver: &mut Resolver,
    socket: SocketKey,
    server: SocketAddr,
    protocol: Protocol,
    reply: &[u8],
    now: u64,
) {
    match protocol {
        Protocol::Udp => resolver.handle_datagram(socket, server, reply, now),
        Protocol::Tcp => {
            for piece in reply.chunks(reply.len() / 2 + 1) {
                resolver.handle_stream(socket, piece, now);
            }
        }
    }
}

/// A server that gets `input`, and answers it with records made of it. A reply is never too long, and can be read.
pub(crate) fn requests(input: &[u8]) {
    let mut choices = Choices(input);
    let Some(request) = Request::parse(choices.piece()) else {
        return;
    };
    assert!(!request.questions.is_empty());
    let mut reply = Reply::new(&request);
    for _ in 0..choices.byte() {
        let section = match choices.byte() % 3 {
            0 => Section::Answer,
            1 => Section::Authority,
            _ => Section::Additional,
        };
        let owner = request.questions[0].name.clone();
        let bytes = choices.piece();
        let data = match Name::parse(bytes) {
            Ok(name) if bytes.len() % 2 == 0 => Data::Name(name),
            _ => Data::Bytes(bytes.to_vec()),
        };
        let record = Record {
            owner,
            rtype: u16::from(choices.byte()),
            class: 1,
            ttl: 300,
            data,
        };
        reply.add(section, record).unwrap();
    }
    for limit in [request.datagram_limit(), request.stream_limit()] {
        let mut bytes = reply
            .to_bytes(u16::from(choices.byte() % 16), limit)
            .unwrap();
        assert!(bytes.len() <= limit);
        assert_eq!(bytes[..2], request.id.to_be_bytes());
        let message = domain::base::Message::from_slice(&bytes).unwrap();
        for section in [message.answer(), message.authority(), message.additional()] {
            assert!(
                section.unwrap().all(|record| record.is_ok()),
                "a broken reply"
            );
        }
        // As a request it says what was asked, as far as that had room.
        bytes[2] &= 0x7f;
        if let Some(again) = Request::parse(&bytes) {
            let count = again.questions.len();
            assert_eq!(again.questions[..], request.questions[..count]);
        }
    }
}

/// A file that says how to resolve, or one of hosts.
pub(crate) fn files(input: &[u8]) {
    let conf = ResolvConf::parse(input);
    let mut resolver = resolver(0);
    resolver.apply(&conf, ConfParts::all(), 0);
    for server in conf.servers.iter().filter_map(|word| server_address(word)) {
        assert_ne!(server.port(), 0);
        assert_eq!(server_address(server.to_string().as_bytes()), Some(server));
        resolver.add_server(server, 0);
    }
    if let Some(search) = &conf.search {
        assert!(resolver.search_list().eq(search));
    }
    let config = resolver.config().clone();
    assert!(config.attempts > 0 && config.max_inflight > 0 && config.max_timeouts > 0);
    assert!(!config.timeout.is_zero());
    // A question can be asked all the same.
    resolver.look_up(Question::ipv4("www").unwrap(), 0);

    let mut hosts = Hosts::default();
    hosts.add_file(input);
    let mut twice = hosts.clone();
    twice.add_file(input);
    assert_eq!(twice, hosts, "the same file twice adds nothing");
}
