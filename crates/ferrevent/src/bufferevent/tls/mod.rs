//! TLS with rustls (`event2/bufferevent_ssl.h` has it with OpenSSL).
//!
//! To the core a secured bufferevent is one with a handshake to make; what is here are the bytes: between the two
//! buffers and the transport, they go through a rustls connection.
//!
//! * here — the session and what a bufferevent does with it;
//! * `config` — what a client trusts;
//! * `session` — a rustls connection, and its bytes;
//! * `work` — what the loop does.

mod config;
mod session;
mod work;

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Connection, ServerConfig};

pub(super) use self::session::Secure;
use self::work::Below;
use super::{BufferEvent, Condition, Handler};
use crate::Dirs;
use crate::base::Base;
use crate::error::{Error, Result};

pub use self::config::tls_client_config;
#[cfg(feature = "tls-native-roots")]
pub use self::config::tls_native_client_config;

/// One side of a TLS connection that is still to be made, for [`BufferEvent::secure`].
#[derive(Debug)]
pub struct TlsSession(Connection);

impl TlsSession {
    /// A client's, which asks for the host called `name` (SNI), and accepts only a certificate that says so and that
    /// the configuration trusts. [`tls_client_config`] makes one that trusts the public authorities, and
    /// `tls_native_client_config` (with the feature `tls-native-roots`) one that trusts those of the system.
    ///
    /// # Errors
    /// [`Error::Tls`] when `name` is neither a host name nor an IP address, or the configuration is of no use.
    pub fn client(config: Arc<ClientConfig>, name: &str) -> Result<Self> {
        let invalid = |_| rustls::Error::General(format!("{name} is no host"));
        let name = ServerName::try_from(name.to_owned()).map_err(invalid)?;
        let client = rustls::ClientConnection::new(config, name)?;
        Ok(Self(client.into()))
    }

    /// A server's.
    ///
    /// # Errors
    /// [`Error::Tls`] when the configuration is of no use.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self> {
        Ok(Self(rustls::ServerConnection::new(config)?.into()))
    }
}

/// TLS, with the feature `tls`.
impl BufferEvent {
    /// Puts TLS between its buffers and its socket (`bufferevent_openssl_socket_new`): right after it was made, or later
    /// when both sides have agreed to go on in TLS. The handshake begins in the next pass of the loop, or when the
    /// connection stands; [`Condition::Connected`] says that it is over. It goes on while writing is enabled, whether
    /// or not reading is.
    ///
    /// What is written before is sent after the handshake. The output is empty only when the system has taken all of it,
    /// encrypted. Freeing it with an empty output tells the peer that this was the end; the peer's own such message is
    /// [`Condition::Eof`]. A connection that ends without one may have been cut off, so that is a [`Condition::Error`]
    /// with [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof), unless [allowed](Self::allow_truncation).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Layered`] if it stands over another or is secured already.
    pub fn secure(self, base: &mut Base, session: TlsSession) -> Result<()> {
        base.tick();
        let slot = base.slot_mut(self).ok_or(Error::Stale)?;
        let key = slot.key;
        if slot.secure().is_some() || base.core.stream(key).is_none_or(|s| s.is_layered()) {
            return Err(Error::Layered);
        }
        let slot = base.slot_mut(self).ok_or(Error::Stale)?;
        let rare = slot.rare.get_or_insert_default();
        rare.secure = Some(Box::new(Secure::new(session, None)));
        base.core.secure_stream(key, false);
        Ok(())
    }

    /// A bufferevent with TLS over another one (`bufferevent_openssl_filter_new`): over a pair, a stage, a limited
    /// socket, TLS. As [`secure`](Self::secure) otherwise. `below` belongs to it from now on, calls its own handler no
    /// more, and is freed with it.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`] when the system refuses to watch the socket of `below`.
    pub fn secure_over(base: &mut Base, below: Self, session: TlsSession) -> Result<Self> {
        let under = base.slot(below).ok_or(Error::Stale)?.key;
        let bev = Self::unconnected(base);
        let slot = base.slot_mut(bev).ok_or(Error::Stale)?;
        let rare = slot.rare.get_or_insert_default();
        rare.secure = Some(Box::new(Secure::new(session, Some(below))));
        let key = slot.key;
        base.core.set_lower(key, under);
        base.core.secure_stream(key, false);
        below.set_handler(base, Below(bev));
        let enabled = below.enable(base, Dirs::READ | Dirs::WRITE);
        if enabled.is_err() {
            bev.free(base);
        }
        enabled.map(|()| bev)
    }

    /// Its TLS connection: what was agreed on (`alpn_protocol`, `protocol_version`), and who the peer is.
    pub fn tls(self, base: &Base) -> Option<&Connection> {
        Some(base.slot(self)?.secure()?.connection())
    }

    /// Takes an end of the connection that the peer has not announced for [`Condition::Eof`], instead of an error
    /// (`bufferevent_openssl_set_allow_dirty_shutdown`): only for protocols that say themselves where a message ends.
    /// Returns whether it has TLS.
    pub fn allow_truncation(self, base: &mut Base, allowed: bool) -> bool {
        let Some(secure) = base.slot_mut(self).and_then(|slot| slot.secure_mut()) else {
            return false;
        };
        secure.allow_truncation(allowed);
        true
    }
}
