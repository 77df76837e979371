//! Plain events as libevent has them: a sorted list of timers, and a queue for each priority.

use std::collections::{BTreeMap, VecDeque};

use ferrevent_core::What;
use ferrevent_core::driver::{Fd, Interest, Readiness};

/// An event, whether it is added or not.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) fd: Fd,
    pub(crate) what: What,
    pub(crate) priority: u8,
    pub(crate) inserted: bool,
    /// The deadline, and its place among equal ones.
    pub(crate) timer: Option<(u64, u64)>,
    interval: u64,
    passed: u64,
    /// It is queued, for this.
    pub(crate) active: Option<What>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<Event>,
    queues: [VecDeque<usize>; 3],
    /// The events on each descriptor, in the order in which they were added.
    users: BTreeMap<Fd, Vec<usize>>,
    order: u64,
    /// The priority that this pass runs.
    running: Option<usize>,
    /// Something more urgent has become active: the pass ends.
    hurried: bool,
    /// The driver reports edges to those who want them.
    edges: bool,
}

impl Model {
    pub(crate) fn new(edges: bool) -> Self {
        Self {
            edges,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, fd: Fd, what: What, priority: u8) {
        self.events.push(Event {
            fd,
            what,
            priority,
            inserted: false,
            timer: None,
            interval: 0,
            passed: 0,
            active: None,
        });
    }

    pub(crate) fn is_known(&self, id: usize) -> bool {
        let event = &self.events[id];
        event.inserted || event.timer.is_some() || event.active.is_some()
    }

    /// Returns whether it could be added: not with another trigger than its neighbours on the descriptor.
    pub(crate) fn add(&mut self, id: usize, timeout: Option<u64>, now: u64) -> bool {
        if !self.insert(id) {
            return false;
        }
        if let Some(timeout) = timeout {
            let event = &mut self.events[id];
            if event.what.contains(What::PERSIST) {
                event.interval = timeout;
            }
            if event
                .active
                .is_some_and(|active| active.contains(What::TIMEOUT))
            {
                self.unqueue(id);
            }
            self.set_timer(id, now + timeout);
        }
        true
    }

    /// Has it wait for its descriptor; false if its neighbours there have another trigger.
    fn insert(&mut self, id: usize) -> bool {
        let Event {
            fd, what, inserted, ..
        } = self.events[id];
        if inserted || !what.intersects(What::IO) {
            return true;
        }
        if fd >= 0 {
            let events = &self.events;
            let users = self.users.entry(fd).or_default();
            let mixed = |&other: &usize| {
                events[other].what.contains(What::EDGE) != what.contains(What::EDGE)
            };
            if users.iter().any(mixed) {
                return false;
            }
            users.push(id);
        }
        self.events[id].inserted = true;
        true
    }

    pub(crate) fn del(&mut self, id: usize) {
        self.withdraw(id);
        self.unqueue(id);
    }

    pub(crate) fn remove_timer(&mut self, id: usize) {
        // One that has passed already cannot be removed.
        if self.events[id].timer.take().is_some() {
            self.events[id].interval = 0;
        }
    }

    pub(crate) fn activate(&mut self, id: usize, happened: What) {
        let event = &mut self.events[id];
        match &mut event.active {
            Some(active) => *active |= happened,
            None => {
                event.active = Some(happened);
                let priority = usize::from(event.priority);
                self.queues[priority].push_back(id);
                self.hurried |= self.running.is_some_and(|running| priority < running);
            }
        }
    }

    /// A descriptor was reported.
    pub(crate) fn ready(&mut self, fd: Fd, readiness: Readiness) {
        let failed = readiness.contains(Readiness::FAILED);
        let mut happened = What::empty();
        happened.set(What::READ, readiness.contains(Readiness::READ) || failed);
        happened.set(What::WRITE, readiness.contains(Readiness::WRITE) || failed);
        happened.set(What::CLOSED, readiness.contains(Readiness::CLOSED));
        let edges = if self.edges {
            What::EDGE
        } else {
            What::empty()
        };
        let users = self.users.get(&fd).cloned().unwrap_or_default();
        for id in users.into_iter().rev() {
            let what = self.events[id].what;
            let happened = happened & what & What::IO;
            if !happened.is_empty() {
                self.activate(id, happened | what & edges);
            }
        }
    }

    /// The wait is over, at `now`.
    pub(crate) fn waited(&mut self, now: u64) {
        loop {
            let timers = self.events.iter().enumerate();
            let timers = timers.filter_map(|(id, event)| Some((event.timer?, id)));
            let Some(((deadline, _), id)) = timers.min().filter(|((time, _), _)| *time <= now)
            else {
                break;
            };
            // A timeout hides what else has happened, and what happens until it has run.
            let interval = self.events[id].interval;
            self.withdraw(id);
            self.events[id].interval = interval;
            self.events[id].passed = deadline;
            self.unqueue(id);
            self.activate(id, What::TIMEOUT);
        }
        self.hurried = false;
        self.running = self.queues.iter().position(|queue| !queue.is_empty());
    }

    /// The next event to run, taken out of its queue, with what it runs for.
    pub(crate) fn fire(&mut self, now: u64) -> (usize, What) {
        assert!(!self.hurried, "something else is more urgent");
        let priority = self.running.expect("something is to run");
        let id = self.queues[priority]
            .pop_front()
            .expect("something is to run");
        let happened = self.events[id].active.take().expect("it is queued");
        if !self.events[id].what.contains(What::PERSIST) {
            self.withdraw(id);
            return (id, happened);
        }
        let Event {
            interval,
            passed,
            timer,
            ..
        } = self.events[id];
        if interval > 0 {
            self.insert(id);
            let regular = happened.contains(What::TIMEOUT);
            let next = timer.map_or(passed, |timer| timer.0) + interval;
            let next = if regular && next >= now {
                next
            } else {
                now + interval
            };
            self.set_timer(id, next);
        }
        (id, happened)
    }

    /// What this pass was to run has run.
    pub(crate) fn pass_is_over(&mut self) -> bool {
        let hurried = std::mem::take(&mut self.hurried);
        let running = self.running.take();
        hurried || running.is_none_or(|priority| self.queues[priority].is_empty())
    }

    pub(crate) fn active_len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    pub(crate) fn pending_len(&self) -> usize {
        let pending = |event: &&Event| event.inserted || event.timer.is_some();
        self.events.iter().filter(pending).count()
    }

    /// What is to be watched.
    pub(crate) fn wanted(&self) -> BTreeMap<Fd, Interest> {
        let mut wanted = BTreeMap::new();
        for (&fd, users) in &self.users {
            let mut interest = Interest::empty();
            for &id in users {
                let what = self.events[id].what;
                let parts = [
                    (What::READ, Interest::READ),
                    (What::WRITE, Interest::WRITE),
                    (What::CLOSED, Interest::CLOSED),
                    (What::EDGE, Interest::EDGE),
                ];
                for (flag, part) in parts {
                    interest.set(part, interest.contains(part) || what.contains(flag));
                }
            }
            if !interest.is_empty() {
                wanted.insert(fd, interest);
            }
        }
        wanted
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.events
            .iter()
            .filter_map(|event| Some(event.timer?.0))
            .min()
    }

    fn set_timer(&mut self, id: usize, deadline: u64) {
        self.order += 1;
        self.events[id].timer = Some((deadline, self.order));
    }

    fn withdraw(&mut self, id: usize) {
        let event = &mut self.events[id];
        event.timer = None;
        event.interval = 0;
        event.inserted = false;
        if let Some(users) = self.users.get_mut(&event.fd) {
            users.retain(|other| *other != id);
        }
    }

    fn unqueue(&mut self, id: usize) {
        self.events[id].active = None;
        for queue in &mut self.queues {
            queue.retain(|other| *other != id);
        }
    }
}
