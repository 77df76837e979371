//! Signals, delivered to any number of bases.
//!
//! A process has one handler per signal, so what a handler may touch is static here: a table with one slot per base,
//! of atomics only. The handler counts the signal in each slot that wants it and wakes that base's driver. It takes no
//! lock, allocates nothing, and leaves `errno` as it was.
//!
//! Slots are reused, so a base that goes away waits until no handler is running that may still hold its descriptor's
//! number (some instructions and one `write` at most).
//!
//! # fork
//! The child inherits the handlers, the subscriptions and the signals that were counted but not drained; until its
//! driver is reset it wakes its parent along with itself, for they share the event descriptor. Counts are never shared:
//! a signal to the child is not delivered in the parent. After `exec` the handlers are gone, as for every program;
//! the default disposition then holds.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use ferrevent_core::driver::Fd;

use crate::waker::{self, Waker};

/// Signals are numbered below this.
pub const SIGNAL_LIMIT: usize = 65;

/// How many bases may have signals at a time. 300 bytes each, which are not touched before they are used.
const SLOTS: usize = 1024;

static TABLE: [Slot; SLOTS] = [const { Slot::empty() }; SLOTS];

/// No slot from here on has ever been used.
static USED_SLOTS: AtomicUsize = AtomicUsize::new(0);

/// Handlers that are running now, in all threads.
static HANDLERS_RUNNING: AtomicUsize = AtomicUsize::new(0);

static REGISTRY: Registry = Registry {
    locked: AtomicBool::new(false),
    handled: UnsafeCell::new([const { Handled::NOT }; SIGNAL_LIMIT]),
};

/// What one base is told of signals: it subscribes to some, and drains what has arrived.
///
/// Dropping it ends its subscriptions. The last subscription of a signal over all bases restores the disposition that
/// the signal had before the first.
#[derive(Debug)]
pub struct SignalInbox {
    slot: usize,
    /// Keeps the descriptor alive that the handler writes to.
    _waker: Waker,
}

impl SignalInbox {
    /// Reserves a place for a base whose driver is woken by `waker`.
    ///
    /// # Errors
    /// `ENOSPC` when 1024 bases have one already.
    pub fn open(waker: Waker) -> io::Result<Self> {
        prepare_for_fork()?;
        // The descriptor is stored one higher, so that the zero of a fresh table means "free".
        let owner = waker.fd() + 1;
        let _guard = REGISTRY.lock();
        let free = TABLE
            .iter()
            .position(|slot| slot.owner.load(Ordering::Relaxed) == 0);
        let slot = free.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))?;
        TABLE[slot].owner.store(owner, Ordering::SeqCst);
        USED_SLOTS.fetch_max(slot + 1, Ordering::SeqCst);
        Ok(Self {
            slot,
            _waker: waker,
        })
    }

    /// Has `signo` delivered here. The first subscription of a signal installs the handler (with `SA_RESTART`).
    /// Subscribing twice changes nothing.
    ///
    /// # Errors
    /// `EINVAL` of a number that is no signal, or of one that cannot be caught.
    pub fn subscribe(&mut self, signo: i32) -> io::Result<()> {
        let bit = bit(signo)?;
        let slot = &TABLE[self.slot];
        let mut guard = REGISTRY.lock();
        if slot.wanted.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let handled = guard.handled(signo);
        if handled.subscriptions == 0 {
            // Wanted before it can arrive, and not wanted any more if it never will.
            slot.wanted.fetch_or(bit, Ordering::SeqCst);
            if let Err(error) = install(signo, &mut handled.previous) {
                slot.wanted.fetch_and(!bit, Ordering::SeqCst);
                return Err(error);
            }
        }
        handled.subscriptions += 1;
        slot.wanted.fetch_or(bit, Ordering::SeqCst);
        Ok(())
    }

    /// Ends a subscription. What has arrived before is still drained: whoever subscribes again at once misses nothing. Does
    /// nothing if there is no subscription.
    ///
    /// # Errors
    /// What the system says when the previous disposition cannot be restored; the subscription has ended all the same.
    pub fn unsubscribe(&mut self, signo: i32) -> io::Result<()> {
        let bit = bit(signo)?;
        let slot = &TABLE[self.slot];
        let mut guard = REGISTRY.lock();
        if slot.wanted.load(Ordering::Relaxed) & bit == 0 {
            return Ok(());
        }
        let handled = guard.handled(signo);
        handled.subscriptions -= 1;
        let result = if handled.subscriptions == 0 {
            restore(signo, &handled.previous)
        } else {
            Ok(())
        };
        slot.wanted.fetch_and(!bit, Ordering::SeqCst);
        result
    }

    /// Hands over what has arrived since the last time: each signal's number, in ascending order, with how often it
    /// came. One atomic load when there is nothing.
    #[inline]
    pub fn drain(&mut self, each: impl FnMut(i32, u32)) {
        if TABLE[self.slot].arrived.load(Ordering::Relaxed) != 0 {
            self.drain_arrived(each);
        }
    }

    #[cold]
    fn drain_arrived(&mut self, mut each: impl FnMut(i32, u32)) {
        let slot = &TABLE[self.slot];
        let mut arrived = slot.arrived.swap(0, Ordering::AcqRel);
        while arrived != 0 {
            let signo = arrived.trailing_zeros() as usize + 1;
            arrived &= arrived - 1;
            // Zero if a handler counted it before the last drain took the count, and marked it after.
            let count = slot.counts[signo].swap(0, Ordering::AcqRel);
            if count != 0 {
                each(signo as i32, count);
            }
        }
    }
}

impl Drop for SignalInbox {
    fn drop(&mut self) {
        let slot = &TABLE[self.slot];
        let mut wanted = slot.wanted.load(Ordering::Relaxed);
        while wanted != 0 {
            let signo = wanted.trailing_zeros() as i32 + 1;
            wanted &= wanted - 1;
            // Restoring what sigaction itself has given out does not fail, and nobody is left to be told if it did.
            let _ = self.unsubscribe(signo);
        }
        // Handlers that start from now on see that nobody wants anything here; those that run may have seen otherwise.
        while HANDLERS_RUNNING.load(Ordering::SeqCst) != 0 {
            thread::yield_now();
        }
        slot.arrived.store(0, Ordering::SeqCst);
        for count in &slot.counts {
            count.store(0, Ordering::SeqCst);
        }
        slot.owner.store(0, Ordering::SeqCst);
    }
}

/// The part of a base that the handler sees.
struct Slot {
    /// The waker's descriptor plus one; zero: free.
    owner: AtomicI32,
    /// Subscribed signals; bit n is signal n + 1.
    wanted: AtomicU64,
    /// Signals with a count that may be more than zero.
    arrived: AtomicU64,
    counts: [AtomicU32; SIGNAL_LIMIT],
}

impl Slot {
    const fn empty() -> Self {
        Self {
            owner: AtomicI32::new(0),
            wanted: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            counts: [const { AtomicU32::new(0) }; SIGNAL_LIMIT],
        }
    }
}

/// Which signals have our handler. Guarded by a lock of its own making, because a signal handler of the program may
/// fork while this thread holds it: so it is held with all signals blocked, and `fork` takes it.
struct Registry {
    locked: AtomicBool,
    handled: UnsafeCell<[Handled; SIGNAL_LIMIT]>,
}

// SAFETY: `handled` is reached through a guard only, and `locked` lets one guard exist at a time.
unsafe impl Sync for Registry {}

struct Handled {
    subscriptions: usize,
    /// Valid while there are subscriptions.
    previous: MaybeUninit<libc::sigaction>,
}

impl Handled {
    const NOT: Self = Self {
        subscriptions: 0,
        previous: MaybeUninit::uninit(),
    };
}

struct RegistryGuard {
    mask: libc::sigset_t,
}

impl Registry {
    fn lock(&self) -> RegistryGuard {
        let mut all = MaybeUninit::uninit();
        let mut mask = MaybeUninit::uninit();
        // SAFETY: sigfillset initializes `all`; pthread_sigmask reads it and initializes `mask`. Neither can fail with
        // these arguments.
        let mask = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), mask.as_mut_ptr());
            mask.assume_init()
        };
        self.acquire();
        RegistryGuard { mask }
    }

    fn acquire(&self) {
        while self.locked.swap(true, Ordering::Acquire) {
            thread::yield_now();
        }
    }

    fn release(&self) {
        self.locked.store(false, Ordering::Release);
    }
}

impl RegistryGuard {
    fn handled(&mut self, signo: i32) -> &mut Handled {
        // SAFETY: this is the only guard, and it is borrowed for as long as the result is.
        unsafe { &mut (&mut *REGISTRY.handled.get())[signo as usize] }
    }
}

impl Drop for RegistryGuard {
    fn drop(&mut self) {
        REGISTRY.release();
        // SAFETY: `mask` was initialized by the call that blocked the signals.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, ptr::null_mut()) };
    }
}

/// Counts the signal for each base that wants it, and wakes it.
extern "C" fn on_signal(signo: libc::c_int) {
    // SAFETY: the address of this thread's errno, valid for its whole life.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; nobody else reads or writes it meanwhile.
    let saved = unsafe { *errno };
    HANDLERS_RUNNING.fetch_add(1, Ordering::SeqCst);
    let bit = 1u64 << (signo - 1);
    for slot in &TABLE[..USED_SLOTS.load(Ordering::SeqCst)] {
        if slot.wanted.load(Ordering::SeqCst) & bit == 0 {
            continue;
        }
        slot.counts[signo as usize].fetch_add(1, Ordering::AcqRel);
        slot.arrived.fetch_or(bit, Ordering::AcqRel);
        let owner: Fd = slot.owner.load(Ordering::SeqCst);
        waker::signal(owner - 1);
    }
    HANDLERS_RUNNING.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { *errno = saved };
}

fn bit(signo: i32) -> io::Result<u64> {
    if signo < 1 || signo as usize >= SIGNAL_LIMIT {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(1 << (signo - 1))
}

fn install(signo: i32, previous: &mut MaybeUninit<libc::sigaction>) -> io::Result<()> {
    // SAFETY: all bytes zero is a valid sigaction: no handler, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = on_signal;
    action.sa_sigaction = handler as usize;
    // On the alternate stack where a thread has one, as runtimes with small stacks require.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `action.sa_mask` is valid for writing, `action` for reading, `previous` for writing; `on_signal` is
    // async-signal-safe and lives as long as the program.
    let result = unsafe {
        libc::sigfillset(&mut action.sa_mask);
        libc::sigaction(signo, &action, previous.as_mut_ptr())
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn restore(signo: i32, previous: &MaybeUninit<libc::sigaction>) -> io::Result<()> {
    // SAFETY: `install` has succeeded for this signal, so `previous` is initialized.
    let result = unsafe { libc::sigaction(signo, previous.as_ptr(), ptr::null_mut()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

static FORKS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between this process and the first one that opened a [`SignalInbox`]: whoever keeps the number
/// learns, without a system call, that it has become a child. `vfork` and raw `clone` are not counted.
pub fn fork_generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Lets no fork happen while another thread changes the registry, and tells the child that the other threads' handlers
/// are gone.
pub(crate) fn prepare_for_fork() -> io::Result<()> {
    static ONCE: Once = Once::new();
    static RESULT: AtomicI32 = AtomicI32::new(0);

    extern "C" fn before() {
        REGISTRY.acquire();
    }
    extern "C" fn in_parent() {
        REGISTRY.release();
    }
    extern "C" fn in_child() {
        HANDLERS_RUNNING.store(0, Ordering::SeqCst);
        FORKS.fetch_add(1, Ordering::SeqCst);
        REGISTRY.release();
    }

    ONCE.call_once(|| {
        // SAFETY: the three functions live as long as the program and only touch atomics.
        let result = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        RESULT.store(result, Ordering::SeqCst);
    });
    match RESULT.load(Ordering::SeqCst) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
