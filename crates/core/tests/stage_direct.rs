//! The short path of stages is one: whatever is done with filters over the two ends of a pair, its outcome is that of the
//! long one.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

use std::convert::Infallible;

use ferrevent_core::driver::Features;
use ferrevent_core::{
    AfterProcess, Callbacks, Core, Dirs, Host, Io, LoopFlags, Mode, NoPlaces, Options, Processed,
    StageKind, Step, StreamKey, Watermark,
};

#[derive(Debug)]
struct Ids;

impl Host for Ids {
    type Event = ();
    /// Which of [`Stacks::all`].
    type Stream = usize;
    type Task = ();
    type Block = Infallible;
    type Slots = NoPlaces;
    type Clocks = NoPlaces;
}

/// A bufferevent, of which the shell keeps lengths only.
struct Bev {
    key: StreamKey,
    below: Option<usize>,
    input: usize,
    output: usize,
    hears: [bool; 2],
}

/// The ends of a pair are 0 and 1, the filters on them stand behind.
struct Stacks {
    core: Core<Ids>,
    all: Vec<Bev>,
    /// What filters take at most at a time.
    piece: usize,
    /// What filters say without an effect.
    says: Processed,
    /// Read callbacks send back half of what they get.
    echo: bool,
    called: Vec<(usize, Callbacks)>,
    /// It takes the short path where it may.
    direct: bool,
    /// How often it did: begun outbound, inbound, and ended.
    taken: [usize; 3],
}

impl Stacks {
    /// With so many filters over each end.
    fn new(direct: bool, heights: [usize; 2], options: Options) -> Self {
        let mut core = Core::new(Features::EDGE);
        let ends = core.new_pair([0, 1], Options::empty()).unwrap();
        let bev = |key, below| Bev {
            key,
            below,
            input: 0,
            output: 0,
            hears: [false; 2],
        };
        let mut all = vec![bev(ends[0], None), bev(ends[1], None)];
        for (end, height) in heights.into_iter().enumerate() {
            let mut below = end;
            for _ in 0..height {
                let kind = StageKind::PASSES_EVENTS;
                let key = core.new_stage(all.len(), all[below].key, options, kind, None);
                all.push(bev(key.unwrap(), Some(below)));
                below = all.len() - 1;
            }
        }
        Self {
            core,
            all,
            piece: usize::MAX,
            says: Processed::NeedMore,
            echo: false,
            called: Vec::new(),
            direct,
            taken: [0; 3],
        }
    }

    fn listen(&mut self, at: usize) {
        let [read, write] = self.all[at].hears;
        self.core
            .set_listening(self.all[at].key, read, write, read || write);
    }

    fn is_carrying(&self, at: usize) -> bool {
        self.core.above(self.all[at].key).is_some()
    }

    fn output_grew(&mut self, at: usize, added: usize) {
        let (key, len) = (self.all[at].key, self.all[at].output);
        if self.direct
            && at < 2
            && let Some((target, other)) = self.core.direct_target(key)
        {
            let moved = std::mem::take(&mut self.all[at].output);
            self.all[other].input += moved;
            let (write, read) = (self.all[at].hears[1], self.all[other].hears[0]);
            let input = self.all[other].input;
            self.core
                .handle_moved_directly((key, 0, write), (target, input, read));
        } else if self.direct && at >= 2 && self.core.begin_directly(key, len) {
            self.taken[0] += 1;
            self.process(at, Dirs::WRITE, None);
        } else {
            self.core.output_changed(key, len, added);
        }
        self.work();
    }

    fn input_changed(&mut self, at: usize) {
        let (key, len) = (self.all[at].key, self.all[at].input);
        if !(self.direct && self.core.input_changed_only(key, len)) {
            self.core.input_changed(key, len);
        }
        self.work();
    }

    fn output_shrank(&mut self, at: usize) {
        let (key, len) = (self.all[at].key, self.all[at].output);
        if !(self.direct && self.core.output_drained_only(key, len)) {
            self.core.output_changed(key, len, 0);
        }
        self.work();
    }

    /// Does what is due.
    fn work(&mut self) {
        while self.core.has_due() {
            for work in self.core.take_due() {
                self.work_on(work.key, work.cookie, work.io);
            }
        }
    }

    fn work_on(&mut self, key: StreamKey, at: usize, io: Io) {
        match io {
            Io::Move { limit } => {
                let (_, other) = self.core.move_target(key).unwrap();
                let moved = limit.min(self.all[at].output);
                self.all[at].output -= moved;
                self.all[other].input += moved;
                self.listen(at);
                self.listen(other);
                let (output, input) = (self.all[at].output, self.all[other].input);
                self.core.handle_moved(key, moved, output, input);
                self.work();
            }
            Io::Process { dir, limit, .. } => self.process(at, dir, limit),
            Io::Announce(callbacks) => {
                self.call(at, callbacks);
                self.core.work_done(key);
                self.work();
            }
            io => panic!("{io:?}"),
        }
    }

    fn process(&mut self, at: usize, dir: Dirs, mut limit: Option<usize>) {
        let key = self.all[at].key;
        loop {
            let processed = self.filter(at, dir, limit);
            let calls = self.all[at].hears[usize::from(dir == Dirs::WRITE)];
            let ended = match self.direct {
                true => self.core.end_directly(key, dir, processed, calls),
                false => None,
            };
            let after = match ended {
                Some(callbacks) => {
                    self.taken[2] += 1;
                    AfterProcess::Call(callbacks)
                }
                None => {
                    self.listen(at);
                    self.core.handle_processed(key, dir, processed)
                }
            };
            match after {
                AfterProcess::Again { limit: next } => limit = next,
                AfterProcess::Call(callbacks) => {
                    if ended.is_none() || !callbacks.is_empty() {
                        self.work();
                        self.call(at, callbacks);
                        self.core.work_done(key);
                    }
                    return self.work();
                }
            }
            self.work();
        }
    }

    /// A filter's function.
    fn filter(&mut self, at: usize, dir: Dirs, limit: Option<usize>) -> Processed {
        let below = self.all[at].below.unwrap();
        let most = limit.unwrap_or(usize::MAX).min(self.piece);
        if dir == Dirs::READ {
            let moved = most.min(self.all[below].input);
            if moved == 0 {
                return self.says;
            }
            self.all[below].input -= moved;
            self.all[at].input += moved;
            self.input_changed(below);
            self.input_changed(at);
        } else {
            let moved = most.min(self.all[at].output);
            if moved == 0 {
                return self.says;
            }
            self.all[at].output -= moved;
            self.all[below].output += moved;
            self.output_shrank(at);
            self.output_grew(below, moved);
        }
        Processed::Some
    }

    fn call(&mut self, at: usize, mut callbacks: Callbacks) {
        // What was deferred for a filter that is gone, nobody hears.
        let [read, write] = self.all[at].hears;
        callbacks.read &= read;
        callbacks.write &= write;
        if callbacks.is_empty() {
            return;
        }
        self.called.push((at, callbacks));
        if callbacks.read {
            let before = self.all[at].input;
            if self.echo {
                self.all[at].input = 0;
                self.input_changed(at);
                // Less each time, so that it comes to an end.
                self.all[at].output += before / 2;
                if before > 1 {
                    self.output_grew(at, before / 2);
                }
            }
            self.core.read_callback_done(self.all[at].key, before);
        }
    }

    fn pass(&mut self) {
        assert!(self.core.begin_loop(LoopFlags::NONBLOCK));
        loop {
            match self.core.step() {
                Step::Wait { .. } => self.core.wait_done(Some(0)),
                Step::Stream(work) if work.io == Io::CallDeferred => {
                    if self.direct
                        && let Some((_, stage)) = self.core.begin_deferred_directly(work.key)
                    {
                        self.taken[1] += 1;
                        self.process(stage, Dirs::READ, None);
                        continue;
                    }
                    while let Some(callbacks) = self.core.next_deferred(work.key) {
                        self.call(work.cookie, callbacks);
                    }
                }
                Step::Stream(work) => self.work_on(work.key, work.cookie, work.io),
                Step::Finalize(_) => {}
                Step::Done(_) => return,
                step => panic!("{step:?}"),
            }
        }
    }

    fn act(&mut self, what: u64, at: usize, count: usize) {
        let key = self.all[at].key;
        match what {
            0..=7 if self.is_carrying(at) => {}
            0..=5 => {
                self.all[at].output += count;
                self.output_grew(at, count);
            }
            6 | 7 => {
                let taken = count.min(self.all[at].input);
                self.all[at].input -= taken;
                self.input_changed(at);
            }
            8 | 9 => self.core.enable(key, Dirs::READ, None).unwrap(),
            10 => self.core.disable(key, Dirs::READ),
            11 => self.core.enable(key, Dirs::WRITE, None).unwrap(),
            12 => self.core.disable(key, Dirs::WRITE),
            13 if !self.is_carrying(at) => {
                self.all[at].hears = [!count.is_multiple_of(4), count.is_multiple_of(3)];
                self.listen(at);
            }
            13 => {}
            14 => self.echo = count.is_multiple_of(2),
            15 => {
                self.piece = [usize::MAX, count][count % 2];
                self.says = [Processed::NeedMore, Processed::Some][count % 2];
            }
            16 => {
                let (low, high) = (count % 50, count % 400);
                let dirs = [Dirs::READ, Dirs::WRITE][count % 2];
                self.core.set_watermark(key, dirs, Watermark { low, high });
            }
            17 => {
                let mode = [Mode::Flush, Mode::Finished][count % 2];
                self.core.flush(key, Dirs::WRITE, mode, true);
            }
            _ => {
                self.core.free_stream(key);
            }
        }
        self.work();
    }

    fn state(&self) -> Vec<(usize, usize, Option<[bool; 2]>)> {
        let armed = |bev: &Bev| {
            let stream = self.core.stream(bev.key)?;
            Some([Dirs::READ, Dirs::WRITE].map(|dir| stream.is_armed(dir)))
        };
        let of = |bev: &Bev| (bev.input, bev.output, armed(bev));
        self.all.iter().map(of).collect()
    }
}

#[test]
fn direct_work_of_stages_does_what_queued_work_does() {
    let mut taken = [0; 3];
    let mut called = 0;
    for seed in 1..600_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % below
        };
        let heights = [0, 1].map(|_| [0, 1, 1, 1, 1, 2][random(6) as usize]);
        let options = [Options::empty(), Options::DEFER_CALLBACKS][usize::from(random(4) == 0)];
        let mut stacks = [false, true].map(|direct| Stacks::new(direct, heights, options));
        // Marks, ends and freeing are seldom, as they close the short path for good.
        let kinds = [15, 15, 16, 17, 18, 19][random(6) as usize];
        for step in 0..200 {
            let (what, count) = (random(kinds), 1 + random(300) as usize);
            let at = random(stacks[0].all.len() as u64) as usize;
            let place = format!("seed {seed}, step {step}: {what} on {at} with {count}");
            let passes = random(4) == 0;
            for stacks in &mut stacks {
                stacks.act(what, at, count);
                if passes {
                    stacks.pass();
                }
            }
            let [long, short] = &stacks;
            assert_eq!(long.called, short.called, "{place}");
            assert_eq!(long.state(), short.state(), "{place}");
        }
        called += stacks[1].called.len();
        for (sum, times) in taken.iter_mut().zip(stacks[1].taken) {
            *sum += times;
        }
    }
    assert!(called > 3000, "{called} callbacks only");
    assert!(taken.iter().all(|&times| times > 1000), "{taken:?}");
}

/// As it must be with locks: what is due in one stack is not done by a thread that has another one's lock.
#[test]
fn what_is_left_to_the_loop_is_taken_by_nobody_else() {
    let mut stacks = Stacks::new(false, [1, 0], Options::empty());
    let filter = stacks.all[2].key;
    stacks.core.enable(filter, Dirs::WRITE, None).unwrap();
    stacks.core.output_changed(filter, 5, 5);
    assert!(stacks.core.has_due());
    stacks.core.leave_due();
    assert!(!stacks.core.has_due() && stacks.core.take_due().is_empty());
    assert!(stacks.core.begin_loop(LoopFlags::NONBLOCK));
    let Step::Stream(work) = stacks.core.step() else {
        panic!("the loop has nothing to do");
    };
    assert!(work.key == filter && matches!(work.io, Io::Process { .. }));
    // As a shell does that cannot get the lock.
    stacks.core.leave_work(work);
    assert!(matches!(stacks.core.step(), Step::Stream(again) if again.key == filter));
}
