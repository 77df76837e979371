//! HTTP: `answers` of the tests' module `fuzzed`. `crates/http/tests/corpus.rs` replays `corpus/http_answers` without the fuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../crates/http/tests/fuzzed/mod.rs"]
mod fuzzed;

fuzz_target!(|input: &[u8]| fuzzed::answers(input));
