//! What the loop keeps between its steps.

use bitflags::bitflags;

use crate::base::{EventKey, StreamKey};
use crate::flags::LoopFlags;

/// Where the loop stands.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) phase: Phase,
    pub(crate) flags: LoopFlags,
    /// Bufferevents whose output this pass sends first.
    pub(crate) sending: Vec<StreamKey>,
    pub(crate) sending_at: usize,
    /// Whether the time of this pass is known.
    pub(crate) timed: bool,
    /// Callbacks that this pass has run so far.
    pub(crate) ran: usize,
    pub(crate) deferred: usize,
    pub(crate) exit: bool,
    /// What the next event must not run before it has been looked at.
    pub(crate) stops: Stops,
    /// The pending event whose callback runs.
    pub(crate) running: Option<EventKey>,
    /// The bufferevent that was read last, or has just connected, whose callback may have answered.
    heard: Option<Heard>,
    /// The bufferevent whose callback is told now that its connection stands.
    pub(crate) telling: Option<StreamKey>,
    pub(crate) limits: Limits,
    pub(crate) pass_began: u64,
}

/// After what the output of a bufferevent is looked at once more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    /// Bytes were read.
    Bytes(StreamKey),
    /// Its connection stands.
    Connected(StreamKey),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Idle,
    Begin,
    Send,
    Waiting,
    Process(usize),
    /// The pass was the last one.
    Ended,
}

/// How much one pass may run before it looks for new events (`event_config_set_max_dispatch_interval`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) callbacks: usize,
    pub(crate) interval: Option<u64>,
    pub(crate) from_priority: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            callbacks: usize::MAX,
            interval: None,
            from_priority: 0,
        }
    }
}

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Stops: u8 {
        /// The loop ends.
        const BROKEN = 1;
        /// The pass ends.
        const CARRY_ON = 2;
        /// How much a pass runs has a limit.
        const LIMITED = 4;
        /// A bufferevent was just read, or has connected.
        const HEARD = 8;
    }
}

impl Run {
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.stops.contains(Stops::BROKEN)
    }

    /// The callback of a bufferevent, which may answer, is about to hear of this.
    pub(crate) fn note_heard(&mut self, heard: Heard) {
        self.heard = Some(heard);
        self.stops |= Stops::HEARD;
    }

    /// Whether the callback that runs now may be told that this connection stands.
    pub(crate) fn tells_connected(&self, key: StreamKey) -> bool {
        matches!(self.heard, Some(Heard::Connected(connected)) if connected == key)
    }

    pub(crate) fn take_heard(&mut self) -> Option<Heard> {
        self.stops -= Stops::HEARD;
        self.heard.take()
    }

    /// Whether the pass sends.
    pub(crate) fn is_sending(&self) -> bool {
        self.phase == Phase::Send
    }

    /// Something of this priority has become active: a pass that runs a lower one ends after the callback.
    pub(crate) fn yield_to(&mut self, priority: u8) {
        if matches!(self.phase, Phase::Process(running) if usize::from(priority) < running) {
            self.stops |= Stops::CARRY_ON;
        }
    }
}
