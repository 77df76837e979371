//! What all [`Base`]s of one `struct event_base` have in common, and how C's calls find it.
//!
//! C gets no pointer to anything of ours but the cookies of events: the argument of a bufferevent's and a listener's
//! callbacks is a key, which is looked up in what belongs to the base, and is skipped when it is stale.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;

use slotmap::{Key, KeyData, SlotMap};

use crate::base::Base;
use crate::bufferevent::{BufferEvent, StreamSlot};
use crate::event::{Event, EventSlot};
use crate::ffi;
use crate::listener::{Listener, ListenerSlot};

// A key has 64 bits and travels as the `void *` of a callback.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// Everything that Rust has on one base. It is only ever borrowed for moments in which neither C nor the program runs.
pub(crate) struct Shared {
    raw: NonNull<ffi::event_base>,
    pub(crate) events: RefCell<SlotMap<Event, EventSlot>>,
    pub(crate) streams: RefCell<SlotMap<BufferEvent, StreamSlot>>,
    pub(crate) listeners: RefCell<SlotMap<Listener, ListenerSlot>>,
    pub(crate) state: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
    /// The bufferevents that Rust owns, in the order in which they are looked at for whether C has freed them.
    pub(crate) turns: RefCell<VecDeque<BufferEvent>>,
    /// How many of our callbacks run, one inside the other.
    depth: Cell<u32>,
    /// Whether the loop was started by [`Base::run`].
    pub(crate) looping: Cell<bool>,
    /// What a callback has panicked with, until the loop that Rust runs has ended.
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    /// How often everything was freed: what was lent before is not put back.
    pub(crate) cleared: Cell<u64>,
    ended: Cell<bool>,
}

thread_local! {
    // Not dropped with the thread: C may have freed the bases by then.
    static BASES: ManuallyDrop<RefCell<Vec<Rc<Shared>>>> = const {
        ManuallyDrop::new(RefCell::new(Vec::new()))
    };
}

impl Shared {
    /// What belongs to this base on this thread.
    pub(crate) fn of(raw: NonNull<ffi::event_base>) -> Rc<Self> {
        BASES.with(|bases| {
            let mut bases = bases.borrow_mut();
            // A thread has few.
            if let Some(found) = bases.iter().find(|shared| shared.raw == raw) {
                return found.clone();
            }
            let fresh = Rc::new(Self::new(raw));
            bases.push(fresh.clone());
            fresh
        })
    }

    fn new(raw: NonNull<ffi::event_base>) -> Self {
        Self {
            raw,
            events: RefCell::default(),
            streams: RefCell::default(),
            listeners: RefCell::default(),
            state: RefCell::default(),
            turns: RefCell::default(),
            depth: Cell::default(),
            looping: Cell::default(),
            panic: RefCell::default(),
            cleared: Cell::default(),
            ended: Cell::default(),
        }
    }

    /// The base; `None` once it is freed.
    pub(crate) fn raw(&self) -> Option<NonNull<ffi::event_base>> {
        (!self.ended.get()).then_some(self.raw)
    }

    /// Whether one of our callbacks is running.
    pub(crate) fn in_callback(&self) -> bool {
        self.depth.get() > 0
    }

    /// Frees everything that Rust has on the base. Keys are stale afterwards.
    pub(crate) fn clear(self: &Rc<Self>) {
        self.cleared.set(self.cleared.get() + 1);
        // What is dropped may free others and even make new ones, so look again until nothing is left.
        let mut base = Base::guest(self.clone());
        loop {
            let listener = self.listeners.borrow().keys().next();
            let stream = self.streams.borrow().keys().next();
            let event = self.events.borrow().keys().next();
            match (listener, stream, event) {
                (Some(listener), ..) => _ = listener.free(&mut base),
                (_, Some(stream), _) => _ = stream.let_go(&mut base),
                (.., Some(event)) => _ = event.free(&mut base),
                (None, None, None) if self.state.borrow().is_empty() => break,
                (None, None, None) => drop(self.state.take()),
            }
        }
    }

    /// The base is about to be freed, and is not touched any more.
    pub(crate) fn end(&self) {
        self.ended.set(true);
        self.forget();
    }

    /// Forgets this base if Rust has nothing on it and no handle but `one` is left.
    pub(crate) fn tidy(self: &Rc<Self>) {
        let used = self.ended.get()
            || self.in_callback()
            || self.looping.get()
            || Rc::strong_count(self) > 2
            || !self.events.borrow().is_empty()
            || !self.streams.borrow().is_empty()
            || !self.listeners.borrow().is_empty()
            || !self.state.borrow().is_empty();
        if !used {
            self.forget();
        }
    }

    fn forget(&self) {
        // A thread that is ending has forgotten everything already.
        let _ = BASES.try_with(|bases| {
            let mut bases = bases.borrow_mut();
            bases.retain(|shared| !std::ptr::eq(Rc::as_ptr(shared), self));
            if bases.is_empty() {
                *bases = Vec::new();
            }
        });
    }

    /// What a callback has panicked with under a loop that Rust runs.
    pub(crate) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic.take()
    }

    /// Runs a callback that C has called for `raw`, which must not unwind.
    pub(crate) fn enter(raw: *mut ffi::event_base, run: impl FnOnce(&mut Base)) {
        let found = NonNull::new(raw).and_then(|raw| {
            BASES
                .try_with(|bases| {
                    let bases = bases.borrow();
                    bases.iter().find(|shared| shared.raw == raw).cloned()
                })
                .ok()
                .flatten()
        });
        let Some(shared) = found else {
            die("a callback came on a thread that the base does not belong to");
        };
        shared.run(run);
    }

    /// Runs a callback with a handle of its own. A panic ends the loop if Rust runs it, and otherwise the program.
    pub(crate) fn run(self: Rc<Self>, run: impl FnOnce(&mut Base)) {
        self.depth.set(self.depth.get() + 1);
        let mut base = Base::guest(self.clone());
        // What the program's closures leave half done is theirs; ours is whole whenever one of them runs.
        let ended = catch_unwind(AssertUnwindSafe(|| run(&mut base)));
        self.depth.set(self.depth.get() - 1);
        if !base.is_guest_of(&self) {
            die("a callback has exchanged its handle of the base for another one");
        }
        drop(base);
        self.tidy();
        let Err(panic) = ended else {
            return;
        };
        if !self.looping.get() {
            die(
                "a callback has panicked, and it was C that called it: the panic cannot go on from there",
            );
        }
        self.panic.borrow_mut().get_or_insert(panic);
        if let Some(raw) = self.raw() {
            // SAFETY: the base is there, for its loop is running in this thread.
            unsafe { ffi::event_base_loopbreak(raw.as_ptr()) };
        }
    }
}

/// Ends the process: what has happened cannot be told to C, and nothing that C does next would be right.
pub(crate) fn die(why: &str) -> ! {
    // The program ends in any case, whether anybody can read why or not.
    let _ = writeln!(std::io::stderr(), "ferrevent-mixed: {why}");
    std::process::abort()
}

/// A key as the argument of a callback.
pub(crate) fn to_arg(key: impl Key) -> *mut libc::c_void {
    std::ptr::without_provenance_mut(usize::try_from(key.data().as_ffi()).unwrap_or(0))
}

/// The key that was made an argument; a stale one if it was another argument.
pub(crate) fn from_arg<K: Key>(arg: *mut libc::c_void) -> K {
    KeyData::from_ffi(arg.addr() as u64).into()
}
