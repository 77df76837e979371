//! Filters: stages whose functions are the program's.

use std::ffi::{c_int, c_void};
use std::ptr;

use ferrevent_core::{Dirs, Mode, Options, Processed, StageKind};
use libc::ssize_t;

use super::stage::{self, Calls, Stage};
use super::{Bev, bev_of};
use crate::abi::bufferevent;
use crate::buffer::evbuffer;
use crate::buffer::moves::evbuffer_remove_buffer;
use crate::log;

/// What `be_ops` points to in a filter.
static FILTER_OPS: u8 = 0;

/// `bufferevent_filter_cb`: moves bytes from the first buffer to the second, no more than the limit, which is -1 for
/// none.
#[allow(non_camel_case_types, reason = "this is C's name")]
pub type bufferevent_filter_cb = Option<
    unsafe extern "C" fn(*mut evbuffer, *mut evbuffer, ssize_t, c_int, *mut c_void) -> c_int,
>;

/// A filter's state.
#[derive(Clone, Copy)]
struct Filter {
    input: bufferevent_filter_cb,
    output: bufferevent_filter_cb,
    free_context: Option<unsafe extern "C" fn(*mut c_void)>,
    context: *mut c_void,
}

const CALLS: Calls = Calls {
    process,
    heard: None,
    finalize,
};

/// `bufferevent_filter_new`: NULL functions pass everything on. NULL if `underlying` carries a filter already, or the
/// options cannot be had.
///
/// # Safety
/// `underlying` is live; the functions may be called with `context` until `free_context` has been.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_filter_new(
    underlying: *mut bufferevent,
    input: bufferevent_filter_cb,
    output: bufferevent_filter_cb,
    options: c_int,
    free_context: Option<unsafe extern "C" fn(*mut c_void)>,
    context: *mut c_void,
) -> *mut bufferevent {
    let filter = Box::new(Filter {
        input,
        output,
        free_context,
        context,
    });
    let state = Box::into_raw(filter);
    let options = Options::from_bits_truncate(options as u16);
    // SAFETY: by this function's contract; the box is given back in `finalize`, or here if there is no filter.
    unsafe {
        let made = stage::new_stage(
            bev_of(underlying),
            options,
            StageKind::PASSES_EVENTS,
            ptr::from_ref(&FILTER_OPS).cast(),
            CALLS,
            state.cast(),
        );
        let Some(bev) = made else {
            log::warn("bufferevent_filter_new: not over this bufferevent, or not so");
            drop(Box::from_raw(state));
            return ptr::null_mut();
        };
        &raw mut (*bev).public
    }
}

unsafe fn process(
    bev: *mut Bev,
    stage: Stage,
    dir: Dirs,
    mode: Mode,
    limit: Option<usize>,
) -> Processed {
    // SAFETY: the stage is at work, so that both bufferevents are alive, and with them their buffers; the state is the
    // box of `bufferevent_filter_new`, of which nothing is borrowed while the program's function runs.
    unsafe {
        let filter = *stage.state.cast::<Filter>();
        let (above, below) = (&raw const (*bev).public, &raw const (*stage.below).public);
        let (function, source, target) = if dir == Dirs::READ {
            (filter.input, (*below).input, (*above).input)
        } else {
            (filter.output, (*above).output, (*below).output)
        };
        let Some(function) = function else {
            let left = (*source).buffer.len();
            let moved = evbuffer_remove_buffer(source, target, limit.unwrap_or(usize::MAX));
            // Where nothing is asked for, as a flush does, that is done, as in libevent.
            return if moved > 0 || left == 0 {
                Processed::Some
            } else {
                Processed::NeedMore
            };
        };
        let limit = limit.map_or(-1, |limit| ssize_t::try_from(limit).unwrap_or(ssize_t::MAX));
        match function(source, target, limit, mode as c_int, filter.context) {
            0 => Processed::Some,
            1 => Processed::NeedMore,
            _ => Processed::Failed(0),
        }
    }
}

unsafe fn finalize(stage: Stage) {
    // SAFETY: nobody runs the stage any more; its state is the box of `bufferevent_filter_new`.
    unsafe {
        let filter = Box::from_raw(stage.state.cast::<Filter>());
        if let Some(free_context) = filter.free_context {
            free_context(filter.context);
        }
    }
}
