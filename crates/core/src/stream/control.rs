//! What the user asks of a bufferevent.

use std::io;

use super::{Callbacks, Connecting, Half, Listens, Security, Side, Stream, Suspend, Watermark};
use crate::active::NO_NODE;
use crate::base::{Core, Host, Item, StreamKey, TimerOwner};
use crate::driver::{Connect, Driver, Fd, Kind};
use crate::flags::{Dirs, Options, StreamEvent, Trigger};
use crate::users::User;

impl<H: Host> Core<H> {
    /// A bufferevent's state.
    pub fn stream(&self, key: StreamKey) -> Option<&Stream<H::Stream>> {
        self.streams.get(key)
    }

    /// All bufferevents that are not finalized.
    pub fn stream_cookies(&self) -> impl Iterator<Item = (StreamKey, H::Stream)> {
        self.streams
            .iter()
            .map(|(key, stream)| (key, stream.cookie))
    }

    /// Makes a bufferevent (`bufferevent_socket_new`), with writing enabled and nothing armed. `None` if
    /// `UNLOCK_CALLBACKS` comes without `DEFER_CALLBACKS`.
    pub fn new_stream(
        &mut self,
        cookie: H::Stream,
        fd: Fd,
        kind: Kind,
        options: Options,
    ) -> Option<StreamKey> {
        if options.contains(Options::UNLOCK_CALLBACKS)
            && !options.contains(Options::DEFER_CALLBACKS)
        {
            return None;
        }
        Some(self.streams.insert(Stream {
            cookie,
            fd,
            kind,
            options,
            enabled: Dirs::WRITE,
            connecting: Connecting::No,
            lens: [0; 2],
            half: [Half::new(Side::Read), Half::new(Side::Write)],
            rare: None,
            priority: self.default_priority(),
            references: 1,
            freed: false,
            end_seen: false,
            write_first: false,
            call_again: false,
            in_again: false,
            in_unsent: false,
            listens: Listens::empty(),
            told: [false; 2],
            deferred: Callbacks::NONE,
            deferred_queued: false,
            extra: None,
        }))
    }

    /// Takes a bufferevent out, to put it into another base (`bufferevent_base_set`). Nothing of it may be armed.
    pub fn take_stream(&mut self, key: StreamKey) -> Option<Stream<H::Stream>> {
        let stream = self.streams.get(key)?;
        let busy = Side::BOTH.iter().any(|&side| stream.side(side).armed);
        if busy
            || stream.deferred_queued
            || stream.freed
            || stream.extra.is_some()
            || stream.is_secure()
            || stream.carries_session()
        {
            return None;
        }
        self.detach(key);
        let stream = self.streams.remove(key)?;
        self.timed -= usize::from(stream.is_timed());
        Some(stream)
    }

    /// Puts a bufferevent in that [`take_stream`](Self::take_stream) took out of another base.
    pub fn insert_stream(&mut self, mut stream: Stream<H::Stream>) -> StreamKey {
        stream.in_again = false;
        stream.in_unsent = false;
        stream.call_again = false;
        stream.priority = stream.priority.min((self.priorities() - 1) as u8);
        self.timed += usize::from(stream.is_timed());
        self.streams.insert(stream)
    }

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
        stream.priority = priority;
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
                stream.lens[Side::Write as usize] = len;
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

    /// Takes another reference (`bufferevent_incref`).
    pub fn retain(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.references += 1;
        }
    }

    /// Drops a reference (`bufferevent_decref`). Returns whether it was the last: the loop then gives the shell the
    /// cookie in [`Step::Finalize`](crate::Step::Finalize), and the key is stale.
    pub fn release(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        stream.references -= 1;
        if stream.references > 0 {
            return false;
        }
        self.silence(key);
        self.detach(key);
        self.forget_ending(key);
        self.forget_pipes(key);
        self.unlink(key);
        self.leave_lower(key);
        self.forget_rate(key);
        let Some(mut stream) = self.streams.remove(key) else {
            return false;
        };
        self.timed -= usize::from(stream.is_timed());
        self.drop_link(stream.extra.take());
        self.active
            .push(stream.priority, Item::Finalize(stream.cookie));
        true
    }

    /// Frees it (`bufferevent_free`): no callback runs any more, unsent output is dropped, and one reference goes.
    /// Returns whether it was the last, as [`release`](Self::release) does.
    pub fn free_stream(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(key) else {
            return false;
        };
        if stream.freed {
            return false;
        }
        stream.freed = true;
        self.silence(key);
        // At once, even if it lives on: its user may close the descriptor, and have the number back for another.
        self.detach(key);
        self.forget_ending(key);
        self.forget_pipes(key);
        self.unlink(key);
        self.leave_lower(key);
        self.forget_rate(key);
        self.release(key)
    }

    pub(super) fn set_suspended(
        &mut self,
        key: StreamKey,
        side: Side,
        why: Suspend,
        suspended: bool,
    ) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        // What is freed may still have to send its last.
        let lives = !stream.freed || stream.lingers();
        let enabled = stream.enabled.contains(side.dirs()) && lives;
        let half = stream.side_mut(side);
        let before = half.suspended;
        half.suspended.set(why, suspended);
        match (before.is_empty(), half.suspended.is_empty()) {
            (true, false) => self.disarm(key, side),
            (false, true) if enabled => self.arm(key, side),
            _ => return,
        }
        self.note_fd(key);
    }

    /// Compares the input with the high mark.
    pub(super) fn weigh_input(&mut self, key: StreamKey) {
        let stream = &self.streams[key];
        let high = stream.set_for(Side::Read).mark.high;
        let full = high != 0 && stream.len(Side::Read) >= high;
        self.set_suspended(key, Side::Read, Suspend::WATERMARK, full);
    }

    /// Starts to wait for the transport, or restarts the timeout if it waits already.
    pub(super) fn arm(&mut self, key: StreamKey, side: Side) {
        self.take_back_timeout(key, side);
        let stream = &mut self.streams[key];
        if stream.is_layered() {
            let below = stream.below();
            stream.side_mut(side).armed = true;
            self.restart_stream_timer(key, side);
            return match below {
                Some(below) => self.stage_armed(key, below, side),
                None => self.pair_armed(key, side),
            };
        }
        let usable = stream.is_usable();
        let connecting = stream.connecting;
        if connecting == Connecting::Failed {
            return;
        }
        if !stream.side(side).armed {
            stream.side_mut(side).armed = true;
            stream.write_first = side == Side::Write;
            // What is over another bufferevent waits for nothing by itself.
            self.pending += usize::from(stream.lower().is_none());
        }
        self.restart_stream_timer(key, side);
        let stream = &mut self.streams[key];
        match side {
            Side::Read => {
                stream.side_mut(side).watched = true;
                if usable && stream.side(side).ready {
                    self.queue_again(key);
                }
            }
            Side::Write if connecting == Connecting::Handshake => {
                // It is simply tried; what it then waits for is watched already.
                stream.side_mut(Side::Read).watched = true;
                stream.side_mut(Side::Write).watched = true;
                self.push_ready(key, Side::Write);
            }
            Side::Write if connecting != Connecting::No => self.watch_writing(key),
            Side::Write if usable && stream.is_secure() && stream.len(side) == 0 => {
                // No callback comes for nothing, and a session writes by itself what it has to.
                self.disarm(key, Side::Write);
            }
            Side::Write if usable && stream.len(side) == 0 => self.watch_writing(key),
            Side::Write if usable => self.queue_unsent(key),
            Side::Write => {}
        }
        self.weigh_lower(key);
    }

    /// Stops waiting for the transport.
    pub(super) fn disarm(&mut self, key: StreamKey, side: Side) {
        let stream = &mut self.streams[key];
        let (layered, below) = (stream.is_layered(), stream.below());
        let counts = usize::from(!layered && stream.lower().is_none());
        let half = stream.side_mut(side);
        if half.armed {
            half.armed = false;
            self.pending -= counts;
        }
        let half = self.streams[key].side_mut(side);
        let (timer, mut node) = (half.timer.take(), half.node);
        half.node = NO_NODE;
        if let Some(timer) = timer {
            self.timers.remove(timer);
            self.count_layer_timer(key, false);
        }
        self.remove_active(&mut node);
        if let Some(below) = below
            && side == Side::Read
        {
            self.weigh_below(key, below);
        }
        self.weigh_lower(key);
    }

    /// Has the driver report writability, also if it did before.
    pub(super) fn watch_writing(&mut self, key: StreamKey) {
        let edge = self.edge;
        let stream = &mut self.streams[key];
        let was_watched = std::mem::replace(&mut stream.side_mut(Side::Write).watched, true);
        if was_watched && stream.trusts_edges(edge) && stream.fd >= 0 {
            let fd = stream.fd;
            self.fds.refresh(fd);
        }
    }

    /// (Re)starts the timeout of a direction, or stops it where none is to run: while it is not armed, and while there
    /// is nothing to write.
    #[inline]
    pub(super) fn restart_stream_timer(&mut self, key: StreamKey, side: Side) {
        let stream = &self.streams[key];
        if stream.set_for(side).timeout > 0 || stream.side(side).timer.is_some() {
            self.set_stream_timer(key, side);
        }
    }

    /// Takes back a timeout that has passed but has not been told yet, as `event_add` does it: the user starts it
    /// anew. Returns whether there was one.
    fn take_back_timeout(&mut self, key: StreamKey, side: Side) -> bool {
        let half = self.streams[key].side_mut(side);
        let passed =
            half.node != NO_NODE && matches!(self.active.item(half.node), Item::TimedOut(..));
        if passed {
            let mut node = std::mem::replace(&mut half.node, NO_NODE);
            self.remove_active(&mut node);
        }
        passed
    }

    pub(super) fn set_stream_timer(&mut self, key: StreamKey, side: Side) {
        let now = self.now;
        let stream = &self.streams[key];
        let limit = match (stream.connecting, side) {
            (Connecting::Handshake, Side::Read) => 0,
            (Connecting::Handshake, Side::Write) => self.handshake_limit(key),
            _ => stream.set_for(side).timeout,
        };
        let stream = &mut self.streams[key];
        let idle_write =
            side == Side::Write && stream.len(side) == 0 && stream.connecting == Connecting::No;
        let half = stream.side_mut(side);
        let runs = limit > 0 && half.armed && !idle_write;
        match (half.timer, runs) {
            (None, true) => {
                let deadline = now.saturating_add(limit);
                half.timer = Some(self.timers.insert(deadline, TimerOwner::Stream(key, side)));
                self.count_layer_timer(key, true);
            }
            (Some(timer), true) => self.timers.set(timer, now.saturating_add(limit)),
            (Some(timer), false) => {
                half.timer = None;
                self.timers.remove(timer);
                self.count_layer_timer(key, false);
            }
            (None, false) => {}
        }
    }

    /// The timeout of a bufferevent that waits for no descriptor keeps the loop going by itself, as an event does that
    /// has nothing else.
    pub(super) fn count_layer_timer(&mut self, key: StreamKey, runs: bool) {
        if !self.streams[key].is_layered() {
            return;
        }
        if runs {
            self.pending += 1;
            self.timed_only += 1;
        } else {
            self.pending -= 1;
            self.timed_only -= 1;
        }
    }

    pub(super) fn queue_unsent(&mut self, key: StreamKey) {
        let stream = &mut self.streams[key];
        if !stream.in_unsent {
            stream.in_unsent = true;
            self.unsent.push(key);
        }
    }

    pub(super) fn queue_again(&mut self, key: StreamKey) {
        let stream = &mut self.streams[key];
        if !stream.in_again {
            stream.in_again = true;
            self.again.push(key);
        }
    }

    /// Notes that what its descriptor waits for may have changed.
    pub(super) fn note_fd(&mut self, key: StreamKey) {
        // Without a driver this only takes a note, which cannot fail.
        let _ = self.update_stream_fd(key, None);
    }

    fn update_stream_fd(
        &mut self,
        key: StreamKey,
        driver: Option<&mut dyn Driver>,
    ) -> io::Result<()> {
        let edge = self.edge;
        let stream = &mut self.streams[key];
        let fd = stream.fd;
        if fd < 0 {
            return Ok(());
        }
        // The hot path: where edges are trusted, the registration depends on nothing but what is watched.
        let watched = [stream.half[0].watched, stream.half[1].watched];
        let told = std::mem::replace(&mut stream.told, watched);
        let user = User::stream(key);
        if told == watched && stream.trusts_edges(edge) && self.fds.is_alone(fd, user) {
            return Ok(());
        }
        // A bufferevent that has never waited for anything stays out of the table.
        if !(stream.half[0].watched || stream.half[1].watched || stream.half[1].armed) {
            return Ok(());
        }
        let added = self.fds.add_stream(fd, key);
        let refused = match added {
            Ok(()) => self.update_fd(fd, driver),
            Err(error) => Err(error),
        };
        if refused.is_err() {
            self.detach(key);
        }
        refused
    }

    /// Takes it off its descriptor.
    pub(super) fn detach(&mut self, key: StreamKey) {
        for side in Side::BOTH {
            self.disarm(key, side);
            let half = self.streams[key].side_mut(side);
            half.watched = false;
            half.ready = side == Side::Write;
        }
        let fd = self.streams[key].fd;
        if self.fds.users(fd).contains(&User::stream(key)) {
            self.fds.remove_stream(fd, key);
            // A note only, which cannot fail.
            let _ = self.update_fd(fd, None);
        }
    }

    /// No callback runs any more.
    pub(super) fn silence(&mut self, key: StreamKey) {
        self.set_listening(key, false, false, false);
        let stream = &mut self.streams[key];
        stream.call_again = false;
        stream.deferred_queued = false;
    }
}

impl Half {
    fn new(side: Side) -> Self {
        Self {
            suspended: Suspend::empty(),
            armed: false,
            // Reading waits for a report; writing is simply tried.
            ready: side == Side::Write,
            watched: false,
            node: NO_NODE,
            timer: None,
        }
    }
}

/// Linux's number; the core links to no system library.
pub(super) const ECONNREFUSED: i32 = 111;
