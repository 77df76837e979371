//! The remote end of a connection, played by the test.

use std::io;

use crate::endpoint::{Arrival, EndpointId, Phase};
use crate::errors::{self, error};
use crate::world::World;

/// The remote end of a connection. No faults befall it, but what it sends travels, and what is sent to it arrives,
/// with the world's delays. Clones are the same end.
#[derive(Clone, Debug)]
pub struct Peer {
    world: World,
    id: EndpointId,
}

impl Peer {
    pub(crate) fn new(world: World, id: EndpointId) -> Self {
        Self { world, id }
    }

    /// Everything has been received that the other end has sent, and it sends no more.
    pub fn at_end(&self) -> bool {
        let mut state = self.world.lock();
        let endpoint = state.endpoint(self.id);
        endpoint.ended && endpoint.inbox.is_empty()
    }

    /// The other end has reset the connection, or closed it with bytes unread.
    pub fn was_reset(&self) -> bool {
        self.world.lock().endpoint(self.id).phase == Phase::Dead
    }

    /// Sends as much as there is room for, and says how much that was.
    ///
    /// # Errors
    /// `EPIPE` after [`Peer::shutdown`], [`Peer::close`] or a reset.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.world.lock();
        let free = state.free(self.id);
        let endpoint = state.endpoint(self.id);
        if endpoint.shut || endpoint.closed {
            return Err(error(errors::EPIPE));
        }
        let taken = bytes.len().min(free);
        state.log(format_args!("peer {} sends {taken}", self.id.0));
        if taken > 0 {
            state.send(self.id, Arrival::Bytes(bytes[..taken].to_vec()));
        }
        Ok(taken)
    }

    /// Takes at most `limit` bytes of what has arrived.
    pub fn receive(&self, limit: usize) -> Vec<u8> {
        let mut state = self.world.lock();
        let endpoint = state.endpoint(self.id);
        let count = endpoint.inbox.len().min(limit);
        let bytes = endpoint.inbox.drain(..count).collect();
        state.log(format_args!("peer {} takes {count}", self.id.0));
        state.made_room(self.id);
        bytes
    }

    /// Sends the end of the stream, and can still receive.
    pub fn shutdown(&self) {
        let mut state = self.world.lock();
        state.log(format_args!("peer {} shuts down", self.id.0));
        if !std::mem::replace(&mut state.endpoint(self.id).shut, true) {
            state.send(self.id, Arrival::End);
        }
    }

    /// Resets the connection.
    pub fn reset(&self) {
        let mut state = self.world.lock();
        state.log(format_args!("peer {} resets", self.id.0));
        let endpoint = state.endpoint(self.id);
        endpoint.closed = true;
        endpoint.shut = true;
        state.send(self.id, Arrival::Reset);
    }

    /// Closes this end: an end of the stream, or a reset if bytes are left unread or come later.
    pub fn close(&self) {
        let mut state = self.world.lock();
        state.log(format_args!("peer {} closes", self.id.0));
        if !state.endpoint(self.id).closed {
            state.close_endpoint(self.id);
        }
    }
}
