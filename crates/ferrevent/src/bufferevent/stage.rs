//! Bufferevents over bufferevents.

use std::io;

use ferrevent_core::buffer::{Buffer, End};
use ferrevent_core::{AfterProcess, Dirs, Mode, Processed, StreamKey};

use super::{BufferEvent, BufferEventBuilder};
use crate::base::Base;
use crate::error::{Error, Result};

/// Turns bytes into others on their way: compression, framing, a cipher (the functions that libevent's
/// `bufferevent_filter_new` takes).
///
/// A stage only ever sees two buffers. It is run by the loop, and cannot reach the base: it decides what becomes of the
/// bytes, and the [`Handler`](crate::Handler) what is done with them.
///
/// ```
/// use std::io::{self, Write};
/// use std::os::unix::net::UnixStream;
/// use ferrevent::{Base, Buffer, BufferEvent, Callbacks, Dirs, Mode, Progress, Stage};
///
/// /// Shifts the letters by thirteen places, both ways.
/// struct Rot13;
///
/// impl Rot13 {
///     fn turn(from: &mut Buffer, to: &mut Buffer, limit: usize) -> io::Result<Progress> {
///         let mut piece = [0; 1024];
///         let n = from.remove(&mut piece[..limit.min(1024)])?;
///         for byte in &mut piece[..n] {
///             *byte = match *byte {
///                 b'a'..=b'm' | b'A'..=b'M' => *byte + 13,
///                 b'n'..=b'z' | b'N'..=b'Z' => *byte - 13,
///                 other => other,
///             };
///         }
///         to.append(&piece[..n])?;
///         Ok(if n > 0 { Progress::Made } else { Progress::NeedMore })
///     }
/// }
///
/// impl Stage for Rot13 {
///     fn inbound(&mut self, from: &mut Buffer, to: &mut Buffer, _: Mode, limit: usize) -> io::Result<Progress> {
///         Self::turn(from, to, limit)
///     }
///
///     fn outbound(&mut self, from: &mut Buffer, to: &mut Buffer, _: Mode, limit: usize) -> io::Result<Progress> {
///         Self::turn(from, to, limit)
///     }
/// }
///
/// # fn main() -> ferrevent::Result<()> {
/// let mut base = Base::new()?;
/// let (mut near, far) = UnixStream::pair()?;
/// let socket = BufferEvent::new(&mut base, far)?;
/// let plain = BufferEvent::over(&mut base, socket, Rot13)?;
/// plain.set_handler(&mut base, Callbacks::new().read(|base, bev| {
///     let mut text = [0; 16];
///     let n = bev.read(base, &mut text);
///     assert_eq!(&text[..n], b"hello");
///     bev.free(base);
/// }));
/// plain.enable(&mut base, Dirs::READ)?;
///
/// near.write_all(b"uryyb")?;
/// base.run()?;
/// # Ok(())
/// # }
/// ```
pub trait Stage: 'static {
    /// Takes bytes of the bufferevent below from the front of `from`, and puts what it makes of them behind the content
    /// of `to`, which the handler reads.
    ///
    /// It should make no more than `limit` bytes, and leave in `from` what it cannot use yet. It is called again as long
    /// as it makes progress, has something to work on, and has room. With [`Mode::Finished`] the stream below has ended
    /// (`from` may be empty then): an error is the way to say that it has ended too early.
    ///
    /// # Errors
    /// The stream is broken: reading is disabled, and the handler gets the error in
    /// [`Condition::Error`](crate::Condition::Error).
    fn inbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress>;

    /// Takes bytes that were written from the front of `from`, and puts what it makes of them behind the content of
    /// `to`, the output of the bufferevent below.
    ///
    /// With [`Mode::Flush`] it should hold back as little as possible, with [`Mode::Finished`] nothing: no byte comes
    /// after those in `from`. Otherwise as [`inbound`](Self::inbound).
    ///
    /// # Errors
    /// The stream is broken: writing is disabled, and the handler gets the error.
    fn outbound(
        &mut self,
        from: &mut Buffer,
        to: &mut Buffer,
        mode: Mode,
        limit: usize,
    ) -> io::Result<Progress>;
}

/// What a [`Stage`] has come to (`enum bufferevent_filter_result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has done something (`BEV_OK`).
    Made,
    /// It needs more bytes to do anything (`BEV_NEED_MORE`).
    NeedMore,
}

/// Bufferevents over bufferevents.
impl BufferEvent {
    /// Puts a [`Stage`] over a bufferevent (`bufferevent_filter_new` with `BEV_OPT_CLOSE_ON_FREE`): what is written to
    /// the new bufferevent goes through the stage to the output of `below`, and what `below` reads goes through the
    /// stage to the new one's input. It may stand over any other, also over another stage.
    ///
    /// `below` belongs to the new one from now on: it has both directions enabled, calls its own handler no more, and
    /// is freed with the new one. What happens to it (the end of the stream, an error) is told to the new one's
    /// handler. Reading goes on below while the new one's reading is enabled and its input is under the high mark;
    /// writing, while the output below is under the high mark of `below`.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Layered`] if `below` carries a stage already, or 64 of them stand on each other.
    pub fn over(base: &mut Base, below: Self, stage: impl Stage) -> Result<Self> {
        Self::builder().over(base, below, stage)
    }

    /// The bufferevent below, if this one stands over another, also with TLS (`bufferevent_get_underlying`).
    pub fn below(self, base: &Base) -> Option<Self> {
        let key = base.slot(self)?.key;
        let below = base.core.below(key).or_else(|| base.core.lower(key));
        Some(below?.1)
    }

    /// Has a stage work in this mode now, from the loop, whatever the watermarks say, and then what is below it
    /// (`bufferevent_flush`). [`Mode::Finished`] for writing says that nothing more will be written: the stage adds what
    /// belongs to the end. Returns whether the bufferevent exists.
    ///
    /// The two ends of a pair exchange what they have in these directions, even if nobody reads, unless the mode is
    /// [`Mode::Normal`]: as much as the reader's high mark has room for, and if it has none, everything.
    ///
    /// On a socket this does nothing: what was written is sent in any case.
    pub fn flush(self, base: &mut Base, dirs: Dirs, mode: Mode) -> bool {
        base.tick();
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.core.flush(key, dirs, mode, false);
        true
    }

    /// Frees a bufferevent that stands over another, but not the one below, and gives that back
    /// (`bufferevent_free` without `BEV_OPT_CLOSE_ON_FREE`). It has no handler, and both of its directions are enabled;
    /// what the stage has written there is still sent. `None` if this one is no stage.
    ///
    /// What the stage has not worked on yet is lost, so [`flush`](Self::flush) it before.
    pub fn into_below(self, base: &mut Base) -> Option<Self> {
        let key = base.live_key(self)?;
        let (_, below) = base.core.below(key)?;
        base.core.keep_below(key);
        self.free(base);
        Some(below)
    }

    /// The lowest one: that with the socket, if any has one.
    pub(crate) fn bottom(self, base: &Base) -> Self {
        let mut bottom = self;
        while let Some(below) = bottom.below(base) {
            bottom = below;
        }
        bottom
    }
}

impl BufferEventBuilder {
    /// Makes it over another bufferevent, as [`BufferEvent::over`] does.
    ///
    /// # Errors
    /// Those of [`BufferEvent::over`].
    pub fn over(
        self,
        base: &mut Base,
        below: BufferEvent,
        stage: impl Stage,
    ) -> Result<BufferEvent> {
        let under = base.slot(below).ok_or(Error::Stale)?.key;
        let bev = self.insert_over(base, under).ok_or(Error::Layered)?;
        base.streams[bev].rare.get_or_insert_default().stage = Some(Box::new(stage));
        let former = std::mem::replace(&mut base.streams[below].handler, crate::seat::Seat::Empty);
        drop(former);
        Ok(bev)
    }
}

impl Base {
    /// Runs a stage as long as the core wants more of the same, then calls back.
    pub(super) fn process(
        &mut self,
        bev: BufferEvent,
        key: StreamKey,
        dir: Dirs,
        mode: Mode,
        mut limit: Option<usize>,
    ) {
        loop {
            let processed = self.run_stage(bev, key, dir, mode, limit.unwrap_or(usize::MAX));
            match self.core.handle_processed(key, dir, processed) {
                AfterProcess::Again { limit: next } => limit = next,
                AfterProcess::Call(callbacks) => break self.call(bev, key, callbacks),
            }
        }
        self.core.work_done(key);
    }

    fn run_stage(
        &mut self,
        bev: BufferEvent,
        key: StreamKey,
        dir: Dirs,
        mode: Mode,
        limit: usize,
    ) -> Processed {
        let Some((below_key, below)) = self.core.below(key) else {
            return Processed::NeedMore;
        };
        let Some([slot, under]) = self.streams.get_disjoint_mut([bev, below]) else {
            return Processed::NeedMore;
        };
        let Some(stage) = slot.rare.as_mut().and_then(|rare| rare.stage.as_mut()) else {
            return Processed::NeedMore;
        };
        let outcome = if dir == Dirs::READ {
            let (from, to) = (&mut under.input, &mut slot.input);
            to.unfreeze(End::Back);
            let outcome = stage.inbound(from, to, mode, limit);
            to.freeze(End::Back);
            to.forget_change();
            from.forget_change();
            self.core.input_changed(below_key, from.len());
            self.core.input_changed(key, to.len());
            outcome
        } else {
            let (from, to) = (&mut slot.output, &mut under.output);
            to.forget_change();
            from.unfreeze(End::Front);
            let outcome = stage.outbound(from, to, mode, limit);
            from.freeze(End::Front);
            from.forget_change();
            let added = to.take_change().map_or(0, |change| change.added);
            self.core.output_changed(key, from.len(), 0);
            self.core.output_changed(below_key, to.len(), added);
            outcome
        };
        match outcome {
            Ok(Progress::Made) => Processed::Some,
            Ok(Progress::NeedMore) => Processed::NeedMore,
            Err(error) => {
                let error = Error::Io(error);
                let number = super::handler::error_number(&error);
                slot.rare.get_or_insert_default().error = Some(error);
                Processed::Failed(number)
            }
        }
    }
}
