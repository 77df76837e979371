//! Starting connections.

use std::ffi::c_int;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd};

use ferrevent_core::driver::{Connect, Kind, Transport};
use ferrevent_core::{Callbacks, Dialed, StreamEvent, Trigger};
use ferrevent_sys::{Address, Mode};
use libc::sockaddr;

use super::hostname::forget_look_up;
use super::{
    Bev, TRANSPORT, bev_of, guard_buffers, hold, kind_of, listen, set_public_fd, stage, tls, with,
};
use crate::abi::bufferevent;

/// Why no connection attempt began.
struct Refused;

/// `bufferevent_socket_connect`: 0 if the attempt has begun, or has been refused at once, which the event callback then
/// hears; -1 otherwise. Of a filter, the socket below connects. A NULL address says that the descriptor is connecting already.
///
/// # Safety
/// `bev` is live; `sa` is NULL or has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_socket_connect(
    bev: *mut bufferevent,
    sa: *const sockaddr,
    len: c_int,
) -> c_int {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; what is below a filter has the same lock.
    unsafe {
        let _held = hold(bev);
        let bev = stage::bottom(bev);
        forget_look_up(bev);
        stop_dialing(bev);
        let begun = if sa.is_null() {
            let fd = (*bev).public.ev_read.ev_fd;
            if fd < 0 {
                Err(Refused)
            } else {
                begin(bev, fd, kind_of(fd), Connect::Started)
            }
        } else {
            let len = usize::try_from(len).unwrap_or(0);
            match Address::from_bytes(std::slice::from_raw_parts(sa.cast(), len)) {
                Some(address) => connect_to(bev, &address),
                None => Err(Refused),
            }
        };
        if begun.is_ok() { 0 } else { -1 }
    }
}

/// Begins an attempt, on a new socket if there is none.
unsafe fn connect_to(bev: *mut Bev, address: &Address) -> Result<(), Refused> {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        let given = (*bev).public.ev_read.ev_fd;
        if given >= 0 {
            let begun = ferrevent_sys::connect(given, address).map_err(|_| Refused)?;
            return begin(bev, given, kind_of(given), begun);
        }
        let socket =
            ferrevent_sys::stream_socket(address.family(), SOCKET_MODE).map_err(|_| Refused)?;
        let begun = ferrevent_sys::connect(socket.as_raw_fd(), address).map_err(|_| Refused)?;
        begin(bev, socket.into_raw_fd(), Kind::Stream, begun)
    }
}

/// As libevent makes them: non-blocking, and inherited over `exec`.
const SOCKET_MODE: Mode = Mode {
    blocking: false,
    inheritable: true,
};

unsafe fn begin(bev: *mut Bev, fd: c_int, kind: Kind, begun: Connect) -> Result<(), Refused> {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        tls::begin_anew(bev);
        set_public_fd(bev, fd);
        guard_buffers(bev, false);
        with(bev, |inner, key| {
            listen(inner, bev, key);
            let (core, driver) = inner.parts();
            let started = core.start_connect(key, fd, kind, begun, driver);
            started.map_err(|error| {
                inner.complain(format!("bufferevent_socket_connect: {error}"));
                Refused
            })
        })
    }
}

/// Begins the attempts that are due to connect to one of several addresses, and says what has come of those so far.
///
/// # Safety
/// `bev` is live and its lock held.
pub(super) unsafe fn dial(bev: *mut Bev) -> Callbacks {
    // SAFETY: by this function's contract; no user code runs in here.
    unsafe {
        while let Some(address) = with(bev, |inner, key| inner.core.next_attempt(key)) {
            attempt(bev, &Address::from(address));
        }
        match with(bev, |inner, key| inner.core.dialed(key)) {
            Dialed::Going => Callbacks::NONE,
            Dialed::Failed(callbacks) => callbacks,
            Dialed::Stands {
                fd,
                others,
                callbacks,
            } => {
                close_all(bev, &others);
                set_public_fd(bev, fd);
                callbacks
            }
        }
    }
}

unsafe fn attempt(bev: *mut Bev, address: &Address) {
    // SAFETY: the caller's bufferevent is live and its lock held.
    unsafe {
        let begun =
            ferrevent_sys::stream_socket(address.family(), SOCKET_MODE).and_then(|socket| {
                let begun = ferrevent_sys::connect(socket.as_raw_fd(), address)?;
                Ok((socket, begun))
            });
        with(bev, |inner, key| match begun {
            Ok((socket, begun)) => {
                let (core, driver) = inner.parts();
                let taken = core.attempt_begun(key, socket.as_raw_fd(), begun, driver);
                // Of a refused attempt the socket is closed here; the core's is closed when it says so.
                if taken.is_ok() {
                    let _ = socket.into_raw_fd();
                }
            }
            Err(error) => inner.core.attempt_failed(key, &error),
        });
    }
}

/// One of several attempts is said to have ended.
///
/// # Safety
/// `bev` is live and its lock held.
pub(super) unsafe fn finish_attempt(bev: *mut Bev, fd: c_int) -> Callbacks {
    // SAFETY: by this function's contract; the core gave `fd` as that of a running attempt, which only it ends.
    unsafe {
        let outcome = TRANSPORT.take_error(fd);
        if with(bev, |inner, key| {
            inner.core.handle_attempt(key, fd, outcome)
        }) {
            close_all(bev, &[fd]);
        }
        dial(bev)
    }
}

/// Gives up connecting to one of several addresses, if it does that.
///
/// # Safety
/// `bev` is live and its lock held.
pub(super) unsafe fn stop_dialing(bev: *mut Bev) {
    // SAFETY: by this function's contract.
    unsafe {
        let fds = with(bev, |inner, key| inner.core.stop_dialing(key));
        close_all(bev, &fds);
    }
}

/// Closes sockets of attempts, which nobody else knows.
unsafe fn close_all(bev: *mut Bev, fds: &[c_int]) {
    for &fd in fds {
        // SAFETY: the caller's bufferevent is live.
        unsafe {
            with(bev, |inner, _| {
                let (core, driver) = inner.parts();
                core.closing_fd(fd, driver);
            });
        }
        TRANSPORT.close(fd);
    }
}

/// Connects to the first of these addresses that can be reached; that none can be is told from the loop.
///
/// # Safety
/// `bev` is live and its lock held.
pub(super) unsafe fn connect_to_one_of(bev: *mut Bev, addresses: Vec<SocketAddr>) {
    // SAFETY: by this function's contract.
    unsafe {
        // The caller's own socket has one try.
        let given = (*bev).public.ev_read.ev_fd >= 0;
        if given || addresses.len() == 1 {
            let address = addresses.first().copied().map(Address::from);
            if address.is_none_or(|address| connect_to(bev, &address).is_err()) {
                report_failure(bev, *libc::__errno_location());
            }
            return;
        }
        tls::begin_anew(bev);
        guard_buffers(bev, false);
        with(bev, |inner, key| {
            listen(inner, bev, key);
            inner.core.start_dial(key, addresses);
        });
    }
}

/// Has the event callback told from the loop that connecting has failed.
///
/// # Safety
/// `bev` is live and its lock held.
pub(super) unsafe fn report_failure(bev: *mut Bev, error: c_int) {
    // SAFETY: by this function's contract.
    unsafe {
        with(bev, |inner, key| {
            listen(inner, bev, key);
            // Deferred, so that nothing is left to call at once.
            let _ = inner
                .core
                .trigger_event(key, StreamEvent::ERROR, error, Trigger::DEFER);
        });
    }
}
