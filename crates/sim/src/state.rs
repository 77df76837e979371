//! The world behind its lock: descriptors, endpoints, registrations, time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use ferrevent_core::driver::{Fd, Interest, Readiness, Ready, Received, Sent, Token};

use crate::endpoint::{Arrival, Endpoint, EndpointId, Level, Phase, has_room};
use crate::errors::{self, error};
use crate::faults::Faults;
use crate::random::Random;
use crate::world::World;

/// What the test does at a later time.
type Task = Box<dyn FnOnce(&World) + Send>;

/// How long something is withheld that need not be, in nanoseconds at most.
const LONGEST_WITHHELD: u64 = 1_000_000;

pub(crate) struct State {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) woken: bool,
    pub(crate) trace: Vec<String>,
    pub(crate) endpoints: BTreeMap<EndpointId, Endpoint>,
    pub(crate) objects: BTreeMap<Fd, Object>,
    pub(crate) registrations: BTreeMap<Fd, Registration>,
    /// By time, and then in the order in which they were given.
    pub(crate) tasks: BTreeMap<(u64, u64), Task>,
    counter: u64,
}

/// What a descriptor stands for.
#[derive(Debug)]
pub(crate) enum Object {
    Stream(EndpointId),
    Listener { backlog: VecDeque<EndpointId> },
}

#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) token: Token,
    pub(crate) interest: Interest,
    /// Something has changed since the last report (or nothing was reported yet): an edge is due if a condition holds.
    pub(crate) armed: bool,
}

impl State {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now: 1_000_000_000,
            random: Random::new(seed),
            faults,
            woken: false,
            trace: Vec::new(),
            endpoints: BTreeMap::new(),
            objects: BTreeMap::new(),
            registrations: BTreeMap::new(),
            tasks: BTreeMap::new(),
            counter: 0,
        }
    }

    pub(crate) fn log(&mut self, line: std::fmt::Arguments<'_>) {
        self.trace.push(format!("{} {line}", self.now));
    }

    /// A number that no earlier call has given.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn add_endpoint(&mut self, phase: Phase, fd: Option<Fd>) -> EndpointId {
        let id = EndpointId(self.fresh());
        self.endpoints.insert(id, Endpoint::new(phase, fd));
        id
    }

    /// Gives out the lowest number that is free, after those of standard input, output and error.
    pub(crate) fn open(&mut self, object: impl FnOnce(&mut Self, Fd) -> Object) -> Fd {
        let mut fd = 3;
        while self.objects.contains_key(&fd) {
            fd += 1;
        }
        let object = object(self, fd);
        self.objects.insert(fd, object);
        fd
    }

    pub(crate) fn open_stream(&mut self, phase: Phase) -> (Fd, EndpointId) {
        let mut id = EndpointId(0);
        let fd = self.open(|state, fd| {
            id = state.add_endpoint(phase, Some(fd));
            Object::Stream(id)
        });
        (fd, id)
    }

    pub(crate) fn link(&mut self, a: EndpointId, b: EndpointId) {
        self.endpoint(a).other = Some(b);
        self.endpoint(b).other = Some(a);
    }

    pub(crate) fn stream(&self, fd: Fd) -> io::Result<EndpointId> {
        match self.objects.get(&fd) {
            Some(Object::Stream(id)) => Ok(*id),
            Some(Object::Listener { .. }) => Err(error(errors::ENOTCONN)),
            None => Err(error(errors::EBADF)),
        }
    }

    pub(crate) fn endpoint(&mut self, id: EndpointId) -> &mut Endpoint {
        self.endpoints
            .get_mut(&id)
            .expect("endpoints are never removed")
    }

    /// Room for what this end writes.
    pub(crate) fn free(&self, id: EndpointId) -> usize {
        let other = self.endpoints[&id]
            .other
            .and_then(|other| self.endpoints.get(&other));
        other.map_or(0, |other| {
            self.faults.capacity.saturating_sub(other.unread())
        })
    }

    fn level(&self, fd: Fd) -> Level {
        match &self.objects[&fd] {
            Object::Listener { backlog } => Level {
                readable: !backlog.is_empty(),
                ..Level::default()
            },
            Object::Stream(id) => self.endpoints[id].level(self.free(*id), self.faults.capacity),
        }
    }

    /// Tells the registration of `fd` that something has changed that `interest` may be waiting for.
    pub(crate) fn changed(&mut self, fd: Option<Fd>, interest: Interest) {
        let Some(fd) = fd else { return };
        if let Some(registration) = self.registrations.get_mut(&fd)
            && registration.interest.intersects(interest)
        {
            registration.armed = true;
        }
    }

    /// Sends something on its way.
    pub(crate) fn send(&mut self, from: EndpointId, arrival: Arrival) {
        let delay = self.random.below(nanos(self.faults.max_delay) + 1);
        let earliest = self.now + delay;
        let Some(other) = self.endpoint(from).other else {
            return;
        };
        let to = self.endpoint(other);
        // Nothing overtakes anything on a stream.
        let time = to
            .arrivals
            .back()
            .map_or(earliest, |(last, _)| earliest.max(*last));
        to.arrivals.push_back((time, arrival));
        self.settle();
    }

    /// Lets everything happen that is due, and what follows from it at the same time.
    pub(crate) fn settle(&mut self) {
        loop {
            let now = self.now;
            let due = |endpoint: &Endpoint| endpoint.next_change().is_some_and(|time| time <= now);
            let next = self.endpoints.iter().find(|(_, endpoint)| due(endpoint));
            let Some((&id, _)) = next else { return };
            self.settle_endpoint(id);
        }
    }

    fn settle_endpoint(&mut self, id: EndpointId) {
        let now = self.now;
        let endpoint = self.endpoint(id);
        let fd = endpoint.fd;
        if endpoint.read_withheld.is_some_and(|until| until <= now) {
            endpoint.read_withheld = None;
            self.changed(fd, Interest::READ);
        }
        let endpoint = self.endpoint(id);
        if endpoint.write_withheld.is_some_and(|until| until <= now) {
            endpoint.write_withheld = None;
            self.changed(fd, Interest::WRITE);
        }
        let endpoint = self.endpoint(id);
        if let Phase::Connecting { ends, refused } = endpoint.phase
            && ends <= now
        {
            endpoint.phase = Phase::Open;
            if refused {
                endpoint.die(errors::ECONNREFUSED);
            }
            self.changed(fd, Interest::all());
            self.log(format_args!("connect {fd:?} ended, refused: {refused}"));
        }
        // What the other end sends waits until this end has learned that it is connected.
        while !matches!(self.endpoint(id).phase, Phase::Connecting { .. }) {
            let arrivals = &mut self.endpoint(id).arrivals;
            if arrivals.front().is_none_or(|(time, _)| *time > now) {
                return;
            }
            let Some((_, arrival)) = arrivals.pop_front() else {
                return;
            };
            self.arrive(id, arrival);
        }
    }

    fn arrive(&mut self, id: EndpointId, arrival: Arrival) {
        let endpoint = self.endpoint(id);
        let fd = endpoint.fd;
        if endpoint.closed {
            if let (Arrival::Bytes(_), Some(other)) = (arrival, endpoint.other) {
                // Nobody is there to read it.
                let at = self.now;
                self.endpoint(other)
                    .arrivals
                    .push_back((at, Arrival::Reset));
            }
            return;
        }
        if endpoint.phase == Phase::Dead {
            return;
        }
        let interest = match arrival {
            Arrival::Bytes(bytes) => {
                endpoint.inbox.extend(bytes);
                Interest::READ
            }
            Arrival::End => {
                endpoint.ended = true;
                Interest::all()
            }
            Arrival::Reset => {
                endpoint.reset();
                Interest::all()
            }
        };
        self.changed(fd, interest);
    }

    /// When something changes by itself next.
    pub(crate) fn next_change(&self) -> Option<u64> {
        let task = self.tasks.keys().next().map(|(time, _)| *time);
        self.endpoints
            .values()
            .filter_map(Endpoint::next_change)
            .chain(task)
            .min()
    }

    /// What a wait would report now.
    pub(crate) fn collect(&mut self) -> Vec<Ready> {
        let fds: Vec<_> = self.registrations.keys().copied().collect();
        let mut ready = Vec::new();
        for fd in fds {
            let level = self.level(fd);
            let Registration {
                token,
                interest,
                armed,
            } = self.registrations[&fd];
            let mut readiness = level.readiness(interest);
            if !level.writable && interest.contains(Interest::WRITE) {
                self.want_room(fd);
            }
            if interest.contains(Interest::EDGE) && !armed {
                readiness = Readiness::empty();
            }
            if readiness.is_empty() {
                self.registration(fd).armed = false;
                readiness = self.spurious(fd, interest);
            }
            if !readiness.is_empty() {
                ready.push(Ready { token, readiness });
            }
        }
        if self.faults.shuffled {
            self.random.shuffle(&mut ready);
        }
        if ready.len() > 1 && self.random.chance(self.faults.partial) {
            let some = 1 + self.random.below(ready.len() as u64 - 1);
            ready.truncate(some as usize);
        }
        for report in &ready {
            self.registration(report.token.fd).armed = false;
        }
        ready
    }

    fn registration(&mut self, fd: Fd) -> &mut Registration {
        self.registrations
            .get_mut(&fd)
            .expect("only watched descriptors are looked at")
    }

    fn want_room(&mut self, fd: Fd) {
        if let Ok(id) = self.stream(fd) {
            self.endpoint(id).wants_room = true;
        }
    }

    fn spurious(&mut self, fd: Fd, interest: Interest) -> Readiness {
        if !self.random.chance(self.faults.spurious) {
            return Readiness::empty();
        }
        // Never while connecting: writability is the sign there that it has ended.
        if let Ok(id) = self.stream(fd)
            && self.endpoint(id).phase != Phase::Open
        {
            return Readiness::empty();
        }
        let mut readiness = Readiness::empty();
        readiness.set(Readiness::READ, interest.contains(Interest::READ));
        readiness.set(Readiness::WRITE, interest.contains(Interest::WRITE));
        readiness
    }

    /// Reads for the code under test, with faults.
    pub(crate) fn read(&mut self, fd: Fd, room: &mut [u8]) -> io::Result<Received> {
        let id = self.stream(fd)?;
        let faults = self.faults;
        let [interrupted, blocked, short, visible] = [
            faults.interrupted,
            faults.would_block,
            faults.short_read,
            50,
        ]
        .map(|odds| self.random.chance(odds));
        let cut = self.random.bits();
        let until = self.now + 1 + self.random.below(LONGEST_WITHHELD);
        let endpoint = self.endpoint(id);
        match endpoint.phase {
            Phase::Fresh => return Err(error(errors::ENOTCONN)),
            Phase::Connecting { .. } => return Err(error(errors::EAGAIN)),
            Phase::Open | Phase::Dead => {}
        }
        if interrupted {
            return Err(error(errors::EINTR));
        }
        if endpoint.read_withheld.is_some() {
            return Err(error(errors::EAGAIN));
        }
        let something = endpoint.ended || !endpoint.inbox.is_empty();
        if blocked && something && endpoint.phase == Phase::Open {
            endpoint.read_withheld = Some(until);
            return Err(error(errors::EAGAIN));
        }
        if endpoint.inbox.is_empty() {
            if let Some(number) = endpoint.error.take() {
                return Err(error(number));
            }
            if endpoint.ended {
                return Ok(Received {
                    bytes: 0,
                    drained: true,
                });
            }
            return Err(error(errors::EAGAIN));
        }
        let mut bytes = room.len().min(endpoint.inbox.len());
        if short {
            bytes = 1 + (cut % bytes as u64) as usize;
        }
        for (place, byte) in room.iter_mut().zip(endpoint.inbox.drain(..bytes)) {
            *place = byte;
        }
        // The rest is still there, or it will only come.
        let left = !endpoint.inbox.is_empty();
        if left && bytes < room.len() && !visible && endpoint.phase == Phase::Open {
            endpoint.read_withheld = Some(until);
        }
        let drained = bytes < room.len() && (!left || endpoint.read_withheld.is_some());
        self.made_room(id);
        Ok(Received { bytes, drained })
    }

    /// Tells the writer at the other end of `reader`, if it waits for that.
    pub(crate) fn made_room(&mut self, reader: EndpointId) {
        let Some(writer) = self.endpoint(reader).other else {
            return;
        };
        let room = has_room(self.free(writer), self.faults.capacity);
        let endpoint = self.endpoint(writer);
        if room && endpoint.wants_room && !endpoint.closed {
            endpoint.wants_room = false;
            let fd = endpoint.fd;
            self.changed(fd, Interest::WRITE);
        }
    }

    /// Writes for the code under test, with faults.
    pub(crate) fn write(&mut self, fd: Fd, mut bytes: Vec<u8>) -> io::Result<Sent> {
        let id = self.stream(fd)?;
        let faults = self.faults;
        let [interrupted, blocked, short] =
            [faults.interrupted, faults.would_block, faults.short_write]
                .map(|odds| self.random.chance(odds));
        let cut = self.random.bits();
        let until = self.now + 1 + self.random.below(LONGEST_WITHHELD);
        let free = self.free(id);
        let endpoint = self.endpoint(id);
        match endpoint.phase {
            Phase::Fresh => return Err(error(errors::EPIPE)),
            Phase::Connecting { .. } => {
                endpoint.wants_room = true;
                return Err(error(errors::EAGAIN));
            }
            Phase::Open | Phase::Dead => {}
        }
        if interrupted {
            return Err(error(errors::EINTR));
        }
        if let Some(number) = endpoint.error.take() {
            return Err(error(number));
        }
        if endpoint.shut {
            return Err(error(errors::EPIPE));
        }
        if blocked && endpoint.write_withheld.is_none() {
            endpoint.write_withheld = Some(until);
        }
        if free == 0 || endpoint.write_withheld.is_some() {
            endpoint.wants_room = true;
            return Err(error(errors::EAGAIN));
        }
        let offered = bytes.len();
        bytes.truncate(free);
        if short && !bytes.is_empty() {
            bytes.truncate(1 + (cut % bytes.len() as u64) as usize);
        }
        let sent = bytes.len();
        if sent < offered {
            endpoint.wants_room = true;
            if sent < free {
                endpoint.write_withheld = Some(until);
            }
        }
        self.send(id, Arrival::Bytes(bytes));
        Ok(Sent {
            bytes: sent,
            blocked: sent < offered,
        })
    }

    /// Closes a descriptor, and with it what it stands for.
    pub(crate) fn close(&mut self, fd: Fd) {
        self.registrations.remove(&fd);
        match self.objects.remove(&fd) {
            Some(Object::Stream(id)) => self.close_endpoint(id),
            Some(Object::Listener { backlog }) => backlog.into_iter().for_each(|id| {
                self.endpoint(id).closed = true;
                self.send(id, Arrival::Reset);
            }),
            None => {}
        }
    }

    pub(crate) fn close_endpoint(&mut self, id: EndpointId) {
        let endpoint = self.endpoint(id);
        endpoint.closed = true;
        endpoint.fd = None;
        if endpoint.phase != Phase::Open {
            return;
        }
        // Bytes that nobody will read make the close a reset.
        let arrival = match (endpoint.unread(), endpoint.shut) {
            (0, true) => return,
            (0, false) => Arrival::End,
            _ => Arrival::Reset,
        };
        self.send(id, arrival);
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}
