//! Unpredictable bytes. They come from the kernel, which needs no seed; libevent's own generator is not rebuilt.

use std::ffi::{c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Read};

use crate::log;

/// `evutil_secure_rng_init`: -1 if there is no source of randomness.
#[unsafe(no_mangle)]
pub extern "C" fn evutil_secure_rng_init() -> c_int {
    if fill(&mut [0; 1]).is_ok() { 0 } else { -1 }
}

/// `evutil_secure_rng_get_bytes`: without any source of randomness this ends the program, since it cannot fail.
///
/// # Safety
/// The C API's contract: `out` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_secure_rng_get_bytes(out: *mut c_void, len: usize) {
    let mut done = 0;
    let mut piece = [0; 256];
    while done < len {
        let n = piece.len().min(len - done);
        random_bytes(&mut piece[..n]);
        // SAFETY: `done + n` is at most `len`, and there is so much room by the C API's contract.
        unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), out.cast::<u8>().add(done), n) };
        done += n;
    }
}

/// `evutil_secure_rng_add_bytes`: does nothing, because the kernel's generator does not depend on what programs add.
#[unsafe(no_mangle)]
pub extern "C" fn evutil_secure_rng_add_bytes(_data: *const c_char, _len: usize) {}

/// `evutil_secure_rng_set_urandom_device_file`: -1, as where libevent too has a generator that reads no file: what
/// comes from the kernel cannot be replaced.
#[unsafe(no_mangle)]
pub extern "C" fn evutil_secure_rng_set_urandom_device_file(_name: *mut c_char) -> c_int {
    -1
}

/// Fills `out`, or ends the program: names must not be looked up with numbers that can be guessed.
pub(crate) fn random_bytes(out: &mut [u8]) {
    if let Err(error) = fill(out) {
        log::fatal(&format!("no source of random bytes: {error}"));
    }
}

fn fill(out: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < out.len() {
        let rest = &mut out[done..];
        // SAFETY: `rest` is writable.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => done += n,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // Out of reach, in a sandbox.
            Err(_) => return File::open("/dev/urandom")?.read_exact(rest),
        }
    }
    Ok(())
}
