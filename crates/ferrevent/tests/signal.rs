//! Signals. Each test has a signal of its own, since they belong to the whole process.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::time::Duration;

use ferrevent::{Base, Error, Event};
use ferrevent_sim::{Faults, World};
use ground::{Ground, note, notes, on_systems, settle};
use rustix::process::{Signal, getpid, kill_process};

fn raise(signal: Signal) {
    kill_process(getpid(), signal).unwrap();
}

#[test]
fn a_signal_is_told_each_time_until_its_event_is_freed() {
    on_systems(|ground| {
        let signal = Signal::USR1;
        let mut base = ground.base();
        let event = base
            .on_signal(signal.as_raw(), |base, _| {
                note(base, "signal");
                base.loop_break();
            })
            .unwrap();
        // Something else must keep the signal from ending the process once the event is gone.
        let mut other = ground.base();
        let mut seen = 0;
        other
            .on_signal(signal.as_raw(), move |base, _| {
                seen += 1;
                if seen == 3 {
                    base.loop_break();
                }
            })
            .unwrap();
        for _ in 0..2 {
            raise(signal);
            ground::run(&mut base);
            assert_eq!(notes(&mut base), ["signal"]);
        }
        event.free(&mut base);
        raise(signal);
        // Each base is told of all three.
        ground::run(&mut other);
        settle(&mut base);
        assert_eq!(notes(&mut base), Vec::<String>::new());
    });
}

#[test]
fn a_signal_ends_a_wait() {
    on_systems(|ground| {
        let signal = Signal::USR2;
        let mut base = ground.base();
        base.on_signal(signal.as_raw(), |base, event| {
            event.free(base);
            base.loop_break();
        })
        .unwrap();
        let raiser = std::thread::spawn(move || raise(signal));
        ground::run(&mut base);
        raiser.join().unwrap();
    });
}

#[test]
fn several_events_wait_for_one_signal_and_may_time_out() {
    on_systems(|ground| {
        let signal = Signal::WINCH;
        let mut base = ground.base();
        for name in ["a", "b"] {
            base.on_signal(signal.as_raw(), move |base, event| {
                note(base, name);
                event.del(base);
            })
            .unwrap();
        }
        let timed = Event::signal(&mut base, Signal::URG.as_raw(), |base, _| {
            note(base, "late")
        });
        timed
            .add(&mut base, Some(Duration::from_millis(2)))
            .unwrap();
        raise(signal);
        base.run().unwrap();
        let mut told = notes(&mut base);
        told.sort();
        assert_eq!(told, ["a", "b", "late"]);
        assert_eq!(timed.pending(&base), None, "the timeout has ended it");
    });
}

#[test]
fn a_number_that_is_no_signal_is_refused() {
    on_systems(|ground| {
        let mut base = ground.base();
        for number in [0, -1, 65, Signal::KILL.as_raw()] {
            let refused = base.on_signal(number, |_, _| {});
            assert!(
                matches!(refused, Err(Error::Signal(n)) if n == number),
                "{refused:?}"
            );
            assert_eq!(base.pending_len(), 0);
        }
        assert_eq!(base.run().unwrap(), ferrevent::LoopEnd::Empty);
    });
}

#[test]
fn a_world_of_its_own_has_no_signals() {
    let mut base: Base = Ground::Simulated(World::new(1, Faults::none())).base();
    let refused = base.on_signal(Signal::USR1.as_raw(), |_, _| {});
    assert!(matches!(refused, Err(Error::NotOnSystem)));
}
