//! What the five files of the library define, and what they need.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ferrevent_workbench::{SONAMES, library, run};
use object::{Object as _, ObjectSymbol as _};

const OPENSSL: &str = "libevent_openssl-2.1.so.7";

#[test]
fn the_library_does_not_need_openssl() {
    let library = library().unwrap();
    let needed = needed(&library.join(SONAMES[0]));
    assert!(needed.iter().all(|name| !is_openssl(name)), "{needed:?}");
}

#[test]
fn the_sibling_for_tls_brings_openssl_and_the_library() {
    let library = library().unwrap();
    let needed = needed(&library.join(OPENSSL));
    assert!(needed.iter().any(|name| name == SONAMES[0]), "{needed:?}");
    for name in ["libssl.so.3", "libcrypto.so.3"] {
        assert!(needed.iter().any(|needed| needed == name), "{needed:?}");
    }
}

#[test]
fn siblings_define_nothing_but_the_functions_of_tls() {
    let library = library().unwrap();
    for name in &SONAMES[1..] {
        let defined = defined(&library.join(name));
        if *name == OPENSSL {
            assert_eq!(defined, functions_of("event2/bufferevent_ssl.h"));
        } else {
            assert!(defined.is_empty(), "{name} defines {defined:?}");
        }
    }
}

fn is_openssl(name: &str) -> bool {
    name.starts_with("libssl") || name.starts_with("libcrypto")
}

fn needed(path: &Path) -> Vec<String> {
    let output = run(
        Command::new("readelf").arg("-d").arg(path),
        Duration::from_secs(60),
    )
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| line.contains("(NEEDED)"));
    let names = lines.filter_map(|line| Some(line.split_once('[')?.1.trim_end_matches(']').into()));
    let names: Vec<String> = names.collect();
    assert!(!names.is_empty(), "{text}");
    names
}

fn defined(path: &Path) -> BTreeSet<String> {
    let data = fs::read(path).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let symbols = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition());
    symbols
        .map(|symbol| symbol.name().unwrap().into())
        .collect()
}

fn functions_of(header: &str) -> BTreeSet<String> {
    let table = include_str!("../abi/symbols.tsv");
    let rows = table
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row.get(3) == Some(&header))
        .map(|row| row[0].into())
        .collect()
}
