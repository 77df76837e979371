//! Events that bring the memory in which the core keeps what it knows of them.
//!
//! A shell may have made an event in memory that stays an event's until the shell itself takes it back. What the core keeps
//! of such an event then stands in the event: one place in memory is touched for one event, where a table would be a
//! second one. The shell hands such memory over in blocks, and gives references into them; the core sees numbers.

use std::fmt::Debug;

/// How many events a block of memory has places for.
pub const BLOCK: u32 = 64;

/// Marks the numbers of places among the numbers of events; the others are of slots in the core's own table.
const PLACE: u32 = 1 << 29;

/// A place for an event in memory of the shell's, until its block is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// The place at `position` in the block of this number; `None` if there are too many blocks.
    pub fn new(block: u32, position: u32) -> Option<Self> {
        let fits = block < PLACE / BLOCK && position < BLOCK;
        fits.then(|| Self(PLACE | (block * BLOCK + position)))
    }

    /// What [`number`](Self::number) has given.
    #[inline]
    pub fn from_number(number: u32) -> Option<Self> {
        (number & !(PLACE - 1) == PLACE).then_some(Self(number))
    }

    /// Never 0.
    #[inline]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The number of the block, if `number` is a place's; a very large one otherwise. For tables, which look anyway whether
    /// they are that long.
    #[inline]
    pub fn block_of(number: u32) -> u32 {
        (number ^ PLACE) / BLOCK
    }

    /// The number of the block.
    #[inline]
    pub fn block(self) -> u32 {
        (self.0 & (PLACE - 1)) / BLOCK
    }

    /// Where in the block it is.
    #[inline]
    pub fn position(self) -> u32 {
        self.0 % BLOCK
    }
}

/// Memory of the shell's that has a `T` for each event.
///
/// By the number of a [`Place`] that is in a block which has been put in, and has not been taken away, there is always
/// the same value; by any other number there is none. Whatever bytes a place has in the beginning, they are one.
pub trait Places<T>: Debug + Default {
    /// A block, as the shell names it.
    type Block: Copy + Debug;

    /// A block comes, or goes.
    fn put(&mut self, number: u32, block: Option<Self::Block>);

    /// The value of an event, if its number is that of a place.
    fn get(&self, event: u32) -> Option<&T>;

    /// The value of an event, to be changed, if its number is that of a place.
    fn get_mut(&mut self, event: u32) -> Option<&mut T>;

    /// One more than the largest number of a block.
    fn blocks(&self) -> u32;
}

/// The shell has no such memory.
#[derive(Debug, Default)]
pub struct NoPlaces;

impl<T> Places<T> for NoPlaces {
    type Block = std::convert::Infallible;

    fn put(&mut self, _: u32, block: Option<Self::Block>) {
        if let Some(never) = block {
            match never {}
        }
    }

    #[inline]
    fn get(&self, _: u32) -> Option<&T> {
        None
    }

    #[inline]
    fn get_mut(&mut self, _: u32) -> Option<&mut T> {
        None
    }

    fn blocks(&self) -> u32 {
        0
    }
}

/// Memory for the tests' events.
#[cfg(test)]
pub(crate) mod memory {
    use super::*;
    use crate::base::Host;
    use crate::schedule::Clock;
    use crate::slots::Slot;

    /// A shell with such memory.
    #[derive(Debug)]
    pub(crate) struct Keeper;

    impl Host for Keeper {
        type Event = u64;
        type Stream = ();
        type Task = ();
        type Block = ();
        type Slots = Memory<Slot>;
        type Clocks = Memory<Clock>;

        fn event_in(slots: &Memory<Slot>, event: u32) -> Option<u64> {
            slots.get(event)?;
            let position = Place::from_number(event)?.position();
            Some(Memory::<Slot>::COOKIES + u64::from(position))
        }
    }

    #[derive(Debug)]
    pub(crate) struct Memory<T>(Vec<Option<Vec<T>>>);

    impl<T> Memory<T> {
        /// The first event's cookie.
        pub(crate) const COOKIES: u64 = 1000;
    }

    impl<T> Default for Memory<T> {
        fn default() -> Self {
            Self(Vec::new())
        }
    }

    impl<T: Default + Debug + Clone> Places<T> for Memory<T> {
        type Block = ();

        fn put(&mut self, number: u32, block: Option<()>) {
            let number = number as usize;
            if number >= self.0.len() {
                self.0.resize(number + 1, None);
            }
            self.0[number] = block.map(|()| vec![T::default(); BLOCK as usize]);
        }

        fn get(&self, event: u32) -> Option<&T> {
            let place = Place::from_number(event)?;
            let block = self.0.get(place.block() as usize)?.as_ref()?;
            block.get(place.position() as usize)
        }

        fn get_mut(&mut self, event: u32) -> Option<&mut T> {
            let place = Place::from_number(event)?;
            let block = self.0.get_mut(place.block() as usize)?.as_mut()?;
            block.get_mut(place.position() as usize)
        }

        fn blocks(&self) -> u32 {
            self.0.len() as u32
        }
    }
}
