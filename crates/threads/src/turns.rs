//! Whose turn it is on a base that several threads use.

/// Which thread loops, whether it waits, and which event's callback runs. It belongs to what the base's lock guards.
///
/// `E` names an event, `T` a thread.
#[derive(Debug)]
pub struct Turns<E, T> {
    looper: Option<T>,
    /// The looper waits with the lock released, or is about to.
    waiting: bool,
    running: Option<E>,
    /// Threads that wait until a callback has returned.
    waiters: usize,
}

impl<E, T> Default for Turns<E, T> {
    fn default() -> Self {
        Self {
            looper: None,
            waiting: false,
            running: None,
            waiters: 0,
        }
    }
}

impl<E: Copy + PartialEq, T: Copy + PartialEq> Turns<E, T> {
    /// `thread` runs the loop from now on.
    pub fn begin_loop(&mut self, thread: T) {
        self.looper = Some(thread);
    }

    /// Nobody runs it any more.
    pub fn end_loop(&mut self) {
        self.looper = None;
    }

    /// The loop has found nothing to do, and is about to wait with the lock released. It must not have been released since
    /// that was found: what another thread changed meanwhile would wake nobody.
    pub fn begin_wait(&mut self) {
        self.waiting = true;
    }

    /// The wait is over, and the lock is held again.
    pub fn end_wait(&mut self) {
        self.waiting = false;
    }

    /// The callback of `event` is about to be called, with the lock released.
    pub fn begin_callback(&mut self, event: E) {
        self.running = Some(event);
    }

    /// It has returned, or there was none. Returns whether somebody waits for that, and is to be told.
    #[must_use]
    pub fn end_callback(&mut self) -> bool {
        self.running = None;
        self.waiters > 0
    }

    /// The event whose callback runs.
    pub fn running(&self) -> Option<E> {
        self.running
    }

    /// Whether the loop must be woken, after `thread` has changed something that it is to see.
    #[must_use]
    pub fn must_wake(&self, thread: impl FnOnce() -> T) -> bool {
        self.waiting && self.looper != Some(thread())
    }

    /// Whether the callback of `event` runs in another thread than `thread`.
    #[must_use]
    pub fn runs_elsewhere(&self, event: E, thread: T) -> bool {
        self.running == Some(event) && self.looper != Some(thread)
    }
}

/// A lock that guards a base, with the news that a callback has returned.
pub trait Monitor {
    /// Names an event.
    type Event: Copy + PartialEq;
    /// Names a thread.
    type Thread: Copy + PartialEq;
    /// The lock is held while this lives.
    type Held<'a>
    where
        Self: 'a;
    /// What it guards beside the turns.
    type Guarded;

    /// Takes the lock.
    fn hold(&self) -> Self::Held<'_>;

    /// What the lock guards; `None` if the base has been freed.
    fn guarded<'h>(held: &'h mut Self::Held<'_>) -> Option<&'h mut Self::Guarded>;

    /// The turns among it.
    fn turns(guarded: &mut Self::Guarded) -> &mut Turns<Self::Event, Self::Thread>;

    /// Gives the lock up until somebody calls [`notify`](Self::notify), and takes it again. It may return early.
    fn wait<'a>(&'a self, held: Self::Held<'a>) -> Self::Held<'a>;

    /// Ends all waits.
    fn notify(&self);
}

/// Waits until no callback of `event` runs in another thread than `thread`, which does not hold the lock.
///
/// It must not hold any other lock that the callback may want.
pub fn wait_until_returned<M: Monitor>(monitor: &M, event: M::Event, thread: M::Thread) {
    let mut held = monitor.hold();
    loop {
        let Some(guarded) = M::guarded(&mut held) else {
            return;
        };
        let turns = M::turns(guarded);
        if !turns.runs_elsewhere(event, thread) {
            return;
        }
        turns.waiters += 1;
        held = monitor.wait(held);
        if let Some(guarded) = M::guarded(&mut held) {
            M::turns(guarded).waiters -= 1;
        }
    }
}
