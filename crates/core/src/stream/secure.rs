//! Secured bufferevents: TLS between the buffers and the transport.
//!
//! The session itself (OpenSSL, rustls) is the shell's. To the core a secured bufferevent is one whose connection
//! stands only after a handshake, and whose transport may wait for the opposite direction. Everything else, from
//! watermarks to timeouts, is what it is without TLS.
//!
//! The transport is a descriptor, or another bufferevent. The latter then reports its progress with
//! [`lower_ready`](Core::lower_ready), where a driver would report the descriptor's.

use super::{Callbacks, Connecting, Side, Stream, Suspend};
use crate::base::{Core, Host, StreamKey};
use crate::driver::{Interest, Readiness};
use crate::flags::{Dirs, StreamEvent};

/// How a piece of the handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It is over, and all of it has been sent: data may move.
    Done,
    /// It waits for bytes of the peer.
    WantsRead,
    /// It waits for room to write.
    WantsWrite,
    /// It has failed, for good.
    Failed {
        /// The operating system's error number; 0 if the failure is not the transport's.
        error: i32,
        /// Whether the event says that it happened while reading, as that of a failed session does.
        reading: bool,
    },
}

/// What secured bufferevents have beside the others.
#[derive(Debug, Default)]
pub(crate) struct Secured {
    security: Security,
    /// The bufferevent below, which is the transport instead of a descriptor.
    lower: Option<StreamKey>,
    /// The session that has this one as its transport.
    upper: Option<StreamKey>,
    /// What the handshake waits for.
    wants: Interest,
    /// A write waits until the transport can be read.
    pub(super) write_wants_read: bool,
    /// The session may have something to send, even if the output is empty.
    pub(super) owes: bool,
    /// The session or its transport has failed: what the peer got is not all.
    pub(super) broken: bool,
    /// It is freed as soon as its output has been sent.
    lingers: bool,
}

/// Where the security of a bufferevent stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Security {
    /// There is none.
    #[default]
    None,
    /// The handshake comes when the transport stands, or is under way.
    Pending,
    /// The handshake is over.
    Open,
}

impl<H: Host> Core<H> {
    /// Puts a session between the buffers of a new bufferevent and its transport. With `open`, the session's handshake
    /// is over; otherwise it begins in the next pass, or when there is a connection.
    pub fn secure_stream(&mut self, key: StreamKey, open: bool) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.secured().security = if open {
            Security::Open
        } else {
            Security::Pending
        };
        // Whoever had the session before may have left something in it.
        stream.side_mut(Side::Read).ready = true;
        if !open && stream.has_transport() && stream.connecting == Connecting::No {
            self.begin_handshake(key);
        }
    }

    /// Says that the transport of this new bufferevent is another bufferevent of this base, `lower`, instead of a
    /// descriptor. That one reads only while this one wants to.
    pub fn set_lower(&mut self, key: StreamKey, lower: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.secured().lower = Some(lower);
            if let Some(lower) = self.streams.get_mut(lower) {
                lower.secured().upper = Some(key);
            }
            self.weigh_lower(key);
        }
    }

    /// The bufferevent below a session's, if that is its transport.
    pub fn lower(&self, key: StreamKey) -> Option<(StreamKey, H::Stream)> {
        let lower = self.streams.get(key)?.lower()?;
        Some((lower, self.streams.get(lower)?.cookie))
    }

    /// Parts it from the bufferevent below, which reads again as it likes.
    pub fn leave_lower(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let lower = stream.lower();
        if lower.is_none() {
            return;
        }
        for side in Side::BOTH {
            self.disarm(key, side);
        }
        self.streams[key].secured().lower = None;
        if let Some(lower) = lower {
            if let Some(secured) = self.streams.get_mut(lower).and_then(Stream::secured_mut) {
                secured.upper = None;
            }
            self.set_suspended(lower, Side::Read, Suspend::ABOVE, false);
        }
    }

    /// The bufferevent below has bytes for this one, or room for its bytes, or has come to its end.
    pub fn lower_ready(&mut self, key: StreamKey, readiness: Readiness) {
        self.stream_ready(key, readiness);
    }

    /// A piece of the handshake has been done. Returns what to call at once.
    pub fn handle_handshake(&mut self, key: StreamKey, outcome: Handshake) -> Callbacks {
        let Some(stream) = self.streams.get_mut(key) else {
            return Callbacks::NONE;
        };
        if stream.connecting != Connecting::Handshake {
            return Callbacks::NONE;
        }
        match outcome {
            Handshake::Done => {
                stream.secured().security = Security::Open;
                // Data may have come with the last bytes of the handshake.
                stream.side_mut(Side::Read).ready = true;
                self.begin_transfers(key)
            }
            Handshake::WantsRead | Handshake::WantsWrite => {
                let reads = outcome == Handshake::WantsRead;
                stream.secured().wants = if reads {
                    Interest::READ
                } else {
                    Interest::WRITE
                };
                let side = if reads { Side::Read } else { Side::Write };
                let half = stream.side_mut(side);
                half.ready = false;
                half.watched = true;
                self.set_stream_timer(key, Side::Write);
                self.note_fd(key);
                Callbacks::NONE
            }
            Handshake::Failed { error, reading } => {
                stream.connecting = Connecting::Failed;
                stream.secured().broken = true;
                stream.enabled -= Dirs::READ;
                self.disarm(key, Side::Read);
                self.disarm(key, Side::Write);
                self.note_fd(key);
                self.fail_ending(key, None);
                let mut event = StreamEvent::ERROR;
                event.set(StreamEvent::READING, reading);
                self.emit(
                    key,
                    Callbacks {
                        event,
                        error,
                        ..Callbacks::NONE
                    },
                )
            }
        }
    }

    /// The handshake has waited for too long for what it needs. That is told once, as of a connection attempt, and
    /// writing is off then; the handshake goes on.
    pub(super) fn handshake_timed_out(&mut self, key: StreamKey) -> Callbacks {
        self.streams[key].enabled -= Dirs::WRITE;
        self.emit(
            key,
            Callbacks {
                event: StreamEvent::TIMEOUT,
                ..Callbacks::NONE
            },
        )
    }

    /// The time limit of a step of the handshake in nanoseconds: that of the direction that it waits for.
    pub(super) fn handshake_limit(&self, key: StreamKey) -> u64 {
        let stream = &self.streams[key];
        let told = !stream.enabled.contains(Dirs::WRITE);
        match (told, stream.wants()) {
            (true, _) => 0,
            (false, Interest::READ) => stream.set_for(Side::Read).timeout,
            (false, _) => stream.set_for(Side::Write).timeout,
        }
    }

    /// Does the handshake once more on an open session (`bufferevent_ssl_renegotiate`). Data that is under way goes
    /// first; the event callback hears `CONNECTED` again when it is over.
    pub fn renew_handshake(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.security() == Security::Open && stream.connecting == Connecting::No {
            self.begin_handshake(key);
        }
    }

    /// A write has to wait until bytes of the peer have come.
    pub fn handle_write_wants_read(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.secured().write_wants_read = true;
        stream.side_mut(Side::Read).watched = true;
        self.weigh_lower(key);
        self.note_fd(key);
    }

    /// The connection is gone, and the session, which the shell has reset, has its handshake to make on the next one.
    pub fn restart_security(&mut self, key: StreamKey) {
        let secured = self.streams.get_mut(key).and_then(Stream::secured_mut);
        if let Some(secured) = secured.filter(|secured| secured.security != Security::None) {
            *secured = Secured {
                security: Security::Pending,
                lower: secured.lower,
                upper: secured.upper,
                ..Secured::default()
            };
        }
    }

    /// Starts the handshake over, as soon as writing is enabled.
    pub(super) fn begin_handshake(&mut self, key: StreamKey) {
        let stream = &mut self.streams[key];
        stream.connecting = Connecting::Handshake;
        stream.secured().wants = Interest::WRITE;
        let may = stream.enabled.contains(Dirs::WRITE)
            && stream.side(Side::Write).suspended.is_empty()
            && !stream.freed;
        if may {
            self.arm(key, Side::Write);
        } else {
            self.disarm(key, Side::Write);
        }
        self.note_fd(key);
    }

    /// Frees it when its output, which the user does not see any more, has been sent, or when that has made no
    /// progress for `patience` nanoseconds. The user's reference goes; no callback runs any more.
    pub fn linger_and_free(&mut self, key: StreamKey, unsent: usize, patience: u64) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if stream.freed {
            return;
        }
        stream.freed = true;
        stream.secured().lingers = true;
        stream.enabled = Dirs::WRITE;
        stream.lens[Side::Write as usize] = unsent;
        self.timed -= usize::from(stream.is_timed());
        stream.change_settings(Side::Write, |settings| settings.timeout = patience);
        self.timed += usize::from(stream.is_timed());
        self.silence(key);
        self.disarm(key, Side::Read);
        self.arm(key, Side::Write);
        self.note_fd(key);
    }

    /// Lets the bufferevent below read exactly while this one has a use for bytes.
    pub(super) fn weigh_lower(&mut self, key: StreamKey) {
        let stream = &self.streams[key];
        let Some(lower) = stream.lower() else {
            return;
        };
        let wanted = stream.side(Side::Read).armed
            || stream.connecting == Connecting::Handshake && stream.side(Side::Write).armed
            || stream.write_wants_read();
        self.set_suspended(lower, Side::Read, Suspend::ABOVE, !wanted);
    }

    /// Lets go of everything that is kept, or to be freed, once its output is sent: the base ends.
    pub fn end_all_lingering(&mut self) {
        let keys: Vec<StreamKey> = self.streams.iter().map(|(key, _)| key).collect();
        for key in keys {
            // One that goes may take another one with it.
            if self.streams.get(key).is_some() {
                self.free_ending(key);
            }
            if self.streams.get(key).is_some() {
                self.end_lingering(key);
            }
        }
    }

    /// Lets go of a bufferevent that was kept until its output was sent. Returns whether it was one.
    pub(super) fn end_lingering(&mut self, key: StreamKey) -> bool {
        let secured = self.streams[key].secured_mut();
        let lingers = secured.is_some_and(|secured| std::mem::take(&mut secured.lingers));
        if lingers {
            self.release(key);
        }
        lingers
    }
}

impl<S> Stream<S> {
    /// Whether everything that the user wrote has been sent, over a session that works: its end may then be told.
    pub fn is_at_rest(&self) -> bool {
        self.security() == Security::Open
            && self.connecting == Connecting::No
            && !self.is_broken()
            && self.len(Side::Write) == 0
    }

    /// How much there is to send with an output of this length: something in any case, while the session has a word of
    /// its own to send.
    #[inline]
    pub(super) fn length_to_send(&self, output: usize) -> usize {
        match self.secured_ref() {
            Some(secured) if secured.owes => output.max(1),
            _ => output,
        }
    }

    /// Whether it is freed as soon as its output has been sent.
    pub(super) fn lingers(&self) -> bool {
        self.secured_ref().is_some_and(|secured| secured.lingers)
    }

    /// Whether a session secures it whose handshake is over.
    pub fn is_secured(&self) -> bool {
        self.security() == Security::Open
    }

    /// Whether the session may hold bytes that no driver knows of.
    #[inline]
    pub(super) fn is_secure(&self) -> bool {
        self.security() != Security::None
    }

    /// Whether a session has it as its transport.
    pub(super) fn carries_session(&self) -> bool {
        self.secured_ref()
            .is_some_and(|secured| secured.upper.is_some())
    }

    /// Whether the session or its transport has failed.
    pub(super) fn is_broken(&self) -> bool {
        self.secured_ref().is_some_and(|secured| secured.broken)
    }

    #[inline]
    pub(super) fn security(&self) -> Security {
        let secured = self.secured_ref();
        secured.map_or(Security::None, |secured| secured.security)
    }

    /// The bufferevent below, which is the transport instead of a descriptor.
    #[inline]
    pub(super) fn lower(&self) -> Option<StreamKey> {
        self.secured_ref()?.lower
    }

    pub(super) fn wants(&self) -> Interest {
        let secured = self.secured_ref();
        secured.map_or(Interest::empty(), |secured| secured.wants)
    }

    pub(super) fn write_wants_read(&self) -> bool {
        let secured = self.secured_ref();
        secured.is_some_and(|secured| secured.write_wants_read)
    }

    pub(super) fn secured(&mut self) -> &mut Secured {
        let rare = self.rare.get_or_insert_default();
        rare.secured.get_or_insert_default()
    }

    fn secured_ref(&self) -> Option<&Secured> {
        self.rare.as_ref()?.secured.as_ref()
    }

    pub(super) fn secured_mut(&mut self) -> Option<&mut Secured> {
        self.rare.as_mut()?.secured.as_mut()
    }
}
