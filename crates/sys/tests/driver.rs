//! The contract of drivers, kept by each of them.
// A test that fails by unwrap says where it failed.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use ferrevent_core::driver::{Driver, Features, Interest, Readiness, Ready, Token};
use ferrevent_sys::{Method, Mode, Options, System, monotonic, socket_pair};

/// Longer than anything here takes: a wait that lasts as long has failed.
const BOUND: Duration = Duration::from_secs(10);

fn on_each(test: impl Fn(System)) {
    for precise in [false, true] {
        let options = Options { precise };
        for method in Method::ALL {
            test(System::open(method, options).unwrap());
        }
        match System::open(Method::IoUring, options) {
            Ok(driver) => test(driver),
            Err(error) => eprintln!("skipped with io_uring: {error}"),
        }
    }
}

fn token(fd: &impl AsRawFd) -> Token {
    Token {
        fd: fd.as_raw_fd(),
        generation: 7,
    }
}

fn wait(driver: &mut System, timeout: Duration) -> Vec<Ready> {
    let mut ready = Vec::new();
    driver.wait(Some(timeout), &mut ready).unwrap();
    ready
}

fn write(fd: &impl AsRawFd, bytes: &[u8]) {
    // SAFETY: `bytes` is valid for reading.
    let count = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(count, bytes.len() as isize);
}

fn errno(result: std::io::Result<()>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn names_and_features() {
    let told = Method::ALL.map(|method| {
        let system = System::open(method, Options::default()).unwrap();
        assert_eq!(system.method(), method);
        assert_eq!(system.features(), method.features());
        assert_eq!(system.name(), method.name());
        (system.name(), system.features().bits())
    });
    // As Debian's libevent answers.
    assert_eq!(told, [("epoll", 0xb), ("poll", 0xc), ("select", 4)]);
    on_each(|driver| {
        let method = driver.method();
        assert_eq!(
            (driver.name(), driver.features()),
            (method.name(), method.features())
        );
        assert_eq!(Method::named(driver.name()), Some(method));
    });
    assert_eq!(Method::named("kqueue"), None);
}

#[test]
fn a_method_that_is_asked_for_must_fit() {
    let only = |method, avoided: &[Method], required| {
        System::only(method, avoided, required, Options::default())
            .map(|system| system.method())
            .map_err(|error| error.kind())
    };
    let refused = Err(std::io::ErrorKind::Unsupported);
    assert_eq!(
        only(Method::Poll, &[Method::Epoll], Features::FDS),
        Ok(Method::Poll)
    );
    assert_eq!(
        only(Method::Poll, &[Method::Poll], Features::empty()),
        refused
    );
    assert_eq!(only(Method::IoUring, &[], Features::FDS), refused);
    // It works with epoll.
    assert_eq!(
        only(Method::IoUring, &[Method::Epoll], Features::empty()),
        refused
    );
}

#[test]
fn the_best_method_that_will_do_is_chosen() {
    let choose = |avoided: &[Method], required| {
        System::choose(avoided, required, Options::default()).map(|system| system.method())
    };
    assert_eq!(choose(&[], Features::empty()).unwrap(), Method::Epoll);
    assert_eq!(
        choose(&[Method::Epoll], Features::empty()).unwrap(),
        Method::Poll
    );
    assert_eq!(
        choose(&[Method::Epoll, Method::Poll], Features::empty()).unwrap(),
        Method::Select
    );
    assert_eq!(choose(&[], Features::FDS).unwrap(), Method::Poll);
    assert!(choose(&Method::ALL, Features::empty()).is_err());
    assert!(choose(&[Method::Epoll], Features::EDGE).is_err());
}

#[test]
fn readable_when_there_is_something() {
    on_each(|mut driver| {
        let (a, b) = socket_pair(Mode::default()).unwrap();
        driver.register(token(&a), Interest::READ).unwrap();
        assert_eq!(wait(&mut driver, Duration::ZERO), []);
        write(&b, b"x");
        let expected = Ready {
            token: token(&a),
            readiness: Readiness::READ,
        };
        assert_eq!(wait(&mut driver, BOUND), [expected]);
        // A level is reported as long as it holds.
        assert_eq!(wait(&mut driver, BOUND), [expected]);
    });
}

#[test]
fn writable_when_there_is_room() {
    on_each(|mut driver| {
        let (a, b) = socket_pair(Mode::default()).unwrap();
        driver
            .register(token(&a), Interest::READ | Interest::WRITE)
            .unwrap();
        assert_eq!(wait(&mut driver, BOUND)[0].readiness, Readiness::WRITE);
        write(&b, b"x");
        assert_eq!(
            wait(&mut driver, BOUND)[0].readiness,
            Readiness::READ | Readiness::WRITE
        );
    });
}

#[test]
fn changed_interest_and_generation() {
    on_each(|mut driver| {
        let (a, b) = socket_pair(Mode::default()).unwrap();
        write(&b, b"x");
        driver.register(token(&a), Interest::READ).unwrap();
        let later = Token {
            generation: u32::MAX,
            ..token(&a)
        };
        driver.reregister(later, Interest::WRITE).unwrap();
        assert_eq!(
            wait(&mut driver, BOUND),
            [Ready {
                token: later,
                readiness: Readiness::WRITE
            }]
        );
    });
}

#[test]
fn several_descriptors_come_and_go() {
    on_each(|mut driver| {
        let pairs: Vec<_> = (0..100)
            .map(|_| socket_pair(Mode::default()).unwrap())
            .collect();
        for (a, b) in &pairs {
            driver.register(token(a), Interest::READ).unwrap();
            write(b, b"x");
        }
        for (a, _) in pairs.iter().step_by(3) {
            driver.deregister(a.as_raw_fd()).unwrap();
        }
        // More are ready than a first wait need report.
        let mut seen = Vec::new();
        for _ in 0..10 {
            seen.extend(wait(&mut driver, BOUND).iter().map(|ready| ready.token.fd));
        }
        seen.sort_unstable();
        seen.dedup();
        let expected = pairs.iter().enumerate().filter(|(n, _)| n % 3 != 0);
        let mut expected: Vec<_> = expected.map(|(_, (a, _))| a.as_raw_fd()).collect();
        expected.sort_unstable();
        assert_eq!(seen, expected);
    });
}

#[test]
fn more_events_than_a_first_wait_has_room_for() {
    on_each(|mut driver| {
        let pairs: Vec<_> = (0..100)
            .map(|_| socket_pair(Mode::default()).unwrap())
            .collect();
        for (a, _) in &pairs {
            driver.register(token(a), Interest::WRITE).unwrap();
        }
        let rounds: Vec<_> = (0..4).map(|_| wait(&mut driver, BOUND).len()).collect();
        assert_eq!(rounds[3], 100, "{rounds:?}");
    });
}

#[test]
fn an_early_close_is_told_from_a_failure() {
    on_each(|mut driver| {
        if !driver.features().contains(Features::EARLY_CLOSE) {
            return;
        }
        let (a, b) = socket_pair(Mode::default()).unwrap();
        driver.register(token(&a), Interest::CLOSED).unwrap();
        write(&b, b"unread");
        assert_eq!(wait(&mut driver, Duration::ZERO), []);
        ferrevent_sys::shutdown(b.as_raw_fd(), std::net::Shutdown::Write).unwrap();
        assert_eq!(wait(&mut driver, BOUND)[0].readiness, Readiness::CLOSED);
    });
}

#[test]
fn a_hang_up_is_a_failure_unless_the_close_was_asked_for() {
    on_each(|mut driver| {
        let (a, b) = socket_pair(Mode::default()).unwrap();
        drop(b);
        driver.register(token(&a), Interest::READ).unwrap();
        let readiness = wait(&mut driver, BOUND)[0].readiness;
        assert!(readiness.contains(Readiness::READ));
        if !driver.features().contains(Features::EARLY_CLOSE) {
            return;
        }
        assert!(readiness.contains(Readiness::FAILED));
        driver
            .reregister(token(&a), Interest::READ | Interest::CLOSED)
            .unwrap();
        assert_eq!(
            wait(&mut driver, BOUND)[0].readiness,
            Readiness::READ | Readiness::CLOSED
        );
    });
}

#[test]
fn edges_are_reported_once_and_again_when_reregistered() {
    on_each(|mut driver| {
        if !driver.features().contains(Features::EDGE) {
            return;
        }
        let (a, b) = socket_pair(Mode::default()).unwrap();
        driver
            .register(token(&a), Interest::READ | Interest::EDGE)
            .unwrap();
        write(&b, b"x");
        assert_eq!(wait(&mut driver, BOUND).len(), 1);
        assert_eq!(wait(&mut driver, Duration::ZERO), []);
        write(&b, b"y");
        assert_eq!(wait(&mut driver, BOUND).len(), 1);
        driver
            .reregister(token(&a), Interest::READ | Interest::EDGE)
            .unwrap();
        assert_eq!(wait(&mut driver, BOUND).len(), 1);
    });
}

/// More than go to the kernel at a time.
#[test]
fn many_changes_at_once() {
    on_each(|mut driver| {
        let pairs: Vec<_> = (0..300)
            .map(|_| socket_pair(Mode::default()).unwrap())
            .collect();
        for (a, b) in &pairs {
            driver.register(token(a), Interest::READ).unwrap();
            write(b, b"x");
        }
        let (stranger, other) = socket_pair(Mode::default()).unwrap();
        let put_off = driver.put_off(pairs.len() + 2);
        assert_eq!(put_off, driver.method() == Method::IoUring);
        let mut refused = Vec::new();
        for (n, (a, _)) in pairs.iter().enumerate() {
            let later = Token {
                generation: 8,
                ..token(a)
            };
            match n % 3 {
                0 => driver.reregister(later, Interest::WRITE).unwrap(),
                1 => driver.deregister(a.as_raw_fd()).unwrap(),
                _ => {}
            }
        }
        let mut failing = |fd, result: std::io::Result<()>| {
            if let Err(error) = result {
                refused.push((fd, error));
            }
        };
        failing(
            stranger.as_raw_fd(),
            driver.reregister(token(&stranger), Interest::READ),
        );
        failing(other.as_raw_fd(), driver.deregister(other.as_raw_fd()));
        if put_off {
            assert!(refused.is_empty(), "{refused:?}");
            driver.settle(&mut refused);
        }
        let refused = refused
            .iter()
            .map(|(fd, error)| (*fd, error.raw_os_error()));
        let unknown = Some(libc::ENOENT);
        assert_eq!(
            refused.collect::<Vec<_>>(),
            [
                (stranger.as_raw_fd(), unknown),
                (other.as_raw_fd(), unknown)
            ]
        );
        // A wait need not report all that is ready.
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.extend(wait(&mut driver, BOUND).iter().map(|ready| {
                let Token { fd, generation } = ready.token;
                (fd, generation, ready.readiness)
            }));
        }
        seen.sort_unstable_by_key(|(fd, ..)| *fd);
        seen.dedup();
        let mut expected: Vec<_> = pairs
            .iter()
            .enumerate()
            .filter_map(|(n, (a, _))| match n % 3 {
                0 => Some((a.as_raw_fd(), 8, Readiness::WRITE)),
                1 => None,
                _ => Some((a.as_raw_fd(), 7, Readiness::READ)),
            })
            .collect();
        expected.sort_unstable_by_key(|(fd, ..)| *fd);
        assert_eq!(seen, expected);
        // What comes later is done at once again.
        driver.deregister(pairs[0].0.as_raw_fd()).unwrap();
        assert_eq!(
            errno(driver.deregister(pairs[0].0.as_raw_fd())),
            Some(libc::ENOENT)
        );
    });
}

#[test]
fn errors_of_registrations() {
    on_each(|mut driver| {
        let (a, _b) = socket_pair(Mode::default()).unwrap();
        let fd = a.as_raw_fd();
        assert_eq!(
            errno(driver.reregister(token(&a), Interest::READ)),
            Some(libc::ENOENT)
        );
        assert_eq!(errno(driver.deregister(fd)), Some(libc::ENOENT));
        driver.register(token(&a), Interest::READ).unwrap();
        assert_eq!(
            errno(driver.register(token(&a), Interest::READ)),
            Some(libc::EEXIST)
        );
        driver.deregister(fd).unwrap();
        assert_eq!(errno(driver.deregister(fd)), Some(libc::ENOENT));
        for fd in [-1, i32::MAX] {
            let bad = Token { fd, generation: 0 };
            assert_eq!(
                errno(driver.register(bad, Interest::READ)),
                Some(libc::EBADF)
            );
        }
    });
}

#[test]
fn a_number_can_be_watched_again_after_it_was_closed() {
    on_each(|mut driver| {
        let (a, _b) = socket_pair(Mode::default()).unwrap();
        let (c, d) = socket_pair(Mode::default()).unwrap();
        // SAFETY: takes no memory.
        let high = unsafe { libc::fcntl(a.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 700) };
        drop(a);
        assert!(high >= 700);
        let first = Token {
            fd: high,
            generation: 1,
        };
        driver.register(first, Interest::WRITE).unwrap();
        driver.closing(high);
        // Closes the old file and gives its number to another.
        // SAFETY: takes no memory.
        let same = unsafe { libc::dup3(c.as_raw_fd(), high, libc::O_CLOEXEC) };
        assert_eq!(same, high);
        assert_eq!(wait(&mut driver, Duration::ZERO), []);
        let second = Token {
            fd: high,
            generation: 2,
        };
        driver.register(second, Interest::READ).unwrap();
        write(&d, b"x");
        assert_eq!(wait(&mut driver, BOUND)[0].token, second);
        driver.deregister(high).unwrap();
        ferrevent_sys::close(high);
    });
}

#[test]
fn regular_files_where_the_method_can() {
    on_each(|mut driver| {
        let file = File::open("/proc/self/exe").unwrap();
        let result = driver.register(token(&file), Interest::READ);
        if driver.features().contains(Features::FDS) {
            result.unwrap();
            assert_eq!(wait(&mut driver, BOUND)[0].readiness, Readiness::READ);
        } else {
            assert_eq!(errno(result), Some(libc::EPERM));
        }
    });
}

/// In a process of its own in effect: a high number that no other test's descriptor takes once it is closed.
#[test]
fn a_descriptor_closed_while_registered_makes_no_endless_loop() {
    on_each(|mut driver| {
        let (a, _b) = socket_pair(Mode::default()).unwrap();
        // SAFETY: takes no memory.
        let high = unsafe { libc::fcntl(a.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 900) };
        assert!(high >= 900);
        driver
            .register(
                Token {
                    fd: high,
                    generation: 1,
                },
                Interest::READ,
            )
            .unwrap();
        ferrevent_sys::close(high);
        if !matches!(driver.method(), Method::Epoll | Method::IoUring) {
            let ready = wait(&mut driver, BOUND);
            assert_eq!(
                ready,
                [Ready {
                    token: Token {
                        fd: high,
                        generation: 1
                    },
                    readiness: Readiness::FAILED
                }]
            );
            assert_eq!(errno(driver.deregister(high)), Some(libc::ENOENT));
        }
        assert_eq!(wait(&mut driver, Duration::ZERO), []);
        let bad = driver
            .reregister(
                Token {
                    fd: high,
                    generation: 1,
                },
                Interest::READ,
            )
            .unwrap_err();
        assert!(matches!(
            bad.raw_os_error(),
            Some(libc::EBADF | libc::ENOENT)
        ));
    });
}

#[test]
fn descriptors_beyond_1024() {
    on_each(|mut driver| {
        let (a, b) = socket_pair(Mode::default()).unwrap();
        // SAFETY: takes no memory.
        let high = unsafe { libc::fcntl(a.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 5000) };
        if high < 0 {
            // The limit of open files is lower here.
            return;
        }
        driver
            .register(
                Token {
                    fd: high,
                    generation: 1,
                },
                Interest::READ,
            )
            .unwrap();
        write(&b, b"x");
        assert_eq!(wait(&mut driver, BOUND)[0].token.fd, high);
        driver.deregister(high).unwrap();
        assert_eq!(wait(&mut driver, Duration::ZERO), []);
        ferrevent_sys::close(high);
    });
}

/// Except by what interrupts a system call: the kernel does so too, some time after a ring was closed that the thread has
/// used.
#[test]
fn timeouts_are_not_cut_short() {
    on_each(|mut driver| {
        for micros in [1, 900, 2_500] {
            let timeout = Duration::from_micros(micros);
            let whole = (0..50).any(|_| {
                let before = monotonic();
                assert_eq!(wait(&mut driver, timeout), []);
                Duration::from_nanos(monotonic() - before) >= timeout
            });
            assert!(whole, "{timeout:?} with {}", driver.name());
        }
    });
}

#[test]
fn reset_forgets_everything_but_the_waker() {
    on_each(|mut driver| {
        let waker = driver.waker();
        let (a, b) = socket_pair(Mode::default()).unwrap();
        driver.register(token(&a), Interest::READ).unwrap();
        write(&b, b"x");
        driver.reset().unwrap();
        assert_eq!(wait(&mut driver, Duration::ZERO), []);
        assert_eq!(errno(driver.deregister(a.as_raw_fd())), Some(libc::ENOENT));
        waker.wake();
        assert_eq!(wait(&mut driver, BOUND), []);
        driver.register(token(&a), Interest::READ).unwrap();
        assert_eq!(wait(&mut driver, BOUND).len(), 1);
    });
}
