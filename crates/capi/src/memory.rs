//! Memory that crosses the border: what C frees, it must be able to free (`event_set_mem_functions`).

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// `malloc`'s type.
pub type Allocate = Option<unsafe extern "C" fn(usize) -> *mut c_void>;
/// `realloc`'s type.
pub type Reallocate = Option<unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void>;
/// `free`'s type.
pub type Release = Option<unsafe extern "C" fn(*mut c_void)>;

static ALLOCATE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static RELEASE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// `event_set_mem_functions`: memory that is handed to C, or freed by C, comes from these functions. To be called
/// before anything else. What stays inside the library comes from the system's allocator.
#[unsafe(no_mangle)]
pub extern "C" fn event_set_mem_functions(
    allocate: Allocate,
    _reallocate: Reallocate,
    release: Release,
) {
    let address = |f: Option<*mut c_void>| f.unwrap_or(std::ptr::null_mut());
    ALLOCATE.store(
        address(allocate.map(|f| f as *mut c_void)),
        Ordering::Release,
    );
    RELEASE.store(
        address(release.map(|f| f as *mut c_void)),
        Ordering::Release,
    );
}

/// Whether the program has set functions of its own.
pub(crate) fn is_foreign() -> bool {
    !ALLOCATE.load(Ordering::Relaxed).is_null()
}

/// `size` bytes of uninitialised memory, or NULL.
pub(crate) fn allocate(size: usize) -> *mut c_void {
    let function = ALLOCATE.load(Ordering::Acquire);
    if function.is_null() {
        // SAFETY: `malloc` takes any size.
        return unsafe { libc::malloc(size) };
    }
    // SAFETY: the pointer was made from an `Allocate` in `event_set_mem_functions`.
    let function: Allocate = unsafe { std::mem::transmute(function) };
    // SAFETY: a program that sets its own functions promises that they behave like `malloc`.
    function.map_or(std::ptr::null_mut(), |function| unsafe { function(size) })
}

/// `text` as a C string for the program to free, or NULL. It has no zero byte in it, or its length is told in some
/// other way.
pub(crate) fn string(text: &[u8]) -> *mut c_char {
    let string = allocate(text.len() + 1).cast::<u8>();
    if !string.is_null() {
        // SAFETY: there is room for the text and one byte more.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), string, text.len());
            string.add(text.len()).write(0);
        }
    }
    string.cast()
}

/// Gives back what [`allocate`] gave.
///
/// # Safety
/// `memory` is NULL or came from [`allocate`], and is not used any more.
pub(crate) unsafe fn release(memory: *mut c_void) {
    let function = RELEASE.load(Ordering::Acquire);
    if function.is_null() {
        // SAFETY: by this function's own contract.
        return unsafe { libc::free(memory) };
    }
    // SAFETY: the pointer was made from a `Release` in `event_set_mem_functions`.
    let function: Release = unsafe { std::mem::transmute(function) };
    if let Some(function) = function {
        // SAFETY: by this function's own contract.
        unsafe { function(memory) };
    }
}
