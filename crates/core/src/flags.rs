//! The small sets that travel between the core and its shells, with libevent's numbers.

use bitflags::bitflags;

bitflags! {
    /// What an event waits for, and what happened (`EV_READ` and its family).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct What: u16 {
        /// The timeout has passed.
        const TIMEOUT = 0x01;
        /// The descriptor can be read.
        const READ = 0x02;
        /// The descriptor can be written.
        const WRITE = 0x04;
        /// The signal has arrived.
        const SIGNAL = 0x08;
        /// The event stays added when it fires.
        const PERSIST = 0x10;
        /// Report changes only.
        const EDGE = 0x20;
        /// Deleting the event does not wait for its callback in another thread.
        const FINALIZE = 0x40;
        /// The peer has closed its sending side.
        const CLOSED = 0x80;
    }
}

impl What {
    /// The conditions of a descriptor.
    pub const IO: Self = Self::READ.union(Self::WRITE).union(Self::CLOSED);

    /// How often an event with these flags is called back that is to be called so often: only signals count.
    #[inline]
    pub(crate) fn calls(self, wanted: u16) -> u16 {
        if self.contains(Self::SIGNAL) {
            wanted
        } else {
            1
        }
    }
}

bitflags! {
    /// What happened to a bufferevent (`BEV_EVENT_READING` and its family).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct StreamEvent: u16 {
        /// It happened while reading.
        const READING = 0x01;
        /// It happened while writing.
        const WRITING = 0x02;
        /// End of the stream.
        const EOF = 0x10;
        /// An error that does not go away; the operating system's number comes with it.
        const ERROR = 0x20;
        /// No progress for as long as was asked; that direction is disabled now.
        const TIMEOUT = 0x40;
        /// The connection that we started stands.
        const CONNECTED = 0x80;
    }
}

bitflags! {
    /// How a bufferevent is made (`enum bufferevent_options`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Options: u16 {
        /// Freeing it closes the descriptor.
        const CLOSE_ON_FREE = 1;
        /// It has a lock.
        const THREADSAFE = 2;
        /// Callbacks run from the loop, never inside the call that caused them.
        const DEFER_CALLBACKS = 4;
        /// Callbacks run without the lock; needs `DEFER_CALLBACKS`.
        const UNLOCK_CALLBACKS = 8;
    }
}

bitflags! {
    /// How [`Core::trigger`](crate::Core::trigger) calls back (`enum bufferevent_trigger_options`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Trigger: u32 {
        /// From the loop, even if the bufferevent does not defer.
        const DEFER = 4;
        /// Whatever the buffers hold.
        const IGNORE_WATERMARKS = 1 << 16;
    }
}

bitflags! {
    /// The directions of a bufferevent (`EV_READ` and `EV_WRITE`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Dirs: u8 {
        /// From the transport to the input buffer.
        const READ = 0x02;
        /// From the output buffer to the transport.
        const WRITE = 0x04;
    }
}

bitflags! {
    /// How a loop runs (`EVLOOP_ONCE` and its family).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LoopFlags: u8 {
        /// Wait until something is active, run that, and return.
        const ONCE = 1;
        /// Run what is ready now, without waiting, and return.
        const NONBLOCK = 2;
        /// Go on when no event is left.
        const NO_EXIT_ON_EMPTY = 4;
    }
}
