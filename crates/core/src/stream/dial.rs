//! Connecting to a host that has several addresses, after RFC 8305: the families take turns, an attempt that lasts
//! does not keep the next one waiting for more than [`STAGGER`], and the first connection that stands is the one.
//!
//! [`Dial`] is the rule. The methods of [`Core`] run it for a bufferevent, which counts as connecting from the
//! beginning to the end, so that its write timeout is one deadline for all attempts.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use smallvec::SmallVec;

use super::{Callbacks, Connecting, Side, StreamWork};
use crate::base::{Core, Host, Item, StreamKey, TimerOwner};
use crate::driver::{Connect, Driver, Fd, Kind};
use crate::flags::Dirs;
use crate::stream::Io;
use crate::timer::TimerId;

/// How long an attempt has to itself before the next one begins beside it: what RFC 8305 recommends, in nanoseconds.
const STAGGER: u64 = 250_000_000;

/// How connecting to one of several addresses stands.
#[derive(Debug)]
#[must_use = "the descriptors are the shell's to close"]
pub enum Dialed {
    /// Attempts go on, or the bufferevent does not connect that way.
    Going,
    /// It is connected.
    Stands {
        /// Its descriptor from now on.
        fd: Fd,
        /// Those of the other attempts, to be closed.
        others: SmallVec<[Fd; 4]>,
        /// What to call at once.
        callbacks: Callbacks,
    },
    /// All attempts have failed.
    Failed(
        /// What to call at once.
        Callbacks,
    ),
}

/// The attempts to reach one of several addresses.
#[derive(Debug)]
pub(crate) struct Dial {
    waiting: VecDeque<SocketAddr>,
    running: SmallVec<[Attempt; 2]>,
    stands: Option<Fd>,
    /// From when on the next attempt may begin.
    next_at: u64,
    /// What the last failure was.
    error: i32,
    timer: Option<TimerId>,
    /// Stands in the active queues.
    queued: bool,
}

#[derive(Debug)]
struct Attempt {
    fd: Fd,
    /// Stands in the active queues.
    queued: bool,
}

impl Dial {
    /// The families take turns, beginning with that of the first address.
    fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let mut families: [VecDeque<SocketAddr>; 2] = Default::default();
        let mut first = None;
        for address in addresses {
            let first = *first.get_or_insert(address.is_ipv6());
            families[usize::from(address.is_ipv6() != first)].push_back(address);
        }
        let mut waiting = VecDeque::new();
        while families.iter().any(|family| !family.is_empty()) {
            waiting.extend(families.iter_mut().filter_map(VecDeque::pop_front));
        }
        Self {
            waiting,
            running: SmallVec::new(),
            stands: None,
            next_at: 0,
            error: 0,
            timer: None,
            queued: false,
        }
    }

    /// The address to try now, if it is time for one.
    fn next(&mut self, now: u64) -> Option<SocketAddr> {
        if self.stands.is_some() || now < self.next_at {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.next_at = now.saturating_add(STAGGER);
        Some(address)
    }

    /// When the next attempt is due.
    fn due(&self) -> Option<u64> {
        let more = self.stands.is_none() && !self.waiting.is_empty();
        more.then_some(self.next_at)
    }

    fn begun(&mut self, fd: Fd) {
        self.running.push(Attempt { fd, queued: false });
    }

    /// An attempt has failed, on `fd` if it had got that far; the next one need not wait any longer.
    fn failed(&mut self, fd: Option<Fd>, error: i32) {
        self.running.retain(|attempt| Some(attempt.fd) != fd);
        self.error = error;
        self.next_at = 0;
    }

    /// Whether no attempt runs and none is left.
    fn is_lost(&self) -> bool {
        self.stands.is_none() && self.running.is_empty() && self.waiting.is_empty()
    }
}

impl<H: Host> Core<H> {
    /// Begins to connect to one of several addresses (`bufferevent_socket_connect_hostname`): the loop asks the shell
    /// for [`Io::Dial`]. Until it has ended, the bufferevent has no descriptor, and nothing is read or written.
    ///
    /// The shell closes what [`stop_dialing`](Self::stop_dialing) gives it before.
    pub fn start_dial(&mut self, key: StreamKey, addresses: impl IntoIterator<Item = SocketAddr>) {
        if self.streams.get(key).is_none_or(|stream| stream.freed) {
            return;
        }
        self.detach(key);
        let stream = &mut self.streams[key];
        stream.fd = -1;
        stream.kind = Kind::Stream;
        stream.end_seen = false;
        stream.connecting = Connecting::Started;
        stream.rare.get_or_insert_default().dial = Some(Dial::new(addresses));
        let reads = stream.enabled.contains(Dirs::READ);
        if reads && stream.side(Side::Read).suspended.is_empty() {
            self.arm(key, Side::Read);
        }
        self.arm(key, Side::Write);
        self.queue_dial(key);
    }

    /// The address that the shell is to try now, if it is time for one. It then says
    /// [`attempt_begun`](Self::attempt_begun) or [`attempt_failed`](Self::attempt_failed), and asks again.
    pub fn next_attempt(&mut self, key: StreamKey) -> Option<SocketAddr> {
        let now = self.now;
        self.dial_mut(key)?.next(now)
    }

    /// An attempt has begun on `fd`.
    ///
    /// # Errors
    /// The driver refuses the descriptor, which the shell then closes; the attempt has failed.
    pub fn attempt_begun(
        &mut self,
        key: StreamKey,
        fd: Fd,
        begun: Connect,
        driver: Option<&mut dyn Driver>,
    ) -> io::Result<()> {
        let Some(dial) = self.dial_mut(key) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match begun {
            Connect::Started => dial.begun(fd),
            Connect::Done => {
                dial.stands = Some(fd);
                return Ok(());
            }
            Connect::Refused => {
                let error = io::Error::from_raw_os_error(super::control::ECONNREFUSED);
                self.attempt_failed(key, &error);
                return Err(error);
            }
        }
        let watched = match self.fds.add_attempt(fd, key) {
            Ok(()) => self.update_fd(fd, driver),
            Err(error) => Err(error),
        };
        if let Err(error) = &watched {
            self.fds.remove_attempt(fd, key);
            let number = super::transfer::error_number(error);
            if let Some(dial) = self.dial_mut(key) {
                dial.failed(Some(fd), number);
            }
        }
        watched
    }

    /// An attempt could not even begin.
    pub fn attempt_failed(&mut self, key: StreamKey, error: &io::Error) {
        let number = super::transfer::error_number(error);
        if let Some(dial) = self.dial_mut(key) {
            dial.failed(None, number);
        }
    }

    /// An attempt is said to have ended with `outcome`. Returns whether it has failed: the shell then closes `fd`, and
    /// asks for the [next one](Self::next_attempt).
    pub fn handle_attempt(&mut self, key: StreamKey, fd: Fd, outcome: io::Result<()>) -> bool {
        let Some(dial) = self.dial_mut(key) else {
            return false;
        };
        if !dial.running.iter().any(|attempt| attempt.fd == fd) {
            return false;
        }
        match outcome {
            Ok(()) => {
                dial.stands.get_or_insert(fd);
                false
            }
            Err(error) if super::transfer::is_transient(&error) => false,
            Err(error) => {
                dial.failed(Some(fd), super::transfer::error_number(&error));
                self.fds.remove_attempt(fd, key);
                // A note only, which cannot fail.
                let _ = self.update_fd(fd, None);
                true
            }
        }
    }

    /// What has come of it, after attempts have begun or ended.
    pub fn dialed(&mut self, key: StreamKey) -> Dialed {
        let Some(dial) = self.dial_mut(key) else {
            return Dialed::Going;
        };
        if dial.is_lost() {
            let error = io::Error::from_raw_os_error(dial.error);
            // None is left that could be open.
            let _ = self.stop_dialing(key);
            return Dialed::Failed(self.handle_connected(key, Err(error)));
        }
        let Some(fd) = dial.stands else {
            self.wait_for_next_attempt(key);
            return Dialed::Going;
        };
        let mut others = self.stop_dialing(key);
        others.retain(|other| *other != fd);
        self.streams[key].fd = fd;
        let callbacks = self.handle_connected(key, Ok(()));
        Dialed::Stands {
            fd,
            others,
            callbacks,
        }
    }

    /// Gives up the attempts, if there are any, and returns their descriptors, for the shell to close. To be called
    /// before the bufferevent is freed, connected anew, or given another descriptor.
    #[must_use = "the descriptors are the shell's to close"]
    pub fn stop_dialing(&mut self, key: StreamKey) -> SmallVec<[Fd; 4]> {
        let mut fds = SmallVec::new();
        let dial = self
            .streams
            .get_mut(key)
            .and_then(|stream| stream.take_dial());
        let Some(dial) = dial else {
            return fds;
        };
        if let Some(timer) = dial.timer {
            self.timers.remove(timer);
        }
        for attempt in dial.running {
            self.fds.remove_attempt(attempt.fd, key);
            // A note only, which cannot fail.
            let _ = self.update_fd(attempt.fd, None);
            fds.push(attempt.fd);
        }
        if let Some(fd) = dial.stands
            && !fds.contains(&fd)
        {
            fds.push(fd);
        }
        fds
    }

    /// The driver has reported the descriptor of an attempt.
    pub(crate) fn attempt_ready(&mut self, key: StreamKey, fd: Fd) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let priority = stream.priority;
        let attempts = stream
            .dial_mut()
            .into_iter()
            .flat_map(|dial| &mut dial.running);
        for attempt in attempts.filter(|attempt| attempt.fd == fd && !attempt.queued) {
            attempt.queued = true;
            self.active.push(priority, Item::Attempt(key, fd));
        }
    }

    /// It is time for the next attempt.
    pub(crate) fn expire_dial(&mut self, key: StreamKey) {
        if let Some(dial) = self.dial_mut(key) {
            dial.timer = None;
            self.queue_dial(key);
        }
    }

    pub(crate) fn begin_dial(&mut self, key: StreamKey) -> Option<StreamWork<H::Stream>> {
        let stream = self.streams.get_mut(key)?;
        stream.dial_mut()?.queued = false;
        let cookie = stream.cookie;
        let io = Io::Dial;
        Some(StreamWork { key, cookie, io })
    }

    pub(crate) fn begin_attempt(
        &mut self,
        key: StreamKey,
        fd: Fd,
    ) -> Option<StreamWork<H::Stream>> {
        let stream = self.streams.get_mut(key)?;
        let running = &mut stream.dial_mut()?.running;
        let attempt = running.iter_mut().find(|attempt| attempt.fd == fd)?;
        attempt.queued = false;
        let cookie = stream.cookie;
        let io = Io::FinishAttempt { fd };
        Some(StreamWork { key, cookie, io })
    }

    fn dial_mut(&mut self, key: StreamKey) -> Option<&mut Dial> {
        self.streams.get_mut(key)?.dial_mut()
    }

    fn queue_dial(&mut self, key: StreamKey) {
        let stream = &mut self.streams[key];
        if let Some(dial) = stream.dial_mut().filter(|dial| !dial.queued) {
            dial.queued = true;
            self.active.push(stream.priority, Item::Dial(key));
        }
    }

    fn wait_for_next_attempt(&mut self, key: StreamKey) {
        let Some(dial) = self.streams[key].dial_mut() else {
            return;
        };
        match (dial.timer, dial.due()) {
            (None, Some(due)) => {
                dial.timer = Some(self.timers.insert(due, TimerOwner::Dial(key)));
            }
            (Some(timer), Some(due)) => self.timers.set(timer, due),
            (Some(timer), None) => {
                dial.timer = None;
                self.timers.remove(timer);
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        let parse = |one: &str| match one.strip_prefix('6') {
            Some(n) => format!("[::{n}]:1").parse().unwrap(),
            None => format!("192.0.2.{}:1", &one[1..]).parse().unwrap(),
        };
        text.split(' ').map(parse).collect()
    }

    fn order(text: &str) -> Vec<SocketAddr> {
        let mut dial = Dial::new(addresses(text));
        let mut order = Vec::new();
        for n in 0.. {
            match dial.next(n * STAGGER) {
                Some(address) => order.push(address),
                None => break,
            }
        }
        order
    }

    #[test]
    fn the_families_take_turns_and_the_first_address_stays_the_first() {
        assert_eq!(order("61 62 41 42 43"), addresses("61 41 62 42 43"));
        assert_eq!(order("41 42 61 62 63"), addresses("41 61 42 62 63"));
        assert_eq!(order("41 42"), addresses("41 42"));
    }

    #[test]
    fn an_attempt_has_250_ms_to_itself() {
        let mut dial = Dial::new(addresses("61 41 62"));
        let start = 7_000;
        assert_eq!(dial.next(start), Some(addresses("61")[0]));
        dial.begun(3);
        assert_eq!(dial.next(start), None);
        assert_eq!(dial.due(), Some(start + 250_000_000));
        assert_eq!(dial.next(start + 249_999_999), None);
        assert_eq!(dial.next(start + 250_000_000), Some(addresses("41")[0]));
        dial.begun(4);
        assert_eq!(dial.due(), Some(start + 500_000_000));
        assert!(!dial.is_lost());
    }

    #[test]
    fn a_failure_lets_the_next_one_begin_at_once() {
        let mut dial = Dial::new(addresses("61 41"));
        dial.next(5);
        dial.begun(3);
        dial.failed(Some(3), 111);
        assert_eq!(dial.next(6), Some(addresses("41")[0]));
        dial.failed(None, 101);
        assert!(dial.is_lost());
        assert_eq!(dial.error, 101);
        assert_eq!(dial.due(), None);
    }

    #[test]
    fn nothing_begins_any_more_once_one_stands() {
        let mut dial = Dial::new(addresses("61 41"));
        dial.next(5);
        dial.begun(3);
        dial.stands = Some(3);
        assert_eq!(dial.next(STAGGER * 2), None);
        assert_eq!(dial.due(), None);
        assert!(!dial.is_lost());
    }

    #[test]
    fn nowhere_to_go_is_lost() {
        assert!(Dial::new([]).is_lost());
    }
}
