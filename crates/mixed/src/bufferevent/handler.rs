//! Whom a bufferevent calls back.

use std::any::Any;
use std::fmt;
use std::io;
use std::ptr::NonNull;

use ferrevent_core::{Dirs, StreamEvent};
use libc::{c_short, c_void};

use super::BufferEvent;
use crate::base::Base;
use crate::error::Error;
use crate::ffi::{self, bufferevent};
use crate::shared::{Shared, from_arg, to_arg};

/// Whom a [`BufferEvent`] calls back: one object for all three callbacks, which holds what the connection needs to
/// remember (libevent's `cbarg`).
///
/// While a handler runs it may do anything with the base, but run the loop: free its own bufferevent, write to another
/// one, make new ones, put another handler in its own place, and call C. A handler is never called while it runs: what C
/// makes happen meanwhile is told from the loop.
pub trait Handler: Any {
    /// Bytes have been read, and the input holds at least as many as its low mark says (`bufferevent_data_cb`).
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

impl Listens {
    pub(super) const NONE: Self = Self {
        read: false,
        write: false,
        event: false,
    };
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
    /// The connection that was started stands.
    Connected,
    /// The peer has ended the stream. What it sent before is in the input, also if that is less than the low mark.
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
    /// Reading, writing or connecting has failed for good.
    Error {
        /// Where it has failed; empty: connecting.
        dirs: Dirs,
        /// How.
        error: Error,
    },
}

impl Condition {
    /// libevent's flags.
    pub(super) fn bits(&self) -> c_short {
        let (event, dirs) = match self {
            Self::Connected => (StreamEvent::CONNECTED, Dirs::empty()),
            Self::Eof { dirs } => (StreamEvent::EOF, *dirs),
            Self::Timeout { dirs } => (StreamEvent::TIMEOUT, *dirs),
            Self::Error { dirs, .. } => (StreamEvent::ERROR, *dirs),
        };
        let mut event = event;
        event.set(StreamEvent::READING, dirs.contains(Dirs::READ));
        event.set(StreamEvent::WRITING, dirs.contains(Dirs::WRITE));
        event.bits().cast_signed()
    }

    /// What libevent's flags stand for. Deferred delivery may have merged several; they come in the order in which they
    /// can have happened.
    fn all_of(event: StreamEvent, error: io::Error) -> impl Iterator<Item = Self> {
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
                error: error.into(),
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

/// Has a bufferevent call ours, with the key as the argument.
///
/// # Safety
/// It is live.
pub(super) unsafe fn listen(raw: NonNull<bufferevent>, bev: BufferEvent, listens: Listens) {
    let read: ffi::bufferevent_data_cb = Some(on_read);
    let write: ffi::bufferevent_data_cb = Some(on_write);
    let event: ffi::bufferevent_event_cb = Some(on_event);
    let (read, write, event) = (
        read.filter(|_| listens.read),
        write.filter(|_| listens.write),
        event.filter(|_| listens.event),
    );
    // SAFETY: the caller's promise. The argument is a number, which is looked up before it is believed.
    unsafe { ffi::bufferevent_setcb(raw.as_ptr(), read, write, event, to_arg(bev)) };
}

unsafe extern "C" fn on_read(raw: *mut bufferevent, arg: *mut c_void) {
    // SAFETY: libevent calls with a bufferevent that lives for as long as the call.
    unsafe {
        called(raw, arg, Again::Data(Dirs::READ), |handler, base, bev| {
            handler.read(base, bev)
        })
    };
}

unsafe extern "C" fn on_write(raw: *mut bufferevent, arg: *mut c_void) {
    // SAFETY: as in `on_read`.
    unsafe {
        called(raw, arg, Again::Data(Dirs::WRITE), |handler, base, bev| {
            handler.write(base, bev)
        });
    };
}

unsafe extern "C" fn on_event(raw: *mut bufferevent, what: c_short, arg: *mut c_void) {
    // Before anything else can change it.
    let error = io::Error::last_os_error();
    let event = StreamEvent::from_bits_truncate(what.cast_unsigned());
    let tell = |handler: &mut dyn Handler, base: &mut Base, bev: BufferEvent| {
        for condition in Condition::all_of(event, error) {
            handler.event(base, bev, condition);
            // The first may have freed it, or exchanged its handler.
            if !base.shared().is_out(bev) {
                break;
            }
        }
    };
    // SAFETY: as in `on_read`.
    unsafe { called(raw, arg, Again::Event(what), tell) };
}

/// What is told from the loop because the handler is running.
#[derive(Clone, Copy)]
enum Again {
    Data(Dirs),
    Event(c_short),
}

/// # Safety
/// `raw` lives for as long as the call.
unsafe fn called(
    raw: *mut bufferevent,
    arg: *mut c_void,
    again: Again,
    run: impl FnOnce(&mut dyn Handler, &mut Base, BufferEvent),
) {
    let bev: BufferEvent = from_arg(arg);
    // SAFETY: the caller's promise.
    let base = unsafe { ffi::bufferevent_get_base(raw) };
    Shared::enter(base, |base| {
        let shared = base.shared().clone();
        let (handler, running) = shared.let_out(bev, raw);
        if running {
            // SAFETY: the caller's promise.
            unsafe { tell_later(raw, again) };
        }
        let Some(handler) = handler else {
            return;
        };
        let mut seat = OnItsFeet {
            shared: &shared,
            bev,
            handler: Some(handler),
        };
        if let Some(handler) = &mut seat.handler {
            run(&mut **handler, base, bev);
        }
        if let Some(handler) = seat.handler.take() {
            shared.let_in(bev, handler);
        }
    });
}

/// # Safety
/// `raw` is live.
unsafe fn tell_later(raw: *mut bufferevent, again: Again) {
    let how = ffi::BEV_TRIG_DEFER_CALLBACKS | ffi::BEV_TRIG_IGNORE_WATERMARKS;
    match again {
        // SAFETY: the caller's promise.
        Again::Data(dirs) => unsafe { ffi::bufferevent_trigger(raw, super::bits(dirs), how) },
        // SAFETY: the caller's promise.
        Again::Event(what) => unsafe { ffi::bufferevent_trigger_event(raw, what, how) },
    }
}

/// A handler that runs. If it panics, it is dropped, and its place stays empty.
struct OnItsFeet<'a> {
    shared: &'a Shared,
    bev: BufferEvent,
    handler: Option<Box<dyn Handler>>,
}

impl Drop for OnItsFeet<'_> {
    fn drop(&mut self) {
        if self.handler.is_some() {
            self.shared.abandon(self.bev);
        }
    }
}
