//! The key of a request, and what can be asked of it.

use std::any::Any;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use ferrevent_core::Dirs;
use ferrevent_core::buffer::Buffer;
use ferrevent_http::{Method, RequestHead, Uri};

use super::connection::{Connection, MOST_UNTAKEN, Phase};
use super::{ConnectionKey, RequestHandler, Server};
use crate::base::Base;
use crate::seat::Seat;

/// Names a request that a [`Server`] was asked (libevent's `struct evhttp_request`), from its head on until its answer is
/// sent or its connection ends. It is copied freely, also to other threads, and never dangles: afterwards everything that
/// is asked of it is `None` or [`Error::Stale`](crate::Error::Stale).
///
/// ```
/// use std::thread;
/// use ferrevent::Base;
/// use ferrevent::http::{Reply, Request};
///
/// /// Has another thread think about the answer.
/// fn think(base: &mut Base, request: Request) {
///     let remote = base.remote();
///     thread::spawn(move || {
///         let answer = format!("{}\n", 6 * 7);
///         // If the base is gone, so is who asked.
///         let _ = remote.post(move |base| {
///             let _ = request.reply(base, Reply::new(200).body(answer));
///         });
///     });
/// }
/// # let _ = think;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub(super) connection: ConnectionKey,
    /// Which one of the connection's.
    pub(super) number: u64,
}

/// What was asked. `None` if it has ended.
impl Request {
    /// Whether it has not ended.
    pub fn exists(self, base: &Base) -> bool {
        self.served(base).is_some()
    }

    /// Its head: all that it says about itself.
    pub fn head(self, base: &Base) -> Option<RequestHead<'_>> {
        self.served(base)?.machine.request()
    }

    /// What is asked for (`evhttp_request_get_command`). The name of [`Method::Other`] is in the [head](Self::head).
    pub fn method(self, base: &Base) -> Option<Method> {
        Some(self.head(base)?.method())
    }

    /// What it is asked of, as it stands in the request (`evhttp_request_get_uri`).
    pub fn target(self, base: &Base) -> Option<&[u8]> {
        Some(self.head(base)?.target())
    }

    /// The target's parts (`evhttp_request_get_evhttp_uri`).
    pub fn uri(self, base: &Base) -> Option<Uri> {
        self.head(base)?.uri().ok()
    }

    /// The value of its first header field of that name, in any case of letters (`evhttp_find_header`).
    pub fn field(self, base: &Base, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.head(base)?.fields().find(name.as_ref())
    }

    /// What has come of its body and was not [taken](Self::take_body) (`evhttp_request_get_input_buffer`).
    pub fn body(self, base: &Base) -> Option<&Buffer> {
        Some(&self.served(base)?.body)
    }

    /// Takes what has come of its body. If it is streamed, there may be more.
    pub fn take_body(self, base: &mut Base) -> Option<Buffer> {
        let connection = self.served_mut(base)?;
        let body = std::mem::take(&mut connection.body);
        let bev = connection.bev;
        if connection.streams && body.len() >= MOST_UNTAKEN {
            // It was not read any more.
            bev.trigger(base, Dirs::READ, true);
        }
        Some(body)
    }

    /// Whether all of it has come, its body included.
    pub fn is_complete(self, base: &Base) -> Option<bool> {
        Some(!self.served(base)?.machine.wants_input())
    }

    /// Whether its answer has begun, or has been given.
    pub fn is_answered(self, base: &Base) -> Option<bool> {
        let phase = self.served(base)?.phase;
        Some(matches!(phase, Phase::Replying | Phase::Replied))
    }

    /// How many bytes of its connection's answers are still to be sent.
    pub fn unsent(self, base: &Base) -> Option<usize> {
        self.served(base)?.bev.output_len(base)
    }

    /// The server that was asked.
    pub fn server(self, base: &Base) -> Option<Server> {
        Some(self.served(base)?.server)
    }

    /// Who asks (`evhttp_connection_get_peer`); `None` also on a unix socket.
    pub fn peer(self, base: &Base) -> Option<SocketAddr> {
        self.served(base)?.peer
    }

    /// The number of its connection's descriptor, if it has one.
    pub fn fd(self, base: &Base) -> Option<RawFd> {
        self.served(base)?.bev.fd(base)
    }

    /// The TLS connection that it came by, if it did, with the feature `tls`.
    #[cfg(feature = "tls")]
    pub fn tls(self, base: &Base) -> Option<&rustls::Connection> {
        self.served(base)?.bev.tls(base)
    }
}

/// Whom it calls.
impl Request {
    /// Sets whom it calls back, in the place of a former one, which is dropped. Returns whether the request exists.
    pub fn set_handler(self, base: &mut Base, handler: impl RequestHandler) -> bool {
        let Some(connection) = self.served_mut(base) else {
            return false;
        };
        let former = std::mem::replace(&mut connection.handler, Seat::Taken(Box::new(handler)));
        drop(former);
        true
    }

    /// Its handler, if it is of this type and does not run just now.
    pub fn handler<T: RequestHandler>(self, base: &Base) -> Option<&T> {
        let handler: &dyn Any = self.served(base)?.handler.get()?;
        handler.downcast_ref()
    }

    /// As [`handler`](Self::handler), to be changed.
    pub fn handler_mut<T: RequestHandler>(self, base: &mut Base) -> Option<&mut T> {
        let handler: &mut dyn Any = self.served_mut(base)?.handler.get_mut()?;
        handler.downcast_mut()
    }
}

impl Request {
    /// Its connection, if it has not ended.
    pub(super) fn served(self, base: &Base) -> Option<&Connection> {
        let connection = base.serving.connections.get(self.connection)?;
        connection.is_at(self).then_some(connection)
    }

    pub(super) fn served_mut(self, base: &mut Base) -> Option<&mut Connection> {
        let connection = base.serving.connections.get_mut(self.connection)?;
        connection.is_at(self).then_some(connection)
    }

    /// Runs the request's handler, if it has one.
    pub(super) fn with_handler(
        self,
        base: &mut Base,
        run: impl FnOnce(&mut dyn RequestHandler, &mut Base),
    ) {
        let Some(mut handler) = self
            .served_mut(base)
            .and_then(|connection| connection.handler.take())
        else {
            return;
        };
        run(&mut *handler, base);
        if let Some(connection) = self.served_mut(base) {
            let unseated = connection.handler.put_back(handler);
            drop(unseated);
        }
    }
}
