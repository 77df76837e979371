//! TLS with rustls (`event2/bufferevent_ssl.h` has it with OpenSSL).
//!
//! To the core a secured bufferevent is one with a handshake to make; what is here are the bytes: between the two
//! buffers and the transport, they go through a rustls connection.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use ferrevent_core::Handshake;
use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Fd, Kind, Readiness, Received, Sent, Transport};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Connection, RootCertStore, ServerConfig};

use super::{BufferEvent, Condition, Handler};
use crate::base::Base;
use crate::error::{Error, Result};
use crate::{Dirs, seat};

/// The most that one TLS record carries.
const RECORD: usize = 16 << 10;

/// What is read from a descriptor at a time.
const MAX_READ: usize = 64 << 10;

/// As much is encrypted before it is sent.
const MAX_UNSENT: usize = 128 << 10;

/// How long a freed bufferevent is kept at most while its last message cannot be sent, in nanoseconds.
const PATIENCE: u64 = 30_000_000_000;

/// One side of a TLS connection that is still to be made, for [`BufferEvent::secure`].
#[derive(Debug)]
pub struct TlsSession(Connection);

impl TlsSession {
    /// A client's, which asks for the host called `name` (SNI), and accepts only a certificate that says so and that
    /// the configuration trusts. [`tls_client_config`] makes one that trusts the public authorities.
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

/// A client's configuration that trusts the public authorities (those of Mozilla, by the crate `webpki-roots`) and
/// offers these application protocols (ALPN), the preferred one first.
pub fn tls_client_config(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    // The provider has what the default versions need.
    let builder = builder
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| ClientConfig::builder());
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
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
    /// with [`io::ErrorKind::UnexpectedEof`], unless [allowed](Self::allow_truncation).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Layered`] if it stands over another or is secured already.
    pub fn secure(self, base: &mut Base, session: TlsSession) -> Result<()> {
        base.tick();
        let slot = base.slot_mut(self).ok_or(Error::Stale)?;
        let key = slot.key;
        if slot.secure.is_some() || base.core.stream(key).is_none_or(|s| s.is_layered()) {
            return Err(Error::Layered);
        }
        let slot = base.slot_mut(self).ok_or(Error::Stale)?;
        slot.secure = Some(Box::new(Secure::new(session, None)));
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
        slot.secure = Some(Box::new(Secure::new(session, Some(below))));
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
        Some(&base.slot(self)?.secure.as_ref()?.connection)
    }

    /// Takes an end of the connection that the peer has not announced for [`Condition::Eof`], instead of an error
    /// (`bufferevent_openssl_set_allow_dirty_shutdown`): only for protocols that say themselves where a message ends.
    /// Returns whether it has TLS.
    pub fn allow_truncation(self, base: &mut Base, allowed: bool) -> bool {
        let Some(secure) = base.slot_mut(self).and_then(|slot| slot.secure.as_mut()) else {
            return false;
        };
        secure.allow_truncation = allowed;
        true
    }
}

/// What a secured bufferevent has.
pub(crate) struct Secure {
    connection: Connection,
    /// What the peer has sent.
    incoming: Buffer,
    /// What is to be sent to the peer.
    outgoing: Buffer,
    /// The bufferevent that it is over.
    lower: Option<BufferEvent>,
    allow_truncation: bool,
    /// Nothing more comes from the transport.
    ended: bool,
    /// rustls has been told so.
    end_told: bool,
    /// Why the transport has failed.
    failure: Option<Error>,
    /// So many bytes of the output are encrypted, and wait to be sent.
    in_flight: usize,
    /// The peer has been told that nothing more comes.
    said_end: bool,
    /// The transport takes nothing any more.
    shut: bool,
}

/// Where the encrypted bytes go.
enum Wire<'a> {
    Descriptor {
        transport: &'a dyn Transport,
        fd: Fd,
        kind: Kind,
    },
    Lower {
        input: &'a mut Buffer,
        output: &'a mut Buffer,
        room: usize,
    },
}

impl Secure {
    fn new(session: TlsSession, lower: Option<BufferEvent>) -> Self {
        let mut connection = session.0;
        // How much is under way is limited here.
        connection.set_buffer_limit(None);
        Self {
            connection,
            incoming: Buffer::new(),
            outgoing: Buffer::new(),
            lower,
            allow_truncation: false,
            ended: false,
            end_told: false,
            failure: None,
            in_flight: 0,
            said_end: false,
            shut: false,
        }
    }

    /// The socket has been shut down for sending: what rustls may answer goes nowhere.
    pub(super) fn close_sending(&mut self) {
        self.shut = true;
    }

    /// Frees what is below, if that has not been done.
    pub(super) fn free_lower(&self, base: &mut Base) {
        if let Some(lower) = self.lower {
            lower.free(base);
        }
    }

    fn handshake(&mut self, wire: &mut Wire<'_>) -> Result<Handshake> {
        loop {
            self.gather()?;
            let all_sent = self.flush(wire)?;
            if !self.connection.is_handshaking() {
                // The peer waits for the last of it.
                return Ok(match all_sent {
                    true => Handshake::Done,
                    false => Handshake::WantsWrite,
                });
            }
            if self.incoming.is_empty() && !self.fill(wire) {
                return match (self.ended, all_sent) {
                    (true, _) => Err(self.truncated()),
                    (false, true) => Ok(Handshake::WantsRead),
                    (false, false) => Ok(Handshake::WantsWrite),
                };
            }
            self.digest(wire)?;
        }
    }

    fn read(&mut self, wire: &mut Wire<'_>, input: &mut Buffer, limit: usize) -> Result<Received> {
        let mut record = [0; RECORD];
        let mut bytes = 0;
        while bytes < limit {
            let room = (limit - bytes).min(RECORD);
            match self.connection.reader().read(&mut record[..room]) {
                Ok(n) if n > 0 => {
                    input.append(&record[..n])?;
                    bytes += n;
                    continue;
                }
                // What has been read is told before the end, which stays where it is.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ if bytes > 0 => break,
                Ok(_) => return Ok(END),
                Err(_) if self.allow_truncation && self.failure.is_none() => return Ok(END),
                Err(_) => return Err(self.truncated()),
            }
            if self.incoming.is_empty() && !self.fill(wire) {
                if self.ended && !self.end_told {
                    self.digest(wire)?;
                    continue;
                }
                if bytes == 0 {
                    return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
                }
                return Ok(Received {
                    bytes,
                    drained: true,
                });
            }
            if let Err(error) = self.digest(wire) {
                if bytes == 0 {
                    return Err(error);
                }
                // rustls says it again.
                break;
            }
        }
        Ok(Received {
            bytes,
            drained: false,
        })
    }

    fn write(&mut self, wire: &mut Wire<'_>, output: &mut Buffer, limit: usize) -> Result<Sent> {
        let mut record = [0; RECORD];
        let mut sent = 0;
        loop {
            let room = wire.room();
            while self.outgoing.len() < room && !self.said_end {
                let done = self.in_flight.min(output.len());
                let want = RECORD.min(limit.saturating_sub(sent + done));
                output.load_files(done + want)?;
                let n = output.copy_out(done, &mut record[..want]);
                if n == 0 {
                    break;
                }
                self.connection.writer().write_all(&record[..n])?;
                self.in_flight += n;
                self.gather()?;
            }
            if !self.flush(wire)? {
                return Ok(Sent {
                    bytes: sent,
                    blocked: true,
                });
            }
            // Counted only now: while the output is not empty, the transport has not taken all of it.
            let gone = std::mem::take(&mut self.in_flight).min(output.len());
            output.sent(gone);
            sent += gone;
            if sent >= limit || output.is_empty() || gone == 0 {
                return Ok(Sent {
                    bytes: sent,
                    blocked: gone == 0 || wire.room() == 0,
                });
            }
        }
    }

    /// Tells the peer that nothing more comes. Returns how much of that could not be sent yet.
    fn shut_down(&mut self, wire: &mut Wire<'_>) -> Result<usize> {
        if !std::mem::replace(&mut self.said_end, true) {
            self.connection.send_close_notify();
        }
        self.gather()?;
        self.flush(wire)?;
        Ok(self.outgoing.len())
    }

    /// Has rustls work on what has come; what it answers is sent.
    fn digest(&mut self, wire: &mut Wire<'_>) -> Result<()> {
        self.end_told |= self.incoming.is_empty();
        self.connection.read_tls(&mut self.incoming)?;
        let processed = self.connection.process_new_packets();
        // Also after an error: the peer is told why.
        self.gather()?;
        self.flush(wire)?;
        processed?;
        Ok(())
    }

    /// Takes what rustls has to send.
    fn gather(&mut self) -> Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.outgoing)?;
        }
        Ok(())
    }

    /// Gets more of the peer's bytes; says whether there are any.
    fn fill(&mut self, wire: &mut Wire<'_>) -> bool {
        match wire {
            Wire::Lower { input, .. } => self.incoming.transfer_from(input, usize::MAX) > 0,
            Wire::Descriptor {
                transport,
                fd,
                kind,
            } => loop {
                match transport.read(*fd, *kind, &mut self.incoming, MAX_READ) {
                    Ok(received) => {
                        self.ended |= received.bytes == 0;
                        return received.bytes > 0;
                    }
                    Err(error) => match error.kind() {
                        io::ErrorKind::Interrupted => {}
                        io::ErrorKind::WouldBlock => return false,
                        _ => {
                            self.ended = true;
                            self.failure = Some(error.into());
                            return false;
                        }
                    },
                }
            },
        }
    }

    /// Sends what is encrypted; says whether that was all.
    fn flush(&mut self, wire: &mut Wire<'_>) -> Result<bool> {
        if self.shut {
            self.outgoing = Buffer::new();
            return Ok(true);
        }
        match wire {
            Wire::Lower { output, .. } => {
                output.transfer_from(&mut self.outgoing, usize::MAX);
                Ok(self.outgoing.is_empty())
            }
            Wire::Descriptor {
                transport,
                fd,
                kind,
            } => {
                while !self.outgoing.is_empty() {
                    match transport.write(*fd, *kind, &mut self.outgoing, usize::MAX) {
                        Ok(sent) if sent.blocked || sent.bytes == 0 => {
                            return Ok(self.outgoing.is_empty());
                        }
                        Ok(_) => {}
                        Err(error) => match error.kind() {
                            io::ErrorKind::Interrupted => {}
                            io::ErrorKind::WouldBlock => return Ok(false),
                            _ => return Err(error.into()),
                        },
                    }
                }
                Ok(true)
            }
        }
    }

    /// Why nothing more comes although the peer has not said so.
    fn truncated(&mut self) -> Error {
        let failure = self.failure.take();
        failure.unwrap_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }
}

impl Wire<'_> {
    /// How much may be encrypted before it goes to the transport; 0 while that has no room.
    fn room(&self) -> usize {
        match self {
            Self::Descriptor { .. } => MAX_UNSENT,
            Self::Lower { output, room, .. } => room.saturating_sub(output.len()).min(MAX_UNSENT),
        }
    }
}

const END: Received = Received {
    bytes: 0,
    drained: false,
};

/// The handler of a bufferevent with TLS over it.
struct Below(BufferEvent);

impl Handler for Below {
    fn read(&mut self, base: &mut Base, _: BufferEvent) {
        base.tell_secure(self.0, Readiness::READ);
    }

    fn write(&mut self, base: &mut Base, _: BufferEvent) {
        base.tell_secure(self.0, Readiness::WRITE);
    }

    fn event(&mut self, base: &mut Base, below: BufferEvent, condition: Condition) {
        let failure = match condition {
            Condition::Connected => {
                return base.tell_secure(self.0, Readiness::READ | Readiness::WRITE);
            }
            Condition::Timeout { .. } => {
                self.0.trigger_event(base, condition);
                return;
            }
            Condition::Eof { .. } => None,
            Condition::Error { error, .. } => Some(error),
        };
        let Some([slot, under]) = base.streams.get_disjoint_mut([self.0, below]) else {
            return;
        };
        if let Some(secure) = &mut slot.secure {
            // What came before the end counts.
            secure.incoming.transfer_from(&mut under.input, usize::MAX);
            secure.ended = true;
            secure.failure = failure;
        }
        let ready = Readiness::READ | Readiness::WRITE | Readiness::CLOSED | Readiness::FAILED;
        base.tell_secure(self.0, ready);
    }
}

/// What the loop does with secured bufferevents.
impl Base {
    fn tell_secure(&mut self, bev: BufferEvent, readiness: Readiness) {
        // Also of one that its user has freed, and that lives on until its output is gone.
        if let Some(slot) = self.streams.get(bev) {
            let key = slot.key;
            self.core.lower_ready(key, readiness);
        }
    }

    pub(super) fn secure_handshake(&mut self, bev: BufferEvent, fd: Fd, kind: Kind) -> Handshake {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, _, _| secure.handshake(wire));
        match outcome {
            Some(Ok(outcome)) => outcome,
            Some(Err(error)) => Handshake::Failed {
                error: self.keep_error(bev, error),
                reading: false,
            },
            None => Handshake::WantsRead,
        }
    }

    pub(super) fn secure_read(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
        limit: usize,
    ) -> io::Result<Received> {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, input, _| {
            input.unfreeze(crate::End::Back);
            let outcome = secure.read(wire, input, limit);
            input.freeze(crate::End::Back);
            input.forget_change();
            outcome
        });
        self.outcome(bev, outcome)
    }

    pub(super) fn secure_write(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
        limit: usize,
    ) -> io::Result<Sent> {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, _, output| {
            let outcome = secure.write(wire, output, limit);
            output.forget_change();
            outcome
        });
        self.outcome(bev, outcome)
    }

    /// The bytes that are still to be sent: what the session has to say for itself counts as well.
    pub(super) fn secure_unsent(&self, bev: BufferEvent) -> usize {
        let slot = self.streams.get(bev);
        slot.map_or(0, |slot| {
            let secure = slot.secure.as_ref();
            let own = secure.map_or(0, |secure| secure.outgoing.len().min(1));
            match secure {
                // What was written after the end stays where it is.
                Some(secure) if secure.said_end => own,
                _ => slot.output.len().max(own),
            }
        })
    }

    /// Tells the peer the end, as the core has asked for.
    pub(super) fn secure_end(&mut self, bev: BufferEvent, fd: Fd, kind: Kind) -> io::Result<usize> {
        let outcome = self.with_secure(bev, fd, kind, |secure, wire, _, _| secure.shut_down(wire));
        match outcome {
            Some(outcome) => self.outcome(bev, Some(outcome)),
            None => Ok(0),
        }
    }

    /// It is freed: tells the peer, if that was all. Returns whether the core has been told.
    pub(super) fn secure_free(&mut self, bev: BufferEvent) -> bool {
        let Some(slot) = self.streams.get(bev) else {
            return false;
        };
        let key = slot.key;
        let Some(secure) = &slot.secure else {
            return false;
        };
        let lower = secure.lower;
        let stream = self.core.stream(key);
        let ends = stream.filter(|stream| stream.is_at_rest());
        let ends = ends.map(|stream| (stream.fd(), stream.kind()));
        let mut unsent = 0;
        if let Some((fd, kind)) = ends {
            let said = self.with_secure(bev, fd, kind, |secure, wire, _, _| secure.shut_down(wire));
            unsent = said.and_then(Result::ok).unwrap_or(0);
        }
        if let Some(lower) = lower {
            self.core.leave_lower(key);
            self.free_below(lower, ends.is_some());
            return false;
        }
        if unsent > 0 {
            self.core.linger_and_free(key, unsent, PATIENCE);
        }
        unsent > 0
    }

    fn free_below(&mut self, lower: BufferEvent, drains: bool) {
        let Some(slot) = self.slot_mut(lower) else {
            return;
        };
        let (key, unsent) = (slot.key, slot.output.len());
        let on_socket = self.core.stream(key).is_some_and(|s| s.fd() >= 0);
        if !drains || !on_socket || unsent == 0 {
            lower.free(self);
            return;
        }
        if let Some(slot) = self.slot_mut(lower) {
            slot.freed = true;
            slot.handler = seat::Seat::Empty;
        }
        self.core.linger_and_free(key, unsent, PATIENCE);
    }

    /// Runs `f` on a session, its transport, and its two buffers.
    fn with_secure<R>(
        &mut self,
        bev: BufferEvent,
        fd: Fd,
        kind: Kind,
        f: impl FnOnce(&mut Secure, &mut Wire<'_>, &mut Buffer, &mut Buffer) -> Result<R>,
    ) -> Option<Result<R>> {
        let slot = self.streams.get_mut(bev)?;
        let lower = slot.secure.as_ref()?.lower;
        if lower.is_some_and(|lower| !self.streams.contains_key(lower)) {
            return None;
        }
        let slot = self.streams.get_mut(bev)?;
        let mut secure = slot.secure.take()?;
        let outcome = match lower {
            None => {
                let mut wire = Wire::Descriptor {
                    transport: &*self.transport,
                    fd,
                    kind,
                };
                f(&mut secure, &mut wire, &mut slot.input, &mut slot.output)
            }
            Some(lower) => {
                let [slot, under] = self.streams.get_disjoint_mut([bev, lower])?;
                let key = under.key;
                let stream = self.core.stream(key);
                let high = stream.map_or(0, |stream| stream.watermark(Dirs::WRITE).high);
                let room = if high == 0 { usize::MAX } else { high };
                under.output.forget_change();
                let mut wire = Wire::Lower {
                    input: &mut under.input,
                    output: &mut under.output,
                    room,
                };
                let outcome = f(&mut secure, &mut wire, &mut slot.input, &mut slot.output);
                under.input.forget_change();
                let added = under.output.take_change().map_or(0, |change| change.added);
                self.core.input_changed(key, under.input.len());
                self.core.output_changed(key, under.output.len(), added);
                outcome
            }
        };
        if let Some(slot) = self.streams.get_mut(bev) {
            slot.secure = Some(secure);
        }
        Some(outcome)
    }

    /// What the core is told of a transfer; what the handler will be told of it is kept.
    fn outcome<R>(&mut self, bev: BufferEvent, outcome: Option<Result<R>>) -> io::Result<R> {
        match outcome {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Some(Err(error)) => {
                let number = self.keep_error(bev, error);
                Err(io::Error::from_raw_os_error(number))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn keep_error(&mut self, bev: BufferEvent, error: Error) -> i32 {
        let number = super::handler::error_number(&error);
        if let Some(slot) = self.streams.get_mut(bev) {
            slot.rare.get_or_insert_default().error = Some(error);
        }
        number
    }
}
