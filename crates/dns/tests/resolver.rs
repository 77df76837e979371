//! Look-ups against a server that does what the test says.

mod script;

use domain::base::Rtype;
use domain::base::iana::Rcode;
use ferrevent_dns::{Config, Failure, Name, Protocol, Question, Records};
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

#[test]
fn the_names_of_the_search_list_are_tried_in_order() {
    for (ndots, name, expected) in [
        (1, "www", &["www.one.test", "www.two.test", "www"][..]),
        (
            1,
            "www.sub",
            &["www.sub", "www.sub.one.test", "www.sub.two.test"],
        ),
        (
            2,
            "www.sub",
            &["www.sub.one.test", "www.sub.two.test", "www.sub"],
        ),
        (0, "www", &["www", "www.one.test", "www.two.test"]),
        (1, "www.", &["www"]),
    ] {
        let config = Config { ndots, ..plain() };
        let mut world = World::new(config, 1);
        world
            .resolver
            .add_search_domain(Name::parse("two.test").unwrap(), true);
        world
            .resolver
            .add_search_domain(Name::parse("one.test").unwrap(), true);
        world.resolver.look_up(Question::ipv4(name).unwrap(), 0);
        let mut asked = Vec::new();
        while world.resolver.is_busy() {
            let query = world.query();
            asked.push(query.name.clone());
            world.deliver(&query, &query.refusal(Rcode::NXDOMAIN, None));
        }
        assert_eq!(asked, expected, "ndots {ndots}, {name}");
        assert_eq!(world.records(), Err(Failure::NotExist));
    }
}

#[test]
fn the_search_ends_with_a_silent_server() {
    let config = Config {
        attempts: 1,
        ..plain()
    };
    let mut world = World::new(config, 1);
    world
        .resolver
        .add_search_domain(Name::parse("one.test").unwrap(), false);
    world.resolver.look_up(Question::ipv4("www").unwrap(), 0);
    world.pass();
    assert_eq!(world.records(), Err(Failure::Timeout));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_server_that_has_failed_is_asked_as_libevent_asks_it() {
    let mut world = World::new(plain(), 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let mut asked = 0;
    while world.resolver.is_busy() {
        let query = world.query();
        asked += 1;
        world.deliver(&query, &query.refusal(Rcode::SERVFAIL, None));
    }
    assert_eq!((asked, world.records()), (3, Err(Failure::Timeout)));
    let config = Config {
        randomize_case: false,
        ..Config::default()
    };
    let mut world = World::new(config, 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let query = world.query();
    world.deliver(&query, &query.refusal(Rcode::SERVFAIL, None));
    assert_eq!(world.records(), Err(Failure::ServerFailed));
}

#[test]
fn answers_are_kept_while_they_are_good() {
    let config = Config {
        randomize_case: false,
        ..Config::default()
    };
    let mut world = World::new(config, 1);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let query = world.query();
    world.deliver(&query, &query.answer(&[("a.test", ip("192.0.2.1"))]));
    assert_eq!(world.records().unwrap().ttl, 300);
    world.now = 100 * SECOND;
    world
        .resolver
        .look_up(Question::ipv4("A.TEST").unwrap(), world.now);
    assert_eq!(world.records().unwrap().ttl, 200);
    // Another type is another answer.
    world
        .resolver
        .look_up(Question::ipv6("a.test").unwrap(), world.now);
    let query = world.query();
    world.deliver(&query, &query.refusal(Rcode::NOERROR, Some(60)));
    let finished = world.resolver.poll_finished().unwrap();
    assert_eq!(finished.ttl, 60);
    world
        .resolver
        .look_up(Question::ipv6("a.test").unwrap(), world.now);
    assert_eq!(world.records(), Err(Failure::NoData));
    world.sent();
    world.now = 300 * SECOND;
    world
        .resolver
        .look_up(Question::ipv4("a.test").unwrap(), world.now);
    world
        .resolver
        .look_up(Question::ipv6("a.test").unwrap(), world.now);
    assert_eq!(world.sent().len(), 2);
}

#[test]
fn libevents_settings_keep_nothing() {
    let mut world = World::new(plain(), 1);
    for _ in 0..2 {
        world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
        let query = world.query();
        world.deliver(&query, &query.answer(&[("a.test", ip("192.0.2.1"))]));
        assert!(world.records().is_ok());
    }
}

#[test]
fn a_server_that_is_down_is_probed_until_it_answers() {
    let config = Config {
        attempts: 1,
        max_timeouts: 2,
        ..plain()
    };
    let mut world = World::new(config, 1);
    for _ in 0..2 {
        world
            .resolver
            .look_up(Question::ipv4("a.test").unwrap(), world.now);
        world.sent();
        world.pass();
        assert_eq!(world.records(), Err(Failure::Timeout));
    }
    let down = world.now;
    world.pass();
    assert_eq!(world.query().name, "google.com");
    assert_eq!(world.now, down + 10 * SECOND);
    // No answer: the next one comes after twice the time.
    world.pass();
    let failed = world.now;
    world.pass();
    let probe = world.query();
    assert_eq!(world.now, failed + 20 * SECOND);
    world.deliver(&probe, &probe.refusal(Rcode::NXDOMAIN, None));
    assert_eq!(world.resolver.next_timeout(), None);
}

#[test]
fn servers_take_turns() {
    let mut world = World::new(
        Config {
            newest_server_second: false,
            ..plain()
        },
        3,
    );
    let mut order = Vec::new();
    for _ in 0..4 {
        world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
        let query = world.query();
        order.push(query.transmit.server);
        world.deliver(&query, &query.answer(&[("a.test", ip("192.0.2.1"))]));
    }
    assert_eq!(order, [server(1), server(2), server(3), server(1)]);
}

#[test]
fn a_port_that_nobody_listens_on_is_left_at_once() {
    let mut world = World::new(plain(), 2);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let first = world.query();
    world.resolver.handle_failure(first.transmit.socket, 0);
    let second = world.query();
    assert_ne!(first.transmit.server, second.transmit.server);
}

#[test]
fn names_of_addresses_are_found() {
    for (address, name) in [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        (
            "2001:db8::5",
            "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
        ),
    ] {
        let mut world = World::new(plain(), 1);
        world
            .resolver
            .look_up(Question::reverse(address.parse().unwrap()), 0);
        let query = world.query();
        assert_eq!((query.name.as_str(), query.rtype), (name, Rtype::PTR));
        world.deliver(
            &query,
            &query.answer(&[(name, script::Data::Pointer("host.test"))]),
        );
        let names = Records::Names(vec![Name::parse("host.test").unwrap()]);
        assert_eq!(world.records().unwrap().records, names);
    }
}

#[test]
fn the_whole_look_up_has_a_deadline() {
    let config = Config {
        deadline: Some(std::time::Duration::from_secs(1)),
        ..Config::default()
    };
    // Without a server nothing is ever sent.
    for servers in [0, 1] {
        let mut world = World::new(config.clone(), servers);
        world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
        while world.resolver.is_busy() {
            assert!(world.pass());
        }
        assert_eq!(
            (world.records(), world.now),
            (Err(Failure::Timeout), SECOND)
        );
    }
}

#[test]
fn the_same_seed_sends_the_same() {
    let run = || {
        let mut world = World::new(Config::default(), 2);
        world
            .resolver
            .look_up(Question::ipv4("abcdefgh.test").unwrap(), 0);
        world.pass();
        world.sent()
    };
    assert_eq!(run(), run());
}

#[test]
fn servers_can_be_replaced_while_questions_are_on_their_way() {
    let mut world = World::new(plain(), 2);
    world.resolver.look_up(Question::ipv4("a.test").unwrap(), 0);
    let old = world.query();
    world
        .resolver
        .set_servers(&[server(3), server(2), server(3)], 0);
    let servers: Vec<_> = world.resolver.servers().collect();
    assert_eq!(servers, [server(3), server(2)]);
    world.resolver.look_up(Question::ipv4("b.test").unwrap(), 0);
    assert_eq!(world.query().transmit.server, server(3));
    world.deliver(&old, &old.answer(&[("a.test", ip("192.0.2.1"))]));
    assert!(world.records().is_ok());
}
