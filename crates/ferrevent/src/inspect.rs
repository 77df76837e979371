//! Looking at a base's events, and making them run by hand.

use std::fmt;
use std::os::fd::AsRawFd;

use ferrevent_core::{Counts, EventInfo, What};

use crate::base::Base;
use crate::event::Event;

impl Base {
    /// The events that are pending or about to run, in no particular order (`event_base_foreach_event`).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = ferrevent::Base::new()?;
    /// let timer = base.after(Duration::from_secs(1), |_| {});
    /// assert_eq!(base.events().collect::<Vec<_>>(), [timer]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.core.events().map(|(_, event)| event)
    }

    /// The event whose closure runs now (`event_base_get_running_event`).
    pub fn running_event(&self) -> Option<Event> {
        self.running
    }

    /// How busy the base is, as libevent counts (`event_base_get_num_events`).
    pub fn counts(&self) -> Counts {
        self.core.counts()
    }

    /// The most that there was of each since the base was made, or since [`reset_peak`](Self::reset_peak)
    /// (`event_base_get_max_events`).
    pub fn peak(&self) -> Counts {
        self.core.peak()
    }

    /// Begins to look for the most anew.
    pub fn reset_peak(&mut self) {
        self.core.clear_peak(true, true);
    }

    /// Makes every event that waits for any of `what` on the descriptor run, as if it had happened
    /// (`event_base_active_by_fd`). [`What::TIMEOUT`] stands for those that have a timeout.
    pub fn activate_fd(&mut self, fd: &impl AsRawFd, what: What) {
        self.core.activate_fd(fd.as_raw_fd(), what);
    }

    /// Makes every event on the signal run, as if it had arrived once (`event_base_active_by_signal`).
    pub fn activate_signal(&mut self, signal: i32) {
        self.core.activate_signal(signal, 1);
    }

    /// Brings the time that stands still within a pass up to date (`event_base_update_cache_time`): for callbacks that
    /// take long. See [`now`](Self::now).
    pub fn update_now(&mut self) {
        self.core.set_now(self.driver.now());
    }

    /// A text for people about the events that are pending or about to run (`event_base_dump_events`).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = ferrevent::Base::new()?;
    /// base.after(Duration::from_secs(1), |_| {});
    /// println!("{}", base.dump());
    /// # Ok(())
    /// # }
    /// ```
    pub fn dump(&self) -> Dump<'_> {
        Dump(self)
    }
}

/// The text of [`Base::dump`]: a line for each event.
pub struct Dump<'a>(&'a Base);

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.0;
        let mut lines: Vec<(Event, EventInfo)> = base
            .core
            .events()
            .filter_map(|(key, event)| Some((event, base.core.event_info(key)?)))
            .collect();
        lines.sort_by_key(|&(event, _)| event);
        for (event, info) in lines {
            write!(f, "{event:?}")?;
            if let Some(slot) = base.events.get(event) {
                let kind = if slot.what().contains(What::SIGNAL) {
                    "signal"
                } else {
                    "descriptor"
                };
                if !slot.what().is_empty() && slot.fd() >= 0 {
                    write!(f, " {kind} {}", slot.fd())?;
                }
            }
            if !info.waits.is_empty() {
                write!(f, " waits for {:?}", info.waits)?;
            }
            if let Some(deadline) = info.deadline {
                let left = deadline.saturating_sub(base.driver.now());
                write!(
                    f,
                    " times out in {:?}",
                    std::time::Duration::from_nanos(left)
                )?;
            }
            if !info.active.is_empty() {
                write!(f, " runs for {:?}", info.active)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
