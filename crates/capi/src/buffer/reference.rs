//! Memory of the program's, shown without copying: `evbuffer_add_reference`.
//!
//! The program wants to be told when the last buffer has let go of such memory. That happens somewhere inside a change
//! of a buffer, where no user code may run. So what is due is only noted there, and done when the change is over.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use ferrevent_core::buffer::End;

use super::{evbuffer, notify};
use crate::lock;

/// `evbuffer_ref_cleanup_cb`
#[allow(non_camel_case_types, reason = "this is C's name")]
pub type evbuffer_ref_cleanup_cb = Option<unsafe extern "C" fn(*const c_void, usize, *mut c_void)>;

/// Something to do when no buffer shows a piece of memory any more.
pub(super) trait CleanUp {
    /// Does it.
    ///
    /// # Safety
    /// No Rust reference to an object of the program's exists: this may run user code.
    unsafe fn run(self: Box<Self>);
}

thread_local! {
    static DUE: RefCell<VecDeque<Box<dyn CleanUp>>> = const { RefCell::new(VecDeque::new()) };
}

/// Whether anything was ever to be cleaned up: spares most programs the look at `DUE`.
static EVER_DUE: AtomicBool = AtomicBool::new(false);

/// Notes that `task` is due on this thread.
pub(super) fn note_due(task: Box<dyn CleanUp>) {
    EVER_DUE.store(true, Ordering::Relaxed);
    let mut task = Some(task);
    let noted = DUE.try_with(|due| due.borrow_mut().extend(task.take()));
    if noted.is_err()
        && let Some(task) = task
    {
        // SAFETY: the thread is ending, in the destructors of thread-local variables, none of which is a buffer's
        // operation.
        unsafe { task.run() };
    }
}

/// Does what has become due on this thread.
#[inline]
pub(crate) fn clean_up() {
    if EVER_DUE.load(Ordering::Relaxed) {
        clean_up_due();
    }
}

#[cold]
fn clean_up_due() {
    // An error means that the thread is ending, when nothing is noted any more.
    while let Ok(Some(task)) = DUE.try_with(|due| due.borrow_mut().pop_front()) {
        // SAFETY: callers have ended their references, as for any user code.
        unsafe { task.run() };
    }
}

/// The program's memory, and whom to tell when it is not shown any more.
struct Reference {
    data: *const u8,
    len: usize,
    function: evbuffer_ref_cleanup_cb,
    argument: *mut c_void,
}

// SAFETY: the program promises that the memory stays readable until its function is called, and a program that uses
// buffers in several threads that the function may be called in any of them.
unsafe impl Send for Reference {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for Reference {}

impl AsRef<[u8]> for Reference {
    fn as_ref(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the memory is the program's promise, see above; `len` was checked against `isize::MAX`.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        if self.function.is_none() {
            return;
        }
        let Self {
            data,
            len,
            function,
            argument,
        } = *self;
        note_due(Box::new(Released {
            data,
            len,
            function,
            argument,
        }));
    }
}

/// A [`Reference`] that no buffer holds any more.
struct Released {
    data: *const u8,
    len: usize,
    function: evbuffer_ref_cleanup_cb,
    argument: *mut c_void,
}

impl CleanUp for Released {
    unsafe fn run(self: Box<Self>) {
        if let Some(function) = self.function {
            // SAFETY: the program's function, called once, with what it asked for.
            unsafe { function(self.data.cast(), self.len, self.argument) };
        }
    }
}

/// `evbuffer_add_reference`: `function` is called once, when the last of these bytes has left the last buffer; never if
/// this returns -1 (a frozen back, or too many bytes).
///
/// # Safety
/// The C API's contract: `buf` is alive; `data` has `len` readable bytes until `function` is called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evbuffer_add_reference(
    buf: *mut evbuffer,
    data: *const c_void,
    len: usize,
    function: evbuffer_ref_cleanup_cb,
    argument: *mut c_void,
) -> c_int {
    let make = || Reference {
        data: data.cast(),
        len,
        function,
        argument,
    };
    // SAFETY: by the C API's contract.
    unsafe { append_owned(buf, len, make) }
}

/// Appends the memory of what `make` makes, which has `len` bytes; -1, and nothing is made, if they cannot be appended.
///
/// # Safety
/// `buf` is alive.
unsafe fn append_owned<T>(buf: *mut evbuffer, len: usize, make: impl FnOnce() -> T) -> c_int
where
    T: AsRef<[u8]> + Send + Sync + 'static,
{
    // SAFETY: by this function's contract; the reference to the buffer ends before `notify`.
    unsafe {
        let _held = lock::hold(&(*buf).lock);
        let buffer = &mut (*buf).buffer;
        let most = isize::MAX as usize - buffer.len();
        if buffer.is_frozen(End::Back) || len > most {
            return -1;
        }
        if len == 0 {
            append_empty(buf, make());
            return 0;
        }
        let appended = buffer.append_owner(make());
        notify(buf);
        super::status(appended)
    }
}

/// Keeps `owner`, which shows no bytes, until the buffer changes.
///
/// # Safety
/// `buf` is alive, and its lock held.
pub(super) unsafe fn append_empty(buf: *mut evbuffer, owner: impl Send + 'static) {
    // SAFETY: by this function's contract.
    unsafe { (*buf).extras().empty_references.push(Box::new(owner)) };
}
