//! The select driver.

use std::io;
use std::os::raw::c_ulong;
use std::ptr;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Readiness, Ready, Token};

use crate::clock;
use crate::socket;
use crate::waker::Waker;

const WORD_BITS: usize = c_ulong::BITS as usize;

/// `select` copies whole sets of this size in some C libraries, so no set is shorter.
const FEWEST_WORDS: usize = libc::FD_SETSIZE / WORD_BITS;

/// Readiness by `select`: level-triggered, of any descriptor, O(highest descriptor) per wait.
///
/// The sets grow with the highest descriptor: the kernel takes sets of any length, only C's `fd_set` ends at 1024.
/// The end of a stream cannot be asked for ([`Interest::CLOSED`] is ignored), and errors show as readable or writable.
///
/// A descriptor that was closed while registered is reported once as [`Readiness::FAILED`] and then forgotten, since
/// select would refuse every wait; `deregister` then says `ENOENT`, as epoll does.
#[derive(Debug)]
pub struct Select {
    waker: Waker,
    /// By descriptor.
    watched: Vec<Option<Watched>>,
    reading: DescriptorSet,
    writing: DescriptorSet,
    /// Copies that the kernel overwrites.
    readable: DescriptorSet,
    writable: DescriptorSet,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    generation: u32,
}

impl Select {
    /// Makes a driver that watches nothing yet.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`, of the waker's descriptor.
    pub fn open() -> io::Result<Self> {
        let mut select = Self {
            waker: Waker::open()?,
            watched: Vec::new(),
            reading: DescriptorSet::default(),
            writing: DescriptorSet::default(),
            readable: DescriptorSet::default(),
            writable: DescriptorSet::default(),
        };
        select.clear();
        Ok(select)
    }

    /// Ends the waits of this driver.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn clear(&mut self) {
        self.watched.clear();
        self.reading = DescriptorSet::default();
        self.writing = DescriptorSet::default();
        self.grow(self.waker.fd() as usize);
        self.reading.set(self.waker.fd() as usize, true);
    }

    /// Makes room for `fd` in all sets.
    fn grow(&mut self, fd: usize) {
        let words = (fd / WORD_BITS + 1).next_power_of_two().max(FEWEST_WORDS);
        if words <= self.reading.0.len() {
            return;
        }
        for set in [
            &mut self.reading,
            &mut self.writing,
            &mut self.readable,
            &mut self.writable,
        ] {
            set.0.resize(words, 0);
        }
    }

    fn watch(&mut self, token: Token, interest: Interest) {
        let fd = token.fd as usize;
        self.watched[fd] = Some(Watched {
            generation: token.generation,
        });
        self.reading.set(fd, interest.contains(Interest::READ));
        self.writing.set(fd, interest.contains(Interest::WRITE));
    }

    fn is_watched(&self, fd: Fd) -> bool {
        usize::try_from(fd).is_ok_and(|fd| matches!(self.watched.get(fd), Some(Some(_))))
    }

    fn forget(&mut self, fd: usize) {
        self.watched[fd] = None;
        self.reading.set(fd, false);
        self.writing.set(fd, false);
        while let Some(None) = self.watched.last() {
            self.watched.pop();
        }
    }

    /// Finds what made the wait fail with `EBADF`.
    fn drop_closed(&mut self, ready: &mut Vec<Ready>) {
        for fd in (0..self.watched.len()).rev() {
            // Forgetting shortens the table when it ends in gaps.
            let Some(&Some(Watched { generation })) = self.watched.get(fd) else {
                continue;
            };
            let token = Token {
                fd: fd as Fd,
                generation,
            };
            if socket::check_open(token.fd).is_err() {
                ready.push(Ready {
                    token,
                    readiness: Readiness::FAILED,
                });
                self.forget(fd);
            }
        }
    }
}

impl Driver for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn features(&self) -> Features {
        Features::FDS
    }

    fn now(&self) -> u64 {
        clock::monotonic()
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        // Told now rather than at the next wait, as epoll tells it; it also bounds the sets by the open descriptors.
        socket::check_open(token.fd)?;
        if self.is_watched(token.fd) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let fd = token.fd as usize;
        self.grow(fd);
        if fd >= self.watched.len() {
            self.watched.resize(fd + 1, None);
        }
        self.watch(token, interest);
        Ok(())
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        if !self.is_watched(token.fd) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        self.watch(token, interest);
        Ok(())
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        if !self.is_watched(fd) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        self.forget(fd as usize);
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.waker.renew()?;
        self.clear();
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = timeout.map(clock::timespec);
        let limit = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        let waker = self.waker.fd() as usize;
        let end = self.watched.len().max(waker + 1);
        self.readable.0.copy_from_slice(&self.reading.0);
        self.writable.0.copy_from_slice(&self.writing.0);
        // SAFETY: both sets hold at least `end` bits (`grow` keeps all sets long enough for every watched descriptor
        // and the waker) and no less than an `fd_set`; their words are those of `fd_set`. `limit` is null or a timespec
        // that outlives the call, and there is no signal mask to read.
        let count = unsafe {
            libc::pselect(
                end as i32,
                self.readable.0.as_mut_ptr().cast(),
                self.writable.0.as_mut_ptr().cast(),
                ptr::null_mut(),
                limit,
                ptr::null(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EINTR) => Ok(()),
                Some(libc::EBADF) => {
                    self.drop_closed(ready);
                    Ok(())
                }
                _ => Err(error),
            };
        }
        if self.readable.has(waker) {
            self.readable.set(waker, false);
            self.waker.acknowledge_level();
        }
        for (index, (&readable, &writable)) in
            self.readable.0.iter().zip(&self.writable.0).enumerate()
        {
            let mut either = readable | writable;
            while either != 0 {
                let bit = either.trailing_zeros() as usize;
                either &= either - 1;
                let fd = index * WORD_BITS + bit;
                let Some(Some(Watched { generation })) = self.watched.get(fd).copied() else {
                    continue;
                };
                let mut readiness = Readiness::empty();
                readiness.set(Readiness::READ, readable >> bit & 1 != 0);
                readiness.set(Readiness::WRITE, writable >> bit & 1 != 0);
                ready.push(Ready {
                    token: Token {
                        fd: fd as Fd,
                        generation,
                    },
                    readiness,
                });
            }
        }
        Ok(())
    }
}

/// One bit per descriptor, in the kernel's layout.
#[derive(Debug, Default)]
struct DescriptorSet(Vec<c_ulong>);

impl DescriptorSet {
    fn set(&mut self, fd: usize, on: bool) {
        let (word, bit) = (&mut self.0[fd / WORD_BITS], 1 << (fd % WORD_BITS));
        if on {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    fn has(&self, fd: usize) -> bool {
        self.0[fd / WORD_BITS] >> (fd % WORD_BITS) & 1 != 0
    }
}
