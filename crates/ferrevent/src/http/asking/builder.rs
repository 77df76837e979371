//! How a client is described.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use ferrevent_http::{Limits, Uri, client, header};

use super::{Client, ClientSlot, Phase};
use crate::base::Base;
use crate::dns::Resolver;
use crate::error::{Error, Result};
use crate::event::Event;

/// Describes a [`Client`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    pub(super) settings: Settings,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) max_head: usize,
    pub(super) max_body: u64,
    pub(super) max_interim: u32,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) first_retry: Duration,
    pub(super) resolver: Option<Resolver>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        let settings = Settings {
            max_head: 64 << 10,
            max_body: 16 << 20,
            max_interim: client::MOST_INTERIM,
            connect_timeout: Some(Duration::from_secs(45)),
            timeout: Some(Duration::from_secs(50)),
            idle_timeout: Some(Duration::from_secs(30)),
            retries: 0,
            first_retry: Duration::from_secs(2),
            resolver: None,
            #[cfg(feature = "tls")]
            tls: None,
        };
        Self { settings }
    }
}

impl ClientBuilder {
    /// How long the head of an answer may be, its trailer included, in bytes without the ends of lines; 64 KiB if not set
    /// (`evhttp_connection_set_max_headers_size`).
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.settings.max_head = bytes;
        self
    }

    /// How long a body may be that is collected, in bytes; 16 MiB if not set (`evhttp_connection_set_max_body_size`). One
    /// that a [`ResponseHandler`](super::ResponseHandler) takes may have any length.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// How many answers that are not the final one (`100 Continue`, `103 Early Hints` and their like) may come for one
    /// request; [100](client::MOST_INTERIM) if not set. More of them are
    /// [`BadMessage::TooManyInterim`](crate::http::BadMessage::TooManyInterim).
    pub fn max_interim(mut self, answers: u32) -> Self {
        self.settings.max_interim = answers;
        self
    }

    /// How long it may take to connect, looking the host up and TLS included; 45 seconds if not set, `None` for as long as the system tries.
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long a request or its answer may make no progress; 50 seconds if not set, `None` for ever
    /// (`evhttp_connection_set_timeout`).
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How long a connection is kept on which nothing is asked; 30 seconds if not set, `None` for as long as the server
    /// keeps it. So long the loop has something to wait for.
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// How often connecting is tried again; never if not set (`evhttp_connection_set_retries`).
    pub fn retries(mut self, times: u32) -> Self {
        self.settings.retries = times;
        self
    }

    /// How long the first try after a failed one waits; two seconds if not set (`evhttp_connection_set_initial_retry_tv`).
    /// Each further one waits twice as long as the one before.
    pub fn first_retry(mut self, wait: Duration) -> Self {
        self.settings.first_retry = wait;
        self
    }

    /// Who looks the host up; the [base's resolver](Base::resolver) if not set.
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.settings.resolver = Some(resolver);
        self
    }

    /// What TLS is made with, if the URL says `https`, with the feature `tls`; [`tls_client_config`](crate::tls_client_config)
    /// if not set. Put `http/1.1` among its `alpn_protocols`, if it has any.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ClientConfig>) -> Self {
        self.settings.tls = Some(config);
        self
    }

    /// Makes a client of the server that `url` begins with: `http://host`, with a port if it is not 80, or `https`. What is
    /// behind them does not matter. It connects when something is asked.
    ///
    /// # Errors
    /// [`Error::Url`] of one that has another scheme, no host, or a port that there is not; also of `https` without the
    /// feature `tls`.
    pub fn build(self, base: &mut Base, url: impl AsRef<[u8]>) -> Result<Client> {
        let origin = Origin::of(url.as_ref()).ok_or(Error::Url)?;
        let client = base.asking.clients.insert(ClientSlot {
            settings: self.settings,
            origin,
            phase: Phase::Apart,
            bev: None,
            machine: client::Connection::new(),
            queue: VecDeque::new(),
            asked: 0,
            current: 0,
            retried: 0,
            ended: false,
            used: false,
            heard: false,
            untold: false,
            ends: false,
            out: Vec::new(),
            timer: Event::default(),
        });
        let timer = Event::timer(base, move |base, _| client.time_is_up(base));
        if let Some(slot) = base.asking.clients.get_mut(client) {
            slot.timer = timer;
        }
        Ok(client)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn limits(&self, collected: bool) -> Limits {
        Limits {
            head: self.max_head,
            body: if collected { self.max_body } else { u64::MAX },
        }
    }
}

/// Whom to connect to.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    #[cfg(feature = "tls")]
    pub(super) secure: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What `Host` says.
    pub(super) field: Vec<u8>,
}

impl Origin {
    fn of(url: &[u8]) -> Option<Self> {
        let uri = Uri::parse(url).ok()?;
        let scheme = uri.scheme()?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") || secure && cfg!(not(feature = "tls")) {
            return None;
        }
        let host = uri.host().filter(|host| !host.is_empty())?;
        let usual = if secure { 443 } else { 80 };
        let port = match uri.port() {
            Some(port) => u16::try_from(port).ok().filter(|&port| port > 0)?,
            None => usual,
        };
        let field = match port == usual {
            true => host.to_owned(),
            false => format!("{host}:{port}"),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        header::is_value(field.as_bytes()).then(|| Self {
            #[cfg(feature = "tls")]
            secure,
            host: bare.unwrap_or(host).to_owned(),
            port,
            field: field.into_bytes(),
        })
    }
}
