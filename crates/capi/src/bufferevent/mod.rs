//! `event2/bufferevent.h`.
//!
//! * this file: what a bufferevent is;
//! * `life`: making, freeing, references, locks;
//! * `settings`: what can be set and asked;
//! * `run`: what the loop does with it — transfers and callbacks;
//! * `connect`: starting connections; `hostname`: by name;
//! * `data`: reading, writing, triggering;
//! * `pair`: bufferevents that are each other's transport;
//! * `rate`: rate limits;
//! * `ending`: endings and pipes, which are our own;
//! * `stage`: bufferevents over others; `filter`: those whose functions are the program's;
//! * `tls`: `event2/bufferevent_ssl.h`.

mod connect;
mod data;
mod ending;
mod filter;
mod hostname;
mod life;
mod pair;
mod rate;
mod run;
mod settings;
pub(crate) mod stage;
mod tls;

pub use connect::*;
pub use data::*;
pub use ending::*;
pub use filter::*;
pub use hostname::*;
pub(crate) use hostname::{forget_connecting, look_up_discarded, looked_up};
pub use life::*;
pub use pair::*;
pub use rate::*;
pub(crate) use run::{buffer_changed, finalize, moves_on_at_once, run, run_deferred};
pub use settings::*;
pub use stage::{bufferevent_flush, bufferevent_get_underlying};

use life::clear_callbacks;
pub use tls::*;

use std::ffi::{c_int, c_short};
use std::mem::{MaybeUninit, offset_of};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use ferrevent_core::StreamKey;
use ferrevent_core::buffer::End;
use ferrevent_core::driver::{Fd, Kind, Transport};
use ferrevent_sys::Posix;

use crate::abi::bufferevent;
use crate::base;
use crate::base::{Inner, event_base};
use crate::buffer::{self, BufferSide, evbuffer};
use crate::config::event_config;
use crate::dns::evdns_request;
use crate::event::assign_own;
use crate::lock::{self, Held, Lock};

/// How bytes move. The C library leaves `SIGPIPE` to the program, as libevent does.
pub(crate) const TRANSPORT: Posix = Posix {
    suppress_sigpipe: false,
};

/// A bufferevent: the public struct, and behind it what is the library's own.
#[repr(C)]
pub struct Bev {
    /// What programs see; `struct bufferevent *` points here.
    pub(crate) public: bufferevent,
    pub(crate) key: StreamKey,
    /// In the same piece of memory, as the output is. Each is dropped with its own last reference.
    input: MaybeUninit<evbuffer>,
    special: Option<Box<Special>>,
    output: MaybeUninit<evbuffer>,
}

/// What a connection that was accepted has none of: many are idle, and then their memory counts.
#[derive(Default)]
struct Special {
    /// The last error of a host name's look-up (`EAI_*`).
    dns_error: c_int,
    /// A look-up of a host name that is under way.
    dns_request: Option<NonNull<evdns_request>>,
    /// What makes it a bufferevent over another.
    stage: Option<stage::Stage>,
    /// Of a secured one: TLS. Boxed: it does not move.
    session: Option<Box<tls::Session>>,
}

const _: () = {
    assert!(size_of::<Bev>() == 648, "idle connections consist of it");
    // What a buffer writes sixteen bytes at a time is on a multiple of sixteen, as its allocation is.
    assert!(place_in(BufferSide::Input).is_multiple_of(16));
    assert!(place_in(BufferSide::Output).is_multiple_of(16));
};

/// Where in a bufferevent's memory one of its buffers is.
pub(crate) const fn place_in(side: BufferSide) -> usize {
    match side {
        BufferSide::Input => offset_of!(Bev, input),
        BufferSide::Output => offset_of!(Bev, output),
    }
}

/// What is special about a bufferevent, which may be nothing until now. The reference must be short-lived.
///
/// # Safety
/// `bev` is live and its lock held.
unsafe fn special<'a>(bev: *mut Bev) -> &'a mut Special {
    // SAFETY: by this function's contract nobody else looks at it now.
    unsafe { (*bev).special.get_or_insert_default() }
}

/// The bufferevent, or one of its buffers, has been dropped. With the last of them the memory goes.
///
/// # Safety
/// Called once for each of the three.
pub(crate) unsafe fn leave(bev: *mut Bev) {
    // SAFETY: by this function's contract the memory is still there, and a counter needs no dropping; whoever counts it
    // down to nothing is the last user of what came from `Box::into_raw`.
    unsafe {
        if (*bev).public.in_use.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(Box::from_raw(bev.cast::<MaybeUninit<Bev>>()));
        }
    }
}

/// What `be_ops` points to in a bufferevent on a socket.
static SOCKET_OPS: u8 = 0;

/// Whether it is on a descriptor, with nothing between.
///
/// # Safety
/// `bev` is live.
pub(crate) unsafe fn is_plain_socket(bev: *mut bufferevent) -> bool {
    // SAFETY: by this function's contract.
    unsafe {
        ptr::eq((*bev).be_ops, ptr::from_ref(&SOCKET_OPS).cast()) && !tls::is_secured(bev_of(bev))
    }
}

/// The bufferevent behind a pointer that the program gave.
fn bev_of(bev: *mut bufferevent) -> *mut Bev {
    bev.cast()
}

/// Takes the bufferevent's lock, if it has one.
unsafe fn hold(bev: *mut Bev) -> Held {
    // SAFETY: the caller's bufferevent is live, and so are its buffers; its lock is not replaced.
    lock::hold(unsafe { &(*(*bev).public.input).lock })
}

/// As [`hold`]; `None` if another thread has the lock.
unsafe fn try_hold(bev: *mut Bev) -> Option<Held> {
    // SAFETY: as there.
    lock::try_hold(unsafe { &(*(*bev).public.input).lock })
}

/// Its lock, which is that of its two buffers.
unsafe fn lock_of(bev: *mut Bev) -> Option<Lock> {
    // SAFETY: the caller's bufferevent is live, and so are its buffers.
    unsafe { (*(*bev).public.input).lock.clone() }
}

/// Gives a bufferevent a lock that has none.
///
/// # Safety
/// `bev` is live, and nobody else uses it now.
pub(crate) unsafe fn set_lock(bev: *mut Bev, lock: Option<Lock>) {
    // SAFETY: by this function's contract.
    unsafe {
        buffer::set_lock((*bev).public.input, lock.clone());
        buffer::set_lock((*bev).public.output, lock);
    }
}

/// Runs `f` on the bufferevent's base and then writes what programs can see into the public struct. Work that this
/// makes due at once is done before it returns: user code may have run then, and freed anything.
///
/// # Safety
/// `bev` is live, its lock held; `f` runs no user code.
unsafe fn with<R>(bev: *mut Bev, f: impl FnOnce(&mut Inner, StreamKey) -> R) -> R {
    // SAFETY: by this function's contract.
    unsafe {
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        let (result, due) = event_base::with(base, |inner| {
            if inner.core.needs_time_for(key) {
                inner.refresh_clock();
            }
            let result = f(inner, key);
            if let Some(stream) = inner.core.stream(key) {
                (*bev).public.enabled = c_short::from(stream.enabled().bits());
            }
            inner.settle();
            let due = inner.core.has_due().then(|| inner.core.take_due());
            (result, due)
        });
        if let Some(due) = due {
            stage::run_due(base, due);
        }
        result
    }
}

/// A base for bufferevents that have none yet (`bufferevent_new` before `bufferevent_base_set`). Its loop never runs.
fn nursery() -> *mut event_base {
    static NURSERY: OnceLock<usize> = OnceLock::new();
    *NURSERY.get_or_init(|| base::new_base(&event_config::default()) as usize) as *mut event_base
}

fn kind_of(fd: Fd) -> Kind {
    if fd < 0 {
        Kind::Stream
    } else {
        TRANSPORT.kind(fd)
    }
}

/// The two events in the public struct only tell the descriptor; they are never added.
unsafe fn set_public_fd(bev: *mut Bev, fd: Fd) {
    let arg = bev.cast();
    // SAFETY: the caller's bufferevent is live, and nothing waits on these events.
    unsafe {
        let base = (*bev).public.ev_base;
        assign_own(&raw mut (*bev).public.ev_read, base, fd, 0x12, None, arg);
        assign_own(&raw mut (*bev).public.ev_write, base, fd, 0x14, None, arg);
        tls::descriptor_changed(bev, fd);
    }
}

/// Keeps the user from adding to the input and from draining the output, or lets them.
unsafe fn guard_buffers(bev: *mut Bev, guarded: bool) {
    // SAFETY: the caller's bufferevent is live.
    unsafe {
        let (input, output) = (
            &mut (*(*bev).public.input).buffer,
            &mut (*(*bev).public.output).buffer,
        );
        if guarded {
            input.freeze(End::Back);
            output.freeze(End::Front);
        } else {
            input.unfreeze(End::Back);
            output.unfreeze(End::Front);
        }
    }
}

/// Tells the core which callbacks the public struct has now: programs write to it directly.
unsafe fn listen(inner: &mut Inner, bev: *mut Bev, key: StreamKey) {
    // SAFETY: the caller's bufferevent is live.
    let public = unsafe { &(*bev).public };
    let (read, write) = (public.readcb.is_some(), public.writecb.is_some());
    inner
        .core
        .set_listening(key, read, write, public.errorcb.is_some());
}
