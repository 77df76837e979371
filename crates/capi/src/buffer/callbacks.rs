//! Functions of the program that are told of changes.

use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrevent_core::buffer::Change;
use smallvec::SmallVec;

use super::evbuffer;
use crate::abi::{evbuffer_cb_func, evbuffer_cb_info};
use crate::lock;

/// `EVBUFFER_CB_ENABLED`
const ENABLED: u32 = 1;
/// `EVBUFFER_CB_NODEFER`
const NODEFER: u32 = 2;
/// What a program may change.
const PUBLIC_FLAGS: u32 = 0xffff;

/// `evbuffer_cb` of `event2/buffer_compat.h`
#[allow(non_camel_case_types, reason = "this is C's name")]
pub type evbuffer_cb = Option<unsafe extern "C" fn(*mut evbuffer, usize, usize, *mut c_void)>;

/// `struct evbuffer_cb_entry`: what a pointer that names a callback points to, which is nothing. The pointer is a number,
/// so that one to a callback that has been removed is merely unknown.
#[allow(non_camel_case_types, reason = "this is C's name")]
pub struct evbuffer_cb_entry(());

/// The callbacks of a buffer.
#[derive(Default)]
pub(super) struct Callbacks {
    /// The newest last; they run newest first.
    entries: SmallVec<[Entry; 1]>,
    /// What they have not been told of yet.
    added: usize,
    deleted: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    id: usize,
    function: Function,
    argument: *mut c_void,
    flags: u32,
}

#[derive(Clone, Copy)]
enum Function {
    Current(evbuffer_cb_func),
    /// Added by `evbuffer_setcb`.
    Obsolete(evbuffer_cb),
}

/// Which callbacks are to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All: nothing is deferred.
    All,
    /// Those that do not wait for the loop. The others are told of the same change later.
    Immediate,
    /// Those that wait for it.
    Deferred,
}

impl Callbacks {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a change to what the callbacks will be told of.
    pub(super) fn note(&mut self, change: Change) {
        if self.entries.is_empty() {
            return;
        }
        self.added = self.added.wrapping_add(change.added);
        self.deleted = self.deleted.wrapping_add(change.deleted);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.forget_change();
    }

    fn add(&mut self, function: Function, argument: *mut c_void) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.entries.push(Entry {
            id,
            function,
            argument,
            flags: ENABLED,
        });
        id
    }

    fn remove(&mut self, matches: impl Fn(&Entry) -> bool) -> bool {
        let found = self.entries.iter().rposition(matches);
        if let Some(index) = found {
            self.entries.remove(index);
        }
        if self.entries.is_empty() {
            self.forget_change();
        }
        found.is_some()
    }

    /// Nobody is there to be told: whoever comes next hears of later changes only.
    fn forget_change(&mut self) {
        self.added = 0;
        self.deleted = 0;
    }

    fn find(&mut self, id: usize) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// The change to report to `which`, with the buffer's length before it; `None` if there is none.
    fn take(&mut self, which: Which, len: usize) -> Option<evbuffer_cb_info> {
        if self.added == 0 && self.deleted == 0 {
            return None;
        }
        let info = evbuffer_cb_info {
            orig_size: len.wrapping_add(self.deleted).wrapping_sub(self.added),
            n_added: self.added,
            n_deleted: self.deleted,
        };
        if which != Which::Immediate {
            self.forget_change();
        }
        Some(info)
    }
}

impl Entry {
    fn wants(&self, which: Which) -> bool {
        let deferrable = self.flags & NODEFER == 0;
        let asked = match which {
            Which::All => true,
            Which::Immediate => !deferrable,
            Which::Deferred => deferrable,
        };
        asked && self.flags & ENABLED != 0
    }
}

/// Tells callbacks what has happened.
///
/// # Safety
/// `buf` is alive, its lock held, and stays alive because the caller has a reference of its own; no Rust reference to
/// it exists.
pub(super) unsafe fn run(buf: *mut evbuffer, which: Which) {
    // SAFETY: by this function's contract. References to fields end with their statements; a callback may change the
    // list, and so each one is looked up again before it is called.
    unsafe {
        let len = (*buf).buffer.len();
        let callbacks = &mut (*buf).extras().callbacks;
        let Some(info) = callbacks.take(which, len) else {
            return;
        };
        let newest_first = callbacks.entries.iter().rev();
        let ids: SmallVec<[usize; 4]> = newest_first.map(|entry| entry.id).collect();
        for id in ids {
            let entry = (*buf).extras().callbacks.find(id).map(|entry| *entry);
            let Some(entry) = entry.filter(|entry| entry.wants(which)) else {
                continue;
            };
            match entry.function {
                Function::Current(Some(function)) => function(buf, &info, entry.argument),
                Function::Obsolete(Some(function)) => {
                    function(buf, info.orig_size, len, entry.argument);
                }
                Function::Current(None) | Function::Obsolete(None) => {}
            }
        }
    }
}

/// `evbuffer_add_cb`: newer callbacks run before older ones.
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add_cb(
    buf: *mut evbuffer,
    function: evbuffer_cb_func,
    argument: *mut c_void,
) -> *mut evbuffer_cb_entry {
    // SAFETY: by the C API's contract.
    let id = unsafe {
        let _held = lock::hold(&(*buf).lock);
        let callbacks = &mut (*buf).extras().callbacks;
        callbacks.add(Function::Current(function), argument)
    };
    std::ptr::without_provenance_mut(id)
}

/// `evbuffer_remove_cb_entry`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_remove_cb_entry(
    buf: *mut evbuffer,
    entry: *mut evbuffer_cb_entry,
) -> c_int {
    let id = entry.addr();
    // SAFETY: by the C API's contract.
    unsafe { remove(buf, |entry| entry.id == id) }
}

/// `evbuffer_remove_cb`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_remove_cb(
    buf: *mut evbuffer,
    function: evbuffer_cb_func,
    argument: *mut c_void,
) -> c_int {
    let wanted = |entry: &Entry| match entry.function {
        // By address, as C compares: one function may have several, but a program passes the same one twice.
        Function::Current(current) => {
            current.map(|f| f as usize) == function.map(|f| f as usize)
                && entry.argument == argument
        }
        Function::Obsolete(_) => false,
    };
    // SAFETY: by the C API's contract.
    unsafe { remove(buf, wanted) }
}

/// `evbuffer_cb_set_flags`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_cb_set_flags(
    buf: *mut evbuffer,
    entry: *mut evbuffer_cb_entry,
    flags: u32,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { set_flags(buf, entry, |old| old | (flags & PUBLIC_FLAGS)) }
}

/// `evbuffer_cb_clear_flags`
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_cb_clear_flags(
    buf: *mut evbuffer,
    entry: *mut evbuffer_cb_entry,
    flags: u32,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { set_flags(buf, entry, |old| old & !(flags & PUBLIC_FLAGS)) }
}

/// `evbuffer_setcb` of `event2/buffer_compat.h`: replaces all callbacks by this one, or by none.
///
/// # Safety
/// The C API's contract: `buf` is alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_setcb(
    buf: *mut evbuffer,
    function: evbuffer_cb,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        let callbacks = &mut (*buf).extras().callbacks;
        callbacks.clear();
        if function.is_some() {
            callbacks.add(Function::Obsolete(function), argument);
        }
    }
    0
}

/// Removes the newest callback that matches; -1 if none does.
///
/// # Safety
/// `buf` is alive.
unsafe fn remove(buf: *mut evbuffer, matches: impl Fn(&Entry) -> bool) -> c_int {
    // SAFETY: by this function's contract.
    let removed = unsafe {
        let _held = lock::hold(&(*buf).lock);
        (*buf).extras().callbacks.remove(matches)
    };
    if removed { 0 } else { -1 }
}

/// Changes the flags of a callback; -1 if there is no such callback.
///
/// # Safety
/// `buf` is alive.
unsafe fn set_flags(
    buf: *mut evbuffer,
    entry: *mut evbuffer_cb_entry,
    flags: impl FnOnce(u32) -> u32,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        let Some(entry) = (*buf).extras().callbacks.find(entry.addr()) else {
            return -1;
        };
        entry.flags = flags(mem::take(&mut entry.flags));
    }
    0
}
