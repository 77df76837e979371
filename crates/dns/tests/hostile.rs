//! What hostile servers and clients may send: none of it counts, none of it does harm.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod script;

use ferrevent_dns::server::{Data, Record, Reply, Request, Section};
use ferrevent_dns::{
    AddressQuery, ConfParts, Config, Failure, Hosts, Name, Question, ResolvConf, server_address,
};
use proptest::prelude::*;
use script::{World, ip};

fn plain() -> Config {
    Config {
        randomize_case: false,
        ..Config::libevent()
    }
}

/// Where the answer's name begins in a reply to `a.test`: header, name, type, class.
const OWNER: usize = 12 + 8 + 4;

/// What a look-up for `a.test` ends with if the answer's name is these bytes; `None` if the reply does not count.
fn with_owner(owner: &[u8]) -> Option<Result<usize, Failure>> {
    let mut world = World::new(plain(), 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let query = world.query();
    let mut reply = query.answer(&[("a.test", ip("192.0.2.1"))]);
    let end = reply.len() - 14;
    let compressed = reply
        .splice(OWNER..end, owner.iter().copied())
        .collect::<Vec<_>>();
    assert!(
        compressed.len() == 2 || compressed.len() == 8,
        "{compressed:?}"
    );
    world.deliver(&query, &reply);
    match world.finished()?.1 {
        ferrevent_dns::LookupResult::Records(result) => Some(result.map(|_| 1)),
        other => panic!("{other:?}"),
    }
}

/// The length octet of a label led past the end of the packet.
#[test]
fn cve_2016_10195_labels_and_pointers_that_lead_out_of_the_packet() {
    assert_eq!(with_owner(&[0xc0, 12]), Some(Ok(1)), "the right name");
    let at = OWNER as u8;
    for wrong in [
        // A label longer than the rest.
        &[63, b'x'][..],
        // A pointer to itself, behind the end, and forwards.
        &[0xc0, at],
        &[0xff, 0xff],
        &[0xc0, at + 2, 0xc0, at],
        // The two kinds of labels that nobody uses.
        &[0x40, 1, 0],
        &[0x80, 1, 0],
    ] {
        assert_eq!(with_owner(wrong), Some(Err(Failure::Unknown)), "{wrong:?}");
    }
    // 256 bytes, in labels of 63.
    let mut long = Vec::new();
    for _ in 0..4 {
        long.push(63);
        long.extend([b'x'; 63]);
    }
    long.push(0);
    assert_eq!(with_owner(&long), Some(Err(Failure::Unknown)));
}

#[test]
fn a_question_that_points_to_itself_is_no_reply_and_no_request() {
    let mut bytes = vec![
        0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1,
    ];
    let mut world = World::new(plain(), 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let query = world.query();
    bytes[..2].copy_from_slice(&query.transmit.bytes[..2]);
    world.deliver(&query, &bytes);
    assert_eq!(world.finished(), None);
    bytes[2] = 1;
    assert_eq!(Request::parse(&bytes), None);
}

/// An empty name with a search list read the byte before it.
#[test]
fn cve_2016_10197_an_empty_name_is_no_question() {
    let mut world = World::new(plain(), 1);
    world
        .resolver
        .add_search_domain(Name::parse("test").unwrap(), false);
    assert!(Question::ipv4("").is_err());
    assert!(Name::parse("..").is_err());
    // The root is a name.
    world.resolver.look_up(Question::ipv4(".").unwrap(), 0);
    assert_eq!(world.query().name, "");
    let empty = AddressQuery {
        host: Some(Vec::new()),
        ..AddressQuery::default()
    };
    world.resolver.get_address_info(empty, 0);
    assert!(world.finished().is_some());
}

fn request() -> Request {
    let bytes = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    Request::parse(bytes).unwrap()
}

fn record(owner: &str, data: Data) -> Record {
    Record {
        owner: Name::parse(owner).unwrap(),
        rtype: 12,
        class: 1,
        ttl: 5,
        data,
    }
}

/// A name that ended exactly at the 65536th byte was written with its last zero behind the buffer.
#[test]
fn cve_2026_63387_a_reply_that_ends_at_65536_is_cut() {
    let mut reply = Reply::new(&request());
    // 19 bytes of header and question, 13 of the record's head.
    let first = record("a", Data::Bytes(vec![0; 65490]));
    reply.add(Section::Answer, first).unwrap();
    let second = record("a", Data::Name(Name::parse("zz").unwrap()));
    reply.add(Section::Answer, second).unwrap();
    let bytes = reply.to_bytes(0, request().stream_limit()).unwrap();
    assert!(bytes.len() <= 65535);
    assert_eq!(bytes[2] & 2, 2, "it says that it was cut");
    assert_eq!(bytes[6..8], [0, 1]);
    let too_long = record("a", Data::Bytes(vec![0; 65536]));
    assert!(reply.add(Section::Answer, too_long).is_err());
}

/// A compression pointer has 14 bits.
#[test]
fn names_beyond_16384_bytes_are_not_pointed_to() {
    let mut reply = Reply::new(&request());
    reply
        .add(Section::Answer, record("a", Data::Bytes(vec![0; 20_000])))
        .unwrap();
    let far = Name::parse("far.away.test").unwrap();
    for _ in 0..3 {
        let data = Data::Name(far.clone());
        reply
            .add(Section::Answer, record("far.away.test", data))
            .unwrap();
    }
    let bytes = reply.to_bytes(0, request().stream_limit()).unwrap();
    let message = domain::base::Message::from_octets(&bytes[..]).unwrap();
    let mut names = 0;
    for parsed in message.answer().unwrap().skip(1) {
        assert_eq!(parsed.unwrap().owner().to_string(), "far.away.test");
        names += 1;
    }
    assert_eq!(names, 3);
}

/// A datagram of fewer than 12 bytes ended the process.
#[test]
fn short_datagrams_to_a_server_are_dropped() {
    let whole = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    for len in 0..whole.len() {
        assert_eq!(Request::parse(&whole[..len]), None, "{len} bytes");
    }
    assert!(Request::parse(whole).is_some());
}

#[test]
fn replies_empty_requests_and_names_without_a_text_are_dropped() {
    let whole = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01".to_vec();
    let mut reply = whole.clone();
    reply[2] |= 0x80;
    let mut none = whole.clone();
    none[5] = 0;
    let mut dot = whole.clone();
    dot[13] = b'.';
    let mut zero = whole;
    zero[13] = 0;
    for bytes in [reply, none, dot, zero] {
        assert_eq!(Request::parse(&bytes), None, "{bytes:?}");
    }
}

#[test]
fn records_of_another_name_do_not_count() {
    let mut world = World::new(plain(), 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let query = world.query();
    world.deliver(&query, &query.answer(&[("bank.test", ip("192.0.2.66"))]));
    assert_eq!(world.records(), Err(Failure::NoData));
}

#[test]
fn aliases_that_go_round_in_a_circle_lead_nowhere() {
    let mut world = World::new(plain(), 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let query = world.query();
    let circle = [
        ("a.test", script::Data::Alias("b.test")),
        ("b.test", script::Data::Alias("a.test")),
    ];
    world.deliver(&query, &query.answer(&circle));
    assert_eq!(world.records(), Err(Failure::NoData));
}

#[test]
fn an_address_of_the_wrong_length_is_malformed() {
    let mut world = World::new(plain(), 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let query = world.query();
    let mut reply = query.answer(&[("a.test", ip("192.0.2.1"))]);
    let len = reply.len();
    reply[len - 5] = 3;
    reply.pop();
    world.deliver(&query, &reply);
    assert_eq!(world.records(), Err(Failure::Unknown));
}

/// libevent crashed when a resolver with waiting requests was freed, or lost its servers (#64, #331, #416, #1278).
#[test]
fn issues_64_331_416_1278_waiting_look_ups_can_be_cancelled() {
    let config = Config {
        max_inflight: 1,
        ..plain()
    };
    let mut world = World::new(config, 2);
    let ask = |world: &mut World| {
        let question = Question::ipv4("a.test").unwrap();
        world.resolver.look_up(question, world.now)
    };
    let keys: Vec<_> = (0..4).map(|_| ask(&mut world)).collect();
    assert_eq!(world.sent().len(), 1);
    // The one in the middle of the queue, then the one that is on its way: the next one goes out.
    assert!(world.resolver.cancel(keys[2], 0));
    assert!(world.resolver.cancel(keys[0], 0));
    assert!(!world.resolver.cancel(keys[0], 0));
    assert_eq!(world.sent().len(), 1);
    world.resolver.clear_servers_and_suspend();
    assert!(world.sent().is_empty());
    assert!(world.resolver.cancel(keys[1], 0));
    assert!(world.resolver.is_busy());
    world.resolver.add_server(script::server(3), world.now);
    assert!(
        world.sent().is_empty(),
        "it waits for the end of the suspension"
    );
    world.resolver.resume(world.now);
    assert_eq!(world.sent().len(), 1);
    drop(world);
}

proptest! {
    #[test]
    fn no_reply_makes_a_resolver_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut world = World::new(plain(), 1);
        world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
        let query = world.query();
        // The head of a right one, so that the rest is looked at.
        let mut reply = query.answer(&[]);
        reply[7] = bytes.first().copied().unwrap_or(1);
        reply[9] = bytes.get(1).copied().unwrap_or(0);
        reply.extend(&bytes);
        world.deliver(&query, &bytes);
        world.deliver(&query, &reply);
        while world.resolver.is_busy() && world.pass() {}
    }

    #[test]
    fn no_request_makes_a_server_panic_and_replies_fit(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        lengths in proptest::collection::vec(0_usize..2000, 0..20),
        limit in 0_usize..70_000,
    ) {
        let _ = Request::parse(&bytes);
        let mut reply = Reply::new(&request());
        for (index, len) in lengths.iter().enumerate() {
            let section = [Section::Answer, Section::Authority, Section::Additional][index % 3];
            let owner = format!("name{}.test", len % 7);
            reply.add(section, record(&owner, Data::Bytes(vec![0; *len]))).unwrap();
        }
        let limit = limit.clamp(512, 65535);
        let message = reply.to_bytes(3, limit).unwrap();
        prop_assert!(message.len() <= limit);
        // Every record that is counted is there, and nothing behind them.
        let parsed = domain::base::Message::from_octets(&message[..]).unwrap();
        let counts = parsed.header_counts();
        let records = parsed.iter().map(Result::unwrap).count();
        let counted = counts.ancount() + counts.nscount() + counts.arcount();
        prop_assert_eq!(records, usize::from(counted));
        let all = records == lengths.len();
        prop_assert_eq!(parsed.header().tc(), !all);
    }

    #[test]
    fn no_file_or_option_makes_the_resolver_panic(text in "[ -~\n\t:.%#\\[\\]]{0,200}", bytes in any::<Vec<u8>>()) {
        for text in [text.as_bytes(), &bytes] {
            let conf = ResolvConf::parse(text);
            for server in &conf.servers {
                let _ = server_address(server);
            }
            let mut hosts = Hosts::default();
            hosts.add_file(text);
            let mut world = World::new(plain(), 1);
            world.resolver.apply(&conf, ConfParts::all(), 0);
        }
        let mut config = plain();
        for name in ["ndots", "timeout:", "attempts", "bind-to", "so-rcvbuf:", &text] {
            let _ = config.set_option(name, &text, ConfParts::all());
        }
    }
}
