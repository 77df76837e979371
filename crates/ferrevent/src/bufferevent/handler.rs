//! Whom a bufferevent calls back.

use std::any::Any;
use std::fmt;
use std::io;

use ferrevent_core::{Dirs, StreamEvent};

use super::BufferEvent;
use crate::base::Base;
use crate::error::Error;

/// Whom a [`BufferEvent`] calls back: one object for all three callbacks, which holds what the connection needs to
/// remember (libevent's `cbarg`).
///
/// While a handler runs it may do anything with the base, but run the loop: free its own bufferevent, write to another
/// one, make new ones, put another handler in its own place. Handlers never nest: whatever a call brings about is told
/// after the handler has returned.
///
/// ```
/// use ferrevent::{Base, BufferEvent, Condition, Handler};
///
/// /// Says how many bytes a connection has brought, when it ends.
/// struct Count(usize);
///
/// impl Handler for Count {
///     fn read(&mut self, base: &mut Base, bev: BufferEvent) {
///         if let Some(mut input) = bev.input(base) {
///             self.0 += input.len();
///             let _ = input.drain(usize::MAX);
///         }
///     }
///
///     fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
///         println!("{} bytes, then {condition}", self.0);
///         bev.free(base);
///     }
/// }
/// ```
pub trait Handler: Any {
    /// Bytes have been read, and the input holds at least as many as its low mark says (`bufferevent_data_cb`).
    ///
    /// What you leave there is not announced again before more arrives.
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        let _ = (base, bev);
    }

    /// Bytes have been sent, and the output holds no more than its low mark says: nothing, if that is not set
    /// (`bufferevent_data_cb`).
    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        let _ = (base, bev);
    }

    /// Something else has happened (`bufferevent_event_cb`).
    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        let _ = (base, bev, condition);
    }

    /// Which of the three are to be called at all; asked once, when the handler is set.
    fn listens(&self) -> Listens {
        Listens::default()
    }
}

/// Which callbacks a [`Handler`] has; by default all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listens {
    /// [`Handler::read`].
    pub read: bool,
    /// [`Handler::write`].
    pub write: bool,
    /// [`Handler::event`].
    pub event: bool,
}

impl Default for Listens {
    fn default() -> Self {
        Self {
            read: true,
            write: true,
            event: true,
        }
    }
}

/// What has happened to a bufferevent, other than bytes (`BEV_EVENT_CONNECTED` and its family).
#[derive(Debug)]
#[non_exhaustive]
pub enum Condition {
    /// The connection that was started stands. This comes before all else.
    Connected,
    /// The peer has ended the stream. What it sent before is in the input, also if that is less than the low mark.
    /// Reading is disabled; writing goes on.
    Eof {
        /// Where it was noticed: reading, as a rule.
        dirs: Dirs,
    },
    /// No progress was made for as long as [was asked](BufferEvent::set_timeouts). The direction is disabled;
    /// enabling it starts the time anew.
    Timeout {
        /// Which.
        dirs: Dirs,
    },
    /// Reading, writing or connecting has failed for good. The direction is disabled.
    Error {
        /// Where it has failed; empty: connecting.
        dirs: Dirs,
        /// How.
        error: Error,
    },
}

impl Condition {
    /// The core's flags, and the error that belongs to them.
    pub(super) fn into_event(self) -> (StreamEvent, Option<Error>) {
        match self {
            Self::Connected => (StreamEvent::CONNECTED, None),
            Self::Eof { dirs } => (StreamEvent::EOF | directions(dirs), None),
            Self::Timeout { dirs } => (StreamEvent::TIMEOUT | directions(dirs), None),
            Self::Error { dirs, error } => (StreamEvent::ERROR | directions(dirs), Some(error)),
        }
    }

    /// What the core's flags stand for. Deferred delivery may have merged several; they come in the order in which
    /// they can have happened.
    pub(super) fn all_of(
        event: StreamEvent,
        error: impl FnOnce() -> Error,
    ) -> impl Iterator<Item = Self> {
        let mut dirs = Dirs::empty();
        dirs.set(Dirs::READ, event.contains(StreamEvent::READING));
        dirs.set(Dirs::WRITE, event.contains(StreamEvent::WRITING));
        let has = |flag, condition| Some(condition).filter(|_| event.contains(flag));
        [
            has(StreamEvent::CONNECTED, Self::Connected),
            has(StreamEvent::TIMEOUT, Self::Timeout { dirs }),
            has(StreamEvent::EOF, Self::Eof { dirs }),
            event.contains(StreamEvent::ERROR).then(|| Self::Error {
                dirs,
                error: error(),
            }),
        ]
        .into_iter()
        .flatten()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Eof { .. } => f.write_str("end of stream"),
            Self::Timeout { .. } => f.write_str("timed out"),
            Self::Error { error, .. } => error.fmt(f),
        }
    }
}

/// A [`Handler`] made of closures, for the simple cases.
///
/// ```
/// use ferrevent::Callbacks;
///
/// let echo = Callbacks::new()
///     .read(|base, bev| {
///         bev.forward(base, bev).expect("it is alive, for it calls");
///     })
///     .event(|base, bev, _| {
///         bev.free(base);
///     });
/// # drop(echo);
/// ```
#[derive(Default)]
pub struct Callbacks {
    read: Option<DataCallback>,
    write: Option<DataCallback>,
    event: Option<EventCallback>,
}

type DataCallback = Box<dyn FnMut(&mut Base, BufferEvent)>;
type EventCallback = Box<dyn FnMut(&mut Base, BufferEvent, Condition)>;

impl Callbacks {
    /// No callback at all yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what [`Handler::read`] does.
    #[must_use]
    pub fn read(mut self, call: impl FnMut(&mut Base, BufferEvent) + 'static) -> Self {
        self.read = Some(Box::new(call));
        self
    }

    /// Sets what [`Handler::write`] does.
    #[must_use]
    pub fn write(mut self, call: impl FnMut(&mut Base, BufferEvent) + 'static) -> Self {
        self.write = Some(Box::new(call));
        self
    }

    /// Sets what [`Handler::event`] does.
    #[must_use]
    pub fn event(mut self, call: impl FnMut(&mut Base, BufferEvent, Condition) + 'static) -> Self {
        self.event = Some(Box::new(call));
        self
    }
}

impl Handler for Callbacks {
    fn read(&mut self, base: &mut Base, bev: BufferEvent) {
        if let Some(call) = &mut self.read {
            call(base, bev);
        }
    }

    fn write(&mut self, base: &mut Base, bev: BufferEvent) {
        if let Some(call) = &mut self.write {
            call(base, bev);
        }
    }

    fn event(&mut self, base: &mut Base, bev: BufferEvent, condition: Condition) {
        if let Some(call) = &mut self.event {
            call(base, bev, condition);
        }
    }

    fn listens(&self) -> Listens {
        Listens {
            read: self.read.is_some(),
            write: self.write.is_some(),
            event: self.event.is_some(),
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listens().fmt(f)
    }
}

/// The system's number of an error; `EIO` if it has none.
pub(super) fn error_number(error: &Error) -> i32 {
    const EIO: i32 = 5;
    let system = match error {
        Error::Io(error) => io::Error::raw_os_error(error),
        _ => None,
    };
    system.unwrap_or(EIO)
}

fn directions(dirs: Dirs) -> StreamEvent {
    let mut event = StreamEvent::empty();
    event.set(StreamEvent::READING, dirs.contains(Dirs::READ));
    event.set(StreamEvent::WRITING, dirs.contains(Dirs::WRITE));
    event
}
