//! Listeners: sockets that take connections.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use ferrevent_core::What;
use ferrevent_sys::{Address, DEFAULT_BACKLOG, Listen, Mode};
use slotmap::new_key_type;

use crate::base::Base;
use crate::builder::Warning;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::seat::Seat;

new_key_type! {
    /// Names a listener of a [`Base`] (libevent's `struct evconnlistener`): a socket that takes connections, and a
    /// closure that gets each of them, ready for [`BufferEvent::new`](crate::BufferEvent::new).
    ///
    /// ```no_run
    /// use ferrevent::{Base, BufferEvent, Callbacks, Dirs, Listener};
    ///
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = Base::new()?;
    /// let address = "127.0.0.1:7".parse().unwrap();
    /// Listener::bind(&mut base, address, |base, _, stream, peer| {
    ///     println!("{peer} has come");
    ///     let Ok(bev) = BufferEvent::new(base, stream) else {
    ///         return;
    ///     };
    ///     bev.set_handler(base, Callbacks::new().event(|base, bev, _| {
    ///         bev.free(base);
    ///     }));
    ///     if bev.enable(base, Dirs::READ).is_err() {
    ///         bev.free(base);
    ///     }
    /// })?;
    /// base.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub struct Listener;
}

pub(crate) struct ListenerSlot {
    socket: OwnedFd,
    event: Event,
    accept: Seat<dyn FnMut(&mut Base, Listener, OwnedFd, Address)>,
    failed: Seat<dyn FnMut(&mut Base, Listener, Error)>,
}

/// Connections taken before something else gets a turn.
const MAX_ACCEPT: usize = 64;

/// How long a listener that cannot accept rests, unless its owner deals with the error.
const REST: Duration = Duration::from_secs(1);

impl Listener {
    /// Listens on an internet address (`evconnlistener_new_bind` with `LEV_OPT_REUSEABLE`); port 0: any free port, see
    /// [`address`](Self::address).
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`; [`Error::NotOnSystem`].
    pub fn bind(
        base: &mut Base,
        address: SocketAddr,
        accept: impl FnMut(&mut Base, Listener, TcpStream, SocketAddr) + 'static,
    ) -> Result<Self> {
        Self::builder().bind(base, address, accept)
    }

    /// Listens on a unix socket, which must not exist yet; a path whose first byte is zero is an abstract name. The
    /// file stays when the listener is freed.
    ///
    /// # Errors
    /// Those of [`bind`](Self::bind); `InvalidInput` of a path that is too long.
    pub fn bind_unix(
        base: &mut Base,
        path: impl AsRef<Path>,
        accept: impl FnMut(&mut Base, Listener, UnixStream) + 'static,
    ) -> Result<Self> {
        Self::builder().bind_unix(base, path, accept)
    }

    /// Takes over a socket that listens already (`evconnlistener_new`).
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotOnSystem`].
    pub fn from_tcp(
        base: &mut Base,
        socket: TcpListener,
        accept: impl FnMut(&mut Base, Listener, TcpStream, SocketAddr) + 'static,
    ) -> Result<Self> {
        socket.set_nonblocking(true)?;
        base.insert_listener(socket.into(), tcp(accept))
    }

    /// As [`from_tcp`](Self::from_tcp), of a unix socket.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotOnSystem`].
    pub fn from_unix(
        base: &mut Base,
        socket: UnixListener,
        accept: impl FnMut(&mut Base, Listener, UnixStream) + 'static,
    ) -> Result<Self> {
        socket.set_nonblocking(true)?;
        base.insert_listener(socket.into(), unix(accept))
    }

    /// Starts to configure a listener.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder {
            options: Listen {
                reuse_address: true,
                ..Listen::default()
            },
            backlog: DEFAULT_BACKLOG,
        }
    }

    /// Sets who is told that accepting has failed, such as when the process is out of descriptors
    /// (`evconnlistener_set_error_cb`); the listener goes on to be ready then. If nobody is set, it rests for a second
    /// and the base [warns](crate::Builder::warn). Returns whether the listener exists.
    pub fn on_error(
        self,
        base: &mut Base,
        call: impl FnMut(&mut Base, Listener, Error) + 'static,
    ) -> bool {
        let Some(slot) = base.listeners.get_mut(self) else {
            return false;
        };
        let former = std::mem::replace(&mut slot.failed, Seat::Taken(Box::new(call)));
        drop(former);
        true
    }

    /// Takes connections again (`evconnlistener_enable`); a new listener does.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`].
    pub fn enable(self, base: &mut Base) -> Result<()> {
        let event = base.listeners.get(self).ok_or(Error::Stale)?.event;
        event.add(base, None)
    }

    /// Takes no connections (`evconnlistener_disable`); the kernel goes on to queue them. Returns whether the listener
    /// exists.
    pub fn disable(self, base: &mut Base) -> bool {
        let Some(slot) = base.listeners.get(self) else {
            return false;
        };
        let event = slot.event;
        event.del(base);
        true
    }

    /// Closes and frees it (`evconnlistener_free`). Returns whether it existed.
    pub fn free(self, base: &mut Base) -> bool {
        let Some(slot) = base.listeners.remove(self) else {
            return false;
        };
        slot.event.free(base);
        base.core
            .closing_fd(slot.socket.as_raw_fd(), Some(&mut *base.driver));
        true
    }

    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.listeners.contains_key(self)
    }

    /// Whether it takes connections.
    pub fn is_enabled(self, base: &Base) -> bool {
        base.listeners
            .get(self)
            .is_some_and(|slot| slot.event.pending(base).is_some())
    }

    /// The internet address that it listens on; `None` of a unix socket, and of a listener that has been freed.
    pub fn address(self, base: &Base) -> Option<SocketAddr> {
        let slot = base.listeners.get(self)?;
        ferrevent_sys::local_address(slot.socket.as_raw_fd())
            .ok()?
            .ip()
    }
}

/// Configures a [`Listener`] before it exists.
#[derive(Clone, Debug)]
#[must_use]
pub struct ListenerBuilder {
    options: Listen,
    backlog: i32,
}

impl ListenerBuilder {
    /// How many connections may wait to be taken; 128 if not set. The system has a limit of its own.
    pub fn backlog(mut self, backlog: u16) -> Self {
        self.backlog = i32::from(backlog);
        self
    }

    /// Shares the port with other listeners, of other processes too; the kernel spreads connections over them
    /// (`LEV_OPT_REUSEABLE_PORT`).
    pub fn reuse_port(mut self) -> Self {
        self.options.reuse_port = true;
        self
    }

    /// Takes no IPv4 connections on an IPv6 address (`LEV_OPT_BIND_IPV6ONLY`).
    pub fn v6_only(mut self) -> Self {
        self.options.v6_only = true;
        self
    }

    /// Takes a connection only when its first bytes have come (`LEV_OPT_DEFERRED_ACCEPT`).
    pub fn defer_accept(mut self) -> Self {
        self.options.defer_accept = true;
        self
    }

    /// Has the kernel probe idle connections (`SO_KEEPALIVE`).
    pub fn keep_alive(mut self) -> Self {
        self.options.keep_alive = true;
        self
    }

    /// Listens, as [`Listener::bind`] does.
    ///
    /// # Errors
    /// Those of [`Listener::bind`].
    pub fn bind(
        self,
        base: &mut Base,
        address: SocketAddr,
        accept: impl FnMut(&mut Base, Listener, TcpStream, SocketAddr) + 'static,
    ) -> Result<Listener> {
        let socket = self.listen(base, &Address::from(address))?;
        base.insert_listener(socket, tcp(accept))
    }

    /// Listens, as [`Listener::bind_unix`] does.
    ///
    /// # Errors
    /// Those of [`Listener::bind_unix`].
    pub fn bind_unix(
        self,
        base: &mut Base,
        path: impl AsRef<Path>,
        accept: impl FnMut(&mut Base, Listener, UnixStream) + 'static,
    ) -> Result<Listener> {
        let address = Address::unix(path.as_ref().as_os_str().as_bytes())?;
        let socket = self.listen(base, &address)?;
        base.insert_listener(socket, unix(accept))
    }

    fn listen(&self, base: &Base, address: &Address) -> Result<OwnedFd> {
        base.native()?;
        let socket = self.options.bind(address)?;
        ferrevent_sys::listen(socket.as_raw_fd(), self.backlog)?;
        Ok(socket)
    }
}

impl Base {
    fn insert_listener(&mut self, socket: OwnedFd, accept: Accept) -> Result<Listener> {
        self.native()?;
        let listener = self.listeners.insert_with_key(|_| ListenerSlot {
            socket,
            event: Event::default(),
            accept: Seat::Taken(accept),
            failed: Seat::Empty,
        });
        let fd = self.listeners[listener].socket.as_raw_fd();
        let what = What::READ | What::PERSIST;
        let event = Event::new(self, &fd, what, move |base, _, _| base.accept(listener));
        self.listeners[listener].event = event;
        if let Err(error) = event.add(self, None) {
            listener.free(self);
            return Err(error);
        }
        Ok(listener)
    }

    fn accept(&mut self, listener: Listener) {
        let slot = self.listeners.get_mut(listener);
        let Some(mut accept) = slot.and_then(|slot| slot.accept.take()) else {
            // Its closure has panicked, and the loop would spin.
            listener.disable(self);
            return;
        };
        for _ in 0..MAX_ACCEPT {
            // The closure may have disabled or freed it.
            if !listener.is_enabled(self) || self.got_break() {
                break;
            }
            let Some(slot) = self.listeners.get(listener) else {
                break;
            };
            match ferrevent_sys::accept(slot.socket.as_raw_fd(), Mode::default()) {
                Ok((socket, peer)) => accept(self, listener, socket, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.accept_failed(listener, error);
                    break;
                }
            }
        }
        if let Some(slot) = self.listeners.get_mut(listener) {
            slot.accept.put_back(accept);
        }
    }

    fn accept_failed(&mut self, listener: Listener, error: io::Error) {
        let Some(slot) = self.listeners.get_mut(listener) else {
            return;
        };
        if let Some(mut failed) = slot.failed.take() {
            failed(self, listener, error.into());
            if let Some(slot) = self.listeners.get_mut(listener) {
                slot.failed.put_back(failed);
            }
            return;
        }
        (self.warn)(Warning::Accept { error });
        listener.disable(self);
        self.after(REST, move |base| {
            if let Err(Error::Io(error)) = listener.enable(base) {
                (base.warn)(Warning::Accept { error });
            }
        });
    }
}

type Accept = Box<dyn FnMut(&mut Base, Listener, OwnedFd, Address)>;

fn tcp(mut accept: impl FnMut(&mut Base, Listener, TcpStream, SocketAddr) + 'static) -> Accept {
    Box::new(move |base, listener, socket, peer| {
        // The kernel gives every TCP connection the address of its peer.
        if let Some(peer) = peer.ip() {
            accept(base, listener, socket.into(), peer);
        }
    })
}

fn unix(mut accept: impl FnMut(&mut Base, Listener, UnixStream) + 'static) -> Accept {
    Box::new(move |base, listener, socket, _| accept(base, listener, socket.into()))
}

/// Whether only the connection that was to be accepted is at fault; the next may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}
