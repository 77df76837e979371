//! Look-ups against a server that does what the test says.

mod script;

use domain::base::Rtype;
use domain::base::iana::Rcode;
use ferrevent_dns::{Config, Failure, Protocol, Question, Records};
use script::{SECOND, World, ip, server};

fn plain() -> Config {
    Config {
        randomize_case: false,
        ..Config::libevent()
    }
}

#[test]
fn an_address_is_asked_for_and_found() {
    let mut world = World::new(plain(), 1);
    let key = world
        .resolver
        .look_up(Question::ipv4("www.test").unwrap(), 0);
    let query = world.query();
    assert_eq!(query.transmit.server, server(1));
    assert_eq!((query.name.as_str(), query.rtype), ("www.test", Rtype::A));
    let reply = query.answer(&[("www.test", ip("192.0.2.7"))]);
    world.deliver(&query, &reply);
    let finished = world.resolver.poll_finished().unwrap();
    assert_eq!(finished.key, key);
    let ferrevent_dns::LookupResult::Records(Ok(answer)) = finished.result else {
        panic!("{finished:?}");
    };
    assert_eq!(
        answer.records,
        Records::Ipv4(vec!["192.0.2.7".parse().unwrap()])
    );
    assert_eq!(answer.ttl, 300);
    world.sent();
    assert_eq!(world.closed, [query.transmit.socket]);
    assert_eq!(world.resolver.next_timeout(), None);
}

#[test]
fn every_query_has_a_socket_of_its_own() {
    let mut world = World::new(plain(), 1);
    for _ in 0..10 {
        world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    }
    let mut sockets: Vec<_> = world.sent().iter().map(|q| q.transmit.socket).collect();
    sockets.dedup();
    assert_eq!(sockets.len(), 10);
}

#[test]
fn a_silent_server_is_asked_as_often_as_attempts_says() {
    let mut world = World::new(plain(), 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let mut sent = world.sent().len();
    while world.resolver.is_busy() {
        assert!(world.pass());
        sent += world.sent().len();
    }
    assert_eq!((sent, world.now), (3, 15 * SECOND));
    assert_eq!(world.records(), Err(Failure::Timeout));
}

#[test]
fn a_reply_counts_only_if_it_fits_in_every_respect() {
    let mut world = World::new(Config::libevent(), 1);
    world
        .resolver
        .look_up(Question::ipv4("abcdefghijklmnop.test").unwrap(), 0);
    let query = world.query();
    let right = query.answer(&[(&query.name, ip("192.0.2.7"))]);
    let mut other_id = right.clone();
    other_id[0] ^= 1;
    let mut other_case = right.clone();
    other_case[13] ^= 0x20;
    let mut other_type = right.clone();
    other_type[12 + 23 + 1] = 28;
    let mut a_query = right.clone();
    a_query[2] &= 0x7f;
    for wrong in [
        &other_id,
        &other_case,
        &other_type,
        &a_query,
        &right[..11].to_vec(),
    ] {
        world.deliver(&query, wrong);
        assert_eq!(world.finished(), None);
    }
    let (socket, now) = (query.transmit.socket, world.now);
    world
        .resolver
        .handle_datagram(socket, server(9), &right, now);
    assert_eq!(world.finished(), None);
    world.deliver(&query, &right);
    assert!(world.records().is_ok());
}

#[test]
fn a_cut_answer_is_asked_for_again_by_tcp() {
    let mut world = World::new(plain(), 1);
    world
        .resolver
        .look_up(Question::ipv4("big.test").unwrap(), 0);
    let query = world.query();
    world.deliver(&query, &query.cut());
    let again = world.query();
    assert_eq!(again.transmit.protocol, Protocol::Tcp);
    let reply = again.answer(&[("big.test", ip("192.0.2.1")), ("big.test", ip("192.0.2.2"))]);
    world.deliver(&again, &reply);
    assert_eq!(
        world.records().unwrap().records,
        Records::Ipv4(vec![
            "192.0.2.1".parse().unwrap(),
            "192.0.2.2".parse().unwrap()
        ])
    );
}

#[test]
fn a_cut_answer_of_a_server_without_tcp_is_an_error() {
    let mut world = World::new(plain(), 1);
    world
        .resolver
        .look_up(Question::ipv4("big.test").unwrap(), 0);
    let query = world.query();
    world.deliver(&query, &query.cut());
    let again = world.query();
    world.resolver.handle_failure(again.transmit.socket, 0);
    assert_eq!(world.records(), Err(Failure::Truncated));
}

#[test]
fn another_server_is_asked_if_one_is_out_of_order() {
    for rcode in [Rcode::SERVFAIL, Rcode::REFUSED, Rcode::NOTIMP] {
        let mut world = World::new(plain(), 2);
        world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
        let first = world.query();
        world.deliver(&first, &first.refusal(rcode, None));
        let second = world.query();
        assert_ne!(first.transmit.server, second.transmit.server);
        world.deliver(&second, &second.answer(&[("a.test", ip("192.0.2.7"))]));
        assert!(world.records().is_ok());
    }
}

#[test]
fn edns_is_left_out_for_a_server_that_does_not_understand_it() {
    let config = Config {
        randomize_case: false,
        ..Config::default()
    };
    let mut world = World::new(config, 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let first = world.query();
    assert_eq!(first.edns, Some(1232));
    world.deliver(&first, &first.refusal(Rcode::FORMERR, None));
    let second = world.query();
    assert_eq!(second.edns, None);
    world.deliver(&second, &second.answer(&[("a.test", ip("192.0.2.7"))]));
    assert!(world.records().is_ok());
}
