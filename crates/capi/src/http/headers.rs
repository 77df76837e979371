//! Lists of names and values (`event2/keyvalq_struct.h`): headers, and queries.
//!
//! The program allocates the list, may walk it with the macros of `sys/queue.h`, and may change the strings in it; so
//! no reference to any of it is kept.

use std::ffi::{c_char, c_int};
use std::marker::PhantomData;
use std::ptr;

use ferrevent_http::{Uri, header, query};

use super::bytes;
use crate::abi::{evkeyval, evkeyval_entry, evkeyvalq};
use crate::memory;

/// `evhttp_find_header`: the value of the first header of that name, in any case of letters, or NULL.
///
/// # Safety
/// The C API's contract: `headers` is a list, `key` is NULL or a string. NULL finds nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_find_header(
    headers: *const evkeyvalq,
    key: *const c_char,
) -> *const c_char {
    // SAFETY: by this function's contract; what is found is a member of the list.
    unsafe {
        match find(headers, key) {
            Some(found) => (*found).value,
            None => ptr::null(),
        }
    }
}

/// `evhttp_remove_header`: the first header of that name; -1 if there is none.
///
/// # Safety
/// The C API's contract: `headers` is a list, `key` is NULL or a string. NULL finds nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_remove_header(
    headers: *mut evkeyvalq,
    key: *const c_char,
) -> c_int {
    // SAFETY: by this function's contract; what is found is a member of the list.
    unsafe {
        let Some(found) = find(headers, key) else {
            return -1;
        };
        remove(headers, found);
    }
    0
}

/// `evhttp_add_header`: -1 for a name or a value that no header can have.
///
/// # Safety
/// The C API's contract: `headers` is a list, `key` and `value` are NULL or strings. NULL gives -1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_add_header(
    headers: *mut evkeyvalq,
    key: *const c_char,
    value: *const c_char,
) -> c_int {
    // SAFETY: by this function's contract.
    let (Some(key), Some(value)) = (unsafe { (bytes(key), bytes(value)) }) else {
        return -1;
    };
    if !header::is_name(key) || !header::is_value(value) {
        return -1;
    }
    // SAFETY: by this function's contract.
    unsafe { add(headers, key, value) }
}

/// `evhttp_clear_headers`
///
/// # Safety
/// The C API's contract: `headers` is NULL or a list. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_clear_headers(headers: *mut evkeyvalq) {
    if headers.is_null() {
        return;
    }
    // SAFETY: by this function's contract; the first one is a member until it is removed.
    unsafe {
        while !(*headers).tqh_first.is_null() {
            remove(headers, (*headers).tqh_first);
        }
    }
}

/// `evhttp_parse_query`: of a whole URI.
///
/// # Safety
/// As [`evhttp_parse_query_str`], and `uri` is NULL or a string. NULL gives -1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_parse_query(uri: *const c_char, headers: *mut evkeyvalq) -> c_int {
    // SAFETY: by this function's contract.
    let uri = unsafe {
        initialise(headers);
        bytes(uri)
    };
    let Some(Ok(uri)) = uri.map(Uri::parse) else {
        return -1;
    };
    // SAFETY: the list is there, and empty.
    unsafe { add_query(headers, uri.query().unwrap_or_default()) }
}

/// `evhttp_parse_query_str`: of what is behind the `?`. Whatever was in the list is forgotten, not freed: it may be
/// memory that was never initialised. After a failure the list is empty.
///
/// # Safety
/// The C API's contract: `headers` is memory for a list, `text` is NULL or a string. NULL is as an empty one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evhttp_parse_query_str(
    text: *const c_char,
    headers: *mut evkeyvalq,
) -> c_int {
    // SAFETY: by this function's contract.
    unsafe {
        initialise(headers);
        add_query(headers, bytes(text).unwrap_or_default())
    }
}

/// Adds the pairs of a query, or nothing.
///
/// # Safety
/// `headers` is a list that is empty.
unsafe fn add_query(headers: *mut evkeyvalq, text: &[u8]) -> c_int {
    let Ok(pairs) = query::parse(text) else {
        return -1;
    };
    for pair in pairs {
        // SAFETY: it is a list.
        unsafe {
            if add(headers, pair.name, &pair.value) < 0 {
                evhttp_clear_headers(headers);
                return -1;
            }
        }
    }
    0
}

/// The names and values of a list, as they are now.
#[derive(Clone)]
pub(super) struct Pairs<'a> {
    next: *const evkeyval,
    list: PhantomData<&'a evkeyvalq>,
}

impl Pairs<'_> {
    /// # Safety
    /// `headers` is a list that neither changes nor ends while the result is used.
    pub(super) unsafe fn of(headers: *const evkeyvalq) -> Self {
        // SAFETY: by this function's contract.
        let next = unsafe { (*headers).tqh_first };
        let list = PhantomData;
        Self { next, list }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: a member of the list, or NULL at its end; by the contract of `of` all of them stay as they are. What
        // the program has put in without a name or a value counts as empty.
        unsafe {
            let entry = self.next.as_ref()?;
            self.next = entry.next.tqe_next;
            let (name, value) = (bytes(entry.key), bytes(entry.value));
            Some((name.unwrap_or_default(), value.unwrap_or_default()))
        }
    }
}

/// `TAILQ_INIT`
///
/// # Safety
/// `headers` is memory for a list.
pub(super) unsafe fn initialise(headers: *mut evkeyvalq) {
    // SAFETY: by this function's contract there is room; what is there may not have been initialised, so nothing of
    // it is read.
    unsafe {
        headers.write(evkeyvalq {
            tqh_first: ptr::null_mut(),
            tqh_last: &raw mut (*headers).tqh_first,
        });
    }
}

/// The first one of that name.
///
/// # Safety
/// `headers` is NULL or a list, `key` is NULL or a string.
unsafe fn find(headers: *const evkeyvalq, key: *const c_char) -> Option<*mut evkeyval> {
    // SAFETY: by this function's contract; nobody changes the list while this walks it.
    unsafe {
        let key = bytes(key)?;
        let mut next = headers.as_ref()?.tqh_first;
        while !next.is_null() {
            if bytes((*next).key).is_some_and(|other| other.eq_ignore_ascii_case(key)) {
                return Some(next);
            }
            next = (*next).next.tqe_next;
        }
    }
    None
}

/// `TAILQ_INSERT_TAIL`; -1 without memory. There is no zero byte in either.
///
/// # Safety
/// `headers` is NULL or a list.
pub(super) unsafe fn add(headers: *mut evkeyvalq, key: &[u8], value: &[u8]) -> c_int {
    let entry = memory::allocate(size_of::<evkeyval>()).cast::<evkeyval>();
    let (key, value) = (memory::string(key), memory::string(value));
    if [entry.cast(), key, value].iter().any(|part| part.is_null()) || headers.is_null() {
        // SAFETY: each is NULL or has just been allocated, and is nowhere else.
        unsafe {
            memory::release(entry.cast());
            memory::release(key.cast());
            memory::release(value.cast());
        }
        return -1;
    }
    // SAFETY: the entry is memory of its size; in a list `tqh_last` is where the next one is to be linked.
    unsafe {
        let next = evkeyval_entry {
            tqe_next: ptr::null_mut(),
            tqe_prev: (*headers).tqh_last,
        };
        entry.write(evkeyval { next, key, value });
        *(*headers).tqh_last = entry;
        (*headers).tqh_last = &raw mut (*entry).next.tqe_next;
    }
    0
}

/// `TAILQ_REMOVE`, and frees it.
///
/// # Safety
/// `entry` is in the list `headers`, and nobody uses it or its strings any more.
unsafe fn remove(headers: *mut evkeyvalq, entry: *mut evkeyval) {
    // SAFETY: by this function's contract; all of it was allocated by `add`, or by the program for this library to free.
    unsafe {
        let evkeyval_entry { tqe_next, tqe_prev } = ptr::read(&raw const (*entry).next);
        match tqe_next.is_null() {
            true => (*headers).tqh_last = tqe_prev,
            false => (*tqe_next).next.tqe_prev = tqe_prev,
        }
        *tqe_prev = tqe_next;
        memory::release((*entry).key.cast());
        memory::release((*entry).value.cast());
        memory::release(entry.cast());
    }
}
