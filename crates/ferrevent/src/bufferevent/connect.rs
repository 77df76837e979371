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
    /// [`Error::Io`] when the attempt cannot even begin (`ENETUNREACH`); nobody is called then. That the connection was
    /// refused, even at once, is told to the handler. [`Error::Stale`]; [`Error::NotOnSystem`].
    pub fn connect(self, base: &mut Base, address: SocketAddr) -> Result<()> {
        let lowest = self.bottom(base);
        if lowest != self {
            return lowest.connect(base, address);
        }
        self.stop_dialing(base)?;
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
        self.stop_dialing(base)?;
        let address = Address::unix(path.as_ref().as_os_str().as_bytes())?;
        base.start_connect(self, &address)
    }

    /// Looks a host up and connects to it (`bufferevent_socket_connect_hostname` without a DNS base). If it has several
    /// addresses, all are tried (RFC 8305): IPv4 and IPv6 take turns, each attempt has 250 ms before the next one
    /// begins beside it, and the first connection that stands is the one. An error is told when all have failed, and
    /// the write timeout counts from the beginning to the end. Meanwhile there is no [`socket`](Self::socket).
    ///
    /// The look-up **blocks** the thread, and so the loop. That it has failed is told to the handler, from the loop, as
    /// [`Error::Lookup`].
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::NotOnSystem`].
    pub fn connect_host(self, base: &mut Base, host: &str, port: u16) -> Result<()> {
        let lowest = self.bottom(base);
        if lowest != self {
            return lowest.connect_host(base, host, port);
        }
        base.native()?;
        self.stop_dialing(base)?;
        match ferrevent_sys::resolve(host, port) {
            Ok(addresses) if !addresses.is_empty() => base.connect_to_one_of(self, addresses)?,
            Ok(_) => self.fail_lookup(base, host, io::ErrorKind::NotFound.into()),
            Err(error) => self.fail_lookup(base, host, error),
        }
        Ok(())
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

    pub(super) fn stop_dialing(self, base: &mut Base) -> Result<()> {
        let key = base.slot(self).ok_or(Error::Stale)?.key;
        for fd in base.core.stop_dialing(key) {
            base.end_attempt(self, fd);
        }
        Ok(())
    }

    fn fail_lookup(self, base: &mut Base, host: &str, source: io::Error) {
        let error = Error::Lookup {
            host: host.to_owned(),
            source,
        };
        self.fail_connect(base, error);
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
        let slot = self.streams.get(bev).filter(|slot| !slot.freed);
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
    fn connect_to_one_of(&mut self, bev: BufferEvent, addresses: Vec<SocketAddr>) -> Result<()> {
        let slot = self.slot(bev).ok_or(Error::Stale)?;
        let key = slot.key;
        // The user's own socket has one try.
        let given = matches!(slot.descriptor, Descriptor::Given(_));
        if let Some(first) = addresses.first()
            && (given || addresses.len() == 1)
        {
            if let Err(error) = self.start_connect(bev, &Address::from(*first)) {
                bev.fail_connect(self, error);
            }
            return Ok(());
        }
        self.tick();
        if let Some(slot) = self.slot_mut(bev) {
            let former = std::mem::replace(&mut slot.descriptor, Descriptor::None);
            self.core.start_dial(key, addresses);
            self.close(former);
        }
        Ok(())
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
        base.connect_to_one_of(bev, addresses.to_vec()).unwrap();
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
