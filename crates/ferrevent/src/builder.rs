//! How a base is made.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Fd, Features, Transport};
use ferrevent_sys::{Method, Options, System};

use crate::base::Base;
use crate::error::{Error, Result};
use crate::remote::Wake;

/// Configures a [`Base`] (libevent's `struct event_config`).
///
/// ```
/// use ferrevent::{Base, Method};
///
/// # fn main() -> ferrevent::Result<()> {
/// let base = Base::builder().method(Method::Poll).priorities(3).build()?;
/// assert_eq!(base.method(), "poll");
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Builder {
    method: Option<Method>,
    wanted: Option<Result<Method, String>>,
    avoided: Vec<Method>,
    required: Features,
    precise: bool,
    priorities: Option<u8>,
    max_callbacks: Option<usize>,
    max_interval: Option<Duration>,
    limited_from: u8,
    driver: Option<(Box<dyn Driver>, Rc<dyn Transport>)>,
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    warn: Option<Box<dyn FnMut(Warning)>>,
}

/// Something that has gone wrong in the loop itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Somebody waits for this descriptor, but the kernel does not watch it any more; it was probably closed.
    #[error("descriptor {fd} cannot be watched: {error}")]
    Unwatched {
        /// The descriptor; negative: the kernel's instance as a whole.
        fd: Fd,
        /// What the kernel said.
        error: io::Error,
    },
    /// The former disposition of a signal could not be restored.
    #[error("signal {signal} cannot be given back: {error}")]
    Signal {
        /// Its number.
        signal: i32,
        /// What the kernel said.
        error: io::Error,
    },
    /// The environment asks for this method, and another one is used.
    #[error("{}: \"{name}\" is not used: {error}", Method::WANTED)]
    Method {
        /// Its name.
        name: String,
        /// Why not: `Unsupported` where the builder does not allow it, `InvalidInput` where there is none of this name, or
        /// what the kernel said.
        error: io::Error,
    },
    /// A listener cannot accept, and rests for a second.
    #[error("cannot accept a connection: {error}")]
    Accept {
        /// What the kernel said.
        error: io::Error,
    },
}

impl Builder {
    /// Uses this method and no other, [`Method::IoUring`] only where the kernel allows it.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Does not use this method (`event_config_avoid_method`).
    #[must_use]
    pub fn avoid(mut self, method: Method) -> Self {
        self.avoided.push(method);
        self
    }

    /// Heeds libevent's environment variables, by which the user of a program forbids methods (`EVENT_NOEPOLL`,
    /// `EVENT_NOPOLL`, `EVENT_NOSELECT`) or asks for precise timers (`EVENT_PRECISE_TIMER`). libevent always does,
    /// unless told not to (`EVENT_BASE_FLAG_IGNORE_ENV`). And `FERREVENT_METHOD`, by which the user says what to use,
    /// `io_uring` above all, where [`method`](Self::method) does not say anything else; if that cannot be, there is a
    /// [`Warning`], and another one is used.
    #[must_use]
    pub fn heed_environment(mut self) -> Self {
        self.wanted = Method::wanted();
        self.avoided.extend(Method::forbidden());
        self.precise |= std::env::var_os("EVENT_PRECISE_TIMER").is_some();
        self
    }

    /// Uses only a method with all these features (`event_config_require_features`).
    #[must_use]
    pub fn require(mut self, features: Features) -> Self {
        self.required |= features;
        self
    }

    /// Keeps timeouts to the nanosecond where the method would round them up to milliseconds
    /// (`EVENT_BASE_FLAG_PRECISE_TIMER`).
    #[must_use]
    pub fn precise_timers(mut self) -> Self {
        self.precise = true;
        self
    }

    /// Sets the number of priorities, 1 to 255; 1 if not set (`event_base_priority_init`). Priority 0 runs first, and
    /// what is new gets the middle one.
    #[must_use]
    pub fn priorities(mut self, priorities: u8) -> Self {
        self.priorities = Some(priorities);
        self
    }

    /// Looks for new events after so many callbacks, or after so much time, rather than only when all that was ready
    /// has been served; callbacks of a priority before `from_priority` are not limited
    /// (`event_config_set_max_dispatch_interval`).
    #[must_use]
    pub fn max_dispatch(
        mut self,
        callbacks: Option<usize>,
        interval: Option<Duration>,
        from_priority: u8,
    ) -> Self {
        self.max_callbacks = callbacks;
        self.max_interval = interval;
        self.limited_from = from_priority;
        self
    }

    /// Runs on a driver of your own, such as the simulated one, instead of on the operating system. Bufferevents then
    /// [adopt](crate::BufferEventBuilder::adopt) descriptors of that driver's world; what needs the operating system
    /// (signals, connecting by address, listeners) fails with [`Error::NotOnSystem`].
    #[must_use]
    pub fn driver(mut self, driver: Box<dyn Driver>, transport: Rc<dyn Transport>) -> Self {
        self.driver = Some((driver, transport));
        self
    }

    /// How another thread ends the wait of your own driver; without it, what [`Remote`](crate::Remote) posts is found
    /// when a wait ends by itself.
    #[must_use]
    pub fn waker(mut self, wake: impl Fn() + Send + Sync + 'static) -> Self {
        self.wake = Some(Box::new(wake));
        self
    }

    /// Is told of what goes wrong when no caller is there to be told (`event_set_log_callback`). If not set, it is a
    /// line on standard error, as in libevent.
    #[must_use]
    pub fn warn(mut self, warn: impl FnMut(Warning) + 'static) -> Self {
        self.warn = Some(Box::new(warn));
        self
    }

    /// Makes the base (`event_base_new_with_config`).
    ///
    /// # Errors
    /// [`Error::Io`]: `Unsupported` when no method is left; what the system says when it is out of descriptors or
    /// memory. [`Error::Priority`] for 0 priorities.
    pub fn build(mut self) -> Result<Base> {
        let mut refusal = None;
        let mut base = match self.driver.take() {
            Some((driver, transport)) => {
                Base::on_driver(driver, transport, Wake::Other(self.wake.take()))
            }
            None => {
                let (system, refused) = self.open_system()?;
                refusal = refused;
                Base::on_system(system)
            }
        };
        if let Some(priorities) = self.priorities {
            let set = base.core.set_priorities(usize::from(priorities));
            set.map_err(|_| Error::Priority(priorities))?;
        }
        let interval = self.max_interval.map(crate::nanos);
        if self.max_callbacks.is_some() || interval.is_some() {
            let from = usize::from(self.limited_from);
            base.core
                .set_dispatch_limits(self.max_callbacks, interval, from);
        }
        if let Some(warn) = self.warn {
            base.warn = warn;
        }
        if let Some(refusal) = refusal {
            (base.warn)(refusal);
        }
        Ok(base)
    }

    /// A driver, and why it is not the one that the environment asks for.
    fn open_system(&self) -> io::Result<(System, Option<Warning>)> {
        let options = Options {
            precise: self.precise,
        };
        let only = |method| System::only(method, &self.avoided, self.required, options);
        if let Some(method) = self.method {
            return Ok((only(method)?, None));
        }
        let refusal = match &self.wanted {
            None => None,
            Some(Err(name)) => Some((name.clone(), io::ErrorKind::InvalidInput.into())),
            Some(Ok(method)) => match only(*method) {
                Ok(system) => return Ok((system, None)),
                Err(error) => Some((method.name().to_owned(), error)),
            },
        };
        let system = System::choose(&self.avoided, self.required, options)?;
        Ok((
            system,
            refusal.map(|(name, error)| Warning::Method { name, error }),
        ))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("method", &self.method)
            .field("avoided", &self.avoided)
            .field("required", &self.required)
            .field("priorities", &self.priorities)
            .finish_non_exhaustive()
    }
}
