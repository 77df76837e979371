//! A resolver with a server that does what the test says, and a clock of its own.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::net::{IpAddr, SocketAddr};

use domain::base::iana::Rcode;
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Name as WireName, Rtype};
use domain::rdata::{A, Aaaa, Cname, Ptr, Soa};
use ferrevent_dns::{
    Action, Config, Finished, LookupKey, LookupResult, Protocol, Resolver, SocketKey, Transmit,
};

pub const SECOND: u64 = 1_000_000_000;

/// A small generator: the same seed gives the same bytes.
pub fn seeded(seed: u64) -> impl FnMut(&mut [u8]) + Send {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    move |bytes: &mut [u8]| {
        for byte in bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 24) as u8;
        }
    }
}

/// A question as a server sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub transmit: Transmit,
    pub name: String,
    pub rtype: Rtype,
    pub edns: Option<u16>,
}

impl Query {
    pub fn message(&self) -> &[u8] {
        match self.transmit.protocol {
            Protocol::Udp => &self.transmit.bytes,
            Protocol::Tcp => &self.transmit.bytes[2..],
        }
    }

    fn start(&self, rcode: Rcode) -> AnswerBuilder<Vec<u8>> {
        let message = Message::from_octets(self.message().to_vec()).unwrap();
        MessageBuilder::new_vec()
            .start_answer(&message, rcode)
            .unwrap()
    }

    /// An answer with these records.
    pub fn answer(&self, records: &[(&str, Data)]) -> Vec<u8> {
        let mut answer = self.start(Rcode::NOERROR);
        for (owner, data) in records {
            let owner = wire(owner);
            match data {
                Data::Address(IpAddr::V4(ip)) => answer.push((owner, 300, A::new(*ip))),
                Data::Address(IpAddr::V6(ip)) => answer.push((owner, 300, Aaaa::new(*ip))),
                Data::Alias(target) => answer.push((owner, 60, Cname::new(wire(target)))),
                Data::Pointer(target) => answer.push((owner, 300, Ptr::new(wire(target)))),
            }
            .unwrap();
        }
        answer.finish()
    }

    /// An answer that says no, with the zone's record if there is a time for which that holds.
    pub fn refusal(&self, rcode: Rcode, minimum: Option<u32>) -> Vec<u8> {
        let mut authority = self.start(rcode).authority();
        if let Some(minimum) = minimum {
            let ttl = domain::base::Ttl::from_secs(minimum);
            let soa = Soa::new(
                wire("ns.test"),
                wire("me.test"),
                1.into(),
                ttl,
                ttl,
                ttl,
                ttl,
            );
            authority.push((wire("test"), 3600, soa)).unwrap();
        }
        authority.finish()
    }

    /// An empty answer with the mark that it was cut.
    pub fn cut(&self) -> Vec<u8> {
        let mut answer = self.start(Rcode::NOERROR);
        answer.header_mut().set_tc(true);
        answer.finish()
    }
}

pub fn wire(name: &str) -> WireName<Vec<u8>> {
    if name.is_empty() {
        return WireName::root();
    }
    name.parse().unwrap()
}

#[derive(Clone, Debug)]
pub enum Data {
    Address(IpAddr),
    Alias(&'static str),
    Pointer(&'static str),
}

pub fn ip(text: &str) -> Data {
    Data::Address(text.parse().unwrap())
}

pub struct World {
    pub resolver: Resolver,
    pub now: u64,
    pub closed: Vec<SocketKey>,
}

pub fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, number], 53))
}

impl World {
    pub fn new(config: Config, servers: u8) -> Self {
        let mut resolver = Resolver::new(config, seeded(1));
        for number in 1..=servers {
            resolver.add_server(server(number), 0);
        }
        Self {
            resolver,
            now: 0,
            closed: Vec::new(),
        }
    }

    /// All that has been sent since.
    pub fn sent(&mut self) -> Vec<Query> {
        let mut sent = Vec::new();
        while let Some(action) = self.resolver.poll_action() {
            match action {
                Action::Send(transmit) => sent.push(read_query(transmit)),
                Action::Close(socket) => self.closed.push(socket),
            }
        }
        sent
    }

    /// The only query that has been sent since.
    pub fn query(&mut self) -> Query {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    pub fn deliver(&mut self, query: &Query, reply: &[u8]) {
        let Transmit { socket, server, .. } = query.transmit;
        match query.transmit.protocol {
            Protocol::Udp => self
                .resolver
                .handle_datagram(socket, server, reply, self.now),
            Protocol::Tcp => {
                let len = (reply.len() as u16).to_be_bytes();
                // Split where it hurts.
                self.resolver.handle_stream(socket, &len[..1], self.now);
                self.resolver.handle_stream(socket, &len[1..], self.now);
                self.resolver.handle_stream(socket, reply, self.now);
            }
        }
    }

    /// Lets time pass until the next timer; false if there is none.
    pub fn pass(&mut self) -> bool {
        let Some(at) = self.resolver.next_timeout() else {
            return false;
        };
        self.now = self.now.max(at);
        self.resolver.handle_timeout(self.now);
        true
    }

    pub fn finished(&mut self) -> Option<(LookupKey, LookupResult)> {
        let Finished { key, result, .. } = self.resolver.poll_finished()?;
        Some((key, result))
    }

    /// The records that a look-up has ended with just now.
    pub fn records(&mut self) -> Result<ferrevent_dns::Answer, ferrevent_dns::Failure> {
        match self.finished() {
            Some((_, LookupResult::Records(result))) => result,
            other => panic!("{other:?}"),
        }
    }
}

pub fn read_query(transmit: Transmit) -> Query {
    let bytes = match transmit.protocol {
        Protocol::Udp => &transmit.bytes[..],
        Protocol::Tcp => &transmit.bytes[2..],
    };
    let message = Message::from_octets(bytes).unwrap();
    let question = message.sole_question().unwrap();
    Query {
        name: question.qname().to_string(),
        rtype: question.qtype(),
        edns: message.opt().map(|opt| opt.udp_payload_size()),
        transmit,
    }
}
