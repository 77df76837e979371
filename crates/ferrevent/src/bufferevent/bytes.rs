//! The two buffers.

use std::fmt;
use std::ops::{Deref, DerefMut};

use ferrevent_core::arena::Arena;
use ferrevent_core::buffer::{Buffer, End, EolStyle};
use ferrevent_core::{Core, Dirs, StreamKey};

use super::{BufferEvent, StreamSlot};
use crate::base::{Base, Shell};
use crate::error::{Error, Result};

/// A buffer of a bufferevent, lent. When it is given back, the bufferevent learns what has changed: output is sent in
/// the next pass, and input that was taken lets reading go on.
pub struct BufferMut<'a> {
    buffer: &'a mut Buffer,
    core: &'a mut Core<Shell>,
    key: StreamKey,
    dir: Dirs,
    before: usize,
}

/// The buffers. `None`, or [`Error::Stale`], if the bufferevent has been freed.
impl BufferEvent {
    /// What has been read (`bufferevent_get_input`): to be looked at and taken, not to be appended to.
    pub fn input(self, base: &mut Base) -> Option<BufferMut<'_>> {
        base.lend(self, Dirs::READ)
    }

    /// What is to be written (`bufferevent_get_output`): to be appended to, not to be taken.
    pub fn output(self, base: &mut Base) -> Option<BufferMut<'_>> {
        base.lend(self, Dirs::WRITE)
    }

    /// How many bytes have been read and not been taken.
    pub fn input_len(self, base: &Base) -> Option<usize> {
        Some(base.slot(self)?.input.len())
    }

    /// How many bytes are still to be sent.
    pub fn output_len(self, base: &Base) -> Option<usize> {
        Some(base.slot(self)?.output.len())
    }

    /// Appends a copy of `data` to the output (`bufferevent_write`). Nothing is sent before the loop goes on.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Buffer`] when there is no memory.
    pub fn write(self, base: &mut Base, data: impl AsRef<[u8]>) -> Result<()> {
        let mut output = self.output(base).ok_or(Error::Stale)?;
        Ok(output.append(data.as_ref())?)
    }

    /// Moves everything from `source` to the output, without a copy (`bufferevent_write_buffer`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Buffer`].
    pub fn write_buffer(self, base: &mut Base, source: &mut Buffer) -> Result<()> {
        let mut output = self.output(base).ok_or(Error::Stale)?;
        Ok(output.append_buffer(source)?)
    }

    /// Takes bytes from the input, as many as there are and fit, and says how many (`bufferevent_read`).
    pub fn read(self, base: &mut Base, out: &mut [u8]) -> usize {
        match self.input(base) {
            // The front of an input is never frozen.
            Some(mut input) => input.remove(out).unwrap_or(0),
            None => 0,
        }
    }

    /// Moves the whole input behind the content of `into`, without a copy, and says how much it was
    /// (`bufferevent_read_buffer`).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Buffer`] when the back of `into` is frozen.
    pub fn read_buffer(self, base: &mut Base, into: &mut Buffer) -> Result<usize> {
        let mut input = self.input(base).ok_or(Error::Stale)?;
        let len = input.len();
        into.append_buffer(&mut input)?;
        Ok(len)
    }

    /// Takes the first whole line from the input, its end being dropped.
    ///
    /// ```
    /// # use std::{io::Write, os::unix::net::UnixStream};
    /// # use ferrevent::{Base, BufferEvent, Callbacks, Dirs, EolStyle};
    /// # fn main() -> ferrevent::Result<()> {
    /// # let mut base = Base::new()?;
    /// # let (mut near, far) = UnixStream::pair()?;
    /// # let bev = BufferEvent::new(&mut base, far)?;
    /// bev.set_handler(&mut base, Callbacks::new().read(|base, bev| {
    ///     while let Some(line) = bev.read_line(base, EolStyle::Crlf) {
    ///         println!("{}", line.escape_ascii());
    ///     }
    /// #   bev.free(base);
    /// }));
    /// # bev.enable(&mut base, Dirs::READ)?;
    /// # near.write_all(b"one\r\ntwo\nthr")?;
    /// # base.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_line(self, base: &mut Base, style: EolStyle) -> Option<Vec<u8>> {
        // The front of an input is never frozen.
        self.input(base)?.read_line(style).unwrap_or(None)
    }

    /// Moves the whole input to the output of `to`, which may be this one, without a copy, and says how much it was.
    ///
    /// # Errors
    /// [`Error::Stale`] if either has been freed; [`Error::Buffer`].
    pub fn forward(self, base: &mut Base, to: Self) -> Result<usize> {
        base.tick();
        let (input, output) = if self == to {
            let slot = base.slot_mut(self).ok_or(Error::Stale)?;
            (&mut slot.input, &mut slot.output)
        } else {
            let [from, to] = base
                .streams
                .get_disjoint_mut([self, to])
                .ok_or(Error::Stale)?;
            if from.is_freed() || to.is_freed() {
                return Err(Error::Stale);
            }
            (&mut from.input, &mut to.output)
        };
        let moved = input.len();
        output.append_buffer(input)?;
        let (input_len, output_len) = (input.len(), output.len());
        let (from, to) = (&base.streams[self], &base.streams[to]);
        base.core.input_changed(from.key, input_len);
        base.core.output_changed(to.key, output_len, moved);
        Ok(moved)
    }
}

impl Base {
    fn lend(&mut self, bev: BufferEvent, dir: Dirs) -> Option<BufferMut<'_>> {
        self.tick();
        lend(&mut self.streams, &mut self.core, bev, dir)
    }
}

/// Lends a buffer, and leaves what else there is in the base. Its [clock](Base::tick) is up to date.
pub(crate) fn lend<'a>(
    streams: &'a mut Arena<BufferEvent, StreamSlot>,
    core: &'a mut Core<Shell>,
    bev: BufferEvent,
    dir: Dirs,
) -> Option<BufferMut<'a>> {
    let slot = streams.get_mut(bev).filter(|slot| !slot.is_freed())?;
    let key = slot.key;
    let buffer = slot.buffer_mut(dir);
    // What the transport did is known already.
    buffer.take_change();
    Some(BufferMut {
        before: buffer.len(),
        buffer,
        key,
        core,
        dir,
    })
}

impl StreamSlot {
    pub(super) fn buffer_mut(&mut self, dir: Dirs) -> &mut Buffer {
        if dir == Dirs::READ {
            &mut self.input
        } else {
            &mut self.output
        }
    }
}

impl Deref for BufferMut<'_> {
    type Target = Buffer;

    fn deref(&self) -> &Buffer {
        self.buffer
    }
}

impl DerefMut for BufferMut<'_> {
    fn deref_mut(&mut self) -> &mut Buffer {
        self.buffer
    }
}

impl Drop for BufferMut<'_> {
    fn drop(&mut self) {
        // The buffer may have been exchanged as a whole, so only lengths are relied on.
        let added = self.buffer.take_change().map_or(0, |change| change.added);
        let len = self.buffer.len();
        let added = added.max(len.saturating_sub(self.before));
        if self.dir == Dirs::READ {
            self.buffer.freeze(End::Back);
            if len != self.before {
                self.core.input_changed(self.key, len);
            }
        } else {
            self.buffer.freeze(End::Front);
            if len != self.before || added > 0 {
                self.core.output_changed(self.key, len, added);
            }
        }
    }
}

impl fmt::Debug for BufferMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.buffer.fmt(f)
    }
}
