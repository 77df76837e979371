//! The wait for readiness.

use ferrevent_core::driver::Driver;
use ferrevent_core::timeout_until;
use ferrevent_sys::monotonic;

use super::{Inner, event_base};
use crate::log;

/// Waits for readiness. Returns false if that failed.
pub(super) unsafe fn wait(base: *mut event_base, until: Option<u64>) -> bool {
    // SAFETY: the caller's; no user code runs in here.
    unsafe {
        let outcome = if (*base).leaf.is_some() {
            let taken = event_base::with(base, |inner| {
                inner.sync();
                inner
                    .driver
                    .take()
                    .map(|driver| (driver, std::mem::take(&mut inner.ready)))
            });
            let Some((mut driver, mut ready)) = taken else {
                return false;
            };
            let timeout = timeout_until(until, monotonic);
            let outcome = driver.wait(timeout, &mut ready);
            event_base::with(base, |inner| {
                inner.driver = Some(driver);
                inner.ready = ready;
                inner.wait_done();
            });
            outcome
        } else {
            event_base::with(base, |inner| {
                inner.sync();
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
    fn sync(&mut self) {
        if let Some(driver) = &mut self.driver {
            self.core.sync(driver, |failed| {
                log::warn(&format!(
                    "descriptor {} is not watched: {}",
                    failed.fd, failed.error
                ));
            });
        }
    }

    pub(super) fn wait_done(&mut self) {
        let core = &mut self.core;
        self.signals
            .drain(|signal, count| core.handle_signal(signal, count.min(0x7fff) as u16));
        core.handle_ready(&self.ready);
        self.ready.clear();
        let now = core.needs_time().then(monotonic);
        core.wait_done(now);
    }
}
