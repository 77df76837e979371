//! Addresses to connect to: hosts, both families, search lists.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod script;

use std::net::SocketAddr;

use domain::base::Rtype;
use domain::base::iana::Rcode;
use ferrevent_dns::{
    AddressError, AddressList, AddressQuery, Config, Failure, Family, Hosts, LookupResult, Name,
};
use script::{Data, Query, SECOND, World, ip};

fn config() -> Config {
    Config {
        randomize_case: false,
        ..Config::libevent()
    }
}

fn query(host: &str) -> AddressQuery {
    AddressQuery {
        host: Some(host.into()),
        port: 80,
        ..AddressQuery::default()
    }
}

fn result(world: &mut World) -> Option<Result<AddressList, AddressError>> {
    match world.finished()?.1 {
        LookupResult::Addresses(result) => Some(result),
        other => panic!("{other:?}"),
    }
}

fn found(world: &mut World) -> Vec<String> {
    let list = result(world).unwrap().unwrap();
    list.addresses.iter().map(SocketAddr::to_string).collect()
}

fn names(sent: &[Query]) -> Vec<(String, Rtype)> {
    let name = |query: &Query| (query.name.clone(), query.rtype);
    sent.iter().map(name).collect()
}

#[test]
fn an_address_needs_nobody() {
    let mut world = World::new(config(), 1);
    for (host, expected) in [
        ("192.0.2.1", "192.0.2.1:80"),
        ("::1", "[::1]:80"),
        ("fe80::1%3", "[fe80::1%3]:80"),
    ] {
        world.resolver.get_address_info(query(host), 0);
        assert_eq!(found(&mut world), [expected]);
    }
    let mut other = query("192.0.2.1");
    other.family = Family::Ipv6;
    world.resolver.get_address_info(other, 0);
    assert_eq!(result(&mut world), Some(Err(AddressError::NoName)));
    let mut numeric = query("www.test");
    numeric.numeric = true;
    world.resolver.get_address_info(numeric, 0);
    assert_eq!(result(&mut world), Some(Err(AddressError::NoName)));
    assert!(world.sent().is_empty());
}

#[test]
fn without_a_host_it_is_this_machine() {
    let mut world = World::new(config(), 1);
    let mut here = AddressQuery {
        port: 80,
        ..AddressQuery::default()
    };
    world.resolver.get_address_info(here.clone(), 0);
    assert_eq!(found(&mut world), ["127.0.0.1:80", "[::1]:80"]);
    here.passive = true;
    here.family = Family::Ipv4;
    world.resolver.get_address_info(here, 0);
    assert_eq!(found(&mut world), ["0.0.0.0:80"]);
}

#[test]
fn the_hosts_are_asked_first() {
    let mut world = World::new(config(), 1);
    let text = b"10.0.0.1 alpha Alpha2 # beta\n::5 alpha\nbad beta\n10.0.0.5\n 10.0.0.3\tgamma\n";
    world.resolver.hosts_mut().add_file(text);
    for (host, expected) in [
        ("ALPHA", &["10.0.0.1:80", "[::5]:80"][..]),
        ("alpha2", &["10.0.0.1:80"]),
        ("gamma.", &["10.0.0.3:80"]),
    ] {
        world.resolver.get_address_info(query(host), 0);
        assert_eq!(found(&mut world), expected);
    }
    world.resolver.get_address_info(query("beta"), 0);
    assert_eq!(world.sent().len(), 2);
}

#[test]
fn both_families_come_together_and_ipv4_first() {
    let mut world = World::new(config(), 1);
    world.resolver.get_address_info(query("www.test"), 0);
    let sent = world.sent();
    let six = sent[1].answer(&[("www.test", ip("2001:db8::1"))]);
    world.deliver(&sent[1], &six);
    assert_eq!(result(&mut world), None);
    let four = sent[0].answer(&[("www.test", ip("192.0.2.1")), ("www.test", ip("192.0.2.2"))]);
    world.deliver(&sent[0], &four);
    let expected = ["192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"];
    assert_eq!(found(&mut world), expected);
    assert_eq!(world.resolver.next_timeout(), None);
}

#[test]
fn the_second_family_has_a_little_time() {
    let mut world = World::new(config(), 1);
    world.resolver.get_address_info(query("www.test"), 0);
    let sent = world.sent();
    world.deliver(&sent[0], &sent[0].answer(&[("www.test", ip("192.0.2.1"))]));
    world.pass();
    assert_eq!(world.now, 3 * SECOND);
    assert_eq!(found(&mut world), ["192.0.2.1:80"]);
    assert_eq!(world.resolver.next_timeout(), None);
}

/// libevent #1702: the second family used to be looked for under other names of the search list.
#[test]
fn issue_1702_both_families_are_of_one_name_of_the_search_list() {
    let mut world = World::new(config(), 1);
    for domain in ["one.test", "two.test"] {
        let domain = Name::parse(domain).unwrap();
        world.resolver.add_search_domain(domain, false);
    }
    world.resolver.get_address_info(query("www"), 0);
    let sent = world.sent();
    assert_eq!(
        names(&sent),
        [
            ("www.one.test".into(), Rtype::A),
            ("www.one.test".into(), Rtype::AAAA)
        ]
    );
    world.deliver(&sent[1], &sent[1].refusal(Rcode::NOERROR, None));
    assert!(
        world.sent().is_empty(),
        "the other family may still be found here"
    );
    world.deliver(
        &sent[0],
        &sent[0].answer(&[("www.one.test", ip("192.0.2.1"))]),
    );
    assert_eq!(found(&mut world), ["192.0.2.1:80"]);
}

#[test]
fn the_search_goes_on_when_neither_family_is_there() {
    let mut world = World::new(config(), 1);
    world
        .resolver
        .add_search_domain(Name::parse("one.test").unwrap(), false);
    world.resolver.get_address_info(query("www"), 0);
    for query in world.sent() {
        world.deliver(&query, &query.refusal(Rcode::NXDOMAIN, None));
    }
    let sent = world.sent();
    assert_eq!(
        names(&sent),
        [("www".into(), Rtype::A), ("www".into(), Rtype::AAAA)]
    );
    for query in sent {
        world.deliver(&query, &query.refusal(Rcode::NXDOMAIN, None));
    }
    assert_eq!(result(&mut world), Some(Err(AddressError::NoName)));
}

/// libevent #1324: an answer without records led to success with an empty list, and connecting crashed.
#[test]
fn issue_1324_an_empty_answer_is_an_error() {
    let mut world = World::new(config(), 1);
    world.resolver.get_address_info(query("www.test"), 0);
    for query in world.sent() {
        let empty = query.answer(&[]);
        world.deliver(&query, &empty);
    }
    assert_eq!(
        result(&mut world),
        Some(Err(AddressError::Failed(Failure::NoData)))
    );
}

#[test]
fn an_alias_tells_the_canonical_name() {
    let mut world = World::new(config(), 1);
    let mut four = query("www.test");
    four.family = Family::Ipv4;
    world.resolver.get_address_info(four, 0);
    let query = world.query();
    let records = [
        ("b.test", ip("192.0.2.1")),
        ("a.test", Data::Alias("b.test")),
        ("www.test", Data::Alias("a.test")),
    ];
    world.deliver(&query, &query.answer(&records));
    let list = result(&mut world).unwrap().unwrap();
    assert_eq!(list.canonical, Some(Name::parse("b.test").unwrap()));
}

#[test]
fn only_configured_families_are_asked_for() {
    let mut world = World::new(config(), 1);
    world.resolver.set_interfaces(true, false);
    let mut configured = query("www.test");
    configured.configured = true;
    world.resolver.get_address_info(configured.clone(), 0);
    assert_eq!(names(&world.sent()), [("www.test".into(), Rtype::A)]);
    // Nor are those of the hosts, and of this machine, of another.
    world
        .resolver
        .hosts_mut()
        .add_file(b"10.0.0.1 both\n::5 both\n::6 six\n");
    configured.host = Some(b"both".to_vec());
    world.resolver.get_address_info(configured.clone(), 0);
    assert_eq!(found(&mut world), ["10.0.0.1:80"]);
    configured.host = None;
    world.resolver.get_address_info(configured.clone(), 0);
    assert_eq!(found(&mut world), ["127.0.0.1:80"]);
    configured.host = Some(b"six".to_vec());
    world.resolver.get_address_info(configured.clone(), 0);
    assert_eq!(names(&world.sent()), [("six".into(), Rtype::A)]);
    // What is an address needs none of ours.
    configured.host = Some(b"::1".to_vec());
    world.resolver.get_address_info(configured, 0);
    assert_eq!(found(&mut world), ["[::1]:80"]);
}

#[test]
fn the_hosts_addresses_keep_their_scopes() {
    let mut world = World::new(config(), 1);
    let text = b"fe80::1%2 two\n[fe80::1%3] two\nfe80::1%lo lo\n10.0.0.1%2 four\n";
    world.resolver.hosts_mut().add_file(text);
    world.resolver.get_address_info(query("two"), 0);
    assert_eq!(found(&mut world), ["[fe80::1%2]:80", "[fe80::1%3]:80"]);
    let mut hosts = Hosts::default();
    hosts.add_file_with(b"here lo\n", |word| {
        (word == b"here").then(|| "[fe80::1%7]:0".parse().unwrap())
    });
    let lo = Name::parse("lo").unwrap();
    assert_eq!(hosts.addresses(&lo), ["[fe80::1%7]:0".parse().unwrap()]);
    for name in ["lo", "four"] {
        world.resolver.get_address_info(query(name), 0);
        assert_eq!(world.sent().len(), 2, "{name} is not known");
    }
}

#[test]
fn a_name_that_is_none_ends_at_once() {
    let mut world = World::new(config(), 1);
    let long = "a".repeat(64);
    let longer = "abcdefg.".repeat(32);
    for (host, error) in [
        ("", AddressError::NoName),
        ("a..b", AddressError::NoName),
        (".a", AddressError::NoName),
        (long.as_str(), AddressError::TooLong),
        (longer.as_str(), AddressError::TooLong),
    ] {
        world.resolver.get_address_info(query(host), 0);
        assert_eq!(result(&mut world), Some(Err(error)), "{host}");
    }
    assert!(world.sent().is_empty());
    assert_eq!(AddressError::TooLong.code(), -4);
}
