//! The operations of the buffer, chosen by the fuzzer, against the model of the core's tests.
//!
//! ```text
//! cargo install cargo-fuzz
//! RUSTC_BOOTSTRAP=1 cargo fuzz run buffer -- -max_len=512 -detect_leaks=0            until it finds something
//! RUSTC_BOOTSTRAP=1 cargo fuzz cmin buffer -- -set_cover_merge=1 -use_counters=0      before its corpus is committed
//! ```
//!
//! Leaks of references are found by the model. To look for others after each run takes longer than the run, since the
//! pool of blocks makes the fuzzer suspect one each time. `ASAN_OPTIONS=quarantine_size_mb=8` makes it faster still.
//!
//! The core's test `buffer_model` replays `corpus/buffer` without the fuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/core/tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::run(input));
