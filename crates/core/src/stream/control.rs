//! What the user asks of a bufferevent.

use std::io;

use super::{Connecting, Listens, Security, Side, Stream, Suspend, Watermark};
use crate::active::NO_NODE;
use crate::base::{Core, Host, StreamKey};
use crate::driver::{Connect, Driver, Fd, Kind};
use crate::flags::{Dirs, StreamEvent, Trigger};

impl<H: Host> Core<H> {
    /// Says which callbacks are set now. What is pending for one that is not any more is forgotten.
    pub fn set_listening(&mut self, key: StreamKey, read: bool, write: bool, event: bool) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let (read, write, event) = match stream.freed {
            true => (false, false, false),
            false => (read, write, event),
        };
        let mut listens = Listens::empty();
        listens.set(Listens::READ, read);
        listens.set(Listens::WRITE, write);
        listens.set(Listens::EVENT, event);
        if stream.listens == listens && !listens.is_empty() {
            // Nothing was deferred meanwhile that nobody hears.
            return;
        }
        stream.listens = listens;
        stream.call_again &= read;
        if stream.has_above() {
            // What is deferred is for the stage above.
            return;
        }
        stream.deferred.read &= read;
        stream.deferred.write &= write;
        if !event {
            stream.deferred.event = StreamEvent::empty();
            stream.deferred.error = 0;
        }
    }

    /// Enables directions (`bufferevent_enable`); transfers start in the next pass.
    ///
    /// # Errors
    /// The driver refuses the descriptor. The direction counts as enabled all the same.
    pub fn enable(
        &mut self,
        key: StreamKey,
        dirs: Dirs,
        mut driver: Option<&mut dyn Driver>,
    ) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(key) else {
            return Ok(());
        };
        if stream.freed {
            return Ok(());
        }
        stream.enabled |= dirs;
        for side in Side::BOTH {
            if dirs.contains(side.dirs()) && self.streams[key].side(side).suspended.is_empty() {
                self.arm(key, side);
            }
        }
        self.update_stream_fd(key, driver.take())
    }

    /// Disables directions (`bufferevent_disable`). A connection attempt goes on.
    pub fn disable(&mut self, key: StreamKey, dirs: Dirs) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.enabled -= dirs;
        let connecting = matches!(stream.connecting, Connecting::Started | Connecting::Done);
        for side in Side::BOTH {
            if dirs.contains(side.dirs()) && !(connecting && side == Side::Write) {
                self.disarm(key, side);
            }
        }
        self.note_fd(key);
    }

    /// Sets the watermarks of the given directions (`bufferevent_setwatermark`). Moves nothing and calls nothing by
    /// itself; reading stops or goes on as the new high mark says.
    pub fn set_watermark(&mut self, key: StreamKey, dirs: Dirs, mark: Watermark) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        for side in Side::BOTH {
            if dirs.contains(side.dirs()) {
                stream.change_settings(side, |settings| settings.mark = mark);
            }
        }
        if dirs.contains(Dirs::READ) {
            self.weigh_input(key);
        }
    }

    /// Sets the timeouts in nanoseconds; `None` is none (`bufferevent_set_timeouts`).
    pub fn set_timeouts(&mut self, key: StreamKey, read: Option<u64>, write: Option<u64>) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        self.timed -= usize::from(stream.is_timed());
        for (side, timeout) in [(Side::Read, read), (Side::Write, write)] {
            let timeout = timeout.unwrap_or(0);
            stream.change_settings(side, |settings| settings.timeout = timeout);
        }
        self.timed += usize::from(stream.is_timed());
        for side in Side::BOTH {
            if self.take_back_timeout(key, side) {
                // What it was ready for meanwhile was held back by the timeout.
                self.arm(key, side);
            } else {
                self.restart_stream_timer(key, side);
            }
        }
    }

    /// Limits one transfer to so many bytes (`bufferevent_set_max_single_read` and `_write`); `None` lifts the limit.
    pub fn set_max_single(&mut self, key: StreamKey, dirs: Dirs, max: Option<usize>) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        for side in Side::BOTH {
            if dirs.contains(side.dirs()) {
                let max_single = max.unwrap_or(0);
                stream.change_settings(side, |settings| settings.max_single = max_single);
            }
        }
    }

    /// Sets the priority of its callbacks (`bufferevent_priority_set`). Returns whether it exists.
    pub fn set_stream_priority(&mut self, key: StreamKey, priority: u8) -> bool {
        if usize::from(priority) >= self.priorities() {
            return false;
        }
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        if stream.is_layered() {
            return false;
        }
        stream.set_priority(priority);
        true
    }

    /// The input buffer holds so many bytes now, by a change that was not [`handle_read`](Self::handle_read)'s.
    pub fn input_changed(&mut self, key: StreamKey, len: usize) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.lens[Side::Read as usize] = len;
        if stream.set_for(Side::Read).mark.high != 0 {
            self.weigh_input(key);
        }
    }

    /// As [`input_changed`](Self::input_changed), if nothing can follow from it. Otherwise it does nothing and returns
    /// false.
    #[inline]
    pub fn input_changed_only(&mut self, key: StreamKey, len: usize) -> bool {
        match self.streams.get_mut(key) {
            // Without settings there is no mark.
            Some(stream) if stream.rare.is_none() => {
                stream.lens[Side::Read as usize] = len;
                true
            }
            _ => false,
        }
    }

    /// As [`output_changed`](Self::output_changed) without new bytes, if nothing can follow from it. Otherwise it does
    /// nothing and returns false.
    #[inline]
    pub fn output_drained_only(&mut self, key: StreamKey, len: usize) -> bool {
        match self.streams.get_mut(key) {
            // Nobody waits for room in it.
            Some(stream) if !stream.is_piped_to() => {
                stream.lens[Side::Write as usize] = stream.length_to_send(len);
                true
            }
            _ => false,
        }
    }

    /// The output buffer holds so many bytes now, `added` of them new; they go out before the next wait.
    pub fn output_changed(&mut self, key: StreamKey, len: usize, added: usize) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let len = stream.length_to_send(len);
        let was_empty = std::mem::replace(&mut stream.lens[Side::Write as usize], len) == 0;
        let half = stream.side(Side::Write);
        let (armed, free) = (half.armed, half.suspended.is_empty());
        if added == 0 && stream.extra.is_some() {
            self.weigh_sink(key);
        }
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if added == 0 || !stream.enabled.contains(Dirs::WRITE) || !free || stream.freed {
            return;
        }
        if !armed {
            self.arm(key, Side::Write);
            self.note_fd(key);
            return;
        }
        if stream.extra.is_some() && stream.is_layered() {
            if was_empty {
                self.restart_stream_timer(key, Side::Write);
            }
            return self.layered_output(key);
        }
        // While connecting, the timeout is the attempt's.
        if was_empty && stream.connecting == Connecting::No {
            self.restart_stream_timer(key, Side::Write);
        }
        let stream = &self.streams[key];
        let half = stream.side(Side::Write);
        if half.node == NO_NODE && half.ready && stream.is_usable() {
            self.queue_unsent(key);
        }
    }

    /// Gives it another descriptor, or a negative number for none (`bufferevent_setfd`). What was enabled is armed
    /// anew; a connection attempt is forgotten.
    ///
    /// # Errors
    /// The driver refuses the descriptor.
    pub fn set_fd(
        &mut self,
        key: StreamKey,
        fd: Fd,
        kind: Kind,
        driver: Option<&mut dyn Driver>,
    ) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(key) else {
            return Ok(());
        };
        stream.connecting = Connecting::No;
        let enabled = stream.enabled;
        self.detach(key);
        let stream = &mut self.streams[key];
        stream.fd = fd;
        stream.kind = kind;
        stream.end_seen = false;
        if fd < 0 {
            return Ok(());
        }
        if stream.security() == Security::Pending {
            self.begin_handshake(key);
        }
        self.enable(key, enabled, driver)
    }

    /// A connection attempt has begun on `fd` (`bufferevent_socket_connect`): nothing is read or written until it has
    /// ended, which the event callback is told first of all.
    ///
    /// # Errors
    /// The driver refuses the descriptor.
    pub fn start_connect(
        &mut self,
        key: StreamKey,
        fd: Fd,
        kind: Kind,
        begun: Connect,
        driver: Option<&mut dyn Driver>,
    ) -> io::Result<()> {
        let Some(enabled) = self.streams.get(key).map(Stream::enabled) else {
            return Ok(());
        };
        self.detach(key);
        let stream = &mut self.streams[key];
        stream.fd = fd;
        stream.kind = kind;
        stream.end_seen = false;
        stream.connecting = Connecting::No;
        if begun == Connect::Refused {
            self.disable(key, Dirs::all());
            // Later, as the call itself has succeeded; so nothing is to be called at once.
            let event = StreamEvent::ERROR;
            let _ = self.trigger_event(key, event, ECONNREFUSED, Trigger::DEFER);
            return Ok(());
        }
        let done = begun == Connect::Done;
        stream.connecting = if done {
            Connecting::Done
        } else {
            Connecting::Started
        };
        if enabled.contains(Dirs::READ) && stream.side(Side::Read).suspended.is_empty() {
            self.arm(key, Side::Read);
        }
        self.arm(key, Side::Write);
        if done {
            self.push_ready(key, Side::Write);
        }
        self.update_stream_fd(key, driver)
    }

    /// Stops both directions while a name is looked up, or lets them go again.
    pub fn set_looking_up(&mut self, key: StreamKey, looking_up: bool) {
        for side in Side::BOTH {
            self.set_suspended(key, side, Suspend::LOOKUP, looking_up);
        }
    }
}

/// Linux's number; the core links to no system library.
pub(super) const ECONNREFUSED: i32 = 111;
