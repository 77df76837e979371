//! The epoll driver.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Ready, Token};

use crate::clock;
use crate::readiness;
use crate::waker::Waker;

const FEWEST_EVENTS: usize = 32;
const MOST_EVENTS: usize = 4096;

/// Reported of the waker. No registration carries it: its descriptor would be -1.
const WAKER_TOKEN: u64 = u64::MAX;

/// Readiness by `epoll`: level- or edge-triggered, O(1) per event, but not of regular files.
#[derive(Debug)]
pub struct Epoll {
    instance: OwnedFd,
    waker: Waker,
    /// Where the kernel puts its reports; grows while waits fill it.
    events: Vec<libc::epoll_event>,
    precise: bool,
}

impl Epoll {
    /// Makes an instance. With `precise`, timeouts are kept to the nanosecond (`epoll_pwait2`, where the kernel has it)
    /// instead of rounded up to the next millisecond.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, or `ENOSYS` in a sandbox without epoll.
    pub fn open(precise: bool) -> io::Result<Self> {
        let waker = Waker::open()?;
        let instance = instance(&waker)?;
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; FEWEST_EVENTS];
        Ok(Self {
            instance,
            waker,
            events,
            precise,
        })
    }

    /// Ends the waits of this driver.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The instance's descriptor.
    pub(crate) fn instance(&self) -> Fd {
        self.instance.as_raw_fd()
    }

    /// Changes what is watched, at once.
    #[inline]
    pub(crate) fn change(&self, change: &Change) -> io::Result<()> {
        control(&self.instance, change)
    }

    fn wait_millis(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        // SAFETY: `events` is valid for writing as many events as it is long.
        let count = unsafe {
            libc::epoll_wait(
                self.instance.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                clock::millis(timeout),
            )
        };
        interruptible(count.into())
    }

    fn wait_nanos(&mut self, timeout: Duration) -> io::Result<usize> {
        /// The kernel's timespec, which is 64 bits wide on every architecture.
        #[repr(C)]
        struct KernelTimespec {
            secs: i64,
            nanos: i64,
        }
        let timeout = timeout.min(clock::LONGEST_WAIT);
        let spec = KernelTimespec {
            secs: timeout.as_secs() as i64,
            nanos: timeout.subsec_nanos().into(),
        };
        // SAFETY: `events` is valid for writing as many events as it is long, `spec` for reading, and there is no
        // signal mask to read.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.instance.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                &raw const spec,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        interruptible(count)
    }
}

impl Driver for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn features(&self) -> Features {
        Features::EDGE | Features::O1 | Features::EARLY_CLOSE
    }

    fn now(&self) -> u64 {
        clock::monotonic()
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.change(&Change {
            operation: libc::EPOLL_CTL_ADD,
            ..Change::interest(token, interest)
        })
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.change(&Change::interest(token, interest))
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        self.change(&Change::removal(fd))
    }

    /// Nothing to do: the kernel drops the registration along with the file. If another descriptor keeps the file open
    /// (`dup`, `fork`), its reports carry a token that is out of date, and the core resets the driver.
    fn closing(&mut self, _fd: Fd) {}

    fn reset(&mut self) -> io::Result<()> {
        self.waker.renew()?;
        self.instance = instance(&self.waker)?;
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let count = match timeout {
            Some(exact) if self.precise && !exact.is_zero() => match self.wait_nanos(exact) {
                // An older kernel (before 5.11), or a sandbox that does not know the call.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.precise = false;
                    self.wait_millis(timeout)?
                }
                result => result?,
            },
            _ => self.wait_millis(timeout)?,
        };
        if count == 0 {
            return Ok(());
        }
        let mut woken = false;
        ready.extend(self.events[..count].iter().map(|event| {
            // The structure is packed on x86-64: its fields are copied, not borrowed.
            let (bits, data) = (event.events, event.u64);
            woken |= data == WAKER_TOKEN;
            Ready {
                token: unpack(data),
                readiness: readiness::reported(bits as i32),
            }
        }));
        if woken {
            self.waker.acknowledge();
            ready.retain(|report| report.token.fd >= 0);
        }
        if count == self.events.len() && count < MOST_EVENTS {
            self.events
                .resize(count * 2, libc::epoll_event { events: 0, u64: 0 });
        }
        Ok(())
    }
}

fn instance(waker: &Waker) -> io::Result<OwnedFd> {
    // SAFETY: takes no memory.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let instance = unsafe { OwnedFd::from_raw_fd(fd) };
    // Edge-triggered: each write to the event reports anew, and nobody has to read it empty.
    let event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET) as u32,
        u64: WAKER_TOKEN,
    };
    let waker = Change {
        operation: libc::EPOLL_CTL_ADD,
        fd: waker.fd(),
        event,
    };
    control(&instance, &waker)?;
    Ok(instance)
}

/// A change of what is watched, as the kernel takes it.
pub(crate) struct Change {
    pub(crate) operation: i32,
    pub(crate) fd: Fd,
    pub(crate) event: libc::epoll_event,
}

impl Change {
    /// What a descriptor that is watched is watched for from now on.
    #[inline]
    pub(crate) fn interest(token: Token, interest: Interest) -> Self {
        let event = libc::epoll_event {
            events: event_bits(interest),
            u64: pack(token),
        };
        Self {
            operation: libc::EPOLL_CTL_MOD,
            fd: token.fd,
            event,
        }
    }

    #[inline]
    pub(crate) fn removal(fd: Fd) -> Self {
        Self {
            operation: libc::EPOLL_CTL_DEL,
            fd,
            event: libc::epoll_event { events: 0, u64: 0 },
        }
    }
}

fn control(instance: &OwnedFd, change: &Change) -> io::Result<()> {
    let Change {
        operation,
        fd,
        mut event,
    } = *change;
    // SAFETY: `event` is valid for reading; the kernel keeps no pointer to it.
    if unsafe { libc::epoll_ctl(instance.as_raw_fd(), operation, fd, &mut event) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How many events a wait reported; none if a signal cut it short.
fn interruptible(count: i64) -> io::Result<usize> {
    if count >= 0 {
        return Ok(count as usize);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        error => Err(error),
    }
}

fn event_bits(interest: Interest) -> u32 {
    let edge = if interest.contains(Interest::EDGE) {
        libc::EPOLLET
    } else {
        0
    };
    (readiness::wanted(interest) | edge) as u32
}

fn pack(token: Token) -> u64 {
    u64::from(token.fd as u32) | u64::from(token.generation) << 32
}

fn unpack(data: u64) -> Token {
    Token {
        fd: data as u32 as Fd,
        generation: (data >> 32) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for (fd, generation) in [(0, 0), (7, u32::MAX), (Fd::MAX, 1), (1023, 0x8000_0000)] {
            let token = Token { fd, generation };
            assert_eq!(unpack(pack(token)), token);
            assert_ne!(pack(token), WAKER_TOKEN);
        }
    }
}
