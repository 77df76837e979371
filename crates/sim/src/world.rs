//! The handle of a world.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferrevent_core::driver::{Connect, Fd, Interest};

use crate::driver::SimDriver;
use crate::endpoint::{Arrival, NEVER, Phase};
use crate::errors::{self, error};
use crate::faults::Faults;
use crate::peer::Peer;
use crate::state::{self, Object, State};
use crate::transport::SimTransport;

/// How a connection attempt is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dial {
    /// It stands at once.
    Now,
    /// It stands after this time.
    After(Duration),
    /// It is refused at once.
    RefusedNow,
    /// It is refused after this time.
    RefusedAfter(Duration),
    /// It never ends.
    Never,
    /// The network cannot be reached: an error that is no refusal.
    Unreachable,
    /// Any of `Now`, `After`, `RefusedNow` and `RefusedAfter`, within a second, as the seed has it.
    Any,
}

/// A simulated system. Clones are the same world.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
}

impl World {
    /// A world without descriptors, a second after its beginning.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed, faults))),
        }
    }

    /// The driver for the code under test. One at a time: all share the registrations.
    #[must_use]
    pub fn driver(&self) -> SimDriver {
        SimDriver::new(self.clone())
    }

    /// The transport for the code under test.
    #[must_use]
    pub fn transport(&self) -> SimTransport {
        SimTransport::new(self.clone())
    }

    /// Nanoseconds of the clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.lock().now
    }

    /// What the code under test and the peers did, a line each, with the time.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// How many descriptors are open: none, if the code under test has closed all of its own.
    #[must_use]
    pub fn open_descriptors(&self) -> usize {
        self.lock().objects.len()
    }

    /// Changes the odds from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// A number less than `end` from the world's sequence.
    #[must_use]
    pub fn random_below(&self, end: u64) -> u64 {
        self.lock().random.below(end)
    }

    /// A connected socket, and its remote end for the test.
    #[must_use]
    pub fn pair(&self) -> (Fd, Peer) {
        let mut state = self.lock();
        let (fd, near) = state.open_stream(Phase::Open);
        let far = state.add_endpoint(Phase::Open, None);
        state.link(near, far);
        (fd, Peer::new(self.clone(), far))
    }

    /// Two sockets that are connected with each other, both for the code under test.
    #[must_use]
    pub fn local_pair(&self) -> (Fd, Fd) {
        let mut state = self.lock();
        let (a, near) = state.open_stream(Phase::Open);
        let (b, far) = state.open_stream(Phase::Open);
        state.link(near, far);
        (a, b)
    }

    /// A socket that is not connected.
    #[must_use]
    pub fn socket(&self) -> Fd {
        self.lock().open_stream(Phase::Fresh).0
    }

    /// Begins to connect a socket of [`World::socket`]; [`World::peer`] is the end that it then talks to.
    ///
    /// # Errors
    /// `ENETUNREACH` if that was asked for, `EISCONN` if it has been connected before, `EBADF`.
    pub fn connect(&self, fd: Fd, dial: Dial) -> io::Result<Connect> {
        let mut state = self.lock();
        let near = state.stream(fd)?;
        if !matches!(state.endpoint(near).phase, Phase::Fresh) {
            return Err(error(errors::EISCONN));
        }
        let dial = match dial {
            Dial::Any => any_dial(&mut state),
            dial => dial,
        };
        state.log(format_args!("connect {fd} {dial:?}"));
        let later = |delay| state.now.saturating_add(state::nanos(delay));
        let (phase, connect) = match dial {
            Dial::Now | Dial::Any => (Phase::Open, Connect::Done),
            Dial::After(delay) => (
                Phase::Connecting {
                    ends: later(delay),
                    refused: false,
                },
                Connect::Started,
            ),
            Dial::RefusedAfter(delay) => (
                Phase::Connecting {
                    ends: later(delay),
                    refused: true,
                },
                Connect::Started,
            ),
            Dial::Never => (
                Phase::Connecting {
                    ends: NEVER,
                    refused: true,
                },
                Connect::Started,
            ),
            Dial::RefusedNow => return Ok(Connect::Refused),
            Dial::Unreachable => return Err(error(errors::ENETUNREACH)),
        };
        state.endpoint(near).phase = phase;
        let far = state.add_endpoint(Phase::Open, None);
        state.link(near, far);
        state.changed(Some(fd), Interest::all());
        Ok(connect)
    }

    /// The remote end of a socket, if it has been connected to one.
    #[must_use]
    pub fn peer(&self, fd: Fd) -> Option<Peer> {
        let mut state = self.lock();
        let near = state.stream(fd).ok()?;
        let far = state.endpoint(near).other?;
        Some(Peer::new(self.clone(), far))
    }

    /// A listening socket.
    #[must_use]
    pub fn listen(&self) -> Fd {
        self.lock().open(|_, _| Object::Listener {
            backlog: Default::default(),
        })
    }

    /// Connects to a listening socket from outside.
    ///
    /// # Errors
    /// `ECONNREFUSED` if `listener` does not listen.
    pub fn dial(&self, listener: Fd) -> io::Result<Peer> {
        let mut state = self.lock();
        state.log(format_args!("dial {listener}"));
        if !matches!(state.objects.get(&listener), Some(Object::Listener { .. })) {
            return Err(error(errors::ECONNREFUSED));
        }
        let near = state.add_endpoint(Phase::Open, None);
        let far = state.add_endpoint(Phase::Open, None);
        state.link(near, far);
        if let Some(Object::Listener { backlog }) = state.objects.get_mut(&listener) {
            backlog.push_back(near);
        }
        state.changed(Some(listener), Interest::READ);
        Ok(Peer::new(self.clone(), far))
    }

    /// Takes a connection from a listening socket.
    ///
    /// # Errors
    /// `EAGAIN` when there is none, `EINTR`, `EINVAL` if `listener` does not listen.
    pub fn accept(&self, listener: Fd) -> io::Result<Fd> {
        let mut state = self.lock();
        let faults = state.faults;
        if state.random.chance(faults.interrupted) {
            return Err(error(errors::EINTR));
        }
        let Some(Object::Listener { backlog }) = state.objects.get_mut(&listener) else {
            return Err(error(errors::EINVAL));
        };
        let near = backlog.pop_front().ok_or_else(|| error(errors::EAGAIN))?;
        let fd = state.open(|_, _| Object::Stream(near));
        state.endpoint(near).fd = Some(fd);
        state.log(format_args!("accept {listener} {fd}"));
        Ok(fd)
    }

    /// Ends the sending side of a socket of the code under test.
    ///
    /// # Errors
    /// `ENOTCONN`, `EBADF`.
    pub fn shutdown(&self, fd: Fd) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.stream(fd)?;
        state.log(format_args!("shutdown {fd}"));
        let endpoint = state.endpoint(id);
        if endpoint.phase != Phase::Open {
            return Err(error(errors::ENOTCONN));
        }
        if !std::mem::replace(&mut endpoint.shut, true) {
            state.send(id, Arrival::End);
            state.changed(Some(fd), Interest::all());
        }
        Ok(())
    }

    /// Has the test do something after `delay`, in the middle of a wait.
    pub fn after(&self, delay: Duration, task: impl FnOnce(&World) + Send + 'static) {
        let mut state = self.lock();
        let key = (state.now.saturating_add(state::nanos(delay)), state.fresh());
        state.tasks.insert(key, Box::new(task));
    }

    /// Moves the clock on, with everything that happens in that time.
    pub fn advance(&self, by: Duration) {
        let end = self.now().saturating_add(state::nanos(by));
        loop {
            self.run_due();
            let mut state = self.lock();
            match state.next_change() {
                Some(next) if next <= end => state.now = state.now.max(next),
                _ => {
                    state.now = end;
                    return;
                }
            }
        }
    }

    /// Ends the current wait, or else the next one.
    pub fn wake(&self) {
        self.lock().woken = true;
    }

    /// Lets everything happen that is due, the test's tasks included, with the world unlocked while they run.
    pub(crate) fn run_due(&self) {
        loop {
            let mut state = self.lock();
            state.settle();
            let now = state.now;
            let due = state
                .tasks
                .first_entry()
                .filter(|entry| entry.key().0 <= now);
            let Some(task) = due.map(|entry| entry.remove()) else {
                return;
            };
            drop(state);
            task(self);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that has panicked with the world locked says so itself; others may still look.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

fn any_dial(state: &mut State) -> Dial {
    let delay = Duration::from_nanos(state.random.below(1_000_000_000));
    match state.random.below(4) {
        0 => Dial::Now,
        1 => Dial::After(delay),
        2 => Dial::RefusedNow,
        _ => Dial::RefusedAfter(delay),
    }
}
