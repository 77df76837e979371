//! One SSL object: its transport, and how calls of OpenSSL go.

use std::ffi::{c_int, c_ulong};
use std::ptr;

use ferrevent_core::driver::{Fd, Kind};

use super::api::{self, Api, Bio, Ssl};
use super::bio::{self, Wire};
use super::leftover;
use super::lower::Lower;
use super::transfer::flush;
use crate::bufferevent::Bev;

/// How many errors are kept for `bufferevent_get_openssl_error`.
const MAX_ERRORS: usize = 3;

/// What a secured bufferevent has beside the others.
pub(crate) struct Session {
    pub(super) api: &'static Api,
    pub(super) ssl: *mut Ssl,
    bio: *mut Bio,
    pub(super) wire: Wire,
    /// The bufferevent that this one is over; none if it is on a descriptor.
    pub(super) lower: Option<Lower>,
    pub(super) allow_dirty_shutdown: bool,
    /// OpenSSL's errors that the program has not asked for yet, the oldest first.
    pub(super) errors: Vec<c_ulong>,
    /// What has been read came to its end like this, once all of it has been delivered.
    pub(super) end: Option<End>,
    /// Why the transport cannot be read, or written, any more.
    pub(super) failure: Option<c_int>,
    /// So many bytes of the output are encrypted, and wait in the wire to be sent.
    pub(super) in_flight: usize,
    /// The peer has been told that nothing more comes.
    pub(super) said_end: bool,
    /// The transport takes nothing any more.
    pub(super) shut: bool,
    /// What is below calls this one no more.
    pub(super) parted: bool,
    /// The end has been told; what is below is kept until that has gone.
    pub(super) drains_lower: bool,
    /// It has had a connection.
    pub(super) used: bool,
    /// OpenSSL runs: callbacks of the program's may be below.
    pub(super) busy: bool,
}

/// How the peer's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By a message that says so.
    Clean,
    /// By the end of the transport.
    Dirty,
    /// By an error of the transport.
    Transport(c_int),
    /// By an error of TLS.
    Protocol,
}

/// How a call of OpenSSL went.
pub(super) enum Step {
    /// So many bytes, or "done".
    Did(usize),
    /// It needs more of the peer's bytes.
    Starved,
    /// There is no more.
    Ended(End),
}

impl Session {
    /// Takes over the transport of `ssl`. NULL without memory.
    pub(super) fn new(
        api: &'static Api,
        ssl: *mut Ssl,
        fd: Fd,
        lower: Option<Lower>,
    ) -> Option<Box<Self>> {
        let on_descriptor = lower.is_none();
        let mut session = Box::new(Self {
            api,
            ssl,
            bio: ptr::null_mut(),
            wire: Wire::new(fd),
            lower,
            allow_dirty_shutdown: false,
            errors: Vec::new(),
            end: None,
            failure: None,
            in_flight: 0,
            said_end: false,
            shut: false,
            parted: false,
            drains_lower: false,
            used: false,
            busy: false,
        });
        // SAFETY: the wire is in a box that lives until `leave`; the caller's SSL object is alive, and gets the BIO.
        unsafe {
            let bio = bio::attach(api, &raw mut session.wire, on_descriptor);
            if bio.is_null() {
                return None;
            }
            session.bio = bio;
            leftover::take(api, ssl, &mut session.wire.incoming);
            (api.ssl_set_bio)(ssl, bio, bio);
            (api.ssl_ctrl)(ssl, api::CTRL_MODE, api::MODES, ptr::null_mut());
        }
        Some(session)
    }

    /// Forgets a connection that is gone. The BIO goes on with the same wire.
    pub(super) fn begin_anew(&mut self) {
        let fd = self.wire.fd;
        self.wire = Wire::new(fd);
        self.errors.clear();
        self.end = None;
        self.failure = None;
        self.in_flight = 0;
        self.said_end = false;
        self.shut = false;
        self.used = false;
        // SAFETY: the SSL object is alive as long as the session has it; it keeps its BIO, its settings and its side.
        unsafe { (self.api.ssl_clear)(self.ssl) };
    }

    /// Bytes that the core does not see in the output, but that have to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.wire.outgoing.len()
    }
}

/// Lets go of an SSL object that the program keeps. The program may free it now, or put it into another bufferevent,
/// on another thread too, long before this one is finalized: it is not touched any more.
///
/// # Safety
/// As for [`handshake`]; the bufferevent has been freed.
pub(super) unsafe fn let_go(bev: *mut Bev, session: *mut Session, fd: Fd, kind: Kind) {
    // SAFETY: by this function's contract the SSL object is still alive; no reference into the session is.
    unsafe {
        // In a callback of OpenSSL's `leave` has to do it.
        if (*session).busy || (*session).ssl.is_null() {
            return;
        }
        if (*session).lower.is_none() && (*session).failure.is_none() {
            // To TLS it has been said. What does not go now is lost, and so is the connection.
            let _ = flush(bev, session, fd, kind);
        }
        part(&mut *session);
        (*session).ssl = ptr::null_mut();
    }
}

/// Takes our BIO out of an SSL object, as libevent leaves it: on its descriptor.
unsafe fn part(session: &mut Session) {
    let api = session.api;
    // SAFETY: the caller's SSL object is alive, and its BIO is still the one that it got from us, or another one of the
    // program's, and then ours is gone.
    unsafe {
        if (api.ssl_get_rbio)(session.ssl) != session.bio {
            return;
        }
        bio::detach(api, session.bio);
        if session.lower.is_none() && session.wire.fd >= 0 {
            leftover::put_back(
                api,
                session.ssl,
                session.wire.fd,
                &mut session.wire.incoming,
            );
        }
    }
}

/// Lets go of the SSL object, whose owner may go on with it, or frees it.
///
/// # Safety
/// The session is not used any more.
pub(super) unsafe fn leave(mut session: Box<Session>, frees: bool) {
    let api = session.api;
    if session.ssl.is_null() {
        return;
    }
    // SAFETY: by this function's contract; the SSL object is ours, or was in use when the program freed the bufferevent,
    // so that it has to live until OpenSSL has returned, which is when this comes.
    unsafe {
        if !frees {
            part(&mut session);
        } else {
            if (api.ssl_get_rbio)(session.ssl) == session.bio {
                bio::detach(api, session.bio);
            }
            (api.ssl_free)(session.ssl);
        }
    }
}

/// Calls OpenSSL, and finds out how it went.
///
/// # Safety
/// The session is alive, its bufferevent's lock held; nothing of it is borrowed.
pub(super) unsafe fn call(
    session: *mut Session,
    f: impl FnOnce(&'static Api, *mut Ssl) -> c_int,
) -> Step {
    // SAFETY: the session is alive; between the two looks at it the program's callbacks may run.
    unsafe {
        let (api, ssl) = ((*session).api, (*session).ssl);
        if ssl.is_null() {
            // The bufferevent has been freed.
            return Step::Ended(End::Dirty);
        }
        (*session).used = true;
        (*session).busy = true;
        (api.err_clear_error)();
        let result = f(api, ssl);
        (*session).busy = false;
        if let Ok(n) = usize::try_from(result)
            && n > 0
        {
            return Step::Did(n);
        }
        match (api.ssl_get_error)(ssl, result) {
            api::WANT_READ | api::WANT_WRITE => Step::Starved,
            api::ZERO_RETURN => Step::Ended(End::Clean),
            code => Step::Ended(failed(session, code)),
        }
    }
}

/// Takes OpenSSL's errors of this thread.
unsafe fn failed(session: *mut Session, code: c_int) -> End {
    // SAFETY: the session is alive, and nobody else looks at it.
    let session = unsafe { &mut *session };
    // Also what `SSL_get_error` says, as libevent has it: asked for last.
    if session.errors.is_empty() {
        session.errors.push(code as c_ulong);
    }
    let mut is_eof = false;
    let mut is_tls = false;
    loop {
        // SAFETY: the table's functions are OpenSSL's.
        let error = unsafe { (session.api.err_get_error)() };
        if error == 0 {
            break;
        }
        is_tls = true;
        is_eof |= api::is_unexpected_eof(error);
        if session.errors.len() < MAX_ERRORS {
            session.errors.push(error);
        }
    }
    match session.failure {
        Some(error) => End::Transport(error),
        None if is_eof || !is_tls && session.wire.ended => End::Dirty,
        None => End::Protocol,
    }
}
