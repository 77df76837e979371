//! Nothing that was posted is lost, in any order of the threads.

// A thread of loom's fails only when the test has failed already.
#![allow(clippy::unwrap_used)]

mod looms;

use std::sync::Arc;

use ferrevent_threads::{Mailbox, Notice};
use loom::thread;
use looms::{EventDescriptor, Loom, LoomFlag, in_every_order};

struct Shared {
    posts: Mailbox<u32, Loom>,
    notice: Notice<LoomFlag>,
    descriptor: EventDescriptor,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            posts: Mailbox::new(),
            notice: Notice::new(),
            descriptor: EventDescriptor::new(),
        })
    }

    fn post(&self, post: u32) -> Result<(), u32> {
        self.posts.post(post)?;
        self.notice.announce(|| self.descriptor.signal());
        Ok(())
    }

    fn wait(&self) {
        self.descriptor.wait_for_edge();
        self.notice.seen();
    }
}

#[test]
fn every_post_arrives_at_a_loop_that_waits() {
    in_every_order(|| {
        let shared = Shared::new();
        for post in [1, 2] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.post(post).unwrap());
        }
        let mut got = shared.posts.take();
        while got.len() < 2 {
            shared.wait();
            got.extend(shared.posts.take());
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn posts_of_one_thread_arrive_in_their_order() {
    in_every_order(|| {
        let shared = Shared::new();
        let poster = Arc::clone(&shared);
        thread::spawn(move || {
            poster.post(1).unwrap();
            poster.post(2).unwrap();
        });
        let mut got = shared.posts.take();
        while got.len() < 2 {
            shared.wait();
            got.extend(shared.posts.take());
        }
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn what_is_posted_while_the_base_goes_is_given_back_or_handed_over_once() {
    in_every_order(|| {
        let shared = Shared::new();
        let poster = Arc::clone(&shared);
        let poster = thread::spawn(move || poster.post(1).is_err());
        let mut handed_over = shared.posts.take();
        handed_over.extend(shared.posts.close());
        let refused = poster.join().unwrap();
        assert_eq!(handed_over.len(), usize::from(!refused));
        assert_eq!(shared.posts.post(2), Err(2));
    });
}
