//! `event2/thread.h`: turning locks on.

use std::ffi::c_int;

use crate::lock;

/// `evthread_use_pthreads`: objects that are made from now on may be used from several threads. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn evthread_use_pthreads() -> c_int {
    lock::enable_threads();
    0
}
