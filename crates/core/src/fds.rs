//! Who waits on which descriptor, and what the driver was told of it.
//!
//! A first registration is made at once, so that its error reaches the caller; every later change is noted and applied
//! before the next wait, as one system call at most. Deleting and adding again within a pass must not be taken for "no
//! change": the number may have been closed and given to another file meanwhile. So such a descriptor is registered
//! again ([`FdEntry::recheck`]), and one that turns out to be unknown to the driver is registered as new.

use std::io;

use smallvec::SmallVec;

use crate::driver::{Driver, Fd, Interest, Token};
use crate::{EventKey, StreamKey};

/// Numbers above are refused, since the table is as long as its largest number; Linux's own default limit is 2^20.
const MAX_FD: Fd = 1 << 21;

/// Who waits on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Event(EventKey),
    Stream(StreamKey),
    /// One of several connection attempts of a bufferevent, which waits for writability.
    Attempt(StreamKey),
}

#[derive(Debug, Default)]
pub(crate) struct FdEntry {
    /// In the order in which they came; reports are handed out in the opposite one.
    pub(crate) users: SmallVec<[User; 2]>,
    /// How many events among them wait for each condition, so that many on one descriptor cost no walk.
    wants: Wants,
    /// What the driver waits for; empty: not registered.
    registered: Interest,
    generation: u32,
    dirty: bool,
    /// The last user had gone: the file behind the number may be another one by now.
    recheck: bool,
}

#[derive(Debug, Default)]
struct Wants {
    events: u32,
    read: u32,
    write: u32,
    closed: u32,
    edge: u32,
}

impl Wants {
    fn count(&mut self, interest: Interest, step: impl Fn(&mut u32)) {
        step(&mut self.events);
        let conditions = [
            (Interest::READ, &mut self.read),
            (Interest::WRITE, &mut self.write),
            (Interest::CLOSED, &mut self.closed),
            (Interest::EDGE, &mut self.edge),
        ];
        for (condition, count) in conditions {
            if interest.contains(condition) {
                step(count);
            }
        }
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::empty();
        interest.set(Interest::READ, self.read > 0);
        interest.set(Interest::WRITE, self.write > 0);
        interest.set(Interest::CLOSED, self.closed > 0);
        interest.set(Interest::EDGE, self.edge > 0);
        interest
    }
}

/// The table of all descriptors, by number.
#[derive(Debug, Default)]
pub(crate) struct FdTable {
    entries: Vec<FdEntry>,
    dirty: Vec<Fd>,
    /// A report came for a registration that we do not know and cannot remove (a closed descriptor whose file lives
    /// on, in a child process or under another number).
    pub(crate) haunted: bool,
}

/// A registration that failed where nobody could be told: before a wait.
#[derive(Debug)]
pub struct SyncError {
    /// The descriptor.
    pub fd: Fd,
    /// What the driver said.
    pub error: io::Error,
}

impl FdTable {
    pub(crate) fn entry(&self, fd: Fd) -> Option<&FdEntry> {
        self.entries.get(usize::try_from(fd).ok()?)
    }

    /// Whether nobody but `user` waits on `fd`.
    pub(crate) fn is_alone(&self, fd: Fd, user: User) -> bool {
        self.entry(fd)
            .is_some_and(|entry| entry.users[..] == [user])
    }

    /// The entry of `fd`, made if need be.
    pub(crate) fn entry_mut(&mut self, fd: Fd) -> io::Result<&mut FdEntry> {
        if !(0..=MAX_FD).contains(&fd) {
            return Err(io::Error::from_raw_os_error(EBADF));
        }
        let index = fd as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, FdEntry::default);
        }
        Ok(&mut self.entries[index])
    }

    /// Adds an event that is not there yet. The caller then calls [`update`](Self::update).
    pub(crate) fn add_event(&mut self, fd: Fd, key: EventKey, wants: Interest) -> io::Result<()> {
        let entry = self.entry_mut(fd)?;
        entry.users.push(User::Event(key));
        entry.wants.count(wants, |count| *count += 1);
        Ok(())
    }

    /// Removes an event. The caller then calls [`update`](Self::update).
    pub(crate) fn remove_event(&mut self, fd: Fd, key: EventKey, wants: Interest) {
        if self.remove_user(fd, User::Event(key)) {
            let entry = &mut self.entries[fd as usize];
            entry.wants.count(wants, |count| *count -= 1);
        }
    }

    /// Adds a bufferevent, unless it is there. The caller then calls [`update`](Self::update).
    pub(crate) fn add_stream(&mut self, fd: Fd, key: StreamKey) -> io::Result<()> {
        let entry = self.entry_mut(fd)?;
        let user = User::Stream(key);
        if !entry.users.contains(&user) {
            entry.users.push(user);
        }
        Ok(())
    }

    /// Removes a bufferevent. The caller then calls [`update`](Self::update).
    pub(crate) fn remove_stream(&mut self, fd: Fd, key: StreamKey) {
        self.remove_user(fd, User::Stream(key));
    }

    /// Adds a connection attempt. The caller then calls [`update`](Self::update).
    pub(crate) fn add_attempt(&mut self, fd: Fd, key: StreamKey) -> io::Result<()> {
        self.entry_mut(fd)?.users.push(User::Attempt(key));
        Ok(())
    }

    /// Removes a connection attempt. The caller then calls [`update`](Self::update).
    pub(crate) fn remove_attempt(&mut self, fd: Fd, key: StreamKey) {
        self.remove_user(fd, User::Attempt(key));
    }

    fn remove_user(&mut self, fd: Fd, user: User) -> bool {
        let Ok(entry) = self.entry_mut(fd) else {
            return false;
        };
        // Who came last often goes first.
        let Some(position) = entry.users.iter().rposition(|other| *other == user) else {
            return false;
        };
        entry.users.remove(position);
        if entry.users.is_empty() {
            entry.recheck = true;
        }
        true
    }

    /// What the events and connection attempts on `fd` wait for, and the bufferevents on it besides.
    pub(crate) fn wanted(&self, fd: Fd) -> (Interest, impl Iterator<Item = StreamKey>) {
        let entry = self.entry(fd);
        let (events, users) = entry.map_or((0, &[][..]), |e| (e.wants.events, &e.users[..]));
        let only_events = events as usize == users.len();
        let streams = if only_events { &[][..] } else { users };
        let streams = streams.iter().filter_map(|user| match user {
            User::Stream(key) => Some(*key),
            User::Event(_) | User::Attempt(_) => None,
        });
        let mut interest = entry
            .map(|entry| entry.wants.interest())
            .unwrap_or_default();
        let attempt = |user: &User| matches!(user, User::Attempt(_));
        interest.set(
            Interest::WRITE,
            interest.contains(Interest::WRITE) || !only_events && users.iter().any(attempt),
        );
        (interest, streams)
    }

    /// Whether an event that wants edges, or levels, would meet one on `fd` that wants the other.
    pub(crate) fn mixes_triggers(&self, fd: Fd, edge: bool) -> bool {
        self.entry(fd).is_some_and(|entry| {
            let others = if edge {
                entry.wants.events - entry.wants.edge
            } else {
                entry.wants.edge
            };
            others > 0
        })
    }

    /// Notes that what `fd` waits for may have changed to `desired`; registers it at once if it is new and the driver
    /// is at hand.
    pub(crate) fn update(
        &mut self,
        fd: Fd,
        desired: Interest,
        driver: Option<&mut dyn Driver>,
    ) -> io::Result<()> {
        let entry = self.entry_mut(fd)?;
        if entry.registered.is_empty()
            && !desired.is_empty()
            && let Some(driver) = driver
        {
            return entry.register(fd, desired, driver);
        }
        if !entry.dirty && (entry.registered != desired || entry.recheck) {
            entry.dirty = true;
            self.dirty.push(fd);
        }
        Ok(())
    }

    /// Asks for `fd` to be registered anew even if nothing seems to change: an edge that was reported already is
    /// wanted again.
    pub(crate) fn refresh(&mut self, fd: Fd) {
        let Ok(entry) = self.entry_mut(fd) else {
            return;
        };
        entry.recheck = true;
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(fd);
        }
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.dirty.is_empty() || self.haunted
    }

    pub(crate) fn pop_dirty(&mut self) -> Option<Fd> {
        let fd = self.dirty.pop()?;
        self.entries[fd as usize].dirty = false;
        Some(fd)
    }

    /// Makes the driver's view of `fd` be `desired`.
    pub(crate) fn apply(
        &mut self,
        fd: Fd,
        desired: Interest,
        driver: &mut dyn Driver,
    ) -> Result<(), SyncError> {
        let entry = &mut self.entries[fd as usize];
        let recheck = std::mem::take(&mut entry.recheck);
        if entry.registered.is_empty() && desired.is_empty() {
            return Ok(());
        }
        if entry.registered.is_empty() {
            return entry
                .register(fd, desired, driver)
                .map_err(|error| SyncError { fd, error });
        }
        if desired.is_empty() {
            entry.registered = Interest::empty();
            // A descriptor that was closed is gone from the driver already.
            return match driver.deregister(fd) {
                Err(error) if !is_gone(&error) => Err(SyncError { fd, error }),
                _ => Ok(()),
            };
        }
        if entry.registered == desired && !recheck {
            return Ok(());
        }
        entry.registered = desired;
        let token = Token {
            fd,
            generation: entry.generation,
        };
        match driver.reregister(token, desired) {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => {
                entry.registered = Interest::empty();
                entry
                    .register(fd, desired, driver)
                    .map_err(|error| SyncError { fd, error })
            }
            Err(error) => Err(SyncError { fd, error }),
        }
    }

    /// The descriptor is about to be closed. Returns whether the driver knows it, and nobody waits on it.
    pub(crate) fn forget_closed(&mut self, fd: Fd) -> bool {
        let Ok(entry) = self.entry_mut(fd) else {
            return false;
        };
        if entry.registered.is_empty() || !entry.users.is_empty() {
            return false;
        }
        entry.registered = Interest::empty();
        entry.recheck = false;
        true
    }

    /// The driver has forgotten everything: every descriptor that has users is to be registered anew.
    pub(crate) fn forget_registrations(&mut self) {
        self.haunted = false;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            entry.registered = Interest::empty();
            entry.recheck = false;
            if !entry.users.is_empty() && !entry.dirty {
                entry.dirty = true;
                self.dirty.push(index as Fd);
            }
        }
    }

    /// How many users are to be told of a report, none if it is not from a registration of ours.
    #[inline]
    pub(crate) fn reported(&mut self, token: Token) -> usize {
        match self.entry(token.fd) {
            Some(entry) if entry.is_current(token) => entry.users.len(),
            _ => {
                self.haunted = true;
                0
            }
        }
    }

    /// One of the users of a descriptor that was just reported.
    #[inline]
    pub(crate) fn user(&self, fd: Fd, index: usize) -> Option<User> {
        self.entry(fd)?.users.get(index).copied()
    }
}

impl FdEntry {
    fn is_current(&self, token: Token) -> bool {
        !self.registered.is_empty() && self.generation == token.generation
    }

    fn register(&mut self, fd: Fd, desired: Interest, driver: &mut dyn Driver) -> io::Result<()> {
        self.recheck = false;
        self.generation = self.generation.wrapping_add(1);
        let token = Token {
            fd,
            generation: self.generation,
        };
        match driver.register(token, desired) {
            Err(error) if error.raw_os_error() == Some(EEXIST) => {
                driver.reregister(token, desired)?
            }
            other => other?,
        }
        self.registered = desired;
        Ok(())
    }
}

/// Linux's numbers, which drivers hand through; the core links to no system library.
const ENOENT: i32 = 2;
const EBADF: i32 = 9;
const EEXIST: i32 = 17;

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOENT | EBADF))
}
