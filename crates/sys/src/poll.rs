//! The poll driver.

use std::io;
use std::ptr;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Readiness, Ready, Token};

use crate::clock;
use crate::readiness;
use crate::socket;
use crate::waker::Waker;

/// Place of the waker among the polled descriptors.
const WAKER: usize = 0;

/// In the index: this descriptor is not watched. (The waker's place, so no registration has it.)
const NOT_WATCHED: u32 = WAKER as u32;

/// Readiness by `poll`: level-triggered, of any descriptor, O(n) per wait.
///
/// A descriptor that was closed while registered is reported once as [`Readiness::FAILED`] and then forgotten, since
/// poll would go on to report it at every wait; `deregister` then says `ENOENT`, as epoll does.
#[derive(Debug)]
pub struct Poll {
    waker: Waker,
    /// What the kernel is asked; without gaps, the waker first.
    polled: Vec<libc::pollfd>,
    /// Generation of the registration at the same place of `polled`.
    generations: Vec<u32>,
    /// By descriptor: its place in `polled`, or `NOT_WATCHED`.
    places: Vec<u32>,
}

impl Poll {
    /// Makes a driver that watches nothing yet.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`, of the waker's descriptor.
    pub fn open() -> io::Result<Self> {
        let waker = Waker::open()?;
        let mut poll = Self {
            waker,
            polled: Vec::new(),
            generations: Vec::new(),
            places: Vec::new(),
        };
        poll.clear();
        Ok(poll)
    }

    /// Ends the waits of this driver.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn place(&self, fd: Fd) -> Option<usize> {
        let fd = usize::try_from(fd).ok()?;
        let place = *self.places.get(fd)?;
        (place != NOT_WATCHED).then_some(place as usize)
    }

    fn forget(&mut self, place: usize) {
        let gone = self.polled.swap_remove(place);
        self.generations.swap_remove(place);
        self.places[gone.fd as usize] = NOT_WATCHED;
        if let Some(moved) = self.polled.get(place) {
            self.places[moved.fd as usize] = place as u32;
        }
    }

    fn clear(&mut self) {
        self.polled.clear();
        self.generations.clear();
        self.places.clear();
        self.polled.push(libc::pollfd {
            fd: self.waker.fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        self.generations.push(0);
    }
}

impl Driver for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn features(&self) -> Features {
        Features::FDS | Features::EARLY_CLOSE
    }

    fn now(&self) -> u64 {
        clock::monotonic()
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        // Told now rather than at the next wait, as epoll tells it; it also bounds the index by the open descriptors.
        socket::check_open(token.fd)?;
        if self.place(token.fd).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let fd = token.fd as usize;
        if fd >= self.places.len() {
            self.places
                .resize((fd + 1).next_power_of_two(), NOT_WATCHED);
        }
        self.places[fd] = self.polled.len() as u32;
        self.polled.push(libc::pollfd {
            fd: token.fd,
            events: readiness::wanted(interest) as i16,
            revents: 0,
        });
        self.generations.push(token.generation);
        Ok(())
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        let place = self.place(token.fd).ok_or_else(not_watched)?;
        self.polled[place].events = readiness::wanted(interest) as i16;
        self.generations[place] = token.generation;
        Ok(())
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        let place = self.place(fd).ok_or_else(not_watched)?;
        self.forget(place);
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
        // SAFETY: `polled` is valid for reading and writing as many entries as it is long, `limit` is null or a
        // timespec that outlives the call, and there is no signal mask to read.
        let count = unsafe {
            libc::ppoll(
                self.polled.as_mut_ptr(),
                self.polled.len() as libc::nfds_t,
                limit,
                ptr::null(),
            )
        };
        if count < 0 {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            };
        }
        if self.polled[WAKER].revents != 0 {
            self.waker.acknowledge_level();
        }
        let mut left = count as usize - usize::from(self.polled[WAKER].revents != 0);
        // Backwards, because forgetting moves the last entry, which has been looked at then.
        for place in (WAKER + 1..self.polled.len()).rev() {
            if left == 0 {
                break;
            }
            let libc::pollfd { fd, revents, .. } = self.polled[place];
            if revents == 0 {
                continue;
            }
            left -= 1;
            let token = Token {
                fd,
                generation: self.generations[place],
            };
            if revents & libc::POLLNVAL != 0 {
                ready.push(Ready {
                    token,
                    readiness: Readiness::FAILED,
                });
                self.forget(place);
                continue;
            }
            ready.push(Ready {
                token,
                readiness: readiness::reported(i32::from(revents)),
            });
        }
        Ok(())
    }
}

fn not_watched() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}
