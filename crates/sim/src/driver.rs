//! The simulated driver.

use std::io;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Ready, Token};

use crate::errors::{self, error};
use crate::state::{self, Registration, State};
use crate::world::World;

/// What a wait takes in any case. Without it, a loop that always finds something ready would stop the clock.
const TICK: u64 = 1_000;

/// Readiness of a [`World`]'s descriptors, with the triggering of epoll.
#[derive(Clone, Debug)]
pub struct SimDriver {
    world: World,
}

impl SimDriver {
    pub(crate) fn new(world: World) -> Self {
        Self { world }
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn features(&self) -> Features {
        Features::all()
    }

    fn now(&self) -> u64 {
        self.world.lock().now
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        let mut state = self.world.lock();
        state.log(format_args!("register {token:?} {interest:?}"));
        if !state.objects.contains_key(&token.fd) {
            return Err(error(errors::EBADF));
        }
        if state.registrations.contains_key(&token.fd) {
            return Err(error(errors::EEXIST));
        }
        state.registrations.insert(
            token.fd,
            Registration {
                token,
                interest,
                armed: true,
            },
        );
        Ok(())
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        let mut state = self.world.lock();
        state.log(format_args!("reregister {token:?} {interest:?}"));
        if !state.objects.contains_key(&token.fd) {
            return Err(error(errors::EBADF));
        }
        let registration = state.registrations.get_mut(&token.fd);
        *registration.ok_or_else(|| error(errors::ENOENT))? = Registration {
            token,
            interest,
            armed: true,
        };
        Ok(())
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        let mut state = self.world.lock();
        state.log(format_args!("deregister {fd}"));
        if !state.objects.contains_key(&fd) {
            return Err(error(errors::EBADF));
        }
        state
            .registrations
            .remove(&fd)
            .map(drop)
            .ok_or_else(|| error(errors::ENOENT))
    }

    /// As under epoll, closing is enough.
    fn closing(&mut self, _fd: Fd) {}

    fn reset(&mut self) -> io::Result<()> {
        let mut state = self.world.lock();
        state.log(format_args!("reset"));
        state.registrations.clear();
        Ok(())
    }

    /// As the contract says; the clock jumps to whatever comes first.
    ///
    /// # Errors
    /// `Deadlock` if the wait would never end: no timeout, and nothing on its way.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut state = self.world.lock();
        state.log(format_args!("wait {timeout:?}"));
        let began = state.now;
        let deadline = timeout.map(|timeout| began.saturating_add(state::nanos(timeout)));
        let faults = state.faults;
        let early = state.random.chance(faults.early_return) && timeout != Some(Duration::ZERO);
        drop(state);
        loop {
            self.world.run_due();
            let mut state = self.world.lock();
            let found = state.collect();
            let woken = std::mem::take(&mut state.woken);
            if !found.is_empty() || woken || early {
                if state.now == began {
                    state.now += TICK;
                }
                state.log(format_args!("ready {found:?}"));
                ready.extend(found);
                return Ok(());
            }
            if deadline.is_some_and(|deadline| deadline <= state.now) {
                return Ok(());
            }
            advance(&mut state, deadline)?;
        }
    }
}

/// Moves the clock on to the next change or the deadline.
fn advance(state: &mut State, deadline: Option<u64>) -> io::Result<()> {
    let next = [state.next_change(), deadline].into_iter().flatten().min();
    let next =
        next.ok_or_else(|| io::Error::new(io::ErrorKind::Deadlock, "this wait would never end"))?;
    state.now = state.now.max(next);
    Ok(())
}
