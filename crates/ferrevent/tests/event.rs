//! Events on descriptors.

mod ground;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ferrevent::{Base, Error, Event, Method, What};
use ground::{everywhere, note, notes, on_systems, settle};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_one_shot_event_fires_once_for_each_add() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, far) = ground.descriptor();
        let event = Event::new(&mut base, &near.fd(), What::READ, |base, event, what| {
            assert_eq!(event.pending(base), None, "it is deleted before it runs");
            note(base, format!("{what:?}"));
        });
        assert_eq!(event.pending(&base), None);
        event.add(&mut base, None).unwrap();
        assert_eq!(event.pending(&base).unwrap().waits, What::READ);
        settle(&mut base);
        far.send(b"x");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["What(READ)"]);
        event.add(&mut base, None).unwrap();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["What(READ)"], "it is still readable");
    });
}

#[test]
fn a_persistent_event_stays_and_reports_levels() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, far) = ground.descriptor();
        let fd = near.fd();
        let left = Cell::new(3);
        let event = Event::new(
            &mut base,
            &fd,
            What::READ | What::PERSIST,
            move |base, event, _| {
                note(base, "R");
                left.set(left.get() - 1);
                if left.get() == 0 {
                    near.receive();
                    base.loop_break();
                }
                assert!(event.pending(base).is_some());
            },
        );
        event.add(&mut base, None).unwrap();
        far.send(b"x");
        ground::run(&mut base);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R", "R", "R"]);
        assert!(event.del(&mut base));
        assert!(!event.del(&mut base));
        far.send(b"x");
        settle(&mut base);
        assert_eq!(notes(&mut base), Vec::<String>::new());
    });
}

#[test]
fn an_edge_is_reported_once() {
    everywhere(|ground| {
        let mut base = ground.base();
        if !base.features().contains(ferrevent::driver::Features::EDGE) {
            return;
        }
        let (near, far) = ground.descriptor();
        let what = What::READ | What::PERSIST | What::EDGE;
        let event = Event::new(&mut base, &near.fd(), what, |base, _, what| {
            assert!(what.contains(What::READ | What::EDGE));
            note(base, "R");
        });
        event.add(&mut base, None).unwrap();
        far.send(b"x");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R"]);
        far.send(b"y");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R"]);
    });
}

#[test]
fn several_events_wait_on_one_descriptor() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, far) = ground.descriptor();
        for name in ["first", "second"] {
            let event = Event::new(&mut base, &near.fd(), What::READ, move |base, _, _| {
                note(base, name);
            });
            event.add(&mut base, None).unwrap();
        }
        let writer = Event::new(&mut base, &near.fd(), What::WRITE, |base, _, what| {
            assert_eq!(what, What::WRITE);
            note(base, "writable");
        });
        writer.add(&mut base, None).unwrap();
        far.send(b"x");
        settle(&mut base);
        let mut all = notes(&mut base);
        all.sort();
        assert_eq!(all, ["first", "second", "writable"]);
    });
}

#[test]
fn the_end_of_the_peer_is_reported_without_reading() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, far) = ground.descriptor();
        let event = Event::new(&mut base, &near.fd(), What::CLOSED, |base, _, what| {
            note(base, format!("{what:?}"));
        });
        event.add(&mut base, None).unwrap();
        far.send(b"x");
        settle(&mut base);
        assert_eq!(notes(&mut base), Vec::<String>::new());
        far.finish();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["What(CLOSED)"]);
    });
}

#[test]
fn a_timeout_comes_when_nothing_else_does() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, _far) = ground.descriptor();
        base.once(&near.fd(), What::READ, Some(3 * MS), |base, what| {
            assert_eq!(what, What::TIMEOUT);
            base.loop_break();
        })
        .unwrap();
        ground::run(&mut base);
        assert_eq!(base.pending_len(), 0);
    });
}

#[test]
fn a_timeout_can_be_taken_away() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, far) = ground.descriptor();
        let event = Event::new(&mut base, &near.fd(), What::READ, |base, _, what| {
            assert_eq!(what, What::READ);
            base.loop_break();
        });
        event.add(&mut base, Some(2 * MS)).unwrap();
        assert!(event.remove_timeout(&mut base));
        assert_eq!(event.pending(&base).unwrap().remaining, None);
        base.after(10 * MS, move |_| {
            far.send(b"x");
            std::mem::forget(far);
        });
        ground::run(&mut base);
    });
}

#[test]
fn events_with_a_shared_timeout_keep_their_order_among_all_others() {
    everywhere(|ground| {
        let mut base = ground.base();
        base.share_timeout(3 * MS);
        // The time stands still in a callback.
        base.defer(|base| {
            let mut add = |name, timeouts: &[u32]| {
                let event = Event::timer(base, move |base, _| note(base, name));
                for timeout in timeouts {
                    event.add(base, Some(*timeout * MS)).unwrap();
                }
                event
            };
            add("late", &[5]);
            add("first", &[3]);
            let removed = add("removed", &[3]);
            add("moved away", &[3, 7]);
            add("again", &[3, 3]);
            add("second", &[3]);
            add("moved here", &[4, 3]);
            add("early", &[3, 1]);
            removed.del(base);
        });
        base.run().unwrap();
        let order = [
            "early",
            "first",
            "again",
            "second",
            "moved here",
            "late",
            "moved away",
        ];
        assert_eq!(notes(&mut base), order);
    });
}

#[test]
fn an_event_can_be_activated_by_hand() {
    everywhere(|ground| {
        let mut base = ground.base();
        let event = Event::timer(&mut base, |base, _| note(base, "ran"));
        assert!(event.activate(&mut base, What::TIMEOUT));
        assert_eq!(event.pending(&base).unwrap().active, What::TIMEOUT);
        assert_eq!(
            notes(&mut base),
            Vec::<String>::new(),
            "it runs from the loop"
        );
        base.run().unwrap();
        assert_eq!(notes(&mut base), ["ran"]);
    });
}

#[test]
fn a_closure_may_free_its_own_event_and_others_that_are_ready() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, far) = ground.descriptor();
        let events = Rc::new(Cell::new([Event::default(); 2]));
        let made = [0, 1].map(|_| {
            let events = events.clone();
            let what = What::READ | What::PERSIST;
            let event = Event::new(&mut base, &near.fd(), what, move |base, event, _| {
                note(base, "ran");
                for other in events.get() {
                    assert!(other.free(base));
                }
                assert!(!event.exists(base));
                assert!(matches!(event.add(base, None), Err(Error::Stale)));
            });
            event.add(&mut base, None).unwrap();
            event
        });
        events.set(made);
        far.send(b"x");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["ran"]);
        assert_eq!(base.pending_len(), 0);
        assert_eq!(Rc::strong_count(&events), 1, "both closures are dropped");
    });
}

#[test]
fn a_stale_key_is_harmless() {
    everywhere(|ground| {
        let mut base = ground.base();
        let stale = Event::timer(&mut base, |_, _| {});
        stale.free(&mut base);
        let fresh = Event::timer(&mut base, |_, _| {});
        assert_ne!(stale, fresh);
        assert!(!stale.activate(&mut base, What::TIMEOUT));
        assert!(!stale.remove_timeout(&mut base));
        assert!(!stale.del(&mut base));
        assert_eq!(stale.pending(&base), None);
        assert_eq!(stale.what(&base), None);
        assert!(matches!(
            stale.set_priority(&mut base, 0),
            Err(Error::Stale)
        ));
        assert!(fresh.exists(&base));
    });
}

#[test]
fn edges_and_levels_do_not_mix() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (near, _far) = ground.descriptor();
        let level = Event::new(&mut base, &near.fd(), What::READ, |_, _, _| {});
        let edge = Event::new(&mut base, &near.fd(), What::READ | What::EDGE, |_, _, _| {});
        level.add(&mut base, None).unwrap();
        assert!(matches!(
            edge.add(&mut base, None),
            Err(Error::MixedTriggers)
        ));
        assert_eq!(edge.pending(&base), None);
    });
}

#[test]
fn a_descriptor_that_cannot_be_watched_is_refused() {
    on_systems(|ground| {
        let mut base = ground.base();
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let event = Event::new(&mut base, &file, What::READ, |base, _, _| base.loop_break());
        let added = event.add(&mut base, None);
        if base.method() == "epoll" {
            assert!(matches!(added, Err(Error::Io(_))));
            assert_eq!(base.pending_len(), 0);
        } else {
            added.unwrap();
            ground::run(&mut base);
        }
    });
}

#[test]
fn a_number_that_is_not_open_is_refused() {
    let mut base = Base::builder().method(Method::Epoll).build().unwrap();
    let refused = base.once(&1_000_000, What::READ, None, |_, _| {});
    assert!(matches!(refused, Err(Error::Io(_))));
}
