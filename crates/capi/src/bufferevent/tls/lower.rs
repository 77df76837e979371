//! A bufferevent as the transport of a session.

use std::ffi::{c_short, c_void};

use ferrevent_core::StreamEvent;
use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::Readiness;

use super::{Session, session_of};
use crate::abi::bufferevent;
use crate::base::event_base;
use crate::buffer;
use crate::bufferevent::{
    Bev, bufferevent_enable, bufferevent_setcb, bufferevent_trigger_event, hold,
};

/// The bufferevent below. The one above holds a reference to it.
#[derive(Clone, Copy)]
pub(super) struct Lower(pub(super) *mut bufferevent);

impl Lower {
    /// Has it call `upper` from now on, and enables it.
    ///
    /// # Safety
    /// Both are alive; `upper` is until [`leave`](Self::leave).
    pub(super) unsafe fn join(self, upper: *mut Bev) {
        // SAFETY: by this function's contract.
        unsafe {
            bufferevent_setcb(
                self.0,
                Some(has_read),
                Some(has_written),
                Some(has_happened),
                upper.cast(),
            );
            bufferevent_enable(self.0, EVENTS);
        }
    }

    /// Has it call nobody.
    ///
    /// # Safety
    /// It is alive.
    pub(super) unsafe fn leave(self) {
        // SAFETY: by this function's contract.
        unsafe { bufferevent_setcb(self.0, None, None, None, std::ptr::null_mut()) };
    }

    /// Moves its input to `incoming`; says whether there was any.
    ///
    /// # Safety
    /// It is alive, and so is the buffer, which nobody borrows.
    pub(super) unsafe fn take_input(self, incoming: *mut Buffer) -> bool {
        // SAFETY: by this function's contract; both references end before the change is told.
        unsafe {
            let input = (*self.0).input;
            let moved = (*incoming).transfer_from(&mut (*input).buffer, usize::MAX);
            if moved > 0 {
                buffer::notify(input);
            }
            moved > 0
        }
    }

    /// Moves `outgoing` to its output.
    ///
    /// # Safety
    /// It is alive, and so is the buffer, which nobody borrows.
    pub(super) unsafe fn put_output(self, outgoing: *mut Buffer) {
        // SAFETY: by this function's contract; both references end before the change is told.
        unsafe {
            let output = (*self.0).output;
            let moved = (*output).buffer.transfer_from(&mut *outgoing, usize::MAX);
            if moved > 0 {
                buffer::notify(output);
            }
        }
    }

    /// How many more bytes its output may have, as its high mark says.
    ///
    /// # Safety
    /// It is alive.
    pub(super) unsafe fn room(self) -> usize {
        // SAFETY: by this function's contract.
        unsafe {
            match (*self.0).wm_write.high {
                0 => usize::MAX,
                high => high.saturating_sub((*(*self.0).output).buffer.len()),
            }
        }
    }
}

/// `EV_READ | EV_WRITE`
const EVENTS: c_short = 0x06;

unsafe fn tell(upper: *mut Bev, readiness: Readiness) {
    // SAFETY: the caller's bufferevent is alive, and no user code runs in the closure.
    unsafe {
        let key = (*upper).key;
        event_base::with((*upper).public.ev_base, |inner| {
            inner.core.lower_ready(key, readiness);
            inner.settle();
        });
    }
}

unsafe extern "C" fn has_read(_lower: *mut bufferevent, upper: *mut c_void) {
    // SAFETY: the argument is what `join` gave.
    unsafe { tell(upper.cast(), Readiness::READ) }
}

unsafe extern "C" fn has_written(_lower: *mut bufferevent, upper: *mut c_void) {
    // SAFETY: the argument is what `join` gave.
    unsafe { tell(upper.cast(), Readiness::WRITE) }
}

unsafe extern "C" fn has_happened(lower: *mut bufferevent, what: c_short, upper: *mut c_void) {
    let event = StreamEvent::from_bits_retain(what as u16);
    let upper = upper.cast::<Bev>();
    // SAFETY: the argument is what `join` gave. The lock of both is held here, also if the one below calls without it.
    unsafe {
        let error = *libc::__errno_location();
        let _held = hold(upper);
        let session: *mut Session = session_of(upper);
        if session.is_null() {
            return;
        }
        if event.contains(StreamEvent::TIMEOUT) {
            // Its user's business, not the session's.
            bufferevent_trigger_event(&raw mut (*upper).public, what, 0);
            return;
        }
        if event.contains(StreamEvent::CONNECTED) {
            return tell(upper, Readiness::READ | Readiness::WRITE);
        }
        // What came before the end counts.
        Lower(lower).take_input(&raw mut (*session).wire.incoming);
        if event.contains(StreamEvent::ERROR) {
            (*session).failure = Some(error);
            (*session).wire.failed = true;
        } else {
            (*session).wire.ended = true;
        }
        tell(
            upper,
            Readiness::READ | Readiness::WRITE | Readiness::CLOSED | Readiness::FAILED,
        );
    }
}
