//! Signals reach every base that wants them. Each test uses signals of its own, for all run in one process.
// A test that fails by unwrap says where it failed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ferrevent_core::driver::Driver;
use ferrevent_sys::{Method, Options, SignalInbox, System};

const BOUND: Duration = Duration::from_secs(10);

fn raise(signo: i32) {
    // SAFETY: takes no memory; returns when the signal has been handled in this thread.
    assert_eq!(unsafe { libc::raise(signo) }, 0);
}

fn drained(inbox: &mut SignalInbox) -> BTreeMap<i32, u32> {
    let mut counts = BTreeMap::new();
    inbox.drain(|signo, count| assert!(counts.insert(signo, count).is_none()));
    counts
}

fn handler(signo: i32) -> usize {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: `action` is valid for writing, and initialized before.
    unsafe {
        assert_eq!(
            libc::sigaction(signo, std::ptr::null(), action.as_mut_ptr()),
            0
        );
        action.assume_init().sa_sigaction
    }
}

fn system(method: Method) -> System {
    System::open(method, Options::default()).unwrap()
}

#[test]
fn a_signal_is_counted_and_ends_the_wait() {
    for method in Method::ALL {
        let mut driver = system(method);
        let mut inbox = SignalInbox::open(driver.waker()).unwrap();
        inbox.subscribe(libc::SIGUSR1).unwrap();
        raise(libc::SIGUSR1);
        raise(libc::SIGUSR1);
        let before = Instant::now();
        let mut ready = Vec::new();
        driver.wait(Some(BOUND), &mut ready).unwrap();
        assert!(before.elapsed() < BOUND);
        assert_eq!(ready, []);
        assert_eq!(drained(&mut inbox), BTreeMap::from([(libc::SIGUSR1, 2)]));
        assert_eq!(drained(&mut inbox), BTreeMap::new());
    }
}

#[test]
fn every_base_gets_its_own_count() {
    let [first, second] = [libc::SIGRTMIN() + 1, libc::SIGRTMIN() + 2];
    let drivers = Method::ALL.map(system);
    let mut inboxes = drivers
        .each_ref()
        .map(|driver| SignalInbox::open(driver.waker()).unwrap());
    for inbox in &mut inboxes {
        inbox.subscribe(first).unwrap();
    }
    inboxes[1].subscribe(second).unwrap();
    raise(first);
    raise(second);
    raise(second);
    assert_eq!(drained(&mut inboxes[0]), BTreeMap::from([(first, 1)]));
    assert_eq!(
        drained(&mut inboxes[1]),
        BTreeMap::from([(first, 1), (second, 2)])
    );
    assert_eq!(drained(&mut inboxes[2]), BTreeMap::from([(first, 1)]));
}

#[test]
fn the_last_subscription_restores_the_handler_before_the_first() {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn own(_: i32) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
    let signo = libc::SIGRTMIN() + 3;
    let own: extern "C" fn(i32) = own;
    // SAFETY: the handler only counts.
    unsafe { libc::signal(signo, own as usize) };
    let (a, b) = (system(Method::Epoll), system(Method::Poll));
    let mut first = SignalInbox::open(a.waker()).unwrap();
    let mut second = SignalInbox::open(b.waker()).unwrap();
    first.subscribe(signo).unwrap();
    first.subscribe(signo).unwrap();
    second.subscribe(signo).unwrap();
    raise(signo);
    first.unsubscribe(signo).unwrap();
    first.unsubscribe(signo).unwrap();
    assert_eq!(
        drained(&mut first),
        BTreeMap::from([(signo, 1)]),
        "what came before the end of the subscription is not lost"
    );
    raise(signo);
    assert_eq!(drained(&mut first), BTreeMap::new(), "it has ended");
    assert_eq!(SEEN.load(Ordering::SeqCst), 0);
    assert_ne!(handler(signo), own as usize);
    drop(second);
    assert_eq!(handler(signo), own as usize);
    raise(signo);
    assert_eq!(SEEN.load(Ordering::SeqCst), 1);
}

#[test]
fn impossible_signals_are_refused() {
    let driver = system(Method::Epoll);
    let mut inbox = SignalInbox::open(driver.waker()).unwrap();
    for signo in [0, -1, 65, i32::MAX, libc::SIGKILL, libc::SIGSTOP] {
        assert_eq!(
            inbox.subscribe(signo).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
    }
}

#[test]
fn places_are_reused() {
    let driver = system(Method::Epoll);
    let signo = libc::SIGRTMIN() + 4;
    for _ in 0..3000 {
        let mut inbox = SignalInbox::open(driver.waker()).unwrap();
        inbox.subscribe(signo).unwrap();
        raise(signo);
    }
    assert_eq!(handler(signo), libc::SIG_DFL);
    let mut inbox = SignalInbox::open(driver.waker()).unwrap();
    assert_eq!(drained(&mut inbox), BTreeMap::new());
}

#[test]
fn a_handler_leaves_errno_alone() {
    let driver = system(Method::Epoll);
    let mut inbox = SignalInbox::open(driver.waker()).unwrap();
    let signo = libc::SIGRTMIN() + 5;
    inbox.subscribe(signo).unwrap();
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = 4242 };
    raise(signo);
    // SAFETY: as above.
    assert_eq!(unsafe { *libc::__errno_location() }, 4242);
}

#[test]
fn bases_come_and_go_while_signals_arrive() {
    let signo = libc::SIGRTMIN() + 6;
    let driver = system(Method::Epoll);
    let mut always = SignalInbox::open(driver.waker()).unwrap();
    always.subscribe(signo).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..2000).for_each(|_| raise(signo)));
        for _ in 0..500 {
            let other = system(Method::Poll);
            let mut inbox = SignalInbox::open(other.waker()).unwrap();
            inbox.subscribe(signo).unwrap();
        }
    });
    assert_eq!(drained(&mut always), BTreeMap::from([(signo, 2000)]));
}

#[test]
fn a_forked_child_has_its_own_signals_and_wake_ups() {
    let signo = libc::SIGRTMIN() + 7;
    for method in Method::ALL {
        let mut driver = system(method);
        let mut inbox = SignalInbox::open(driver.waker()).unwrap();
        inbox.subscribe(signo).unwrap();
        // SAFETY: the child only uses what is its own, and ends without running the parent's clean-up.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: takes no memory. Ends a child that hangs.
            unsafe { libc::alarm(20) };
            let told = driver.reset().is_ok() && {
                raise(signo);
                raise(signo);
                let mut count = 0;
                inbox.drain(|_, arrived| count += arrived);
                inbox.unsubscribe(signo).is_ok() && count == 2
            };
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!told)) };
        }
        let mut status = -1;
        // SAFETY: `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(drained(&mut inbox), BTreeMap::new());
        let before = Instant::now();
        driver
            .wait(Some(Duration::from_millis(1)), &mut Vec::new())
            .unwrap();
        assert!(
            before.elapsed() >= Duration::from_millis(1),
            "the child has woken its parent"
        );
        raise(signo);
        assert_eq!(drained(&mut inbox), BTreeMap::from([(signo, 1)]));
    }
}
