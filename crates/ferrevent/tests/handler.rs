//! Handlers: what they may do while they run, deferral, triggering.

mod ground;

use std::rc::Rc;

use ferrevent::{Base, BufferEvent, Callbacks, Condition, Dirs, Error, Handler};
use ground::{Witness, everywhere, note, notes, settle};

const NOTHING: [&str; 0] = [];

/// Something that counts how many of it are alive, by its clones.
type Token = Rc<()>;

#[test]
fn a_handler_may_free_its_own_bufferevent() {
    struct Fatal {
        _token: Token,
    }
    impl Handler for Fatal {
        fn read(&mut self, base: &mut Base, bev: BufferEvent) {
            note(base, "read");
            assert!(bev.free(base));
            assert!(!bev.free(base));
            assert!(matches!(bev.write(base, b"x"), Err(Error::Stale)));
        }
        fn event(&mut self, _: &mut Base, _: BufferEvent, condition: Condition) {
            panic!("told after it was freed: {condition}");
        }
    }
    everywhere(|ground| {
        let mut base = ground.base();
        let token = Token::default();
        let (bev, far) = ground.pair(&mut base);
        let _token = token.clone();
        bev.set_handler(&mut base, Fatal { _token });
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(b"x");
        far.finish();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["read"]);
        assert_eq!(Rc::strong_count(&token), 1, "the handler is dropped");
        assert!(far.is_alone());
        assert_eq!(base.bufferevents().count(), 0);
        assert_eq!(base.pending_len(), 0);
    });
}

#[test]
fn a_handler_may_free_another_that_is_ready() {
    everywhere(|ground| {
        let mut base = ground.base();
        let [one, two] = [0, 1].map(|_| ground.pair(&mut base));
        for ((bev, far), other) in [(&one, two.0), (&two, one.0)] {
            let free_other = Callbacks::new().read(move |base, _| {
                note(base, "read");
                assert!(other.free(base));
            });
            bev.set_handler(&mut base, free_other);
            bev.enable(&mut base, Dirs::READ).unwrap();
            far.send(b"x");
        }
        settle(&mut base);
        assert_eq!(notes(&mut base), ["read"]);
        assert_eq!(base.bufferevents().count(), 1);
    });
}

#[test]
fn a_handler_may_write_to_another_and_make_new_ones() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (other, far_of_other) = ground.pair(&mut base);
        let (bev, far) = ground.pair(&mut base);
        let grounds = ground.clone();
        bev.set_handler(
            &mut base,
            Callbacks::new().read(move |base, bev| {
                bev.forward(base, other).unwrap();
                let (new, far) = grounds.pair(base);
                new.set_handler(base, Witness);
                new.enable(base, Dirs::READ).unwrap();
                far.send(b"new");
                base.insert_state(far);
            }),
        );
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(b"news");
        settle(&mut base);
        assert_eq!(far_of_other.receive(), b"news");
        assert_eq!(notes(&mut base), ["R3"]);
    });
}

#[test]
fn a_handler_may_be_replaced_by_itself() {
    struct First {
        _token: Token,
    }
    impl Handler for First {
        fn read(&mut self, base: &mut Base, bev: BufferEvent) {
            note(base, "first");
            assert!(bev.handler::<Self>(base).is_none(), "it runs just now");
            bev.set_handler(base, Witness);
        }
    }
    everywhere(|ground| {
        let mut base = ground.base();
        let token = Token::default();
        let (bev, far) = ground.pair(&mut base);
        let _token = token.clone();
        bev.set_handler(&mut base, First { _token });
        assert!(bev.handler::<First>(&base).is_some());
        assert!(bev.handler_mut::<Witness>(&mut base).is_none());
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(b"x");
        settle(&mut base);
        assert_eq!(Rc::strong_count(&token), 1);
        assert!(bev.handler::<Witness>(&base).is_some());
        far.send(b"y");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["first", "R2"]);
    });
}

#[test]
fn a_handler_may_be_taken_away_and_bytes_still_move() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        let once = Callbacks::new().read(|base, bev| {
            note(base, "read");
            bev.clear_handler(base);
        });
        bev.set_handler(&mut base, once);
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(b"x");
        settle(&mut base);
        far.send(b"yz");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["read"]);
        assert_eq!(bev.input_len(&base), Some(3));
    });
}

#[test]
fn reading_can_be_disabled_inside_the_read_callback() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        let once = Callbacks::new().read(|base, bev| {
            note(base, "read");
            bev.disable(base, Dirs::READ);
        });
        bev.set_max_single(&mut base, Dirs::READ, Some(4));
        bev.set_handler(&mut base, once);
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(&[0; 9]);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["read"]);
        assert_eq!(bev.input_len(&base), Some(4));
    });
}

#[test]
fn writing_inside_the_write_callback_does_not_recurse() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        let mut left = 3;
        let again = Callbacks::new().write(move |base, bev| {
            left -= 1;
            note(base, format!("W{left}"));
            if left > 0 {
                bev.write(base, b"x").unwrap();
            }
        });
        bev.set_handler(&mut base, again);
        bev.write(&mut base, b"x").unwrap();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["W2", "W1", "W0"]);
        assert_eq!(far.receive(), b"xxx");
    });
}

#[test]
fn deferred_callbacks_come_in_a_fixed_order() {
    everywhere(|ground| {
        let mut base = ground.base();
        let builder = BufferEvent::builder().deferred();
        let (bev, far) = ground.pair_with(&mut base, builder);
        bev.set_handler(&mut base, Witness);
        bev.trigger_event(&mut base, Condition::Eof { dirs: Dirs::READ });
        bev.trigger_event(&mut base, Condition::Timeout { dirs: Dirs::READ });
        bev.trigger(&mut base, Dirs::all(), true);
        bev.trigger_event(&mut base, Condition::Connected);
        assert_eq!(notes(&mut base), NOTHING);
        settle(&mut base);
        let expected = ["connected", "R0", "W0", "timeout reading", "eof reading"];
        assert_eq!(notes(&mut base), expected);
        drop(far);
    });
}

#[test]
fn what_is_deferred_is_forgotten_when_the_bufferevent_is_freed() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, _far) = ground.pair_with(&mut base, BufferEvent::builder().deferred());
        bev.set_handler(&mut base, Witness);
        bev.trigger(&mut base, Dirs::all(), true);
        bev.free(&mut base);
        settle(&mut base);
        assert_eq!(notes(&mut base), NOTHING);
    });
}

#[test]
fn a_trigger_heeds_the_marks_unless_told_otherwise() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, _far) = ground.pair(&mut base);
        bev.set_handler(&mut base, Witness);
        bev.trigger(&mut base, Dirs::READ, false);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R0"], "the low mark is 0");
        bev.set_watermark(&mut base, Dirs::READ, 1, 0);
        bev.trigger(&mut base, Dirs::READ, false);
        settle(&mut base);
        assert_eq!(notes(&mut base), NOTHING);
        bev.trigger(&mut base, Dirs::READ, true);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R0"]);
    });
}

#[test]
fn a_triggered_error_is_told_as_it_was_given() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, _far) = ground.pair(&mut base);
        bev.set_handler(
            &mut base,
            Callbacks::new().event(|base, _, condition| {
                let Condition::Error { dirs, error } = condition else {
                    panic!("{condition:?}");
                };
                assert_eq!(dirs, Dirs::all());
                assert_eq!(error.to_string(), "my own");
                base.loop_break();
            }),
        );
        let error = std::io::Error::other("my own").into();
        let dirs = Dirs::all();
        bev.trigger_event(&mut base, Condition::Error { dirs, error });
        ground::run(&mut base);
    });
}

#[test]
fn the_high_mark_and_a_lazy_handler_do_not_make_the_loop_spin() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        bev.set_handler(&mut base, Witness);
        bev.set_watermark(&mut base, Dirs::READ, 0, 4);
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(b"12345678");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R4"]);
    });
}

#[test]
fn a_stale_key_is_harmless() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (stale, _far) = ground.pair(&mut base);
        stale.free(&mut base);
        settle(&mut base);
        let fresh = BufferEvent::unconnected(&mut base);
        assert_ne!(stale, fresh);
        for bev in [stale, BufferEvent::default()] {
            assert!(!bev.exists(&base));
            assert_eq!(bev.enabled(&base), None);
            assert_eq!(bev.fd(&base), None);
            assert!(bev.input(&mut base).is_none() && bev.output(&mut base).is_none());
            assert!(matches!(
                bev.enable(&mut base, Dirs::all()),
                Err(Error::Stale)
            ));
            assert!(!bev.disable(&mut base, Dirs::all()));
            assert!(!bev.set_handler(&mut base, Witness));
            assert!(!bev.trigger(&mut base, Dirs::all(), true));
            assert!(!bev.set_watermark(&mut base, Dirs::all(), 1, 2));
            assert!(bev.into_socket(&mut base).is_none());
            assert_eq!(bev.read(&mut base, &mut [0]), 0);
        }
    });
}

#[test]
fn a_handler_that_panics_is_gone_and_the_rest_goes_on() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        bev.set_handler(
            &mut base,
            Callbacks::new().read(|_, _| panic!("on purpose")),
        );
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(b"x");
        let outcome = catch_unwind(AssertUnwindSafe(|| settle(&mut base)));
        assert!(outcome.is_err());
        bev.set_handler(&mut base, Witness);
        far.send(b"y");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R2"]);
    });
}
