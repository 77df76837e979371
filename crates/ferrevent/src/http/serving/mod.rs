//! Servers.
//!
//! * here — the key of a server, and what can be done with it;
//! * `builder` — how one is described;
//! * `service` — whom it calls;
//! * `request` — the key of a request, and what can be asked of it;
//! * `reply`, `answer` — what is answered, and giving it;
//! * `connection` — a connection, and what its bufferevent tells;
//! * `read` — what comes;
//! * `ending` — how connections and servers end;
//! * `deadline` — how long the client may take.
//!
//! What bytes mean is for `ferrevent-http` to say; here they are moved, and the program is called.

mod answer;
mod builder;
mod connection;
mod deadline;
mod ending;
mod read;
mod reply;
mod request;
mod service;

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;

use ferrevent_core::arena::Arena;
use slotmap::{SecondaryMap, SlotMap, new_key_type};

pub use self::builder::ServerBuilder;
use self::builder::Settings;
use self::connection::Connection;
use self::ending::Shutdown;
pub use self::reply::Reply;
pub use self::request::Request;
pub use self::service::{Body, RequestCallbacks, RequestHandler, Service};
use crate::base::Base;
use crate::bufferevent::BufferEvent;
use crate::builder::Warning;
use crate::error::{Error, Result};
use crate::listener::{Listener, ListenerBuilder};
use crate::seat::Seat;

new_key_type! {
    /// Names an HTTP server of a [`Base`] (libevent's `struct evhttp`): it takes connections from its listeners, reads
    /// requests from them, and gives each to a [`Service`].
    ///
    /// Connections are kept for further requests, which may come before their predecessors are answered
    /// (pipelining); answers leave in the order of the requests. What can be understood in more than one way is
    /// refused with 400, and so is what is too long, or not HTTP/1.0 or 1.1.
    pub struct Server;

    /// Names a connection of a server.
    pub(crate) struct ConnectionKey;
}

/// The servers of a base, and their connections.
#[derive(Default)]
pub(crate) struct Serving {
    servers: SlotMap<Server, ServerSlot>,
    connections: Arena<ConnectionKey, Connection>,
    /// The bufferevents of the connections.
    served: SecondaryMap<BufferEvent, ()>,
}

struct ServerSlot {
    settings: Rc<Settings>,
    service: Seat<dyn Service>,
    listeners: Vec<Listener>,
    connections: usize,
    /// There are too many connections, and the listeners rest.
    full: bool,
    shutdown: Option<Shutdown>,
}

/// What a server listens on.
impl Server {
    /// A server that calls `service` with each request once it is complete, and has the usual
    /// [settings](ServerBuilder). It serves nobody yet (`evhttp_new`, `evhttp_set_gencb`).
    pub fn new(base: &mut Base, service: impl FnMut(&mut Base, Request) + 'static) -> Self {
        Self::builder().build(base, service)
    }

    /// Starts to describe a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Serves who connects to an internet address, too (`evhttp_bind_socket`); port 0: any free port. The listener
    /// belongs to the server: it rests while there are too many connections, and is freed with it, or before, by you.
    ///
    /// # Errors
    /// Those of [`Listener::bind`]; [`Error::Stale`], also if the server is shutting down.
    pub fn bind(self, base: &mut Base, address: SocketAddr) -> Result<Listener> {
        self.bind_with(base, Listener::builder(), address)
    }

    /// As [`bind`](Self::bind), with options of the listener.
    ///
    /// # Errors
    /// Those of [`bind`](Self::bind).
    pub fn bind_with(
        self,
        base: &mut Base,
        options: ListenerBuilder,
        address: SocketAddr,
    ) -> Result<Listener> {
        self.check_open(base)?;
        let listener = options.bind(base, address, self.accept_tcp())?;
        Ok(self.add_listener(base, listener))
    }

    /// Serves who connects to a unix socket, too; see [`Listener::bind_unix`].
    ///
    /// # Errors
    /// Those of [`Listener::bind_unix`]; [`Error::Stale`], also if the server is shutting down.
    pub fn bind_unix(self, base: &mut Base, path: impl AsRef<Path>) -> Result<Listener> {
        self.check_open(base)?;
        let listener = Listener::bind_unix(base, path, move |base, _, stream| {
            self.accept(base, stream, None);
        })?;
        Ok(self.add_listener(base, listener))
    }

    /// Serves who connects to a socket that listens already, too (`evhttp_accept_socket`).
    ///
    /// # Errors
    /// Those of [`Listener::from_tcp`]; [`Error::Stale`], also if the server is shutting down.
    pub fn listen(self, base: &mut Base, socket: TcpListener) -> Result<Listener> {
        self.check_open(base)?;
        let listener = Listener::from_tcp(base, socket, self.accept_tcp())?;
        Ok(self.add_listener(base, listener))
    }

    /// As [`listen`](Self::listen), of a unix socket.
    ///
    /// # Errors
    /// Those of [`listen`](Self::listen).
    pub fn listen_unix(self, base: &mut Base, socket: UnixListener) -> Result<Listener> {
        self.check_open(base)?;
        let listener = Listener::from_unix(base, socket, move |base, _, stream| {
            self.accept(base, stream, None);
        })?;
        Ok(self.add_listener(base, listener))
    }

    /// Serves one connection: a bufferevent of any kind, which belongs to the server from now on (`evhttp_set_bevcb`).
    /// `peer` is what [`Request::peer`] then says. What is in its input already counts as read.
    ///
    /// TLS is yours to put on it before; the server's `ServerBuilder::tls` is for what it has accepted itself.
    ///
    /// # Errors
    /// [`Error::Stale`] if either does not exist, or the server is shutting down; [`Error::Served`] if this server or
    /// another one has it already, which goes on as before; [`Error::Layered`] if another one stands over it; [`Error::Io`]
    /// when the kernel refuses to watch the socket.
    pub fn serve(self, base: &mut Base, bev: BufferEvent, peer: Option<SocketAddr>) -> Result<()> {
        self.check_open(base)?;
        self.take(base, bev, peer)
    }

    fn accept_tcp(self) -> impl FnMut(&mut Base, Listener, TcpStream, SocketAddr) + 'static {
        move |base, _, stream, peer| {
            // An answer may go out in several pieces, which are not to wait for one another. Where it cannot be set,
            // it is slower.
            let _ = stream.set_nodelay(true);
            self.accept(base, stream, Some(peer));
        }
    }

    fn accept(self, base: &mut Base, socket: impl Into<OwnedFd>, peer: Option<SocketAddr>) {
        if let Err(error) = self.try_accept(base, socket.into(), peer) {
            (base.warn)(Warning::Accept { error });
        }
    }

    fn try_accept(
        self,
        base: &mut Base,
        socket: OwnedFd,
        peer: Option<SocketAddr>,
    ) -> io::Result<()> {
        self.check_open(base)?;
        let bev = BufferEvent::new(base, socket)?;
        let served = self
            .secure(base, bev)
            .and_then(|()| self.take(base, bev, peer));
        if served.is_err() {
            bev.free(base);
        }
        Ok(served?)
    }

    #[cfg(feature = "tls")]
    fn secure(self, base: &mut Base, bev: BufferEvent) -> Result<()> {
        let slot = base.serving.servers.get(self).ok_or(Error::Stale)?;
        let Some(config) = slot.settings.tls.clone() else {
            return Ok(());
        };
        bev.secure(base, crate::TlsSession::server(config)?)?;
        // Requests say themselves where they end.
        bev.allow_truncation(base, true);
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn secure(self, _: &mut Base, _: BufferEvent) -> Result<()> {
        Ok(())
    }

    fn add_listener(self, base: &mut Base, listener: Listener) -> Listener {
        if let Some(slot) = base.serving.servers.get_mut(self) {
            slot.listeners.push(listener);
            if slot.full {
                listener.disable(base);
            }
        }
        listener
    }

    /// Whether it exists, and is not shutting down.
    fn check_open(self, base: &Base) -> Result<()> {
        match base.serving.servers.get(self) {
            Some(slot) if slot.shutdown.is_none() => Ok(()),
            _ => Err(Error::Stale),
        }
    }
}

/// How it stands.
impl Server {
    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.serving.servers.contains_key(self)
    }

    /// How many connections it has (`evhttp_get_connection_count`).
    pub fn connections_len(self, base: &Base) -> Option<usize> {
        Some(base.serving.servers.get(self)?.connections)
    }

    /// Its listeners.
    pub fn listeners(self, base: &Base) -> Option<&[Listener]> {
        Some(&base.serving.servers.get(self)?.listeners)
    }

    /// Its service, if it is of this type and does not run just now.
    pub fn service<T: Service>(self, base: &Base) -> Option<&T> {
        let service: &dyn Any = base.serving.servers.get(self)?.service.get()?;
        service.downcast_ref()
    }

    /// As [`service`](Self::service), to be changed.
    pub fn service_mut<T: Service>(self, base: &mut Base) -> Option<&mut T> {
        let service: &mut dyn Any = base.serving.servers.get_mut(self)?.service.get_mut()?;
        service.downcast_mut()
    }
}
