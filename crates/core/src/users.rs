//! Who waits on a descriptor.

use crate::StreamKey;
use crate::arena::{index_of, push_slowly_growing};
use crate::driver::Interest;

/// Who waits on a descriptor. It is taken out before its event or bufferevent goes, so that the number of a slot is
/// enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User(u32);

/// A user, by the number of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Event(u32),
    Stream(u32),
    /// One of several connection attempts of a bufferevent, which waits for writability.
    Attempt(u32),
}

const STREAM: u32 = 1 << 31;

/// Stands for a list of users; the rest of the number says which.
const MANY: u32 = 1 << 30;

/// Stands for no user at all.
pub(crate) const NOBODY: User = User(u32::MAX);

impl User {
    #[inline]
    pub(crate) fn event(slot: u32) -> Self {
        debug_assert!(slot < MANY);
        Self(slot)
    }

    pub(crate) fn stream(key: StreamKey) -> Self {
        debug_assert!(index_of(key) < MANY);
        Self(index_of(key) | STREAM)
    }

    pub(crate) fn attempt(key: StreamKey) -> Self {
        debug_assert!(index_of(key) < MANY - 1, "it would be nobody");
        Self(index_of(key) | STREAM | MANY)
    }

    /// Which list it stands for.
    #[inline]
    fn list(self) -> Option<usize> {
        (self.0 & (STREAM | MANY) == MANY).then_some((self.0 & !MANY) as usize)
    }

    #[inline]
    pub(crate) fn who(self) -> Who {
        match self.0 & (STREAM | MANY) {
            0 => Who::Event(self.0),
            STREAM => Who::Stream(self.0 & !STREAM),
            _ => Who::Attempt(self.0 & !(STREAM | MANY)),
        }
    }
}

/// The lists of users of those descriptors that have more than one. Most have not, and their table has room for one.
#[derive(Debug, Default)]
pub(crate) struct Sharers {
    lists: Vec<Many>,
    /// Those of them that no descriptor uses.
    unused: Vec<u32>,
}

impl Sharers {
    /// All users that `user` stands for.
    #[inline]
    pub(crate) fn users<'a>(&'a self, user: &'a User) -> &'a [User] {
        if *user == NOBODY {
            return &[];
        }
        match user.list() {
            Some(list) => &self.lists[list].users,
            None => std::slice::from_ref(user),
        }
    }

    /// What they wait for, if `wants` is what a single one does.
    #[inline]
    pub(crate) fn wants(&self, user: User, wants: Interest) -> Wants {
        if let Some(list) = user.list() {
            return self.lists[list].wants;
        }
        let mut counts = Wants::default();
        if user != NOBODY {
            counts.count(user, wants, |count| *count += 1);
        }
        counts
    }

    /// What the users on a list wait for, if all of them are events.
    pub(crate) fn wanted_by_events(&self, user: User) -> Option<Interest> {
        let many = &self.lists[user.list()?];
        let only_events = many.wants.events as usize == many.users.len();
        only_events.then(|| many.wants.interest())
    }

    /// Adds `user`, who is not there yet, to those that `all` stands for.
    pub(crate) fn add(&mut self, all: &mut User, wants: &mut Interest, user: User, its: Interest) {
        if *all == NOBODY {
            (*all, *wants) = (user, its);
            return;
        }
        let list = match all.list() {
            Some(list) => list,
            None => {
                let list = self.take_list();
                self.lists[list].add(*all, *wants);
                *all = User(list as u32 | MANY);
                list
            }
        };
        self.lists[list].add(user, its);
    }

    /// Removes `user`. Returns whether it was there and was the last.
    pub(crate) fn remove(&mut self, all: &mut User, user: User, its: Interest) -> bool {
        let Some(list) = all.list() else {
            let found = *all == user;
            if found {
                *all = NOBODY;
            }
            return found;
        };
        let many = &mut self.lists[list];
        // Who came last often goes first.
        let Some(position) = many.users.iter().rposition(|other| *other == user) else {
            return false;
        };
        many.users.remove(position);
        many.wants.count(user, its, |count| *count -= 1);
        if !many.users.is_empty() {
            return false;
        }
        self.unused.push(list as u32);
        *all = NOBODY;
        true
    }

    fn take_list(&mut self) -> usize {
        if let Some(list) = self.unused.pop() {
            return list as usize;
        }
        push_slowly_growing(&mut self.lists, Many::default());
        self.lists.len() - 1
    }
}

/// The users of one descriptor that has several, or has had since there was none.
#[derive(Debug, Default)]
struct Many {
    /// In the order in which they came; reports are handed out in the opposite one.
    users: Vec<User>,
    /// How many events among them wait for each condition, so that many on one descriptor cost no walk.
    wants: Wants,
}

impl Many {
    fn add(&mut self, user: User, wants: Interest) {
        push_slowly_growing(&mut self.users, user);
        self.wants.count(user, wants, |count| *count += 1);
    }
}

/// How many events wait for each condition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wants {
    pub(crate) events: u32,
    read: u32,
    write: u32,
    closed: u32,
    pub(crate) edge: u32,
}

impl Wants {
    pub(crate) fn count(&mut self, user: User, interest: Interest, step: impl Fn(&mut u32)) {
        if !matches!(user.who(), Who::Event(_)) {
            return;
        }
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

    pub(crate) fn interest(&self) -> Interest {
        let mut interest = Interest::empty();
        interest.set(Interest::READ, self.read > 0);
        interest.set(Interest::WRITE, self.write > 0);
        interest.set(Interest::CLOSED, self.closed > 0);
        interest.set(Interest::EDGE, self.edge > 0);
        interest
    }
}
