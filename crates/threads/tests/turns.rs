//! A base that several threads use, in every order of the threads: nobody waits for ever, `event_del` returns only
//! when the callback has, and what is done from outside reaches a loop that waits.
//!
//! The base here has two events without descriptors, and no memory to manage; its lock, its wait, its wake-up and its
//! `event_del` are the library's.

// A lock of loom's is poisoned only when the test has failed already.
#![allow(clippy::unwrap_used)]

mod looms;

use std::sync::Arc;

use ferrevent_threads::{Monitor, Notice, Turns, wait_until_returned};
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;
use looms::{EventDescriptor, LoomFlag, in_every_order};

/// The thread that runs the loop.
const LOOP: u8 = 0;

struct Base {
    state: Mutex<Option<State>>,
    returned: Condvar,
    notice: Notice<LoomFlag>,
    descriptor: EventDescriptor,
    /// What the callbacks use: loom fails a test in which one thread reads it while another changes it.
    memory: [UnsafeCell<u32>; 2],
    callback: fn(&Base, usize),
}

struct State {
    turns: Turns<usize, u8>,
    active: [bool; 2],
    broken: bool,
}

impl Base {
    #[allow(
        clippy::arc_with_non_send_sync,
        reason = "loom itself sees to who uses the memory"
    )]
    /// A base whose loop has begun, with `active` events and this callback for all of them.
    fn new(active: [bool; 2], callback: fn(&Self, usize)) -> Arc<Self> {
        let mut turns = Turns::default();
        turns.begin_loop(LOOP);
        Arc::new(Self {
            state: Mutex::new(Some(State {
                turns,
                active,
                broken: false,
            })),
            returned: Condvar::new(),
            notice: Notice::new(),
            descriptor: EventDescriptor::new(),
            memory: [UnsafeCell::new(0), UnsafeCell::new(0)],
            callback,
        })
    }

    /// Runs until the loop is broken.
    fn run(&self) {
        loop {
            let next = {
                let mut held = self.hold();
                let state = held.as_mut().unwrap();
                if state.turns.end_callback() {
                    self.notify();
                }
                if state.broken {
                    state.turns.end_loop();
                    return;
                }
                let next = state.active.iter().position(|&active| active);
                match next {
                    Some(event) => {
                        state.active[event] = false;
                        state.turns.begin_callback(event);
                    }
                    None => state.turns.begin_wait(),
                }
                next
            };
            if let Some(event) = next {
                (self.callback)(self, event);
                continue;
            }
            self.descriptor.wait_for_edge();
            self.notice.seen();
            self.hold().as_mut().unwrap().turns.end_wait();
        }
    }

    fn change(&self, thread: u8, change: impl FnOnce(&mut State)) {
        let mut held = self.hold();
        let Some(state) = held.as_mut() else { return };
        change(state);
        if state.turns.must_wake(|| thread) {
            self.notice.announce(|| self.descriptor.signal());
        }
    }

    fn loop_break(&self, thread: u8) {
        self.change(thread, |state| state.broken = true);
    }

    fn activate(&self, thread: u8, event: usize) {
        self.change(thread, |state| state.active[event] = true);
    }

    fn del(&self, thread: u8, event: usize) {
        self.change(thread, |state| state.active[event] = false);
        wait_until_returned(self, event, thread);
    }

    /// What a program does once an event is deleted: it takes its memory away.
    fn reuse_memory(&self, event: usize) {
        self.memory[event].with_mut(|_| ());
    }

    fn use_memory(&self, event: usize) {
        self.memory[event].with(|_| thread::yield_now());
    }

    fn spawn(
        self: &Arc<Self>,
        body: impl FnOnce(&Self) + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let base = Arc::clone(self);
        thread::spawn(move || body(&base))
    }
}

impl Monitor for Base {
    type Event = usize;
    type Thread = u8;
    type Held<'a> = MutexGuard<'a, Option<State>>;
    type Guarded = State;

    fn hold(&self) -> Self::Held<'_> {
        self.state.lock().unwrap()
    }

    fn guarded<'h>(held: &'h mut Self::Held<'_>) -> Option<&'h mut State> {
        held.as_mut()
    }

    fn turns(state: &mut State) -> &mut Turns<usize, u8> {
        &mut state.turns
    }

    fn wait<'a>(&'a self, held: Self::Held<'a>) -> Self::Held<'a> {
        self.returned.wait(held).unwrap()
    }

    fn notify(&self) {
        self.returned.notify_all();
    }
}

#[test]
fn loopbreak_ends_a_loop_before_it_waits_and_while_it_waits() {
    in_every_order(|| {
        let base = Base::new([false; 2], |_, _| {});
        base.spawn(|base| base.loop_break(1));
        base.run();
    });
}

#[test]
fn event_active_from_two_threads_reaches_the_loop() {
    in_every_order(|| {
        let base = Base::new([false; 2], |base, event| {
            base.memory[event].with_mut(|called| {
                // SAFETY: loom has made sure that nobody else uses it.
                unsafe { *called += 1 };
            });
            let called = |event: usize| {
                base.memory[event].with(|called| {
                    // SAFETY: only the loop's thread uses it.
                    unsafe { *called }
                })
            };
            if called(0) == 1 && called(1) == 1 {
                base.loop_break(LOOP);
            }
        });
        base.spawn(|base| base.activate(1, 0));
        base.spawn(|base| base.activate(2, 1));
        base.run();
    });
}

#[test]
fn event_del_returns_only_when_the_callback_has() {
    in_every_order(|| {
        let base = Base::new([true, false], Base::use_memory);
        base.spawn(|base| {
            base.del(1, 0);
            base.reuse_memory(0);
            base.loop_break(1);
        });
        base.run();
    });
}

#[test]
#[should_panic(expected = "currently reading from cell")]
fn without_the_wait_the_memory_would_be_used() {
    in_every_order(|| {
        let base = Base::new([true, false], Base::use_memory);
        base.spawn(|base| {
            base.change(1, |state| state.active[0] = false);
            base.reuse_memory(0);
            base.loop_break(1);
        });
        base.run();
    });
}

#[test]
fn two_threads_that_delete_the_same_event_both_go_on() {
    in_every_order(|| {
        let base = Base::new([true, false], Base::use_memory);
        let first = base.spawn(|base| base.del(1, 0));
        base.spawn(move |base| {
            base.del(2, 0);
            first.join().unwrap();
            base.reuse_memory(0);
            base.loop_break(2);
        });
        base.run();
    });
}

#[test]
fn two_threads_that_delete_different_events_wait_for_their_own() {
    in_every_order(|| {
        let base = Base::new([true, true], Base::use_memory);
        let first = base.spawn(|base| {
            base.del(1, 0);
            base.reuse_memory(0);
        });
        base.spawn(move |base| {
            base.del(2, 1);
            base.reuse_memory(1);
            first.join().unwrap();
            base.loop_break(2);
        });
        base.run();
    });
}

#[test]
fn a_callback_that_deletes_its_own_event_does_not_wait() {
    in_every_order(|| {
        let base = Base::new([true, false], |base, event| {
            base.del(LOOP, event);
            base.loop_break(LOOP);
        });
        let other = base.spawn(|base| {
            base.del(1, 0);
            base.loop_break(1);
        });
        base.run();
        other.join().unwrap();
        base.reuse_memory(0);
    });
}

#[test]
fn a_callback_deletes_an_event_that_another_thread_deletes_too() {
    in_every_order(|| {
        let base = Base::new([true, false], |base, _| {
            base.del(LOOP, 1);
            base.loop_break(LOOP);
        });
        let other = base.spawn(|base| {
            base.activate(1, 1);
            base.del(1, 1);
            base.del(1, 0);
            base.loop_break(1);
        });
        base.run();
        other.join().unwrap();
    });
}

/// `event_del` in one thread, `event_active` of the same event in a second: once both have returned, it is deleted or
/// it runs, and the last `event_del` waits for that.
#[test]
fn event_del_waits_for_a_call_that_was_made_meanwhile() {
    in_every_order(|| {
        let base = Base::new([false; 2], Base::use_memory);
        let activates = base.spawn(|base| base.activate(1, 0));
        base.spawn(move |base| {
            base.del(2, 0);
            activates.join().unwrap();
            base.del(2, 0);
            base.reuse_memory(0);
            base.loop_break(2);
        });
        base.run();
    });
}

#[test]
fn event_del_returns_when_the_base_has_been_freed() {
    in_every_order(|| {
        let base = Base::new([true, false], |base, _| base.loop_break(LOOP));
        let other = base.spawn(|base| {
            base.del(1, 0);
            base.loop_break(1);
        });
        base.run();
        base.state.lock().unwrap().take();
        base.notify();
        other.join().unwrap();
    });
}
