//! The BIO that we give to an SSL object: it reads what has come and collects what is to go, both in memory. No
//! function of it makes a system call or touches another object.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr;
use std::slice;
use std::sync::OnceLock;

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::Fd;

use super::api::{self, Api, Bio, BioMethod};

/// The two directions of a session in their encrypted form.
pub(super) struct Wire {
    /// What the peer has sent.
    pub(super) incoming: Buffer,
    /// What is to be sent to the peer.
    pub(super) outgoing: Buffer,
    /// Nothing comes any more: that is the end.
    pub(super) ended: bool,
    /// Nothing comes any more, because the transport has failed.
    pub(super) failed: bool,
    /// The descriptor, as `SSL_get_fd` answers; -1: none.
    pub(super) fd: Fd,
}

impl Wire {
    pub(super) fn new(fd: Fd) -> Self {
        Self {
            incoming: Buffer::new(),
            outgoing: Buffer::new(),
            ended: false,
            failed: false,
            fd,
        }
    }
}

/// A new BIO for `wire`; NULL without memory.
///
/// # Safety
/// `wire` stays where it is and alive until [`detach`].
pub(super) unsafe fn attach(api: &'static Api, wire: *mut Wire, has_descriptor: bool) -> *mut Bio {
    let method = methods(api).0[usize::from(has_descriptor)];
    if method.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the table's functions are OpenSSL's; the method lives for good.
    unsafe {
        let bio = (api.bio_new)(method);
        if !bio.is_null() {
            (api.bio_set_data)(bio, wire.cast());
            (api.bio_set_init)(bio, 1);
        }
        bio
    }
}

/// Takes the wire from a BIO, which from then on transfers nothing.
///
/// # Safety
/// `bio` is alive, and came from [`attach`].
pub(super) unsafe fn detach(api: &Api, bio: *mut Bio) {
    // SAFETY: by this function's contract.
    unsafe { (api.bio_set_data)(bio, ptr::null_mut()) };
}

/// Whether `SSL_get_fd` looks into such a BIO, or not. Made once for the process.
struct Methods([*const BioMethod; 2]);

// SAFETY: a method is not changed any more once it is made.
unsafe impl Send for Methods {}
// SAFETY: as above.
unsafe impl Sync for Methods {}

fn methods(api: &Api) -> &'static Methods {
    static METHODS: OnceLock<Methods> = OnceLock::new();
    METHODS.get_or_init(|| {
        let plain = api::TYPE_SOURCE_SINK;
        Methods([plain, plain | api::TYPE_DESCRIPTOR].map(|kind| {
            // SAFETY: the table's functions are OpenSSL's; the name is a constant string.
            unsafe {
                let index = (api.bio_get_new_index)();
                let method = (api.bio_meth_new)(index | kind, c"ferrevent".as_ptr());
                if !method.is_null() {
                    (api.bio_meth_set_write)(method, write);
                    (api.bio_meth_set_read)(method, read);
                    (api.bio_meth_set_ctrl)(method, control);
                }
                method.cast_const()
            }
        }))
    })
}

/// Runs `f` on the wire of a BIO, if it still has one.
///
/// # Safety
/// `bio` came from [`attach`], and is alive; `f` calls nothing of OpenSSL that transfers.
unsafe fn with_wire<R>(bio: *mut Bio, f: impl FnOnce(&'static Api, &mut Wire) -> R) -> Option<R> {
    let api = api::known()?;
    // SAFETY: between `attach` and `detach` the data is the address of a live wire; nobody borrows it while OpenSSL
    // runs, other than here, and `f` does not come back here.
    let wire = unsafe { (api.bio_get_data)(bio).cast::<Wire>().as_mut() };
    Some(f(api, wire?))
}

unsafe extern "C" fn read(bio: *mut Bio, data: *mut c_char, len: c_int) -> c_int {
    let Ok(room) = usize::try_from(len) else {
        return -1;
    };
    if room == 0 || data.is_null() {
        return 0;
    }
    // SAFETY: OpenSSL calls a BIO's function with that BIO, alive, and room for `len` bytes, which it has initialised
    // or never looks at before it is filled.
    let read = unsafe {
        with_wire(bio, |api, wire| {
            (api.bio_clear_flags)(bio, api::BIO_FLAGS_RETRY);
            let out = slice::from_raw_parts_mut(data.cast::<u8>(), room);
            let copied = wire.incoming.copy_out(0, out);
            wire.incoming.sent(copied);
            if copied == 0 && wire.failed {
                return -1;
            }
            if copied == 0 && !wire.ended {
                (api.bio_set_flags)(bio, api::BIO_FLAGS_RETRY_READ);
                return -1;
            }
            // No more than `len`.
            copied as c_int
        })
    };
    read.unwrap_or(-1)
}

unsafe extern "C" fn write(bio: *mut Bio, data: *const c_char, len: c_int) -> c_int {
    let Ok(size) = usize::try_from(len) else {
        return -1;
    };
    if size == 0 || data.is_null() {
        return 0;
    }
    // SAFETY: OpenSSL calls a BIO's function with that BIO, alive, and `len` bytes to be read.
    let written = unsafe {
        with_wire(bio, |api, wire| {
            (api.bio_clear_flags)(bio, api::BIO_FLAGS_RETRY);
            let data = slice::from_raw_parts(data.cast::<u8>(), size);
            match wire.outgoing.append(data) {
                Ok(()) => len,
                Err(_) => -1,
            }
        })
    };
    written.unwrap_or(-1)
}

unsafe extern "C" fn control(
    bio: *mut Bio,
    command: c_int,
    _number: c_long,
    pointer: *mut c_void,
) -> c_long {
    let count = |n: usize| c_long::try_from(n).unwrap_or(c_long::MAX);
    // SAFETY: OpenSSL calls a BIO's function with that BIO, alive; with `BIO_C_GET_FD` the pointer is NULL or an `int`.
    let answer = unsafe {
        with_wire(bio, |_, wire| match command {
            api::BIO_CTRL_FLUSH | api::BIO_CTRL_DUP | api::BIO_CTRL_SET_CLOSE => 1,
            api::BIO_CTRL_EOF => c_long::from(wire.ended && wire.incoming.is_empty()),
            api::BIO_CTRL_PENDING => count(wire.incoming.len()),
            api::BIO_CTRL_WPENDING => count(wire.outgoing.len()),
            api::BIO_C_GET_FD => {
                if let Some(fd) = pointer.cast::<c_int>().as_mut() {
                    *fd = wire.fd;
                }
                c_long::from(wire.fd)
            }
            _ => 0,
        })
    };
    match command {
        // Without a wire: it goes nowhere, and has a descriptor no more.
        api::BIO_C_GET_FD => answer.unwrap_or(-1),
        _ => answer.unwrap_or(0),
    }
}
