//! A base in the child of a `fork`.

use std::ffi::c_int;

use ferrevent_sys::SignalInbox;

use super::lone::NO_THREAD;
use super::{Inner, event_base};
use crate::log;

/// `event_reinit`: in a child process after `fork`. 0, or -1 if a descriptor cannot be watched any more, because it is
/// closed; the others are.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_reinit(base: *mut event_base) -> c_int {
    if base.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    let result = unsafe {
        event_base::with(base, |inner| {
            inner.reinit()?;
            inner.sync();
            Ok::<_, std::io::Error>(!inner.has_complaints())
        })
    };
    match result {
        Ok(all) => {
            // In a child the thread that looped may be left behind.
            // SAFETY: by this function's contract.
            unsafe { event_base::note_looper(base, NO_THREAD) };
            if all { 0 } else { -1 }
        }
        Err(error) => {
            log::warn(&format!("event_reinit: {error}"));
            -1
        }
    }
}

impl Inner {
    /// A forked child shares the parent's epoll instance, and would steal from it.
    pub(super) fn check_process(&mut self) {
        if ferrevent_sys::fork_generation() == self.forks {
            return;
        }
        self.complain("event_base used after fork without event_reinit; doing that now".to_owned());
        if let Err(error) = self.reinit() {
            self.complain(format!("event_reinit: {error}"));
        }
    }

    fn reinit(&mut self) -> std::io::Result<()> {
        let Some(driver) = &self.driver else {
            return Err(std::io::ErrorKind::ResourceBusy.into());
        };
        // Nothing of the old driver may be shared with the parent, its waker and signals included.
        let driver = driver.open_again(self.options)?;
        let mut signals = SignalInbox::open(driver.waker())?;
        for signal in self.core.watched_signals() {
            signals.subscribe(signal)?;
        }
        self.forks = ferrevent_sys::fork_generation();
        self.waker = driver.waker();
        self.signals = signals;
        self.driver = Some(driver);
        self.core.driver_replaced();
        Ok(())
    }
}
