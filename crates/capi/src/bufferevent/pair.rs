//! Pairs: two bufferevents that are each other's transport.

use std::ffi::c_int;
use std::ptr;

use ferrevent_core::{Options, StreamKey};
use smallvec::SmallVec;

use super::life::build;
use super::stage::{Due, due_now};
use super::{Bev, bev_of, guard_buffers, hold, listen, with};
use crate::abi::bufferevent;
use crate::base::{Address, event_base};
use crate::buffer;
use crate::lock::Lock;
use crate::log;

/// What `be_ops` points to in an end of a pair.
static PAIR_OPS: u8 = 0;

/// `bufferevent_pair_new`: both ends have one lock, and their callbacks are always deferred. 0, or -1.
///
/// # Safety
/// `base` is live; `pair` has room for two.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_pair_new(
    base: *mut event_base,
    options: c_int,
    pair: *mut *mut bufferevent,
) -> c_int {
    let options = Options::from_bits_truncate(options as u16) | Options::DEFER_CALLBACKS;
    let lock = if options.contains(Options::THREADSAFE) {
        Lock::new()
    } else {
        None
    };
    if options.contains(Options::THREADSAFE) && lock.is_none() {
        log::warn("bufferevent_pair_new: BEV_OPT_THREADSAFE needs evthread_use_pthreads()");
        return -1;
    }
    let ops = ptr::from_ref(&PAIR_OPS).cast();
    // SAFETY: by this function's contract. Nobody else knows of the two yet, so that they may get their keys later.
    unsafe {
        let ends = [(); 2].map(|()| {
            let key = |_: &mut crate::base::Inner, _: *mut Bev| Some(StreamKey::default());
            build(base, -1, options, lock.clone(), ops, key)
        });
        let [Some(one), Some(other)] = ends else {
            return -1;
        };
        let keys = event_base::with(base, |inner| {
            inner.core.new_pair([Address(one), Address(other)], options)
        });
        let Some(keys) = keys else {
            log::fatal("bufferevent_pair_new: options that go together were refused");
        };
        for (index, bev) in [one, other].into_iter().enumerate() {
            (*bev).key = keys[index];
            guard_buffers(bev, true);
            pair.add(index).write(&raw mut (*bev).public);
        }
    }
    0
}

/// `bufferevent_pair_get_partner`: NULL once it is freed, and of anything but a pair.
///
/// # Safety
/// `bev` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bufferevent_pair_get_partner(bev: *mut bufferevent) -> *mut bufferevent {
    let bev = bev_of(bev);
    // SAFETY: by this function's contract; a partner that the core knows is alive.
    unsafe {
        let _held = hold(bev);
        match with(bev, |inner, key| inner.core.partner(key)) {
            Some((_, partner)) => &raw mut (*partner.0).public,
            None => ptr::null_mut(),
        }
    }
}

/// Whether it is an end of a pair.
///
/// # Safety
/// `bev` is live.
pub(super) unsafe fn is_pair(bev: *mut Bev) -> bool {
    // SAFETY: by this function's contract.
    unsafe { ptr::eq((*bev).public.be_ops, ptr::from_ref(&PAIR_OPS).cast()) }
}

/// Moves all output of an end to the other one's input, if the core says that nothing else is to be looked at. Returns
/// whether it has: otherwise the core has not heard yet that there is output.
///
/// # Safety
/// `bev` is an end of a pair and alive, its lock held.
pub(super) unsafe fn move_directly(bev: *mut Bev) -> bool {
    // SAFETY: by this function's contract. A target that the core knows is alive, and its lock is that of `bev`. Neither
    // buffer is one that tells a function of the program, so that no user code runs in here.
    let moved = unsafe {
        let (base, key) = ((*bev).public.ev_base, (*bev).key);
        event_base::with(base, |inner| {
            let Some((to_key, Address(target))) = inner.core.direct_target(key) else {
                return false;
            };
            let (from, to) = ((*bev).public.output, (*target).public.input);
            if buffer::calls_program(from) || buffer::calls_program(to) {
                return false;
            }
            let (output, input) = {
                let (from, to) = (&mut (*from).buffer, &mut (*to).buffer);
                to.transfer_from(from, usize::MAX);
                from.forget_change();
                to.forget_change();
                (from.len(), to.len())
            };
            let (write, read) = ((*bev).public.writecb, (*target).public.readcb);
            inner.core.handle_moved_directly(
                (key, output, write.is_some()),
                (to_key, input, read.is_some()),
            );
            inner.settle();
            true
        })
    };
    if moved {
        // What was copied may have been the program's own memory.
        buffer::clean_up();
    }
    moved
}

/// Moves bytes from the output of one end to the input of the other, and reports that. Gives what that has made due.
///
/// # Safety
/// The move came from the core, which keeps both ends alive; their lock is held.
pub(super) unsafe fn move_bytes(
    base: *mut event_base,
    bev: *mut Bev,
    key: StreamKey,
    limit: usize,
) -> Due {
    // SAFETY: by this function's contract; the references to the two buffers end before anybody is told.
    unsafe {
        let target = event_base::with(base, |inner| inner.core.move_target(key));
        let Some((to_key, Address(target))) = target else {
            return SmallVec::new();
        };
        let (from, to) = ((*bev).public.output, (*target).public.input);
        let moved = {
            let (from, to) = (&mut (*from).buffer, &mut (*to).buffer);
            to.transfer_from(from, limit)
        };
        buffer::notify_transport(from);
        buffer::notify_transport(to);
        let (output, input) = ((*from).buffer.len(), (*to).buffer.len());
        event_base::with(base, |inner| {
            if inner.core.needs_time_for(key) {
                inner.refresh_clock();
            }
            listen(inner, bev, key);
            listen(inner, target, to_key);
            inner.core.handle_moved(key, moved, output, input);
            inner.settle();
            due_now(inner)
        })
    }
}
