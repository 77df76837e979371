//! Calling functions of others.

use std::ffi::{CStr, CString, c_char, c_int, c_short, c_void};
use std::ptr;

use super::pool::{evrpc_pool, schedule};
use super::server::{POST, path_of};
use super::{CONTINUE, Hooks, INPUT, PAUSE, Paused, detach, evrpc_hook_meta};
use crate::abi::{event, evhttp_request, evutil_socket_t};
use crate::buffer::evbuffer;
use crate::bufferevent::bufferevent_get_base;
use crate::debug;
use crate::event::{event_add, event_assign, event_del, event_initialized};
use crate::held::Hold;
use crate::http::client::{evhttp_cancel_request, evhttp_make_request};
use crate::http::connection::{evhttp_connection, evhttp_connection_get_bufferevent};
use crate::http::request::{evhttp_request_free, evhttp_request_new, evhttp_request_own};

/// `EVRPC_OUTPUT`
const OUTPUT: c_int = 1;

/// `EVRPC_STATUS_ERR_NONE`
const NONE: c_int = 0;
/// `EVRPC_STATUS_ERR_TIMEOUT`: there was no answer.
const TIMEOUT: c_int = 1;
/// `EVRPC_STATUS_ERR_BADPAYLOAD`
const BAD_PAYLOAD: c_int = 2;
/// `EVRPC_STATUS_ERR_UNSTARTED`
const UNSTARTED: c_int = 3;
/// `EVRPC_STATUS_ERR_HOOKABORTED`
const HOOK_ABORTED: c_int = 4;

/// `struct evrpc_status`: how a call went.
#[repr(C)]
pub struct evrpc_status {
    /// `EVRPC_STATUS_ERR_...`
    pub error: c_int,
    /// With the answer, or NULL.
    pub http_req: *mut evhttp_request,
}

/// What is called when a call is over: with how it went, the request, the reply and the argument.
pub type evrpc_reply_cb =
    Option<unsafe extern "C" fn(*mut evrpc_status, *mut c_void, *mut c_void, *mut c_void)>;

/// `struct evrpc_request_wrapper`: a call.
#[repr(C)]
pub struct evrpc_request_wrapper {
    hook_meta: *mut evrpc_hook_meta,
    pool: *mut evrpc_pool,
    pub(super) evcon: *mut evhttp_connection,
    /// NULL before it is made, and once it is gone.
    req: *mut evhttp_request,
    timer: event,
    name: CString,
    cb: evrpc_reply_cb,
    cb_arg: *mut c_void,
    request: *mut c_void,
    reply: *mut c_void,
    request_marshal: Option<unsafe extern "C" fn(*mut evbuffer, *mut c_void)>,
    reply_clear: Option<unsafe extern "C" fn(*mut c_void)>,
    reply_unmarshal: Option<unsafe extern "C" fn(*mut c_void, *mut evbuffer) -> c_int>,
}

/// `evrpc_make_request_ctx`: a call for [`evrpc_make_request`].
///
/// # Safety
/// The C API's contract: `pool` is NULL or live, `name` is a string; none of the functions is NULL, and `request` and
/// `reply` live until the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_make_request_ctx(
    pool: *mut evrpc_pool,
    request: *mut c_void,
    reply: *mut c_void,
    name: *const c_char,
    request_marshal: Option<unsafe extern "C" fn(*mut evbuffer, *mut c_void)>,
    reply_clear: Option<unsafe extern "C" fn(*mut c_void)>,
    reply_unmarshal: Option<unsafe extern "C" fn(*mut c_void, *mut evbuffer) -> c_int>,
    cb: evrpc_reply_cb,
    cb_arg: *mut c_void,
) -> *mut evrpc_request_wrapper {
    // SAFETY: by this function's contract; an event of zeros is valid, and assigned before it is used.
    unsafe {
        Box::into_raw(Box::new(evrpc_request_wrapper {
            hook_meta: ptr::null_mut(),
            pool,
            evcon: ptr::null_mut(),
            req: ptr::null_mut(),
            timer: std::mem::zeroed(),
            name: CStr::from_ptr(name).to_owned(),
            cb,
            cb_arg,
            request,
            reply,
            request_marshal,
            reply_clear,
            reply_unmarshal,
        }))
    }
}

/// `evrpc_make_request`: begins the call as soon as a connection of its pool is free. 0, or -1 without a pool; the call is
/// the caller's then.
///
/// # Safety
/// The C API's contract: `ctx` came from [`evrpc_make_request_ctx`], and has not been given here before; its pool is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_make_request(ctx: *mut evrpc_request_wrapper) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let pool = (*ctx).pool;
        if pool.is_null() {
            return -1;
        }
        (*pool).waiting.push_back(ctx);
        schedule(pool);
    }
    0
}

/// `evrpc_send_request_generic`: the two above in one.
///
/// # Safety
/// As [`evrpc_make_request_ctx`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_send_request_generic(
    pool: *mut evrpc_pool,
    request: *mut c_void,
    reply: *mut c_void,
    cb: evrpc_reply_cb,
    cb_arg: *mut c_void,
    name: *const c_char,
    request_marshal: Option<unsafe extern "C" fn(*mut evbuffer, *mut c_void)>,
    reply_clear: Option<unsafe extern "C" fn(*mut c_void)>,
    reply_unmarshal: Option<unsafe extern "C" fn(*mut c_void, *mut evbuffer) -> c_int>,
) -> c_int {
    if pool.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        evrpc_make_request(evrpc_make_request_ctx(
            pool,
            request,
            reply,
            name,
            request_marshal,
            reply_clear,
            reply_unmarshal,
            cb,
            cb_arg,
        ))
    }
}

/// `evrpc_request_get_pool`
///
/// # Safety
/// The C API's contract: `ctx` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_request_get_pool(
    ctx: *mut evrpc_request_wrapper,
) -> *mut evrpc_pool {
    // SAFETY: by this function's contract.
    unsafe { (*ctx).pool }
}

/// `evrpc_request_set_pool`: before the call begins.
///
/// # Safety
/// The C API's contract: `ctx` is live, and so is the pool when the call begins.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_request_set_pool(
    ctx: *mut evrpc_request_wrapper,
    pool: *mut evrpc_pool,
) {
    // SAFETY: by this function's contract.
    unsafe { (*ctx).pool = pool };
}

/// `evrpc_request_set_cb`
///
/// # Safety
/// The C API's contract: `ctx` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_request_set_cb(
    ctx: *mut evrpc_request_wrapper,
    cb: evrpc_reply_cb,
    cb_arg: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe {
        (*ctx).cb = cb;
        (*ctx).cb_arg = cb_arg;
    }
}

/// Makes the HTTP request, and sends it if the hooks let it through.
///
/// # Safety
/// `ctx` runs, and its pool is held; `evcon` is free.
pub(super) unsafe fn begin(ctx: *mut evrpc_request_wrapper, evcon: *mut evhttp_connection) {
    // SAFETY: by this function's contract; the functions are the program's, made for each other.
    unsafe {
        let req = evhttp_request_new(Some(on_reply), ctx.cast());
        (*ctx).evcon = evcon;
        (*ctx).req = req;
        if let Some(marshal) = (*ctx).request_marshal {
            marshal((*req).output_buffer, (*ctx).request);
        }
        let pool = (*ctx).pool;
        let hold = Hold::new(pool);
        let hooks = &raw mut (*pool).hooks;
        let result = Hooks::run(hooks, OUTPUT, ctx.cast(), evcon, req, (*req).output_buffer);
        match result {
            _ if hold.is_gone() => {}
            PAUSE => (*hooks).pause(Paused::Asking(ctx)),
            result => send(ctx, result == CONTINUE),
        }
    }
}

/// The output hooks have let a call through, or not.
///
/// # Safety
/// `ctx` is live, and runs.
pub(super) unsafe fn send(ctx: *mut evrpc_request_wrapper, may: bool) {
    // SAFETY: by this function's contract.
    unsafe {
        if !may {
            drop_request(ctx);
            return finish(ctx, UNSTARTED, ptr::null_mut());
        }
        let timeout = (*(*ctx).pool).timeout;
        if timeout > 0 {
            start_timer(ctx, timeout);
        }
        let (evcon, req) = ((*ctx).evcon, (*ctx).req);
        let path = path_of(&(*ctx).name);
        if evhttp_make_request(evcon, req, POST, path.as_ptr()) < 0 {
            (*ctx).req = ptr::null_mut();
            finish(ctx, UNSTARTED, ptr::null_mut());
        }
    }
}

unsafe extern "C" fn on_reply(req: *mut evhttp_request, ctx: *mut c_void) {
    let ctx: *mut evrpc_request_wrapper = ctx.cast();
    // SAFETY: the request is cancelled before the call goes.
    unsafe {
        stop_timer(ctx);
        (*ctx).req = ptr::null_mut();
        if req.is_null() {
            return finish(ctx, TIMEOUT, req);
        }
        let pool = (*ctx).pool;
        let hold = Hold::new(pool);
        let hooks = &raw mut (*pool).hooks;
        let evcon = (*ctx).evcon;
        let result = Hooks::run(hooks, INPUT, ctx.cast(), evcon, req, (*req).input_buffer);
        match result {
            _ if hold.is_gone() => {}
            PAUSE => {
                evhttp_request_own(req);
                (*ctx).req = req;
                (*hooks).pause(Paused::Answered(ctx));
            }
            result => judge(ctx, req, result == CONTINUE),
        }
    }
}

/// The input hooks have let an answer through that they had held, or not.
///
/// # Safety
/// `ctx` is live, and has the answer.
pub(super) unsafe fn answered(ctx: *mut evrpc_request_wrapper, may: bool) {
    // SAFETY: by this function's contract.
    unsafe {
        let req = std::mem::replace(&mut (*ctx).req, ptr::null_mut());
        judge(ctx, req, may);
        evhttp_request_free(req);
    }
}

unsafe fn judge(ctx: *mut evrpc_request_wrapper, req: *mut evhttp_request, may: bool) {
    // SAFETY: the caller's call and request are live; the function is the program's.
    unsafe {
        let error = match (*ctx).reply_unmarshal {
            _ if !may => HOOK_ABORTED,
            Some(unmarshal) if unmarshal((*ctx).reply, (*req).input_buffer) != -1 => NONE,
            _ => BAD_PAYLOAD,
        };
        finish(ctx, error, req);
    }
}

/// The call is over.
unsafe fn finish(ctx: *mut evrpc_request_wrapper, error: c_int, http_req: *mut evhttp_request) {
    // SAFETY: the caller's call is live; nobody knows of it after this. The pool is held over the program's callback.
    unsafe {
        let pool = (*ctx).pool;
        let hold = Hold::new(pool);
        (*pool).running.retain(|&other| other != ctx);
        stop_timer(ctx);
        if let (Some(clear), true) = ((*ctx).reply_clear, error != NONE) {
            clear((*ctx).reply);
        }
        let mut status = evrpc_status { error, http_req };
        if let Some(cb) = (*ctx).cb {
            cb(&raw mut status, (*ctx).request, (*ctx).reply, (*ctx).cb_arg);
        }
        free(ctx);
        if !hold.is_gone() {
            schedule(pool);
        }
    }
}

/// Takes the HTTP request from a call, wherever that is.
///
/// # Safety
/// `ctx` is live. Code of the program's may run.
pub(super) unsafe fn drop_request(ctx: *mut evrpc_request_wrapper) {
    // SAFETY: by this function's contract; a request that it has is live, and its own or its connection's.
    unsafe {
        let req = std::mem::replace(&mut (*ctx).req, ptr::null_mut());
        if !req.is_null() && !(*req).evcon.is_null() {
            evhttp_cancel_request(req);
        } else if !req.is_null() {
            evhttp_request_free(req);
        }
    }
}

/// # Safety
/// `ctx` is in no list, and not used any more.
pub(super) unsafe fn free(ctx: *mut evrpc_request_wrapper) {
    // SAFETY: by this function's contract; it was made by `Box::into_raw`.
    unsafe {
        stop_timer(ctx);
        detach((*ctx).hook_meta);
        drop(Box::from_raw(ctx));
    }
}

unsafe fn start_timer(ctx: *mut evrpc_request_wrapper, seconds: c_int) {
    let timeout = libc::timeval {
        tv_sec: i64::from(seconds),
        tv_usec: 0,
    };
    // SAFETY: the caller's call is live, and its timer not pending; so are its connection and what that is over.
    unsafe {
        let base = bufferevent_get_base(evhttp_connection_get_bufferevent((*ctx).evcon));
        let timer = &raw mut (*ctx).timer;
        event_assign(timer, base, -1, 0, Some(on_timeout), ctx.cast());
        event_add(timer, &timeout);
    }
}

unsafe fn stop_timer(ctx: *mut evrpc_request_wrapper) {
    // SAFETY: the caller's call is live; its timer may never have been assigned.
    unsafe {
        let timer = &raw mut (*ctx).timer;
        if event_initialized(timer) != 0 {
            event_del(timer);
            debug::forget(timer);
            timer.write(std::mem::zeroed());
        }
    }
}

unsafe extern "C" fn on_timeout(_fd: evutil_socket_t, _what: c_short, ctx: *mut c_void) {
    let ctx: *mut evrpc_request_wrapper = ctx.cast();
    // SAFETY: the timer is stopped before the call goes.
    unsafe {
        let hold = Hold::new((*ctx).pool);
        // The connection ends, which the program may hear.
        (*(*ctx).pool).running.retain(|&other| other != ctx);
        drop_request(ctx);
        if hold.is_gone() {
            return free(ctx);
        }
        finish(ctx, TIMEOUT, ptr::null_mut());
    }
}
