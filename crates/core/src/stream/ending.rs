//! Endings: what is to happen once everything that was written is gone.
//!
//! The end goes down a stack from the top: a stage is run as finished, and when its output is empty, the one below it
//! ends; at the bottom the shell shuts the socket's sending side down ([`Io::Shutdown`]), and a pair's other end is told.
//! Then the one that the user has asked hears of it, or is freed. One deadline counts for all of that.

use super::{Callbacks, Io, Side, Stream, StreamWork};
use crate::base::{Core, Host, StreamKey, TimerOwner};
use crate::flags::{Dirs, StreamEvent};
use crate::stream::Mode;
use crate::timer::TimerId;

/// An end that is under way.
#[derive(Debug)]
pub(super) struct Ending {
    then: Then,
    timer: Option<TimerId>,
    /// A stage has been run as finished.
    finished: bool,
    /// The shell is at it, or the one below.
    handed_down: bool,
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
    /// `patience` nanoseconds (`None`: for ever). Returns whether it exists, is not ending already, carries no stage, and
    /// no session at the bottom, whose own end takes both directions.
    pub fn finish(&mut self, key: StreamKey, patience: Option<u64>) -> bool {
        if self.above(key).is_some() || self.stands_on_session(key) {
            return false;
        }
        self.start_ending(key, Then::Tell, patience)
    }

    /// Frees it once all output is gone, as [`finish`](Self::finish) says, after `patience` nanoseconds, or when writing
    /// has failed. No callback runs any more. Returns whether it exists, with no session at the bottom.
    pub fn free_when_drained(&mut self, key: StreamKey, patience: Option<u64>) -> bool {
        if self.stands_on_session(key) {
            return false;
        }
        let Some(stream) = self.streams.get(key) else {
            return false;
        };
        if stream.freed {
            return false;
        }
        self.set_listening(key, false, false, false);
        self.disable(key, Dirs::READ);
        self.forget_ending(key);
        self.start_ending(key, Then::Free, patience)
    }

    /// Whether a session (TLS) is at the bottom: its shell ends it in a way of its own.
    pub fn stands_on_session(&self, key: StreamKey) -> bool {
        let bottom = self.streams.get(self.bottom(key));
        bottom.is_some_and(Stream::is_secure)
    }

    /// The sending side of a socket was shut down, as [`Io::Shutdown`] said.
    pub fn handle_shutdown(&mut self, key: StreamKey) {
        self.end(key);
        self.release(key);
    }

    /// The deadline of an end has passed.
    pub(crate) fn expire_ending(&mut self, key: StreamKey) {
        self.pending -= 1;
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
        self.tell_ending(key, StreamEvent::TIMEOUT);
    }

    /// Writing has failed: an end that waits for it does not come.
    pub(super) fn fail_ending(&mut self, key: StreamKey) {
        let Some(then) = self.ending_mut(key).map(|ending| ending.then) else {
            return;
        };
        self.forget_ending(key);
        match then {
            Then::Free => {
                self.free_stream(key);
            }
            Then::Above(above) => self.fail_ending(above),
            Then::Tell => {}
        }
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

    pub(super) fn forget_ending(&mut self, key: StreamKey) {
        let ending = self.streams.get_mut(key).and_then(|stream| {
            let extra = stream.extra.as_mut()?;
            extra.ending.take()
        });
        let Some(ending) = ending else { return };
        if let Some(timer) = ending.timer {
            self.timers.remove(timer);
            self.pending -= 1;
            self.timed_only -= 1;
        }
        if let Some((below, _)) = self.below(key) {
            self.forget_ending(below);
        }
    }

    fn start_ending(&mut self, key: StreamKey, then: Then, patience: Option<u64>) -> bool {
        let now = self.now;
        let Some(stream) = self.streams.get(key) else {
            return false;
        };
        if stream.freed || stream.has_ending() {
            return false;
        }
        let timer = patience.map(|patience| {
            self.pending += 1;
            self.timed_only += 1;
            self.timers
                .insert(now.saturating_add(patience), TimerOwner::Ending(key))
        });
        self.streams[key].extra().ending = Some(Box::new(Ending {
            then,
            timer,
            finished: false,
            handed_down: false,
        }));
        self.go_on_ending(key);
        true
    }

    fn go_on_ending(&mut self, key: StreamKey) {
        let below = self.below(key);
        let stream = &self.streams[key];
        let (len, layered) = (stream.len(Side::Write), stream.is_layered());
        let connecting = !layered && stream.fd >= 0 && !stream.is_usable();
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
                self.flush(key, Dirs::WRITE, Mode::Finished, false);
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
        ending.handed_down = true;
        self.retain(key);
        let stream = &self.streams[key];
        let (cookie, fd) = (stream.cookie, stream.fd);
        let io = Io::Shutdown { fd };
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
            _ => self.tell_ending(key, StreamEvent::EOF),
        }
    }

    fn tell_ending(&mut self, key: StreamKey, event: StreamEvent) {
        let callbacks = Callbacks {
            event: event | StreamEvent::WRITING,
            ..Callbacks::NONE
        };
        // From the loop: whoever asks for the end does not expect to hear of it at once.
        let heard = self
            .streams
            .get(key)
            .is_some_and(|stream| stream.hears_events());
        if heard {
            self.defer(key, callbacks);
        }
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
