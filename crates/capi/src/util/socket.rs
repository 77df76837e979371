//! Descriptors and their options. All return 0, or -1 with `errno` set.

use std::ffi::c_int;
use std::io;

use crate::abi::evutil_socket_t;
use crate::log;

/// `evutil_make_socket_nonblocking`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_socket_nonblocking(fd: evutil_socket_t) -> c_int {
    set_flag(
        fd,
        "F_GETFL",
        (libc::F_GETFL, libc::F_SETFL),
        libc::O_NONBLOCK,
    )
}

/// `evutil_make_socket_closeonexec`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_socket_closeonexec(fd: evutil_socket_t) -> c_int {
    set_flag(
        fd,
        "F_GETFD",
        (libc::F_GETFD, libc::F_SETFD),
        libc::FD_CLOEXEC,
    )
}

/// `evutil_make_listen_socket_reuseable`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_listen_socket_reuseable(fd: evutil_socket_t) -> c_int {
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)
}

/// `evutil_make_listen_socket_reuseable_port`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_listen_socket_reuseable_port(fd: evutil_socket_t) -> c_int {
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT)
}

/// `evutil_make_listen_socket_ipv6only`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_listen_socket_ipv6only(fd: evutil_socket_t) -> c_int {
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)
}

/// `evutil_make_tcp_listen_socket_deferred`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_tcp_listen_socket_deferred(fd: evutil_socket_t) -> c_int {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT)
}

/// `evutil_closesocket`
#[unsafe(no_mangle)]
pub extern "C" fn evutil_closesocket(fd: evutil_socket_t) -> c_int {
    // SAFETY: closing is up to the program, whose descriptor it is.
    unsafe { libc::close(fd) }
}

/// `evutil_socketpair`
///
/// # Safety
/// The C API's contract: `pair` has room for two descriptors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_socketpair(
    family: c_int,
    kind: c_int,
    protocol: c_int,
    pair: *mut evutil_socket_t,
) -> c_int {
    // SAFETY: by the C API's contract.
    unsafe { libc::socketpair(family, kind, protocol, pair) }
}

fn set_option(fd: evutil_socket_t, level: c_int, name: c_int) -> c_int {
    let on: c_int = 1;
    // SAFETY: the kernel reads an `int` from `on`, and checks the rest.
    unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    }
}

fn set_flag(fd: evutil_socket_t, what: &str, (get, set): (c_int, c_int), flag: c_int) -> c_int {
    // SAFETY: the kernel checks the descriptor; these commands use no memory.
    let flags = unsafe { libc::fcntl(fd, get) };
    if flags < 0 {
        return warn(fd, what);
    }
    if flags & flag != 0 {
        return 0;
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(fd, set, flags | flag) } < 0 {
        return warn(fd, &what.replace("F_GET", "F_SET"));
    }
    0
}

/// Logs why `fcntl` failed, which leaves `errno` as it is, and gives -1.
fn warn(fd: evutil_socket_t, what: &str) -> c_int {
    let error = io::Error::last_os_error();
    let text = error.to_string();
    // Rust adds the number, which libevent does not.
    let text = text.split(" (os error").next().unwrap_or_default();
    log::warn(&format!("fcntl({fd}, {what}): {text}"));
    if let Some(code) = error.raw_os_error() {
        // SAFETY: the address of this thread's `errno` is always valid.
        unsafe { *libc::__errno_location() = code };
    }
    -1
}
