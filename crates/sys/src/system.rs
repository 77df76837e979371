//! Choosing a driver.

use std::io;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Interest, Ready, Token};

use crate::epoll::Epoll;
use crate::poll::Poll;
use crate::select::Select;
use crate::uring::Uring;
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
    /// `epoll`, with the changes of a pass handed over together by `io_uring`. It is used only if it is asked for.
    IoUring,
}

impl Method {
    /// All methods that are chosen from by themselves, the best first (`event_get_supported_methods`).
    pub const ALL: [Self; 3] = [Self::Epoll, Self::Poll, Self::Select];

    /// The environment variable by which the user of a program says what he wants it to use.
    pub const WANTED: &str = "FERREVENT_METHOD";

    /// The method of this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut known = Self::ALL.into_iter().chain([Self::IoUring]);
        known.find(|method| method.name() == name)
    }

    /// The method that the environment asks for, or what it says instead of one.
    pub fn wanted() -> Option<Result<Self, String>> {
        let name = std::env::var_os(Self::WANTED)?;
        let name = name.to_string_lossy();
        Some(Self::named(&name).ok_or_else(|| name.into_owned()))
    }

    /// The name that `event_base_get_method` and `event_config_avoid_method` know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Poll => "poll",
            Self::Select => "select",
            Self::IoUring => "io_uring",
        }
    }

    /// The environment variable by which the user of a program forbids it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Epoll => "EVENT_NOEPOLL",
            Self::Poll => "EVENT_NOPOLL",
            Self::Select => "EVENT_NOSELECT",
            Self::IoUring => "EVENT_NOIO_URING",
        }
    }

    /// The methods that the environment forbids.
    pub fn forbidden() -> impl Iterator<Item = Self> {
        let set = |method: &Self| std::env::var_os(method.variable()).is_some();
        Self::ALL.into_iter().chain([Self::IoUring]).filter(set)
    }

    /// Whether it is one of `avoided`, or does its work with one of them, or lacks a feature that is `required`.
    fn is_out(self, avoided: &[Self], required: Features) -> bool {
        avoided.contains(&self)
            || (self == Self::IoUring && avoided.contains(&Self::Epoll))
            || !self.features().contains(required)
    }

    /// What a driver of this method can do.
    pub fn features(self) -> Features {
        match self {
            Self::Epoll | Self::IoUring => Features::EDGE | Features::O1 | Features::EARLY_CLOSE,
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
    /// By `epoll` and `io_uring`.
    IoUring(Box<Uring>),
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
            Method::IoUring => Self::IoUring(Box::new(Uring::open(options.precise)?)),
        })
    }

    /// Opens a driver of this method and no other.
    ///
    /// # Errors
    /// `Unsupported` if it has not all `required` features or is one of `avoided`; those of [`open`](Self::open).
    pub fn only(
        method: Method,
        avoided: &[Method],
        required: Features,
        options: Options,
    ) -> io::Result<Self> {
        if method.is_out(avoided, required) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Self::open(method, options)
    }

    /// Opens another driver like this one, for a base that goes on in a forked child.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_again(&self, options: Options) -> io::Result<Self> {
        match self {
            // Without a ring, if there is none to be had in the child: it works all the same.
            Self::IoUring(_) => Ok(Self::IoUring(Box::new(Uring::open_again(options.precise)?))),
            _ => Self::open(self.method(), options),
        }
    }

    /// Opens a driver of the best method that has all `required` features and is none of `avoided`. A method that the
    /// system refuses gives way to the next.
    ///
    /// # Errors
    /// `Unsupported` when no method is left, otherwise what the system said of the last that was tried.
    pub fn choose(avoided: &[Method], required: Features, options: Options) -> io::Result<Self> {
        let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
        for method in Method::ALL {
            if method.is_out(avoided, required) {
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
            Self::IoUring(_) => Method::IoUring,
        }
    }

    /// Ends the waits of this driver, from any thread or a signal handler.
    pub fn waker(&self) -> Waker {
        match self {
            Self::Epoll(driver) => driver.waker(),
            Self::Poll(driver) => driver.waker(),
            Self::Select(driver) => driver.waker(),
            Self::IoUring(driver) => driver.waker(),
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
            System::IoUring($driver) => $call,
        }
    };
}

impl System {
    #[inline(never)]
    fn wait_otherwise(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        dispatch!(self, driver => driver.wait(timeout, ready))
    }
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

    fn put_off(&mut self, changes: usize) -> bool {
        dispatch!(self, driver => driver.put_off(changes))
    }

    fn settle(&mut self, refused: &mut Vec<(Fd, io::Error)>) {
        dispatch!(self, driver => driver.settle(refused));
    }

    fn closing(&mut self, fd: Fd) {
        dispatch!(self, driver => driver.closing(fd));
    }

    fn reset(&mut self) -> io::Result<()> {
        dispatch!(self, driver => driver.reset())
    }

    /// Inlined, so that the usual method is called at once.
    #[inline]
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self {
            Self::Epoll(driver) => driver.wait(timeout, ready),
            other => other.wait_otherwise(timeout, ready),
        }
    }
}
