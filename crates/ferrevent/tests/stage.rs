//! Bufferevents over bufferevents.

mod ground;

use std::io;

use ferrevent::{
    Base, Buffer, BufferEvent, Callbacks, Condition, Dirs, Error, Mode, Progress, Stage,
};
use ferrevent_sim::{Faults, World};
use ground::{Ground, Witness, everywhere, note, notes, settle};

/// Adds a number to each byte on the way out, and takes it off on the way in; at the end it writes a full stop, and
/// wants to see one.
struct Shift {
    by: u8,
    stopped: bool,
}

impl Shift {
    fn by(by: u8) -> Self {
        Self { by, stopped: false }
    }
}

impl Stage for Shift {
    fn inbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        let mut piece = [0; 100];
        let n = from.remove(&mut piece[..limit.min(100)])?;
        for &byte in &piece[..n] {
            if byte == b'.' {
                self.stopped = true;
            } else {
                to.append(&[byte - self.by])?;
            }
        }
        if mode == Mode::Finished && from.is_empty() && !self.stopped {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(if n > 0 {
            Progress::Made
        } else {
            Progress::NeedMore
        })
    }

    fn outbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress> {
        let mut piece = [0; 100];
        let n = from.remove(&mut piece[..limit.min(100)])?;
        let shifted: Vec<u8> = piece[..n].iter().map(|byte| byte + self.by).collect();
        to.append(&shifted)?;
        if mode == Mode::Finished && from.is_empty() && !self.stopped {
            self.stopped = true;
            to.append(b".")?;
        }
        Ok(if n > 0 {
            Progress::Made
        } else {
            Progress::NeedMore
        })
    }
}

#[test]
fn bytes_go_through_the_stage_both_ways() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (below, far) = ground.pair(&mut base);
        let bev = BufferEvent::over(&mut base, below, Shift::by(1)).unwrap();
        assert_eq!(bev.below(&base), Some(below));
        assert_eq!(bev.enabled(&base), Some(Dirs::WRITE));
        assert_eq!(below.enabled(&base), Some(Dirs::all()));
        bev.set_handler(&mut base, Witness);
        bev.write(&mut base, "abc").unwrap();
        far.send(b"bcd");
        settle(&mut base);
        assert_eq!(far.receive(), b"bcd");
        assert_eq!(notes(&mut base), ["W0"]);
        assert_eq!(bev.input_len(&base), Some(0), "reading is not enabled");
        bev.enable(&mut base, Dirs::READ).unwrap();
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R3"]);
    });
}

#[test]
fn the_end_below_is_the_last_that_a_stage_hears() {
    everywhere(|ground| {
        for (sent, told) in [
            (&b"bc."[..], ["R2", "eof reading"]),
            (b"bc", ["R2", "error reading Io(Kind(UnexpectedEof))"]),
        ] {
            let mut base = ground.base();
            let (below, far) = ground.pair(&mut base);
            let bev = BufferEvent::over(&mut base, below, Shift::by(1)).unwrap();
            bev.set_handler(&mut base, Witness);
            bev.enable(&mut base, Dirs::READ).unwrap();
            far.send(sent);
            far.finish();
            settle(&mut base);
            assert_eq!(notes(&mut base)[..2], told);
        }
    });
}

#[test]
fn a_finished_stage_adds_its_end() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (below, far) = ground.pair(&mut base);
        let bev = BufferEvent::over(&mut base, below, Shift::by(1)).unwrap();
        bev.write(&mut base, "ab").unwrap();
        assert!(bev.flush(&mut base, Dirs::WRITE, Mode::Finished));
        settle(&mut base);
        assert_eq!(far.receive(), b"bc.");
    });
}

#[test]
fn freeing_a_stage_frees_what_is_below_unless_that_is_taken_back() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (below, far) = ground.pair(&mut base);
        let bev = BufferEvent::over(&mut base, below, Shift::by(1)).unwrap();
        bev.write(&mut base, "abc").unwrap();
        settle(&mut base);
        assert_eq!(bev.into_below(&mut base), Some(below));
        assert!(!bev.exists(&base) && below.exists(&base));
        below.set_handler(&mut base, Witness);
        far.send(b"plain");
        settle(&mut base);
        assert_eq!(notes(&mut base), ["R5"]);

        let bev = BufferEvent::over(&mut base, below, Shift::by(1)).unwrap();
        bev.free(&mut base);
        settle(&mut base);
        assert!(!below.exists(&base));
        assert!(far.is_alone());
        assert_eq!(base.pending_len(), 0);
    });
}

#[test]
fn one_stage_at_a_time_stands_on_a_bufferevent_and_no_more_than_64_on_each_other() {
    let ground = Ground::Simulated(World::new(1, Faults::none()));
    let mut base = ground.base();
    let (bottom, far) = ground.pair(&mut base);
    let mut top = bottom;
    for _ in 0..64 {
        top = BufferEvent::over(&mut base, top, Shift::by(1)).unwrap();
    }
    let one_more = BufferEvent::over(&mut base, top, Shift::by(1));
    assert!(matches!(one_more, Err(Error::Layered)));
    let beside = BufferEvent::over(&mut base, bottom, Shift::by(1));
    assert!(matches!(beside, Err(Error::Layered)));
    top.set_handler(&mut base, Witness);
    top.write(&mut base, [0; 1000]).unwrap();
    top.enable(&mut base, Dirs::READ).unwrap();
    far.send(&[200; 1000]);
    settle(&mut base);
    assert_eq!(far.receive(), [64; 1000]);
    assert_eq!(top.input_len(&base), Some(1000));
    top.free(&mut base);
    settle(&mut base);
    assert_eq!(base.bufferevents().count(), 0);
}

#[test]
fn the_high_mark_of_the_stage_holds_the_peer_back() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (below, far) = ground.pair(&mut base);
        below.set_watermark(&mut base, Dirs::READ, 0, 8);
        let bev = BufferEvent::over(&mut base, below, Shift::by(0)).unwrap();
        bev.set_watermark(&mut base, Dirs::READ, 0, 10);
        bev.enable(&mut base, Dirs::READ).unwrap();
        far.send(b"abcdefghijklmnopqrstuvwxyz");
        settle(&mut base);
        assert_eq!(bev.input_len(&base), Some(10));
        assert!(below.input_len(&base) <= Some(8));
        let mut all = Vec::new();
        for _ in 0..20 {
            let mut piece = [0; 3];
            let n = bev.read(&mut base, &mut piece);
            all.extend_from_slice(&piece[..n]);
            settle(&mut base);
            assert!(bev.input_len(&base) <= Some(10));
        }
        assert_eq!(all, b"abcdefghijklmnopqrstuvwxyz");
    });
}

#[test]
fn a_handler_may_free_either_of_two_layers() {
    everywhere(|ground| {
        for free_below in [false, true] {
            let mut base = ground.base();
            let (below, far) = ground.pair(&mut base);
            let bev = BufferEvent::over(&mut base, below, Shift::by(1)).unwrap();
            let free = Callbacks::new()
                .read(move |base, bev| {
                    note(base, "read");
                    let doomed = if free_below { below } else { bev };
                    assert!(doomed.free(base));
                })
                .event(|_, _, condition: Condition| panic!("{condition}"));
            bev.set_handler(&mut base, free);
            bev.enable(&mut base, Dirs::READ).unwrap();
            far.send(b"bcd");
            settle(&mut base);
            assert_eq!(notes(&mut base), ["read"]);
            if free_below {
                far.send(b"bcd");
                bev.write(&mut base, "lost").unwrap();
                settle(&mut base);
                bev.free(&mut base);
                settle(&mut base);
            }
            assert_eq!(base.bufferevents().count(), 0);
            assert_eq!(base.pending_len(), 0);
        }
    });
}

#[test]
fn a_stage_has_a_timeout_of_its_own() {
    everywhere(|ground| {
        let mut base = ground.base();
        let (below, _far) = ground.pair(&mut base);
        let bev = BufferEvent::over(&mut base, below, Shift::by(1)).unwrap();
        bev.set_handler(&mut base, Witness);
        let soon = Some(std::time::Duration::from_millis(10));
        bev.set_timeouts(&mut base, soon, soon);
        bev.enable(&mut base, Dirs::all()).unwrap();
        base.after(std::time::Duration::from_millis(60), Base::loop_break);
        base.run().unwrap();
        assert_eq!(notes(&mut base), ["timeout reading"], "of reading, once");
        assert_eq!(bev.enabled(&base), Some(Dirs::WRITE));
    });
}
