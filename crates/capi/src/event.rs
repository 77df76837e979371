//! `struct event` and its functions: `event2/event.h`, `event2/event_compat.h`.
//!
//! The struct belongs to the program, which may embed it, copy it while it is idle, and let its memory go when it is
//! neither pending nor active. All that the library keeps in it is the key of its slot in the base. A key is believed
//! only if the slot's cookie is this very struct.

use std::ffi::{c_char, c_int, c_short, c_void};
use std::ptr;
use std::time::Duration;

use ferrevent_core::{EventInfo, EventSpec, Fired, What};
use ferrevent_sys::{monotonic, realtime};
use libc::timeval;

use crate::abi::{event, event_callback_fn, evutil_socket_t};
use crate::base::{Address, Inner, current, event_base, event_base_loop, key_of};
use crate::base::{event_base_loopbreak, event_base_loopexit, wait_for_callback};
use crate::shared_timeout;
use crate::{debug, log, memory};

const EVLIST_TIMEOUT: c_short = 0x01;
const EVLIST_INSERTED: c_short = 0x02;
const EVLIST_ACTIVE: c_short = 0x08;
pub(crate) const EVLIST_FINALIZING: c_short = 0x40;
const EVLIST_INIT: c_short = 0x80;

/// Stands in an initialised struct beside its key.
const MAGIC: u64 = 0x6665_7272_6576_0001;

/// An event that frees itself after it has run (`event_base_once`).
pub(crate) struct Once {
    ev: event,
    /// Where its base's list has it.
    position: usize,
    callback: event_callback_fn,
    arg: *mut c_void,
}

pub(crate) fn nanoseconds(tv: &timeval) -> u64 {
    let seconds = u64::try_from(tv.tv_sec).unwrap_or(0);
    let micros = u64::try_from(shared_timeout::micros(tv)).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(micros.saturating_mul(1000))
}

pub(crate) fn timeval_of(time: Duration) -> timeval {
    timeval {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_usec: i64::from(time.subsec_micros()),
    }
}

/// Prepares what is to be called when `ev` fires; `None` if the struct has been initialised anew since.
///
/// # Safety
/// `ev` is the cookie of a fired event, so that its memory is alive.
pub(crate) unsafe fn take_fired(
    ev: *mut event,
    fired: &Fired<Address<event>>,
) -> Option<(
    unsafe extern "C" fn(evutil_socket_t, c_short, *mut c_void),
    c_int,
    *mut c_void,
)> {
    // SAFETY: by this function's contract.
    unsafe {
        if key_of((*ev).ev_evcallback.key) != Some(fired.fired) {
            return None;
        }
        let flags = &mut (*ev).ev_evcallback.evcb_flags;
        *flags &= !EVLIST_ACTIVE;
        if fired.key.is_none() {
            *flags = EVLIST_INIT;
            (*ev).ev_evcallback.key = 0;
        }
        (*ev).ev_res = fired.what.bits() as c_short;
        Some((
            (*ev).ev_evcallback.evcb_callback?,
            (*ev).ev_fd,
            (*ev).ev_evcallback.evcb_arg,
        ))
    }
}

/// The base is going: the struct is idle now.
///
/// # Safety
/// `ev` was pending or active, so that its memory is alive.
pub(crate) unsafe fn forget(ev: *mut event, key: ferrevent_core::EventKey) {
    // SAFETY: by this function's contract.
    unsafe {
        if key_of((*ev).ev_evcallback.key) == Some(key) {
            (*ev).ev_evcallback.key = 0;
            (*ev).ev_evcallback.evcb_flags = EVLIST_INIT;
        }
    }
}

/// Sets up a struct that may hold anything.
unsafe fn assign(
    ev: *mut event,
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) -> c_int {
    let signal = What::SIGNAL.bits() as c_short;
    if what & signal != 0 && what & (What::IO.bits() as c_short) != 0 {
        log::warn("event_assign: EV_SIGNAL is not compatible with EV_READ, EV_WRITE or EV_CLOSED");
        return -1;
    }
    let base = if base.is_null() { current() } else { base };
    debug::check_assign(ev, fd, what);
    // SAFETY: the caller gives the memory of a `struct event`; a base is live.
    unsafe {
        // Every bit pattern of zeros is a valid `event`.
        ev.write_bytes(0, 1);
        (*ev).ev_evcallback.magic = MAGIC;
        (*ev).ev_evcallback.evcb_flags = EVLIST_INIT;
        (*ev).ev_evcallback.evcb_callback = callback;
        (*ev).ev_evcallback.evcb_arg = arg;
        (*ev).ev_fd = fd;
        (*ev).ev_base = base;
        (*ev).ev_events = what;
        if !base.is_null() {
            (*ev).ev_evcallback.evcb_pri =
                event_base::with(base, |inner| inner.core.default_priority());
        }
    }
    0
}

/// `event_assign`: initialises a struct that is neither pending nor active.
///
/// # Safety
/// `ev` is the memory of a `struct event`; `base` is NULL, for the current one, or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_assign(
    ev: *mut event,
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    mut arg: *mut c_void,
) -> c_int {
    if ptr::eq(arg, event_self_cbarg()) {
        arg = ev.cast();
    }
    // SAFETY: by this function's contract.
    unsafe { assign(ev, base, fd, what, callback, arg) }
}

/// `event_new`
///
/// # Safety
/// `base` is NULL, for the current one, or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_new(
    base: *mut event_base,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) -> *mut event {
    let ev: *mut event = memory::allocate(size_of::<event>()).cast();
    if ev.is_null() {
        return ev;
    }
    // SAFETY: the memory was just allocated; the rest is by this function's contract.
    unsafe {
        if event_assign(ev, base, fd, what, callback, arg) < 0 {
            memory::release(ev.cast());
            return ptr::null_mut();
        }
    }
    ev
}

/// `event_free`
///
/// # Safety
/// `ev` came from [`event_new`] and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_free(ev: *mut event) {
    if ev.is_null() {
        return;
    }
    // SAFETY: by this function's contract.
    unsafe {
        debug::check_set_up(ev, "event_free");
        event_del(ev);
        debug::forget(ev);
        memory::release(ev.cast());
    }
}

/// `event_set`: [`event_assign`] for the current base.
///
/// # Safety
/// As [`event_assign`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_set(
    ev: *mut event,
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe { assign(ev, ptr::null_mut(), fd, what, callback, arg) };
}

/// `event_self_cbarg`: as an argument it stands for the event itself.
#[unsafe(no_mangle)]
pub extern "C" fn event_self_cbarg() -> *mut c_void {
    static SELF: u8 = 0;
    ptr::from_ref(&SELF).cast_mut().cast()
}

/// `event_base_set`: moves an idle event to another base.
///
/// # Safety
/// `ev` is initialised, `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_set(base: *mut event_base, ev: *mut event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        debug::check_set_up(ev, "event_base_set");
        if (*ev).ev_evcallback.key != 0 || is_finalizing(ev) {
            return -1;
        }
        (*ev).ev_base = base;
        (*ev).ev_evcallback.evcb_pri =
            event_base::with(base, |inner| inner.core.default_priority());
    }
    0
}

/// Whether it has been given to `event_finalize`, and is no use any more.
pub(crate) unsafe fn is_finalizing(ev: *const event) -> bool {
    // SAFETY: the caller's `ev` is initialised.
    unsafe { (*ev).ev_evcallback.evcb_flags & EVLIST_FINALIZING != 0 }
}

/// The event's key, if its slot is really its own.
pub(crate) unsafe fn known_key(inner: &Inner, ev: *mut event) -> Option<ferrevent_core::EventKey> {
    // SAFETY: the caller's `ev` is initialised.
    let key = key_of(unsafe { (*ev).ev_evcallback.key })?;
    (inner.core.event_cookie(key) == Some(Address(ev))).then_some(key)
}

/// Whether it is worth asking the base. Where no other thread can have added it, its key tells.
unsafe fn may_be_known(ev: *const event) -> bool {
    // SAFETY: the caller's `ev` is initialised; its base may have been freed.
    unsafe { event_base::is_shared((*ev).ev_base) || (*ev).ev_evcallback.key != 0 }
}

unsafe fn spec_of(ev: *mut event) -> EventSpec<Address<event>> {
    // SAFETY: the caller's `ev` is initialised.
    unsafe {
        EventSpec {
            cookie: Address(ev),
            fd: (*ev).ev_fd,
            what: What::from_bits_truncate((*ev).ev_events as u16),
            priority: (*ev).ev_evcallback.evcb_pri,
        }
    }
}

/// Writes down what the base knows of the event.
unsafe fn note(ev: *mut event, key: Option<ferrevent_core::EventKey>, info: Option<EventInfo>) {
    let mut flags = EVLIST_INIT;
    if let Some(info) = info {
        flags |= if info.waits.is_empty() {
            0
        } else {
            EVLIST_INSERTED
        };
        flags |= if info.active.is_empty() {
            0
        } else {
            EVLIST_ACTIVE
        };
        flags |= if info.deadline.is_none() {
            0
        } else {
            EVLIST_TIMEOUT
        };
    }
    // SAFETY: the caller's `ev` is initialised.
    unsafe {
        (*ev).ev_evcallback.key = key.map_or(0, |key| slotmap::Key::data(&key).as_ffi());
        (*ev).ev_evcallback.evcb_flags = flags;
    }
}

/// `event_add`: 0, or -1.
///
/// # Safety
/// `ev` is initialised and its base live; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_add(ev: *mut event, tv: *const timeval) -> c_int {
    // SAFETY: by this function's contract; no user code runs in the closure.
    unsafe {
        let Some(base) = base_of(ev, "event_add") else {
            return -1;
        };
        debug::check_set_up(ev, "event_add");
        let timeout = tv.as_ref().map(nanoseconds);
        event_base::with(base, |inner| {
            if is_finalizing(ev) {
                return -1;
            }
            let key = known_key(inner, ev);
            if timeout.is_some() {
                inner.refresh_clock();
            }
            let (core, driver) = inner.parts();
            match core.add_event(key, spec_of(ev), timeout, driver) {
                Ok(key) => {
                    note(ev, key, key.and_then(|key| inner.core.event_info(key)));
                    let subscribed = inner.apply_signals();
                    if !subscribed {
                        if let Some(key) = key {
                            inner.core.del_event(key);
                            inner.apply_signals();
                        }
                        note(ev, None, None);
                    }
                    inner.settle();
                    if subscribed { 0 } else { -1 }
                }
                Err(error) => {
                    log::warn(&format!("event_add: {error} [fd {}]", (*ev).ev_fd));
                    -1
                }
            }
        })
    }
}

pub(crate) unsafe fn base_of(ev: *mut event, function: &str) -> Option<*mut event_base> {
    // SAFETY: the caller's `ev` is NULL or an initialised event.
    let base = unsafe { ev.as_ref() }.map_or(ptr::null_mut(), |ev| ev.ev_base);
    if base.is_null() {
        log::warn(&format!("{function}: event has no event_base set."));
        return None;
    }
    Some(base)
}

/// Takes the event off its base. An idle event's base is not touched: it may be gone.
pub(crate) unsafe fn del(ev: *mut event, wait: bool) -> c_int {
    if ev.is_null() {
        return -1;
    }
    // SAFETY: the caller's `ev` is initialised; its base may have been freed.
    unsafe {
        let base = (*ev).ev_base;
        if base.is_null() {
            log::warn("event_del: event has no event_base set.");
            return -1;
        }
        debug::check_set_up(ev, "event_del");
        event_base::try_with(base, |inner| {
            inner.cancel_calls(ev);
            if let Some(key) = known_key(inner, ev) {
                inner.core.del_event(key);
                note(ev, None, None);
                inner.settle();
            }
        });
        if wait && event_base::is_shared(base) {
            wait_for_callback(base, ev);
        }
    }
    0
}

/// `event_del`: from another thread it waits until the callback has returned, unless the event is `EV_FINALIZE`.
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_del(ev: *mut event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let wait = !ev.is_null() && (*ev).ev_events & What::FINALIZE.bits() as c_short == 0;
        del(ev, wait)
    }
}

/// `event_del_block`: waits whatever the event is.
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_del_block(ev: *mut event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { del(ev, true) }
}

/// `event_del_noblock`: never waits.
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_del_noblock(ev: *mut event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { del(ev, false) }
}

/// `event_remove_timer`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_remove_timer(ev: *mut event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(base) = base_of(ev, "event_remove_timer") else {
            return -1;
        };
        debug::check_set_up(ev, "event_remove_timer");
        if !may_be_known(ev) {
            return 0;
        }
        event_base::try_with(base, |inner| {
            if let Some(key) = known_key(inner, ev) {
                inner.core.remove_event_timer(key);
                let info = inner.core.event_info(key);
                note(ev, info.map(|_| key), info);
            }
        });
    }
    0
}

/// `event_active`: makes it run as if `what` had happened.
///
/// # Safety
/// `ev` is initialised and its base live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_active(ev: *mut event, what: c_int, calls: c_short) {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(base) = base_of(ev, "event_active") else {
            return;
        };
        debug::check_set_up(ev, "event_active");
        event_base::with(base, |inner| {
            if is_finalizing(ev) {
                return;
            }
            let key = known_key(inner, ev);
            let what = What::from_bits_truncate(what as u16);
            let calls = u16::try_from(calls).unwrap_or(0);
            let key = inner.core.activate_event(key, spec_of(ev), what, calls);
            (*ev).ev_evcallback.key = slotmap::Key::data(&key).as_ffi();
            (*ev).ev_evcallback.evcb_flags |= EVLIST_ACTIVE;
            inner.settle();
        });
    }
}

/// `event_pending`: which of `what` it waits for or is active for, and when it times out.
///
/// # Safety
/// `ev` is initialised; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_pending(ev: *const event, what: c_short, tv: *mut timeval) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(base) = base_of(ev.cast_mut(), "event_pending") else {
            return 0;
        };
        debug::check_set_up(ev, "event_pending");
        if !may_be_known(ev) {
            return 0;
        }
        let info = event_base::try_with(base, |inner| {
            known_key(inner, ev.cast_mut()).and_then(|key| inner.core.event_info(key))
        });
        let Some(info) = info.flatten() else { return 0 };
        let mut happens = info.waits | info.active;
        happens.set(
            What::TIMEOUT,
            info.deadline.is_some() || info.active.contains(What::TIMEOUT),
        );
        let asked = What::TIMEOUT | What::IO | What::SIGNAL;
        let pending = happens & asked & What::from_bits_truncate(what as u16);
        if let Some(deadline) = info.deadline
            && pending.contains(What::TIMEOUT)
            && !tv.is_null()
        {
            let left = deadline.saturating_sub(monotonic());
            tv.write(timeval_of(realtime() + Duration::from_nanos(left)));
        }
        c_int::from(pending.bits())
    }
}

/// `event_initialized`
///
/// # Safety
/// `ev` can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_initialized(ev: *const event) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { c_int::from((*ev).ev_evcallback.evcb_flags & EVLIST_INIT != 0) }
}

/// `event_priority_set`: 0, or -1 while it is active or if there is no such priority.
///
/// # Safety
/// `ev` is initialised and its base live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_priority_set(ev: *mut event, priority: c_int) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(base) = base_of(ev, "event_priority_set") else {
            return -1;
        };
        debug::check_set_up(ev, "event_priority_set");
        event_base::with(base, |inner| {
            if is_finalizing(ev) {
                return -1;
            }
            let Ok(wanted) = u8::try_from(priority) else {
                return -1;
            };
            if usize::from(wanted) >= inner.core.priorities() {
                return -1;
            }
            if let Some(key) = known_key(inner, ev)
                && !inner.core.set_event_priority(key, wanted)
            {
                return -1;
            }
            (*ev).ev_evcallback.evcb_pri = wanted;
            0
        })
    }
}

/// Takes a one-off event out of its base's list.
unsafe fn forget_once(inner: &mut Inner, once: *mut Once) {
    // SAFETY: the caller's is in the list, and so alive, as are all others there.
    unsafe {
        let position = (*once).position;
        inner.onces.swap_remove(position);
        if let Some(&moved) = inner.onces.get(position) {
            (*moved).position = position;
        }
    }
}

/// Gives its memory back.
///
/// # Safety
/// It is neither pending nor active, and in no list.
pub(crate) unsafe fn drop_once(once: *mut Once) {
    // SAFETY: by this function's contract.
    unsafe {
        debug::forget(&raw const (*once).ev);
        drop(Box::from_raw(once));
    }
}

/// Runs a one-off event and frees it.
unsafe extern "C" fn run_once(fd: evutil_socket_t, what: c_short, arg: *mut c_void) {
    let once: *mut Once = arg.cast();
    // SAFETY: `arg` is the `Once` that `once` made; it fires only once, and is not pending any more.
    unsafe {
        event_base::with((*once).ev.ev_base, |inner| forget_once(inner, once));
        let (callback, arg) = ((*once).callback, (*once).arg);
        drop_once(once);
        if let Some(callback) = callback {
            callback(fd, what, arg);
        }
    }
}

/// Adds an event that frees itself.
///
/// # Safety
/// `base` is NULL, for the current one, or live; `tv` is NULL or valid.
pub(crate) unsafe fn once(
    base: *mut event_base,
    fd: c_int,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
    tv: *const timeval,
) -> c_int {
    let refused = (What::SIGNAL | What::PERSIST).bits() as c_short;
    if what & refused != 0 {
        return -1;
    }
    let io = what & What::IO.bits() as c_short;
    if io == 0 && what & What::TIMEOUT.bits() as c_short == 0 {
        return -1;
    }
    let base = if base.is_null() { current() } else { base };
    if base.is_null() {
        return -1;
    }
    // SAFETY: a `struct event` of zeros is valid, and assigned before it is used; the rest is by contract.
    unsafe {
        let ev = std::mem::MaybeUninit::<event>::zeroed().assume_init();
        let once = Box::into_raw(Box::new(Once {
            ev,
            position: 0,
            callback,
            arg,
        }));
        let ev = &raw mut (*once).ev;
        let (fd, what) = if io == 0 { (-1, 0) } else { (fd, io) };
        assign(ev, base, fd, what, Some(run_once), once.cast());
        event_base::with(base, |inner| {
            (*once).position = inner.onces.len();
            inner.onces.push(once);
        });
        let at_once = io == 0 && tv.as_ref().is_none_or(|tv| nanoseconds(tv) == 0);
        if at_once {
            event_active(ev, c_int::from(What::TIMEOUT.bits()), 1);
        } else if event_add(ev, tv) < 0 {
            event_base::with(base, |inner| forget_once(inner, once));
            drop_once(once);
            return -1;
        }
    }
    0
}

/// `event_once`
///
/// # Safety
/// There is a current base; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_once(
    fd: evutil_socket_t,
    what: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
    tv: *const timeval,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { once(ptr::null_mut(), fd, what, callback, arg, tv) }
}

/// `event_get_fd`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_fd(ev: *const event) -> evutil_socket_t {
    debug::check_set_up(ev, "event_get_fd");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_fd }
}

/// `event_get_base`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_base(ev: *const event) -> *mut event_base {
    debug::check_set_up(ev, "event_get_base");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_base }
}

/// `event_get_events`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_events(ev: *const event) -> c_short {
    debug::check_set_up(ev, "event_get_events");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_events }
}

/// `event_get_callback`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_callback(ev: *const event) -> event_callback_fn {
    debug::check_set_up(ev, "event_get_callback");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_evcallback.evcb_callback }
}

/// `event_get_callback_arg`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_callback_arg(ev: *const event) -> *mut c_void {
    debug::check_set_up(ev, "event_get_callback_arg");
    // SAFETY: by this function's contract.
    unsafe { (*ev).ev_evcallback.evcb_arg }
}

/// `event_get_priority`
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_priority(ev: *const event) -> c_int {
    debug::check_set_up(ev, "event_get_priority");
    // SAFETY: by this function's contract.
    unsafe { c_int::from((*ev).ev_evcallback.evcb_pri) }
}

/// `event_get_assignment`
///
/// # Safety
/// `ev` is initialised; every other pointer is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_assignment(
    ev: *const event,
    base: *mut *mut event_base,
    fd: *mut evutil_socket_t,
    what: *mut c_short,
    callback: *mut event_callback_fn,
    arg: *mut *mut c_void,
) {
    debug::check_set_up(ev, "event_get_assignment");
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(base) = base.as_mut() {
            *base = (*ev).ev_base;
        }
        if let Some(fd) = fd.as_mut() {
            *fd = (*ev).ev_fd;
        }
        if let Some(what) = what.as_mut() {
            *what = (*ev).ev_events;
        }
        if let Some(callback) = callback.as_mut() {
            *callback = (*ev).ev_evcallback.evcb_callback;
        }
        if let Some(arg) = arg.as_mut() {
            *arg = (*ev).ev_evcallback.evcb_arg;
        }
    }
}

/// `event_get_struct_event_size`
#[unsafe(no_mangle)]
pub extern "C" fn event_get_struct_event_size() -> usize {
    size_of::<event>()
}

/// `event_get_version`: the version whose interface this is.
#[unsafe(no_mangle)]
pub extern "C" fn event_get_version() -> *const c_char {
    c"2.1.12-stable".as_ptr()
}

/// `event_get_version_number`
#[unsafe(no_mangle)]
pub extern "C" fn event_get_version_number() -> u32 {
    0x02010c00
}

/// `event_get_method`: of the current base.
#[unsafe(no_mangle)]
pub extern "C" fn event_get_method() -> *const c_char {
    if current().is_null() {
        return c"".as_ptr();
    }
    // SAFETY: the current base is live.
    unsafe { crate::base::event_base_get_method(current()) }
}

/// `event_dispatch`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_dispatch() -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loop(current(), 0) }
}

/// `event_loop`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loop(flags: c_int) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loop(current(), flags) }
}

/// `event_loopexit`
///
/// # Safety
/// There is a current base; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loopexit(tv: *const timeval) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loopexit(current(), tv) }
}

/// `event_loopbreak`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loopbreak() -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base_loopbreak(current()) }
}

/// `event_priority_init`
///
/// # Safety
/// There is a current base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_priority_init(n: c_int) -> c_int {
    if current().is_null() {
        return -1;
    }
    // SAFETY: the current base is live.
    unsafe { crate::base::event_base_priority_init(current(), n) }
}
