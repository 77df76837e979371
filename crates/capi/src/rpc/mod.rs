//! `event2/rpc.h`: calls of functions by HTTP, with tagged values as arguments and results.
//!
//! * this file: hooks, and what they attach to a call;
//! * `server`: functions that others call;
//! * `client`: calling them; `pool`: the connections for that.
//!
//! What a call sends and gets is marshalled by code that `event_rpcgen.py` generates, into the program. As everything of
//! HTTP, these objects belong to the thread that runs their base's loop.

#![allow(non_camel_case_types, reason = "these are C's names")]

pub mod client;
pub mod pool;
pub mod server;

use std::ffi::{CString, c_char, c_int, c_void};
use std::{ptr, slice};

use client::evrpc_request_wrapper;
use server::evrpc_req_generic;

use crate::abi::evhttp_request;
use crate::buffer::evbuffer;
use crate::http::connection::evhttp_connection;

/// `EVRPC_TERMINATE`
const TERMINATE: c_int = -1;
/// `EVRPC_CONTINUE`
const CONTINUE: c_int = 0;
/// `EVRPC_PAUSE`
const PAUSE: c_int = 1;

/// `EVRPC_INPUT`, of `enum EVRPC_HOOK_TYPE`; the other one is `EVRPC_OUTPUT`.
const INPUT: c_int = 0;

/// A hook: it gets the call, its HTTP request, and the bytes on their way.
type HookFunction =
    unsafe extern "C" fn(*mut c_void, *mut evhttp_request, *mut evbuffer, *mut c_void) -> c_int;

/// What servers and pools begin with: programs give either to the functions for hooks.
#[derive(Default)]
pub(in crate::rpc) struct Hooks {
    input: Vec<Hook>,
    output: Vec<Hook>,
    /// The calls that a hook holds.
    paused: Vec<Paused>,
    /// How many hooks there have been.
    made: usize,
    /// How many times hooks are being run.
    running: u32,
    /// Their owner has been freed.
    gone: bool,
}

struct Hook {
    /// What the program knows it by.
    handle: usize,
    function: HookFunction,
    arg: *mut c_void,
}

/// A call that a hook holds, and on which way.
#[derive(Clone, Copy)]
pub(in crate::rpc) enum Paused {
    Received(*mut evrpc_req_generic),
    Replying(*mut evrpc_req_generic),
    Asking(*mut evrpc_request_wrapper),
    Answered(*mut evrpc_request_wrapper),
}

impl Paused {
    /// The call as hooks know it.
    fn ctx(self) -> *mut c_void {
        match self {
            Self::Received(call) | Self::Replying(call) => call.cast(),
            Self::Asking(call) | Self::Answered(call) => call.cast(),
        }
    }

    /// Goes on with it, as if the hook had said so.
    ///
    /// # Safety
    /// The call is live, and not paused any more.
    unsafe fn go_on(self, may: bool) {
        // SAFETY: by this function's contract.
        unsafe {
            match self {
                Self::Received(call) => server::received(call, may),
                Self::Replying(call) => server::reply(call, may),
                Self::Asking(call) => client::send(call, may),
                Self::Answered(call) => client::answered(call, may),
            }
        }
    }
}

impl Hooks {
    /// Runs the hooks of one way, first come first, until one does not say "continue". `hooks` may change meanwhile.
    ///
    /// If their owner is freed meanwhile, it is as if one had said "terminate".
    ///
    /// # Safety
    /// The memory of `hooks` stays over this; the call, the request and the bytes are live at least until the owner is
    /// freed.
    pub(in crate::rpc) unsafe fn run(
        hooks: *mut Self,
        way: c_int,
        ctx: *mut c_void,
        evcon: *mut evhttp_connection,
        req: *mut evhttp_request,
        bytes: *mut evbuffer,
    ) -> c_int {
        // SAFETY: by this function's contract. The list is copied, so that hooks may come and go.
        unsafe {
            let list: Vec<_> = (*hooks)
                .list(way)
                .iter()
                .map(|hook| (hook.function, hook.arg))
                .collect();
            if !list.is_empty() {
                (*attached(ctx)).evcon = evcon;
            }
            (*hooks).running += 1;
            let mut result = CONTINUE;
            for (function, arg) in list {
                result = function(ctx, req, bytes, arg);
                if (*hooks).gone {
                    result = TERMINATE;
                }
                if result != CONTINUE {
                    break;
                }
            }
            (*hooks).running -= 1;
            result
        }
    }

    /// Their owner is freed. Whether its memory may go: no hook is being run.
    pub(in crate::rpc) fn end(&mut self) -> bool {
        self.gone = true;
        self.running == 0
    }

    pub(in crate::rpc) fn pause(&mut self, call: Paused) {
        self.paused.push(call);
    }

    pub(in crate::rpc) fn take_paused(&mut self) -> Vec<Paused> {
        std::mem::take(&mut self.paused)
    }

    fn list(&mut self, way: c_int) -> &mut Vec<Hook> {
        match way {
            INPUT => &mut self.input,
            _ => &mut self.output,
        }
    }
}

/// `evrpc_add_hook`: the handle is for [`evrpc_remove_hook`].
///
/// # Safety
/// The C API's contract: `vbase` is a live server's base or a live pool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_add_hook(
    vbase: *mut c_void,
    way: c_int,
    function: Option<HookFunction>,
    arg: *mut c_void,
) -> *mut c_void {
    let Some(function) = function else {
        return ptr::null_mut();
    };
    // SAFETY: by this function's contract; both begin with their hooks.
    let hooks = unsafe { &mut *vbase.cast::<Hooks>() };
    hooks.made += 1;
    let handle = hooks.made;
    hooks.list(way).push(Hook {
        handle,
        function,
        arg,
    });
    ptr::without_provenance_mut(handle)
}

/// `evrpc_remove_hook`: 1, or 0 if there is none of that handle.
///
/// # Safety
/// As [`evrpc_add_hook`]; the handle is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_remove_hook(
    vbase: *mut c_void,
    way: c_int,
    handle: *mut c_void,
) -> c_int {
    // SAFETY: by this function's contract; both begin with their hooks.
    let list = unsafe { &mut *vbase.cast::<Hooks>() }.list(way);
    let before = list.len();
    list.retain(|hook| hook.handle != handle.addr());
    c_int::from(list.len() < before)
}

/// `evrpc_resume_request`: goes on with a call that a hook holds, or ends it. -1 if it holds none such.
///
/// # Safety
/// As [`evrpc_add_hook`]; the call is only compared.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_resume_request(
    vbase: *mut c_void,
    ctx: *mut c_void,
    result: c_int,
) -> c_int {
    // SAFETY: by this function's contract; both begin with their hooks. What is paused is live.
    unsafe {
        let paused = &mut (*vbase.cast::<Hooks>()).paused;
        let Some(at) = paused.iter().position(|call| call.ctx() == ctx) else {
            return -1;
        };
        let call = paused.remove(at);
        call.go_on(result != TERMINATE);
    }
    0
}

/// What hooks have attached to a call (`struct evrpc_hook_meta`).
#[derive(Default)]
pub struct evrpc_hook_meta {
    data: Vec<(CString, Box<[u8]>)>,
    evcon: *mut evhttp_connection,
}

/// That of a call, which is made if there is none.
///
/// # Safety
/// `ctx` is a live call of either kind.
unsafe fn attached(ctx: *mut c_void) -> *mut evrpc_hook_meta {
    let place = ctx.cast::<*mut evrpc_hook_meta>();
    // SAFETY: by this function's contract both kinds begin with the place for it.
    unsafe {
        if (*place).is_null() {
            *place = Box::into_raw(Box::new(evrpc_hook_meta {
                data: Vec::new(),
                evcon: ptr::null_mut(),
            }));
        }
        *place
    }
}

/// Frees it.
///
/// # Safety
/// It came from [`attached`], or is NULL, and is not used any more.
pub(in crate::rpc) unsafe fn detach(meta: *mut evrpc_hook_meta) {
    if !meta.is_null() {
        // SAFETY: by this function's contract.
        drop(unsafe { Box::from_raw(meta) });
    }
}

/// `evrpc_hook_add_meta`: a copy of the bytes goes with the call.
///
/// # Safety
/// The C API's contract: `ctx` is a call that a hook was given, and is live; `key` is a string, `data` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_hook_add_meta(
    ctx: *mut c_void,
    key: *const c_char,
    data: *const c_void,
    len: usize,
) {
    // SAFETY: by this function's contract.
    unsafe {
        let key = std::ffi::CStr::from_ptr(key).to_owned();
        let data = match len {
            0 => Box::default(),
            len => slice::from_raw_parts(data.cast::<u8>(), len).into(),
        };
        (*attached(ctx)).data.push((key, data));
    }
}

/// `evrpc_hook_find_meta`: the first of that name; 0, or -1. The bytes belong to the call.
///
/// # Safety
/// As [`evrpc_hook_add_meta`]; `data` and `len` are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_hook_find_meta(
    ctx: *mut c_void,
    key: *const c_char,
    data: *mut *mut c_void,
    len: *mut usize,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let meta = *ctx.cast::<*mut evrpc_hook_meta>();
        let key = std::ffi::CStr::from_ptr(key);
        let Some(meta) = meta.as_mut() else { return -1 };
        let found = meta.data.iter_mut().find(|(name, _)| **name == *key);
        let Some((_, bytes)) = found else { return -1 };
        *data = bytes.as_mut_ptr().cast();
        *len = bytes.len();
    }
    0
}

/// `evrpc_hook_get_connection`: that of the call, in a hook.
///
/// # Safety
/// As [`evrpc_hook_add_meta`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_hook_get_connection(ctx: *mut c_void) -> *mut evhttp_connection {
    // SAFETY: by this function's contract.
    unsafe {
        match (*ctx.cast::<*mut evrpc_hook_meta>()).as_ref() {
            Some(meta) => meta.evcon,
            None => ptr::null_mut(),
        }
    }
}
