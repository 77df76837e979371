//! Looking at a base's events, and making them run by hand.

mod ground;

use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ferrevent::{Base, Counts, Event, What};
use ground::{everywhere, note, notes, on_systems, settle};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn pending_and_active_events_are_listed_and_idle_ones_are_not() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, _far) = ground.descriptor();
        let reader = Event::new(&mut base, &near.fd(), What::READ, |_, _, _| {});
        let timer = Event::timer(&mut base, |_, _| {});
        let active = Event::timer(&mut base, |_, _| {});
        let idle = Event::timer(&mut base, |_, _| {});
        reader.add(&mut base, None).unwrap();
        timer.add(&mut base, Some(HOUR)).unwrap();
        assert!(active.activate(&mut base, What::READ));
        let mut listed: Vec<Event> = base.events().collect();
        listed.sort_unstable();
        let mut expected = [reader, timer, active];
        expected.sort_unstable();
        assert_eq!(listed, expected);
        assert!(idle.exists(&base));
    });
}

#[test]
fn a_dump_has_a_line_for_each_event() {
    everywhere(|ground| {
        let mut base = ground.base();
        assert_eq!(base.dump().to_string(), "");
        let (near, _far) = ground.descriptor();
        let fd = near.fd();
        let what = What::READ | What::PERSIST;
        let reader = Event::new(&mut base, &fd, what, |_, _, _| {});
        let timer = Event::timer(&mut base, |_, _| {});
        reader.add(&mut base, None).unwrap();
        timer.add(&mut base, Some(HOUR)).unwrap();
        assert!(timer.activate(&mut base, What::TIMEOUT));
        let text = base.dump().to_string();
        let line = |event: Event| {
            let name = format!("{event:?} ");
            let line = text.lines().find(|line| line.starts_with(&name));
            line.unwrap_or_else(|| panic!("no line for {event:?} in {text}"))
        };
        assert_eq!(text.lines().count(), 2);
        assert!(line(reader).contains(&format!("descriptor {}", fd.as_raw_fd())));
        assert!(line(reader).contains("waits for What(READ)"), "{text}");
        assert!(line(timer).contains("times out in "), "{text}");
        assert!(line(timer).contains("runs for What(TIMEOUT)"), "{text}");
    });
}

#[test]
fn counts_and_the_most_that_there_was() {
    everywhere(|ground| {
        let mut base = ground.base();
        let timers: Vec<Event> = (0..3).map(|_| Event::timer(&mut base, |_, _| {})).collect();
        for timer in &timers {
            timer.add(&mut base, Some(HOUR)).unwrap();
        }
        assert_eq!(
            base.counts(),
            Counts {
                added: 3,
                active: 0
            }
        );
        assert!(timers[0].activate(&mut base, What::READ));
        assert_eq!(base.counts().active, 1);
        for timer in &timers {
            timer.del(&mut base);
        }
        assert_eq!(base.counts(), Counts::default());
        assert!(base.peak().added >= 3);
        assert_eq!(base.peak().active, 1);
        base.reset_peak();
        assert_eq!(base.peak(), Counts::default());
    });
}

#[test]
fn a_descriptors_events_run_by_hand_if_they_wait_for_that() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, _far) = ground.descriptor();
        let fd = near.fd();
        let reader = Event::new(&mut base, &fd, What::READ, |base, _, what| {
            note(base, format!("reader {what:?}"));
        });
        let timed = Event::new(&mut base, &fd, What::READ, |base, _, what| {
            note(base, format!("timed {what:?}"));
        });
        reader.add(&mut base, None).unwrap();
        timed.add(&mut base, Some(HOUR)).unwrap();
        base.activate_fd(&fd, What::WRITE);
        settle(&mut base);
        assert_eq!(notes(&mut base), Vec::<String>::new());
        base.activate_fd(&fd, What::TIMEOUT);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["timed What(TIMEOUT)"]);
        base.activate_fd(&fd, What::READ);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["reader What(READ)"]);
    });
}

#[test]
fn a_signals_events_run_by_hand() {
    on_systems(|ground| {
        let mut base = ground.base();
        base.on_signal(10, |base, _| note(base, "signal")).unwrap();
        base.activate_signal(12);
        base.activate_signal(10);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["signal"]);
    });
}

#[test]
fn the_running_event_is_known_while_it_runs_and_only_then() {
    everywhere(|ground| {
        let mut base = ground.base();
        assert_eq!(base.running_event(), None);
        let timer = Event::timer(&mut base, |base, event| {
            assert_eq!(base.running_event(), Some(event));
            base.defer(|base| assert_eq!(base.running_event(), None));
            note(base, "ran");
        });
        assert!(timer.activate(&mut base, What::READ));
        settle(&mut base);
        assert_eq!(notes(&mut base), ["ran"]);
        assert_eq!(base.running_event(), None);
        let panics = Event::timer(&mut base, |_, _| panic!("on purpose"));
        assert!(panics.activate(&mut base, What::READ));
        assert!(catch_unwind(AssertUnwindSafe(|| base.run_nonblocking())).is_err());
        assert_eq!(base.running_event(), None);
    });
}

#[test]
fn the_time_of_a_pass_stands_still_until_it_is_brought_up_to_date() {
    on_systems(|ground| {
        let mut base = ground.base();
        base.after(Duration::from_millis(1), |base| {
            let begin = base.now();
            let clock = std::time::Instant::now();
            while clock.elapsed() < Duration::from_millis(2) {}
            assert_eq!(base.now(), begin);
            base.update_now();
            assert!(base.now() >= begin + Duration::from_millis(2));
            note(base, "ran");
        });
        base.run().unwrap();
        assert_eq!(notes(&mut base), ["ran"]);
    });
}

#[test]
fn what_a_closure_owns_is_dropped_when_its_event_is_freed() {
    let mut base = Base::new().unwrap();
    let owned = std::rc::Rc::new(());
    let held = owned.clone();
    let timer = Event::timer(&mut base, move |base, event| {
        let _ = &held;
        // It runs: what it owns lives until it has returned.
        event.free(base);
        assert_eq!(std::rc::Rc::strong_count(&held), 2);
    });
    assert!(timer.activate(&mut base, What::READ));
    base.run_nonblocking().unwrap();
    assert_eq!(std::rc::Rc::strong_count(&owned), 1);
}
