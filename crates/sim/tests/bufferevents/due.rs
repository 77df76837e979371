//! Which callbacks are due, and that they come when they are, in their order.

use ferrevent_core::{Dirs, Options, StreamEvent};

use crate::model::{Model, READ};
use crate::shell::Call;

/// Callbacks that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) event: StreamEvent,
    pub(crate) error: i32,
}

/// Whose turn is next in a run of deferred callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    Connected,
    Read,
    Write,
    Event,
    Over,
}

impl Due {
    pub(crate) const NONE: Self = Self {
        read: false,
        write: false,
        event: StreamEvent::empty(),
        error: 0,
    };

    pub(crate) fn event(event: StreamEvent, error: i32) -> Self {
        Self {
            event,
            error,
            ..Self::NONE
        }
    }
}

impl Model {
    /// A callback runs.
    pub(crate) fn called(&mut self, call: Call) {
        assert!(!self.freed, "a callback after the end");
        let later = self.later;
        match call {
            Call::Read => {
                assert!(self.listens[0], "a callback that is not set");
                if !std::mem::take(&mut self.now.read) {
                    assert!(
                        std::mem::take(&mut self.later.read),
                        "an undue read callback"
                    );
                    self.takes_turn(later, Turn::Read);
                }
            }
            Call::Write => {
                assert!(self.listens[1], "a callback that is not set");
                self.write_calls += 1;
                if !std::mem::take(&mut self.now.write) {
                    assert!(
                        std::mem::take(&mut self.later.write),
                        "an undue write callback"
                    );
                    self.takes_turn(later, Turn::Write);
                }
            }
            Call::Event(event, error) => {
                assert!(self.listens[2], "a callback that is not set");
                self.called_event(event, error);
            }
        }
    }

    fn called_event(&mut self, event: StreamEvent, error: i32) {
        self.eofs += u32::from(event == StreamEvent::EOF | StreamEvent::READING);
        if !self.now.event.is_empty() {
            let due = std::mem::replace(&mut self.now.event, StreamEvent::empty());
            assert_eq!((event, error), (due, self.now.error), "another event");
            self.now.error = 0;
            return;
        }
        let later = self.later;
        if self.turn == Turn::Connected && later.event.contains(StreamEvent::CONNECTED) {
            assert_eq!(
                event,
                StreamEvent::CONNECTED,
                "CONNECTED comes first, and alone"
            );
            self.later.event -= StreamEvent::CONNECTED;
            self.turn = Turn::Read;
            return;
        }
        assert!(!later.event.is_empty(), "an undue event");
        self.takes_turn(later, Turn::Event);
        assert_eq!((event, error), (later.event, later.error));
        self.later.event = StreamEvent::empty();
        self.later.error = 0;
    }

    /// A deferred callback of this kind runs, with these due before: none that had its turn still ahead is passed over.
    fn takes_turn(&mut self, later: Due, kind: Turn) {
        let first = match later {
            _ if later.event.contains(StreamEvent::CONNECTED) && self.turn == Turn::Connected => {
                Turn::Connected
            }
            _ if later.read && self.turn <= Turn::Read => Turn::Read,
            _ if later.write && self.turn <= Turn::Write => Turn::Write,
            _ => Turn::Event,
        };
        assert_eq!(kind, first, "the order of deferred callbacks");
        assert!(self.turn <= kind, "one turn for each kind");
        self.turn = match kind {
            Turn::Connected => Turn::Read,
            Turn::Read => Turn::Write,
            Turn::Write => Turn::Event,
            Turn::Event | Turn::Over => Turn::Over,
        };
    }

    /// The read callback has returned; there were `before` bytes.
    pub(crate) fn read_returned(&mut self, before: usize) {
        let (len, high) = (self.input.len(), self.marks[READ].high);
        let full = high != 0 && len >= high && self.enabled.contains(Dirs::READ);
        if full && !self.freed && len < before {
            self.again = self.listens[0];
        }
    }

    /// Something is to be called inside a callback: what is due after that one is put aside.
    pub(crate) fn nest(&mut self) -> Due {
        std::mem::replace(&mut self.now, Due::NONE)
    }

    /// All that was due at once has been called; goes on with what was put aside.
    pub(crate) fn returned(&mut self, outer: Due) {
        // What was due, but was not set any more when its turn came, is not called.
        let now = std::mem::replace(&mut self.now, outer);
        assert_eq!(self.heard(now), Due::NONE, "a callback was forgotten");
    }

    /// Only those that are set.
    pub(crate) fn heard(&self, due: Due) -> Due {
        Due {
            read: due.read && self.listens[0],
            write: due.write && self.listens[1],
            ..if self.listens[2] { due } else { Due::NONE }
        }
    }

    pub(crate) fn emit(&mut self, due: Due, defer: bool) {
        let heard = self.heard(due);
        if defer || self.options.contains(Options::DEFER_CALLBACKS) {
            self.add_later(heard);
            return;
        }
        self.now.read |= heard.read;
        self.now.write |= heard.write;
        if !heard.event.is_empty() {
            self.now.event = heard.event;
            self.now.error = heard.error;
        }
    }

    pub(crate) fn add_later(&mut self, due: Due) {
        self.later.read |= due.read;
        self.later.write |= due.write;
        self.later.event |= due.event;
        if due.error != 0 {
            self.later.error = due.error;
        }
    }
}
