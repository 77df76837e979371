//! A resolver's events: its sockets, its timer, and the one that keeps the loop alive.
//!
//! An event's callback may be about to run in the loop's thread while another thread ends what the event belongs to. So
//! its memory goes only from the loop (`event_finalize`) where threads are on, and the callback looks under the lock
//! whether there is still something to do.

use std::ffi::{c_int, c_short, c_void};
use std::io::{self, ErrorKind};
use std::os::fd::IntoRawFd;
use std::ptr;

use ferrevent_core::driver::Fd;
use ferrevent_dns::{Protocol, SocketKey, Transmit};
use ferrevent_sys::{Address, monotonic};
use libc::timeval;

use super::stream::flush;
use super::{evdns_base, settle};
use crate::abi::event;
use crate::base::event_base;
use crate::debug;
use crate::event::{event_add, event_assign, event_del_noblock};
use crate::finalize::event_finalize;
use crate::lock::{self, Lock};

pub(super) struct Watch {
    event: event,
    lock: Option<Lock>,
    /// NULL when it is over.
    dns: *mut evdns_base,
    what: What,
}

enum What {
    Timer,
    Anchor,
    Datagrams(SocketKey),
    /// With what is still to be sent.
    Stream(SocketKey, Vec<u8>),
}

const READ: c_short = 0x02;
const WRITE: c_short = 0x04;
const PERSIST: c_short = 0x10;

/// Datagrams that are taken at once.
const BATCH: usize = 8;

/// What a read from a TCP connection takes at most.
const PIECE: usize = 4096;

impl Watch {
    /// # Safety
    /// `dns` is live, and gives the new watch to [`retire`] before it goes.
    unsafe fn new(dns: *mut evdns_base, what: What, fd: Fd, events: c_short) -> *mut Self {
        // SAFETY: by this function's contract; an `event` of zeros is valid, and assigned before it is used.
        unsafe {
            let watch = Box::into_raw(Box::new(Self {
                event: std::mem::zeroed(),
                lock: (*dns).lock.clone(),
                dns,
                what,
            }));
            let arg = watch.cast();
            let base = (*dns).base;
            event_assign(
                &raw mut (*watch).event,
                base,
                fd,
                events,
                Some(on_event),
                arg,
            );
            watch
        }
    }
}

/// # Safety
/// As [`Watch::new`].
pub(super) unsafe fn timer(dns: *mut evdns_base) -> *mut Watch {
    // SAFETY: by this function's contract.
    unsafe { Watch::new(dns, What::Timer, -1, 0) }
}

/// # Safety
/// As [`Watch::new`].
pub(super) unsafe fn anchor(dns: *mut evdns_base) -> *mut Watch {
    // SAFETY: by this function's contract.
    unsafe { Watch::new(dns, What::Anchor, -1, PERSIST) }
}

/// Ends a watch. The caller does not use it any more.
///
/// # Safety
/// `watch` is live, the resolver's lock is held.
pub(super) unsafe fn retire(watch: *mut Watch) {
    // SAFETY: by this function's contract. Where threads are on, the loop frees the memory when the callback surely does
    // not run; otherwise this is the only thread, and the callback does not touch the watch after this.
    unsafe {
        let base = (*watch).event.ev_base;
        let fd = (*watch).event.ev_fd;
        (*watch).dns = ptr::null_mut();
        let shared = !base.is_null() && event_base::is_shared(base);
        if !shared || event_finalize(0, &raw mut (*watch).event, Some(drop_watch)) != 0 {
            event_del_noblock(&raw mut (*watch).event);
            debug::forget(&raw const (*watch).event);
            drop(Box::from_raw(watch));
        }
        if fd >= 0 {
            ferrevent_sys::close(fd);
        }
    }
}

unsafe extern "C" fn drop_watch(_event: *mut event, arg: *mut c_void) {
    // SAFETY: a finalizer runs once, when nobody uses the watch any more.
    let gone = unsafe { Box::from_raw(arg.cast::<Watch>()) };
    // Whoever ended it has given the lock back; this shows it to thread checkers, which do not know of `Arc`.
    drop(lock::hold(&gone.lock));
}

/// # Safety
/// The watch is a live timer.
pub(super) unsafe fn set_timer(watch: *mut Watch, at: Option<u64>) {
    // SAFETY: by this function's contract.
    unsafe {
        let event = &raw mut (*watch).event;
        let Some(at) = at else {
            event_del_noblock(event);
            return;
        };
        // Rounded up: a timer that comes too early would come again.
        let micros = at.saturating_sub(monotonic()).div_ceil(1000);
        let tv = timeval {
            tv_sec: (micros / 1_000_000) as libc::time_t,
            tv_usec: (micros % 1_000_000) as libc::suseconds_t,
        };
        event_add(event, &tv);
    }
}

/// # Safety
/// The watch is a live anchor.
pub(super) unsafe fn set_anchor(watch: *mut Watch, holds: bool) {
    // SAFETY: by this function's contract.
    unsafe {
        let event = &raw mut (*watch).event;
        if holds {
            // It has nothing to do when its time comes; it is there.
            let day = timeval {
                tv_sec: 86_400,
                tv_usec: 0,
            };
            event_add(event, &day);
        } else {
            event_del_noblock(event);
        }
    }
}

/// Sends what the resolver wants sent. What cannot be sent is as good as lost on the way: it will be repeated.
///
/// # Safety
/// `dns` is live, its lock held.
pub(super) unsafe fn send(dns: *mut evdns_base, transmit: &Transmit) {
    let key = transmit.socket;
    // SAFETY: by this function's contract; the watches in the map are live.
    unsafe {
        let watch = match (*dns).sockets.get(&key) {
            Some(&watch) => watch,
            None => match open(dns, transmit) {
                Ok(watch) => watch,
                Err(error) => {
                    if !is_local(&error) {
                        (*dns).resolver.handle_failure(key, monotonic());
                    }
                    return;
                }
            },
        };
        let fd = (*watch).event.ev_fd;
        match &mut (*watch).what {
            What::Datagrams(_) => {
                if let Err(error) = ferrevent_sys::send_datagram(fd, &transmit.bytes, None)
                    && error.kind() == ErrorKind::ConnectionRefused
                {
                    (*dns).resolver.handle_failure(key, monotonic());
                }
            }
            What::Stream(_, out) => {
                out.extend_from_slice(&transmit.bytes);
                want(watch, READ | WRITE);
            }
            What::Timer | What::Anchor => {}
        }
    }
}

/// Whether a socket could not be made because of this machine's state, which says nothing about the server.
fn is_local(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}

unsafe fn open(dns: *mut evdns_base, transmit: &Transmit) -> io::Result<*mut Watch> {
    let server = Address::from(transmit.server);
    let local = transmit.local.map(|local| {
        let mut local = local;
        local.set_port(0);
        Address::from(local)
    });
    let is_stream = transmit.protocol == Protocol::Tcp;
    let socket = ferrevent_sys::client_socket(is_stream, &server, local.as_ref())?;
    let fd = socket.into_raw_fd();
    // SAFETY: the caller's resolver is live and locked.
    unsafe {
        let config = (*dns).resolver.config();
        for (name, size) in [
            (libc::SO_RCVBUF, config.receive_buffer),
            (libc::SO_SNDBUF, config.send_buffer),
        ] {
            if let Some(size) = size {
                let size = i32::try_from(size).unwrap_or(i32::MAX);
                // Without it the system's size is used; the resolver works all the same.
                let _ = ferrevent_sys::set_option(fd, libc::SOL_SOCKET, name, size);
            }
        }
        let what = match transmit.protocol {
            Protocol::Udp => What::Datagrams(transmit.socket),
            Protocol::Tcp => What::Stream(transmit.socket, Vec::new()),
        };
        let watch = Watch::new(dns, what, fd, READ | PERSIST);
        (*dns).sockets.insert(transmit.socket, watch);
        event_add(&raw mut (*watch).event, ptr::null());
        Ok(watch)
    }
}

/// Waits for these events from now on.
unsafe fn want(watch: *mut Watch, events: c_short) {
    // SAFETY: the caller's watch is live.
    unsafe {
        let event = &raw mut (*watch).event;
        let (base, fd) = ((*event).ev_base, (*event).ev_fd);
        event_del_noblock(event);
        event_assign(
            event,
            base,
            fd,
            events | PERSIST,
            Some(on_event),
            watch.cast(),
        );
        event_add(event, ptr::null());
    }
}

unsafe extern "C" fn on_event(fd: c_int, what: c_short, arg: *mut c_void) {
    let watch: *mut Watch = arg.cast();
    // SAFETY: the watch is alive while its event's callback runs, see `retire`; after `settle` it is not used.
    unsafe {
        let _held = lock::hold(&(*watch).lock);
        let dns = (*watch).dns;
        if dns.is_null() {
            return;
        }
        match &mut (*watch).what {
            What::Anchor => return,
            What::Timer => {
                (*dns).timer_at = None;
                (*dns).resolver.handle_timeout(monotonic());
            }
            What::Datagrams(key) => receive(dns, *key, fd),
            What::Stream(key, out) => {
                let key = *key;
                if what & WRITE != 0 && !flush(fd, out) {
                    (*dns).resolver.handle_failure(key, monotonic());
                } else {
                    if what & WRITE != 0 && out.is_empty() {
                        want(watch, READ);
                    }
                    if what & READ != 0 {
                        read(dns, key, fd);
                    }
                }
            }
        }
        settle(dns);
    }
}

unsafe fn receive(dns: *mut evdns_base, key: SocketKey, fd: Fd) {
    // SAFETY: the caller's resolver is live and locked; its buffer and its state machine are different fields.
    unsafe {
        for _ in 0..BATCH {
            let buffer = &mut (*dns).buffer;
            match ferrevent_sys::receive_datagram(fd, buffer) {
                Ok((len, from)) => {
                    let Some(from) = from.ip() else { continue };
                    let bytes = &buffer[..len];
                    (*dns)
                        .resolver
                        .handle_datagram(key, from, bytes, monotonic());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return (*dns).resolver.handle_failure(key, monotonic()),
            }
        }
    }
}

unsafe fn read(dns: *mut evdns_base, key: SocketKey, fd: Fd) {
    let mut bytes = [0; PIECE];
    // SAFETY: the caller's resolver is live and locked.
    unsafe {
        match ferrevent_sys::receive_datagram(fd, &mut bytes) {
            Ok((0, _)) => (*dns).resolver.handle_failure(key, monotonic()),
            Ok((len, _)) => (*dns)
                .resolver
                .handle_stream(key, &bytes[..len], monotonic()),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => (*dns).resolver.handle_failure(key, monotonic()),
        }
    }
}
