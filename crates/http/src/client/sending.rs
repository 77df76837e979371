//! Bodies of requests that are sent in parts.

use crate::parts::{Framing, Part};
use crate::write::BadHead;

/// The body of a request that is sent in parts ([`Connection::start`](super::Connection::start)): what goes around each of
/// them. It needs no connection, so that parts can be made ready before it is the request's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    framing: Framing,
    ended: bool,
}

impl Sending {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            ended: false,
        }
    }

    /// A part of `len` bytes: appends to `out` what is to be sent before it. What is beyond a promised length is not sent,
    /// and nothing after the [end](Self::end).
    pub fn part(&mut self, len: u64, out: &mut Vec<u8>) -> Part {
        self.framing.part(len, out)
    }

    /// There are no more parts: appends to `out` what ends the body.
    ///
    /// # Errors
    /// [`BadHead::Length`] if fewer bytes were given than a `Content-Length` has promised, which the server would wait
    /// for. Nothing has changed then.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), BadHead> {
        if self.framing.is_short() {
            return Err(BadHead::Length);
        }
        self.framing.end(out);
        self.ended = true;
        // What is given behind it is not sent. One that was stopped stays so.
        if self.framing != Framing::Nothing {
            self.framing = Framing::Length(0);
        }
        Ok(())
    }

    /// The rest is not wanted ([`Connection::refuses_body`](super::Connection::refuses_body)), or cannot be sent: what is
    /// given from now on is thrown away. A body that has ended stays as it is.
    pub fn stop(&mut self) {
        if !self.ended {
            self.framing = Framing::Nothing;
        }
    }

    /// Whether there may be more parts that are sent.
    pub fn is_open(&self) -> bool {
        !self.ended && self.framing != Framing::Nothing
    }

    /// Whether there is [no more](Self::end) of it.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether it has ended as the head has said. If not when the answer is complete, the connection cannot be kept.
    pub fn is_whole(&self) -> bool {
        self.ended && self.framing != Framing::Nothing
    }
}
