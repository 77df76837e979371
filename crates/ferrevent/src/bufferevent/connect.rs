//! Connections that we start.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ferrevent_core::Dirs;
use ferrevent_core::driver::{Connect, Kind};
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
        self.forget_candidates(base)?;
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
        self.forget_candidates(base)?;
        let address = Address::unix(path.as_ref().as_os_str().as_bytes())?;
        base.start_connect(self, &address)
    }

    /// Looks a host up and connects to it (`bufferevent_socket_connect_hostname` without a DNS base). Its addresses
    /// are tried one after the other; an error is told when all have failed.
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
        self.forget_candidates(base)?;
        match ferrevent_sys::resolve(host, port) {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.reverse();
                if let Some(slot) = base.slot_mut(self) {
                    slot.candidates = addresses;
                }
                if let Err(error) = base.connect_next(self) {
                    self.fail_connect(base, error);
                }
            }
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

    fn forget_candidates(self, base: &mut Base) -> Result<()> {
        base.slot_mut(self).ok_or(Error::Stale)?.candidates.clear();
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
        if begun == Connect::Refused && !slot.candidates.is_empty() {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
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

    /// Tries the next address of the host. Returns whether there was one.
    ///
    /// # Errors
    /// The last failure, if there were some and none could even be tried.
    pub(super) fn connect_next(&mut self, bev: BufferEvent) -> Result<bool> {
        let mut result = Ok(false);
        while let Some(address) = self.slot_mut(bev).and_then(|slot| slot.candidates.pop()) {
            match self.start_connect(bev, &Address::from(address)) {
                Ok(()) => return Ok(true),
                Err(error) => result = Err(error),
            }
        }
        result
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
        let slot = base.slot_mut(bev).unwrap();
        slot.candidates = addresses.iter().rev().copied().collect();
        if let Err(error) = base.connect_next(bev) {
            bev.fail_connect(&mut base, error);
        }
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
