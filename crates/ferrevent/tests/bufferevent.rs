//! Bufferevents: reading, writing, watermarks, the end of the stream, timeouts.
#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::time::Duration;

use ferrevent::{
    Base, Buffer, BufferError, BufferEvent, Callbacks, Condition, Dirs, EolStyle, Error,
};
use ferrevent::{Handler, Watermark};
use ground::{Far, Ground, Witness, everywhere, note, notes, on_systems, settle};

const MS: Duration = Duration::from_millis(1);
const NOTHING: [&str; 0] = [];

/// A bufferevent that reads and notes, and the far end of its connection.
fn witness(ground: &Ground, base: &mut Base) -> (BufferEvent, Far) {
    let (bev, far) = ground.pair(base);
    bev.set_handler(base, Witness);
    bev.enable(base, Dirs::READ).unwrap();
    (bev, far)
}

#[test]
fn a_new_one_writes_and_does_not_read() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        bev.set_handler(&mut base, Witness);
        assert_eq!(bev.enabled(&base), Some(Dirs::WRITE));
        far.send(b"abc");
        settle(&mut base);
        assert_eq!(notes(&mut base), NOTHING);
        bev.enable(&mut base, Dirs::READ).unwrap();
        assert_eq!(
            bev.input_len(&base),
            Some(0),
            "nothing is read inside the call"
        );
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R3"]);
    });
}

#[test]
fn the_low_mark_holds_the_read_callback_back() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        bev.set_watermark(&mut base, Dirs::READ, 10, 0);
        assert_eq!(
            bev.watermark(&base, Dirs::READ),
            Some(Watermark { low: 10, high: 0 })
        );
        far.send(b"12345");
        settle(&mut base);
        assert_eq!(notes(&mut base), NOTHING);
        far.send(b"67890");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R10"]);
        settle(&mut base);
        assert_eq!(
            notes(&mut base),
            NOTHING,
            "what lies there is not announced again"
        );
        far.send(b"1");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R11"]);
    });
}

#[test]
fn the_high_mark_stops_reading_until_room_is_made() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        bev.set_watermark(&mut base, Dirs::READ, 0, 10);
        far.send(&[b'x'; 25]);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R10"]);
        let mut input = bev.input(&mut base).unwrap();
        input.drain(3).unwrap();
        drop(input);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R10"]);
        bev.set_watermark(&mut base, Dirs::READ, 0, 0);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R22"]);
    });
}

#[test]
fn what_is_written_goes_out_from_the_loop_and_is_reported_once() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        bev.write(&mut base, "hello ").unwrap();
        bev.write_buffer(&mut base, &mut Buffer::from(&b"world"[..]))
            .unwrap();
        assert_eq!(bev.output_len(&base), Some(11));
        assert_eq!(far.receive(), b"");
        settle(&mut base);
        assert_eq!(far.receive(), b"hello world");
        assert_eq!(notes(&mut base), ["W0"]);
    });
}

#[test]
fn the_low_mark_of_writing_reports_every_write_at_or_under_it() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        bev.set_handler(&mut base, Witness);
        bev.set_watermark(&mut base, Dirs::WRITE, 50_000, 0);
        bev.write(&mut base, vec![7; 60_000]).unwrap();
        settle(&mut base);
        assert_eq!(far.receive().len(), 60_000);
        let seen = notes(&mut base);
        assert!(seen.len() > 1, "{seen:?}");
        assert_eq!(seen.last().unwrap(), "W0");
    });
}

#[test]
fn disabled_writing_holds_output_back() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        bev.disable(&mut base, Dirs::WRITE);
        bev.write(&mut base, b"later").unwrap();
        settle(&mut base);
        assert_eq!(far.receive(), b"");
        bev.enable(&mut base, Dirs::WRITE).unwrap();
        settle(&mut base);
        assert_eq!(far.receive(), b"later");
        assert_eq!(notes(&mut base), ["W0"]);
    });
}

#[test]
fn large_output_gets_through_a_reader_that_is_slow() {
    everywhere(|ground| {
        let mut base = ground.base();
        let [from, to] = ground.both(&mut base);
        let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        from.write(&mut base, &sent).unwrap();
        to.set_watermark(&mut base, Dirs::READ, 0, 10_000);
        base.insert_state(Buffer::new());
        to.set_handler(
            &mut base,
            Callbacks::new().read(|base, bev| {
                base.with_state(|base, all: &mut Buffer| {
                    bev.read_buffer(base, all).unwrap();
                    if all.len() == 1_000_000 {
                        base.loop_break();
                    }
                });
            }),
        );
        to.enable(&mut base, Dirs::READ).unwrap();
        ground::run(&mut base);
        assert!(*base.state::<Buffer>().unwrap() == sent);
    });
}

#[test]
fn the_end_comes_after_the_bytes_and_leaves_writing_alone() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        far.send(&[b'x'; 10]);
        far.finish();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R10", "eof reading"]);
        assert_eq!(bev.enabled(&base), Some(Dirs::WRITE));
        bev.write(&mut base, b"still").unwrap();
        settle(&mut base);
        assert_eq!(far.receive(), b"still");
        bev.enable(&mut base, Dirs::READ).unwrap();
        settle(&mut base);
        assert_eq!(
            notes(&mut base),
            ["W0", "eof reading"],
            "whoever asks again is told again"
        );
    });
}

#[test]
fn bytes_under_the_low_mark_are_there_at_the_end() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        bev.set_watermark(&mut base, Dirs::READ, 100, 0);
        bev.set_handler(
            &mut base,
            Callbacks::new()
                .read(|_, _| panic!("there is too little to read"))
                .event(|base, bev, condition| {
                    assert!(matches!(condition, Condition::Eof { dirs: Dirs::READ }));
                    assert_eq!(bev.input_len(base), Some(10));
                    base.loop_break();
                }),
        );
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(&[b'x'; 10]);
        far.finish();
        ground::run(&mut base);
    });
}

#[test]
fn writing_to_a_closed_peer_is_an_error_and_no_signal() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = ground.pair(&mut base);
        far.close();
        bev.set_handler(
            &mut base,
            Callbacks::new().event(|base, bev, condition| {
                let Condition::Error {
                    dirs: Dirs::WRITE,
                    error: Error::Io(error),
                } = condition
                else {
                    panic!("{condition:?}");
                };
                let kind = error.kind();
                use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
                assert!(matches!(kind, BrokenPipe | ConnectionReset), "{error}");
                assert_eq!(bev.enabled(base), Some(Dirs::empty()));
                assert_eq!(
                    bev.output_len(base),
                    Some(4),
                    "what was not sent is still there"
                );
                base.loop_break();
            }),
        );
        // A simulated peer needs something to answer with a reset; a second write then meets it.
        bev.set_max_single(&mut base, Dirs::WRITE, Some(1));
        if matches!(ground, Ground::Simulated(_)) {
            bev.write(&mut base, b"x").unwrap();
            settle(&mut base);
        }
        bev.write(&mut base, b"lost").unwrap();
        ground::run(&mut base);
    });
}

#[test]
fn a_read_timeout_disables_reading_until_it_is_enabled_again() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        bev.set_timeouts(&mut base, Some(5 * MS), None);
        assert_eq!(bev.timeout(&base, Dirs::READ), Some(5 * MS));
        base.after(30 * MS, Base::loop_break);
        ground::run(&mut base);
        assert_eq!(notes(&mut base), ["timeout reading"]);
        assert_eq!(bev.enabled(&base), Some(Dirs::WRITE));
        far.send(b"abc");
        settle(&mut base);
        assert_eq!(notes(&mut base), NOTHING);
        bev.enable(&mut base, Dirs::READ).unwrap();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R3"]);
    });
}

#[test]
fn no_read_timeout_runs_at_the_high_mark_and_no_write_timeout_without_output() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        bev.set_watermark(&mut base, Dirs::READ, 0, 4);
        far.send(b"full");
        settle(&mut base);
        bev.set_timeouts(&mut base, Some(2 * MS), Some(2 * MS));
        base.after(20 * MS, Base::loop_break);
        ground::run(&mut base);
        assert_eq!(notes(&mut base), ["R4"]);
    });
}

#[test]
fn a_write_timeout_comes_when_the_peer_takes_nothing() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, _far) = witness(ground, &mut base);
        bev.set_timeouts(&mut base, None, Some(5 * MS));
        bev.write(&mut base, vec![0; 8 << 20]).unwrap();
        base.after(100 * MS, Base::loop_break);
        ground::run(&mut base);
        assert_eq!(notes(&mut base), ["timeout writing"]);
        assert_eq!(bev.enabled(&base), Some(Dirs::READ));
    });
}

#[test]
fn the_transfer_size_can_be_limited() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        assert_eq!(bev.max_single(&base, Dirs::READ), None);
        bev.set_max_single(&mut base, Dirs::READ, Some(2));
        assert_eq!(bev.max_single(&base, Dirs::READ), Some(2));
        far.send(b"12345");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R2", "R4", "R5"]);
    });
}

#[test]
fn the_user_only_takes_input_and_only_adds_output() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        far.send(b"input");
        settle(&mut base);
        for _ in 0..2 {
            let mut input = bev.input(&mut base).unwrap();
            assert_eq!(input.append(b"x"), Err(BufferError::Frozen));
            input.unfreeze(ferrevent::End::Back);
        }
        bev.disable(&mut base, Dirs::WRITE);
        bev.write(&mut base, b"output").unwrap();
        for _ in 0..2 {
            let mut output = bev.output(&mut base).unwrap();
            assert_eq!(output.drain(1), Err(BufferError::Frozen));
            output.unfreeze(ferrevent::End::Front);
        }
        let mut taken = [0; 2];
        assert_eq!(bev.read(&mut base, &mut taken), 2);
        assert_eq!(&taken, b"in");
        let mut rest = Buffer::new();
        assert_eq!(bev.read_buffer(&mut base, &mut rest).unwrap(), 3);
        assert!(rest == b"put");
    });
}

#[test]
fn a_buffer_that_is_exchanged_as_a_whole_is_noticed() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        *bev.output(&mut base).unwrap() = Buffer::from(&b"all new"[..]);
        settle(&mut base);
        assert_eq!(far.receive(), b"all new");
        bev.set_watermark(&mut base, Dirs::READ, 0, 2);
        far.send(b"abcd");
        settle(&mut base);
        assert_eq!(bev.input_len(&base), Some(2));
        let taken = std::mem::take(&mut *bev.input(&mut base).unwrap());
        assert!(taken == b"ab");
        settle(&mut base);
        assert!(*bev.input(&mut base).unwrap() == b"cd"[..]);
    });
}

#[test]
fn lines_are_taken_one_by_one() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (bev, far) = witness(ground, &mut base);
        far.send(b"one\r\ntwo\nthr");
        settle(&mut base);
        assert_eq!(bev.read_line(&mut base, EolStyle::Crlf).unwrap(), b"one");
        assert_eq!(bev.read_line(&mut base, EolStyle::Crlf).unwrap(), b"two");
        assert_eq!(bev.read_line(&mut base, EolStyle::Crlf), None);
        assert_eq!(bev.input_len(&base), Some(3));
    });
}

#[test]
fn input_is_forwarded_to_oneself_and_to_others() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (one, far_one) = witness(ground, &mut base);
        let (two, far_two) = witness(ground, &mut base);
        far_one.send(b"abc");
        settle(&mut base);
        assert_eq!(one.forward(&mut base, two).unwrap(), 3);
        settle(&mut base);
        assert_eq!(far_two.receive(), b"abc");
        far_two.send(b"back");
        settle(&mut base);
        assert_eq!(two.forward(&mut base, two).unwrap(), 4);
        settle(&mut base);
        assert_eq!(far_two.receive(), b"back");
        one.free(&mut base);
        assert!(matches!(two.forward(&mut base, one), Err(Error::Stale)));
        assert!(matches!(one.forward(&mut base, two), Err(Error::Stale)));
    });
}

#[test]
fn other_descriptors_than_sockets_are_served() {
    on_systems(|ground| {
        let mut base = ground.base();
        let (reader, writer) = std::io::pipe().unwrap();
        let from = BufferEvent::new(&mut base, reader).unwrap();
        let to = BufferEvent::new(&mut base, writer).unwrap();
        from.set_handler(&mut base, Witness);
        from.enable(&mut base, Dirs::READ).unwrap();
        to.write(&mut base, b"through a pipe").unwrap();
        settle(&mut base);
        to.free(&mut base);
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R14", "eof reading"]);
    });
}

#[test]
fn the_socket_can_be_exchanged_and_taken_back() {
    on_systems(|ground| {
        let mut base = ground.base();
        let (bev, first) = witness(ground, &mut base);
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let second = Far::Socket(far);
        second.send(b"two");
        let former = bev.set_socket(&mut base, Some(near.into())).unwrap();
        first.send(b"unheard");
        settle(&mut base);
        assert_eq!(
            notes(&mut base),
            ["W0", "R3"],
            "what is enabled is armed anew"
        );
        assert!(former.is_some());
        assert!(!first.is_alone(), "it is ours now");
        let socket = bev.into_socket(&mut base);
        assert!(socket.is_some() && !bev.exists(&base));
        settle(&mut base);
        drop(socket);
        assert!(second.is_alone());
    });
}

#[test]
fn priorities_order_callbacks() {
    everywhere(|ground| {
        let mut base = ground.base_with_priorities(2);
        let fars = [1, 0].map(|priority| {
            let (bev, far) = ground.pair(&mut base);
            bev.set_priority(&mut base, priority).unwrap();
            assert_eq!(bev.priority(&base), Some(priority));
            let call = Callbacks::new().read(move |base, _| note(base, priority.to_string()));
            bev.set_handler(&mut base, call);
            bev.enable(&mut base, Dirs::READ).unwrap();
            far.send(b"x");
            far
        });
        settle(&mut base);
        assert_eq!(notes(&mut base), ["0", "1"]);
        drop(fars);
        let bev = BufferEvent::unconnected(&mut base);
        assert!(matches!(
            bev.set_priority(&mut base, 2),
            Err(Error::Priority(2))
        ));
    });
}

#[test]
fn dropping_the_base_closes_what_it_owns() {
    everywhere(|ground| {
        let mut base = ground.base();
        struct Told {
            _token: std::rc::Rc<()>,
        }
        impl Handler for Told {}
        let token = std::rc::Rc::new(());
        let (bev, far) = ground.pair(&mut base);
        bev.set_handler(
            &mut base,
            Told {
                _token: token.clone(),
            },
        );
        let (freed, far_of_freed) = ground.pair(&mut base);
        freed.free(&mut base);
        assert!(!far_of_freed.is_alone(), "it is closed by the loop");
        assert_eq!(std::rc::Rc::strong_count(&token), 2);
        drop(base);
        assert!(far.is_alone() && far_of_freed.is_alone());
        assert_eq!(std::rc::Rc::strong_count(&token), 1);
    });
}
