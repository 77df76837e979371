//! Whatever the bytes are: nothing panics, and what was parsed says the same when it is put together again.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use ferrevent_http::percent::{self, Plus, Space};
use ferrevent_http::{Conformance, Uri, header, html, query};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes, most of them those that URIs are made of.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let marks: &[u8] = b"/?#:@[]%&=+.v123aF~ \r\n\0";
    let byte = prop_oneof![
        6 => prop::sample::select(marks),
        1 => any::<u8>(),
    ];
    vec(byte, 0..40)
}

/// References as they should be, or nearly.
fn reference() -> impl Strategy<Value = Vec<u8>> {
    let pattern = "([a-z][a-z0-9+.-]{0,4}:)?(//([a-z:%@]{0,5}@)?([a-z0-9.]{0,6}|\\[[0-9a-f:.]{1,9}\\])(:[0-9]{0,6})?)?\
                   (/?[a-z:%20/]{0,8})(\\?[a-z=&+/?]{0,8})?(#[a-z?/#]{0,8})?";
    pattern.prop_map(String::into_bytes)
}

proptest! {
    #[test]
    fn a_uri_that_was_parsed_is_the_same_when_it_is_parsed_again(
        text in prop_oneof![text(), reference()],
        lenient in any::<bool>(),
    ) {
        let conformance = if lenient { Conformance::Lenient } else { Conformance::Strict };
        let Ok(uri) = Uri::parse_with(&text, conformance) else {
            return Ok(());
        };
        let joined = uri.join().unwrap();
        prop_assert_eq!(&Uri::parse_with(&joined, conformance), &Ok(uri));
        // Only the port may have been written in another way.
        let without_ports = |text: &[u8]| -> Vec<u8> {
            let plain = |byte: &&u8| !byte.is_ascii_digit() && **byte != b':';
            text.iter().filter(plain).copied().collect()
        };
        prop_assert_eq!(without_ports(&joined), without_ports(&text));
    }

    #[test]
    fn strict_is_a_part_of_lenient(text in prop_oneof![text(), reference()]) {
        if let Ok(strict) = Uri::parse(&text) {
            prop_assert!(strict.to_string().is_ascii());
            let lenient = Uri::parse_with(&text, Conformance::Lenient).unwrap();
            prop_assert_eq!(lenient.join(), strict.join());
        }
    }

    #[test]
    fn a_part_that_is_refused_changes_nothing(part in text()) {
        let original = Uri::parse("a://b@c:1/d?e#f").unwrap();
        let part = Some(&part[..]);
        for set in [
            Uri::set_scheme,
            Uri::set_user_info,
            Uri::set_host,
            Uri::set_path,
            Uri::set_query,
            Uri::set_fragment,
        ] {
            let mut uri = original.clone();
            if set(&mut uri, part).is_err() {
                prop_assert_eq!(uri, original.clone());
            }
        }
    }

    #[test]
    fn what_was_encoded_is_decoded(text in vec(any::<u8>(), 0..40)) {
        let percent = percent::encode(&text, Space::Percent);
        prop_assert_eq!(percent::decode(percent.as_bytes(), Plus::Plus), &text[..]);
        prop_assert_eq!(percent::decode(percent.as_bytes(), Plus::SpaceInQuery), &text[..]);
        let plus = percent::encode(&text, Space::Plus);
        prop_assert_eq!(percent::decode(plus.as_bytes(), Plus::Space), &text[..]);
    }

    #[test]
    fn a_query_that_was_put_together_is_taken_apart(
        pairs in vec(("[a-z%.]{1,5}", vec(1..=u8::MAX, 0..9)), 0..5)
    ) {
        let texts: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", percent::encode(value, Space::Plus)))
            .collect();
        let text = texts.join("&");
        let parsed = query::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(parsed.len(), pairs.len());
        for (parsed, (name, value)) in parsed.iter().zip(&pairs) {
            prop_assert_eq!(parsed.name, name.as_bytes());
            prop_assert_eq!(&parsed.value, value);
        }
    }

    #[test]
    fn any_bytes_are_taken(text in text()) {
        let _ = query::parse(&text);
        for plus in [Plus::Plus, Plus::Space, Plus::SpaceInQuery] {
            prop_assert!(percent::decode(&text, plus).len() <= text.len());
        }
        prop_assert!(!html::escape(&text).iter().any(|byte| b"<>\"'".contains(byte)));
        prop_assert!(!header::is_name(&text) || header::is_value(&text));
    }
}
