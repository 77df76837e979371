//! The usual cases of work that is due at once, in one piece: a write to a pair, or to a single stage, where nothing
//! else is to be looked at. What they do is what the queue of due work would have done; they save the way through it.

use super::layer::{Link, Mode, Processed};
use super::{Callbacks, Listens, Side};
use crate::base::{Core, Host, StreamKey};
use crate::flags::{Dirs, Options};

impl<H: Host> Core<H> {
    /// Where the output of `key` may go at once and whole, with nothing else to be looked at: both ends move, and have no
    /// marks, timeouts, pipes or endings. It saves the usual write to a pair the way through the queue of due work.
    ///
    /// Whoever asks has not reported yet that the output has grown. The shell moves everything, without running user
    /// code in between, and reports [`handle_moved_directly`](Self::handle_moved_directly); or else it reports
    /// [`output_changed`](Self::output_changed) as ever.
    #[inline]
    pub fn direct_target(&self, key: StreamKey) -> Option<(StreamKey, H::Stream)> {
        let from = self.streams.get(key)?;
        let extra = from.extra.as_deref()?;
        let Link::Pair(pair) = &extra.link else {
            return None;
        };
        let target = pair.partner?;
        let to = self.streams.get(target)?;
        let plain = pair.moving_to.is_none()
            && extra.ending.is_none()
            && extra.piped_from.is_none()
            && from.rare.is_none()
            && to.rare.is_none()
            && to.pipe_limit().is_none();
        // What is armed is enabled, not suspended and not freed.
        let moves = from.side(Side::Write).armed && to.side(Side::Read).armed;
        (plain && moves).then_some((target, to.cookie))
    }

    /// The output of `key` was moved to the input of [`direct_target`](Self::direct_target); the two hold `output` and
    /// `input` bytes now, and there are these callbacks: the target's for reading, that of `key` for writing.
    #[inline]
    pub fn handle_moved_directly(
        &mut self,
        (key, output, write): (StreamKey, usize, bool),
        (target, input, read): (StreamKey, usize, bool),
    ) {
        if let Some(stream) = self.streams.get_mut(target) {
            stream.lens[Side::Read as usize] = input;
            stream.listens.set(Listens::READ, read);
            if read || stream.has_above() {
                stream.deferred.read = true;
                self.queue_deferred(target);
            }
        }
        if let Some(stream) = self.streams.get_mut(key) {
            stream.lens[Side::Write as usize] = output;
            stream.listens.set(Listens::WRITE, write);
            if write || stream.has_above() {
                stream.deferred.write = true;
                self.queue_deferred(key);
            }
        }
    }

    /// The output of a stage has grown to `len` bytes. Returns true if that makes it run at once, outbound, normally and
    /// without a limit, with nothing else to be looked at: nothing is due for it, and neither it nor what is below has
    /// marks, timeouts, pipes or endings.
    ///
    /// The shell then runs it as [`Io::Process`](super::Io::Process) has it; otherwise it reports
    /// [`output_changed`](Self::output_changed) as ever.
    #[inline]
    pub fn begin_directly(&mut self, key: StreamKey, len: usize) -> bool {
        let Some((below, below_len)) = self.plain_stage(key, Side::Write) else {
            return false;
        };
        // No mark below says how much it may have.
        if self.streams[below].rare.is_some() {
            return false;
        }
        self.streams[key].lens[Side::Write as usize] = len;
        self.begin_plainly(key, [len, below_len]);
        true
    }

    /// If a bufferevent has a deferred callback that has the stage above run inbound, normally and without a limit, and
    /// nothing else is to be looked at: that stage. The shell then runs it as [`Io::Process`](super::Io::Process) has it;
    /// otherwise it goes on with [`next_deferred`](Self::next_deferred).
    #[inline]
    pub fn begin_deferred_directly(&mut self, below: StreamKey) -> Option<(StreamKey, H::Stream)> {
        const READ: Callbacks = Callbacks {
            read: true,
            ..Callbacks::NONE
        };
        let stream = self.streams.get(below)?;
        let key = stream.above()?;
        if stream.deferred != READ {
            return None;
        }
        let (_, len) = self
            .plain_stage(key, Side::Read)
            .filter(|&(_, len)| len > 0)?;
        self.streams[below].deferred = Callbacks::NONE;
        let stage = &self.streams[key];
        let (cookie, own) = (stage.cookie, stage.len(Side::Read));
        self.begin_plainly(key, [len, own]);
        Some((key, cookie))
    }

    /// A stage was run as [`Io::Process`](super::Io::Process) said, if it has taken all there was and nothing else is to
    /// be looked at. `calls`: there is a callback for this direction. Returns what to call, and then
    /// [`work_done`](Self::work_done) is to be reported; if it is nothing, the work is done already. `None`: nothing has
    /// been looked at yet, [`handle_processed`](Self::handle_processed) is to be called.
    #[inline]
    pub fn end_directly(
        &mut self,
        key: StreamKey,
        dir: Dirs,
        processed: Processed,
        calls: bool,
    ) -> Option<Callbacks> {
        let side = Side::of(dir);
        let stage = self.streams.get(key)?;
        let extra = stage.extra.as_deref()?;
        let Link::Over(over) = &extra.link else {
            return None;
        };
        let rest = match side {
            Side::Read => self.streams.get(over.below)?.len(side),
            Side::Write => stage.len(side),
        };
        // Without settings there are no marks, and no timeouts.
        let plain = processed == Processed::Some
            && rest == 0
            && over.lowest
            && over.work.is_normal()
            && extra.is_bare()
            && stage.rare.is_none()
            && stage.references > 1
            && !stage.freed
            && !(calls && stage.options.contains(Options::DEFER_CALLBACKS));
        if !plain {
            return None;
        }
        let stage = &mut self.streams[key];
        if !calls {
            stage.references -= 1;
        }
        if let Some(over) = stage.over_mut() {
            over.work.end(!calls);
        }
        Some(Callbacks {
            read: calls && side == Side::Read,
            write: calls && side == Side::Write,
            ..Callbacks::NONE
        })
    }

    /// If a stage stands on no other stage and none on it, can run in this direction, and has no settings and nothing
    /// else to do: what is below, and how many bytes that has.
    #[inline]
    fn plain_stage(&self, key: StreamKey, side: Side) -> Option<(StreamKey, usize)> {
        let stage = self.streams.get(key)?;
        let extra = stage.extra.as_deref()?;
        let Link::Over(over) = &extra.link else {
            return None;
        };
        let plain = over.lowest
            && over.eager.is_empty()
            && over.work.is_idle()
            && extra.is_bare()
            && stage.rare.is_none()
            // What is armed is enabled, not suspended and not freed.
            && stage.side(side).armed;
        let below = self.streams.get(over.below)?;
        plain.then_some((over.below, below.len(side)))
    }

    #[inline]
    fn begin_plainly(&mut self, key: StreamKey, lens: [usize; 2]) {
        let stage = &mut self.streams[key];
        stage.references += 1;
        if let Some(over) = stage.over_mut() {
            over.work.begin(Mode::Normal, lens);
        }
    }
}
