//! Endings: what is to happen once everything that was written is gone.
//!
//! The end goes down a stack from the top: a stage is run as finished, and when its output is empty, the one below it
//! ends. A session (TLS) tells its peer ([`Io::EndSession`]) after its handshake and all output, and what is below it
//! ends when that has gone too. At the bottom the shell shuts the socket's sending side down ([`Io::Shutdown`]), and a
//! pair's other end is told. Then the one that the user has asked hears of it, or is freed. One deadline counts for all
//! of that.

use std::io;

use super::pair::Reach;
use super::transfer::error_number;
use super::{Callbacks, Connecting, Io, Security, Side, Stream, StreamWork};
use crate::base::{Core, Host, StreamKey, TimerOwner};
use crate::flags::{Dirs, StreamEvent, Trigger};
use crate::stream::Mode;
use crate::timer::TimerId;

/// An end that is under way.
#[derive(Debug)]
pub(super) struct Ending {
    then: Then,
    timer: Option<TimerId>,
    /// A stage has been run as finished; a session has told its peer.
    finished: bool,
    /// The shell is at it, or the one below.
    handed_down: bool,
    /// What the transport does not take at the first attempt is dropped.
    once: bool,
}

/// What comes at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The event callback hears `EOF | WRITING`.
    Tell,
    /// It is freed.
    Free,
    /// The stage above goes on.
    Above(StreamKey),
}

impl<H: Host> Core<H> {
    /// Ends writing: once all output is gone, through all that is below, the receiver is told the end of the stream, and
    /// the event callback `EOF | WRITING`, with writing disabled; or `TIMEOUT | WRITING` if that takes longer than
    /// `patience` nanoseconds (`None`: for ever). Returns whether it exists, is not ending already, carries no stage and
    /// no session, and has not failed in its own session's handshake.
    pub fn finish(&mut self, key: StreamKey, patience: Option<u64>) -> bool {
        let carries_session = self.streams.get(key).is_some_and(Stream::carries_session);
        if self.above(key).is_some() || carries_session {
            return false;
        }
        self.start_ending(key, Then::Tell, patience)
    }

    /// Frees it once all output is gone, as [`finish`](Self::finish) says, after `patience` nanoseconds, or when writing
    /// has failed. No callback runs any more. Returns whether it exists.
    pub fn free_when_drained(&mut self, key: StreamKey, patience: Option<u64>) -> bool {
        let Some(stream) = self.streams.get(key) else {
            return false;
        };
        if stream.freed {
            return false;
        }
        self.set_listening(key, false, false, false);
        self.disable(key, Dirs::READ);
        self.forget_ending(key);
        if !self.start_ending(key, Then::Free, patience) {
            // Nothing of it will ever be sent.
            self.free_stream(key);
        }
        true
    }

    /// Frees it once the transport has been offered all output that is there now. No callback runs any more.
    pub(super) fn free_when_offered(&mut self, key: StreamKey) {
        if !self.free_when_drained(key, None) {
            return;
        }
        if let Some(ending) = self.ending_mut(key) {
            ending.once = true;
        }
    }

    /// Its transport takes no more output now. Returns whether it is freed for that.
    pub(super) fn give_up_ending(&mut self, key: StreamKey) -> bool {
        let once = self.ending_mut(key).is_some_and(|ending| ending.once);
        once && self.free_stream(key)
    }

    /// Frees it if it is to be freed at its end.
    pub(super) fn free_ending(&mut self, key: StreamKey) {
        let frees = self.ending_mut(key).is_some_and(|e| e.then == Then::Free);
        if frees {
            self.free_stream(key);
        }
    }

    /// The session was to tell its peer the end, as [`Io::EndSession`] said: so many bytes of that wait in it for room.
    /// `None`: that could not be done now, as the session is in use.
    pub fn handle_session_end(&mut self, key: StreamKey, outcome: Option<io::Result<usize>>) {
        if let Some(ending) = self.ending_mut(key) {
            ending.handed_down = false;
            match outcome {
                None => {
                    ending.finished = false;
                    self.queue_again(key);
                }
                Some(Ok(0)) => self.go_on_ending(key),
                Some(Ok(unsent)) => self.send_rest(key, unsent),
                Some(Err(error)) => self.break_session(key, error_number(&error)),
            }
        }
        self.release(key);
    }

    /// The sending side of a socket was shut down, as [`Io::Shutdown`] said.
    pub fn handle_shutdown(&mut self, key: StreamKey) {
        self.end(key);
        self.release(key);
    }

    /// The deadline of an end has passed.
    pub(crate) fn expire_ending(&mut self, key: StreamKey) {
        self.timed_only -= 1;
        let Some(ending) = self.ending_mut(key) else {
            return;
        };
        ending.timer = None;
        let then = ending.then;
        self.forget_ending(key);
        if then == Then::Free {
            self.free_stream(key);
            return;
        }
        self.disable(key, Dirs::WRITE);
        self.tell_ending(key, StreamEvent::TIMEOUT, 0);
    }

    /// Writing has failed, with this error of the operating system's, or by a timeout: an end that waits for it does not
    /// come.
    pub(super) fn fail_ending(&mut self, key: StreamKey, error: Option<i32>) {
        let Some(then) = self.ending_mut(key).map(|ending| ending.then) else {
            return;
        };
        self.forget_ending(key);
        match then {
            Then::Free => {
                self.free_stream(key);
            }
            Then::Above(above) => {
                let lower = self.streams.get(above).and_then(Stream::lower);
                match error {
                    // It has nothing to write any more, by which it would notice.
                    Some(error) if lower == Some(key) => self.break_session(above, error),
                    _ => self.fail_ending(above, error),
                }
            }
            Then::Tell => {}
        }
    }

    /// What a session has said last will not arrive: as if writing had failed.
    fn break_session(&mut self, key: StreamKey, error: i32) {
        if let Some(secured) = self.streams.get_mut(key).and_then(Stream::secured_mut) {
            secured.broken = true;
        }
        self.disable(key, Dirs::WRITE);
        self.fail_ending(key, Some(error));
        self.tell_ending(key, StreamEvent::ERROR, error);
    }

    /// Looks whether an end can go on.
    #[inline]
    pub(super) fn weigh_ending(&mut self, key: StreamKey) {
        if self
            .streams
            .get(key)
            .is_some_and(|stream| stream.has_ending())
        {
            self.go_on_ending(key);
        }
    }

    /// Whether a stage has been run as finished, but has output left that it may work on.
    pub(super) fn is_finishing(&self, key: StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| {
            let extra = stream.extra.as_ref();
            let ending = extra.and_then(|extra| extra.ending.as_ref());
            ending.is_some_and(|ending| ending.finished)
                && stream.side(Side::Write).armed
                && stream.len(Side::Write) > 0
        })
    }

    pub(super) fn forget_ending(&mut self, key: StreamKey) {
        let ending = self.streams.get_mut(key).and_then(|stream| {
            let extra = stream.extra.as_mut()?;
            extra.ending.take()
        });
        let Some(ending) = ending else { return };
        if let Some(timer) = ending.timer {
            self.timers.remove(timer);
            self.timed_only -= 1;
        }
        if let Some(below) = self.streams.get(key).and_then(|s| s.below().or(s.lower())) {
            self.forget_ending(below);
        }
    }

    fn start_ending(&mut self, key: StreamKey, then: Then, patience: Option<u64>) -> bool {
        let now = self.now;
        let Some(stream) = self.streams.get(key) else {
            return false;
        };
        if stream.freed || stream.has_ending() || stream.connecting == Connecting::Failed {
            return false;
        }
        let timer = patience.map(|patience| {
            self.timed_only += 1;
            self.timers
                .insert(now.saturating_add(patience), TimerOwner::Ending(key))
        });
        self.streams[key].extra().ending = Some(Box::new(Ending {
            then,
            timer,
            finished: false,
            handed_down: false,
            once: false,
        }));
        self.go_on_ending(key);
        true
    }

    fn go_on_ending(&mut self, key: StreamKey) {
        let below = self.below(key);
        let stream = &self.streams[key];
        let (len, layered) = (stream.len(Side::Write), stream.is_layered());
        let connecting = stream.has_transport() && !stream.is_usable();
        let (secure, lower) = (stream.is_secure(), stream.lower());
        let Some(ending) = self.ending_mut(key) else {
            return;
        };
        if ending.handed_down {
            return;
        }
        if let Some((below, _)) = below {
            if !std::mem::replace(&mut ending.finished, true) {
                return self.request_process(key, Dirs::WRITE, Mode::Finished);
            }
            if len > 0 || self.is_at_work(key) {
                return;
            }
            if let Some(ending) = self.ending_mut(key) {
                ending.handed_down = true;
            }
            if !self.start_ending(below, Then::Above(key), None) {
                self.end(key);
            }
            return;
        }
        if layered {
            if !std::mem::replace(&mut ending.finished, true) {
                // Nothing may stay behind the end.
                self.flush_pair(key, Dirs::WRITE, Mode::Finished, Reach::All);
            }
            let alone = self.partner(key).is_none();
            if alone || self.streams[key].len(Side::Write) == 0 && self.move_target(key).is_none() {
                self.end(key);
            }
            return;
        }
        if len > 0 || connecting {
            return;
        }
        if secure && !self.end_session(key) {
            return;
        }
        if let Some(ending) = self.ending_mut(key) {
            ending.handed_down = true;
        }
        if let Some(lower) = lower {
            if !self.start_ending(lower, Then::Above(key), None) {
                // It has been freed, with what was in it.
                self.break_session(key, ECONNABORTED);
            }
            return;
        }
        let fd = self.streams[key].fd;
        self.hand_out(key, Io::Shutdown { fd });
    }

    /// Has a session tell its peer the end. Returns whether that has been done, or cannot be.
    fn end_session(&mut self, key: StreamKey) -> bool {
        let stream = &self.streams[key];
        let (fd, kind) = (stream.fd, stream.kind);
        let (security, broken) = (stream.security(), stream.is_broken());
        let Some(ending) = self.ending_mut(key) else {
            return false;
        };
        if broken || ending.finished {
            return true;
        }
        if security == Security::Open {
            ending.finished = true;
            ending.handed_down = true;
            self.hand_out(key, Io::EndSession { fd, kind });
        }
        // Otherwise the handshake comes first.
        false
    }

    /// What a session has said last, this many bytes, waits for room.
    fn send_rest(&mut self, key: StreamKey, unsent: usize) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.lens[Side::Write as usize] = unsent;
        stream.secured().owes = true;
        let may =
            stream.enabled.contains(Dirs::WRITE) && stream.side(Side::Write).suspended.is_empty();
        if may {
            self.arm(key, Side::Write);
            self.note_fd(key);
        }
    }

    /// Has the shell do something for it, and keeps it alive until then.
    fn hand_out(&mut self, key: StreamKey, io: Io) {
        self.retain(key);
        let cookie = self.streams[key].cookie;
        self.due.push(StreamWork { key, cookie, io });
    }

    /// It has ended.
    fn end(&mut self, key: StreamKey) {
        let Some(then) = self.ending_mut(key).map(|ending| ending.then) else {
            return;
        };
        // Of the stack, only this one: what is below has ended.
        self.forget_ending(key);
        if then == Then::Free {
            self.free_stream(key);
            return;
        }
        self.disable(key, Dirs::WRITE);
        match then {
            Then::Above(above) => self.end(above),
            _ => self.tell_ending(key, StreamEvent::EOF, 0),
        }
    }

    fn tell_ending(&mut self, key: StreamKey, event: StreamEvent, error: i32) {
        let callbacks = Callbacks {
            event: event | StreamEvent::WRITING,
            error,
            ..Callbacks::NONE
        };
        // From the loop: whoever asks for the end does not expect to hear of it at once. So nothing is to be called now.
        let _ = self.emit_how(key, callbacks, Trigger::DEFER);
    }

    fn ending_mut(&mut self, key: StreamKey) -> Option<&mut Ending> {
        self.streams
            .get_mut(key)?
            .extra
            .as_mut()?
            .ending
            .as_deref_mut()
    }
}

/// Linux's number, for a bufferevent that is freed while another one's end waits for it.
const ECONNABORTED: i32 = 103;
