//! Plain events in random situations, against a model; edges and levels; descriptors that are closed and come again.

mod model;
mod recorder;
#[path = "../shell/mod.rs"]
mod shell;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Ready};
use ferrevent_core::{
    AddError, BLOCK, EventInfo, EventKey, EventSpec, Fired, LoopEnd, LoopFlags, Place, What,
};
use ferrevent_sim::{Faults, Peer, Random, World};

use crate::model::Model;
use crate::recorder::{Recorder, Shared};
use crate::shell::{Shell, User};

/// Where an event is kept that has a place: every other one.
fn place_of(id: usize) -> u32 {
    let id = id as u32;
    let place = Place::new(id / BLOCK, id % BLOCK);
    place.expect("there are few").number()
}

/// A user of events who does anything at any time.
struct Tester {
    random: Random,
    model: Model,
    keys: Vec<Option<EventKey>>,
    sockets: Vec<(Fd, Peer)>,
    record: Shared,
    budget: u32,
    /// Ghosts that were reported in the last wait: the next one is to be without.
    seen: usize,
    fired: u32,
    /// How often a short way was one.
    short: usize,
}

impl Tester {
    fn new(seed: u64, edge: bool, shell: &mut Shell, priorities: usize, record: Shared) -> Self {
        shell
            .core
            .set_priorities(priorities)
            .expect("nothing is active");
        shell.core.put_block(0, Some(()), false);
        let mut tester = Self {
            random: Random::new(seed ^ 0x5eed),
            model: Model::new(edge),
            keys: Vec::new(),
            sockets: Vec::new(),
            record,
            budget: 0,
            seen: 0,
            fired: 0,
            short: 0,
        };
        for _ in 0..3 {
            tester.sockets.push(shell.world.pair());
        }
        for _ in 0..8 {
            let priority = tester.random.below(priorities as u64) as u8;
            tester.keys.push(None);
            tester.model.push(-1, What::empty(), priority);
        }
        tester
    }

    fn spec(&self, id: usize) -> EventSpec<usize> {
        let event = &self.model.events[id];
        EventSpec {
            cookie: id,
            fd: event.fd,
            what: event.what,
            priority: event.priority,
            place: if id % 2 == 1 { place_of(id) } else { 0 },
        }
    }

    /// Does anything to any event.
    fn act(&mut self, shell: &mut Shell) {
        shell.tick();
        let id = self.random.below(self.keys.len() as u64) as usize;
        match self.random.below(20) {
            0..7 => self.add(shell, id),
            7..10 => self.del(shell, id),
            10..12 => {
                let happened = [What::READ, What::WRITE, What::TIMEOUT, What::CLOSED]
                    [self.random.below(4) as usize];
                self.model.activate(id, happened);
                let (key, spec) = (self.keys[id], self.spec(id));
                let short = key.is_none() && self.random.chance(50);
                let at_once = short
                    .then(|| shell.core.activate_idle(spec, happened, 1))
                    .flatten();
                self.count_short(at_once.is_some());
                self.keys[id] =
                    at_once.or_else(|| Some(shell.core.activate_event(key, spec, happened, 1)));
            }
            12 => {
                self.model.remove_timer(id);
                if let Some(key) = self.keys[id] {
                    shell.core.remove_event_timer(key);
                }
            }
            13 => self.reuse(shell),
            14 if self.keys.len() > 1 => {
                let priority = self.random.below(shell.core.priorities() as u64) as u8;
                let key = self.keys[id];
                let event = &mut self.model.events[id];
                let set = key.is_none_or(|key| shell.core.set_event_priority(key, priority));
                assert_eq!(set, event.active.is_none(), "only while it is not active");
                if set {
                    event.priority = priority;
                }
            }
            15 => drop(self.read(shell)),
            _ => {
                let socket = self.random.below(self.sockets.len() as u64) as usize;
                let count = self.random.below(2000) as usize;
                // A peer that has ended sends no more.
                let _ = self.sockets[socket].1.send(&vec![0; count]);
                match self.random.below(8) {
                    0 => self.sockets[socket].1.shutdown(),
                    1 => self.sockets[socket].1.reset(),
                    _ => {}
                }
            }
        }
        self.compare(shell);
    }

    fn add(&mut self, shell: &mut Shell, id: usize) {
        if !self.model.is_known(id) {
            // `event_assign`.
            let mut what = match self.random.below(5) {
                0 => What::empty(),
                1 => What::READ,
                2 => What::WRITE,
                3 => What::READ | What::WRITE,
                _ => What::READ | What::CLOSED,
            };
            what.set(What::PERSIST, self.random.chance(60));
            what.set(What::EDGE, !what.is_empty() && self.random.chance(30));
            let socket = self.random.below(1 + self.sockets.len() as u64) as usize;
            let event = &mut self.model.events[id];
            event.what = what;
            event.fd = self.sockets.get(socket).map_or(-1, |(fd, _)| *fd);
        }
        // Few different ones, so that many are equal.
        let timeout = Some(self.random.below(5) * 1_000_000).filter(|_| self.random.chance(60));
        let added = self.model.add(id, timeout, shell.core.now());
        if self.random.chance(50) && self.add_shortly(shell, id, timeout) {
            assert!(added, "the short way is none for what is refused");
            return self.count_short(true);
        }
        let at_once = self.random.chance(80);
        let driver = at_once.then_some(&mut *shell.driver as &mut dyn Driver);
        match shell
            .core
            .add_event(self.keys[id], self.spec(id), timeout, driver)
        {
            Ok(now) => {
                assert!(added, "another trigger than its neighbours");
                self.keys[id] = now.key;
            }
            Err(AddError::MixedTriggers) => assert!(!added, "the same trigger as its neighbours"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Adds it by a short way, if there is one.
    fn add_shortly(&mut self, shell: &mut Shell, id: usize, timeout: Option<u64>) -> bool {
        match (self.keys[id], timeout) {
            (Some(key), Some(timeout)) => shell.core.move_timed(key, id, timeout),
            (Some(key), None) => shell.core.waits(key, id),
            (None, Some(timeout)) => {
                self.keys[id] = shell.core.add_timed(self.spec(id), timeout);
                self.keys[id].is_some()
            }
            (None, None) => false,
        }
    }

    fn count_short(&mut self, was_one: bool) {
        self.short += usize::from(was_one);
    }

    fn del(&mut self, shell: &mut Shell, id: usize) {
        let known = self.model.is_known(id);
        self.model.del(id);
        let short = self.random.chance(50);
        let deleted = self.keys[id].take().is_some_and(|key| {
            let at_once = short && shell.core.del_timed(key, id);
            self.count_short(at_once);
            at_once || shell.core.del_event(key)
        });
        assert_eq!(deleted, known, "pending or active");
    }

    /// Closes a descriptor, and gets its number back for another file, all between two waits.
    fn reuse(&mut self, shell: &mut Shell) {
        let index = self.random.below(self.sockets.len() as u64) as usize;
        let fd = self.sockets[index].0;
        let users: Vec<_> = (0..self.keys.len())
            .filter(|&id| self.model.events[id].fd == fd && self.model.is_known(id))
            .collect();
        let first = self.random.chance(50);
        if first {
            self.close(shell, fd);
        }
        for id in users {
            self.del(shell, id);
        }
        if !first {
            self.close(shell, fd);
        }
        self.sockets[index] = shell.world.pair();
        assert_eq!(self.sockets[index].0, fd, "the lowest number");
    }

    fn close(&mut self, shell: &mut Shell, fd: Fd) {
        let lives_on = self.random.chance(30);
        self.record.lock().closed(fd, lives_on);
        shell.close(fd);
    }

    fn read(&mut self, shell: &mut Shell) -> io::Result<()> {
        use ferrevent_core::buffer::Buffer;
        use ferrevent_core::driver::Transport;
        let socket = self.random.below(self.sockets.len() as u64) as usize;
        let fd = self.sockets[socket].0;
        let kind = shell.kind(fd);
        let result = shell.transport.read(fd, kind, &mut Buffer::new(), 10_000);
        result.map(drop)
    }

    /// The core's state is the model's.
    fn compare(&mut self, shell: &Shell) {
        assert_eq!(shell.core.active_len(), self.model.active_len(), "active");
        assert_eq!(
            shell.core.pending_len(),
            self.model.pending_len(),
            "pending"
        );
        for (id, event) in self.model.events.iter().enumerate() {
            let info = self.keys[id].and_then(|key| shell.core.event_info(key));
            let waits = if event.inserted {
                event.what & What::IO
            } else {
                What::empty()
            };
            let expected = self.model.is_known(id).then(|| EventInfo {
                waits,
                active: event.active.unwrap_or_default(),
                deadline: event.timer.map(|timer| timer.0),
            });
            assert_eq!(info, expected, "event {id}");
        }
    }
}

impl User for Tester {
    fn waiting(&mut self, shell: &mut Shell, until: Option<u64>) {
        assert!(self.model.pass_is_over(), "an active event was left out");
        if shell.core.active_len() > 0 {
            assert_eq!(until, Some(0), "something is active");
        } else if let Some(deadline) = self.model.next_deadline() {
            assert!(
                until.is_some_and(|until| until <= deadline),
                "it oversleeps"
            );
        }
        self.compare(shell);
    }

    fn waited(&mut self, shell: &mut Shell, ready: &[Ready]) {
        let record = self.record.lock();
        assert!(
            record
                .watched
                .iter()
                .map(|(fd, (_, interest))| (*fd, *interest))
                .eq(self.model.wanted())
        );
        let ghosts = ready
            .iter()
            .filter(|report| !record.is_current(report.token))
            .count();
        assert!(self.seen == 0 || ghosts == 0, "a ghost is seen once");
        self.seen = ghosts;
        for report in ready {
            if record.is_current(report.token) {
                self.model.ready(report.token.fd, report.readiness);
            }
        }
        drop(record);
        self.model.waited(shell.driver.now());
    }

    fn fired(&mut self, shell: &mut Shell, fired: Fired<usize>) {
        self.fired += 1;
        let expected = self.model.fire(shell.core.now());
        assert_eq!((fired.cookie, fired.what), expected, "another event's turn");
        assert_eq!(fired.calls, 1);
        self.keys[fired.cookie] = fired.key;
        self.compare(shell);
        if self.budget > 0 {
            for _ in 0..self.random.below(4) {
                self.budget = self.budget.saturating_sub(1);
                self.act(shell);
            }
        } else {
            // Calm down: levels that nobody reads would be reported for ever.
            self.del(shell, fired.cookie);
        }
    }
}

fn play(seed: u64, edge: bool) -> Vec<String> {
    let mut random = Random::new(seed);
    let faults = [Faults::none(), Faults::wild()][random.below(2) as usize];
    let world = World::new(seed, faults);
    let _confession = shell::Confession(&world);
    let mut shell = Shell::new(&world, edge);
    let record = Shared::default();
    let inner = std::mem::replace(&mut shell.driver, Box::new(world.driver()));
    shell.driver = Box::new(Recorder {
        inner,
        record: record.clone(),
        puts_off: seed.is_multiple_of(3),
        later: None,
    });
    let priorities = 1 + random.below(3) as usize;
    let mut tester = Tester::new(seed, edge, &mut shell, priorities, record);
    for _ in 0..3 + random.below(10) {
        for _ in 0..random.below(8) {
            tester.act(&mut shell);
        }
        tester.budget = 20;
        let flags = match random.below(3) {
            0 => LoopFlags::NONBLOCK,
            1 => LoopFlags::ONCE,
            _ => LoopFlags::empty(),
        };
        let end = shell.run(&mut tester, flags);
        assert!(tester.model.pass_is_over(), "an active event was left out");
        match end {
            Ok(LoopEnd::Empty) => assert_eq!(tester.model.pending_len(), 0),
            Ok(LoopEnd::Stopped) => assert!(!flags.is_empty(), "something was pending"),
            // It waits for descriptors that nothing happens to.
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::Deadlock, "{error}");
                assert_eq!(tester.model.next_deadline(), None, "a timer was forgotten");
                // The wait that failed has seen no ghosts.
                tester.seen = 0;
            }
        }
    }
    for id in 0..tester.keys.len() {
        tester.del(&mut shell, id);
    }
    let end = shell.run(&mut tester, LoopFlags::empty());
    assert_eq!(end.expect("nothing to wait for"), LoopEnd::Empty);
    SHORT.fetch_add(tester.short, Ordering::Relaxed);
    world.trace()
}

/// How often short ways were ones, over all seeds.
static SHORT: AtomicUsize = AtomicUsize::new(0);

#[test]
fn they_do_as_the_model_says_with_edges() {
    shell::for_each_seed(shell::seeds(10_000), |seed| {
        play(seed, true);
    });
    assert!(SHORT.load(Ordering::Relaxed) > 0);
}

#[test]
fn they_do_as_the_model_says_with_levels() {
    shell::for_each_seed(shell::seeds(10_000), |seed| {
        play(seed, false);
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..50 {
        assert_eq!(play(seed, true), play(seed, true), "seed {seed}");
    }
}

/// Counts how often it is called.
#[derive(Default)]
struct Counter(u32);

impl User for Counter {
    fn fired(&mut self, _shell: &mut Shell, _fired: Fired<usize>) {
        self.0 += 1;
    }
}

/// How often an event fires in five passes over unread bytes, and in five more after further ones.
fn calls(what: What, edge: bool) -> [u32; 2] {
    let world = World::new(1, Faults::none());
    let mut shell = Shell::new(&world, edge);
    let (fd, peer) = world.pair();
    let spec = EventSpec {
        cookie: 0,
        fd,
        what: what | What::READ | What::PERSIST,
        priority: 0,
        place: 0,
    };
    let driver: Option<&mut dyn Driver> = Some(&mut *shell.driver);
    shell
        .core
        .add_event(None, spec, None, driver)
        .expect("it can be watched");
    [(); 2].map(|()| {
        peer.send(b"unread").expect("it is connected");
        world.advance(Duration::from_millis(1));
        let mut counter = Counter::default();
        for _ in 0..5 {
            shell.core.loop_exit(1000);
            shell
                .run(&mut counter, LoopFlags::empty())
                .expect("it ends in time");
        }
        counter.0
    })
}

#[test]
fn levels_are_reported_as_long_as_they_last_and_edges_once() {
    assert_eq!(calls(What::EDGE, true), [1, 1]);
    let levels = calls(What::empty(), true);
    assert!(levels.iter().all(|&calls| calls >= 5), "{levels:?}");
    // A driver without edges reports levels instead.
    assert_eq!(calls(What::EDGE, false), levels);
}
