//! What `c/board.h` declares: the functions of the files that are Rust by now, as C calls them. With the last C file, this
//! one goes too.
#![allow(
    clippy::missing_safety_doc,
    reason = "all of them promise the same: see `Call`"
)]
#![allow(missing_docs, reason = "c/board.h says what they do")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_long};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use ferrevent_mixed::raw::{bufferevent, evbuffer, event_base};
use ferrevent_mixed::{Base, Buffer, BufferEvent};

use crate::{journal, server, session, store};

/// What all of C's calls promise: the base is live, is run by this thread, and stays until all that was started on it is
/// stopped; texts end with a zero byte, and stay as they are until the call returns.
struct Call;

impl Call {
    /// # Safety
    /// As above.
    unsafe fn base(base: *mut event_base) -> Base {
        // SAFETY: the caller's promise.
        unsafe { Base::from_raw(base) }
    }

    /// # Safety
    /// As above; or it is NULL.
    unsafe fn text(text: *const c_char) -> Option<String> {
        if text.is_null() {
            return None;
        }
        // SAFETY: the caller's promise.
        Some(
            unsafe { CStr::from_ptr(text) }
                .to_string_lossy()
                .into_owned(),
        )
    }

    /// # Safety
    /// As above; or it is NULL, which is no name of anything.
    unsafe fn name(name: *const c_char) -> String {
        // SAFETY: the caller's promise.
        unsafe { Self::text(name) }.unwrap_or_default()
    }
}

#[cfg_attr(feature = "step1", unsafe(no_mangle))]
pub unsafe extern "C" fn journal_start(base: *mut event_base, path: *const c_char) -> c_int {
    // SAFETY: the promise of `Call`.
    let (mut base, path) = unsafe { (Call::base(base), CStr::from_ptr(path)) };
    let path = OsStr::from_bytes(path.to_bytes());
    answer(journal::start(&mut base, path.as_ref()).is_ok())
}

#[cfg_attr(feature = "step1", unsafe(no_mangle))]
pub unsafe extern "C" fn journal_line(base: *mut event_base, text: *const c_char) {
    // SAFETY: the promise of `Call`.
    let (mut base, text) = unsafe { (Call::base(base), Call::name(text)) };
    journal::line(&mut base, &text);
}

#[cfg_attr(feature = "step1", unsafe(no_mangle))]
pub unsafe extern "C" fn journal_stop(base: *mut event_base) {
    // SAFETY: the promise of `Call`.
    journal::stop(&mut unsafe { Call::base(base) });
}

/// Who is told of changes, as long as that is a function of C.
type Changed = unsafe extern "C" fn(*mut event_base, *const c_char, *const c_char);

#[cfg_attr(feature = "step2", unsafe(no_mangle))]
pub unsafe extern "C" fn store_start(base: *mut event_base, changed: Changed) {
    let tell = move |base: &mut Base, name: &str, text: Option<&str>| {
        let name = format!("{name}\0");
        let text = text.map(|text| format!("{text}\0"));
        let text = text
            .as_ref()
            .map_or(std::ptr::null(), |text| text.as_ptr().cast());
        // SAFETY: C gave this function for such calls: with the base, and two texts that are there until it returns.
        unsafe { changed(base.as_raw(), name.as_ptr().cast(), text) };
    };
    // SAFETY: the promise of `Call`.
    store::start(&mut unsafe { Call::base(base) }, Rc::new(tell));
}

#[cfg_attr(feature = "step2", unsafe(no_mangle))]
pub unsafe extern "C" fn store_set(
    base: *mut event_base,
    name: *const c_char,
    text: *const c_char,
) {
    // SAFETY: the promise of `Call`.
    let (mut base, name, text) = unsafe { (Call::base(base), Call::name(name), Call::name(text)) };
    store::set(&mut base, &name, &text);
}

/// `out` is live, and nobody else's for as long as the call.
#[cfg_attr(feature = "step2", unsafe(no_mangle))]
pub unsafe extern "C" fn store_get(
    base: *mut event_base,
    name: *const c_char,
    out: *mut evbuffer,
) -> c_int {
    // SAFETY: the promise of `Call`, and the one above.
    let (mut base, name, out) =
        unsafe { (Call::base(base), Call::name(name), Buffer::from_raw(out)) };
    let text = store::get(&mut base, &name);
    answer(text.is_some_and(|text| out.append(text.as_bytes()).is_ok()))
}

#[cfg_attr(feature = "step2", unsafe(no_mangle))]
pub unsafe extern "C" fn store_del(base: *mut event_base, name: *const c_char) -> c_int {
    // SAFETY: the promise of `Call`.
    let (mut base, name) = unsafe { (Call::base(base), Call::name(name)) };
    answer(store::del(&mut base, &name))
}

#[cfg_attr(feature = "step2", unsafe(no_mangle))]
pub unsafe extern "C" fn store_expire(
    base: *mut event_base,
    name: *const c_char,
    milliseconds: c_long,
) -> c_int {
    // SAFETY: the promise of `Call`.
    let (mut base, name) = unsafe { (Call::base(base), Call::name(name)) };
    let delay = u64::try_from(milliseconds).map(Duration::from_millis);
    answer(delay.is_ok_and(|delay| store::expire(&mut base, &name, delay)))
}

#[cfg_attr(feature = "step2", unsafe(no_mangle))]
pub unsafe extern "C" fn store_stop(base: *mut event_base) {
    // SAFETY: the promise of `Call`.
    store::stop(&mut unsafe { Call::base(base) });
}

/// `bev` is live, of this base, and the session's from now on.
#[cfg_attr(feature = "step3", unsafe(no_mangle))]
pub unsafe extern "C" fn session_start(base: *mut event_base, bev: *mut bufferevent) {
    // SAFETY: the promise of `Call`.
    let mut base = unsafe { Call::base(base) };
    // SAFETY: the promise above.
    let bev = unsafe { BufferEvent::from_raw(&mut base, bev) };
    session::start(&mut base, bev);
}

#[cfg_attr(feature = "step3", unsafe(no_mangle))]
pub unsafe extern "C" fn session_changed(
    base: *mut event_base,
    name: *const c_char,
    text: *const c_char,
) {
    // SAFETY: the promise of `Call`.
    let (mut base, name, text) = unsafe { (Call::base(base), Call::name(name), Call::text(text)) };
    session::changed(&mut base, &name, text.as_deref());
}

#[cfg_attr(feature = "step3", unsafe(no_mangle))]
pub unsafe extern "C" fn session_stop(base: *mut event_base) {
    // SAFETY: the promise of `Call`.
    session::stop(&mut unsafe { Call::base(base) });
}

#[cfg_attr(feature = "step4", unsafe(no_mangle))]
pub unsafe extern "C" fn server_start(base: *mut event_base) -> c_int {
    // SAFETY: the promise of `Call`.
    let port = server::start(&mut unsafe { Call::base(base) });
    port.map_or(-1, c_int::from)
}

#[cfg_attr(feature = "step4", unsafe(no_mangle))]
pub unsafe extern "C" fn server_stop(base: *mut event_base) {
    // SAFETY: the promise of `Call`.
    server::stop(&mut unsafe { Call::base(base) });
}

fn answer(well: bool) -> c_int {
    if well { 0 } else { -1 }
}
