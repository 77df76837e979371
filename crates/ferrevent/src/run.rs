//! The loop.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use ferrevent_core::{LoopEnd, LoopFlags, Step, timeout_until};

use crate::base::Base;
use crate::builder::Warning;
use crate::error::{Error, Result};

impl Base {
    /// Runs callbacks as things happen, until nothing is left to wait for, or the loop is told to end
    /// (`event_base_dispatch`).
    ///
    /// A callback that panics ends the loop: the panic passes through here, and the base can be run again, without
    /// that callback.
    ///
    /// # Errors
    /// [`Error::Running`] inside a callback; [`Error::Io`] when the wait itself fails.
    pub fn run(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::empty())
    }

    /// As [`run`](Self::run), but goes on when nothing is left to wait for, since a [`Remote`](crate::Remote) may
    /// bring something (`EVLOOP_NO_EXIT_ON_EMPTY`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_until_stopped(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::NO_EXIT_ON_EMPTY)
    }

    /// Waits until something is ready, runs that, and returns (`EVLOOP_ONCE`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_once(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::ONCE)
    }

    /// Runs what is ready now, without waiting, and returns (`EVLOOP_NONBLOCK`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_nonblocking(&mut self) -> Result<LoopEnd> {
        self.run_with(LoopFlags::NONBLOCK)
    }

    /// Runs with any combination of flags (`event_base_loop`).
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_with(&mut self, flags: LoopFlags) -> Result<LoopEnd> {
        if self.core.is_looping() {
            return Err(Error::Running);
        }
        self.accept_posts();
        self.tick();
        if !self.core.begin_loop(flags) {
            return Err(Error::Running);
        }
        // Whatever unwinds comes from a callback, during which neither the core nor a buffer is in use.
        let ended = catch_unwind(AssertUnwindSafe(|| self.steps()));
        self.running = None;
        match ended {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(error)) => {
                self.core.abort_loop();
                Err(error)
            }
            Err(panic) => {
                self.core.abort_loop();
                resume_unwind(panic)
            }
        }
    }

    /// Ends the loop after the pass in which `delay` has passed; zero: after this pass, or after the first one of the
    /// next loop (`event_base_loopexit`). Each call ends a loop: one that is broken before, or ended by another call, leaves
    /// it to the next.
    pub fn loop_exit(&mut self, delay: Duration) {
        self.tick();
        self.core.loop_exit(crate::nanos(delay));
    }

    /// Ends the loop after the callback that runs now; outside a loop it has no effect (`event_base_loopbreak`).
    pub fn loop_break(&mut self) {
        self.core.loop_break();
    }

    /// Looks for new events after the callback that runs now, rather than after all those that are ready
    /// (`event_base_loopcontinue`).
    pub fn loop_continue(&mut self) {
        self.core.loop_continue();
    }

    /// Whether the last loop ended by [`loop_exit`](Self::loop_exit) (`event_base_got_exit`).
    pub fn got_exit(&self) -> bool {
        self.core.got_exit()
    }

    /// Whether the last loop ended by [`loop_break`](Self::loop_break) (`event_base_got_break`).
    pub fn got_break(&self) -> bool {
        self.core.got_break()
    }

    fn steps(&mut self) -> Result<LoopEnd> {
        loop {
            match self.core.step() {
                Step::Wait { until } => self.wait(until)?,
                Step::Event(fired) => self.fire(fired),
                Step::Stream(work) => self.work(work),
                Step::Task(task) => {
                    if let Some(task) = self.tasks.remove(task) {
                        task(self);
                    }
                }
                Step::Finalize(bev) => self.finalize(bev),
                Step::Done(end) => return Ok(end),
            }
            if self.core.wants_clock() {
                self.core.set_now(self.driver.now());
            }
        }
    }

    fn wait(&mut self, until: Option<u64>) -> Result<()> {
        self.settle_signals();
        let warn = &mut self.warn;
        self.core.sync(&mut *self.driver, |failed| {
            warn(Warning::Unwatched {
                fd: failed.fd,
                error: failed.error,
            });
        });
        let timeout = timeout_until(until, || self.driver.now());
        self.ready.clear();
        self.driver.wait(timeout, &mut self.ready)?;
        self.core.handle_ready(&self.ready);
        self.collect_signals();
        self.accept_posts();
        let now = self.driver.now();
        self.core.wait_done(Some(now));
        Ok(())
    }

    /// Queues what other threads have posted.
    fn accept_posts(&mut self) {
        for post in self.shared.take() {
            self.push_task(post);
        }
    }
}
