//! Random situations, and a stage for them.
//!
//! `FERREVENT_SEEDS` is the number of situations, `FERREVENT_SEED` runs a single one.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::io;

use ferrevent::{Buffer, Mode, Progress, Stage};

/// Plays the situation of every seed, on all processors.
pub(crate) fn every_seed(play: impl Fn(u64) + Sync) {
    if let Ok(seed) = std::env::var("FERREVENT_SEED") {
        return play(seed.parse().unwrap());
    }
    let seeds: u64 = std::env::var("FERREVENT_SEEDS").map_or(10_000, |n| n.parse().unwrap());
    let next = std::sync::atomic::AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let blame = Blame(seed);
                    play(seed);
                    std::mem::forget(blame);
                }
            });
        }
    });
}

/// Names the seed if it is dropped, which only a panic does.
struct Blame(u64);

impl Drop for Blame {
    fn drop(&mut self) {
        eprintln!("the failed seed: FERREVENT_SEED={}", self.0);
    }
}

/// The byte at this place of a stream.
fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}

pub(crate) fn bytes_from(start: usize, count: usize, mask: u8) -> Vec<u8> {
    (start..start + count)
        .map(|place| byte_at(place) ^ mask)
        .collect()
}

/// Masks each byte, in whole blocks; what is left of one waits for more, or for a flush.
pub(crate) struct Blocks {
    pub(crate) mask: u8,
    pub(crate) size: usize,
}

impl Blocks {
    fn run(&self, from: &mut Buffer, to: &mut Buffer, mode: Mode, limit: usize) -> Progress {
        let whole = match mode {
            Mode::Normal => from.len() / self.size * self.size,
            Mode::Flush | Mode::Finished => from.len(),
        };
        // No more than a piece at a time, so that it is run several times; never more than it may.
        let mut piece = vec![0; whole.min(limit).min(1500)];
        let n = from.remove(&mut piece).unwrap();
        for byte in &mut piece[..n] {
            *byte ^= self.mask;
        }
        to.append(&piece[..n]).unwrap();
        if n > 0 {
            Progress::Made
        } else {
            Progress::NeedMore
        }
    }
}

impl Stage for Blocks {
    fn inbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        Ok(self.run(from, to, mode, limit))
    }

    fn outbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        Ok(self.run(from, to, mode, limit))
    }
}
