//! The event bits that epoll and poll share.

use ferrevent_core::driver::{Interest, Readiness};

const _: () = assert!(
    libc::EPOLLIN == libc::POLLIN as i32
        && libc::EPOLLOUT == libc::POLLOUT as i32
        && libc::EPOLLERR == libc::POLLERR as i32
        && libc::EPOLLHUP == libc::POLLHUP as i32
        && libc::EPOLLRDHUP == libc::POLLRDHUP as i32,
    "epoll and poll number their events alike"
);

/// The bits to ask the kernel for.
pub(crate) fn wanted(interest: Interest) -> i32 {
    let mut bits = 0;
    if interest.contains(Interest::READ) {
        bits |= libc::EPOLLIN;
    }
    if interest.contains(Interest::WRITE) {
        bits |= libc::EPOLLOUT;
    }
    if interest.contains(Interest::CLOSED) {
        bits |= libc::EPOLLRDHUP;
    }
    bits
}

/// What the kernel's bits say. A hang-up is a failure only where the end of the stream was not asked for: with
/// `EPOLLRDHUP` it says no more than that both sides are shut down, and reading tells the rest.
#[inline]
pub(crate) fn reported(bits: i32) -> Readiness {
    if bits == libc::EPOLLIN {
        // By far the most frequent.
        return Readiness::READ;
    }
    let mut readiness = Readiness::empty();
    if bits & libc::EPOLLIN != 0 {
        readiness |= Readiness::READ;
    }
    if bits & libc::EPOLLOUT != 0 {
        readiness |= Readiness::WRITE;
    }
    if bits & libc::EPOLLRDHUP != 0 {
        readiness |= Readiness::CLOSED;
    }
    let hung_up = bits & libc::EPOLLHUP != 0 && bits & libc::EPOLLRDHUP == 0;
    if bits & libc::EPOLLERR != 0 || hung_up {
        readiness |= Readiness::FAILED;
    }
    readiness
}
