//! Who waits on which descriptor, and what the driver was told of it.
//!
//! A first registration is made at once, so that its error reaches the caller; every later change is noted and applied
//! before the next wait, as one system call at most. Deleting and adding again within a pass must not be taken for "no
//! change": the number may have been closed and given to another file meanwhile. So such a descriptor is registered
//! again ([`FdEntry::recheck`]), and one that turns out to be unknown to the driver is registered as new.

use std::io;

use crate::StreamKey;
use crate::arena::push_slowly_growing;
use crate::driver::{Driver, Fd, Interest, Token};
use crate::users::{NOBODY, Sharers, User, Wants, Who};

/// Numbers above are refused, since the table is as long as its largest number; Linux's own default limit is 2^20.
const MAX_FD: Fd = 1 << 21;

/// Small, since there is one for every number up to the largest.
#[derive(Debug)]
pub(crate) struct FdEntry {
    /// Who waits; several are in [`FdTable::sharers`].
    user: User,
    generation: u32,
    /// What the only user waits for, if that is an event.
    wants: Interest,
    /// What the driver waits for; empty: not registered.
    registered: Interest,
    dirty: bool,
    /// The last user had gone: the file behind the number may be another one by now.
    recheck: bool,
}

impl Default for FdEntry {
    fn default() -> Self {
        Self {
            user: NOBODY,
            generation: 0,
            wants: Interest::empty(),
            registered: Interest::empty(),
            dirty: false,
            recheck: false,
        }
    }
}

/// The table of all descriptors, by number.
#[derive(Debug, Default)]
pub(crate) struct FdTable {
    entries: Vec<FdEntry>,
    sharers: Sharers,
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
    fn entry(&self, fd: Fd) -> Option<&FdEntry> {
        self.entries.get(usize::try_from(fd).ok()?)
    }

    /// Who waits on `fd`, in the order in which they came; reports are handed out in the opposite one.
    #[inline]
    pub(crate) fn users(&self, fd: Fd) -> &[User] {
        self.entry(fd)
            .map_or(&[], |entry| self.sharers.users(&entry.user))
    }

    /// Whether nobody but `user` waits on `fd`.
    pub(crate) fn is_alone(&self, fd: Fd, user: User) -> bool {
        self.users(fd) == [user]
    }

    /// The entry of `fd`, made if need be.
    pub(crate) fn entry_mut(&mut self, fd: Fd) -> io::Result<&mut FdEntry> {
        if !(0..=MAX_FD).contains(&fd) {
            return Err(io::Error::from_raw_os_error(EBADF));
        }
        let index = fd as usize;
        while index >= self.entries.len() {
            push_slowly_growing(&mut self.entries, FdEntry::default());
        }
        Ok(&mut self.entries[index])
    }

    /// Adds an event that is not there yet. The caller then calls [`update`](Self::update).
    pub(crate) fn add_event(&mut self, fd: Fd, slot: u32, wants: Interest) -> io::Result<()> {
        let fresh = wants.contains(Interest::EDGE) && !self.wants(fd).interest().contains(wants);
        self.add(fd, User::event(slot), wants)?;
        if fresh {
            // If nobody but this one waited for it, and it was gone for a moment only, the driver is asked all the same: an
            // edge that it has told of is told again.
            self.entries[fd as usize].recheck = true;
        }
        Ok(())
    }

    /// Removes an event. The caller then calls [`update`](Self::update).
    pub(crate) fn remove_event(&mut self, fd: Fd, slot: u32, wants: Interest) {
        self.remove(fd, User::event(slot), wants);
    }

    /// Adds a bufferevent, unless it is there. The caller then calls [`update`](Self::update).
    pub(crate) fn add_stream(&mut self, fd: Fd, key: StreamKey) -> io::Result<()> {
        let user = User::stream(key);
        if self.users(fd).contains(&user) {
            return Ok(());
        }
        self.add(fd, user, Interest::empty())
    }

    /// Removes a bufferevent. The caller then calls [`update`](Self::update).
    pub(crate) fn remove_stream(&mut self, fd: Fd, key: StreamKey) {
        self.remove(fd, User::stream(key), Interest::empty());
    }

    /// Adds a connection attempt. The caller then calls [`update`](Self::update).
    pub(crate) fn add_attempt(&mut self, fd: Fd, key: StreamKey) -> io::Result<()> {
        self.add(fd, User::attempt(key), Interest::empty())
    }

    /// Removes a connection attempt. The caller then calls [`update`](Self::update).
    pub(crate) fn remove_attempt(&mut self, fd: Fd, key: StreamKey) {
        self.remove(fd, User::attempt(key), Interest::empty());
    }

    fn add(&mut self, fd: Fd, user: User, wants: Interest) -> io::Result<()> {
        self.entry_mut(fd)?;
        let entry = &mut self.entries[fd as usize];
        self.sharers
            .add(&mut entry.user, &mut entry.wants, user, wants);
        Ok(())
    }

    fn remove(&mut self, fd: Fd, user: User, wants: Interest) {
        let entry = usize::try_from(fd)
            .ok()
            .and_then(|fd| self.entries.get_mut(fd));
        if let Some(entry) = entry
            && self.sharers.remove(&mut entry.user, user, wants)
        {
            entry.recheck = true;
        }
    }

    fn wants(&self, fd: Fd) -> Wants {
        self.entry(fd)
            .map(|entry| self.sharers.wants(entry.user, entry.wants))
            .unwrap_or_default()
    }

    /// What the events on `fd` wait for, if nobody else waits there.
    #[inline]
    pub(crate) fn wanted_by_events(&self, fd: Fd) -> Option<Interest> {
        let entry = self.entry(fd)?;
        match entry.user.who() {
            Who::Event(_) => Some(entry.wants),
            _ => self.sharers.wanted_by_events(entry.user),
        }
    }

    /// What the events and connection attempts on `fd` wait for, and the bufferevents on it besides, by their slots.
    pub(crate) fn wanted(&self, fd: Fd) -> (Interest, impl Iterator<Item = u32>) {
        let (wants, users) = (self.wants(fd), self.users(fd));
        let only_events = wants.events as usize == users.len();
        let others = if only_events { &[][..] } else { users };
        let mut interest = wants.interest();
        if others
            .iter()
            .any(|user| matches!(user.who(), Who::Attempt(_)))
        {
            interest |= Interest::WRITE;
        }
        let streams = others.iter().filter_map(|user| match user.who() {
            Who::Stream(index) => Some(index),
            Who::Event(_) | Who::Attempt(_) => None,
        });
        (interest, streams)
    }

    /// Whether an event that wants edges, or levels, would meet one on `fd` that wants the other.
    pub(crate) fn mixes_triggers(&self, fd: Fd, edge: bool) -> bool {
        let wants = self.wants(fd);
        let others = if edge {
            wants.events - wants.edge
        } else {
            wants.edge
        };
        others > 0
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

    #[inline]
    pub(crate) fn has_changes(&self) -> bool {
        !self.dirty.is_empty() || self.haunted
    }

    /// How many descriptors are to be looked at before the next wait.
    pub(crate) fn changes(&self) -> usize {
        self.dirty.len()
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
            return match driver.deregister(fd) {
                Err(error) => self.refused(fd, desired, error, driver),
                Ok(()) => Ok(()),
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
            Err(error) => self.refused(fd, desired, error, driver),
        }
    }

    /// The driver has not made a change.
    pub(crate) fn refused(
        &mut self,
        fd: Fd,
        desired: Interest,
        error: io::Error,
        driver: &mut dyn Driver,
    ) -> Result<(), SyncError> {
        if !is_gone(&error) {
            return Err(SyncError { fd, error });
        }
        let entry = &mut self.entries[fd as usize];
        entry.registered = Interest::empty();
        if desired.is_empty() {
            // A descriptor that was closed is gone from the driver already.
            return Ok(());
        }
        entry
            .register(fd, desired, driver)
            .map_err(|error| SyncError { fd, error })
    }

    /// The descriptor is about to be closed. Returns whether the driver knows it, and nobody waits on it.
    pub(crate) fn forget_closed(&mut self, fd: Fd) -> bool {
        let Ok(entry) = self.entry_mut(fd) else {
            return false;
        };
        if entry.registered.is_empty() || entry.user != NOBODY {
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
            if entry.user != NOBODY && !entry.dirty {
                entry.dirty = true;
                self.dirty.push(index as Fd);
            }
        }
    }

    /// The user that is to be told of a report, if it is an event and there is no other. Else see [`reported`](Self::reported).
    #[inline]
    pub(crate) fn reported_event(&self, token: Token) -> Option<u32> {
        let entry = self.entry(token.fd)?;
        match entry.user.who() {
            Who::Event(index) if entry.is_current(token) => Some(index),
            _ => None,
        }
    }

    /// How many users are to be told of a report, none if it is not from a registration of ours.
    #[inline]
    pub(crate) fn reported(&mut self, token: Token) -> usize {
        match self.entry(token.fd) {
            Some(entry) if entry.is_current(token) => self.users(token.fd).len(),
            _ => {
                self.haunted = true;
                0
            }
        }
    }

    /// One of the users of a descriptor that was just reported.
    #[inline]
    pub(crate) fn user(&self, fd: Fd, index: usize) -> Option<User> {
        self.users(fd).get(index).copied()
    }
}

impl FdEntry {
    #[inline]
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
