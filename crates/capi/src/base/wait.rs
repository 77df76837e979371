//! The wait for readiness.

use std::io;

use ferrevent_core::driver::{Driver, Ready};
use ferrevent_core::timeout_until;
use ferrevent_sys::{System, monotonic};

use super::{Inner, event_base};

/// The driver and its answers, where other threads may change the base while it waits.
pub(super) struct Lent {
    driver: System,
    ready: Vec<Ready>,
}

/// Waits for readiness. Returns false if that failed.
pub(super) unsafe fn wait(base: *mut event_base, until: Option<u64>, lent: Option<Lent>) -> bool {
    // SAFETY: the caller's; no user code runs in here.
    unsafe {
        let Some(mut lent) = lent else {
            return event_base::with(base, |inner| inner.wait(until));
        };
        let timeout = timeout_until(until, monotonic);
        let outcome = lent.driver.wait(timeout, &mut lent.ready);
        event_base::with(base, |inner| {
            inner.turns.end_wait();
            inner.driver = Some(lent.driver);
            inner.ready = lent.ready;
            inner.wait_done(outcome)
        })
    }
}

impl Inner {
    /// Makes ready for a wait with the lock released, in the same breath in which the loop has found nothing to do.
    pub(super) fn lend_driver(&mut self) -> Option<Lent> {
        self.turns.begin_wait();
        let driver = self.driver.take()?;
        let ready = std::mem::take(&mut self.ready);
        Some(Lent { driver, ready })
    }

    /// Waits for readiness, with the base borrowed. Returns false if that failed.
    #[inline(always)]
    pub(super) fn wait(&mut self, until: Option<u64>) -> bool {
        // It is taken out only in a base with threads.
        let Some(driver) = &mut self.driver else {
            self.core.abort_loop();
            return false;
        };
        let outcome = driver.wait(timeout_until(until, monotonic), &mut self.ready);
        self.wait_done(outcome)
    }

    /// Applies what has changed to the driver; to be called before a wait.
    #[inline]
    pub(super) fn sync(&mut self) {
        if let Some(driver) = &mut self.driver {
            let complaints = &mut self.complaints;
            self.core.sync(driver, |failed| {
                complaints.push(format!(
                    "descriptor {} is not watched: {}",
                    failed.fd, failed.error
                ));
            });
        }
    }

    #[inline(always)]
    fn wait_done(&mut self, outcome: io::Result<()>) -> bool {
        let core = &mut self.core;
        self.signals
            .drain(|signal, count| core.handle_signal(signal, count.min(0x7fff) as u16));
        if !self.ready.is_empty() {
            core.handle_ready(&self.ready);
            self.ready.clear();
        }
        let now = core.needs_time().then(monotonic);
        core.wait_done(now);
        match outcome {
            Ok(()) => true,
            Err(error) => self.wait_failed(&error),
        }
    }

    #[cold]
    fn wait_failed(&mut self, error: &io::Error) -> bool {
        self.complain(format!("event_base_loop: {error}"));
        self.core.abort_loop();
        false
    }
}
