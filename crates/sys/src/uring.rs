//! The io_uring driver: epoll, whose changes go to the kernel together.
//!
//! Why it does not ask the ring itself what is ready (`IORING_OP_POLL_ADD`): a request that waits keeps its file open.
//! After `close` the peer would see no end, and a port would stay taken, until the request is cancelled; but a program
//! closes its descriptors by itself, and what it has deleted is taken back from the kernel no sooner than before the
//! next wait. An epoll instance holds no file, tells levels from edges, and refuses what it cannot watch.

use std::fmt;
use std::io;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Ready, Token};
use io_uring::{IoUring, Probe, opcode, types};

use crate::epoll::{Change, Epoll};
use crate::signal::{fork_generation, prepare_for_fork};
use crate::waker::Waker;

/// How many changes go to the kernel at a time.
const ENTRIES: usize = 256;

/// For fewer changes, calls of their own are as fast.
const FEWEST_CHANGES: usize = 4;

/// Readiness by `epoll`, and changes of what is watched by `io_uring`: one system call for all that a pass of the loop
/// has changed, instead of one for each.
pub struct Uring {
    epoll: Epoll,
    /// None once it has failed, and in a forked child, whose ring is its parent's: there is a call for each change then.
    ring: Option<IoUring>,
    /// In which process the ring was made.
    forks: u32,
    /// Whether changes are put off until [`Driver::settle`].
    puts_off: bool,
    changes: Vec<Change>,
    /// What the kernel has said of the change at the same place; none: it has not had it.
    results: Vec<Option<i32>>,
}

impl Uring {
    /// Makes a ring and an epoll instance; `precise` is for [`Epoll::open`].
    ///
    /// # Errors
    /// Those of [`Epoll::open`]; `ENOSYS` of a kernel without `io_uring`, `EPERM` where it is forbidden (the sysctl
    /// `kernel.io_uring_disabled`, or a sandbox), `ENOMEM` where memory may not be locked (before Linux 5.12), and
    /// `Unsupported` before Linux 5.6.
    pub fn open(precise: bool) -> io::Result<Self> {
        prepare_for_fork()?;
        Ok(Self {
            ring: Some(ring()?),
            epoll: Epoll::open(precise)?,
            forks: fork_generation(),
            puts_off: false,
            changes: Vec::new(),
            results: Vec::new(),
        })
    }

    /// As [`open`](Self::open), but works without a ring as well, one call for each change: for a base that had one,
    /// after `fork`.
    ///
    /// # Errors
    /// Those of [`Epoll::open`].
    pub(crate) fn open_again(precise: bool) -> io::Result<Self> {
        Ok(Self {
            ring: ring().ok(),
            epoll: Epoll::open(precise)?,
            forks: fork_generation(),
            puts_off: false,
            changes: Vec::new(),
            results: Vec::new(),
        })
    }

    /// Ends the waits of this driver.
    pub fn waker(&self) -> Waker {
        self.epoll.waker()
    }

    /// A child shares its parent's ring, and must not touch it.
    fn is_forked(&self) -> bool {
        fork_generation() != self.forks
    }

    /// Hands the changes from `first` on to the kernel, as many as go at a time, and waits until all of them are done.
    ///
    /// # Errors
    /// What the ring says when it is of no use any more. The changes that were made have their results.
    fn submit(&mut self, first: usize) -> io::Result<()> {
        let Some(ring) = &mut self.ring else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let group = self.changes.iter().enumerate().skip(first).take(ENTRIES);
        let mut left = 0;
        let mut queue = ring.submission();
        for (place, change) in group {
            let event = (&raw const change.event).cast();
            let epoll = types::Fd(self.epoll.instance());
            let entry = opcode::EpollCtl::new(epoll, types::Fd(change.fd), change.operation, event)
                .build()
                .user_data(place as u64);
            // SAFETY: the kernel reads `event` until it has consumed the entry, and not after (IORING_FEAT_SUBMIT_STABLE,
            // which `ring` has asked for). It consumes entries in the calls below only, during which `changes` stays as it
            // is; those that it leaves go with the ring, which is dropped before `changes` is touched.
            if unsafe { queue.push(&entry) }.is_err() {
                break;
            }
            left += 1;
        }
        drop(queue);
        while left > 0 {
            match ring.submit_and_wait(left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.ring = None;
                    return Err(error);
                }
                _ => {}
            }
            for done in ring.completion() {
                if let Some(result) = self.results.get_mut(done.user_data() as usize) {
                    *result = Some(done.result());
                }
                left = left.saturating_sub(1);
            }
        }
        Ok(())
    }
}

impl Driver for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn features(&self) -> Features {
        self.epoll.features()
    }

    fn now(&self) -> u64 {
        self.epoll.now()
    }

    /// At once: the caller is told of a failure.
    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.epoll.register(token, interest)
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        if !self.puts_off {
            return self.epoll.reregister(token, interest);
        }
        self.changes.push(Change::interest(token, interest));
        Ok(())
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        if !self.puts_off {
            return self.epoll.deregister(fd);
        }
        self.changes.push(Change::removal(fd));
        Ok(())
    }

    fn put_off(&mut self, changes: usize) -> bool {
        if self.is_forked() {
            self.ring = None;
        }
        self.puts_off = changes >= FEWEST_CHANGES && self.ring.is_some();
        self.puts_off
    }

    fn settle(&mut self, refused: &mut Vec<(Fd, io::Error)>) {
        self.puts_off = false;
        self.results.clear();
        self.results.resize(self.changes.len(), None);
        let mut first = 0;
        while first < self.changes.len() && self.submit(first).is_ok() {
            first += ENTRIES;
        }
        for (change, result) in self.changes.iter().zip(&self.results) {
            // What the ring has not had. If it has, and could not say so, nothing is lost by doing it twice.
            let result = result.unwrap_or_else(|| match self.epoll.change(change) {
                Ok(()) => 0,
                Err(error) => error.raw_os_error().map_or(-libc::EIO, |errno| -errno),
            });
            if result < 0 {
                refused.push((change.fd, io::Error::from_raw_os_error(-result)));
            }
        }
        self.changes.clear();
    }

    /// Nothing to do, as with epoll.
    fn closing(&mut self, fd: Fd) {
        self.epoll.closing(fd);
    }

    fn reset(&mut self) -> io::Result<()> {
        self.changes.clear();
        if self.is_forked() {
            self.ring = ring().ok();
            self.forks = fork_generation();
        }
        self.epoll.reset()
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.epoll.wait(timeout, ready)
    }
}

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring")
            .field("epoll", &self.epoll)
            .field("ring", &self.ring.is_some())
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

fn ring() -> io::Result<IoUring> {
    let ring = IoUring::new(ENTRIES as u32)?;
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known)?;
    let able = ring.params().is_feature_submit_stable()
        && ring.params().is_feature_nodrop()
        && known.is_supported(opcode::EpollCtl::CODE);
    if !able {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::socket::{Mode, socket_pair};

    fn opened() -> Option<Uring> {
        Uring::open(false)
            .inspect_err(|error| eprintln!("skipped: io_uring: {error}"))
            .ok()
    }

    /// Watches as many sockets as it takes to put changes off, and asks for all to be watched for writing.
    fn change_many(uring: &mut Uring) -> Vec<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
        let pairs: Vec<_> = (0..FEWEST_CHANGES)
            .map(|_| socket_pair(Mode::default()).expect("descriptors"))
            .collect();
        let token = |fd: &std::os::fd::OwnedFd| Token {
            fd: fd.as_raw_fd(),
            generation: 1,
        };
        for (a, _) in &pairs {
            uring.register(token(a), Interest::READ).expect("added");
        }
        assert!(!uring.put_off(FEWEST_CHANGES - 1));
        assert!(uring.put_off(FEWEST_CHANGES));
        for (a, _) in &pairs {
            uring.reregister(token(a), Interest::WRITE).expect("noted");
        }
        pairs
    }

    fn settled(uring: &mut Uring) -> (usize, usize) {
        let (mut refused, mut ready) = (Vec::new(), Vec::new());
        uring.settle(&mut refused);
        uring
            .wait(Some(Duration::ZERO), &mut ready)
            .expect("a wait");
        (refused.len(), ready.len())
    }

    #[test]
    fn nothing_changes_before_it_is_settled() {
        let Some(mut uring) = opened() else { return };
        let _pairs = change_many(&mut uring);
        let mut ready = Vec::new();
        uring
            .wait(Some(Duration::ZERO), &mut ready)
            .expect("a wait");
        assert_eq!(ready, []);
        assert_eq!(settled(&mut uring), (0, FEWEST_CHANGES));
        assert!(uring.ring.is_some());
    }

    /// A program that closes descriptors that are not its own, and opens others.
    #[test]
    fn a_ring_that_is_no_more_is_done_without() {
        let Some(mut uring) = opened() else { return };
        let _pairs = change_many(&mut uring);
        let (other, _end) = socket_pair(Mode::default()).expect("descriptors");
        let ring = uring.ring.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        // SAFETY: takes no memory; the number is the ring's, which closes it in the end, whatever it is.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), ring) }, ring);
        assert_eq!(settled(&mut uring), (0, FEWEST_CHANGES));
        assert!(uring.ring.is_none());
        assert!(!uring.put_off(FEWEST_CHANGES));
    }

    #[test]
    fn a_child_has_no_ring_until_it_is_reset() {
        let Some(mut uring) = opened() else { return };
        uring.forks = uring.forks.wrapping_sub(1);
        assert!(!uring.put_off(FEWEST_CHANGES));
        assert!(uring.ring.is_none());
        uring.reset().expect("a new instance");
        assert!(uring.put_off(FEWEST_CHANGES));
    }
}
