//! Functions that others call.
//!
//! A call belongs to the program from its callback until [`evrpc_request_done`], which it may say at any time. The
//! functions stay until the last call is over, whatever becomes of their registration.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use super::{CONTINUE, Hooks, INPUT, PAUSE, Paused, detach, evrpc_hook_meta};
use crate::abi::evhttp_request;
use crate::buffer::content::evbuffer_get_length;
use crate::buffer::{evbuffer, evbuffer_free, evbuffer_new};
use crate::http::evhttp;
use crate::http::headers::{evhttp_add_header, evhttp_find_header};
use crate::http::server::{evhttp_del_cb, evhttp_send_error, evhttp_send_reply, evhttp_set_cb};
use crate::memory;

/// `EVHTTP_REQ_POST`
pub(super) const POST: c_int = 2;
/// `EVRPC_OUTPUT`
const OUTPUT: c_int = 1;
const OK: c_int = 200;
const UNAVAILABLE: c_int = 503;

/// `struct evrpc_base`
#[repr(C)]
pub struct evrpc_base {
    hooks: Hooks,
    http: *mut evhttp,
    functions: Vec<*mut Function>,
}

/// A function that is registered, or has calls.
struct Function {
    rpc: *mut evrpc,
    name: CString,
    /// NULL once it is not registered any more.
    base: *mut evrpc_base,
    /// How many calls there are.
    calls: usize,
}

/// `struct evrpc`
#[repr(C)]
pub struct evrpc {
    next: [usize; 2],
    /// Its name.
    pub uri: *const c_char,
    request_new: Option<unsafe extern "C" fn(*mut c_void) -> *mut c_void>,
    request_new_arg: *mut c_void,
    request_free: Option<unsafe extern "C" fn(*mut c_void)>,
    request_unmarshal: Option<unsafe extern "C" fn(*mut c_void, *mut evbuffer) -> c_int>,
    reply_new: Option<unsafe extern "C" fn(*mut c_void) -> *mut c_void>,
    reply_new_arg: *mut c_void,
    reply_free: Option<unsafe extern "C" fn(*mut c_void)>,
    reply_complete: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    reply_marshal: Option<unsafe extern "C" fn(*mut evbuffer, *mut c_void)>,
    cb: evrpc_cb,
    cb_arg: *mut c_void,
    base: *mut evrpc_base,
}

const _: () = assert!(size_of::<evrpc>() == 15 * 8);

/// What is called for each call.
pub type evrpc_cb = Option<unsafe extern "C" fn(*mut evrpc_req_generic, *mut c_void)>;

/// A call. Programs see the first six fields (`EVRPC_HEADER`).
#[repr(C)]
pub struct evrpc_req_generic {
    hook_meta: *mut evrpc_hook_meta,
    request: *mut c_void,
    reply: *mut c_void,
    rpc: *mut evrpc,
    http_req: *mut evhttp_request,
    rpc_data: *mut evbuffer,
    function: *mut Function,
}

/// `evrpc_init`
///
/// # Safety
/// The C API's contract: `http` is live, and is freed after the base.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_init(http: *mut evhttp) -> *mut evrpc_base {
    Box::into_raw(Box::new(evrpc_base {
        hooks: Hooks::default(),
        http,
        functions: Vec::new(),
    }))
}

/// `evrpc_free`: with its hooks and registrations. Calls that hooks hold are refused; those that the program has are its
/// own to end.
///
/// # Safety
/// The C API's contract: `base` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_free(base: *mut evrpc_base) {
    // SAFETY: by this function's contract; it was made by `Box::into_raw`.
    unsafe {
        while let Some(&function) = (*base).functions.last() {
            unregister(function);
        }
        for call in (*base).hooks.take_paused() {
            call.go_on(false);
        }
        if (*base).hooks.end() {
            drop(Box::from_raw(base));
        }
    }
}

/// `evrpc_register_rpc`: -1 if there is a function of that name. `rpc` and its name are freed with the registration.
///
/// # Safety
/// The C API's contract: `base` is live; `rpc` has all functions, was allocated as the library allocates, and so was its
/// name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_register_rpc(
    base: *mut evrpc_base,
    rpc: *mut evrpc,
    cb: evrpc_cb,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let name = CStr::from_ptr((*rpc).uri).to_owned();
        let path = path_of(&name);
        let function = Box::into_raw(Box::new(Function {
            rpc,
            name,
            base,
            calls: 0,
        }));
        if evhttp_set_cb(
            (*base).http,
            path.as_ptr(),
            Some(on_request),
            function.cast(),
        ) < 0
        {
            drop(Box::from_raw(function));
            return -1;
        }
        (*rpc).cb = cb;
        (*rpc).cb_arg = arg;
        (*rpc).base = base;
        (*base).functions.push(function);
    }
    0
}

/// `evrpc_register_generic`: -1 if there is a function of that name.
///
/// # Safety
/// The C API's contract: `base` is live, `name` is a string; none of the functions is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_register_generic(
    base: *mut evrpc_base,
    name: *const c_char,
    cb: evrpc_cb,
    arg: *mut c_void,
    request_new: Option<unsafe extern "C" fn(*mut c_void) -> *mut c_void>,
    request_new_arg: *mut c_void,
    request_free: Option<unsafe extern "C" fn(*mut c_void)>,
    request_unmarshal: Option<unsafe extern "C" fn(*mut c_void, *mut evbuffer) -> c_int>,
    reply_new: Option<unsafe extern "C" fn(*mut c_void) -> *mut c_void>,
    reply_new_arg: *mut c_void,
    reply_free: Option<unsafe extern "C" fn(*mut c_void)>,
    reply_complete: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    reply_marshal: Option<unsafe extern "C" fn(*mut evbuffer, *mut c_void)>,
) -> c_int {
    let rpc = memory::allocate(size_of::<evrpc>()).cast::<evrpc>();
    // SAFETY: by this function's contract; the memory is of that size.
    unsafe {
        let uri = memory::string(CStr::from_ptr(name).to_bytes());
        if rpc.is_null() || uri.is_null() {
            memory::release(rpc.cast());
            memory::release(uri.cast());
            return -1;
        }
        rpc.write(evrpc {
            next: [0; 2],
            uri,
            request_new,
            request_new_arg,
            request_free,
            request_unmarshal,
            reply_new,
            reply_new_arg,
            reply_free,
            reply_complete,
            reply_marshal,
            cb: None,
            cb_arg: ptr::null_mut(),
            base: ptr::null_mut(),
        });
        if evrpc_register_rpc(base, rpc, cb, arg) < 0 {
            free_rpc(rpc);
            return -1;
        }
    }
    0
}

/// `evrpc_unregister_rpc`: -1 if there is none of that name.
///
/// # Safety
/// The C API's contract: `base` is live, `name` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_unregister_rpc(base: *mut evrpc_base, name: *const c_char) -> c_int {
    // SAFETY: by this function's contract; a function in the list is live.
    unsafe {
        let name = CStr::from_ptr(name);
        let functions = &(*base).functions;
        let found = functions
            .iter()
            .find(|&&function| *(*function).name == *name);
        let Some(&function) = found else { return -1 };
        unregister(function);
    }
    0
}

unsafe fn unregister(function: *mut Function) {
    // SAFETY: the caller's function is registered.
    unsafe {
        let base = (*function).base;
        evhttp_del_cb((*base).http, path_of(&(*function).name).as_ptr());
        (*base).functions.retain(|&other| other != function);
        (*function).base = ptr::null_mut();
        free_unused(function);
    }
}

unsafe fn free_unused(function: *mut Function) {
    // SAFETY: the caller's function is live; without a registration and calls nobody knows of it.
    unsafe {
        if (*function).base.is_null() && (*function).calls == 0 {
            free_rpc((*function).rpc);
            drop(Box::from_raw(function));
        }
    }
}

unsafe fn free_rpc(rpc: *mut evrpc) {
    // SAFETY: the caller's struct and its name were allocated as the library allocates.
    unsafe {
        memory::release((*rpc).uri.cast_mut().cast());
        memory::release(rpc.cast());
    }
}

/// Where a function is asked for.
pub(super) fn path_of(name: &CStr) -> CString {
    let path = [b"/.rpc.", name.to_bytes()].concat();
    // There is no zero byte in it.
    CString::new(path).unwrap_or_default()
}

unsafe extern "C" fn on_request(req: *mut evhttp_request, function: *mut c_void) {
    let function: *mut Function = function.cast();
    // SAFETY: the path is taken away before the function goes; the request is the server's, and lives until it is
    // answered.
    unsafe {
        if (*req).type_ != POST || evbuffer_get_length((*req).input_buffer) == 0 {
            return evhttp_send_error(req, UNAVAILABLE, ptr::null());
        }
        (*function).calls += 1;
        let call = Box::into_raw(Box::new(evrpc_req_generic {
            hook_meta: ptr::null_mut(),
            request: ptr::null_mut(),
            reply: ptr::null_mut(),
            rpc: (*function).rpc,
            http_req: req,
            rpc_data: ptr::null_mut(),
            function,
        }));
        run_hooks(call, INPUT, (*req).input_buffer, Paused::Received(call));
    }
}

/// Runs the hooks, and goes on unless one holds the call.
unsafe fn run_hooks(
    call: *mut evrpc_req_generic,
    way: c_int,
    bytes: *mut evbuffer,
    paused: Paused,
) {
    // SAFETY: the caller's call is live, which a base that is freed in a hook does not change; the memory of that stays
    // until its hooks have returned.
    unsafe {
        let base = (*(*call).function).base;
        if base.is_null() {
            return paused.go_on(true);
        }
        let req = (*call).http_req;
        let hooks = &raw mut (*base).hooks;
        let result = Hooks::run(hooks, way, call.cast(), (*req).evcon, req, bytes);
        if (*hooks).gone {
            if (*hooks).running == 0 {
                drop(Box::from_raw(base));
            }
            return paused.go_on(false);
        }
        match result {
            PAUSE => (*hooks).pause(paused),
            result => paused.go_on(result == CONTINUE),
        }
    }
}

/// The input hooks have let a call through, or not.
///
/// # Safety
/// `call` is live, and in no list.
pub(super) unsafe fn received(call: *mut evrpc_req_generic, may: bool) {
    // SAFETY: by this function's contract. What the program's functions make is only handed to its others.
    unsafe {
        let rpc = (*call).rpc;
        if !may || !unmarshal(call) {
            return refuse(call);
        }
        match (*rpc).cb {
            Some(cb) => cb(call, (*rpc).cb_arg),
            None => refuse(call),
        }
    }
}

unsafe fn unmarshal(call: *mut evrpc_req_generic) -> bool {
    // SAFETY: the caller's call is live; the functions are the program's, and made for each other.
    unsafe {
        let rpc = (*call).rpc;
        let (Some(request_new), Some(reply_new), Some(request_unmarshal)) = (
            (*rpc).request_new,
            (*rpc).reply_new,
            (*rpc).request_unmarshal,
        ) else {
            return false;
        };
        (*call).request = request_new((*rpc).request_new_arg);
        (*call).reply = reply_new((*rpc).reply_new_arg);
        !(*call).request.is_null()
            && !(*call).reply.is_null()
            && request_unmarshal((*call).request, (*(*call).http_req).input_buffer) != -1
    }
}

/// `evrpc_request_done`: sends the reply, or an error if it is not complete. The call is gone then.
///
/// # Safety
/// The C API's contract: `call` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_request_done(call: *mut evrpc_req_generic) {
    // SAFETY: by this function's contract; the functions are the program's, and made for each other.
    unsafe {
        let rpc = (*call).rpc;
        let (Some(complete), Some(marshal)) = ((*rpc).reply_complete, (*rpc).reply_marshal) else {
            return refuse(call);
        };
        if complete((*call).reply) == -1 {
            return refuse(call);
        }
        (*call).rpc_data = evbuffer_new();
        marshal((*call).rpc_data, (*call).reply);
        run_hooks(call, OUTPUT, (*call).rpc_data, Paused::Replying(call));
    }
}

/// The output hooks have let a reply through, or not.
///
/// # Safety
/// `call` is live, and in no list.
pub(super) unsafe fn reply(call: *mut evrpc_req_generic, may: bool) {
    // SAFETY: by this function's contract.
    unsafe {
        if !may {
            return refuse(call);
        }
        let req = (*call).http_req;
        let headers = (*req).output_headers;
        let content_type = c"Content-Type".as_ptr();
        if evhttp_find_header(headers, content_type).is_null() {
            evhttp_add_header(headers, content_type, c"application/octet-stream".as_ptr());
        }
        evhttp_send_reply(req, OK, c"OK".as_ptr(), (*call).rpc_data);
        free(call);
    }
}

unsafe fn refuse(call: *mut evrpc_req_generic) {
    // SAFETY: the caller's call is live, and not used any more.
    unsafe {
        evhttp_send_error((*call).http_req, UNAVAILABLE, ptr::null());
        free(call);
    }
}

unsafe fn free(call: *mut evrpc_req_generic) {
    // SAFETY: the caller's call is live, and not used any more; its parts are the program's, made by its functions.
    unsafe {
        let rpc = (*call).rpc;
        if let (Some(request_free), false) = ((*rpc).request_free, (*call).request.is_null()) {
            request_free((*call).request);
        }
        if let (Some(reply_free), false) = ((*rpc).reply_free, (*call).reply.is_null()) {
            reply_free((*call).reply);
        }
        if !(*call).rpc_data.is_null() {
            evbuffer_free((*call).rpc_data);
        }
        detach((*call).hook_meta);
        let function = (*call).function;
        (*function).calls -= 1;
        free_unused(function);
        drop(Box::from_raw(call));
    }
}

/// `evrpc_get_request`
///
/// # Safety
/// The C API's contract: `call` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_get_request(call: *mut evrpc_req_generic) -> *mut c_void {
    // SAFETY: by this function's contract.
    unsafe { (*call).request }
}

/// `evrpc_get_reply`
///
/// # Safety
/// The C API's contract: `call` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evrpc_get_reply(call: *mut evrpc_req_generic) -> *mut c_void {
    // SAFETY: by this function's contract.
    unsafe { (*call).reply }
}
