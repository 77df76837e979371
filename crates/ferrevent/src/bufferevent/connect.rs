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
impl BufferEvent {
    /// Starts to connect to an internet address (`bufferevent_socket_connect`). Uses the socket that the bufferevent
    /// was given, if it was; otherwise makes one, and a new one for each further attempt.
    ///
    /// # Errors
    /// [`Error::Io`] when the attempt cannot even begin (`ENETUNREACH`); nobody is called then. That the connection was
    /// refused, even at once, is told to the handler. [`Error::Stale`]; [`Error::NotOnSystem`].
    pub fn connect(self, base: &mut Base, address: SocketAddr) -> Result<()> {
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
        base.native()?;
        self.forget_candidates(base)?;
        match ferrevent_sys::resolve(host, port) {
            Ok(mut addresses) if !addresses.is_empty() => {
                addresses.reverse();
                if let Some(slot) = base.slot_mut(self) {
                    slot.candidates = addresses;
                }
                base.connect_next(self);
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

    /// Tries the next address of the host. Returns whether there was one left; when none could even be tried, the
    /// last failure is told from the loop.
    pub(super) fn connect_next(&mut self, bev: BufferEvent) -> bool {
        let mut failure = None;
        while let Some(address) = self.slot_mut(bev).and_then(|slot| slot.candidates.pop()) {
            match self.start_connect(bev, &Address::from(address)) {
                Ok(()) => return true,
                Err(error) => failure = Some(error),
            }
        }
        let Some(error) = failure else {
            return false;
        };
        let dirs = Dirs::empty();
        bev.trigger_event(self, Condition::Error { dirs, error });
        true
    }
}
