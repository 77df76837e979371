//! What has been read ahead from a descriptor when the session ends before the connection does.
//!
//! A read takes all that the descriptor has, not only the record that is wanted. The program may free the bufferevent
//! and go on with the SSL object, by itself or with another bufferevent. What is left then stands in a BIO of OpenSSL's
//! that gives it out before it reads from the descriptor.

use std::ffi::{c_int, c_long, c_void};
use std::ptr;

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::Fd;

use super::api::{self, Api, Ssl};

/// Puts an SSL object onto its descriptor, with the bytes of `incoming`, which come first.
///
/// # Safety
/// `ssl` is alive.
pub(super) unsafe fn put_back(api: &Api, ssl: *mut Ssl, fd: Fd, incoming: &mut Buffer) {
    // SAFETY: by this function's contract.
    if incoming.is_empty() || !unsafe { stand_before(api, ssl, fd, incoming) } {
        // SAFETY: by this function's contract.
        unsafe { (api.ssl_set_fd)(ssl, fd) };
    }
}

/// False without memory; then nothing has changed, and the connection cannot go on where it was.
unsafe fn stand_before(api: &Api, ssl: *mut Ssl, fd: Fd, incoming: &mut Buffer) -> bool {
    let len = incoming.len();
    let (Some(bytes), Ok(size)) = (incoming.pullup(None), c_long::try_from(len)) else {
        return false;
    };
    // SAFETY: the caller's SSL object is alive. It takes over one reference of each BIO, the chain that is read from
    // its own of the socket; the bytes are copied.
    unsafe {
        let socket = (api.bio_new_socket)(fd, 0);
        let buffer = (api.bio_new)((api.bio_f_buffer)());
        let data = bytes.as_ptr().cast_mut().cast::<c_void>();
        let filled = !socket.is_null()
            && !buffer.is_null()
            && (api.bio_ctrl)(buffer, api::BIO_C_SET_BUFF_READ_DATA, size, data) > 0;
        if !filled {
            for bio in [socket, buffer] {
                if !bio.is_null() {
                    (api.bio_free)(bio);
                }
            }
            return false;
        }
        (api.bio_push)(buffer, socket);
        (api.bio_up_ref)(socket);
        (api.ssl_set_bio)(ssl, buffer, socket);
        true
    }
}

/// Takes what stands before the descriptor of an SSL object, if anything does.
///
/// # Safety
/// `ssl` is alive.
pub(super) unsafe fn take(api: &Api, ssl: *mut Ssl, incoming: &mut Buffer) {
    // SAFETY: by this function's contract; a BIO is asked for no more than it says that it has, so that it does not
    // turn to the descriptor.
    unsafe {
        let bio = (api.ssl_get_rbio)(ssl);
        if bio.is_null() || (api.bio_method_type)(bio) != api::TYPE_BUFFER {
            return;
        }
        let pending = (api.bio_ctrl)(bio, api::BIO_CTRL_PENDING, 0, ptr::null_mut());
        let (Ok(room), Ok(size)) = (usize::try_from(pending), c_int::try_from(pending)) else {
            return;
        };
        let mut bytes = vec![0u8; room];
        let read = (api.bio_read)(bio, bytes.as_mut_ptr().cast(), size);
        bytes.truncate(usize::try_from(read).unwrap_or(0));
        // The buffer is new and empty, and the bytes are few.
        let _ = incoming.append(&bytes);
    }
}
