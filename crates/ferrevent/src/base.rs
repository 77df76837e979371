//! The event base: what it owns, and what it can be asked.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use ferrevent_core::arena::Arena;
use ferrevent_core::driver::{Driver, Fd, Features, Ready, Transport};
use ferrevent_core::{Core, Host, NoPlaces};
use ferrevent_sys::{Posix, SignalInbox, System};
use slotmap::{SlotMap, new_key_type};

use crate::bufferevent::{BufferEvent, StreamSlot};
use crate::builder::{Builder, Warning};
use crate::dns::{Resolver, ResolverSlot};
use crate::error::{Error, Result};
use crate::event::{Event, EventSlot};
use crate::http::{Asking, Serving};
use crate::listener::{Listener, ListenerSlot};
use crate::remote::{Remote, Shared, Wake};

/// An event base (libevent's `struct event_base`): it owns every event, bufferevent and listener, and runs their
/// callbacks.
///
/// What it owns is named by small keys, [`Event`], [`BufferEvent`] and [`Listener`], which are copied freely and never
/// dangle: a key of something that has been freed gives `None`, `false` or [`Error::Stale`]. Every callback gets the
/// base as `&mut Base`, and may do anything with it but run the loop once more.
///
/// A base stays on its thread; [`remote`](Self::remote) gives other threads a way in. Dropping it closes and drops
/// everything that it owns, without calling anybody.
///
/// ```
/// use std::time::Duration;
/// use ferrevent::Base;
///
/// # fn main() -> ferrevent::Result<()> {
/// let mut base = Base::new()?;
/// base.after(Duration::from_millis(5), |base| {
///     println!("five milliseconds, on {}", base.method());
/// });
/// base.run()?;
/// # Ok(())
/// # }
/// ```
pub struct Base {
    pub(crate) core: Core<Shell>,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) transport: Rc<dyn Transport>,
    /// Set if the driver is one of the operating system's.
    pub(crate) system: Option<Native>,
    pub(crate) events: SlotMap<Event, EventSlot>,
    pub(crate) streams: Arena<BufferEvent, StreamSlot>,
    pub(crate) listeners: SlotMap<Listener, ListenerSlot>,
    pub(crate) resolvers: SlotMap<Resolver, ResolverSlot>,
    pub(crate) default_resolver: Option<Resolver>,
    pub(crate) serving: Serving,
    pub(crate) asking: Asking,
    pub(crate) tasks: SlotMap<TaskKey, Box<dyn FnOnce(&mut Base)>>,
    pub(crate) shared: std::sync::Arc<Shared>,
    pub(crate) warn: Box<dyn FnMut(Warning)>,
    /// Kept for its memory.
    pub(crate) ready: Vec<Ready>,
    /// The event whose closure runs.
    pub(crate) running: Option<Event>,
    state: HashMap<TypeId, Box<dyn Any>>,
}

/// What only a base on the operating system has.
pub(crate) struct Native {
    pub(crate) waker: ferrevent_sys::Waker,
    /// Opened with the first signal.
    pub(crate) signals: Option<SignalInbox>,
}

new_key_type! {
    /// Names a closure that waits to run.
    pub(crate) struct TaskKey;
}

/// The core's cookies are the keys of our slots.
#[derive(Debug)]
pub(crate) enum Shell {}

impl Host for Shell {
    type Event = Event;
    type Stream = BufferEvent;
    type Task = TaskKey;
    type Block = Infallible;
    type Slots = NoPlaces;
    type Clocks = NoPlaces;
}

impl Base {
    /// A base with the best driver that the system has (`event_base_new`).
    ///
    /// # Errors
    /// [`Error::Io`] when the system is out of descriptors or memory.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Starts to configure a base (`event_config_new`).
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn on_system(system: System) -> Self {
        let native = Native {
            waker: system.waker(),
            signals: None,
        };
        // A Rust program has SIGPIPE ignored unless it asked otherwise; either way a closed peer must not end it.
        let posix = Posix {
            suppress_sigpipe: true,
        };
        let wake = Wake::System(native.waker.clone());
        let mut base = Self::on_driver(Box::new(system), Rc::new(posix), wake);
        base.system = Some(native);
        base
    }

    pub(crate) fn on_driver(
        driver: Box<dyn Driver>,
        transport: Rc<dyn Transport>,
        wake: Wake,
    ) -> Self {
        let mut core = Core::new(driver.features());
        core.set_now(driver.now());
        Self {
            core,
            driver,
            transport,
            system: None,
            events: SlotMap::with_key(),
            streams: Arena::default(),
            listeners: SlotMap::with_key(),
            resolvers: SlotMap::with_key(),
            default_resolver: None,
            serving: Serving::default(),
            asking: Asking::default(),
            tasks: SlotMap::with_key(),
            shared: Shared::new(wake),
            // Whether anybody reads it or not, the program goes on.
            warn: Box::new(|warning| {
                let _ = writeln!(std::io::stderr(), "ferrevent: {warning}");
            }),
            ready: Vec::new(),
            running: None,
            state: HashMap::new(),
        }
    }

    /// The driver's name (`event_base_get_method`): "epoll", "poll", "select", or what your own calls itself.
    pub fn method(&self) -> &'static str {
        self.driver.name()
    }

    /// What the driver can do (`event_base_get_features`).
    pub fn features(&self) -> Features {
        self.driver.features()
    }

    /// The base's time since an arbitrary moment (the monotonic clock). Within a pass of the loop it stands still
    /// (`event_base_gettimeofday_cached`), so that all of a pass's callbacks see the same time.
    pub fn now(&self) -> Duration {
        if self.core.is_running_callbacks() {
            Duration::from_nanos(self.core.now())
        } else {
            Duration::from_nanos(self.driver.now())
        }
    }

    /// How many events are added and directions of bufferevents armed; while there are none, and nothing waits to
    /// run, the loop ends (`EVENT_BASE_COUNT_ADDED`).
    pub fn pending_len(&self) -> usize {
        self.core.pending_len()
    }

    /// How many callbacks wait to run (`EVENT_BASE_COUNT_ACTIVE`).
    pub fn active_len(&self) -> usize {
        self.core.active_len()
    }

    /// How many priorities there are (`event_base_get_npriorities`).
    pub fn priorities(&self) -> usize {
        self.core.priorities()
    }

    /// A way into this base's loop from other threads.
    pub fn remote(&self) -> Remote {
        Remote::new(self.shared.clone())
    }

    /// All bufferevents that have not been freed, in no particular order.
    pub fn bufferevents(&self) -> impl Iterator<Item = BufferEvent> {
        self.streams
            .iter()
            .filter(|(_, slot)| !slot.is_freed())
            .map(|(bev, _)| bev)
    }

    /// Runs a closure from the loop, in this pass if it is in one (`event_base_once` with a zero timeout).
    ///
    /// ```
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = ferrevent::Base::new()?;
    /// base.defer(|base| base.loop_break());
    /// base.run()?;
    /// assert!(base.got_break());
    /// # Ok(())
    /// # }
    /// ```
    pub fn defer(&mut self, task: impl FnOnce(&mut Self) + 'static) {
        self.push_task(Box::new(task));
    }

    /// Says that many events will have this timeout (`event_base_init_common_timeout`). They then have a queue of their own,
    /// and starting one, and its firing, cost the same for any number of them. Nothing else changes, and nothing happens if
    /// it is said again; a base remembers 16 timeouts.
    pub fn share_timeout(&mut self, timeout: Duration) {
        self.core.share_timeout(crate::nanos(timeout));
    }

    pub(crate) fn push_task(&mut self, task: Box<dyn FnOnce(&mut Self)>) {
        let key = self.tasks.insert(task);
        let priority = self.core.default_priority();
        self.core.push_task(priority, key);
    }

    /// Starts from a fresh kernel instance, in a child process after `fork` (`event_reinit`).
    ///
    /// # Errors
    /// [`Error::Io`] when the system cannot make one.
    pub fn reinit(&mut self) -> Result<()> {
        self.driver.reset()?;
        self.core.driver_replaced();
        Ok(())
    }

    /// Brings the core's clock up to date, unless a callback is running: within a pass the time stands still.
    pub(crate) fn tick(&mut self) {
        if !self.core.is_running_callbacks() {
            self.core.set_now(self.driver.now());
        }
    }

    pub(crate) fn native(&self) -> Result<&Native> {
        self.system.as_ref().ok_or(Error::NotOnSystem)
    }
}

/// State that callbacks share, one value per type: what a program would otherwise keep behind `Rc<RefCell<..>>`.
impl Base {
    /// Keeps `value` in the base, and gives back the one of the same type that was there.
    ///
    /// ```
    /// # fn main() -> ferrevent::Result<()> {
    /// struct Served(u32);
    ///
    /// let mut base = ferrevent::Base::new()?;
    /// base.insert_state(Served(0));
    /// base.defer(|base| base.state_mut::<Served>().unwrap().0 += 1);
    /// base.run()?;
    /// assert_eq!(base.state::<Served>().unwrap().0, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_state<T: 'static>(&mut self, value: T) -> Option<T> {
        let old = self.state.insert(TypeId::of::<T>(), Box::new(value))?;
        old.downcast().ok().map(|old| *old)
    }

    /// The value of this type, if there is one.
    pub fn state<T: 'static>(&self) -> Option<&T> {
        self.state.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// As [`state`](Self::state), to be changed.
    pub fn state_mut<T: 'static>(&mut self) -> Option<&mut T> {
        self.state.get_mut(&TypeId::of::<T>())?.downcast_mut()
    }

    /// Takes the value of this type out.
    pub fn remove_state<T: 'static>(&mut self) -> Option<T> {
        let value = self.state.remove(&TypeId::of::<T>())?;
        value.downcast().ok().map(|value| *value)
    }

    /// Lends both the base and the value of this type to `use_it`, during which the base has no such value. `None` if
    /// there is none. Afterwards it is put back, unless `use_it` has put another one in its place.
    pub fn with_state<T: 'static, R>(
        &mut self,
        use_it: impl FnOnce(&mut Self, &mut T) -> R,
    ) -> Option<R> {
        let mut value = self.remove_state::<T>()?;
        let result = use_it(self, &mut value);
        if self.state::<T>().is_none() {
            self.insert_state(value);
        }
        Some(result)
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("method", &self.method())
            .field("events", &self.events.len())
            .field("bufferevents", &self.streams.len())
            .field("listeners", &self.listeners.len())
            .field("pending", &self.pending_len())
            .field("active", &self.active_len())
            .finish_non_exhaustive()
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        self.shared.close();
        let adopted: Vec<Fd> = self
            .streams
            .values()
            .filter_map(|slot| slot.descriptor.adopted())
            .collect();
        for fd in adopted {
            self.transport.close(fd);
        }
    }
}
