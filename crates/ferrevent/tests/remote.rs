//! Reaching a base from other threads.

mod ground;

use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ferrevent::{Base, Error, LoopEnd, Remote};
use ferrevent_sim::{Faults, World};
use ground::{note, notes, on_systems};

#[test]
fn a_remote_goes_where_the_base_cannot() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<Remote>();
}

#[test]
fn what_is_posted_runs_in_order_and_wakes_the_loop() {
    on_systems(|ground| {
        let mut base = ground.base();
        let remote = base.remote();
        let (asks, asked) = mpsc::channel();
        let poster = thread::spawn(move || {
            for i in 0..100 {
                let asks = asks.clone();
                remote
                    .post(move |base| {
                        note(base, i.to_string());
                        asks.send(thread::current().id()).unwrap();
                    })
                    .unwrap();
                // Half of the time the loop is certain to wait again.
                if i % 2 == 0 {
                    asked.recv().unwrap();
                }
            }
            remote.loop_break().unwrap();
            asked
        });
        base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
        base.run().unwrap();
        assert!(base.got_break());
        let asked = poster.join().unwrap();
        assert!(asked.try_iter().all(|id| id == thread::current().id()));
        let expected: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        assert_eq!(notes(&mut base), expected);
    });
}

#[test]
fn many_threads_lose_nothing() {
    on_systems(|ground| {
        let mut base = ground.base();
        base.insert_state(0u32);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let remote = base.remote();
                thread::spawn(move || {
                    for _ in 0..1000 {
                        remote
                            .post(|base| {
                                let count = base.state_mut::<u32>().unwrap();
                                *count += 1;
                                if *count == 4000 {
                                    base.loop_break();
                                }
                            })
                            .unwrap();
                    }
                })
            })
            .collect();
        base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
        base.run().unwrap();
        assert_eq!(base.state::<u32>(), Some(&4000));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn what_was_posted_before_the_loop_starts_it() {
    on_systems(|ground| {
        let mut base = ground.base();
        base.remote().post(|base| note(base, "posted")).unwrap();
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(notes(&mut base), ["posted"]);
        base.remote().loop_break().unwrap();
        assert_eq!(base.run_until_stopped().unwrap(), LoopEnd::Stopped);
        assert!(base.got_break());
    });
}

#[test]
fn a_posted_task_may_post_again() {
    on_systems(|ground| {
        let mut base = ground.base();
        let remote = base.remote();
        let again = remote.clone();
        remote
            .post(move |base| {
                note(base, "first");
                again
                    .post(|base| {
                        note(base, "second");
                        base.loop_break();
                    })
                    .unwrap();
            })
            .unwrap();
        base.after(Duration::from_secs(20), |_| panic!("the test hangs"));
        base.run().unwrap();
        assert_eq!(notes(&mut base), ["first", "second"]);
    });
}

#[test]
fn a_base_that_is_gone_takes_nothing() {
    struct PostsWhenDropped(Remote);
    impl Drop for PostsWhenDropped {
        fn drop(&mut self) {
            assert!(matches!(self.0.loop_break(), Err(Error::BaseGone)));
        }
    }
    let base = Base::new().unwrap();
    let remote = base.remote();
    let unrun = PostsWhenDropped(remote.clone());
    remote.post(move |_| drop(unrun)).unwrap();
    drop(base);
    assert!(matches!(remote.post(|_| {}), Err(Error::BaseGone)));
}

#[test]
fn a_driver_of_ones_own_is_woken_by_its_own_means() {
    let world = World::new(1, Faults::none());
    let (driver, transport) = (world.driver(), world.transport());
    let waker = world.clone();
    let mut base = Base::builder()
        .driver(Box::new(driver), Rc::new(transport))
        .waker(move || waker.wake())
        .build()
        .unwrap();
    let remote = base.remote();
    world.after(Duration::from_secs(60), move |_| {
        remote.loop_break().unwrap();
    });
    base.run_until_stopped().unwrap();
    assert!(base.got_break());
    assert!(base.now() >= Duration::from_secs(60));
}
