//! Wakers end waits, on every driver.
// A test that fails by unwrap says where it failed.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use ferrevent_core::driver::Driver;
use ferrevent_sys::{Method, Options, System, Waker};

const BOUND: Duration = Duration::from_secs(10);

fn on_each(test: impl Fn(System)) {
    for method in Method::ALL {
        test(System::open(method, Options::default()).unwrap());
    }
    match System::open(Method::IoUring, Options::default()) {
        Ok(driver) => test(driver),
        Err(error) => eprintln!("skipped with io_uring: {error}"),
    }
}

/// Whether a wait ended before its bound.
fn woken(driver: &mut System, bound: Duration) -> bool {
    let before = Instant::now();
    let mut ready = Vec::new();
    driver.wait(Some(bound), &mut ready).unwrap();
    assert_eq!(ready, [], "the waker is no registration");
    before.elapsed() < bound
}

#[test]
fn a_wake_up_before_the_wait_is_not_lost() {
    on_each(|mut driver| {
        driver.waker().wake();
        assert!(woken(&mut driver, BOUND));
    });
}

#[test]
fn wake_ups_are_used_up() {
    on_each(|mut driver| {
        let waker = driver.waker();
        for _ in 0..3 {
            waker.wake();
            waker.wake();
            assert!(woken(&mut driver, BOUND));
            assert!(!woken(&mut driver, Duration::from_millis(1)));
        }
    });
}

#[test]
fn another_thread_ends_each_of_many_waits() {
    on_each(|mut driver| {
        let waker = driver.waker();
        let (done, next) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            while next.recv().is_ok() {
                waker.wake();
            }
        });
        for _ in 0..1000 {
            done.send(()).unwrap();
            assert!(woken(&mut driver, BOUND));
        }
        drop(done);
        thread.join().unwrap();
    });
}

#[test]
fn a_waker_outlives_its_driver() {
    on_each(|driver| {
        let waker = driver.waker();
        drop(driver);
        waker.wake();
    });
}

#[test]
fn wakers_may_be_shared() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Waker>();
}
