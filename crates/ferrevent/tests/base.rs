//! Bases: the loop, its ends, its priorities, timers and deferred closures.

mod ground;

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ferrevent::driver::Features;
use ferrevent::{Base, Error, Event, LoopEnd, LoopFlags, Method, Warning, What};
use ground::{everywhere, note, notes, run};

const MS: Duration = Duration::from_millis(1);

#[test]
fn an_empty_loop_ends() {
    everywhere(|ground| {
        let mut base = ground.base();
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        base.defer(|base| note(base, "ran"));
        assert_eq!(base.active_len(), 1);
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(notes(&mut base), ["ran"]);
    });
}

#[test]
fn timers_fire_by_deadline_and_in_the_order_of_their_making() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.after(30 * MS, |base| note(base, "30"));
        for name in ["a", "b", "c"] {
            base.after(10 * MS, move |base| note(base, name));
        }
        base.after(Duration::ZERO, |base| note(base, "0"));
        assert_eq!(base.pending_len(), 5);
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(notes(&mut base), ["0", "a", "b", "c", "30"]);
    });
}

#[test]
fn an_interval_repeats_until_it_is_freed() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.insert_state(0u32);
        let event = base.every(2 * MS, |base, event| {
            let count = base.state_mut::<u32>().unwrap();
            *count += 1;
            if *count == 3 {
                event.free(base);
            }
        });
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(base.state::<u32>(), Some(&3));
        assert!(!event.exists(&base));
    });
}

#[test]
fn a_timer_can_be_moved_and_freed() {
    everywhere(|ground| {
        let mut base = ground.base();
        let moved = base.after(Duration::from_secs(3600), |base| note(base, "moved"));
        let freed = base.after(MS, |base| note(base, "freed"));
        moved.add(&mut base, Some(MS)).unwrap();
        assert!(moved.pending(&base).unwrap().remaining.unwrap() <= MS);
        assert!(freed.free(&mut base));
        assert!(!freed.free(&mut base));
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(notes(&mut base), ["moved"]);
    });
}

#[test]
fn break_ends_after_the_running_callback_and_exit_after_the_pass() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.defer(Base::loop_break);
        base.defer(|base| note(base, "second"));
        run(&mut base);
        assert_eq!(notes(&mut base), Vec::<String>::new());
        base.defer(|base| base.loop_exit(Duration::ZERO));
        base.defer(|base| note(base, "third"));
        assert_eq!(base.run().unwrap(), LoopEnd::Stopped);
        assert!(base.got_exit() && !base.got_break());
        assert_eq!(notes(&mut base), ["second", "third"]);
    });
}

#[test]
fn an_exit_asked_for_before_the_loop_counts_and_a_break_does_not() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.loop_break();
        base.after(MS, |base| note(base, "ran"));
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(notes(&mut base), ["ran"]);
        base.every(MS, |_, _| {});
        base.loop_exit(5 * MS);
        assert_eq!(base.run().unwrap(), LoopEnd::Stopped);
        assert!(base.got_exit());
    });
}

#[test]
fn continue_looks_for_new_events_first() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.defer(|base| {
            base.after(Duration::ZERO, |base| note(base, "timer"));
            base.loop_continue();
        });
        base.defer(|base| note(base, "second"));
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(notes(&mut base), ["second", "timer"]);
    });
}

#[test]
fn a_callback_cannot_run_the_loop() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.defer(|base| {
            assert!(matches!(base.run(), Err(Error::Running)));
            note(base, "refused");
        });
        base.run().unwrap();
        assert_eq!(notes(&mut base), ["refused"]);
    });
}

#[test]
fn lower_priorities_wait_for_higher_ones() {
    everywhere(|ground| {
        let mut base = ground.base_with_priorities(3);
        for priority in [2, 0, 1] {
            let event = Event::timer(&mut base, move |base, _| note(base, priority.to_string()));
            assert_eq!(event.priority(&base), Some(1), "the middle one");
            event.set_priority(&mut base, priority).unwrap();
            event.add(&mut base, Some(Duration::ZERO)).unwrap();
        }
        let event = Event::timer(&mut base, |_, _| {});
        assert!(matches!(
            event.set_priority(&mut base, 3),
            Err(Error::Priority(3))
        ));
        base.run().unwrap();
        assert_eq!(notes(&mut base), ["0", "1", "2"]);
    });
}

#[test]
fn once_waits_and_nonblock_does_not() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.after(5 * MS, |base| note(base, "timer"));
        base.run_nonblocking().unwrap();
        assert_eq!(notes(&mut base), Vec::<String>::new());
        base.run_once().unwrap();
        assert_eq!(notes(&mut base), ["timer"]);
    });
}

#[test]
fn an_empty_loop_may_be_kept_running() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.loop_exit(3 * MS);
        let before = base.now();
        let end = base.run_with(LoopFlags::NO_EXIT_ON_EMPTY).unwrap();
        assert_eq!(end, LoopEnd::Stopped);
        assert!(base.now() - before >= 3 * MS);
    });
}

#[test]
fn a_panic_passes_through_and_the_base_goes_on() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.defer(|_| panic!("on purpose"));
        base.after(MS, |base| note(base, "still there"));
        let outcome = catch_unwind(AssertUnwindSafe(|| base.run()));
        assert!(outcome.is_err());
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert_eq!(notes(&mut base), ["still there"]);
    });
}

#[test]
fn an_event_whose_closure_has_panicked_does_not_make_the_loop_spin() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, far) = ground.descriptor();
        let what = What::READ | What::PERSIST;
        let event = Event::new(&mut base, &near.fd(), what, |_, _, _| panic!("on purpose"));
        event.add(&mut base, None).unwrap();
        far.send(b"x");
        let outcome = catch_unwind(AssertUnwindSafe(|| base.run()));
        assert!(outcome.is_err());
        assert_eq!(base.run().unwrap(), LoopEnd::Empty);
        assert!(!event.exists(&base));
    });
}

/// With what it owns, its descriptor goes, and the next file gets the number.
#[test]
fn an_event_whose_closure_has_panicked_is_gone_before_the_closure_is() {
    let mut base = Base::new().unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let (fd, what) = (near.as_raw_fd(), What::READ | What::PERSIST);
    let event = Event::new(&mut base, &fd, what, move |_, _, _| {
        let _ = &near;
        panic!("on purpose");
    });
    event.add(&mut base, None).unwrap();
    catch_unwind(AssertUnwindSafe(|| base.run())).unwrap_err();
    let (near, mut far) = UnixStream::pair().unwrap();
    let event = Event::new(&mut base, &near, What::READ, |base, _, what| {
        note(base, format!("{what:?}"))
    });
    event.add(&mut base, Some(Duration::from_secs(5))).unwrap();
    far.write_all(b"x").unwrap();
    // Not until nothing is left: the first one would be.
    base.run_once().unwrap();
    assert_eq!(notes(&mut base), ["What(READ)"]);
}

#[test]
fn time_stands_still_within_a_pass() {
    everywhere(|ground| {
        let mut base = ground.base();
        let before = base.now();
        base.after(MS, move |base| {
            let now = base.now();
            assert!(now >= before + MS);
            assert_eq!(now, base.now());
        });
        base.run().unwrap();
    });
}

#[test]
fn a_dispatch_limit_lets_urgent_events_in() {
    for (limit, order) in [(None, ["second", "timer"]), (Some(1), ["timer", "second"])] {
        let mut base = Base::builder()
            .priorities(2)
            .max_dispatch(limit, None, 0)
            .build()
            .unwrap();
        base.defer(|base| {
            let urgent = base.after(Duration::ZERO, |base| note(base, "timer"));
            urgent.set_priority(base, 0).unwrap();
        });
        base.defer(|base| note(base, "second"));
        base.run().unwrap();
        assert_eq!(notes(&mut base), order);
    }
}

#[test]
fn state_is_kept_by_type() {
    let mut base = Base::new().unwrap();
    assert_eq!(base.insert_state(1u8), None);
    assert_eq!(base.insert_state(2u8), Some(1));
    base.insert_state("text");
    let seen = base.with_state(|base, number: &mut u8| {
        assert!(base.state::<u8>().is_none(), "it is lent");
        *number += 1;
        *number
    });
    assert_eq!(seen, Some(3));
    assert_eq!(base.remove_state::<u8>(), Some(3));
    assert_eq!(base.state::<u8>(), None);
    assert_eq!(base.state::<&str>(), Some(&"text"));
}

#[test]
fn the_method_can_be_chosen() {
    for method in Method::ALL {
        let base = Base::builder().method(method).build().unwrap();
        assert_eq!(base.method(), method.name());
        assert_eq!(base.features(), method.features());
    }
    let base = Base::builder().avoid(Method::Epoll).build().unwrap();
    assert_eq!(base.method(), "poll");
    let base = Base::builder().require(Features::EDGE).build().unwrap();
    assert_eq!(base.method(), "epoll");
    let impossible = Base::builder().method(Method::Poll).require(Features::EDGE);
    let refused = impossible.build().unwrap_err();
    assert!(matches!(refused, Error::Io(error) if error.kind() == std::io::ErrorKind::Unsupported));
    let none = Base::builder().priorities(0).build();
    assert!(matches!(none, Err(Error::Priority(0))));
    match Base::builder().method(Method::IoUring).build() {
        Ok(base) => assert_eq!(base.method(), "io_uring"),
        Err(error) => eprintln!("skipped: io_uring: {error}"),
    }
}

#[test]
fn the_environment_asks_for_a_method_if_it_is_heeded() {
    let name = "the_environment_asks_for_a_method_if_it_is_heeded";
    if let Ok(wanted) = std::env::var(Method::WANTED) {
        let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let heard = told.clone();
        let builder = Base::builder().warn(move |warning| heard.borrow_mut().push(warning));
        let base = builder.heed_environment().build().unwrap();
        if wanted == "select" {
            assert_eq!(base.method(), "select");
            assert!(told.borrow().is_empty());
        } else {
            assert_eq!(base.method(), "epoll");
            let told = told.borrow();
            let [Warning::Method { name, error }] = &told[..] else {
                panic!("{told:?}");
            };
            assert_eq!(
                (name, error.kind()),
                (&wanted, std::io::ErrorKind::InvalidInput)
            );
        }
        assert_eq!(Base::new().unwrap().method(), "epoll");
        let chosen = Base::builder().method(Method::Poll).heed_environment();
        assert_eq!(chosen.build().unwrap().method(), "poll");
        return;
    }
    // Again, in processes of their own with that environment.
    for wanted in ["select", "kqueue"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(Method::WANTED, wanted)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{report}");
        assert!(report.contains("1 passed"), "{report}");
    }
}

#[test]
fn the_environment_forbids_methods_if_it_is_heeded() {
    let variable = "EVENT_NOEPOLL";
    if std::env::var_os(variable).is_some() {
        let heeds = Base::builder().heed_environment().build().unwrap();
        assert_eq!(heeds.method(), "poll");
        assert_eq!(Base::new().unwrap().method(), "epoll");
        return;
    }
    // Once more, in a process of its own with that environment.
    let name = "the_environment_forbids_methods_if_it_is_heeded";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(variable, "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("1 passed"), "{report}");
}
