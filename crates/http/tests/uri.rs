//! What is a URI, and what its parts are. The conformance suite compares many more with libevent.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use ferrevent_http::{BadUri, Conformance, Uri};

#[test]
fn each_bad_part_is_named() {
    for (text, error) in [
        ("1a:b", BadUri::Path),
        ("http://u[@h/", BadUri::UserInfo),
        ("http://::1/", BadUri::Host),
        ("http://[::1/", BadUri::Host),
        ("http://[::g]/", BadUri::Host),
        ("http://[1.2.3.4]/", BadUri::Host),
        ("http://h:65536/", BadUri::Port),
        ("http://h:-1/", BadUri::Port),
        ("http://h:99999999999999999999/", BadUri::Port),
        ("/a b", BadUri::Path),
        ("/%4", BadUri::Path),
        ("/?\u{e4}", BadUri::Query),
        ("/#a#b", BadUri::Fragment),
    ] {
        assert_eq!(Uri::parse(text), Err(error), "{text}");
    }
}

#[test]
fn an_address_of_ipv6_is_one_of_the_rfc() {
    for text in [
        "//[::]",
        "//[1:2:3:4:5:6:7:8]:1",
        "//[::ffff:1.2.3.4]",
        "//[v1F.a:b]",
    ] {
        assert_eq!(Uri::parse(text).unwrap().to_string(), text);
    }
    // libevent takes these.
    for text in ["//[::1:]", "//[::0x1]", "//[::1.2.3.+4]", "//[::1.02.3.4]"] {
        assert_eq!(Uri::parse(text), Err(BadUri::Host), "{text}");
    }
}

#[test]
fn lenient_lets_odd_characters_pass_behind_the_host_only() {
    let uri = Uri::parse_with("http://h/a b?c d#e#f", Conformance::Lenient).unwrap();
    assert_eq!(uri.path(), Some(&b"/a b"[..]));
    assert_eq!(uri.query(), Some(&b"c d"[..]));
    assert_eq!(uri.fragment(), Some(&b"e#f"[..]));
    let bad = Uri::parse_with("http://h h/", Conformance::Lenient);
    assert_eq!(bad, Err(BadUri::Host));
}

#[test]
fn a_path_without_a_slash_cannot_follow_a_host() {
    let mut uri = Uri::new();
    uri.set_path(Some(b"p")).unwrap();
    assert_eq!(uri.join().unwrap(), b"p");
    uri.set_host(Some(b"h")).unwrap();
    assert_eq!(uri.join(), Err(BadUri::Path));
    uri.set_path(None).unwrap();
    assert_eq!(uri.join().unwrap(), b"//h");
}

#[test]
fn a_user_and_a_port_need_a_host() {
    let mut uri = Uri::new();
    uri.set_user_info(Some(b"u")).unwrap();
    uri.set_port(Some(70_000));
    assert_eq!(uri.to_string(), "");
    uri.set_host(Some(b"")).unwrap();
    assert_eq!(uri.to_string(), "//u@:70000");
}
