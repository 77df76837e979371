//! How a server is described.

use std::rc::Rc;
use std::time::Duration;

use ferrevent_http::{Limits, Method, server};

use super::{Reply, Request, Server, ServerSlot, Service};
use crate::base::Base;
use crate::seat::Seat;

use super::service::Closure;

/// Describes a [`Server`].
#[derive(Clone)]
#[must_use]
pub struct ServerBuilder {
    settings: Settings,
}

/// What a server's connections need to know.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) max_head: usize,
    pub(super) max_body: u64,
    pub(super) max_connections: usize,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) head_timeout: Option<Duration>,
    pub(super) body_timeout: Option<Duration>,
    pub(super) write_timeout: Option<Duration>,
    methods: u16,
    other_methods: bool,
    pub(super) content_type: Option<Vec<u8>>,
    error_page: Option<Rc<dyn Fn(u16) -> Reply>>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<std::sync::Arc<rustls::ServerConfig>>,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        let settings = Settings {
            max_head: 64 << 10,
            max_body: 16 << 20,
            max_connections: usize::MAX,
            idle_timeout: Some(Duration::from_secs(60)),
            head_timeout: Some(Duration::from_secs(20)),
            body_timeout: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(30)),
            methods: Method::USUAL,
            other_methods: false,
            content_type: None,
            error_page: None,
            #[cfg(feature = "tls")]
            tls: None,
        };
        Self { settings }
    }
}

impl ServerBuilder {
    /// How long a request's head may be, its trailer included, in bytes without the ends of lines; 64 KiB if not set
    /// (`evhttp_set_max_headers_size`). A longer one is refused with 400.
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.settings.max_head = bytes;
        self
    }

    /// How long a [collected](super::Body::Collect) body may be, in bytes; 16 MiB if not set
    /// (`evhttp_set_max_body_size`). A longer one is refused with 413, as soon as its length is known.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// How many connections it has at most; any number if not set (`evhttp_set_max_connections`). The next ones wait with
    /// the kernel until one of these has ended.
    pub fn max_connections(mut self, n: usize) -> Self {
        self.settings.max_connections = n.max(1);
        self
    }

    /// How long a connection is kept for the next request; a minute if not set, `None` for ever.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// How long a head may take from its first byte on, and the first one from the beginning of the connection, the
    /// TLS handshake included; 20 seconds if not set, `None` for ever.
    pub fn head_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.head_timeout = timeout;
        self
    }

    /// How long a body may make no progress; 30 seconds if not set, `None` for ever.
    pub fn body_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.body_timeout = timeout;
        self
    }

    /// How long an answer may make no progress since the client takes nothing; 30 seconds if not set, `None` for ever.
    pub fn write_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// Which methods there are; `GET`, `POST`, `HEAD`, `PUT` and `DELETE` if not set (`evhttp_set_allowed_methods`).
    /// [`Method::Other`] stands for all that have no name of their own. Others are refused: known ones with 405 and the
    /// field `Allow`, unknown ones with 501.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.settings.methods = 0;
        self.settings.other_methods = false;
        for method in methods {
            self.settings.methods |= method.bit();
            self.settings.other_methods |= method == Method::Other;
        }
        self
    }

    /// The type of bodies whose answers do not say one; none if not set (`evhttp_set_default_content_type`).
    pub fn content_type(mut self, content_type: impl AsRef<[u8]>) -> Self {
        self.settings.content_type = Some(content_type.as_ref().to_vec());
        self
    }

    /// What errors look like that the server itself answers with, and those of [`Request::error`]: called with the
    /// status, which the answer then has whatever it says itself (`evhttp_set_errorcb`). A page of HTML if not set.
    pub fn error_page(mut self, page: impl Fn(u16) -> Reply + 'static) -> Self {
        self.settings.error_page = Some(Rc::new(page));
        self
    }

    /// Has everybody who connects to its listeners speak TLS, with the feature `tls`. Put `http/1.1` among the
    /// configuration's `alpn_protocols`, if it has any.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ServerConfig>) -> Self {
        self.settings.tls = Some(config);
        self
    }

    /// Makes it; `service` is called with each request once it is complete.
    pub fn build(
        self,
        base: &mut Base,
        service: impl FnMut(&mut Base, Request) + 'static,
    ) -> Server {
        self.build_with(base, Closure(service))
    }

    /// Makes it, with a service of your own.
    pub fn build_with(self, base: &mut Base, service: impl Service) -> Server {
        base.serving.servers.insert(ServerSlot {
            settings: Rc::new(self.settings),
            service: Seat::Taken(Box::new(service)),
            listeners: Vec::new(),
            connections: 0,
            full: false,
            shutdown: None,
        })
    }
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").finish_non_exhaustive()
    }
}

impl Settings {
    /// What the state machine of a connection looks at. The length of a body is limited once it is known what becomes of it.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            head: self.max_head,
            body: u64::MAX,
        }
    }

    pub(super) fn allows(&self, method: Method) -> bool {
        match method {
            Method::Other => self.other_methods,
            method => self.methods & method.bit() != 0,
        }
    }

    /// The answer to a method that is not allowed.
    pub(super) fn refusal_of(&self, method: Method) -> Reply {
        if method == Method::Other {
            return self.error(501, None);
        }
        let allowed: Vec<_> = Method::ALL
            .into_iter()
            .filter(|&method| self.allows(method))
            .map(Method::name)
            .collect();
        self.error(405, None).field("Allow", allowed.join(", "))
    }

    /// What says that something went wrong.
    pub(super) fn error(&self, code: u16, reason: Option<&[u8]>) -> Reply {
        let mut reply = match &self.error_page {
            Some(page) => page(code),
            None => Reply::new(code)
                .field("Content-Type", "text/html")
                .body(server::error_page(code, reason)),
        };
        reply.code = code;
        if let Some(reason) = reason {
            reply = reply.reason(reason);
        }
        reply
    }
}
