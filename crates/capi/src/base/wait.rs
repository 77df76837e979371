//! The wait for readiness.

use ferrevent_core::driver::{Driver, Ready};
use ferrevent_core::timeout_until;
use ferrevent_sys::{System, monotonic};

use super::{Inner, event_base};
use crate::log;

/// A wait that is about to begin.
pub(super) struct Waiting {
    until: Option<u64>,
    /// The driver and its answers, where other threads may change the base meanwhile.
    taken: Option<(System, Vec<Ready>)>,
}

/// Waits for readiness. Returns false if that failed.
pub(super) unsafe fn wait(base: *mut event_base, waiting: Waiting) -> bool {
    let Waiting { until, taken } = waiting;
    // SAFETY: the caller's; no user code runs in here.
    unsafe {
        let outcome = if let Some((mut driver, mut ready)) = taken {
            let outcome = driver.wait(timeout_until(until, monotonic), &mut ready);
            event_base::with(base, |inner| {
                inner.turns.end_wait();
                inner.driver = Some(driver);
                inner.ready = ready;
                inner.wait_done();
            });
            outcome
        } else {
            event_base::with(base, |inner| {
                let Some(driver) = &mut inner.driver else {
                    return Ok(());
                };
                let timeout = timeout_until(until, monotonic);
                let outcome = driver.wait(timeout, &mut inner.ready);
                inner.wait_done();
                outcome
            })
        };
        if let Err(error) = outcome {
            log::warn(&format!("event_base_loop: {error}"));
            event_base::with(base, |inner| inner.core.abort_loop());
            return false;
        }
        true
    }
}

impl Inner {
    /// Makes ready for a wait, in the same breath in which the loop has found nothing to do. In a `shared` base the driver
    /// is taken out, so that other threads can go on.
    pub(super) fn begin_wait(&mut self, shared: bool, until: Option<u64>) -> Waiting {
        self.sync();
        let taken = if shared {
            self.turns.begin_wait();
            let driver = self.driver.take();
            driver.map(|driver| (driver, std::mem::take(&mut self.ready)))
        } else {
            None
        };
        Waiting { until, taken }
    }

    fn sync(&mut self) {
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

    fn wait_done(&mut self) {
        let core = &mut self.core;
        self.signals
            .drain(|signal, count| core.handle_signal(signal, count.min(0x7fff) as u16));
        core.handle_ready(&self.ready);
        self.ready.clear();
        let now = core.needs_time().then(monotonic);
        core.wait_done(now);
    }
}
