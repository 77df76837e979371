//! One rustls connection, and the bytes between it and its transport.

use std::io::{self, Read as _, Write as _};

use ferrevent_core::Handshake;
use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Fd, Kind, Received, Sent, Transport};
use rustls::Connection;

use super::{BufferEvent, TlsSession};
use crate::base::Base;
use crate::error::{Error, Result};

/// The most that one TLS record carries.
const RECORD: usize = 16 << 10;

/// What is read from a descriptor at a time.
const MAX_READ: usize = 64 << 10;

/// As much is encrypted before it is sent.
const MAX_UNSENT: usize = 128 << 10;

/// What a secured bufferevent has.
pub(crate) struct Secure {
    connection: Connection,
    /// What the peer has sent.
    pub(super) incoming: Buffer,
    /// What is to be sent to the peer.
    pub(super) outgoing: Buffer,
    /// The bufferevent that it is over.
    pub(super) lower: Option<BufferEvent>,
    allow_truncation: bool,
    /// Nothing more comes from the transport.
    pub(super) ended: bool,
    /// rustls has been told so.
    end_told: bool,
    /// Why the transport has failed.
    pub(super) failure: Option<Error>,
    /// So many bytes of the output are encrypted, and wait to be sent.
    in_flight: usize,
    /// The peer has been told that nothing more comes.
    pub(super) said_end: bool,
    /// The transport takes nothing any more.
    shut: bool,
}

/// Where the encrypted bytes go.
pub(super) enum Wire<'a> {
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
    pub(super) fn new(session: TlsSession, lower: Option<BufferEvent>) -> Self {
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

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn allow_truncation(&mut self, allowed: bool) {
        self.allow_truncation = allowed;
    }

    /// The socket has been shut down for sending: what rustls may answer goes nowhere.
    pub(in crate::bufferevent) fn close_sending(&mut self) {
        self.shut = true;
    }

    /// Frees what is below, if that has not been done.
    pub(in crate::bufferevent) fn free_lower(&self, base: &mut Base) {
        if let Some(lower) = self.lower {
            lower.free(base);
        }
    }

    pub(super) fn handshake(&mut self, wire: &mut Wire<'_>) -> Result<Handshake> {
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

    pub(super) fn read(
        &mut self,
        wire: &mut Wire<'_>,
        input: &mut Buffer,
        limit: usize,
    ) -> Result<Received> {
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

    pub(super) fn write(
        &mut self,
        wire: &mut Wire<'_>,
        output: &mut Buffer,
        limit: usize,
    ) -> Result<Sent> {
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
    pub(super) fn shut_down(&mut self, wire: &mut Wire<'_>) -> Result<usize> {
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
