//! Moving bytes through a session: the handshake, reading, writing, the end.

use std::ffi::c_int;
use std::io;

use ferrevent_core::Handshake;
use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Fd, Kind, Received, Sent, Transport};

use super::session::{End, Session, Step, call};
use crate::buffer;
use crate::bufferevent::{Bev, TRANSPORT};

/// The most that one TLS record carries.
const RECORD: usize = 16 << 10;

/// A record of fewer bytes may be a message of its own, and is announced alone.
const MESSAGE: usize = 1 << 10;

/// What is read from a descriptor at a time.
const MAX_READ: usize = 64 << 10;

/// As much is encrypted before it is sent.
const MAX_UNSENT: usize = 128 << 10;

/// Does what the handshake can do now.
///
/// # Safety
/// `bev` is alive and has a session; its lock is held.
pub(crate) unsafe fn handshake(
    bev: *mut Bev,
    session: *mut Session,
    fd: Fd,
    kind: Kind,
) -> Handshake {
    // SAFETY: by this function's contract; no reference into the session is alive while OpenSSL runs.
    unsafe {
        loop {
            let step = call(session, |api, ssl| (api.ssl_do_handshake)(ssl));
            // Also after a failure: the peer is told why.
            let sent = flush(bev, session, fd, kind);
            match (step, sent) {
                (Step::Ended(end), _) => {
                    // Of a failure below, it is not known to this one how it came.
                    return match end {
                        End::Transport(error) => Handshake::Failed {
                            error,
                            reading: (*session).lower.is_none(),
                        },
                        _ => Handshake::Failed {
                            error: 0,
                            reading: true,
                        },
                    };
                }
                (_, Err(error)) => {
                    let error = error.raw_os_error().unwrap_or(0);
                    return Handshake::Failed {
                        error,
                        reading: true,
                    };
                }
                (Step::Did(_), Ok(true)) => return Handshake::Done,
                // The peer waits for the last of it.
                (Step::Did(_), Ok(false)) => return Handshake::WantsWrite,
                (Step::Starved, Ok(all_sent)) => {
                    if fill(session, fd, kind) {
                        continue;
                    }
                    return if all_sent {
                        Handshake::WantsRead
                    } else {
                        Handshake::WantsWrite
                    };
                }
            }
        }
    }
}

/// Reads at most `limit` bytes into the input: several full records, or one that is short.
///
/// What follows a short record waits for the next pass, as in libevent. Its callback may have the loop do something that
/// the answer waits for, and there are peers, coturn's client for one, to which a record is one answer: of messages that
/// are answered in the same pass, the answers would be in one record.
///
/// # Safety
/// As for [`handshake`].
pub(crate) unsafe fn read(
    bev: *mut Bev,
    session: *mut Session,
    fd: Fd,
    kind: Kind,
    limit: usize,
) -> io::Result<Received> {
    let mut record = [0_u8; RECORD];
    let mut bytes = 0;
    let mut dry = false;
    // SAFETY: by this function's contract; no reference into the session or the buffer is alive while OpenSSL runs.
    unsafe {
        let input = (*bev).public.input;
        if let Some(end) = (*session).end {
            return finish(session, end);
        }
        while bytes < limit {
            let room = (limit - bytes).min(RECORD);
            let step = call(session, |api, ssl| {
                (api.ssl_read)(ssl, record.as_mut_ptr().cast(), room as c_int)
            });
            match step {
                Step::Did(n) => {
                    // The transport is not the user: what the user froze does not bind it.
                    append(&mut (*input).buffer, &record[..n])?;
                    bytes += n;
                    if n < room.min(MESSAGE) {
                        dry = (*session).wire.incoming.is_empty() && !fill(session, fd, kind);
                        if !dry {
                            break;
                        }
                        // OpenSSL itself may have read ahead.
                    }
                }
                Step::Starved if !dry && fill(session, fd, kind) => {}
                Step::Starved => {
                    // What TLS has to say for itself goes out with the next write at the latest.
                    let _ = flush(bev, session, fd, kind);
                    if bytes == 0 {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    return Ok(Received {
                        bytes,
                        drained: true,
                    });
                }
                Step::Ended(end) => {
                    (*session).end = Some(end);
                    if bytes == 0 {
                        let _ = flush(bev, session, fd, kind);
                        return finish(session, end);
                    }
                    break;
                }
            }
        }
    }
    Ok(Received {
        bytes,
        drained: false,
    })
}

/// Encrypts and sends from the output, at most `limit` bytes at once. `None`: that has to wait for the peer.
///
/// # Safety
/// As for [`handshake`].
pub(crate) unsafe fn write(
    bev: *mut Bev,
    session: *mut Session,
    fd: Fd,
    kind: Kind,
    limit: usize,
) -> Option<io::Result<Sent>> {
    let mut record = [0_u8; RECORD];
    let mut sent = 0;
    // SAFETY: by this function's contract; no reference into the session or the buffer is alive while OpenSSL runs.
    unsafe {
        let output = (*bev).public.output;
        loop {
            if let Some(error) = (*session).failure {
                return Some(Err(io::Error::from_raw_os_error(error)));
            }
            let mut starved = false;
            let room = room_below(session);
            while (*session).unsent() < room && !starved && !(*session).said_end {
                let done = (*session).in_flight.min((*output).buffer.len());
                let want = RECORD.min(limit.saturating_sub(sent + done));
                if let Err(error) = (*output).buffer.load_files(done + want) {
                    return Some(Err(error));
                }
                let n = (*output).buffer.copy_out(done, &mut record[..want]);
                if n == 0 {
                    break;
                }
                let step = call(session, |api, ssl| {
                    (api.ssl_write)(ssl, record.as_ptr().cast(), n as c_int)
                });
                match step {
                    Step::Did(n) => (*session).in_flight += n,
                    Step::Starved => starved = !fill(session, fd, kind),
                    Step::Ended(end) => {
                        let _ = flush(bev, session, fd, kind);
                        let error = match end {
                            End::Transport(error) => error,
                            _ => libc::EPROTO,
                        };
                        return Some(Err(io::Error::from_raw_os_error(error)));
                    }
                }
            }
            let progress = (*session).in_flight;
            match flush(bev, session, fd, kind) {
                Err(error) => return Some(Err(error)),
                Ok(false) => {
                    return Some(Ok(Sent {
                        bytes: sent,
                        blocked: true,
                    }));
                }
                Ok(true) => {}
            }
            // Counted only now: while the output is not empty, the transport has not taken all of it.
            (*session).in_flight = 0;
            let gone = progress.min((*output).buffer.len());
            (*output).buffer.sent(gone);
            sent += gone;
            if starved {
                return (sent > 0).then_some(Ok(Sent {
                    bytes: sent,
                    blocked: false,
                }));
            }
            let blocked = room_below(session) == 0;
            if sent >= limit || (*output).buffer.is_empty() || gone == 0 {
                return Some(Ok(Sent {
                    bytes: sent,
                    blocked: blocked || gone == 0,
                }));
            }
        }
    }
}

/// Tells the peer that nothing more comes. Returns how much of that could not be sent yet; `None` if OpenSSL is running,
/// or the SSL object is not ours any more.
///
/// # Safety
/// As for [`handshake`].
pub(super) unsafe fn shut_down(
    bev: *mut Bev,
    session: *mut Session,
    fd: Fd,
    kind: Kind,
) -> Option<io::Result<usize>> {
    // SAFETY: by this function's contract.
    unsafe {
        if (*session).busy || (*session).ssl.is_null() {
            return None;
        }
        if let Some(error) = (*session).failure {
            return Some(Err(io::Error::from_raw_os_error(error)));
        }
        if !(*session).said_end {
            (*session).said_end = true;
            let _ = call(session, |api, ssl| {
                (api.ssl_shutdown)(ssl);
                1
            });
        }
        let flushed = flush(bev, session, fd, kind);
        Some(flushed.map(|_| (*session).unsent()))
    }
}

/// What the core is told at the end.
unsafe fn finish(session: *mut Session, end: End) -> io::Result<Received> {
    let eof = Ok(Received {
        bytes: 0,
        drained: false,
    });
    // SAFETY: the session is alive.
    let dirty_is_fine = unsafe { (*session).allow_dirty_shutdown };
    match end {
        End::Clean => eof,
        End::Dirty if dirty_is_fine => {
            // SAFETY: as above. It was no error, then.
            unsafe { (*session).errors.clear() };
            eof
        }
        End::Dirty => Err(io::Error::from_raw_os_error(libc::ECONNABORTED)),
        End::Transport(error) => Err(io::Error::from_raw_os_error(error)),
        End::Protocol => Err(io::Error::from_raw_os_error(libc::EPROTO)),
    }
}

/// Gets more of the peer's bytes; says whether anything has changed.
unsafe fn fill(session: *mut Session, fd: Fd, kind: Kind) -> bool {
    // SAFETY: the session is alive; no reference into it is held while the lower bufferevent changes.
    unsafe {
        if (*session).wire.ended || (*session).wire.failed {
            return false;
        }
        if let Some(lower) = (*session).lower {
            return lower.take_input(&raw mut (*session).wire.incoming);
        }
        match TRANSPORT.read(fd, kind, &mut (*session).wire.incoming, MAX_READ) {
            Ok(received) if received.bytes > 0 => true,
            Ok(_) => {
                (*session).wire.ended = true;
                true
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => false,
                io::ErrorKind::Interrupted => true,
                _ => {
                    (*session).failure = Some(error.raw_os_error().unwrap_or(libc::EIO));
                    (*session).wire.failed = true;
                    true
                }
            },
        }
    }
}

/// Sends what is encrypted; says whether that was all.
///
/// # Safety
/// As for [`handshake`].
pub(super) unsafe fn flush(
    bev: *mut Bev,
    session: *mut Session,
    fd: Fd,
    kind: Kind,
) -> io::Result<bool> {
    // SAFETY: the session is alive; no reference into it is held while the lower bufferevent changes.
    unsafe {
        let _ = bev;
        if let Some(lower) = (*session).lower {
            lower.put_output(&raw mut (*session).wire.outgoing);
            return Ok((*session).wire.outgoing.is_empty());
        }
        if (*session).shut {
            // What TLS would answer goes nowhere.
            (*session).wire.outgoing = Buffer::new();
        }
        while !(*session).wire.outgoing.is_empty() {
            match TRANSPORT.write(fd, kind, &mut (*session).wire.outgoing, usize::MAX) {
                Ok(sent) if sent.blocked || sent.bytes == 0 => {
                    return Ok((*session).wire.outgoing.is_empty());
                }
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }
}

/// How much may be encrypted before it goes to the transport; 0 while that has no room.
unsafe fn room_below(session: *mut Session) -> usize {
    // SAFETY: the session is alive, and so is the bufferevent below.
    unsafe {
        match (*session).lower {
            Some(lower) => lower.room().min(MAX_UNSENT),
            None => MAX_UNSENT,
        }
    }
}

fn append(buffer: &mut Buffer, data: &[u8]) -> io::Result<()> {
    let mut from = Buffer::new();
    from.append(data)
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    buffer.transfer_from(&mut from, data.len());
    Ok(())
}

/// Tells the input's and the output's watchers of what a transfer has changed, and gives the two lengths as the core
/// counts them: what the session has to send for itself counts as well.
///
/// # Safety
/// As for [`handshake`]; nothing of the session or of the buffers is borrowed.
pub(crate) unsafe fn lengths(bev: *mut Bev, session: *mut Session) -> (usize, usize) {
    // SAFETY: by this function's contract.
    unsafe {
        let (input, output) = ((*bev).public.input, (*bev).public.output);
        buffer::notify_transport(input);
        buffer::notify_transport(output);
        let unsent = usize::from((*session).unsent() > 0);
        // What was written after the end stays where it is.
        let written = match (*session).said_end {
            true => 0,
            false => (*output).buffer.len(),
        };
        ((*input).buffer.len(), written.max(unsent))
    }
}
