//! Choosing a driver.

use std::io;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Ready, Token};

use crate::epoll::Epoll;
use crate::poll::Poll;
use crate::select::Select;
use crate::waker::Waker;

/// How readiness is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `epoll`.
    Epoll,
    /// `poll`.
    Poll,
    /// `select`.
    Select,
}

impl Method {
    /// All methods, the best first (`event_get_supported_methods`).
    pub const ALL: [Self; 3] = [Self::Epoll, Self::Poll, Self::Select];

    /// The name that `event_base_get_method` and `event_config_avoid_method` know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Poll => "poll",
            Self::Select => "select",
        }
    }

    /// The environment variable by which the user of a program forbids it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Epoll => "EVENT_NOEPOLL",
            Self::Poll => "EVENT_NOPOLL",
            Self::Select => "EVENT_NOSELECT",
        }
    }

    /// The methods that the environment forbids.
    pub fn forbidden() -> impl Iterator<Item = Self> {
        let set = |method: &Self| std::env::var_os(method.variable()).is_some();
        Self::ALL.into_iter().filter(set)
    }

    /// What a driver of this method can do.
    pub fn features(self) -> Features {
        match self {
            Self::Epoll => Features::EDGE | Features::O1 | Features::EARLY_CLOSE,
            Self::Poll => Features::FDS | Features::EARLY_CLOSE,
            Self::Select => Features::FDS,
        }
    }
}

/// How a driver is to work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Keep timeouts to the nanosecond where a method would round them up to milliseconds
    /// (`EVENT_BASE_FLAG_PRECISE_TIMER`).
    pub precise: bool,
}

/// A driver of any method, dispatched without a table of pointers.
#[derive(Debug)]
pub enum System {
    /// By `epoll`.
    Epoll(Epoll),
    /// By `poll`.
    Poll(Poll),
    /// By `select`.
    Select(Select),
}

impl System {
    /// Opens a driver of one method.
    ///
    /// # Errors
    /// What the system says: `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open(method: Method, options: Options) -> io::Result<Self> {
        Ok(match method {
            Method::Epoll => Self::Epoll(Epoll::open(options.precise)?),
            Method::Poll => Self::Poll(Poll::open()?),
            Method::Select => Self::Select(Select::open()?),
        })
    }

    /// Opens a driver of the best method that has all `required` features and is none of `avoided`. A method that the
    /// system refuses gives way to the next.
    ///
    /// # Errors
    /// `Unsupported` when no method is left, otherwise what the system said of the last that was tried.
    pub fn choose(avoided: &[Method], required: Features, options: Options) -> io::Result<Self> {
        let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
        for method in Method::ALL {
            if avoided.contains(&method) || !method.features().contains(required) {
                continue;
            }
            match Self::open(method, options) {
                Ok(system) => return Ok(system),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// Which method this is.
    pub fn method(&self) -> Method {
        match self {
            Self::Epoll(_) => Method::Epoll,
            Self::Poll(_) => Method::Poll,
            Self::Select(_) => Method::Select,
        }
    }

    /// Ends the waits of this driver, from any thread or a signal handler.
    pub fn waker(&self) -> Waker {
        match self {
            Self::Epoll(driver) => driver.waker(),
            Self::Poll(driver) => driver.waker(),
            Self::Select(driver) => driver.waker(),
        }
    }
}

/// Calls the same method on whichever driver it is.
macro_rules! dispatch {
    ($system:expr, $driver:ident => $call:expr) => {
        match $system {
            System::Epoll($driver) => $call,
            System::Poll($driver) => $call,
            System::Select($driver) => $call,
        }
    };
}

impl Driver for System {
    fn name(&self) -> &'static str {
        dispatch!(self, driver => driver.name())
    }

    fn features(&self) -> Features {
        dispatch!(self, driver => driver.features())
    }

    fn now(&self) -> u64 {
        dispatch!(self, driver => driver.now())
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        dispatch!(self, driver => driver.register(token, interest))
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        dispatch!(self, driver => driver.reregister(token, interest))
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        dispatch!(self, driver => driver.deregister(fd))
    }

    fn closing(&mut self, fd: Fd) {
        dispatch!(self, driver => driver.closing(fd));
    }

    fn reset(&mut self) -> io::Result<()> {
        dispatch!(self, driver => driver.reset())
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        dispatch!(self, driver => driver.wait(timeout, ready))
    }
}
