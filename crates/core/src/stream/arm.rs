//! Waiting for the transport: what holds a direction back, its timeout, and what the driver is to watch.

use std::io;

use super::{Connecting, Side, Suspend};
use crate::active::NO_NODE;
use crate::base::{Core, Host, Item, StreamKey, TimerOwner};
use crate::driver::Driver;
use crate::flags::Dirs;
use crate::users::User;

impl<H: Host> Core<H> {
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
            self.waiting += usize::from(stream.lower().is_none());
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
            self.waiting -= counts;
        }
        let half = self.streams[key].side_mut(side);
        let timer = half.timer.take();
        if let Some(timer) = timer {
            self.timers.remove(timer);
            self.count_layer_timer(key, false);
        }
        self.unqueue(key, side);
        if let Some(below) = below
            && side == Side::Read
        {
            self.weigh_below(key, below);
        }
        self.weigh_lower(key);
    }

    /// Has the driver report writability, also if it did before. Whether it is watched now does not matter: the driver
    /// may not have been told yet that it was not any more.
    pub(super) fn watch_writing(&mut self, key: StreamKey) {
        let edge = self.edge;
        let stream = &mut self.streams[key];
        stream.side_mut(Side::Write).watched = true;
        if stream.trusts_edges(edge) && stream.fd >= 0 {
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
    pub(super) fn take_back_timeout(&mut self, key: StreamKey, side: Side) -> bool {
        let stream = &self.streams[key];
        let (queue, node) = (stream.queue_of(side), stream.side(side).node);
        let passed =
            node != NO_NODE && matches!(self.active.item(queue, node), Some(Item::TimedOut(..)));
        if passed {
            self.unqueue(key, side);
        }
        passed
    }

    /// Takes the direction out of the active queue, if it is there.
    fn unqueue(&mut self, key: StreamKey, side: Side) {
        let stream = &mut self.streams[key];
        let queue = stream.queue_of(side);
        let node = std::mem::replace(&mut stream.side_mut(side).node, NO_NODE);
        if node != NO_NODE {
            self.remove_active(queue, node);
        }
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
            self.timed_only += 1;
        } else {
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

    pub(super) fn update_stream_fd(
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
        let mut watched = Dirs::empty();
        watched.set(Dirs::READ, stream.half[0].watched);
        watched.set(Dirs::WRITE, stream.half[1].watched);
        let told = std::mem::replace(&mut stream.told, watched);
        let user = User::stream(key);
        if told == watched && stream.trusts_edges(edge) && self.fds.is_alone(fd, user) {
            return Ok(());
        }
        // A bufferevent that has never waited for anything stays out of the table.
        if watched.is_empty() && !stream.half[1].armed {
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
}
