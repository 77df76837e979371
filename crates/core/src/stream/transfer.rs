//! What the transport answered.

use std::io;

use super::control::ECONNREFUSED;
use super::{Callbacks, Connecting, Io, Security, Side, StreamWork};
use crate::active::NO_NODE;
use crate::base::{Core, Host, Item, StreamKey};
use crate::driver::{Readiness, Received, Sent};
use crate::flags::{Dirs, StreamEvent, Trigger};
use crate::run::Heard;

/// The most that is read at a time where the user sets no limit: one busy peer must not keep the others waiting, and
/// what was read should still be in the cache when it is sent on.
const MAX_READ: usize = 96 << 10;

/// The most that is written at a time where nobody can see how it is cut up.
const MAX_WRITE: usize = 1 << 20;

/// How output is cut up while a low mark makes the pieces visible: libevent's default.
const WRITE_PIECE: usize = 16384;

impl<H: Host> Core<H> {
    /// A read has ended with `outcome`; the input buffer holds `len` bytes now. Returns what to call at once.
    pub fn handle_read(
        &mut self,
        key: StreamKey,
        outcome: io::Result<Received>,
        len: usize,
    ) -> Callbacks {
        let Some(stream) = self.streams.get_mut(key) else {
            return Callbacks::NONE;
        };
        stream.lens[Side::Read as usize] = len;
        let received = match outcome {
            Ok(received) => received,
            Err(error) if is_transient(&error) => {
                // Interrupted: nothing is known, so it is tried again.
                let again = error.kind() == io::ErrorKind::Interrupted;
                return self.read_paused(key, again);
            }
            Err(error) => {
                return self.fail(key, Side::Read, StreamEvent::ERROR, error_number(&error));
            }
        };
        if received.bytes == 0 {
            return self.fail(key, Side::Read, StreamEvent::EOF, 0);
        }
        if self.rated > 0 {
            self.spend(key, Side::Read, received.bytes);
        }
        let Some(stream) = self.streams.get_mut(key) else {
            return Callbacks::NONE;
        };
        let latch = (stream.trusts_edges(self.edge) || stream.is_secure())
            && (!received.drained || stream.end_seen);
        stream.side_mut(Side::Read).ready = latch;
        self.restart_stream_timer(key, Side::Read);
        if self.streams[key].set_for(Side::Read).mark.high != 0 {
            self.weigh_input(key);
        }
        self.run.note_heard(Heard::Bytes(key));
        let stream = &self.streams[key];
        let half = stream.side(Side::Read);
        let enough = stream.len(Side::Read) >= stream.set_for(Side::Read).mark.low;
        if latch && half.armed {
            self.queue_again(key);
        }
        self.emit(
            key,
            Callbacks {
                read: enough,
                ..Callbacks::NONE
            },
        )
    }

    /// A write has ended with `outcome`; the output buffer holds `len` bytes now. Returns what to call at once.
    pub fn handle_written(
        &mut self,
        key: StreamKey,
        outcome: io::Result<Sent>,
        len: usize,
    ) -> Callbacks {
        let Some(stream) = self.streams.get_mut(key) else {
            return Callbacks::NONE;
        };
        stream.lens[Side::Write as usize] = len;
        if let Some(secured) = stream.secured_mut() {
            secured.owes = len > 0;
        }
        let sent = match outcome {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.queue_unsent(key);
                return Callbacks::NONE;
            }
            Err(error) if is_transient(&error) => {
                if !self.give_up_ending(key) {
                    self.write_blocked(key);
                }
                return Callbacks::NONE;
            }
            Err(error) => {
                return self.fail(key, Side::Write, StreamEvent::ERROR, error_number(&error));
            }
        };
        if sent.bytes == 0 && len > 0 && !sent.blocked {
            return self.fail(key, Side::Write, StreamEvent::EOF, 0);
        }
        if len == 0 && self.end_lingering(key) {
            return Callbacks::NONE;
        }
        if sent.blocked && self.give_up_ending(key) {
            return Callbacks::NONE;
        }
        if self.rated > 0 {
            self.spend(key, Side::Write, sent.bytes);
        }
        if len == 0 {
            self.disarm(key, Side::Write);
            // A driver that reports levels would go on to report this one.
            self.note_fd(key);
        } else {
            self.restart_stream_timer(key, Side::Write);
            if sent.blocked {
                self.write_blocked(key);
            } else if self.streams[key].side(Side::Write).armed {
                self.queue_unsent(key);
            }
        }
        self.weigh_sink(key);
        self.weigh_ending(key);
        let Some(stream) = self.streams.get(key) else {
            return Callbacks::NONE;
        };
        let low = stream.set_for(Side::Write).mark.low;
        // Of a session: never inside the call that caused it, as libevent does it. What the session sent for itself
        // is nobody's concern.
        let how = if stream.is_secure() {
            Trigger::DEFER
        } else {
            Trigger::empty()
        };
        let own = stream.is_secure() && sent.bytes == 0;
        self.emit_how(
            key,
            Callbacks {
                write: len <= low && !own,
                ..Callbacks::NONE
            },
            how,
        )
    }

    /// A connection attempt is said to have ended. Returns what to call at once.
    pub fn handle_connected(&mut self, key: StreamKey, outcome: io::Result<()>) -> Callbacks {
        let Some(stream) = self.streams.get_mut(key) else {
            return Callbacks::NONE;
        };
        if stream.connecting == Connecting::No {
            return Callbacks::NONE;
        }
        if let Err(error) = outcome {
            if is_transient(&error) {
                return Callbacks::NONE;
            }
            stream.connecting = Connecting::No;
            let stream_is_secure = stream.is_secure();
            self.disarm(key, Side::Read);
            self.disarm(key, Side::Write);
            self.note_fd(key);
            let error = error_number(&error);
            let mut event = StreamEvent::ERROR;
            // As libevent reports it of a session.
            event.set(StreamEvent::READING, stream_is_secure);
            self.fail_ending(key, Some(error));
            return self.emit(
                key,
                Callbacks {
                    event,
                    error,
                    ..Callbacks::NONE
                },
            );
        }
        stream.connecting = Connecting::No;
        if stream.security() == Security::Pending {
            self.begin_handshake(key);
            return Callbacks::NONE;
        }
        self.begin_transfers(key)
    }

    /// The connection stands: what waited for it goes ahead. Returns what to call at once.
    pub(super) fn begin_transfers(&mut self, key: StreamKey) -> Callbacks {
        let stream = &mut self.streams[key];
        stream.connecting = Connecting::No;
        let may_write =
            stream.enabled.contains(Dirs::WRITE) && stream.side(Side::Write).suspended.is_empty();
        if !may_write || stream.len(Side::Write) == 0 {
            self.disarm(key, Side::Write);
        } else {
            self.restart_stream_timer(key, Side::Write);
            self.queue_unsent(key);
        }
        let read = self.streams[key].side(Side::Read);
        if read.armed && read.ready {
            self.push_ready(key, Side::Read);
        }
        self.weigh_ending(key);
        self.note_fd(key);
        self.run.note_heard(Heard::Connected(key));
        let callbacks = self.emit(
            key,
            Callbacks {
                event: StreamEvent::CONNECTED,
                ..Callbacks::NONE
            },
        );
        self.run.telling = (!callbacks.is_empty()).then_some(key);
        callbacks
    }

    /// The driver has reported its descriptor.
    pub(crate) fn stream_ready(&mut self, key: StreamKey, readiness: Readiness) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let trusts_edges = stream.trusts_edges(self.edge);
        let ended = readiness.intersects(Readiness::CLOSED | Readiness::FAILED);
        let readable = readiness.contains(Readiness::READ) || ended;
        let writable = readiness.intersects(Readiness::WRITE | Readiness::FAILED);
        stream.end_seen |= ended && trusts_edges;
        stream.side_mut(Side::Read).ready |= readable && trusts_edges;
        stream.side_mut(Side::Write).ready |= writable;
        if stream.connecting == Connecting::Started {
            if writable {
                self.push_ready(key, Side::Write);
            }
            return;
        }
        if stream.connecting == Connecting::Handshake {
            if stream.side(Side::Write).armed {
                self.push_ready(key, Side::Write);
            }
            return;
        }
        if readable
            && let Some(secured) = stream.secured_mut()
            && std::mem::take(&mut secured.write_wants_read)
        {
            self.queue_unsent(key);
        }
        let stream = &self.streams[key];
        let read = readable && stream.side(Side::Read).armed;
        let write = writable && stream.side(Side::Write).armed;
        let useless = trusts_edges && !write && readiness == Readiness::WRITE;
        if write && stream.write_first {
            self.push_ready(key, Side::Write);
        }
        if read {
            self.push_ready(key, Side::Read);
        }
        if write {
            self.push_ready(key, Side::Write);
        }
        if useless {
            // Unix sockets report room after every read of the peer: not worth waking up for.
            self.streams[key].side_mut(Side::Write).watched = false;
            self.note_fd(key);
        }
    }

    pub(super) fn push_ready(&mut self, key: StreamKey, side: Side) {
        let stream = &mut self.streams[key];
        if stream.side(side).node == NO_NODE {
            let node = self.active.push(stream.priority, Item::Ready(key, side));
            stream.queued(side, node);
        }
    }

    /// The timeout of a direction has passed.
    pub(crate) fn expire_stream(&mut self, key: StreamKey, side: Side) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let priority = stream.priority;
        stream.side_mut(side).timer = None;
        self.count_layer_timer(key, false);
        let half = self.streams[key].side_mut(side);
        if half.armed && half.node == NO_NODE {
            let node = self.active.push(priority, Item::TimedOut(key, side));
            self.streams[key].queued(side, node);
        } else {
            // What became ready in the same pass wins; it may turn out to be nothing, and then the time runs on.
            self.restart_stream_timer(key, side);
        }
    }

    /// A ready direction has come to the front of the queue: what is to be done, if anything.
    pub(crate) fn begin_ready(
        &mut self,
        key: StreamKey,
        side: Side,
    ) -> Option<StreamWork<H::Stream>> {
        let stream = self.streams.get_mut(key)?;
        stream.side_mut(side).node = NO_NODE;
        let (cookie, fd) = (stream.cookie, stream.fd);
        if stream.connecting != Connecting::No && side == Side::Write {
            let kind = stream.kind;
            let io = match stream.connecting {
                Connecting::Done => Io::Call(self.handle_connected(key, Ok(()))),
                Connecting::Handshake => Io::Handshake { fd, kind },
                _ => Io::FinishConnect { fd },
            };
            return Some(StreamWork { key, cookie, io });
        }
        if !stream.side(side).armed || !stream.is_usable() {
            return None;
        }
        let io = match side {
            Side::Read => self.begin_read(key)?,
            Side::Write => self.begin_write(key),
        };
        Some(StreamWork { key, cookie, io })
    }

    /// A timeout has come to the front of the queue.
    pub(crate) fn begin_timed_out(
        &mut self,
        key: StreamKey,
        side: Side,
    ) -> Option<StreamWork<H::Stream>> {
        let stream = self.streams.get_mut(key)?;
        stream.side_mut(side).node = NO_NODE;
        if !stream.side(side).armed {
            return None;
        }
        let cookie = stream.cookie;
        if self.end_lingering(key) {
            return None;
        }
        if self.streams[key].connecting == Connecting::Handshake {
            let io = Io::Call(self.handshake_timed_out(key));
            return Some(StreamWork { key, cookie, io });
        }
        let event = StreamEvent::TIMEOUT | side.event();
        self.disable(key, side.dirs());
        if side == Side::Write {
            self.fail_ending(key, None);
        }
        let io = Io::Call(self.emit(
            key,
            Callbacks {
                event,
                ..Callbacks::NONE
            },
        ));
        Some(StreamWork { key, cookie, io })
    }

    /// What is left of the last pass: more to read, a read callback to repeat.
    pub(crate) fn resume(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.in_again = false;
        let layered = stream.is_layered();
        let read = stream.side(Side::Read);
        let more = read.armed && read.ready && stream.is_usable();
        if std::mem::take(&mut stream.call_again) {
            self.defer(
                key,
                Callbacks {
                    read: true,
                    ..Callbacks::NONE
                },
            );
        }
        if more {
            self.push_ready(key, Side::Read);
        }
        if layered {
            // A pair has nothing that waits for the loop.
            self.resume_stage(key);
        }
        self.weigh_ending(key);
    }

    fn begin_read(&mut self, key: StreamKey) -> Option<Io> {
        let stream = &self.streams[key];
        let settings = stream.set_for(Side::Read);
        let max = if settings.max_single > 0 {
            settings.max_single
        } else {
            MAX_READ
        };
        let (high, len) = (settings.mark.high, stream.len(Side::Read));
        let max = stream.pipe_limit().map_or(max, |limit| max.min(limit));
        let max = self.rated_limit(key, Side::Read, max);
        let stream = &self.streams[key];
        let limit = match high {
            0 => max,
            high => max.min(high.saturating_sub(len)),
        };
        if limit == 0 {
            return None;
        }
        Some(Io::Read {
            fd: stream.fd,
            kind: stream.kind,
            limit,
        })
    }

    pub(super) fn begin_write(&mut self, key: StreamKey) -> Io {
        let stream = &self.streams[key];
        let (len, settings) = (stream.len(Side::Write), stream.set_for(Side::Write));
        let (fd, kind) = (stream.fd, stream.kind);
        if len == 0 {
            self.disarm(key, Side::Write);
            self.note_fd(key);
            return Io::Call(self.emit(
                key,
                Callbacks {
                    write: true,
                    ..Callbacks::NONE
                },
            ));
        }
        let limit = if settings.max_single > 0 {
            settings.max_single
        } else if settings.mark.low == 0 {
            MAX_WRITE
        } else {
            // Every piece that ends at or under the low mark calls back, so those keep libevent's size; what lies
            // above the mark goes in one piece, of a multiple of it.
            let above = len.saturating_sub(settings.mark.low).min(MAX_WRITE);
            above.div_ceil(WRITE_PIECE).max(1) * WRITE_PIECE
        };
        let limit = self.rated_limit(key, Side::Write, limit);
        if limit == 0 {
            // Suspended until the bucket holds something again.
            return Io::Call(Callbacks::NONE);
        }
        Io::Write { fd, kind, limit }
    }

    /// What a rate limit leaves of the limit of a transfer.
    #[inline]
    fn rated_limit(&mut self, key: StreamKey, side: Side, limit: usize) -> usize {
        if self.rated == 0 {
            return limit;
        }
        let limit = self.rate_allowance(key, side, limit);
        if limit == 0 {
            // It should have been suspended; what is found out now counts as spent.
            self.spend(key, side, 0);
        }
        limit
    }

    /// The direction has come to its end: it is disabled, and the event callback hears why.
    fn fail(&mut self, key: StreamKey, side: Side, event: StreamEvent, error: i32) -> Callbacks {
        let latch = self.streams[key].trusts_edges(self.edge);
        if self.end_lingering(key) {
            return Callbacks::NONE;
        }
        if let Some(secured) = self.streams[key].secured_mut() {
            secured.broken |= event.contains(StreamEvent::ERROR);
        }
        // Whoever enables it again is told again.
        self.streams[key].side_mut(side).ready = latch || side == Side::Write;
        self.disable(key, side.dirs());
        let event = event | side.event();
        if side == Side::Write || event.contains(StreamEvent::ERROR) {
            self.fail_ending(key, Some(error));
        }
        self.emit(
            key,
            Callbacks {
                event,
                error,
                ..Callbacks::NONE
            },
        )
    }

    fn read_paused(&mut self, key: StreamKey, again: bool) -> Callbacks {
        let stream = &self.streams[key];
        let latch = again && (stream.trusts_edges(self.edge) || stream.is_secure());
        self.streams[key].side_mut(Side::Read).ready = latch;
        if latch {
            self.queue_again(key);
        }
        Callbacks::NONE
    }

    fn write_blocked(&mut self, key: StreamKey) {
        let half = self.streams[key].side_mut(Side::Write);
        half.ready = false;
        if !half.watched {
            half.watched = true;
        }
        self.note_fd(key);
    }
}

pub(super) fn is_transient(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = 115;
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(EINPROGRESS)
}

pub(super) fn error_number(error: &io::Error) -> i32 {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ECONNREFUSED,
        _ => error.raw_os_error().unwrap_or(EIO),
    }
}

/// Linux's number, for an error that has none.
const EIO: i32 = 5;
