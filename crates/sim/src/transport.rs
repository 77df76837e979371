//! Bytes to and from a world's sockets.

use std::io;

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Fd, Kind, Received, Sent, Transport};

use crate::errors::{self, error};
use crate::world::World;

/// Reads and writes a [`World`]'s sockets, with its faults.
#[derive(Clone, Debug)]
pub struct SimTransport {
    world: World,
}

impl SimTransport {
    pub(crate) fn new(world: World) -> Self {
        Self { world }
    }
}

impl Transport for SimTransport {
    fn kind(&self, fd: Fd) -> Kind {
        match self.world.lock().stream(fd) {
            Ok(_) => Kind::Stream,
            Err(_) => Kind::Other,
        }
    }

    fn read(&self, fd: Fd, _kind: Kind, into: &mut Buffer, limit: usize) -> io::Result<Received> {
        let mut state = self.world.lock();
        let mut drained = false;
        let result = into.receive(limit, |room| {
            if room.is_empty() {
                return Err(error(errors::EINVAL));
            }
            let received = state.read(fd, room)?;
            drained = received.drained;
            Ok(received.bytes)
        });
        let result = result.map(|bytes| Received { bytes, drained });
        state.log(format_args!("read {fd} {result:?}"));
        result
    }

    fn write(&self, fd: Fd, _kind: Kind, from: &mut Buffer, limit: usize) -> io::Result<Sent> {
        let mut state = self.world.lock();
        let mut blocked = false;
        from.load_files(1)?;
        let result = from.transmit(limit, |slices| {
            if slices.is_empty() {
                return Ok(0);
            }
            let mut bytes = Vec::new();
            for slice in slices {
                bytes.extend_from_slice(slice);
            }
            let sent = state.write(fd, bytes)?;
            blocked = sent.blocked;
            Ok(sent.bytes)
        });
        let result = result.map(|bytes| Sent { bytes, blocked });
        state.log(format_args!("write {fd} {result:?}"));
        result
    }

    fn take_error(&self, fd: Fd) -> io::Result<()> {
        let mut state = self.world.lock();
        let id = state.stream(fd)?;
        let pending = state.endpoint(id).error.take();
        state.log(format_args!("error {fd} {pending:?}"));
        pending.map_or(Ok(()), |number| Err(error(number)))
    }

    fn shutdown(&self, fd: Fd) -> io::Result<()> {
        self.world.shutdown(fd)
    }

    fn close(&self, fd: Fd) {
        let mut state = self.world.lock();
        state.log(format_args!("close {fd}"));
        state.close(fd);
    }
}
