//! The short path of a write to a pair is one: whatever is done with the two ends, its outcome is that of the long one.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::convert::Infallible;

use ferrevent_core::driver::Features;
use ferrevent_core::{
    Callbacks, Core, Dirs, Host, Io, LoopFlags, Mode, NoPlaces, Options, Step, StreamKey, Watermark,
};

#[derive(Debug)]
struct Ids;

impl Host for Ids {
    type Event = ();
    /// Which end.
    type Stream = usize;
    type Task = ();
    type Block = Infallible;
    type Slots = NoPlaces;
    type Clocks = NoPlaces;
}

/// A pair, and a shell that keeps lengths only.
struct Pair {
    core: Core<Ids>,
    keys: [StreamKey; 2],
    input: [usize; 2],
    output: [usize; 2],
    /// Which callbacks the program has.
    hears: [[bool; 2]; 2],
    /// It takes the short path where it may.
    direct: bool,
    /// How often it did.
    taken: usize,
}

impl Pair {
    fn new(direct: bool) -> Self {
        let mut core = Core::new(Features::EDGE);
        let keys = core.new_pair([0, 1], Options::empty()).unwrap();
        Self {
            core,
            keys,
            input: [0; 2],
            output: [0; 2],
            hears: [[false; 2]; 2],
            direct,
            taken: 0,
        }
    }

    fn listen(&mut self, end: usize) {
        let [read, write] = self.hears[end];
        self.core.set_listening(self.keys[end], read, write, true);
    }

    fn write(&mut self, end: usize, count: usize) {
        self.output[end] += count;
        let key = self.keys[end];
        if self.direct
            && let Some((target, other)) = self.core.direct_target(key)
        {
            assert_eq!((target, other), (self.keys[1 - end], 1 - end));
            self.input[other] += std::mem::take(&mut self.output[end]);
            let (write, read) = (self.hears[end][1], self.hears[other][0]);
            self.core
                .handle_moved_directly((key, 0, write), (target, self.input[other], read));
            self.taken += 1;
            return;
        }
        self.core.output_changed(key, self.output[end], count);
        self.work();
    }

    fn drain(&mut self, end: usize, count: usize) {
        self.input[end] -= count.min(self.input[end]);
        let (key, len) = (self.keys[end], self.input[end]);
        if !(self.direct && self.core.input_changed_only(key, len)) {
            self.core.input_changed(key, len);
        }
        self.work();
    }

    /// Moves what is due.
    fn work(&mut self) {
        while self.core.has_due() {
            for work in self.core.take_due() {
                self.work_on(work.key, work.cookie, work.io);
            }
        }
    }

    fn work_on(&mut self, key: StreamKey, end: usize, io: Io) {
        let Io::Move { limit } = io else {
            panic!("{io:?}")
        };
        let (_, other) = self.core.move_target(key).unwrap();
        let moved = limit.min(self.output[end]);
        self.output[end] -= moved;
        self.input[other] += moved;
        self.listen(end);
        self.listen(other);
        self.core
            .handle_moved(key, moved, self.output[end], self.input[other]);
    }

    /// One pass of the loop: what is called.
    fn pass(&mut self) -> Vec<(usize, Callbacks)> {
        let mut called = Vec::new();
        assert!(self.core.begin_loop(LoopFlags::NONBLOCK));
        loop {
            match self.core.step() {
                Step::Wait { .. } => self.core.wait_done(Some(0)),
                Step::Stream(work) if work.io == Io::CallDeferred => {
                    while let Some(callbacks) = self.core.next_deferred(work.key) {
                        called.push((work.cookie, callbacks));
                    }
                }
                Step::Stream(work) => self.work_on(work.key, work.cookie, work.io),
                Step::Done(_) => return called,
                step => panic!("{step:?}"),
            }
        }
    }

    fn act(&mut self, what: u64, end: usize, count: usize) {
        let key = self.keys[end];
        match what {
            0..=5 => self.write(end, count),
            6 | 7 => self.drain(end, count),
            8 | 9 => self.core.enable(key, Dirs::READ, None).unwrap(),
            10 => self.core.disable(key, Dirs::READ),
            11 => self.core.enable(key, Dirs::WRITE, None).unwrap(),
            12 => self.core.disable(key, Dirs::WRITE),
            13 => {
                self.hears[end] = [count.is_multiple_of(2), count.is_multiple_of(3)];
                self.listen(end);
            }
            14 => {
                let (low, high) = (count % 50, count % 400);
                let dirs = [Dirs::READ, Dirs::WRITE][count % 2];
                self.core.set_watermark(key, dirs, Watermark { low, high });
            }
            _ => {
                self.core.flush(key, Dirs::WRITE, Mode::Finished, true);
            }
        }
        self.work();
    }
}

#[test]
fn a_direct_move_does_what_a_queued_one_does() {
    let mut taken = 0;
    for seed in 1..500_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % below
        };
        let mut pairs = [Pair::new(false), Pair::new(true)];
        // Marks and ends are seldom, as they close the short path for good, or say nothing new about it.
        let kinds = [14, 15, 16][random(3) as usize];
        for step in 0..200 {
            let (what, end) = (random(kinds), random(2) as usize);
            let count = 1 + random(300) as usize;
            for pair in &mut pairs {
                pair.act(what, end, count);
            }
            let [long, short] = &pairs;
            let place = format!("seed {seed}, step {step}");
            assert_eq!(long.input, short.input, "{place}");
            assert_eq!(long.output, short.output, "{place}");
            if random(4) == 0 {
                let [long, short] = &mut pairs;
                assert_eq!(long.pass(), short.pass(), "{place}");
            }
        }
        for key in 0..2 {
            for dir in [Dirs::READ, Dirs::WRITE] {
                let [long, short] = [0, 1].map(|i| {
                    let stream = pairs[i].core.stream(pairs[i].keys[key]).unwrap();
                    (stream.is_armed(dir), stream.enabled())
                });
                assert_eq!(long, short, "seed {seed}");
            }
        }
        taken += pairs[1].taken;
    }
    assert!(taken > 3000, "the short path was taken {taken} times only");
}
