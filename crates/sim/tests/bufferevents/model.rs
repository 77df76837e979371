//! What a bufferevent on a socket is to do, written down a second time and as plainly as possible. It knows nothing of
//! descriptors, edges and queues: it is told what the user asked for and what the transport answered.

use std::collections::VecDeque;

use ferrevent_core::driver::Connect;
use ferrevent_core::{Dirs, Options, StreamEvent, Trigger, Watermark};

use crate::due::{Due, Turn};
use crate::shell::{Did, Outcome};

pub(crate) const READ: usize = 0;
const WRITE: usize = 1;
const DIRS: [Dirs; 2] = [Dirs::READ, Dirs::WRITE];
const ECONNREFUSED: i32 = 111;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connecting {
    No,
    Started,
    Done,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) options: Options,
    pub(crate) enabled: Dirs,
    pub(crate) marks: [Watermark; 2],
    pub(crate) timeouts: [u64; 2],
    deadlines: [Option<u64>; 2],
    /// Enabled, not suspended, and with something to do.
    pub(crate) armed: [bool; 2],
    /// When the loop saw that a timeout is over, of which it has not told yet.
    over: [Option<u64>; 2],
    max_single: [Option<usize>; 2],
    full: bool,
    pub(crate) looking_up: bool,
    pub(crate) connecting: Connecting,
    pub(crate) listens: [bool; 3],
    pub(crate) input: VecDeque<u8>,
    pub(crate) output: usize,
    /// Due now, inside the work or the call that caused them.
    pub(crate) now: Due,
    /// Due from the loop, all together.
    pub(crate) later: Due,
    pub(crate) turn: Turn,
    /// Its connection stands since the step that runs now.
    pub(crate) connects: bool,
    /// The read callback is due in the next pass (statement 18).
    pub(crate) again: bool,
    pub(crate) freed: bool,
    pub(crate) references: u32,
    /// How often the event callback heard of the end or an error, of each direction, since it was enabled.
    ends: [u32; 2],
    pub(crate) write_calls: u32,
    pub(crate) eofs: u32,
}

impl Model {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            enabled: Dirs::WRITE,
            marks: [Watermark::default(); 2],
            timeouts: [0; 2],
            deadlines: [None; 2],
            armed: [false; 2],
            over: [None; 2],
            max_single: [None; 2],
            full: false,
            looking_up: false,
            connecting: Connecting::No,
            listens: [true; 3],
            input: VecDeque::new(),
            output: 0,
            now: Due::NONE,
            later: Due::NONE,
            turn: Turn::Over,
            connects: false,
            again: false,
            freed: false,
            references: 1,
            ends: [0; 2],
            write_calls: 0,
            eofs: 0,
        }
    }

    // What the user asks for, at a time.

    pub(crate) fn enable(&mut self, dirs: Dirs, now: u64) {
        self.enabled |= dirs;
        for side in [READ, WRITE] {
            if dirs.contains(DIRS[side]) {
                self.ends[side] = 0;
                if !self.is_suspended(side) {
                    self.arm(side, now);
                }
            }
        }
    }

    pub(crate) fn disable(&mut self, dirs: Dirs) {
        self.enabled -= dirs;
        for side in [READ, WRITE] {
            let attempt = side == WRITE && self.connecting != Connecting::No;
            if dirs.contains(DIRS[side]) && !attempt {
                self.disarm(side);
            }
        }
    }

    pub(crate) fn set_watermark(&mut self, dirs: Dirs, mark: Watermark, now: u64) {
        for side in [READ, WRITE] {
            if dirs.contains(DIRS[side]) {
                self.marks[side] = mark;
            }
        }
        self.weigh(now);
    }

    pub(crate) fn set_timeouts(&mut self, read: Option<u64>, write: Option<u64>, now: u64) {
        self.timeouts = [read.unwrap_or(0), write.unwrap_or(0)];
        self.restart(READ, now);
        self.restart(WRITE, now);
    }

    pub(crate) fn set_max_single(&mut self, dirs: Dirs, max: Option<usize>) {
        for side in [READ, WRITE] {
            if dirs.contains(DIRS[side]) {
                self.max_single[side] = max;
            }
        }
    }

    pub(crate) fn set_listening(&mut self, listens: [bool; 3]) {
        self.listens = listens;
        self.again &= listens[0];
        self.later = self.heard(self.later);
    }

    pub(crate) fn take_input(&mut self, count: usize, now: u64) -> Vec<u8> {
        let bytes = self.input.drain(..count).collect();
        self.weigh(now);
        bytes
    }

    pub(crate) fn add_output(&mut self, count: usize, now: u64) {
        let was_empty = self.output == 0;
        self.output += count;
        if count == 0 || self.is_suspended(WRITE) || !self.enabled.contains(Dirs::WRITE) {
            return;
        }
        if !self.armed[WRITE] {
            self.arm(WRITE, now);
        } else if was_empty && self.connecting == Connecting::No {
            self.restart(WRITE, now);
        }
    }

    pub(crate) fn set_fd(&mut self, valid: bool, now: u64) {
        self.connecting = Connecting::No;
        self.disarm(READ);
        self.disarm(WRITE);
        if valid {
            self.enable(self.enabled, now);
        }
    }

    pub(crate) fn start_connect(&mut self, begun: Connect, now: u64) {
        self.connecting = Connecting::No;
        self.disarm(READ);
        self.disarm(WRITE);
        if begun == Connect::Refused {
            self.disable(Dirs::all());
            let due = Due::event(StreamEvent::ERROR, ECONNREFUSED);
            self.add_later(self.heard(due));
            return;
        }
        self.connecting = match begun {
            Connect::Done => Connecting::Done,
            _ => Connecting::Started,
        };
        if self.enabled.contains(Dirs::READ) && !self.is_suspended(READ) {
            self.arm(READ, now);
        }
        self.arm(WRITE, now);
    }

    pub(crate) fn set_looking_up(&mut self, looking_up: bool, now: u64) {
        let before = [READ, WRITE].map(|side| self.is_suspended(side));
        self.looking_up = looking_up;
        for side in [READ, WRITE] {
            self.suspension_changed(side, before[side], now);
        }
    }

    pub(crate) fn trigger(&mut self, dirs: Dirs, how: Trigger) {
        let ignore = how.contains(Trigger::IGNORE_WATERMARKS);
        let due = Due {
            read: dirs.contains(Dirs::READ) && (ignore || self.input.len() >= self.marks[READ].low),
            write: dirs.contains(Dirs::WRITE) && (ignore || self.output <= self.marks[WRITE].low),
            ..Due::NONE
        };
        self.emit(due, how.contains(Trigger::DEFER));
    }

    pub(crate) fn trigger_event(&mut self, event: StreamEvent, error: i32, how: Trigger) {
        self.emit(Due::event(event, error), how.contains(Trigger::DEFER));
    }

    pub(crate) fn free(&mut self) {
        self.freed = true;
        self.references -= 1;
        self.set_listening([false; 3]);
        self.disarm(READ);
        self.disarm(WRITE);
    }

    // What the loop does.

    /// The loop is about to wait; `idle`: nothing is left in its queues.
    pub(crate) fn waiting(&mut self, until: Option<u64>, now: u64, idle: bool) {
        for side in [READ, WRITE] {
            let Some(deadline) = self.deadlines[side] else {
                continue;
            };
            let late = self.over[side].is_some() && idle;
            assert!(!late, "a timeout is late at {now}: {self:?}");
            let early = until.is_some_and(|until| until <= deadline);
            assert!(
                early || !idle,
                "a wait at {now} until {until:?} oversleeps {deadline}: {self:?}"
            );
        }
        if idle {
            assert_eq!(self.later, Due::NONE, "a deferred callback was forgotten");
        }
    }

    /// The wait is over, at `now`.
    pub(crate) fn waited(&mut self, now: u64) {
        for side in [READ, WRITE] {
            if self.over[side].is_none() && self.deadlines[side].is_some_and(|time| time <= now) {
                self.over[side] = Some(now);
            }
        }
        if std::mem::take(&mut self.again) {
            self.later.read = true;
        }
    }

    /// What was moved has the content `bytes`; `core_enabled` is what the core says.
    pub(crate) fn did(&mut self, did: Did, bytes: &[u8], now: u64, core_enabled: Dirs) {
        assert!(!self.freed, "work for the dead");
        match did {
            Did::Read { limit, outcome } => self.did_read(limit, outcome, bytes, now),
            Did::Write { limit, outcome } => self.did_write(limit, outcome, now),
            Did::FinishConnect { outcome } => {
                assert_eq!(self.connecting, Connecting::Started);
                self.attempt(WRITE);
                match outcome {
                    Outcome::Failed(error) => {
                        self.connecting = Connecting::No;
                        self.disarm(READ);
                        self.disarm(WRITE);
                        self.emit(Due::event(StreamEvent::ERROR, error), false);
                    }
                    _ => self.connected(now),
                }
            }
            Did::Call => self.did_call(now, core_enabled),
            Did::CallDeferred => {
                assert_ne!(self.later, Due::NONE, "deferred callbacks are due");
                self.turn = Turn::Connected;
            }
        }
    }

    fn did_read(&mut self, limit: usize, outcome: Outcome, bytes: &[u8], now: u64) {
        self.attempt(READ);
        assert!(self.enabled.contains(Dirs::READ), "reading is enabled");
        assert!(!self.is_suspended(READ), "reading is not suspended");
        assert_eq!(self.connecting, Connecting::No, "it is connected");
        assert!(self.max_single[READ].is_none_or(|max| limit <= max));
        let high = self.marks[READ].high;
        assert!(
            high == 0 || self.input.len() + limit <= high,
            "the high mark"
        );
        match outcome {
            Outcome::Bytes(0) => self.fail(READ, StreamEvent::EOF, 0),
            Outcome::Bytes(count) => {
                assert_eq!(bytes.len(), count);
                self.input.extend(bytes);
                self.restart(READ, now);
                self.weigh(now);
                let read = self.input.len() >= self.marks[READ].low;
                self.emit(Due { read, ..Due::NONE }, false);
            }
            Outcome::Nothing => {}
            Outcome::Failed(error) => self.fail(READ, StreamEvent::ERROR, error),
        }
    }

    fn did_write(&mut self, limit: usize, outcome: Outcome, now: u64) {
        self.attempt(WRITE);
        assert!(self.enabled.contains(Dirs::WRITE), "writing is enabled");
        assert!(!self.is_suspended(WRITE), "writing is not suspended");
        assert_eq!(self.connecting, Connecting::No, "it is connected");
        assert!(self.max_single[WRITE].is_none_or(|max| limit <= max));
        match outcome {
            Outcome::Bytes(count) => {
                assert!(count <= limit);
                self.output -= count;
                if self.output == 0 {
                    self.disarm(WRITE);
                } else {
                    self.restart(WRITE, now);
                }
                let write = self.output <= self.marks[WRITE].low;
                self.emit(Due { write, ..Due::NONE }, false);
            }
            Outcome::Nothing => {}
            Outcome::Failed(error) => self.fail(WRITE, StreamEvent::ERROR, error),
        }
    }

    /// The core calls back without a transfer. Why, is to be seen from what it has disabled.
    fn did_call(&mut self, now: u64, core_enabled: Dirs) {
        for side in [READ, WRITE] {
            // A connect timeout comes also while writing is disabled.
            let passed = self.over[side].is_some();
            let disabled = self.enabled.contains(DIRS[side]) && !core_enabled.contains(DIRS[side]);
            let attempt = side == WRITE && self.connecting == Connecting::Started;
            if !(disabled || passed && attempt) {
                continue;
            }
            assert!(passed, "a timeout is early");
            self.disable(DIRS[side]);
            self.deadlines[side] = None;
            self.over[side] = None;
            let event = [StreamEvent::READING, StreamEvent::WRITING][side];
            self.emit(Due::event(event | StreamEvent::TIMEOUT, 0), false);
            return;
        }
        if self.connecting == Connecting::Done {
            self.connected(now);
            return;
        }
        assert_eq!(self.output, 0, "a write callback without a write");
        assert!(self.armed[WRITE], "writing was enabled since");
        self.disarm(WRITE);
        let write = true;
        self.emit(Due { write, ..Due::NONE }, false);
    }

    // The rules.

    fn is_suspended(&self, side: usize) -> bool {
        self.looking_up || side == READ && self.full
    }

    fn weigh(&mut self, now: u64) {
        let before = self.is_suspended(READ);
        let high = self.marks[READ].high;
        self.full = high != 0 && self.input.len() >= high;
        self.suspension_changed(READ, before, now);
    }

    fn suspension_changed(&mut self, side: usize, before: bool, now: u64) {
        match (before, self.is_suspended(side)) {
            (false, true) => self.disarm(side),
            (true, false) if self.enabled.contains(DIRS[side]) => self.arm(side, now),
            _ => {}
        }
    }

    fn arm(&mut self, side: usize, now: u64) {
        self.armed[side] = true;
        self.restart(side, now);
    }

    fn disarm(&mut self, side: usize) {
        self.armed[side] = false;
        self.deadlines[side] = None;
        self.over[side] = None;
    }

    /// The transport is tried. If the timeout was over by then, being ready wins, even if it turns out to be nothing.
    fn attempt(&mut self, side: usize) {
        if let Some(over) = self.over[side] {
            self.restart(side, over);
        }
    }

    /// A timeout runs while there is something to wait for.
    fn restart(&mut self, side: usize, now: u64) {
        let idle = side == WRITE && self.output == 0 && self.connecting == Connecting::No;
        let runs = self.timeouts[side] > 0 && self.armed[side] && !idle;
        self.deadlines[side] = runs.then(|| now + self.timeouts[side]);
        self.over[side] = None;
    }

    fn connected(&mut self, now: u64) {
        self.connecting = Connecting::No;
        let may_write = self.enabled.contains(Dirs::WRITE) && !self.is_suspended(WRITE);
        if may_write && self.output > 0 {
            self.restart(WRITE, now);
        } else {
            self.disarm(WRITE);
        }
        self.connects = true;
        self.emit(Due::event(StreamEvent::CONNECTED, 0), false);
    }

    /// The event callback has returned, which was told `CONNECTED` at once.
    pub(crate) fn connected_returned(&mut self) {
        let idle = self.armed[WRITE] && self.output == 0 && self.connecting == Connecting::No;
        if self.connects && idle {
            self.disarm(WRITE);
        }
    }

    fn fail(&mut self, side: usize, event: StreamEvent, error: i32) {
        self.ends[side] += 1;
        assert_eq!(self.ends[side], 1, "told once for each time it is enabled");
        self.disable(DIRS[side]);
        let direction = [StreamEvent::READING, StreamEvent::WRITING][side];
        self.emit(Due::event(event | direction, error), false);
    }
}
