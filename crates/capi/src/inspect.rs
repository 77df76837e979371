//! Looking into a base: `event_base_foreach_event`, `event_base_dump_events`, the counts.

#![allow(non_camel_case_types, reason = "these are C's names")]

use std::ffi::{CString, c_int, c_uint, c_void};
use std::time::Duration;

use ferrevent_core::{Counts, EventInfo, EventKey, What};
use ferrevent_sys::{monotonic, realtime};
use libc::{FILE, timeval};

use crate::abi::event;
use crate::base::{Inner, event_base};
use crate::event::{known_key, timeval_of};

/// `event_base_foreach_event_cb`
pub type event_base_foreach_event_cb =
    Option<unsafe extern "C" fn(*const event_base, *const event, *mut c_void) -> c_int>;

/// `EVENT_BASE_COUNT_ACTIVE` and `EVENT_BASE_COUNT_ADDED`; nothing is virtual here.
const COUNT_ACTIVE: c_uint = 1;
const COUNT_ADDED: c_uint = 4;

/// `event_base_get_num_events`: of the kinds in `flags`. What counts how often, [`Counts`] says.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_num_events(base: *mut event_base, flags: c_uint) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { event_base::with(base, |inner| sum(inner.core.counts(), flags)) }
}

/// `event_base_get_max_events`: the most of those kinds since the base was made, or since `clear` was last not 0.
///
/// # Safety
/// `base` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_max_events(
    base: *mut event_base,
    flags: c_uint,
    clear: c_int,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        event_base::with(base, |inner| {
            let most = sum(inner.core.peak(), flags);
            if clear != 0 {
                let (added, active) = (flags & COUNT_ADDED != 0, flags & COUNT_ACTIVE != 0);
                inner.core.clear_peak(added, active);
            }
            most
        })
    }
}

fn sum(counts: Counts, flags: c_uint) -> c_int {
    let added = if flags & COUNT_ADDED != 0 {
        counts.added
    } else {
        0
    };
    let active = if flags & COUNT_ACTIVE != 0 {
        counts.active
    } else {
        0
    };
    c_int::try_from(added + active).unwrap_or(c_int::MAX)
}

/// An event that is added or active.
struct Seen {
    key: EventKey,
    ev: *mut event,
    info: EventInfo,
}

/// Descriptors by number, then signals, then timers by deadline, then what is only active.
fn all(inner: &mut Inner) -> Vec<Seen> {
    let core = &inner.core;
    let mut seen: Vec<_> = core
        .events()
        .filter_map(|(key, cookie)| {
            let info = core.event_info(key)?;
            let ev = cookie.0;
            Some(Seen { key, ev, info })
        })
        .collect();
    seen.sort_by_key(|seen| {
        // SAFETY: the memory of an event that is added or active is alive.
        let fd = i64::from(unsafe { (*seen.ev).ev_fd });
        if seen.info.waits.intersects(What::IO) {
            (0, fd, 0)
        } else if seen.info.waits.contains(What::SIGNAL) {
            (1, fd, 0)
        } else if let Some(deadline) = seen.info.deadline {
            (2, 0, deadline)
        } else {
            (3, 0, 0)
        }
    });
    seen
}

/// `event_base_foreach_event`: calls `callback` with each event that is added or active, until it does not return 0;
/// returns what it returned last. A bufferevent has no events of its own here, and is not shown.
///
/// # Safety
/// `base` is live; the callback changes nothing about it, and no other thread frees its events meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_foreach_event(
    base: *mut event_base,
    callback: event_base_foreach_event_cb,
    arg: *mut c_void,
) -> c_int {
    let Some(callback) = callback.filter(|_| !base.is_null()) else {
        return -1;
    };
    // SAFETY: by this function's contract; user code runs outside of the closures.
    unsafe {
        for seen in event_base::with(base, all) {
            let known = |inner: &mut Inner| {
                inner.core.event_cookie(seen.key).is_some() && known_key(inner, seen.ev).is_some()
            };
            if !event_base::with(base, known) {
                continue;
            }
            let result = callback(base, seen.ev, arg);
            if result != 0 {
                return result;
            }
        }
    }
    0
}

/// `event_base_dump_events`: a text for people.
///
/// # Safety
/// `base` is live; `output` is an open stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_dump_events(base: *mut event_base, output: *mut FILE) {
    // SAFETY: by this function's contract; the closure runs no user code.
    let text = unsafe { event_base::with(base, |inner| describe(&all(inner))) };
    let Ok(text) = CString::new(text) else {
        return;
    };
    // SAFETY: by this function's contract. A stream remembers its own errors.
    unsafe { libc::fputs(text.as_ptr(), output) };
}

const NAMES: [(What, &str); 7] = [
    (What::READ, " Read"),
    (What::WRITE, " Write"),
    (What::CLOSED, " EOF"),
    (What::SIGNAL, " Signal"),
    (What::PERSIST, " Persist"),
    (What::EDGE, " ET"),
    (What::TIMEOUT, " Timeout"),
];

fn names(what: What) -> impl Iterator<Item = &'static str> {
    NAMES
        .into_iter()
        .filter(move |name| what.contains(name.0))
        .map(|name| name.1)
}

fn describe(seen: &[Seen]) -> String {
    let mut text = String::from("Inserted events:\n");
    for seen in seen {
        if seen.info.waits.is_empty() && seen.info.deadline.is_none() {
            continue;
        }
        let (what, head) = heading(seen);
        text += &head;
        text.push(']');
        text.extend(names(what - What::TIMEOUT));
        if let Some(deadline) = seen.info.deadline {
            let left = deadline.saturating_sub(monotonic());
            let timeval { tv_sec, tv_usec } = timeval_of(realtime() + Duration::from_nanos(left));
            text += &format!(" Timeout={tv_sec}.{tv_usec:06}");
        }
        text.push('\n');
    }
    text += "Active events:\n";
    for seen in seen.iter().filter(|seen| !seen.info.active.is_empty()) {
        let (_, head) = heading(seen);
        // SAFETY: the memory of an event that is added or active is alive.
        let priority = unsafe { (*seen.ev).ev_evcallback.evcb_pri };
        text += &format!("{head}, priority={priority}]");
        text.extend(names(seen.info.active - What::PERSIST - What::EDGE));
        text += " active\n";
    }
    text
}

/// What the event was made for, and how its line begins.
fn heading(seen: &Seen) -> (What, String) {
    // SAFETY: the memory of an event that is added or active is alive.
    let (what, fd) = unsafe { ((*seen.ev).ev_events, (*seen.ev).ev_fd) };
    let what = What::from_bits_truncate(what as u16);
    let kind = if what.contains(What::SIGNAL) {
        "sig"
    } else {
        "fd "
    };
    (what, format!("  {:p} [{kind} {fd}", seen.ev))
}

/// `event_gettime_monotonic`: the base's clock.
///
/// # Safety
/// `base` is NULL or live; `tv` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_gettime_monotonic(base: *mut event_base, tv: *mut timeval) -> c_int {
    if base.is_null() || tv.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe { tv.write(timeval_of(Duration::from_nanos(monotonic()))) };
    0
}
