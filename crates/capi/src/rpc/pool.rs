//! The connections for calls.
//!
//! Each carries one call at a time; the other calls wait. A pool may be freed in any callback. Its memory stays as long as a
//! call that has begun on it (`Hold`).

use std::collections::VecDeque;
use std::ffi::c_int;

use super::Hooks;
use super::client::{begin, drop_request, evrpc_request_wrapper, free};
use crate::base::event_base;
use crate::held::{Held, Hold, Holdable};
use crate::http::client::{evhttp_connection_set_base, is_free};
use crate::http::connection::{
    evhttp_connection, evhttp_connection_free, evhttp_connection_get_base,
    evhttp_connection_set_timeout,
};

/// `struct evrpc_pool`
#[repr(C)]
pub struct evrpc_pool {
    pub(super) hooks: Hooks,
    base: *mut event_base,
    connections: Vec<*mut evhttp_connection>,
    pub(super) waiting: VecDeque<*mut evrpc_request_wrapper>,
    pub(super) running: Vec<*mut evrpc_request_wrapper>,
    /// In seconds; none if it is not positive.
    pub(super) timeout: c_int,
    /// How many calls need the memory.
    held: Held,
}

/// `evrpc_pool_new`: connections without a base of their own get `base`.
///
/// # Safety
/// The C API's contract: `base` is NULL or live, and outlives the pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_pool_new(base: *mut event_base) -> *mut evrpc_pool {
    Box::into_raw(Box::new(evrpc_pool {
        hooks: Hooks::default(),
        base,
        connections: Vec::new(),
        waiting: VecDeque::new(),
        running: Vec::new(),
        timeout: -1,
        held: Held::default(),
    }))
}

// SAFETY: `held` is in it; `evrpc_pool_free` holds it itself until it is done.
unsafe impl Holdable for evrpc_pool {
    unsafe fn held(this: *mut Self) -> *mut Held {
        // SAFETY: by this function's contract.
        unsafe { &raw mut (*this).held }
    }

    unsafe fn give_back(this: *mut Self) {
        // SAFETY: `evrpc_pool_new` has made it with a box, and nobody uses it any more.
        drop(unsafe { Box::from_raw(this) });
    }
}

/// `evrpc_pool_free`: with its connections. The calls that are not over are forgotten.
///
/// # Safety
/// The C API's contract: `pool` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_pool_free(pool: *mut evrpc_pool) {
    // SAFETY: by this function's contract. Each list is looked at anew after what may call the program.
    unsafe {
        if (*pool).held.is_gone() {
            return;
        }
        let _hold = Hold::new(pool);
        (*pool).held.leave();
        (*pool).hooks.end();
        (*pool).hooks.take_paused();
        while let Some(ctx) = (*pool).waiting.pop_front() {
            free(ctx);
        }
        while let Some(ctx) = (*pool).running.pop() {
            drop_request(ctx);
            free(ctx);
        }
        while let Some(evcon) = (*pool).connections.pop() {
            evhttp_connection_free(evcon);
        }
    }
}

/// `evrpc_pool_add_connection`: the connection is the pool's. Calls that wait begin.
///
/// # Safety
/// The C API's contract: both are live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_pool_add_connection(
    pool: *mut evrpc_pool,
    evcon: *mut evhttp_connection,
) {
    // SAFETY: by this function's contract.
    unsafe {
        if !(*pool).base.is_null() && evhttp_connection_get_base(evcon).is_null() {
            evhttp_connection_set_base(evcon, (*pool).base);
        }
        if (*pool).timeout > 0 {
            evhttp_connection_set_timeout(evcon, (*pool).timeout);
        }
        (*pool).connections.push(evcon);
        schedule(pool);
    }
}

/// `evrpc_pool_remove_connection`: it is the caller's again. A call on it goes on.
///
/// # Safety
/// The C API's contract: `pool` is live; the connection is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_pool_remove_connection(
    pool: *mut evrpc_pool,
    evcon: *mut evhttp_connection,
) {
    // SAFETY: by this function's contract; the reference ends here.
    unsafe {
        let connections = &mut (*pool).connections;
        connections.retain(|&other| other != evcon);
    }
}

/// `evrpc_pool_set_timeout`: in seconds, for calls that begin from now on; none if it is not positive.
///
/// # Safety
/// The C API's contract: `pool` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_pool_set_timeout(pool: *mut evrpc_pool, seconds: c_int) {
    // SAFETY: by this function's contract; its connections are live.
    unsafe {
        (*pool).timeout = seconds;
        let connections = (*pool).connections.clone();
        for evcon in connections {
            evhttp_connection_set_timeout(evcon, seconds);
        }
    }
}

/// Begins the calls that wait, as long as there are connections for them.
///
/// # Safety
/// `pool` is live. It may be gone afterwards.
pub(super) unsafe fn schedule(pool: *mut evrpc_pool) {
    // SAFETY: by this function's contract; the pool is held here. Its lists are looked at anew after each call that has begun.
    unsafe {
        let hold = Hold::new(pool);
        while !hold.is_gone() && !(*pool).waiting.is_empty() {
            let Some(evcon) = free_connection(pool) else {
                return;
            };
            let Some(ctx) = (*pool).waiting.pop_front() else {
                return;
            };
            (*pool).running.push(ctx);
            begin(ctx, evcon);
        }
    }
}

unsafe fn free_connection(pool: *mut evrpc_pool) -> Option<*mut evhttp_connection> {
    // SAFETY: the caller's pool is live, and so are its connections and calls.
    unsafe {
        let pool = &*pool;
        let busy = |evcon| pool.running.iter().any(|&ctx| (*ctx).evcon == evcon);
        let mut connections = pool.connections.iter().copied();
        connections.find(|&evcon| is_free(evcon) && !busy(evcon))
    }
}
