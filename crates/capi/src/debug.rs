//! `event_enable_debug_mode`: which structs are set up, so that a wrong use ends the program with one clear line.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferrevent_core::What;

use crate::abi::{event, evutil_socket_t};
use crate::log;

static ON: AtomicBool = AtomicBool::new(false);

/// An event or a base has been made: it is too late to begin to keep the list.
static USED: AtomicBool = AtomicBool::new(false);

/// The addresses of the events that are set up.
static SET_UP: Mutex<Option<HashSet<usize>>> = Mutex::new(None);

/// `EVLIST_TIMEOUT`, `EVLIST_INSERTED` and `EVLIST_ACTIVE`
const ADDED: i16 = 0x01 | 0x02 | 0x08;
const EVLIST_INIT: i16 = 0x80;

/// `event_enable_debug_mode`: to be called once, before any event or base is made.
#[unsafe(no_mangle)]
pub extern "C" fn event_enable_debug_mode() {
    if ON.swap(true, Ordering::AcqRel) {
        log::fatal_with(1, "event_enable_debug_mode was called twice!");
    }
    if USED.load(Ordering::Acquire) {
        log::fatal_with(
            1,
            "event_enable_debug_mode must be called *before* creating any events or event_bases",
        );
    }
}

/// `event_debug_unassign`: the event, which is neither pending nor active, is not set up any more.
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_debug_unassign(ev: *mut event) {
    check_not_added(ev, "event_debug_unassign");
    forget(ev);
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_evcallback.evcb_flags &= !EVLIST_INIT };
}

/// `libevent_global_shutdown`: gives back what belongs to no object, for leak checkers. The library is not used after.
#[unsafe(no_mangle)]
pub extern "C" fn libevent_global_shutdown() {
    crate::base::forget_current();
    ON.store(false, Ordering::Release);
    USED.store(false, Ordering::Release);
    *set_up() = None;
}

pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// From now on it is too late for debug mode.
pub(crate) fn note_use() {
    if !USED.load(Ordering::Relaxed) {
        USED.store(true, Ordering::Release);
    }
}

/// `ev` is about to be set up for `what` on `fd`.
pub(crate) fn check_assign(ev: *mut event, fd: evutil_socket_t, what: i16) {
    note_use();
    if !is_on() {
        return;
    }
    check_not_added(ev, "event_assign");
    if what & What::SIGNAL.bits() as i16 == 0 && fd >= 0 {
        check_nonblocking(fd);
    }
    set_up().get_or_insert_default().insert(ev.addr());
}

/// `function` is about to use `ev`.
#[inline]
pub(crate) fn check_set_up(ev: *const event, function: &'static str) {
    if is_on() {
        check_known(ev, function);
    }
}

#[cold]
#[inline(never)]
fn check_known(ev: *const event, function: &'static str) {
    if !is_known(ev) {
        complain(&format!("{function} called on a non-initialized event"), ev);
    }
}

/// The struct is not set up any more.
pub(crate) fn forget(ev: *const event) {
    if !is_on() {
        return;
    }
    if let Some(known) = set_up().as_mut() {
        known.remove(&ev.addr());
    }
}

fn check_not_added(ev: *const event, function: &str) {
    if !is_on() || !is_known(ev) {
        return;
    }
    // SAFETY: it was set up, and not given up since.
    let flags = unsafe { (*ev).ev_evcallback.evcb_flags };
    if flags & ADDED != 0 {
        complain(&format!("{function} called on an already added event"), ev);
    }
}

fn check_nonblocking(fd: evutil_socket_t) {
    // SAFETY: `F_GETFL` takes any number and changes nothing.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags >= 0 && flags & libc::O_NONBLOCK == 0 {
        log::fatal(&format!(
            "event_assign: descriptor {fd} is blocking, which debug mode refuses"
        ));
    }
}

fn is_known(ev: *const event) -> bool {
    set_up()
        .as_ref()
        .is_some_and(|known| known.contains(&ev.addr()))
}

fn set_up() -> MutexGuard<'static, Option<HashSet<usize>>> {
    SET_UP.lock().unwrap_or_else(PoisonError::into_inner)
}

fn complain(what: &str, ev: *const event) -> ! {
    // SAFETY: the caller of the C function gave memory of a `struct event`, set up or not.
    let (events, fd, flags) =
        unsafe { ((*ev).ev_events, (*ev).ev_fd, (*ev).ev_evcallback.evcb_flags) };
    log::fatal(&format!(
        "{what} {ev:p} (events: {events:#x}, fd: {fd}, flags: {flags:#x})"
    ))
}
