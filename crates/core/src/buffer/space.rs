//! Room to write into: reservations of the user, reads and writes of the transport.

use std::io::{self, IoSlice};

use smallvec::SmallVec;

use super::chunk::Chunk;
use super::pool::{Block, MAX_POOLED};
use super::{Buffer, BufferError, MAX_LEN};

/// What a transport is offered for its first read, and at least later on, in bytes.
const MIN_READ: usize = 4 << 10;
/// What it is offered at most.
const MAX_READ: usize = 256 << 10;
/// After so many reads in a row that used less than a quarter of what was offered, less is offered.
const SHORT_READS: u8 = 8;
/// A read of no more bytes than this is copied out of a block that it leaves nearly empty.
const COPY_READ: usize = 4 << 10;
/// How many pieces one write passes to the system at most.
const WRITE_PIECES: usize = 64;

/// How much to offer for a read.
pub(super) struct ReadSize {
    /// The power of two.
    shift: u8,
    short: u8,
}

/// An empty block that the next chunk is made of.
pub(super) struct Spare {
    block: Block,
    /// Whether it has been given out to be written into.
    reserved: bool,
}

impl Spare {
    /// A second piece is worth nothing without the first.
    pub(super) fn end_reservation(&mut self) {
        self.reserved = false;
    }
}

impl Default for ReadSize {
    fn default() -> Self {
        Self {
            shift: MIN_READ.trailing_zeros() as u8,
            short: 0,
        }
    }
}

impl ReadSize {
    fn size(&self) -> usize {
        1 << self.shift
    }

    /// Learns that a read got `n` bytes where `offered` were possible.
    fn learn(&mut self, n: usize, offered: usize) {
        let size = self.size();
        let next = if n == offered && offered >= size {
            (size * 4).min(MAX_READ)
        } else if n >= size / 4 {
            size
        } else {
            self.short += 1;
            if self.short < SHORT_READS {
                return;
            }
            (size / 2).max(MIN_READ)
        };
        self.shift = next.trailing_zeros() as u8;
        self.short = 0;
    }
}

impl Buffer {
    /// Makes sure that `n` more bytes can be appended contiguously without asking for memory (`evbuffer_expand`).
    ///
    /// # Errors
    /// [`BufferError::TooLong`]; [`BufferError::NoMemory`].
    pub fn expand(&mut self, n: usize) -> Result<(), BufferError> {
        self.check_len(n)?;
        let room = self.chain.back().map_or(0, Chunk::room);
        if room < n {
            self.make_spare(n)?;
        }
        Ok(())
    }

    /// Room for at least `n` bytes in at most `segments` pieces (`evbuffer_reserve_space`): fill them in order, then
    /// [`commit`](Self::commit). There are one or two pieces, and no bytes in the buffer until then.
    ///
    /// The pieces stay where they are until the commit, also when the buffer is drained meanwhile. Appending or moving
    /// anything ends the reservation.
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the back is frozen; [`BufferError::OutOfRange`] if `segments` is 0;
    /// [`BufferError::TooLong`]; [`BufferError::NoMemory`].
    #[inline]
    pub fn reserve(
        &mut self,
        n: usize,
        segments: usize,
    ) -> Result<SmallVec<[&mut [u8]; 2]>, BufferError> {
        self.check_append(n)?;
        if segments == 0 {
            return Err(BufferError::OutOfRange);
        }
        if self.spare.is_some() || !self.reserve_tail(n)? {
            self.reserve_behind(n, segments)?;
        }
        Ok(self.reserved())
    }

    /// Appends `text` and puts a zero byte behind it, which is no part of the content (`evbuffer_add_printf`): C programs
    /// read such texts as strings where they lie.
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the back is frozen; [`BufferError::TooLong`]; [`BufferError::NoMemory`].
    pub fn append_text(&mut self, text: &[u8]) -> Result<(), BufferError> {
        if text.is_empty() {
            return self.append(text);
        }
        let fits = |back: &mut Chunk| back.room() > text.len();
        if self.chain.back_mut().is_some_and(fits) {
            self.append(text)?;
            let room = self.chain.back_mut().map(|back| back.space(1));
            if let Some(zero) = room.and_then(<[u8]>::first_mut) {
                *zero = 0;
            }
            return Ok(());
        }
        for piece in self.reserve(text.len() + 1, 1)? {
            if let Some((end, room)) = piece[..=text.len()].split_last_mut() {
                room.copy_from_slice(text);
                *end = 0;
            }
        }
        self.commit(&[text.len()])
    }

    /// Reserves room in the last chunk, which is made if there is none; says whether it has enough.
    #[inline]
    fn reserve_tail(&mut self, n: usize) -> Result<bool, BufferError> {
        match self.chain.back_mut() {
            Some(back) => {
                if back.room() < n.max(1) {
                    return Ok(false);
                }
                self.reserved_from = back.end();
                back.space(usize::MAX);
            }
            None => {
                // Empty until the commit.
                let block = Block::cleared(n)?;
                self.chain.push_back(Chunk::owned(block, 0, 0));
                self.reserved_from = 0;
            }
        }
        self.tail_reserved = true;
        Ok(true)
    }

    /// As `reserve`, where the last chunk has too little room, or there is a spare block already.
    #[inline(never)]
    fn reserve_behind(&mut self, n: usize, segments: usize) -> Result<(), BufferError> {
        let (room, end) = self
            .chain
            .back()
            .map_or((0, 0), |back| (back.room(), back.end()));
        let in_tail = room > 0 && (room >= n || segments > 1);
        let missing = if in_tail { n.saturating_sub(room) } else { n };
        if missing > 0 || !in_tail {
            self.make_spare(missing)?;
        } else {
            self.spare = None;
        }
        if in_tail {
            // An empty chunk that an earlier reservation has kept is kept on.
            self.reserved_from = end;
            self.tail_reserved = true;
            if let Some(back) = self.chain.back_mut() {
                back.space(usize::MAX);
            }
        } else {
            self.end_reservation();
        }
        if let Some(spare) = &mut self.spare {
            spare.reserved = true;
            spare.block.clear_to(usize::MAX);
        }
        Ok(())
    }

    /// The pieces of the reservation in force, in the order of [`reserve`](Self::reserve); none if there is none.
    #[inline]
    pub fn reserved(&mut self) -> SmallVec<[&mut [u8]; 2]> {
        let mut pieces = [&mut [][..], &mut [][..]];
        let mut count = 0;
        if self.tail_reserved {
            match self.chain.back_mut() {
                Some(back) if back.end() == self.reserved_from => pieces[0] = back.space(0),
                // Something was appended into that room, so what follows it is not next any more either.
                _ => return SmallVec::new(),
            }
            count = 1;
        }
        if let Some(spare) = &mut self.spare
            && spare.reserved
        {
            pieces[count] = spare.block.written_mut();
            count += 1;
        }
        SmallVec::from_buf_and_len(pieces, count)
    }

    /// The first of the pieces that [`reserved`](Self::reserved) shows.
    #[inline]
    pub fn first_reserved(&mut self) -> Option<&mut [u8]> {
        if self.tail_reserved {
            let back = self.chain.back_mut()?;
            return (back.end() == self.reserved_from).then(|| back.space(0));
        }
        let spare = self.spare.as_mut().filter(|spare| spare.reserved)?;
        Some(spare.block.written_mut())
    }

    /// Appends what was written into the pieces of the reservation, `lengths` saying how much of each
    /// (`evbuffer_commit_space`), and ends it. There may be fewer lengths than pieces.
    ///
    /// # Errors
    /// [`BufferError::Frozen`] if the back is frozen; [`BufferError::OutOfRange`] if there are more lengths than
    /// pieces or one is too large; [`BufferError::TooLong`]. The reservation then stays.
    #[inline]
    pub fn commit(&mut self, lengths: &[usize]) -> Result<(), BufferError> {
        if let [length] = *lengths
            && self.tail_reserved
            && self.spare.is_none()
        {
            // The one piece that most reservations have.
            if self.first_reserved().is_none_or(|room| length > room.len()) {
                return Err(BufferError::OutOfRange);
            }
            self.check_append(length)?;
            if let Some(back) = self.chain.back_mut() {
                back.grow(length);
            }
            self.end_reservation();
            self.count_added(length);
            return Ok(());
        }
        self.commit_pieces(lengths)
    }

    fn commit_pieces(&mut self, lengths: &[usize]) -> Result<(), BufferError> {
        let mut total = 0_usize;
        {
            let pieces = self.reserved();
            if lengths.len() > pieces.len() {
                return Err(BufferError::OutOfRange);
            }
            for (length, piece) in lengths.iter().zip(&pieces) {
                if *length > piece.len() {
                    return Err(BufferError::OutOfRange);
                }
                total = total.saturating_add(*length);
            }
        }
        self.check_append(total)?;
        let mut lengths = lengths.iter().copied();
        if self.tail_reserved
            && let Some(length) = lengths.next()
            && let Some(back) = self.chain.back_mut()
        {
            back.grow(length);
        }
        self.end_reservation();
        if self.spare.is_some() {
            self.commit_spare(lengths.next().unwrap_or(0));
        }
        self.count_added(total);
        Ok(())
    }

    #[inline(never)]
    fn commit_spare(&mut self, length: usize) {
        if let Some(spare) = self.spare.take()
            && length > 0
        {
            self.chain.push_back(Chunk::owned(spare.block, 0, length));
        }
    }

    /// Reads at most `limit` bytes from `reader`, once, and says how many there were (`evbuffer_read`): 0 at its end. They
    /// go where they will stay; there is no memory to be read into first.
    ///
    /// # Errors
    /// What `reader` says, and `PermissionDenied` if the back is frozen; nothing is changed then.
    ///
    /// ```
    /// use ferrevent_core::buffer::Buffer;
    ///
    /// let mut buffer = Buffer::new();
    /// assert_eq!(buffer.read_from(&mut &b"a file, a socket"[..], 6)?, 6);
    /// assert_eq!(buffer, b"a file");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_from(
        &mut self,
        reader: &mut (impl io::Read + ?Sized),
        limit: usize,
    ) -> io::Result<usize> {
        self.check_append(0)?;
        let fed = self.is_fed;
        let read = self.receive(limit, |room| reader.read(room));
        // This is not a connection's buffer, which gives up more memory when it is empty.
        self.is_fed = fed;
        read
    }

    /// Writes at most `limit` bytes from the front to `writer`, once, and drains as many as it takes
    /// (`evbuffer_write_atmost`).
    ///
    /// # Errors
    /// What `writer` says, and `PermissionDenied` if the front is frozen; nothing is drained then.
    ///
    /// ```
    /// use ferrevent_core::buffer::Buffer;
    ///
    /// let mut buffer = Buffer::from(&b"some bytes"[..]);
    /// let mut written = Vec::new();
    /// assert_eq!(buffer.write_to(&mut written, 4)?, 4);
    /// assert_eq!((&*written, buffer.to_vec()), (&b"some"[..], b" bytes".to_vec()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_to(
        &mut self,
        writer: &mut (impl io::Write + ?Sized),
        limit: usize,
    ) -> io::Result<usize> {
        if limit == 0 || self.len == 0 {
            return Ok(0);
        }
        self.check_front()?;
        self.check_readable(limit)?;
        self.transmit(limit, |pieces| writer.write_vectored(pieces))
    }

    /// For the transport: lets `read` put at most `limit` bytes behind the content, and says how many it has put there.
    /// `read` gets room (none if `limit` is 0 or the buffer is full) and returns how much of it was filled, which is
    /// appended although the back may be frozen. When it fails nothing changes and nothing stays allocated.
    ///
    /// How much room is offered follows what earlier reads needed, from 4 KiB to 256 KiB.
    ///
    /// # Errors
    /// What `read` says.
    ///
    /// # Panics
    /// If `read` says that it has filled more than it was given.
    pub fn receive<E>(
        &mut self,
        limit: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let limit = limit.min(MAX_LEN - self.len);
        self.is_fed = true;
        let want = self.reads.size().min(limit);
        if let Some(back) = self.chain.back_mut()
            && back.room() >= want
        {
            let space = back.space(want);
            let offered = space.len().min(limit);
            let n = read(&mut space[..offered])?;
            assert!(n <= offered, "a read of {n} bytes into room for {offered}");
            back.grow(n);
            self.reads.learn(n, offered);
            self.count_added(n);
            return Ok(n);
        }
        let mut block = Block::small_cleared(want);
        let space = block.written_mut();
        let offered = space.len().min(limit);
        let n = read(&mut space[..offered])?;
        assert!(n <= offered, "a read of {n} bytes into room for {offered}");
        self.reads.learn(n, offered);
        self.take_read(block, n);
        Ok(n)
    }

    /// For the transport: shows `write` at most `limit` bytes from the front in one or more pieces, and drains as many
    /// as it says that it has taken, although the front may be frozen. Bytes of a file that is not in memory come alone:
    /// who can send files asks [`front_file`](Self::front_file) first.
    ///
    /// # Errors
    /// What `write` says; nothing is drained then.
    ///
    /// # Panics
    /// If `write` says that it has taken more than there is.
    pub fn transmit<E>(
        &mut self,
        limit: usize,
        write: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let mut slices = SmallVec::<[IoSlice<'_>; WRITE_PIECES]>::new();
        let mut left = limit;
        for chunk in self.chain.iter().take(WRITE_PIECES) {
            if left == 0 || (self.has_files && !slices.is_empty() && chunk.is_unloaded()) {
                break;
            }
            let bytes = chunk.bytes();
            let n = bytes.len().min(left);
            if n == 0 {
                // The one chunk of an empty buffer.
                continue;
            }
            slices.push(IoSlice::new(&bytes[..n]));
            left -= n;
        }
        let n = write(&slices)?;
        drop(slices);
        self.sent(n);
        Ok(n)
    }

    /// For the transport: drains the first `n` bytes although the front may be frozen.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn sent(&mut self, n: usize) {
        assert!(n <= self.len, "sent {n} of {} bytes", self.len);
        self.drop_front(n);
    }

    /// Points `slices` at the first `limit` bytes, as far as the slices go, and says how many were used.
    pub fn fill_io_slices<'a>(&'a self, limit: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut left = limit;
        let mut used = 0;
        for (slice, bytes) in slices.iter_mut().zip(self.chunks()) {
            if left == 0 {
                break;
            }
            let n = bytes.len().min(left);
            *slice = IoSlice::new(&bytes[..n]);
            left -= n;
            used += 1;
        }
        used
    }

    /// Appends the first `n` bytes of `block`.
    fn take_read(&mut self, block: Block, n: usize) {
        if n == 0 {
            return;
        }
        // The block goes back to the pool when it would be held for a few bytes only.
        if n <= COPY_READ
            && n <= block.size() / 16
            && self.append_copy(&block.written()[..n]).is_ok()
        {
            return;
        }
        self.end_reservation();
        self.chain.push_back(Chunk::owned(block, 0, n));
        self.count_added(n);
    }

    /// Makes sure that there is a spare block of `n` bytes, and says whether it is a new one.
    fn make_spare(&mut self, n: usize) -> Result<(), BufferError> {
        if self
            .spare
            .as_ref()
            .is_none_or(|spare| spare.block.size() < n)
        {
            // What is larger than any pooled block comes cleared from the system.
            let block = if n > MAX_POOLED {
                Block::cleared(n)?
            } else {
                Block::small(n)
            };
            self.spare = Some(Box::new(Spare {
                block,
                reserved: false,
            }));
        }
        Ok(())
    }

    /// The spare block, if there is one of at least `n` bytes.
    #[inline]
    pub(super) fn take_spare(&mut self, n: usize) -> Option<Block> {
        let spare = self.spare.take_if(|spare| spare.block.size() >= n)?;
        Some(spare.block)
    }
}
