//! Connections that we start.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ferrevent_core::driver::{Connect, Fd, Kind};
use ferrevent_core::{Callbacks, Dialed, Dirs, StreamKey};
use ferrevent_sys::{Address, Mode};

use super::{BufferEvent, Condition, Descriptor};
use crate::base::Base;
use crate::dns::{AddressError, AddressList, Failure, Resolver};
use crate::error::{Error, Result};

/// Connecting. What is written before the connection stands is sent then. The handler is told
/// [`Condition::Connected`] first of all, or [`Condition::Error`] without any directions.
///
/// A write timeout limits the attempt too: [`Condition::Timeout`] is told once, but the attempt goes on until the
/// bufferevent is freed or connected anew.
///
/// Of one that stands over another, the lowest connects.
impl BufferEvent {
    /// Starts to connect to an internet address (`bufferevent_socket_connect`). Uses the socket that the bufferevent
    /// was given, if it was; otherwise makes one, and a new one for each further attempt.
    ///
    /// # Errors
    /// [`Error::Io`] when the attempt cannot even begin (`ENETUNREACH`), and of the kind `Unsupported` for one end of a
    /// pair, which has no use for a socket; nobody is called then. That the connection was refused, even at once, is told to
    /// the handler. [`Error::Stale`]; [`Error::NotOnSystem`].
    pub fn connect(self, base: &mut Base, address: SocketAddr) -> Result<()> {
        let lowest = self.bottom(base);
        if lowest != self {
            return lowest.connect(base, address);
        }
        self.give_up_connecting(base)?;
        base.start_connect(self, &Address::from(address))
    }

    /// Starts to connect to a unix socket; a path whose first byte is zero is an abstract name
    /// (`bufferevent_socket_connect`).
    ///
    /// # Errors
    /// As for [`connect`](Self::connect); `ENOENT` when there is no such socket, `InvalidInput` of a path that is too
    /// long.
    pub fn connect_unix(self, base: &mut Base, path: impl AsRef<Path>) -> Result<()> {
        let lowest = self.bottom(base);
        if lowest != self {
            return lowest.connect_unix(base, path);
        }
        self.give_up_connecting(base)?;
        let address = Address::unix(path.as_ref().as_os_str().as_bytes())?;
        base.start_connect(self, &address)
    }

    /// Looks a host up with the [base's resolver](Base::resolver), without blocking anybody, and connects to it
    /// (`bufferevent_socket_connect_hostname`). If it has several addresses, all are tried (RFC 8305): IPv6 and IPv4
    /// take turns, each attempt has 250 ms before the next one begins beside it, and the first connection that stands is
    /// the one. An error is told when all have failed. Until then there is no [`socket`](Self::socket).
    ///
    /// The write timeout is one deadline for all attempts, and begins with the first; the look-up ends by itself, after
    /// ten seconds at the latest. That it has failed is told to the handler as [`Error::Lookup`].
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::NotOnSystem`]; [`Error::Io`] for one end of a pair.
    pub fn connect_host(self, base: &mut Base, host: &str, port: u16) -> Result<()> {
        let resolver = base.resolver()?;
        self.connect_host_with(base, resolver, host, port)
    }

    /// As [`connect_host`](Self::connect_host), with a resolver of your own.
    ///
    /// # Errors
    /// [`Error::Stale`], also if the resolver has been freed; [`Error::NotOnSystem`]; [`Error::Io`] for one end of a pair.
    pub fn connect_host_with(
        self,
        base: &mut Base,
        resolver: Resolver,
        host: &str,
        port: u16,
    ) -> Result<()> {
        let lowest = self.bottom(base);
        if lowest != self {
            return lowest.connect_host_with(base, resolver, host, port);
        }
        base.native()?;
        self.give_up_connecting(base)?;
        let name = host.to_owned();
        let told = move |base: &mut Base, found| self.looked_up(base, &name, found);
        let lookup = resolver.addresses(base, host, port, told)?;
        let slot = base.slot_mut(self).ok_or(Error::Stale)?;
        slot.rare.get_or_insert_default().lookup = Some(lookup);
        let key = slot.key;
        base.core.set_looking_up(key, true);
        Ok(())
    }

    fn looked_up(self, base: &mut Base, host: &str, found: Result<AddressList, AddressError>) {
        let Some(slot) = base.slot_mut(self) else {
            return;
        };
        let key = slot.key;
        if let Some(rare) = &mut slot.rare {
            rare.lookup = None;
        }
        base.core.set_looking_up(key, false);
        match found {
            Ok(mut list) => {
                // IPv6 first, as RFC 8305 has it.
                list.addresses.sort_by_key(SocketAddr::is_ipv4);
                base.connect_to_one_of(self, &list.addresses);
            }
            Err(error) => {
                let error = Error::Lookup {
                    host: host.to_owned(),
                    source: io::Error::new(kind_of(error), error),
                };
                self.fail_connect(base, error);
            }
        }
    }

    /// Says that a connection attempt is under way on the bufferevent's descriptor, or has `begun` and ended already
    /// (`bufferevent_socket_connect` with a `NULL` address).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Io`] when there is no descriptor (`NotConnected`), or the kernel refuses to watch it.
    pub fn await_connected(self, base: &mut Base, begun: Connect) -> Result<()> {
        let lowest = self.bottom(base);
        if lowest != self {
            return lowest.await_connected(base, begun);
        }
        base.tick();
        let slot = base.slot(self).ok_or(Error::Stale)?;
        let (key, fd) = (slot.key, slot.descriptor.number());
        if fd < 0 {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let kind = base.transport.kind(fd);
        Ok(base
            .core
            .start_connect(key, fd, kind, begun, Some(&mut *base.driver))?)
    }

    /// Another attempt begins, if this one can connect at all.
    fn give_up_connecting(self, base: &mut Base) -> Result<()> {
        let key = base.slot(self).ok_or(Error::Stale)?.key;
        if base.core.is_paired(key) {
            return Err(Error::Io(io::ErrorKind::Unsupported.into()));
        }
        self.stop_dialing(base)
    }

    /// Forgets the look-up of a host, and the attempts to connect to it.
    pub(super) fn stop_dialing(self, base: &mut Base) -> Result<()> {
        let slot = base.slot_mut(self).ok_or(Error::Stale)?;
        let key = slot.key;
        if let Some(lookup) = slot.rare.as_mut().and_then(|rare| rare.lookup.take()) {
            lookup.cancel(base);
            base.core.set_looking_up(key, false);
        }
        for fd in base.core.stop_dialing(key) {
            base.end_attempt(self, fd);
        }
        Ok(())
    }

    fn fail_connect(self, base: &mut Base, error: Error) {
        let dirs = Dirs::empty();
        self.trigger_event(base, Condition::Error { dirs, error });
    }
}

impl Base {
    fn start_connect(&mut self, bev: BufferEvent, address: &Address) -> Result<()> {
        self.native()?;
        self.tick();
        let slot = self.streams.get(bev).filter(|slot| !slot.is_freed());
        let slot = slot.ok_or(Error::Stale)?;
        let key = slot.key;
        let fresh = match &slot.descriptor {
            Descriptor::Given(_) => None,
            _ => Some(ferrevent_sys::stream_socket(
                address.family(),
                Mode::default(),
            )?),
        };
        let fd = fresh
            .as_ref()
            .map_or(slot.descriptor.number(), AsRawFd::as_raw_fd);
        let begun = ferrevent_sys::connect(fd, address)?;
        let started =
            self.core
                .start_connect(key, fd, Kind::Stream, begun, Some(&mut *self.driver));
        if let Some(fresh) = fresh {
            let fresh = Descriptor::Connected(fresh);
            let former = std::mem::replace(&mut self.streams[bev].descriptor, fresh);
            self.close(former);
        }
        Ok(started?)
    }

    /// Connects to the first of a host's addresses that can be reached.
    fn connect_to_one_of(&mut self, bev: BufferEvent, addresses: &[SocketAddr]) {
        let Some(slot) = self.slot(bev) else {
            return;
        };
        let key = slot.key;
        // The user's own socket has one try.
        let given = matches!(slot.descriptor, Descriptor::Given(_));
        if let Some(first) = addresses.first()
            && (given || addresses.len() == 1)
        {
            if let Err(error) = self.start_connect(bev, &Address::from(*first)) {
                bev.fail_connect(self, error);
            }
            return;
        }
        self.tick();
        if let Some(slot) = self.slot_mut(bev) {
            let former = std::mem::replace(&mut slot.descriptor, Descriptor::None);
            self.core.start_dial(key, addresses.iter().copied());
            self.close(former);
        }
    }

    /// Begins the attempts that are due, and says what has come of those so far.
    pub(super) fn dial(&mut self, bev: BufferEvent, key: StreamKey) -> Callbacks {
        while let Some(address) = self.core.next_attempt(key) {
            if let Err(error) = self.attempt(bev, key, &Address::from(address)) {
                self.core.attempt_failed(key, &error);
            }
        }
        match self.core.dialed(key) {
            Dialed::Going => Callbacks::NONE,
            Dialed::Failed(callbacks) => callbacks,
            Dialed::Stands {
                fd,
                others,
                callbacks,
            } => {
                for other in others {
                    self.end_attempt(bev, other);
                }
                if let Some(slot) = self.streams.get_mut(bev) {
                    let winner = slot.rare.as_mut().and_then(|rare| rare.attempts.pop());
                    debug_assert_eq!(winner.as_ref().map(AsRawFd::as_raw_fd), Some(fd));
                    slot.descriptor = winner.map_or(Descriptor::None, Descriptor::Connected);
                }
                callbacks
            }
        }
    }

    fn attempt(&mut self, bev: BufferEvent, key: StreamKey, address: &Address) -> io::Result<()> {
        let Some(slot) = self.streams.get_mut(bev) else {
            return Ok(());
        };
        let socket = ferrevent_sys::stream_socket(address.family(), Mode::default())?;
        let fd = socket.as_raw_fd();
        let begun = ferrevent_sys::connect(fd, address)?;
        let taken = self
            .core
            .attempt_begun(key, fd, begun, Some(&mut *self.driver));
        // A refused attempt's socket is closed here; the core's is closed when it says so.
        if taken.is_ok() {
            slot.rare.get_or_insert_default().attempts.push(socket);
        }
        Ok(())
    }

    /// One of several attempts is said to have ended.
    pub(super) fn finish_attempt(&mut self, bev: BufferEvent, key: StreamKey, fd: Fd) -> Callbacks {
        let outcome = self.transport.take_error(fd);
        if self.core.handle_attempt(key, fd, outcome) {
            self.end_attempt(bev, fd);
        }
        self.dial(bev, key)
    }

    fn end_attempt(&mut self, bev: BufferEvent, fd: Fd) {
        self.core.closing_fd(fd, Some(&mut *self.driver));
        let slot = self.streams.get_mut(bev);
        if let Some(rare) = slot.and_then(|slot| slot.rare.as_mut()) {
            rare.attempts.retain(|socket| socket.as_raw_fd() != fd);
        }
    }
}

fn kind_of(error: AddressError) -> io::ErrorKind {
    match error {
        AddressError::NoName
        | AddressError::TooLong
        | AddressError::Failed(Failure::NotExist | Failure::NoData) => io::ErrorKind::NotFound,
        AddressError::Failed(Failure::Timeout) => io::ErrorKind::TimedOut,
        AddressError::Failed(_) => io::ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::Callbacks;

    /// How often each thing was told.
    #[derive(Debug, Default, PartialEq)]
    struct Told {
        connected: u32,
        failed: u32,
    }

    /// Connects to the addresses of a host that has these.
    fn connect_to(addresses: &[SocketAddr]) -> Told {
        let mut base = Base::new().unwrap();
        base.insert_state(Told::default());
        let bev = BufferEvent::unconnected(&mut base);
        let count = Callbacks::new().event(|base, bev, condition| {
            let told = base.state_mut::<Told>().unwrap();
            match condition {
                Condition::Connected => told.connected += 1,
                _ => told.failed += 1,
            }
            bev.free(base);
        });
        bev.set_handler(&mut base, count);
        base.connect_to_one_of(bev, addresses);
        let watchdog = base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
        while bev.exists(&base) {
            base.run_once().unwrap();
        }
        watchdog.free(&mut base);
        base.remove_state().unwrap()
    }

    #[test]
    fn addresses_are_tried_until_one_takes_the_connection() {
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        // That one cannot even be tried.
        let unreachable = "255.255.255.255:9".parse().unwrap();
        assert_eq!(
            connect_to(&[closed, unreachable, good, closed]),
            Told {
                connected: 1,
                failed: 0
            }
        );
        for all_bad in [
            &[closed, closed][..],
            &[closed, unreachable],
            &[unreachable],
        ] {
            assert_eq!(
                connect_to(all_bad),
                Told {
                    connected: 0,
                    failed: 1
                }
            );
        }
    }
}
