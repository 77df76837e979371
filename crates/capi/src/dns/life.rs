//! Making and freeing resolvers.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::ptr;

use ferrevent_dns::{ConfParts, Config, Failure, Resolver};

use super::files::{Files, RESOLV_CONF, read_conf};
use super::{evdns_base, hold, lookup, watch};
use crate::base::{current, event_base};
use crate::lock::Lock;
use crate::log;
use crate::util::random_bytes;

const INITIALIZE_NAMESERVERS: c_int = 1;
const DISABLE_WHEN_INACTIVE: c_int = 0x8000;
const NAMESERVERS_NO_DEFAULT: c_int = 0x10000;

/// The longest datagram.
const LONGEST: usize = 65536;

/// `evdns_base_new`: a resolver on `base`, or on the current one if that is NULL. NULL if there is none.
///
/// # Safety
/// `base` is NULL or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_new(base: *mut event_base, flags: c_int) -> *mut evdns_base {
    let base = if base.is_null() { current() } else { base };
    if base.is_null() {
        log::warn("evdns_base_new: no event_base");
        return ptr::null_mut();
    }
    let known = INITIALIZE_NAMESERVERS | DISABLE_WHEN_INACTIVE | NAMESERVERS_NO_DEFAULT;
    let mut initialize = flags & INITIALIZE_NAMESERVERS != 0;
    if flags & !known != 0 {
        log::warn(
            "Unrecognized flag passed to evdns_base_new(). Assuming you meant \
             EVDNS_BASE_INITIALIZE_NAMESERVERS.",
        );
        initialize = true;
    }
    let dns = Box::into_raw(Box::new(evdns_base {
        lock: Lock::new(),
        base,
        resolver: Resolver::new(Config::libevent(), random_bytes),
        requests: BTreeMap::new(),
        sockets: BTreeMap::new(),
        timer: ptr::null_mut(),
        timer_at: None,
        anchor: ptr::null_mut(),
        anchored: false,
        keeps_loop: flags & DISABLE_WHEN_INACTIVE == 0,
        files: Files::default(),
        buffer: vec![0; LONGEST].into_boxed_slice(),
    }));
    // SAFETY: it is whole now but for its two watches, which nothing uses before.
    unsafe {
        (*dns).timer = watch::timer(dns);
        (*dns).anchor = watch::anchor(dns);
        if initialize {
            let mut parts = ConfParts::all() - ConfParts::NO_DEFAULT_SERVER;
            if flags & NAMESERVERS_NO_DEFAULT != 0 {
                parts |= ConfParts::NO_DEFAULT_SERVER;
            }
            // A file that is missing or says nothing is no reason to do without names: there are the hosts, and perhaps a
            // server on this machine.
            read_conf(dns, parts, RESOLV_CONF);
        }
    }
    dns
}

/// `evdns_base_free`: with `fail_requests`, the callbacks of pending look-ups are told `DNS_ERR_SHUTDOWN`, from the loop;
/// otherwise they are not called.
///
/// # Safety
/// `dns` is live, and is not used any more; its event base has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_base_free(dns: *mut evdns_base, fail_requests: c_int) {
    if dns.is_null() {
        return;
    }
    // SAFETY: by this function's contract; the lock is kept by `held`.
    unsafe {
        let held = hold(dns);
        for (_, request) in std::mem::take(&mut (*dns).requests) {
            if fail_requests != 0 || lookup::is_connecting(request) {
                lookup::fail(request, Failure::Shutdown);
            } else {
                lookup::discard(request);
            }
        }
        for (_, socket) in std::mem::take(&mut (*dns).sockets) {
            watch::retire(socket);
        }
        watch::retire((*dns).timer);
        watch::retire((*dns).anchor);
        super::compat::forget(dns);
        drop(Box::from_raw(dns));
        drop(held);
    }
}
