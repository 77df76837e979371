//! `resolv.conf`, hosts files and options, as leniently read as libevent reads them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod script;

use std::time::Duration;

use ferrevent_dns::{
    BadOption, ConfParts, Config, Hosts, Name, ResolvConf, domain, server_address,
};
use script::World;

fn names(list: &[&str]) -> Vec<Name> {
    list.iter().map(|name| Name::parse(name).unwrap()).collect()
}

#[test]
fn a_file_is_read_line_by_line() {
    let text =
        b"  nameserver\t1.2.3.4  \n nameserver [::2]:5\n#nameserver 9.9.9.9\n;nameserver 9.9.9.8\n\
        nameserver 8.8.8.8 7.7.7.7\nNAMESERVER 6.6.6.6\nnameserver\nsearch a.test  b.test\tc.test\n\
        options attempts:1 ndots:0 foo\nsortlist x";
    let conf = ResolvConf::parse(text);
    assert_eq!(conf.servers, [&b"1.2.3.4"[..], b"[::2]:5", b"8.8.8.8"]);
    assert_eq!(conf.search, Some(names(&["a.test", "b.test", "c.test"])));
    let options: Vec<_> = conf
        .options
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(options, [("attempts", "1"), ("ndots", "0"), ("foo", "")]);
}

#[test]
fn the_last_search_list_counts() {
    for (text, expected) in [
        ("search a.test b.test\ndomain d.test\n", &["d.test"][..]),
        (
            "domain d.test\nsearch .a.test a..b b.test\n",
            &["a.test", "b.test"],
        ),
        ("search a.test\nsearch\n", &[]),
        ("search a.test\ndomain\n", &["a.test"]),
    ] {
        assert_eq!(
            ResolvConf::parse(text.as_bytes()).search,
            Some(names(expected)),
            "{text}"
        );
    }
    assert_eq!(ResolvConf::parse(b"nameserver ::1").search, None);
}

#[test]
fn only_the_wanted_parts_are_applied() {
    let conf = ResolvConf::parse(b"search a.test\noptions ndots:4 attempts:7 bind-to:127.0.0.9");
    let applied = |parts| {
        let mut world = World::new(Config::libevent(), 0);
        world.resolver.apply(&conf, parts, 0);
        let config = world.resolver.config();
        let search = world.resolver.search_list().count();
        (
            search,
            config.ndots,
            config.attempts,
            config.bind_to.is_some(),
        )
    };
    assert_eq!(applied(ConfParts::empty()), (0, 1, 3, false));
    assert_eq!(applied(ConfParts::SEARCH), (1, 4, 3, false));
    assert_eq!(applied(ConfParts::SERVERS), (0, 1, 3, true));
    assert_eq!(applied(ConfParts::MISC), (0, 1, 7, false));
}

#[test]
fn server_addresses_are_read_in_all_their_forms() {
    for (text, expected) in [
        ("1.2.3.4", Some("1.2.3.4:53")),
        ("1.2.3.4:55", Some("1.2.3.4:55")),
        ("::1", Some("[::1]:53")),
        ("[::1]", Some("[::1]:53")),
        ("[::1]:55", Some("[::1]:55")),
        ("fe80::1%2", Some("[fe80::1%2]:53")),
        ("", None),
        ("1.2.3", None),
        ("1.2.3.4:0", None),
        ("1.2.3.4:99999", None),
        ("[::1", None),
        ("name", None),
    ] {
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(server_address(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn options_take_what_libevents_take() {
    let all = ConfParts::all();
    let mut config = Config::libevent();
    for (name, value, fits) in [
        ("ndots", "", true),
        ("ndots:", "-1", false),
        ("ndots:", "3x", false),
        ("timeout:", "", false),
        ("timeout:", "0", false),
        ("timeout:", "-1", false),
        ("timeout:", "0.0009", false),
        ("timeout:", "nan", false),
        ("timeout:", "inf", true),
        ("timeout:", "1e300", true),
        ("timeout:", " 0.001", true),
        ("timeout:", "1 ", false),
        ("timeout:", "0.5", true),
        ("ndots:", " +3", true),
        ("ndots:", "+", false),
        ("ndots:", " ", false),
        ("ndots:", "-0", true),
        ("max-timeouts:", "0", true),
        ("max-inflight:", "99999999999", true),
        ("attempts:", "1000", true),
        ("randomize-case:", "0", true),
        ("bind-to:", "x", false),
        ("bind-to:", "127.0.0.1", true),
        ("initial-probe-timeout:", "99999", true),
        ("getaddrinfo-allow-skew:", "x", false),
        ("so-rcvbuf:", "4096", true),
        ("edns-udp-size:", "x", true),
        ("edns-udp-size:", "4096", true),
        ("unknown:", "x", true),
    ] {
        let expected = if fits { Ok(()) } else { Err(BadOption) };
        assert_eq!(
            config.set_option(name, value, all),
            expected,
            "{name} {value}"
        );
    }
    assert_eq!(config.ndots, 0);
    assert_eq!(config.timeout, Duration::from_millis(500));
    assert_eq!((config.max_timeouts, config.attempts), (1, 255));
    assert_eq!(config.max_inflight, 65000);
    assert!(!config.randomize_case);
    assert_eq!(config.initial_probe, Duration::from_secs(3600));
    assert_eq!(config.receive_buffer, Some(4096));
    assert_eq!(config.edns_udp_size, 4096);
}

#[test]
fn hosts_are_known_by_all_their_names() {
    let mut hosts = Hosts::default();
    hosts.add_file(
        b"10.0.0.1 one ONE.test#x two\n10.0.0.1 one\n10.0.0.6:80 port\n10.0.0.7\n::7 one",
    );
    let addresses = |name| hosts.addresses(&Name::parse(name).unwrap()).len();
    assert_eq!(addresses("One"), 2);
    assert_eq!(addresses("one.test"), 1);
    assert_eq!(addresses("two") + addresses("port"), 0);
    hosts.clear();
    hosts.add_localhost();
    assert_eq!(hosts.addresses(&Name::parse("localhost").unwrap()).len(), 2);
}

#[test]
fn domains_may_begin_with_dots() {
    assert_eq!(domain(b"..a.test"), Name::parse("a.test").ok());
    assert_eq!(domain(b"."), None);
    assert_eq!(domain(b""), None);
}
