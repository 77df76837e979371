//! The loop, one step at a time.
//!
//! A pass: send what was written since the last one; wait; queue what became ready and what timed out; run the queue of
//! the highest priority that has something.

use std::time::Duration;

use crate::base::{Core, Host, Item, StreamKey, TimerOwner};
use crate::driver::{Readiness, Ready};
use crate::event::Fired;
use crate::flags::{LoopFlags, What};
use crate::run::{Heard, Limits, Phase, Stops};
use crate::stream::{Io, StreamWork};
use crate::users::{User, Who};

/// What the shell is to do next.
#[derive(Debug)]
pub enum Step<H: Host> {
    /// [`sync`](Core::sync), wait, [`handle_ready`](Core::handle_ready), [`wait_done`](Core::wait_done).
    Wait {
        /// Until then at most, on the driver's clock; 0: only look; `None`: for ever. [`timeout_until`] makes it what
        /// [`Driver::wait`](crate::driver::Driver::wait) takes.
        until: Option<u64>,
    },
    /// Call an event's function.
    Event(Fired<H::Event>),
    /// Work on a bufferevent.
    Stream(StreamWork<H::Stream>),
    /// Run something that the shell queued.
    Task(H::Task),
    /// The last reference to a bufferevent is gone: close its descriptor if it was made so, give back its memory.
    Finalize(H::Stream),
    /// The loop has ended.
    Done(LoopEnd),
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopEnd {
    /// It was asked to, or a single pass was wanted.
    Stopped,
    /// Nothing is left to wait for.
    Empty,
}

/// A signal that the base begins or ends to listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalChange {
    /// The first event on it was added.
    Watch(i32),
    /// The last event on it is gone.
    Unwatch(i32),
}

impl<H: Host> Core<H> {
    /// Starts a loop; [`step`](Self::step) runs it. Returns false if one runs already.
    #[must_use]
    pub fn begin_loop(&mut self, flags: LoopFlags) -> bool {
        if self.run.phase != Phase::Idle {
            return false;
        }
        self.run.phase = Phase::Begin;
        self.run.flags = flags;
        self.run.exit = false;
        self.run.stops -= Stops::BROKEN | Stops::CARRY_ON;
        true
    }

    /// Whether a loop runs.
    pub fn is_looping(&self) -> bool {
        self.run.phase != Phase::Idle
    }

    /// Whether the loop is about to wait, or waits: only then does another thread need to wake it.
    pub fn is_waiting(&self) -> bool {
        self.run.phase == Phase::Waiting
    }

    /// Whether the loop is in a pass, where the time stands still.
    pub fn is_running_callbacks(&self) -> bool {
        matches!(self.run.phase, Phase::Process(_) | Phase::Send)
    }

    /// Ends the loop after the callback that runs now (`event_base_loopbreak`).
    pub fn loop_break(&mut self) {
        self.run.stops |= Stops::BROKEN;
    }

    /// Ends this pass after the callback that runs now, and goes on with the next (`event_base_loopcontinue`).
    pub fn loop_continue(&mut self) {
        self.run.stops |= Stops::CARRY_ON;
    }

    /// Ends the loop after the pass in which `delay` nanoseconds have passed; 0: after this pass, or after the first
    /// one of the next loop (`event_base_loopexit`).
    pub fn loop_exit(&mut self, delay: u64) {
        if delay == 0 {
            return self.queue_exit();
        }
        let deadline = self.now.saturating_add(delay);
        self.timers.insert(deadline, TimerOwner::LoopExit);
        self.timed_only += 1;
        self.note_peak();
    }

    /// It has its turn like an event, so that one which a break comes before is not lost.
    pub(crate) fn queue_exit(&mut self) {
        let priority = self.default_priority();
        self.active.push(priority, Item::Exit);
        self.run.yield_to(priority);
        self.note_peak();
    }

    /// Whether the last loop ended by [`loop_exit`](Self::loop_exit).
    pub fn got_exit(&self) -> bool {
        self.run.exit
    }

    /// Whether the last loop ended by [`loop_break`](Self::loop_break).
    pub fn got_break(&self) -> bool {
        self.run.is_broken()
    }

    /// Limits a pass to so many callbacks and so many nanoseconds, for priorities from `from_priority` on.
    pub fn set_dispatch_limits(
        &mut self,
        callbacks: Option<usize>,
        interval: Option<u64>,
        from_priority: usize,
    ) {
        let callbacks = callbacks.unwrap_or(usize::MAX).max(1);
        let limited = callbacks < usize::MAX || interval.is_some();
        self.run.stops.set(Stops::LIMITED, limited);
        self.run.limits = Limits {
            callbacks,
            interval,
            from_priority,
        };
    }

    /// Whether the dispatch interval needs the clock after each callback.
    pub fn wants_clock(&self) -> bool {
        self.run.limits.interval.is_some()
    }

    /// What the shell is to do next.
    #[inline]
    pub fn step(&mut self) -> Step<H> {
        if let Some(fired) = self.step_event() {
            return Step::Event(fired);
        }
        if !self.has_work() {
            // A pass that finds nothing to do takes no other way than this one.
            match self.run.phase {
                Phase::Begin => {
                    if let Some(step) = self.step_begin() {
                        return step;
                    }
                }
                Phase::Ended => return self.end_loop(LoopEnd::Stopped),
                _ => {}
            }
        }
        self.step_whatever()
    }

    /// The next [`step`](Self::step), if it is an event and nothing else has to be looked at: the hot path.
    #[inline(always)]
    pub fn step_event(&mut self) -> Option<Fired<H::Event>> {
        let Phase::Process(priority) = self.run.phase else {
            return None;
        };
        if !self.run.stops.is_empty() || self.has_work() {
            return None;
        }
        let (slot, calls) = self.active.pop_if(priority, |item| match *item {
            Item::Event(slot, calls) => Some((slot, calls)),
            _ => None,
        })?;
        self.run.ran += 1;
        Some(self.fire(slot, calls))
    }

    #[inline(never)]
    fn step_whatever(&mut self) -> Step<H> {
        self.leave_due();
        if let Some(work) = self.left.pop_front() {
            self.run.ran += 1;
            return Step::Stream(work);
        }
        loop {
            let step = match self.run.phase {
                Phase::Idle => Some(Step::Done(LoopEnd::Stopped)),
                Phase::Begin => self.step_begin(),
                Phase::Send => self.step_send(),
                // The shell has not said `wait_done`: it waits again.
                Phase::Waiting => Some(self.begin_wait()),
                Phase::Process(priority) => self.step_process(priority),
                Phase::Ended => Some(self.end_loop(LoopEnd::Stopped)),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// What a wait reported.
    pub fn handle_ready(&mut self, ready: &[Ready]) {
        let trigger = if self.edge { What::EDGE } else { What::empty() };
        for report in ready {
            if let Some(index) = self.fds.reported_event(report.token) {
                self.queue_io(index, happened(report.readiness) | trigger);
                continue;
            }
            // Who came last goes first, as in libevent. Queueing changes no table.
            for index in (0..self.fds.reported(report.token)).rev() {
                match self.fds.user(report.token.fd, index).map(User::who) {
                    Some(Who::Event(index)) => {
                        self.queue_io(index, happened(report.readiness) | trigger);
                    }
                    Some(Who::Stream(index)) => {
                        if let Some(key) = self.streams.key_at(index) {
                            self.stream_ready(key, report.readiness);
                        }
                    }
                    Some(Who::Attempt(index)) => {
                        if let Some(key) = self.streams.key_at(index) {
                            self.attempt_ready(key, report.token.fd);
                        }
                    }
                    None => {}
                }
            }
        }
        self.note_peak();
    }

    /// Whether anything depends on the time at which a wait ends. If not, [`wait_done`](Self::wait_done) may do without.
    pub fn needs_time(&self) -> bool {
        !self.timers.is_empty() || self.rated > 0 || self.run.limits.interval.is_some()
    }

    /// Whether a pass runs whose time is known: it stands still, and [`set_now`](Self::set_now) is not to be called.
    pub fn has_pass_time(&self) -> bool {
        self.is_running_callbacks() && self.run.timed
    }

    /// The wait is over, at `now` (`None` only if nobody [needs](Self::needs_time) it): timers expire, and the pass
    /// begins to run what is queued.
    #[inline(always)]
    pub fn wait_done(&mut self, now: Option<u64>) {
        self.run.timed = false;
        if let Some(now) = now {
            self.set_now(now);
        }
        if !self.later.is_empty() || !self.again.is_empty() {
            self.take_put_off();
        }
        if !self.arrived.is_empty() {
            self.queue_signals();
        }
        if !self.timers.is_empty() {
            self.expire_timers();
        }
        self.run.pass_began = self.now;
        self.run.phase = match self.active.first_priority() {
            Some(priority) => Phase::Process(priority),
            None => self.end_pass(),
        };
    }

    #[cold]
    fn queue_signals(&mut self) {
        if !self.signals_queued {
            self.signals_queued = true;
            self.active.push(0, Item::Signals);
        }
    }

    /// Queues what was to wait for this pass.
    #[inline(never)]
    fn take_put_off(&mut self) {
        for key in std::mem::take(&mut self.again) {
            self.resume(key);
        }
        for (priority, item) in std::mem::take(&mut self.later) {
            self.active.push(priority, item);
        }
    }

    /// Takes out, one by one, what is to run even if the loop never does again: when a base is freed.
    pub fn take_final_item(&mut self) -> Option<Step<H>> {
        for (priority, item) in std::mem::take(&mut self.later) {
            self.active.push(priority, item);
        }
        while let Some(priority) = self.active.first_priority() {
            match self.active.pop(priority) {
                Some(Item::Finalize(cookie)) => return Some(Step::Finalize(cookie)),
                Some(Item::Task(task)) => return Some(Step::Task(task)),
                _ => {}
            }
        }
        None
    }

    /// Ends the loop where it stands: the wait has failed.
    pub fn abort_loop(&mut self) {
        self.run.phase = Phase::Idle;
    }

    /// Inlined, so that no step is put together in memory only to say that there is nothing to do.
    #[inline(always)]
    fn step_begin(&mut self) -> Option<Step<H>> {
        self.run.running = None;
        self.run.timed = false;
        if self.run.is_broken() || self.run.exit {
            return Some(self.end_loop(LoopEnd::Stopped));
        }
        self.run.stops -= Stops::CARRY_ON;
        self.note_peak();
        // What is over another bufferevent does not count as pending, but sends too.
        let idle = self.pending_len() == 0
            && self.active_len() == 0
            && self.again.is_empty()
            && self.unsent.is_empty();
        if idle && !self.run.flags.contains(LoopFlags::NO_EXIT_ON_EMPTY) {
            return Some(self.end_loop(LoopEnd::Empty));
        }
        self.run.ran = 0;
        self.run.deferred = 0;
        if self.unsent.is_empty() {
            return Some(self.begin_wait());
        }
        if self.active.len() > 0 {
            self.queue_sending();
            return Some(self.begin_wait());
        }
        self.begin_sending();
        None
    }

    /// What was queued before the pass comes before what the pass sends: a descriptor that is to be closed is closed then,
    /// and its peer is told so by its write; a deferred callback sees the output that has not been sent.
    #[cold]
    fn queue_sending(&mut self) {
        for key in std::mem::take(&mut self.unsent) {
            self.queue_send(key);
        }
    }

    fn begin_sending(&mut self) {
        self.run.sending_at = 0;
        std::mem::swap(&mut self.run.sending, &mut self.unsent);
        if self.priorities() > 1 {
            let streams = &self.streams;
            let priority = |key: &StreamKey| streams.get(*key).map_or(0, |stream| stream.priority);
            self.run.sending.sort_by_key(priority);
        }
        self.run.phase = Phase::Send;
    }

    fn step_send(&mut self) -> Option<Step<H>> {
        while !self.run.is_broken() {
            let Some(&key) = self.run.sending.get(self.run.sending_at) else {
                break;
            };
            self.run.sending_at += 1;
            if let Some(work) = self.begin_unsent(key) {
                self.run.ran += 1;
                return Some(Step::Stream(work));
            }
        }
        if !self.run.sending.is_empty() {
            // After a break, what is not sent stays to be sent.
            let sent = self.run.sending_at.min(self.run.sending.len());
            self.unsent.extend(self.run.sending.drain(..).skip(sent));
        }
        self.run.running = None;
        let idle = self.pending_len() == 0 && self.active_len() == 0 && self.again.is_empty();
        if self.run.is_broken() || idle && self.run.ran > 0 {
            let once = self.run.flags.contains(LoopFlags::ONCE);
            self.run.phase = if once { Phase::Ended } else { Phase::Begin };
            return None;
        }
        Some(self.begin_wait())
    }

    #[inline]
    fn begin_wait(&mut self) -> Step<H> {
        self.run.phase = Phase::Waiting;
        Step::Wait {
            until: self.wait_until(),
        }
    }

    #[inline]
    fn wait_until(&mut self) -> Option<u64> {
        let at_once = self.run.flags.contains(LoopFlags::NONBLOCK)
            || self.run.flags.contains(LoopFlags::ONCE) && self.run.ran > 0
            || self.active_len() > 0
            || !self.again.is_empty()
            || !self.unsent.is_empty();
        if at_once {
            return Some(0);
        }
        self.timers.next_deadline()
    }

    fn step_process(&mut self, priority: usize) -> Option<Step<H>> {
        self.run.running = None;
        let ends = Stops::BROKEN | Stops::CARRY_ON;
        if self.run.stops.intersects(ends) || self.pass_is_long(priority) {
            self.run.phase = self.end_pass();
            return None;
        }
        let answer = match self.run.take_heard() {
            Some(Heard::Bytes(key)) => self.answer(key),
            Some(Heard::Connected(key)) => self.greet(key),
            None => None,
        };
        if let Some(work) = answer {
            return Some(Step::Stream(work));
        }
        let Some(item) = self.active.pop(priority) else {
            self.run.phase = match self.active.first_priority() {
                // Nothing of this priority had anything to do.
                Some(next) if self.run.ran == 0 => Phase::Process(next),
                _ => self.end_pass(),
            };
            return None;
        };
        let step = self.begin_item(item)?;
        self.run.ran += 1;
        Some(step)
    }

    fn begin_item(&mut self, item: Item<H::Task, H::Stream>) -> Option<Step<H>> {
        match item {
            Item::Pipe(key) => self.begin_pipe(key).map(Step::Stream),
            Item::Event(slot, calls) => Some(Step::Event(self.fire(slot, calls))),
            Item::Ready(key, side) => self.begin_ready(key, side).map(Step::Stream),
            Item::TimedOut(key, side) => self.begin_timed_out(key, side).map(Step::Stream),
            Item::Deferred(key) => {
                let cookie = self.begin_deferred(key)?;
                Some(Step::Stream(StreamWork {
                    key,
                    cookie,
                    io: Io::CallDeferred,
                }))
            }
            Item::Dial(key) => self.begin_dial(key).map(Step::Stream),
            Item::Attempt(key, fd) => self.begin_attempt(key, fd).map(Step::Stream),
            Item::Finalize(cookie) => Some(Step::Finalize(cookie)),
            Item::Task(task) => Some(Step::Task(task)),
            Item::Signals => {
                self.activate_arrived();
                None
            }
            Item::Exit => {
                self.run.ran += 1;
                self.run.exit = true;
                None
            }
        }
    }

    fn pass_is_long(&self, priority: usize) -> bool {
        let limits = &self.run.limits;
        if !self.run.stops.contains(Stops::LIMITED)
            || priority < limits.from_priority
            || self.run.ran == 0
        {
            return false;
        }
        self.run.ran >= limits.callbacks
            || limits
                .interval
                .is_some_and(|interval| self.now - self.run.pass_began >= interval)
    }

    /// Decides, after a pass, whether another one follows.
    fn end_pass(&mut self) -> Phase {
        // As in libevent: ONCE ends after a pass that ran something and left nothing active, NONBLOCK after one that
        // found nothing to run.
        let wanted = if self.run.ran > 0 {
            LoopFlags::ONCE
        } else {
            LoopFlags::NONBLOCK
        };
        if self.run.flags.contains(wanted) && self.active_len() == 0 {
            return Phase::Ended;
        }
        Phase::Begin
    }

    #[inline]
    fn end_loop(&mut self, end: LoopEnd) -> Step<H> {
        self.run.phase = Phase::Idle;
        Step::Done(end)
    }
}

/// How long to wait from now on. `now` is asked only if it matters.
pub fn timeout_until(until: Option<u64>, now: impl FnOnce() -> u64) -> Option<Duration> {
    match until? {
        0 => Some(Duration::ZERO),
        deadline => Some(Duration::from_nanos(deadline.saturating_sub(now()))),
    }
}

/// What a report means to a plain event.
#[inline]
fn happened(readiness: Readiness) -> What {
    // The numbers are the same; that something failed is none of them.
    let what = What::from_bits_retain(readiness.bits() as u16);
    if readiness.contains(Readiness::FAILED) {
        return what | What::READ | What::WRITE;
    }
    what
}
