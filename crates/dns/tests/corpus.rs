//! Replays what the fuzzer has found worth keeping (`fuzz/corpus/dns_*`).

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod fuzzed;

use std::fs;
use std::path::Path;

#[test]
fn hostile_replies_end_every_look_up() {
    replay("dns_replies", fuzzed::replies);
}

#[test]
fn hostile_requests_get_whole_replies_or_none() {
    replay("dns_requests", fuzzed::requests);
}

#[test]
fn hostile_files_are_read() {
    replay("dns_files", fuzzed::files);
}

fn replay(name: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut count = 0;
    for entry in fs::read_dir(corpus.join(name)).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        // Should it fail, this says on what.
        println!("{}", path.display());
        run(&input);
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}
