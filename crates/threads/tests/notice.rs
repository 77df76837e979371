//! No wake-up is lost, in any order of the threads.

// A lock of loom's is poisoned only when the test has failed already.
#![allow(clippy::unwrap_used)]

mod looms;

use std::sync::Arc;

use ferrevent_threads::Notice;
use loom::sync::Mutex;
use loom::thread;
use looms::{EventDescriptor, LoomFlag, in_every_order};

struct Shared {
    changes: Mutex<u32>,
    notice: Notice<LoomFlag>,
    descriptor: EventDescriptor,
}

/// Two threads change something, one of them twice, and wake a third, which waits until it has seen all changes.
fn two_wake_one(wait: fn(&Shared)) {
    in_every_order(move || {
        let shared = Arc::new(Shared {
            changes: Mutex::new(0),
            notice: Notice::new(),
            descriptor: EventDescriptor::new(),
        });
        for times in [1, 2] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for _ in 0..times {
                    *shared.changes.lock().unwrap() += 1;
                    shared.notice.announce(|| shared.descriptor.signal());
                }
            });
        }
        while *shared.changes.lock().unwrap() < 3 {
            wait(&shared);
        }
    });
}

#[test]
fn no_wake_up_is_lost_where_edges_are_seen() {
    two_wake_one(|shared| {
        shared.descriptor.wait_for_edge();
        shared.notice.seen();
    });
}

#[test]
fn no_wake_up_is_lost_where_levels_are_seen() {
    two_wake_one(|shared| {
        shared.descriptor.wait_for_level();
        shared.notice.seen_level(|| shared.descriptor.take());
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_order_of_seeing_and_taking_matters() {
    two_wake_one(|shared| {
        shared.descriptor.wait_for_level();
        shared.notice.seen();
        shared.descriptor.take();
    });
}
