//! Bufferevents that are each other's transport.

#![allow(
    clippy::unwrap_used,
    reason = "a test that fails by unwrap says where it failed"
)]

mod ground;

use std::time::Duration;

use ferrevent::{Base, BufferEvent, Callbacks, Dirs, Mode};
use ferrevent_sim::{Faults, World};
use ground::{Ground, Witness, note, notes, settle};

/// A pair touches no driver: one ground is as good as another.
fn pair() -> (Base, BufferEvent, BufferEvent) {
    let mut base = Ground::Simulated(World::new(1, Faults::none())).base();
    let [one, other] = BufferEvent::pair(&mut base);
    (base, one, other)
}

fn witness(base: &mut Base, bev: BufferEvent) {
    bev.set_handler(base, Witness);
    bev.enable(base, Dirs::READ).unwrap();
}

#[test]
fn what_one_end_writes_the_other_reads() {
    let (mut base, one, other) = pair();
    assert_eq!(one.partner(&base), Some(other));
    assert_eq!(one.enabled(&base), Some(Dirs::WRITE));
    one.write(&mut base, "hello").unwrap();
    settle(&mut base);
    assert_eq!(one.output_len(&base), Some(5), "nobody reads yet");
    witness(&mut base, other);
    settle(&mut base);
    assert_eq!(notes(&mut base), ["R5"]);
    assert_eq!(one.output_len(&base), Some(0));
}

#[test]
fn two_that_answer_each_other_do_not_nest() {
    let (mut base, one, other) = pair();
    let depth = std::rc::Rc::new(std::cell::Cell::new(0));
    for bev in [one, other] {
        let depth = depth.clone();
        let mut left = 1000;
        let echo = Callbacks::new().read(move |base, bev| {
            assert_eq!(depth.replace(1), 0, "a handler inside a handler");
            left -= 1;
            if left > 0 {
                bev.forward(base, bev).unwrap();
            }
            depth.set(0);
        });
        bev.set_handler(&mut base, echo);
        bev.enable(&mut base, Dirs::READ).unwrap();
    }
    one.write(&mut base, "ball").unwrap();
    base.run().unwrap();
    assert_eq!(one.input_len(&base).max(other.input_len(&base)), Some(4));
}

#[test]
fn the_high_mark_of_the_reader_holds_the_writer_back() {
    let (mut base, one, other) = pair();
    other.set_watermark(&mut base, Dirs::READ, 0, 4);
    other.enable(&mut base, Dirs::READ).unwrap();
    one.write(&mut base, "0123456789").unwrap();
    let mut all = Vec::new();
    for left in [6, 3, 0] {
        settle(&mut base);
        assert_eq!(other.input_len(&base), Some(4));
        assert_eq!(one.output_len(&base), Some(left));
        let mut piece = [0; 3];
        let n = other.read(&mut base, &mut piece);
        all.extend_from_slice(&piece[..n]);
    }
    assert_eq!(all, b"012345678");
}

#[test]
fn a_flush_moves_everything_and_finishing_tells_the_end() {
    let (mut base, one, other) = pair();
    other.set_handler(&mut base, Witness);
    one.write(&mut base, "hello").unwrap();
    assert!(one.flush(&mut base, Dirs::WRITE, Mode::Normal));
    settle(&mut base);
    assert_eq!(notes(&mut base), [""; 0]);
    assert!(one.flush(&mut base, Dirs::WRITE, Mode::Finished));
    settle(&mut base);
    assert_eq!(notes(&mut base), ["R5", "eof reading"]);
}

#[test]
fn a_flush_fills_the_reader_up_to_its_high_mark_and_goes_beyond_it_from_there() {
    for mode in [Mode::Flush, Mode::Finished] {
        let (mut base, one, other) = pair();
        other.set_watermark(&mut base, Dirs::READ, 0, 4);
        let mut flushed = Vec::new();
        for piece in ["012", "3456789", "abc"] {
            one.write(&mut base, piece).unwrap();
            assert!(one.flush(&mut base, Dirs::WRITE, mode));
            settle(&mut base);
            flushed.push((one.output_len(&base), other.input_len(&base)));
        }
        let expected = [(0, 3), (6, 4), (0, 13)].map(|(out, input)| (Some(out), Some(input)));
        assert_eq!(flushed, expected);
    }
}

#[test]
fn finishing_leaves_nothing_behind_the_end() {
    let (mut base, one, other) = pair();
    other.set_handler(&mut base, Witness);
    other.set_watermark(&mut base, Dirs::READ, 0, 4);
    one.write(&mut base, "0123456789").unwrap();
    assert!(one.finish(&mut base, None));
    settle(&mut base);
    assert_eq!(other.input_len(&base), Some(10));
    assert!(notes(&mut base).contains(&"eof reading".to_owned()));
}

#[test]
fn finishing_neither_direction_tells_an_end_of_neither() {
    let (mut base, one, other) = pair();
    other.set_handler(&mut base, Witness);
    one.write(&mut base, "held").unwrap();
    assert!(one.flush(&mut base, Dirs::empty(), Mode::Finished));
    settle(&mut base);
    assert_eq!(notes(&mut base).len(), 1);
    assert_eq!(one.output_len(&base), Some(4));
}

#[test]
fn freeing_one_end_leaves_the_other_alone() {
    let (mut base, one, other) = pair();
    witness(&mut base, other);
    one.write(&mut base, "hello").unwrap();
    settle(&mut base);
    one.free(&mut base);
    assert_eq!(other.partner(&base), None);
    other.write(&mut base, "lost").unwrap();
    settle(&mut base);
    assert_eq!(other.output_len(&base), Some(4));
    assert_eq!(notes(&mut base), ["R5"]);
    other.free(&mut base);
    settle(&mut base);
    assert_eq!(base.bufferevents().count(), 0);
    assert_eq!(base.pending_len(), 0);
}

#[test]
fn a_handler_may_free_both_ends() {
    let (mut base, one, other) = pair();
    let free = Callbacks::new().read(move |base, _| {
        note(base, "read");
        assert!(one.free(base) && other.free(base));
    });
    other.set_handler(&mut base, free);
    other.enable(&mut base, Dirs::READ).unwrap();
    one.write(&mut base, "hello").unwrap();
    settle(&mut base);
    assert_eq!(notes(&mut base), ["read"]);
    assert_eq!(base.bufferevents().count(), 0);
}

#[test]
fn the_ends_of_a_pair_have_timeouts() {
    let (mut base, one, other) = pair();
    one.set_handler(&mut base, Witness);
    let soon = Some(Duration::from_millis(10));
    one.set_timeouts(&mut base, soon, soon);
    one.enable(&mut base, Dirs::all()).unwrap();
    base.run().unwrap();
    assert_eq!(notes(&mut base), ["timeout reading"]);
    one.write(&mut base, "held").unwrap();
    base.run().unwrap();
    assert_eq!(notes(&mut base), ["timeout writing"]);
    other.free(&mut base);
}

#[test]
fn the_ends_of_a_pair_do_not_connect() {
    let mut base = Base::new().unwrap();
    let [one, other] = BufferEvent::pair(&mut base);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    let refuses = |base: &mut Base, bev: BufferEvent| {
        for refused in [
            bev.connect(base, address),
            bev.connect_unix(base, "\0nobody"),
            bev.connect_host(base, "localhost", address.port()),
        ] {
            let kind = std::io::Error::from(refused.unwrap_err()).kind();
            assert_eq!(kind, std::io::ErrorKind::Unsupported);
        }
        assert_eq!(bev.fd(base), None);
    };
    for bev in [one, other] {
        refuses(&mut base, bev);
    }
    other.enable(&mut base, Dirs::READ).unwrap();
    one.write(&mut base, "hello").unwrap();
    for _ in 0..5 {
        base.run_nonblocking().unwrap();
    }
    assert_eq!(other.input_len(&base), Some(5), "they are a pair as before");
    other.free(&mut base);
    refuses(&mut base, one);
}
