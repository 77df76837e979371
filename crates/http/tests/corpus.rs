//! Replays what the fuzzer has found worth keeping (`fuzz/corpus/http_*`), and tries some thousands of inputs of its
//! own.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod fuzzed;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn hostile_requests_are_read_within_the_limits() {
    replay("http_requests", fuzzed::requests);
}

#[test]
fn hostile_answers_end_every_request() {
    replay("http_answers", fuzzed::answers);
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

proptest! {
    #[test]
    fn any_bytes_are_taken(input in vec(any::<u8>(), 0..300)) {
        fuzzed::requests(&input);
        fuzzed::answers(&input);
    }
}
