//! Waking a wait from another thread or from a signal handler.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ferrevent_core::driver::Fd;
use ferrevent_threads::Notice;

/// Makes the wait of one driver return. Clones share one event descriptor, which lives as long as the last of them.
///
/// A wake-up is never lost: made while nobody waits, it ends the next wait.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    /// Whether a wake-up has been written that the driver has not seen yet.
    notice: Notice<AtomicBool>,
}

impl Waker {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            event: eventfd()?,
            notice: Notice::new(),
        })))
    }

    /// Ends the current wait of the driver, or else the next one. Async-signal-safe, but may change `errno`.
    pub fn wake(&self) {
        self.0.notice.announce(|| signal(self.fd()));
    }

    /// The event descriptor's number: the same for the lifetime of the waker, also over [`Waker::renew`].
    pub(crate) fn fd(&self) -> Fd {
        self.0.event.as_raw_fd()
    }

    /// The driver has seen the wake-up, and its edge is used up.
    pub(crate) fn acknowledge(&self) {
        self.0.notice.seen();
    }

    /// As [`Waker::acknowledge`], for drivers that see levels.
    pub(crate) fn acknowledge_level(&self) {
        self.0.notice.seen_level(|| {
            let mut count = [0u8; 8];
            // SAFETY: `count` is valid for writing eight bytes. The descriptor does not block; that it had nothing to
            // read is as good an answer as the count, so the result does not matter.
            unsafe { libc::read(self.fd(), count.as_mut_ptr().cast(), count.len()) };
        });
    }

    /// Puts a new event in the place of the old one, under the same number, so that a forked child no longer shares
    /// it with its parent. The next wait returns at once, for a wake-up might have been lost in between.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let fresh = eventfd()?;
        loop {
            // SAFETY: both numbers are open descriptors that this process owns; no memory is involved.
            if unsafe { libc::dup3(fresh.as_raw_fd(), self.fd(), libc::O_CLOEXEC) } >= 0 {
                break;
            }
            let error = io::Error::last_os_error();
            // EBUSY is Linux's answer to a race with another thread's open().
            if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) {
                return Err(error);
            }
        }
        self.0.notice.sent();
        signal(self.fd());
        Ok(())
    }
}

/// Counts the event descriptor up. Async-signal-safe, but may change `errno`.
pub(crate) fn signal(event: Fd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: `one` is valid for reading eight bytes. The write fails only when the counter is full (it is readable
    // then, which is all that was wanted) or when the program has closed a descriptor that is not its own.
    unsafe { libc::write(event, one.as_ptr().cast(), one.len()) };
}

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes no memory.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
