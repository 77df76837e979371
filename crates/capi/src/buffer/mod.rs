//! `event2/buffer.h`: buffers.
//!
//! An `evbuffer` is a [`Buffer`] with what C adds to it: a reference count, a lock, callbacks, and the bufferevent that
//! it belongs to. C code holds a pointer to it; Rust code makes a reference only for the moment of one operation, never
//! while user code runs.
//!
//! A function that changes a buffer works in three steps: change it (with `change`), let go of it, and report
//! (with `notify`). User code only ever runs in the third.

pub mod callbacks;
pub mod content;
pub mod descriptor;
pub mod file;
pub mod format;
pub mod moves;
pub mod reference;
pub mod search;
pub mod settings;
pub mod space;

use std::ffi::c_int;

use ferrevent_core::buffer::{Buffer, Change};

use crate::base::{self, event_base};
use crate::bufferevent::{self, Bev, place_in};
use crate::lock::{self, Lock};

pub use self::callbacks::evbuffer_cb_entry;
use self::callbacks::{Callbacks, Which};
pub(crate) use self::reference::clean_up;

/// `struct evbuffer`
#[allow(non_camel_case_types, reason = "this is C's name")]
pub struct evbuffer {
    /// The bytes. Whoever takes a `&mut` to it ends that before anything is reported.
    pub(crate) buffer: Buffer,
    /// Who keeps this alive: the program or the bufferevent, deferred callbacks, calls under way.
    references: u32,
    /// Whether the loop has been asked to run the callbacks.
    deferred: bool,
    /// Where this memory is: by itself, or in a bufferevent.
    home: Option<BufferSide>,
    /// Whether that bufferevent is to be told of changes.
    told: bool,
    /// `EVBUFFER_FLAG_DRAINS_TO_FD`, the only flag that there is.
    drains_to_fd: bool,
    /// Shared with that bufferevent.
    pub(crate) lock: Option<Lock>,
    /// What few buffers have.
    extras: Option<Box<Extras>>,
}

/// What a buffer has once it is used in more than the usual ways.
struct Extras {
    callbacks: Callbacks,
    /// The base whose loop runs the callbacks, NULL while they run at once.
    deferred_to: *mut event_base,
    /// References to no bytes at all, which the core does not keep. The program learns of their end as of others: not
    /// before the buffer changes again.
    empty_references: Vec<Box<dyn Send>>,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            callbacks: Callbacks::default(),
            deferred_to: std::ptr::null_mut(),
            empty_references: Vec::new(),
        }
    }
}

/// The bufferevent that a buffer belongs to, which wants to know of every change.
#[derive(Clone, Copy)]
pub(crate) struct BufferOwner {
    pub(crate) bufferevent: *mut Bev,
    pub(crate) side: BufferSide,
}

/// Which of a bufferevent's two buffers one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferSide {
    Input,
    Output,
}

impl evbuffer {
    /// A new buffer with one reference, which is the caller's.
    pub(crate) fn alloc() -> *mut Self {
        Box::into_raw(Box::new(Self::new()))
    }

    /// A buffer that is one of a bufferevent's two, whose reference it is, and tells it of every change. To be put at
    /// [`place_in`].
    pub(crate) fn of_bufferevent(side: BufferSide, lock: Option<Lock>) -> Self {
        Self {
            home: Some(side),
            told: true,
            lock,
            ..Self::new()
        }
    }

    fn new() -> Self {
        Self {
            buffer: Buffer::new(),
            references: 1,
            deferred: false,
            home: None,
            told: false,
            drains_to_fd: false,
            lock: None,
            extras: None,
        }
    }

    /// Whether nobody is to be told of changes, nor anything to be done at one.
    #[inline]
    fn is_unwatched(&self) -> bool {
        !self.told && self.extras.is_none()
    }

    /// Whether only the caller has to do with it: nobody is told of changes, and no thread waits.
    #[inline]
    fn is_private(&self) -> bool {
        self.is_unwatched() && self.lock.is_none()
    }

    fn has_callbacks(&self) -> bool {
        self.extras
            .as_ref()
            .is_some_and(|extras| !extras.callbacks.is_empty())
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }
}

/// The bufferevent in whose memory a buffer is.
///
/// # Safety
/// `buf` is alive.
unsafe fn home_of(buf: *mut evbuffer) -> Option<BufferOwner> {
    // SAFETY: by this function's contract. A buffer with a home is where `place_in` says, and `buf` was made from the
    // pointer to the whole.
    unsafe {
        let side = (*buf).home?;
        let bufferevent = buf.byte_sub(place_in(side)).cast::<Bev>();
        Some(BufferOwner { bufferevent, side })
    }
}

/// The bufferevent is told of changes no more.
///
/// # Safety
/// `buf` is alive, and a bufferevent's.
pub(crate) unsafe fn disown(buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe { (*buf).told = false };
}

/// Makes the buffer use `lock`. Nobody may hold the one that it had.
///
/// # Safety
/// `buf` is alive.
pub(crate) unsafe fn set_lock(buf: *mut evbuffer, lock: Option<Lock>) {
    // SAFETY: by this function's contract.
    unsafe { (*buf).lock = lock };
}

/// Says that the buffer is only written to a descriptor (`EVBUFFER_FLAG_DRAINS_TO_FD`).
///
/// # Safety
/// `buf` is alive.
pub(crate) unsafe fn set_drains_to_fd(buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe { (*buf).drains_to_fd = true };
}

/// Takes one more reference.
///
/// # Safety
/// `buf` is alive, and its lock held.
pub(crate) unsafe fn retain(buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe { (*buf).references += 1 };
}

/// Drops a reference, and with the last one the buffer.
///
/// # Safety
/// `buf` is alive; the caller's reference is gone afterwards.
pub(crate) unsafe fn release(buf: *mut evbuffer) {
    // SAFETY: by this function's contract; `_held` keeps the lock itself alive beyond the buffer.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        release_held(buf);
    }
}

/// As [`release`], for callers that hold the lock.
///
/// # Safety
/// As for [`release`]; the lock is held, and what holds it does so on its own.
unsafe fn release_held(buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe {
        (*buf).references -= 1;
        if (*buf).references == 0 {
            match home_of(buf) {
                None => drop(Box::from_raw(buf)),
                Some(home) => {
                    buf.drop_in_place();
                    bufferevent::leave(home.bufferevent);
                }
            }
            reference::clean_up();
        }
    }
}

/// Changes a buffer under its lock, reports what happened to it, and gives what `change` returned.
///
/// # Safety
/// `buf` is alive. `change` runs no user code.
#[inline]
pub(crate) unsafe fn change<R>(buf: *mut evbuffer, change: impl FnOnce(&mut Buffer) -> R) -> R {
    // SAFETY: by this function's contract; the reference to the buffer ends before `notify`.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        let result = change(&mut (*buf).buffer);
        notify(buf);
        result
    }
}

/// Looks at a buffer under its lock.
///
/// # Safety
/// `buf` is alive. `look` runs no user code.
#[inline]
pub(crate) unsafe fn look<R>(buf: *const evbuffer, look: impl FnOnce(&Buffer) -> R) -> R {
    // SAFETY: by this function's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        look(&(*buf).buffer)
    }
}

/// Reports what has happened to the buffer since the last report: to its bufferevent, then to the user's callbacks (the
/// other way round for the output of a filter or a pair). Clean-up functions of memory that has left it run before both. The buffer may be gone afterwards.
///
/// # Safety
/// `buf` is alive, its lock held, and no reference to it or to its content exists.
#[inline]
pub(crate) unsafe fn notify(buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe {
        if (*buf).is_unwatched() {
            (*buf).buffer.forget_change();
            reference::clean_up();
        } else {
            let owner = if (*buf).told { home_of(buf) } else { None };
            notify_watcher(buf, owner);
        }
    }
}

/// As [`notify`], without telling the bufferevent: for changes that it has made itself.
///
/// # Safety
/// As for [`notify`].
pub(crate) unsafe fn notify_transport(buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe { notify_watcher(buf, None) }
}

/// As [`notify`], with `owner` as the bufferevent.
///
/// # Safety
/// As for [`notify`].
unsafe fn notify_watcher(buf: *mut evbuffer, owner: Option<BufferOwner>) {
    // SAFETY: by this function's contract.
    unsafe {
        match (*buf).buffer.take_change() {
            Some(change) => report(buf, change, owner),
            None => reference::clean_up(),
        }
    }
}

/// Reports one change.
///
/// # Safety
/// As for [`notify`].
unsafe fn report(buf: *mut evbuffer, change: Change, owner: Option<BufferOwner>) {
    // SAFETY: by this function's contract; `retain` keeps the buffer alive over the user code. Each field is looked at
    // anew after user code has run.
    unsafe {
        if let Some(extras) = &mut (*buf).extras
            && !extras.empty_references.is_empty()
        {
            drop(std::mem::take(&mut extras.empty_references));
        }
        let watched = (*buf).has_callbacks();
        if watched {
            retain(buf);
            (*buf).extras().callbacks.note(change);
        }
        reference::clean_up();
        // What moves on inside this call is a change of its own, which the program hears of after this one.
        let told_first = watched && owner.is_some_and(|owner| bufferevent::moves_on_at_once(owner));
        if told_first {
            run_or_defer(buf);
        }
        if let Some(owner) = owner.filter(|_| (*buf).told) {
            let len = (*buf).buffer.len();
            bufferevent::buffer_changed(owner, change.added, change.deleted, len);
        }
        if watched {
            if !told_first {
                run_or_defer(buf);
            }
            release_held(buf);
        }
    }
}

/// Whether a change of a buffer may have functions of the program run (clean-up functions of references apart).
///
/// # Safety
/// `buf` is alive.
pub(crate) unsafe fn calls_program(buf: *mut evbuffer) -> bool {
    // SAFETY: by this function's contract.
    unsafe { (*buf).extras.is_some() }
}

/// Runs the callbacks that want to know at once, and asks the loop to run the others.
///
/// # Safety
/// As for [`notify`]; the caller has a reference of its own.
unsafe fn run_or_defer(buf: *mut evbuffer) {
    // SAFETY: by this function's contract.
    unsafe {
        let base = (*buf).extras().deferred_to;
        if base.is_null() {
            return callbacks::run(buf, Which::All);
        }
        if !(*buf).has_callbacks() {
            return;
        }
        if !(*buf).deferred {
            (*buf).deferred = true;
            retain(buf);
            base::push_buffer_task(base, buf);
        }
        callbacks::run(buf, Which::Immediate);
    }
}

/// Runs callbacks that were deferred, and drops the reference that was taken for them.
///
/// # Safety
/// `buf` was given to [`base::push_buffer_task`] by this module, once for each call.
pub(crate) unsafe fn run_deferred(buf: *mut evbuffer) {
    // SAFETY: by this function's contract the buffer is alive, and `release` is the last use.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        (*buf).deferred = false;
        callbacks::run(buf, Which::Deferred);
        release_held(buf);
    }
}

/// `evbuffer_new`
#[unsafe(no_mangle)]
pub extern "C" fn evbuffer_new() -> *mut evbuffer {
    evbuffer::alloc()
}

/// `evbuffer_free`. Of the callbacks, only those run that have been deferred already.
///
/// # Safety
/// The C API's contract: `buf` is NULL or a buffer of the caller's, which is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_free(buf: *mut evbuffer) {
    if buf.is_null() {
        return;
    }
    // SAFETY: by the C API's contract.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        if !(*buf).deferred
            && let Some(extras) = &mut (*buf).extras
        {
            extras.callbacks.clear();
        }
        release_held(buf);
    }
}

/// What a function that returns 0 or -1 returns.
fn status<T, E>(result: Result<T, E>) -> c_int {
    if result.is_ok() { 0 } else { -1 }
}
