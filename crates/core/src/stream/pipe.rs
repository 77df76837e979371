//! Pipes: what one bufferevent reads another one writes, without its user.
//!
//! Bytes that were read move to the output of the sink in the same pass ([`Io::Pipe`], which comes from the loop with
//! nothing else at work). While the sink holds `limit` bytes or more, reading of the source is suspended, until half of
//! that is gone; and a read takes no more than the limit. So both together hold less than twice the limit.

use super::{Io, Side, StreamWork, Suspend};
use crate::base::{Core, Host, Item, StreamKey};

/// Where a bufferevent's input goes.
#[derive(Debug)]
pub(super) struct Pipe {
    to: StreamKey,
    pub(super) limit: usize,
    queued: bool,
    /// The end of the stream was read.
    ended: bool,
}

impl<H: Host> Core<H> {
    /// Has everything that `from` reads go to the output of `to`, which ends too when `from` has come to the end of the
    /// stream ([`finish`](Self::finish)). The read callback of `from` is not called any more; the others are. `limit`
    /// is in bytes, at least 1. It takes the place of the pipe that `from` had.
    ///
    /// Returns false, having done nothing, if either is freed, or another one's bytes go to `to` already.
    pub fn pipe(&mut self, from: StreamKey, to: StreamKey, limit: usize) -> bool {
        let alive = |key| self.streams.get(key).is_some_and(|stream| !stream.freed);
        let source = self.source(to);
        if !alive(from) || !alive(to) || source.is_some_and(|source| source != from) {
            return false;
        }
        self.unpipe(from);
        self.streams[from].extra().pipe = Some(Box::new(Pipe {
            to,
            limit: limit.max(1),
            queued: false,
            ended: false,
        }));
        self.streams[to].extra().piped_from = Some(from);
        self.weigh_pipe(from);
        if self.streams[from].len(Side::Read) > 0 {
            self.queue_pipe(from, false);
        }
        true
    }

    /// Ends a pipe: the read callback of `from` is called again.
    pub fn unpipe(&mut self, from: StreamKey) {
        let pipe = self.streams.get_mut(from).and_then(|stream| {
            let extra = stream.extra.as_mut()?;
            extra.pipe.take()
        });
        let Some(pipe) = pipe else { return };
        if let Some(extra) = self
            .streams
            .get_mut(pipe.to)
            .and_then(|sink| sink.extra.as_mut())
        {
            extra.piped_from = None;
        }
        self.set_suspended(from, Side::Read, Suspend::PIPE, false);
    }

    /// Where [`Io::Pipe`] moves the input of `key` to.
    pub fn pipe_target(&self, key: StreamKey) -> Option<(StreamKey, H::Stream)> {
        let to = self.pipe_of(key)?.to;
        Some((to, self.streams.get(to)?.cookie))
    }

    /// The input of `from` was moved to the output of `to`, `moved` bytes; they hold so many now.
    pub fn handle_piped(
        &mut self,
        from: StreamKey,
        to: StreamKey,
        moved: usize,
        input: usize,
        output: usize,
    ) {
        self.input_changed(from, input);
        self.output_changed(to, output, moved);
        let Some(pipe) = self.pipe_of(from) else {
            return;
        };
        if pipe.ended && input == 0 {
            self.unpipe(from);
            self.finish(to, None);
            return;
        }
        self.weigh_pipe(from);
    }

    /// The source has read, or come to its end.
    pub(super) fn queue_pipe(&mut self, from: StreamKey, ended: bool) {
        let Some(stream) = self.streams.get_mut(from) else {
            return;
        };
        let priority = stream.priority;
        let Some(pipe) = stream.extra.as_mut().and_then(|extra| extra.pipe.as_mut()) else {
            return;
        };
        pipe.ended |= ended;
        if !std::mem::replace(&mut pipe.queued, true) {
            self.active.push(priority, Item::Pipe(from));
        }
    }

    pub(crate) fn begin_pipe(&mut self, from: StreamKey) -> Option<StreamWork<H::Stream>> {
        let stream = self.streams.get_mut(from)?;
        let cookie = stream.cookie;
        let pipe = stream.extra.as_mut()?.pipe.as_mut()?;
        if !std::mem::take(&mut pipe.queued) {
            return None;
        }
        let io = Io::Pipe;
        Some(StreamWork {
            key: from,
            cookie,
            io,
        })
    }

    /// The output of a sink has changed.
    #[inline]
    pub(super) fn weigh_sink(&mut self, to: StreamKey) {
        if let Some(from) = self.source(to) {
            self.weigh_pipe(from);
        }
    }

    /// A bufferevent is freed: it is neither source nor sink any more.
    pub(super) fn forget_pipes(&mut self, key: StreamKey) {
        self.unpipe(key);
        if let Some(from) = self.source(key) {
            self.unpipe(from);
        }
    }

    /// Compares what the sink holds with the limit.
    fn weigh_pipe(&mut self, from: StreamKey) {
        let Some(pipe) = self.pipe_of(from) else {
            return;
        };
        let limit = pipe.limit;
        let held = self
            .streams
            .get(pipe.to)
            .map_or(0, |sink| sink.len(Side::Write));
        if held >= limit {
            self.set_suspended(from, Side::Read, Suspend::PIPE, true);
        } else if held <= limit / 2 {
            self.set_suspended(from, Side::Read, Suspend::PIPE, false);
        }
    }

    fn pipe_of(&self, from: StreamKey) -> Option<&Pipe> {
        self.streams.get(from)?.extra.as_ref()?.pipe.as_deref()
    }

    fn source(&self, to: StreamKey) -> Option<StreamKey> {
        self.streams.get(to)?.extra.as_ref()?.piped_from
    }
}
