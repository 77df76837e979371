//! What makes an event pending or active, and what ends that.

use std::ffi::{c_int, c_short};
use std::time::Duration;

use ferrevent_core::{AddError, EventKey, Standing, What};
use ferrevent_sys::{monotonic, realtime};
use libc::timeval;

use super::{
    EVLIST_ACTIVE, EVLIST_INIT, EVLIST_TIMEOUT, base_of, clear_base_of, is_finalizing, known_key,
    may_be_known, nanoseconds, note, plain_nanoseconds, short_nanoseconds, spec_of, tell_no_base,
    timeval_of,
};
use crate::abi::event;
use crate::base::{Address, Inner, event_base, key_of, wait_for_callback};
use crate::debug;

/// `event_add`: 0, or -1.
///
/// # Safety
/// `ev` is initialised and its base live; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_add(ev: *mut event, tv: *const timeval) -> c_int {
    // SAFETY: by this function's contract. No user code runs in here.
    unsafe {
        let Some(inner) = clear_base_of(ev) else {
            return add(ev, tv);
        };
        match (key_of((*ev).ev_evcallback.key), tv.as_ref()) {
            (Some(key), Some(timeout)) => move_at_once(ev, timeout, inner, key),
            (Some(key), None) if inner.core.waits(key, Address(ev)) => 0,
            (None, Some(timeout)) => start_at_once(ev, timeout, inner),
            (_, None) => add(ev, tv),
        }
    }
}

/// The short way for a timeout that runs, of an event in a block, in a base without common timeouts. It is a function of its own,
/// and so are its likes, so that none needs the registers of all.
#[inline(never)]
unsafe fn move_at_once(ev: *mut event, tv: &timeval, inner: &mut Inner, key: EventKey) -> c_int {
    if !inner.core.shares_timeouts()
        && inner.core.has_pass_time()
        && let Some(timeout) = plain_nanoseconds(tv)
        && inner.core.move_placed(key, Address(ev), timeout)
    {
        return 0;
    }
    // SAFETY: as `event_add`.
    unsafe { move_or_add(ev, tv, inner) }
}

/// The same for any event and any base.
#[inline(never)]
unsafe fn move_or_add(ev: *mut event, tv: &timeval, inner: &mut Inner) -> c_int {
    // SAFETY: as `event_add`.
    unsafe {
        if let Some(key) = key_of((*ev).ev_evcallback.key)
            && let Some(timeout) = timeout_at_once(ev, tv, inner)
            && inner.core.move_timed(key, Address(ev), timeout)
        {
            return 0;
        }
        add(ev, tv)
    }
}

/// The short way for an event that is not added.
#[inline(never)]
unsafe fn start_at_once(ev: *mut event, tv: &timeval, inner: &mut Inner) -> c_int {
    // SAFETY: as `event_add`.
    unsafe {
        if let Some(timeout) = timeout_at_once(ev, tv, inner)
            && let Some(key) = inner.core.add_timed(spec_of(ev), timeout)
        {
            (*ev).ev_evcallback.key = slotmap::Key::data(&key).as_ffi();
            (*ev).ev_evcallback.evcb_flags = EVLIST_INIT | EVLIST_TIMEOUT;
            return 0;
        }
        add(ev, tv)
    }
}

/// The timeout in nanoseconds, unless something has to be done or looked at first.
#[inline(always)]
unsafe fn timeout_at_once(ev: *const event, tv: &timeval, inner: &Inner) -> Option<u64> {
    // SAFETY: as `event_add`.
    let finalizing = unsafe { is_finalizing(ev) };
    let ready = !finalizing && inner.core.has_pass_time();
    ready.then(|| short_nanoseconds(tv)).flatten()
}

#[cold]
#[inline(never)]
unsafe fn add(ev: *mut event, tv: *const timeval) -> c_int {
    // SAFETY: as `event_add`; no user code runs in the closure.
    unsafe {
        let Some(base) = base_of(ev, "event_add") else {
            return -1;
        };
        debug::check_set_up(ev, "event_add");
        if event_base::refuses(base, "event_add") {
            return -1;
        }
        let timeout = tv.as_ref().map(|tv| timeout_of(ev, tv));
        event_base::with(base, |inner| {
            if is_finalizing(ev) {
                return -1;
            }
            if timeout.is_some() {
                inner.refresh_clock();
            }
            let key = key_of((*ev).ev_evcallback.key);
            match (key, timeout) {
                (Some(key), Some(timeout))
                    if inner.core.move_timeout(key, Address(ev), timeout) =>
                {
                    inner.settle();
                    return 0;
                }
                (Some(key), None) if inner.core.is_event_waiting(key, Address(ev)) => return 0,
                _ => {}
            }
            let key = known_key(inner, ev);
            let (core, driver) = inner.parts();
            match core.add_event(key, spec_of(ev), timeout, driver) {
                Ok(added) => {
                    note(ev, added.key, added.standing);
                    if inner.core.has_signal_changes() && !inner.apply_signals() {
                        take_back(inner, ev, added.key);
                        return -1;
                    }
                    inner.settle();
                    0
                }
                Err(error) => {
                    complain(inner, &error, (*ev).ev_fd);
                    -1
                }
            }
        })
    }
}

/// A timeout in nanoseconds. Of a persistent event, one that is over before it begins begins again all the same; to the core,
/// none at all would not.
unsafe fn timeout_of(ev: *const event, tv: &timeval) -> u64 {
    // SAFETY: the caller's `ev` is initialised.
    let persists = unsafe { (*ev).ev_events } & What::PERSIST.bits() as c_short != 0;
    match nanoseconds(tv) {
        0 if persists && (tv.tv_sec < 0 || tv.tv_usec < 0) => 1,
        timeout => timeout,
    }
}

/// The system refuses a signal.
#[cold]
unsafe fn take_back(inner: &mut Inner, ev: *mut event, key: Option<EventKey>) {
    if let Some(key) = key {
        inner.core.del_event(key);
        inner.apply_signals();
    }
    // SAFETY: the caller's `ev` is initialised.
    unsafe { note(ev, None, Standing::empty()) };
    inner.settle();
}

#[cold]
fn complain(inner: &mut Inner, error: &AddError, fd: c_int) {
    inner.complain(format!("event_add: {error} [fd {fd}]"));
}

/// `event_del`: from another thread it waits until the callback has returned, unless the event is `EV_FINALIZE`.
///
/// # Safety
/// `ev` is initialised.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_del(ev: *mut event) -> c_int {
    // SAFETY: by this function's contract; no user code runs in here. A base without locks has no other thread to wait for.
    unsafe {
        if let Some(inner) = clear_base_of(ev)
            && let Some(key) = key_of((*ev).ev_evcallback.key)
            && inner.core.del_timed(key, Address(ev))
        {
            (*ev).ev_evcallback.key = 0;
            (*ev).ev_evcallback.evcb_flags = EVLIST_INIT;
            return 0;
        }
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

/// Takes the event off its base. An idle event's base is not touched: it may be gone.
#[inline(never)]
pub(crate) unsafe fn del(ev: *mut event, wait: bool) -> c_int {
    if ev.is_null() {
        return -1;
    }
    // SAFETY: the caller's `ev` is initialised; its base may have been freed.
    unsafe {
        let base = (*ev).ev_base;
        if base.is_null() {
            tell_no_base("event_del", ev);
            return -1;
        }
        debug::check_set_up(ev, "event_del");
        if event_base::is_elsewhere(base) {
            return refuse_del(base, ev);
        }
        event_base::try_with(base, |inner| {
            inner.cancel_calls(ev);
            let key = key_of((*ev).ev_evcallback.key);
            if key.is_some_and(|key| inner.core.del_event_of(key, Address(ev))) {
                note(ev, None, Standing::empty());
                inner.settle();
            }
        });
        if wait && event_base::is_shared(base) {
            wait_for_callback(base, ev);
        }
    }
    0
}

/// The loop of a base without locks runs in another thread.
#[cold]
#[inline(never)]
unsafe fn refuse_del(base: *mut event_base, ev: *const event) -> c_int {
    // SAFETY: the caller's `ev` is initialised, and `base` its base, freed or not.
    unsafe {
        // One that is idle is no matter of the base's.
        let idle = (*ev).ev_evcallback.key == 0;
        if idle || !event_base::refuses(base, "event_del") {
            0
        } else {
            -1
        }
    }
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
                let standing = inner.core.event_standing(key);
                note(ev, (!standing.is_empty()).then_some(key), standing);
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
    // SAFETY: by this function's contract; no user code runs in here.
    unsafe {
        if let Some(inner) = clear_base_of(ev)
            && (*ev).ev_evcallback.key == 0
            && !is_finalizing(ev)
        {
            let what = What::from_bits_truncate(what as u16);
            let times = u16::try_from(calls).unwrap_or(0);
            if let Some(key) = inner.core.activate_idle(spec_of(ev), what, times) {
                (*ev).ev_evcallback.key = slotmap::Key::data(&key).as_ffi();
                (*ev).ev_evcallback.evcb_flags |= EVLIST_ACTIVE;
                return;
            }
        }
        activate(ev, what, calls);
    }
}

#[cold]
#[inline(never)]
unsafe fn activate(ev: *mut event, what: c_int, calls: c_short) {
    // SAFETY: as `event_active`.
    unsafe {
        let Some(base) = base_of(ev, "event_active") else {
            return;
        };
        debug::check_set_up(ev, "event_active");
        if event_base::refuses(base, "event_active") {
            return;
        }
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
        if pending.contains(What::TIMEOUT) && !tv.is_null() {
            // What is about to run for its timeout has none any more: it is due now.
            let now = monotonic();
            let deadline = info.deadline.unwrap_or(now);
            let left = Duration::from_nanos(deadline.saturating_sub(now));
            let late = Duration::from_nanos(now.saturating_sub(deadline));
            tv.write(timeval_of((realtime() + left).saturating_sub(late)));
        }
        c_int::from(pending.bits())
    }
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
