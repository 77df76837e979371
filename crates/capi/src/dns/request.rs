//! Requests to a server, and the replies that a program puts together.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use ferrevent_dns::server::{Data, Record, Reply, Request, Section};
use ferrevent_dns::{BadName, Name};
use ferrevent_sys::Address;
use libc::{in_addr, sockaddr};

use super::port::{self, evdns_server_port};
use super::stream::Client;
use crate::memory;

/// A request. Programs see its head (`event2/dns_struct.h`).
#[repr(C)]
pub struct evdns_server_request {
    /// Flags of the header.
    pub flags: c_int,
    /// How many questions there are.
    pub nquestions: c_int,
    /// The questions.
    pub questions: *mut *mut evdns_server_question,
    port: *mut evdns_server_port,
    peer: Peer,
    reply: Reply,
}

/// A question. The name is as long as it is.
#[repr(C)]
pub struct evdns_server_question {
    /// The type of records (`EVDNS_TYPE_...`).
    pub r#type: c_int,
    /// The class.
    pub class: c_int,
    /// The name, with a zero byte behind it.
    pub name: [c_char; 1],
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(evdns_server_request, nquestions) == 4);
    assert!(offset_of!(evdns_server_request, questions) == 8);
    assert!(offset_of!(evdns_server_question, class) == 4);
    assert!(offset_of!(evdns_server_question, name) == 8);
};

/// Who asked, and how long the reply may be.
pub(super) struct Peer {
    address: Address,
    limit: usize,
    /// NULL if it asked by a datagram.
    client: *mut Client,
}

impl Peer {
    pub(super) fn datagram(address: Address, limit: usize) -> Self {
        Self::stream(ptr::null_mut(), address, limit)
    }

    pub(super) fn stream(client: *mut Client, address: Address, limit: usize) -> Self {
        Self {
            address,
            limit,
            client,
        }
    }
}

const TYPE_A: c_int = 1;
const TYPE_CNAME: c_int = 5;
const TYPE_PTR: c_int = 12;
const TYPE_AAAA: c_int = 28;
const CLASS_INET: c_int = 1;

/// The request as programs get it; NULL without memory.
///
/// # Safety
/// `port` is live; the request takes a reference of it over.
pub(super) unsafe fn make(
    port: *mut evdns_server_port,
    peer: Peer,
    request: &Request,
) -> *mut evdns_server_request {
    let mut questions = Vec::with_capacity(request.questions.len());
    for asked in &request.questions {
        // The parser lets no name through that has no text.
        let name = asked.name.to_text().unwrap_or_default();
        let head = std::mem::offset_of!(evdns_server_question, name);
        let question = memory::allocate(head + name.len() + 1).cast::<evdns_server_question>();
        if question.is_null() {
            free_questions(questions);
            return ptr::null_mut();
        }
        // SAFETY: there is room for the head, the name, and a zero byte.
        unsafe {
            (*question).r#type = c_int::from(asked.rtype);
            (*question).class = c_int::from(asked.class);
            let text = (&raw mut (*question).name).cast::<u8>();
            ptr::copy_nonoverlapping(name.as_ptr(), text, name.len());
            text.add(name.len()).write(0);
        }
        questions.push(question);
    }
    let nquestions = questions.len() as c_int;
    let questions = Box::into_raw(questions.into_boxed_slice()).cast();
    Box::into_raw(Box::new(evdns_server_request {
        flags: c_int::from(request.flags),
        nquestions,
        questions,
        port,
        peer,
        reply: Reply::new(request),
    }))
}

fn free_questions(questions: Vec<*mut evdns_server_question>) {
    for question in questions {
        // SAFETY: it came from `allocate`, and nobody else has it.
        unsafe { memory::release(question.cast()) };
    }
}

/// `evdns_server_request_set_flags`: adds flags to the reply's header (`EVDNS_FLAGS_...`).
///
/// # Safety
/// `request` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_set_flags(
    request: *mut evdns_server_request,
    flags: c_int,
) {
    // SAFETY: by this function's contract.
    unsafe {
        (*request).flags |= flags;
        (*request).reply.set_flags(flags as u16);
    }
}

/// `evdns_server_request_add_reply`: adds a record, whose contents are `datalen` bytes, or a name if `is_name` is set. 0;
/// or -1 if a name is none, or there is no such section or length.
///
/// # Safety
/// `request` is live; `name` is a string; `data` has `datalen` bytes, or is a string if `is_name` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_add_reply(
    request: *mut evdns_server_request,
    section: c_int,
    name: *const c_char,
    r#type: c_int,
    class: c_int,
    ttl: c_int,
    datalen: c_int,
    is_name: c_int,
    data: *const c_char,
) -> c_int {
    let section = match section {
        0 => Section::Answer,
        1 => Section::Authority,
        2 => Section::Additional,
        _ => return -1,
    };
    // SAFETY: by this function's contract.
    unsafe {
        let data = if is_name != 0 {
            match name_of(data) {
                Ok(name) => Data::Name(name),
                Err(_) => return -1,
            }
        } else {
            match usize::try_from(datalen) {
                Ok(0) => Data::Bytes(Vec::new()),
                Ok(len) if !data.is_null() => {
                    Data::Bytes(std::slice::from_raw_parts(data.cast::<u8>(), len).to_vec())
                }
                _ => return -1,
            }
        };
        let Ok(owner) = name_of(name) else { return -1 };
        let record = Record {
            owner,
            rtype: r#type as u16,
            class: class as u16,
            ttl: ttl as u32,
            data,
        };
        match (*request).reply.add(section, record) {
            Ok(()) => 0,
            Err(_) => -1,
        }
    }
}

/// A name as programs write it; no name at all is the root's.
unsafe fn name_of(text: *const c_char) -> Result<Name, BadName> {
    if text.is_null() {
        return Err(BadName::Empty);
    }
    // SAFETY: the caller's string.
    let text = unsafe { CStr::from_ptr(text) }.to_bytes();
    if text.is_empty() {
        return Ok(Name::root());
    }
    Name::parse(text)
}

/// `evdns_server_request_add_a_reply`: adds a record for each of `n` IPv4 addresses.
///
/// # Safety
/// `request` is live; `name` is a string; `addrs` has `n` addresses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_add_a_reply(
    request: *mut evdns_server_request,
    name: *const c_char,
    n: c_int,
    addrs: *const c_void,
    ttl: c_int,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { add_addresses(request, name, TYPE_A, n, 4, addrs.cast(), ttl) }
}

/// `evdns_server_request_add_aaaa_reply`: adds a record for each of `n` IPv6 addresses.
///
/// # Safety
/// `request` is live; `name` is a string; `addrs` has `n` addresses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_add_aaaa_reply(
    request: *mut evdns_server_request,
    name: *const c_char,
    n: c_int,
    addrs: *const c_void,
    ttl: c_int,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { add_addresses(request, name, TYPE_AAAA, n, 16, addrs.cast(), ttl) }
}

unsafe fn add_addresses(
    request: *mut evdns_server_request,
    name: *const c_char,
    r#type: c_int,
    n: c_int,
    size: usize,
    addresses: *const c_char,
    ttl: c_int,
) -> c_int {
    let Ok(n) = usize::try_from(n) else { return -1 };
    // SAFETY: the caller's contract.
    unsafe {
        for index in 0..n {
            let address = addresses.add(index * size);
            let len = size as c_int;
            let added = evdns_server_request_add_reply(
                request, 0, name, r#type, CLASS_INET, ttl, len, 0, address,
            );
            if added != 0 {
                return added;
            }
        }
    }
    0
}

/// `evdns_server_request_add_ptr_reply`: adds a name for an address, which is given by `address` or by `inaddr_name`, but
/// not by both.
///
/// # Safety
/// `request` is live; `address` is NULL or readable; `inaddr_name` is NULL or a string; `hostname` is a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_add_ptr_reply(
    request: *mut evdns_server_request,
    address: *mut in_addr,
    inaddr_name: *const c_char,
    hostname: *const c_char,
    ttl: c_int,
) -> c_int {
    if address.is_null() == inaddr_name.is_null() {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe {
        if address.is_null() {
            return evdns_server_request_add_reply(
                request,
                0,
                inaddr_name,
                TYPE_PTR,
                CLASS_INET,
                ttl,
                -1,
                1,
                hostname,
            );
        }
        let [a, b, c, d] = address.cast::<[u8; 4]>().read();
        let name = format!("{d}.{c}.{b}.{a}.in-addr.arpa\0");
        let name = name.as_ptr().cast();
        evdns_server_request_add_reply(request, 0, name, TYPE_PTR, CLASS_INET, ttl, -1, 1, hostname)
    }
}

/// `evdns_server_request_add_cname_reply`: says that `name` is an alias of `cname`.
///
/// # Safety
/// `request` is live; the names are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_add_cname_reply(
    request: *mut evdns_server_request,
    name: *const c_char,
    cname: *const c_char,
    ttl: c_int,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        evdns_server_request_add_reply(request, 0, name, TYPE_CNAME, CLASS_INET, ttl, -1, 1, cname)
    }
}

/// `evdns_server_request_respond`: sends the reply and frees the request. 0; 1 if the reply waits for room; or -1: if
/// `error` is out of range the request stays, otherwise the reply could not be sent.
///
/// # Safety
/// `request` is live; unless `error` is out of range it is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_respond(
    request: *mut evdns_server_request,
    error: c_int,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let limit = (*request).peer.limit;
        let code = u16::try_from(error).unwrap_or(u16::MAX);
        let Some(bytes) = (*request).reply.to_bytes(code, limit) else {
            return -1;
        };
        let (port, client) = ((*request).port, (*request).peer.client);
        let sent = if client.is_null() {
            port::send(port, &(*request).peer.address, bytes)
        } else {
            port::send_on(port, client, &bytes)
        };
        free(request);
        sent
    }
}

/// `evdns_server_request_drop`: frees the request without a reply.
///
/// # Safety
/// `request` is live, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_drop(request: *mut evdns_server_request) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { free(request) };
    0
}

unsafe fn free(request: *mut evdns_server_request) {
    // SAFETY: the caller's request came from `make`, and is not used any more.
    unsafe {
        let request = Box::from_raw(request);
        let count = request.nquestions as usize;
        let questions = ptr::slice_from_raw_parts_mut(request.questions, count);
        free_questions(Box::from_raw(questions).into_vec());
        port::request_done(request.port, request.peer.client);
    }
}

/// `evdns_server_request_get_requesting_addr`: the bytes written to `sa`, or -1 if there is no room for them.
///
/// # Safety
/// `request` is live; `sa` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evdns_server_request_get_requesting_addr(
    request: *mut evdns_server_request,
    sa: *mut sockaddr,
    len: c_int,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        let bytes = (*request).peer.address.as_bytes();
        if usize::try_from(len).unwrap_or(0) < bytes.len() || sa.is_null() {
            return -1;
        }
        ptr::copy_nonoverlapping(bytes.as_ptr(), sa.cast(), bytes.len());
        bytes.len() as c_int
    }
}
