//! Listeners.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::ptr::NonNull;

use libc::{c_int, c_void, sockaddr};
use slotmap::new_key_type;

use crate::address;
use crate::base::Base;
use crate::error::{Error, Result};
use crate::ffi::{self, evconnlistener};
use crate::seat::Seat;
use crate::shared::{Shared, from_arg, to_arg};

new_key_type! {
    /// Names a listener of a [`Base`] (libevent's `struct evconnlistener`): it takes connections and hands them to a
    /// closure.
    pub struct Listener;
}

pub(crate) struct ListenerSlot {
    raw: NonNull<evconnlistener>,
    /// Whether the callback is Rust's.
    ours: bool,
    accept: Seat<dyn FnMut(&mut Base, Listener, OwnedFd, Option<SocketAddr>)>,
    failed: Seat<dyn FnMut(&mut Base, Listener, Error)>,
}

/// Listeners of Rust.
impl Listener {
    /// Listens on an internet address and calls `accept` with each connection (`evconnlistener_new_bind`). Port 0 is any
    /// free port.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses, above all because the address is in use.
    pub fn bind(
        base: &mut Base,
        address: SocketAddr,
        accept: impl FnMut(&mut Base, Listener, TcpStream, SocketAddr) + 'static,
    ) -> Result<Self> {
        Self::from_tcp(base, TcpListener::bind(address)?, accept)
    }

    /// Listens on a unix socket, which it makes at `path`.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub fn bind_unix(
        base: &mut Base,
        path: impl AsRef<Path>,
        accept: impl FnMut(&mut Base, Listener, UnixStream) + 'static,
    ) -> Result<Self> {
        Self::from_unix(base, UnixListener::bind(path)?, accept)
    }

    /// Takes connections of a socket that listens already (`evconnlistener_new`).
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn from_tcp(
        base: &mut Base,
        socket: TcpListener,
        mut accept: impl FnMut(&mut Base, Listener, TcpStream, SocketAddr) + 'static,
    ) -> Result<Self> {
        socket.set_nonblocking(true)?;
        let accept = move |base: &mut Base, listener, socket: OwnedFd, peer| {
            // The kernel gives every TCP connection the address of its peer.
            if let Some(peer) = peer {
                accept(base, listener, socket.into(), peer);
            }
        };
        base.insert_listener(socket.into(), Box::new(accept))
    }

    /// As [`from_tcp`](Self::from_tcp), of a unix socket.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn from_unix(
        base: &mut Base,
        socket: UnixListener,
        mut accept: impl FnMut(&mut Base, Listener, UnixStream) + 'static,
    ) -> Result<Self> {
        socket.set_nonblocking(true)?;
        let accept = move |base: &mut Base, listener, socket: OwnedFd, _| {
            accept(base, listener, socket.into());
        };
        base.insert_listener(socket.into(), Box::new(accept))
    }
}

/// Passing them between Rust and C.
impl Listener {
    /// Takes over a listener that C has made, with C's callback: Rust frees it from now on.
    ///
    /// # Panics
    /// If `raw` is NULL.
    ///
    /// # Safety
    /// `raw` is a live listener of this base, and C does not free it any more. Its callback and its argument stay valid
    /// until it is freed.
    pub unsafe fn from_raw(base: &mut Base, raw: *mut evconnlistener) -> Self {
        base.shared().listeners.borrow_mut().insert(ListenerSlot {
            raw: NonNull::new(raw).expect("a listener"),
            ours: false,
            accept: Seat::Empty,
            failed: Seat::Empty,
        })
    }

    /// The listener, for C to use but not to free, while it exists.
    pub fn as_raw(self, base: &Base) -> Option<NonNull<evconnlistener>> {
        Some(base.shared().listeners.borrow().get(self)?.raw)
    }

    /// Gives the listener to C, which has to free it. The key is stale then. One of Rust has lost its closure, and takes no
    /// connections before C has set a callback (`evconnlistener_set_cb`) and enabled it (`evconnlistener_enable`): until
    /// then the kernel queues them. `None` if it was freed.
    pub fn into_raw(self, base: &mut Base) -> Option<NonNull<evconnlistener>> {
        let slot = base.shared().listeners.borrow_mut().remove(self)?;
        if slot.ours {
            // Without a callback libevent would take them all the same, and close them.
            // SAFETY: it was in its slot until now, so it was not freed.
            unsafe { ffi::evconnlistener_disable(slot.raw.as_ptr()) };
        }
        slot.silence();
        Some(slot.raw)
    }
}

/// What can be done with them.
impl Listener {
    /// Sets who is told that accepting has failed, such as when the process is out of descriptors
    /// (`evconnlistener_set_error_cb`). Returns whether the listener exists, and is one of Rust.
    pub fn on_error(
        self,
        base: &mut Base,
        call: impl FnMut(&mut Base, Listener, Error) + 'static,
    ) -> bool {
        let mut listeners = base.shared().listeners.borrow_mut();
        let Some(slot) = listeners.get_mut(self).filter(|slot| slot.ours) else {
            return false;
        };
        let former = std::mem::replace(&mut slot.failed, Seat::Taken(Box::new(call)));
        let raw = slot.raw;
        drop(listeners);
        // SAFETY: it is in its slot, so it was not freed.
        unsafe { ffi::evconnlistener_set_error_cb(raw.as_ptr(), Some(on_failure)) };
        drop(former);
        true
    }

    /// Takes connections again (`evconnlistener_enable`); a new listener does.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`].
    pub fn enable(self, base: &mut Base) -> Result<()> {
        let raw = self.as_raw(base).ok_or(Error::Stale)?;
        // SAFETY: it is in its slot, so it was not freed.
        match unsafe { ffi::evconnlistener_enable(raw.as_ptr()) } {
            0 => Ok(()),
            _ => Err(Error::last()),
        }
    }

    /// Takes no connections (`evconnlistener_disable`); the kernel goes on to queue them. Returns whether the listener
    /// exists.
    pub fn disable(self, base: &mut Base) -> bool {
        let Some(raw) = self.as_raw(base) else {
            return false;
        };
        // SAFETY: it is in its slot, so it was not freed.
        unsafe { ffi::evconnlistener_disable(raw.as_ptr()) };
        true
    }

    /// Closes and frees it (`evconnlistener_free`). Its closure is dropped, once it has returned if it is running. Returns
    /// whether it existed.
    pub fn free(self, base: &mut Base) -> bool {
        let slot = base.shared().listeners.borrow_mut().remove(self);
        let Some(slot) = slot else {
            return false;
        };
        slot.silence();
        // SAFETY: it was in its slot until now, so it was not freed, and Rust owns it. libevent keeps one whose callback is
        // running until that has returned.
        unsafe { ffi::evconnlistener_free(slot.raw.as_ptr()) };
        true
    }

    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.shared().listeners.borrow().contains_key(self)
    }

    /// The internet address that it listens on; `None` of a unix socket, and of a listener that has been freed.
    pub fn address(self, base: &Base) -> Option<SocketAddr> {
        let raw = self.as_raw(base)?;
        // SAFETY: it is in its slot, so it was not freed.
        let fd = unsafe { ffi::evconnlistener_get_fd(raw.as_ptr()) };
        if fd < 0 {
            return None;
        }
        // SAFETY: the descriptor is the listener's and open. It is not closed here: `ManuallyDrop`.
        let socket = std::mem::ManuallyDrop::new(unsafe { TcpListener::from_raw_fd(fd) });
        socket.local_addr().ok()
    }
}

impl Base {
    fn insert_listener(
        &mut self,
        socket: OwnedFd,
        accept: Box<dyn FnMut(&mut Base, Listener, OwnedFd, Option<SocketAddr>)>,
    ) -> Result<Listener> {
        let base = self.raw();
        let mut refused = None;
        let flags = ffi::LEV_OPT_CLOSE_ON_FREE | ffi::LEV_OPT_CLOSE_ON_EXEC;
        let fd = socket.as_raw_fd();
        let listener = self
            .shared()
            .listeners
            .borrow_mut()
            .try_insert_with_key(|key| {
                let (call, arg) = (Some(on_accept as _), to_arg(key));
                // SAFETY: the base is live: `raw` has looked, or the promise of `from_raw` holds. The socket is open, and
                // listens already: a backlog of 0 says so. libevent calls nothing of ours in here, so that the slots may be
                // borrowed.
                let raw = unsafe { ffi::evconnlistener_new(base, call, arg, flags, 0, fd) };
                let Some(raw) = NonNull::new(raw) else {
                    refused = Some((Error::last(), accept));
                    return Err(());
                };
                Ok(ListenerSlot {
                    raw,
                    ours: true,
                    accept: Seat::Taken(accept),
                    failed: Seat::Empty,
                })
            });
        match (listener, refused) {
            (Ok(listener), _) => {
                // The listener closes it from now on.
                let _ = socket.into_raw_fd();
                Ok(listener)
            }
            (Err(()), Some((error, _))) => Err(error),
            (Err(()), None) => Err(Error::Stale),
        }
    }

    fn accept(&mut self, listener: Listener, socket: OwnedFd, peer: Option<SocketAddr>) {
        let shared = self.shared().clone();
        let accept = shared
            .listeners
            .borrow_mut()
            .get_mut(listener)
            .and_then(|slot| slot.accept.take());
        let Some(mut accept) = accept else {
            // Its closure has panicked, and connections would be lost.
            listener.disable(self);
            return;
        };
        accept(self, listener, socket, peer);
        let mut listeners = shared.listeners.borrow_mut();
        let surplus = match listeners.get_mut(listener) {
            Some(slot) => slot.accept.put_back(accept),
            None => Some(accept),
        };
        drop(listeners);
        drop(surplus);
    }

    fn accept_failed(&mut self, listener: Listener, error: Error) {
        let shared = self.shared().clone();
        let failed = shared
            .listeners
            .borrow_mut()
            .get_mut(listener)
            .and_then(|slot| slot.failed.take());
        let Some(mut failed) = failed else {
            return;
        };
        failed(self, listener, error);
        let mut listeners = shared.listeners.borrow_mut();
        let surplus = match listeners.get_mut(listener) {
            Some(slot) => slot.failed.put_back(failed),
            None => Some(failed),
        };
        drop(listeners);
        drop(surplus);
    }
}

impl ListenerSlot {
    /// Has it call nobody of Rust.
    fn silence(&self) {
        if !self.ours {
            return;
        }
        let arg = std::ptr::null_mut();
        // SAFETY: it was in its slot until now, so it was not freed.
        unsafe { ffi::evconnlistener_set_cb(self.raw.as_ptr(), None, arg) };
        // SAFETY: as above.
        unsafe { ffi::evconnlistener_set_error_cb(self.raw.as_ptr(), None) };
    }
}

unsafe extern "C" fn on_accept(
    raw: *mut evconnlistener,
    fd: c_int,
    peer: *mut sockaddr,
    len: c_int,
    arg: *mut c_void,
) {
    // SAFETY: libevent hands the descriptor of a new connection over.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: libevent passes the peer's address, which has this length.
    let peer = unsafe { address::from_raw(peer, len) };
    // SAFETY: libevent calls with a listener that lives for as long as the call.
    let base = unsafe { ffi::evconnlistener_get_base(raw) };
    Shared::enter(base, |base| base.accept(from_arg(arg), socket, peer));
}

unsafe extern "C" fn on_failure(raw: *mut evconnlistener, arg: *mut c_void) {
    // Before anything else can change it.
    let error = Error::last();
    // SAFETY: as in `on_accept`.
    let base = unsafe { ffi::evconnlistener_get_base(raw) };
    Shared::enter(base, |base| base.accept_failed(from_arg(arg), error));
}
