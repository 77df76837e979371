//! Three buffers against three vectors: every operation, sizes across all chunk borders, freezes, reservations, change
//! reports, references.
//!
//! The runs are the same each time; `FERREVENT_SEEDS` says how many there are (200). A failure names its seed, which
//! `FERREVENT_SEED` runs alone.

mod model;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use model::World;

const OPERATIONS: usize = 100_000;
/// Between two looks at everything. Each operation's own answer is always checked.
const EVERY: usize = 32;
const THREADS: usize = 2;

/// Says which run has failed.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in {}", self.0);
        }
    }
}

#[test]
fn buffers_behave_like_vectors() {
    if let Some(seed) = number("FERREVENT_SEED") {
        return run_seed(seed);
    }
    let seeds = number("FERREVENT_SEEDS").unwrap_or(200);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    run_seed(seed);
                }
            });
        }
    });
}

/// What the fuzzer has found worth keeping: each file is one run.
#[test]
fn the_corpus_of_the_fuzzer_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/buffer");
    let mut runs = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus") {
        let path = entry.expect("a file").path();
        let _named = Named(path.display().to_string());
        model::run(&std::fs::read(&path).expect("its content"));
        runs += 1;
    }
    assert!(runs > 0, "the corpus is empty");
}

fn run_seed(seed: u64) {
    let _named = Named(format!("seed {seed}"));
    let mut world = World::new();
    let mut random = Random(seed);
    let mut bytes = vec![0; 16 << 10];
    let mut count = 0;
    while count < OPERATIONS {
        for eight in bytes.chunks_exact_mut(8) {
            eight.copy_from_slice(&random.next().to_le_bytes());
        }
        count += world.run(&bytes, EVERY, usize::MAX);
    }
    world.finish();
}

/// The generator called SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
