//! `event2/dns.h` and `event2/dns_compat.h`.
//!
//! * this file: what a resolver is, and what it does after every change;
//! * `life`: making and freeing resolvers;
//! * `watch`: its events and sockets;
//! * `lookup`: asking, cancelling, and calling back;
//! * `addrinfo`: `evdns_getaddrinfo`;
//! * `servers`, `settings`, `files`: what can be set and read;
//! * `port`, `stream`, `request`: being a server;
//! * `compat`: the functions without a resolver.
//!
//! The rules are those of `ferrevent-dns`. Callbacks run from the loop, as tasks that do not need the resolver any more:
//! they may free it.

#![allow(non_camel_case_types, reason = "these are C's names")]

mod addrinfo;
mod compat;
mod files;
mod life;
mod lookup;
mod port;
mod request;
mod servers;
mod settings;
mod stream;
mod watch;

pub use addrinfo::*;
pub(crate) use addrinfo::{OURS, Started, free_list, look_up_for};
pub use compat::*;
pub use files::*;
pub use life::*;
pub use lookup::*;
pub(crate) use lookup::{cancel, discard, run};
pub use port::*;
pub use request::*;
pub use servers::*;
pub use settings::*;

use std::collections::BTreeMap;
use std::ptr;

use ferrevent_dns::{Action, Finished, LookupKey, Resolver, SocketKey};
use ferrevent_sys::monotonic;

use crate::base::event_base;
use crate::lock::{self, Held, Lock};
use files::Files;
use watch::Watch;

/// A resolver.
pub struct evdns_base {
    lock: Option<Lock>,
    base: *mut event_base,
    resolver: Resolver,
    /// Who waits for what.
    requests: BTreeMap<LookupKey, *mut evdns_request>,
    sockets: BTreeMap<SocketKey, *mut Watch>,
    /// Calls when the resolver's time has come, which is noted here.
    timer: *mut Watch,
    timer_at: Option<u64>,
    /// Keeps the loop alive while there are servers, unless the program does not want that.
    anchor: *mut Watch,
    anchored: bool,
    keeps_loop: bool,
    files: Files,
    /// Where datagrams are read into.
    buffer: Box<[u8]>,
}

/// Takes the resolver's lock, if it has one.
unsafe fn hold(dns: *mut evdns_base) -> Held {
    // SAFETY: the caller's resolver is live; its lock is not replaced.
    lock::hold(unsafe { &(*dns).lock })
}

/// Runs `f` on the resolver, and then does what that has made necessary.
///
/// # Safety
/// `dns` is live; `f` runs no user code.
unsafe fn with<R>(dns: *mut evdns_base, f: impl FnOnce(&mut Resolver, u64) -> R) -> R {
    // SAFETY: by this function's contract; the lock keeps other threads out, and nothing below runs user code.
    unsafe {
        let _held = hold(dns);
        let result = f(&mut (*dns).resolver, monotonic());
        settle(dns);
        result
    }
}

/// Sends, closes, hands out results, and sets the timer.
///
/// # Safety
/// `dns` is live, its lock held.
unsafe fn settle(dns: *mut evdns_base) {
    // SAFETY: by this function's contract; the resolver is borrowed for one call at a time.
    unsafe {
        while let Some(action) = (*dns).resolver.poll_action() {
            match action {
                Action::Send(transmit) => watch::send(dns, &transmit),
                Action::Close(socket) => {
                    if let Some(watch) = (*dns).sockets.remove(&socket) {
                        watch::retire(watch);
                    }
                }
            }
        }
        while let Some(finished) = (*dns).resolver.poll_finished() {
            finish(dns, finished);
        }
        let next = (*dns).resolver.next_timeout();
        if next != (*dns).timer_at {
            (*dns).timer_at = next;
            watch::set_timer((*dns).timer, next);
        }
        let anchored = (*dns).keeps_loop && (*dns).resolver.servers().len() > 0;
        if anchored != (*dns).anchored {
            (*dns).anchored = anchored;
            watch::set_anchor((*dns).anchor, anchored);
        }
    }
}

/// Has the callback of a look-up called from the loop.
unsafe fn finish(dns: *mut evdns_base, finished: Finished) {
    // SAFETY: the caller's resolver is live and locked; requests in its map are alive.
    unsafe {
        let request = (*dns).requests.remove(&finished.key);
        lookup::queue(request.unwrap_or(ptr::null_mut()), finished);
    }
}
