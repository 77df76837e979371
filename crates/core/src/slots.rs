//! The slots of the events that are pending or active.
//!
//! By hand, and small: there may be 10^6 of them, and each operation on an event touches its slot. What only a timeout
//! needs is with the timers, under the event's number.
//!
//! An event that has a [`Place`] has its slot there. The others get one from a table while they are pending or active.

use crate::active::{NO_NODE, NodeId};
use crate::arena::{key_of, parts, push_slowly_growing};
use crate::base::{EventKey, Host};
use crate::driver::Fd;
use crate::event::EventSpec;
use crate::flags::What;
use crate::places::{BLOCK, Place, Places};

use bitflags::bitflags;

bitflags! {
    /// How an event stands, as libevent's `EVLIST_*` tell it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Standing: u8 {
        /// It waits for its descriptor or signal.
        const INSERTED = 1;
        /// Its timeout runs.
        const TIMED = 2;
        /// It is about to run.
        const ACTIVE = 4;
        /// Its timeout starts again when it has fired.
        const REPEATS = 8;
    }
}

#[derive(Debug)]
pub(crate) struct EventSlots<H: Host> {
    /// The slots of the events that have a place.
    pub(crate) places: H::Slots,
    /// How often a number of a block was used again.
    renewals: u32,
    pub(crate) table: Vec<TableSlot<H::Event>>,
    /// Slots of the table that have been given back.
    free: Vec<u32>,
    /// How many slots of the table have been in use since there was no event in it at all. Then they are used in their
    /// order again, which is the cheapest to go through.
    used: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TableSlot<E> {
    pub(crate) cookie: E,
    pub(crate) slot: Slot,
}

/// What the core knows of an event, but for its timeout; opaque to shells, which have memory for it where an event has a
/// [`Place`]. Any bytes are a slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// Odd while an event is here, and never the same for two events until it wraps.
    version: u32,
    pub(crate) fd: Fd,
    pub(crate) node: NodeId,
    what: u8,
    happened: u8,
    pub(crate) priority: u8,
    /// Without [`Standing::ACTIVE`], which `node` tells.
    pub(crate) state: Standing,
}

impl<H: Host> EventSlots<H> {
    pub(crate) fn new() -> Self {
        Self {
            places: H::Slots::default(),
            renewals: 0,
            table: Vec::new(),
            free: Vec::new(),
            used: 0,
        }
    }

    #[inline]
    pub(crate) fn places(&self) -> &H::Slots {
        &self.places
    }

    /// A block of places comes, or goes. No event of one that goes is pending or active.
    pub(crate) fn put_block(&mut self, number: u32, block: Option<H::Block>) {
        let used_before = number < self.places.blocks();
        self.places.put(number, block);
        if block.is_none() || !used_before {
            return;
        }
        // Somebody may still have a key from before.
        self.renewals = self.renewals.wrapping_add(1);
        let version = self.renewals << 16;
        for position in 0..BLOCK {
            let place = Place::new(number, position);
            if let Some(slot) = place.and_then(|place| self.places.get_mut(place.number())) {
                slot.version = version;
            }
        }
    }

    /// What stands in a place is not what was put there. No event is there.
    pub(crate) fn reset_place(&mut self, place: Place) {
        self.renewals = self.renewals.wrapping_add(1);
        if let Some(slot) = self.places.get_mut(place.number()) {
            *slot = Slot {
                version: self.renewals << 16,
                node: NO_NODE,
                ..Slot::default()
            };
        }
    }

    /// The number of an event, unless that is neither pending nor active any more.
    #[inline]
    pub(crate) fn index(&self, key: EventKey) -> Option<u32> {
        let (index, version) = parts(key);
        let index = index as u32;
        let slot = self.find(index)?;
        (slot.version == version && version & 1 == 1).then_some(index)
    }

    #[inline]
    pub(crate) fn get(&self, key: EventKey) -> Option<&Slot> {
        self.index(key).map(|index| self.at(index))
    }

    #[inline]
    fn find(&self, index: u32) -> Option<&Slot> {
        match self.places.get(index) {
            Some(slot) => Some(slot),
            None => self.table.get(index as usize).map(|known| &known.slot),
        }
    }

    /// The slot of an event that is pending or active.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> &Slot {
        match self.places.get(index) {
            Some(slot) => slot,
            None => &self.table[index as usize].slot,
        }
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Slot {
        match self.places.get_mut(index) {
            Some(slot) => slot,
            None => &mut self.table[index as usize].slot,
        }
    }

    /// The cookie of an event that is pending or active.
    #[inline]
    pub(crate) fn cookie(&self, index: u32) -> H::Event {
        match H::event_in(&self.places, index) {
            Some(event) => event,
            None => self.table[index as usize].cookie,
        }
    }

    #[inline]
    pub(crate) fn key(&self, index: u32) -> EventKey {
        key_of(index, self.at(index).version)
    }

    /// The key of the event in a place, if it is pending or active.
    pub(crate) fn key_in(&self, place: Place) -> Option<EventKey> {
        let slot = self.places.get(place.number())?;
        slot.is_taken()
            .then(|| key_of(place.number(), slot.version))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EventKey, H::Event)> {
        let numbers = (0..self.places.blocks()).flat_map(|block| {
            (0..BLOCK).filter_map(move |position| Some(Place::new(block, position)?.number()))
        });
        let placed = numbers.filter_map(|number| {
            let event = H::event_in(&self.places, number)?;
            Some((number, self.places.get(number)?, event))
        });
        let used = self.table.iter().enumerate();
        let others = used.map(|(index, known)| (index as u32, &known.slot, known.cookie));
        placed
            .chain(others)
            .filter(|(_, slot, _)| slot.is_taken())
            .map(|(index, slot, event)| (key_of(index, slot.version), event))
    }

    /// Makes a slot for an event. Here as in its neighbours, all is done with one look at the memory.
    #[inline(always)]
    pub(crate) fn insert(&mut self, spec: &EventSpec<H::Event>) -> (u32, &mut Slot) {
        let place = spec.place;
        let is_there = H::event_in(&self.places, place) == Some(spec.cookie);
        if is_there && self.places.get(place).is_some_and(Slot::is_free) {
            let slot = self.at_mut(place);
            slot.take(spec);
            return (place, slot);
        }
        self.insert_in_table(spec)
    }

    #[inline(never)]
    fn insert_in_table(&mut self, spec: &EventSpec<H::Event>) -> (u32, &mut Slot) {
        let index = self.free.pop().unwrap_or(self.used);
        if index as usize >= self.table.len() {
            let (cookie, slot) = (spec.cookie, Slot::default());
            push_slowly_growing(&mut self.table, TableSlot { cookie, slot });
        }
        self.used = self.used.max(index + 1);
        let entry = &mut self.table[index as usize];
        entry.cookie = spec.cookie;
        entry.slot.take(spec);
        (index, &mut entry.slot)
    }

    /// A slot for an event, if there is one at hand: not taken, before it is [noted](Self::note_taken).
    #[inline(always)]
    pub(crate) fn free_at_once(&mut self, spec: &EventSpec<H::Event>) -> Option<(u32, &mut Slot)> {
        let place = spec.place;
        if H::event_in(&self.places, place) == Some(spec.cookie) {
            let slot = self.places.get_mut(place)?;
            return slot.is_free().then_some((place, slot));
        }
        self.free_in_table(spec.cookie)
    }

    /// A slot of the table, as [`free_at_once`](Self::free_at_once).
    #[inline(always)]
    pub(crate) fn free_in_table(&mut self, cookie: H::Event) -> Option<(u32, &mut Slot)> {
        let index = self.free.last().copied().unwrap_or(self.used);
        let known = self.table.get_mut(index as usize)?;
        known.cookie = cookie;
        Some((index, &mut known.slot))
    }

    /// The slot that was at hand is taken now.
    #[inline(always)]
    pub(crate) fn note_taken(&mut self, number: u32) {
        if Place::from_number(number).is_none() && self.free.pop().is_none() {
            self.used += 1;
        }
    }

    /// As [`recycle`](Self::recycle) of a slot of the table, where that [can be](Self::can_recycle).
    #[inline(always)]
    pub(crate) fn recycle_at_once(&mut self, index: u32) {
        if self.free.len() < self.free.capacity() {
            self.free.push(index);
        }
    }

    /// The number and the slot of an event that is pending or active, if this is its cookie.
    #[inline]
    pub(crate) fn find_own(&mut self, key: EventKey, cookie: H::Event) -> Option<(u32, &mut Slot)> {
        let (index, version) = parts(key);
        let index = index as u32;
        let slot = match H::event_in(&self.places, index) {
            Some(event) => self.places.get_mut(index).filter(|_| event == cookie)?,
            None => {
                let known = self.table.get_mut(index as usize);
                &mut known.filter(|known| known.cookie == cookie)?.slot
            }
        };
        (slot.version == version && slot.is_taken()).then_some((index, slot))
    }

    /// Gives a slot back that has been taken out of everything.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32) {
        self.at_mut(index).leave();
        self.recycle(index);
    }

    /// The event of this slot has [left](Slot::leave).
    #[inline]
    pub(crate) fn recycle(&mut self, index: u32) {
        if Place::from_number(index).is_some() {
            return;
        }
        if self.can_recycle() {
            self.free.push(index);
        } else {
            self.recycle_in_table(index);
        }
    }

    /// Whether there is nothing more to do, when a slot of the table is free, than to write that down.
    #[inline(always)]
    pub(crate) fn can_recycle(&self) -> bool {
        let free = self.free.len();
        free < self.free.capacity() && free + 1 < self.used as usize
    }

    #[inline(never)]
    fn recycle_in_table(&mut self, index: u32) {
        if self.free.len() + 1 == self.used as usize {
            self.free.clear();
            self.used = 0;
        } else {
            self.free.push(index);
        }
    }
}

impl Slot {
    #[inline]
    fn is_taken(&self) -> bool {
        self.version & 1 == 1
    }

    /// Whether it is taken, and has been since a key with this version was given.
    #[inline]
    pub(crate) fn has_version(&self, version: u32) -> bool {
        self.version == version && self.is_taken()
    }

    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        !self.is_taken()
    }

    #[inline]
    pub(crate) fn key(&self, index: u32) -> EventKey {
        key_of(index, self.version)
    }

    /// The event goes, whose key finds nothing any more. What the slot was is returned; afterwards it is to be
    /// [recycled](EventSlots::recycle).
    #[inline]
    pub(crate) fn leave(&mut self) -> Self {
        let gone = *self;
        self.version = self.version.wrapping_add(1);
        gone
    }

    /// An event comes to where there is none.
    #[inline]
    pub(crate) fn take<E>(&mut self, spec: &EventSpec<E>) {
        *self = Self {
            version: self.version.wrapping_add(1),
            fd: spec.fd,
            node: NO_NODE,
            what: spec.what.bits() as u8,
            happened: 0,
            priority: spec.priority,
            state: Standing::empty(),
        };
    }

    #[inline]
    pub(crate) fn what(&self) -> What {
        What::from_bits_retain(u16::from(self.what))
    }

    #[inline]
    pub(crate) fn happened(&self) -> What {
        What::from_bits_retain(u16::from(self.happened))
    }

    #[inline]
    pub(crate) fn set_happened(&mut self, happened: What) {
        self.happened = happened.bits() as u8;
    }

    /// Whether adding it with a timeout moves its deadline, and does nothing else.
    #[inline]
    pub(crate) fn only_moves(&self) -> bool {
        let waits = !self.what().intersects(What::IO | What::SIGNAL)
            || self.state.contains(Standing::INSERTED);
        waits && self.state.contains(Standing::TIMED) && self.node == NO_NODE
    }

    #[inline]
    pub(crate) fn standing(&self) -> Standing {
        let mut standing = self.state;
        standing.set(Standing::ACTIVE, self.node != NO_NODE);
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::memory::{Keeper, Memory};

    const SPEC: EventSpec<u64> = EventSpec {
        cookie: 0,
        fd: -1,
        what: What::all(),
        priority: 0,
        place: 0,
    };

    fn number(position: u32) -> u32 {
        Place::new(0, position).unwrap().number()
    }

    fn placed(position: u32) -> EventSpec<u64> {
        EventSpec {
            cookie: Memory::<Slot>::COOKIES + u64::from(position),
            place: number(position),
            ..SPEC
        }
    }

    fn slots() -> EventSlots<Keeper> {
        EventSlots::new()
    }

    #[test]
    fn a_slot_is_small() {
        assert_eq!(size_of::<Slot>(), 16);
        assert_eq!(size_of::<TableSlot<u64>>(), 24);
    }

    #[test]
    fn a_key_is_of_one_event_only() {
        let mut slots = slots();
        let first = slots.insert(&SPEC).0;
        let other = slots.insert(&SPEC).0;
        let (old, stays) = (slots.key(first), slots.key(other));
        slots.remove(first);
        assert_eq!(slots.index(old), None);
        let again = slots.insert(&EventSpec { cookie: 7, ..SPEC }).0;
        assert_eq!(again, first, "slots are used again");
        assert_eq!(slots.index(old), None);
        assert_eq!(slots.index(stays), Some(other));
        assert_eq!(slots.at(again).what(), What::all());
        let all: Vec<_> = slots.iter().collect();
        assert_eq!(all, [(slots.key(again), 7), (stays, 0)]);
    }

    #[test]
    fn from_nothing_slots_are_used_in_their_order() {
        let mut slots = slots();
        for _ in 0..8 {
            slots.insert(&SPEC);
        }
        let keys: Vec<_> = (0..8).map(|index| slots.key(index)).collect();
        for index in [3, 0, 7, 1, 6, 2, 5, 4] {
            slots.remove(index);
        }
        assert_eq!(slots.iter().count(), 0);
        for index in 0..8 {
            assert_eq!(slots.insert(&SPEC).0, index);
        }
        assert!(keys.iter().all(|&key| slots.index(key).is_none()));
    }

    #[test]
    fn an_event_with_a_place_has_its_slot_there() {
        let mut slots = slots();
        slots.put_block(0, Some(()));
        let other = slots.insert(&SPEC).0;
        let index = slots.insert(&placed(5)).0;
        assert_eq!(Place::from_number(index), Place::new(0, 5));
        assert_eq!(Place::from_number(other), None);
        let key = slots.key(index);
        assert_eq!(slots.key_in(Place::new(0, 5).unwrap()), Some(key));
        assert_eq!(slots.key_in(Place::new(0, 6).unwrap()), None);
        assert_eq!(slots.cookie(index), Memory::<Slot>::COOKIES + 5);
        let all: Vec<_> = slots.iter().collect();
        let cookie = slots.cookie(index);
        assert_eq!(all, [(key, cookie), (slots.key(other), 0)]);
        slots.remove(index);
        assert_eq!(slots.index(key), None);
        assert_eq!(slots.insert(&placed(5)).0, index);
        assert_eq!(slots.index(key), None, "the key of another event");
        let again = slots.key(index);
        assert!(slots.find_own(again, cookie).is_some());
        assert!(slots.find_own(again, cookie + 1).is_none());
        assert!(slots.find_own(key, cookie).is_none());
    }

    #[test]
    fn a_place_that_is_taken_or_not_there_is_no_use() {
        let mut slots = slots();
        assert_eq!(slots.insert(&placed(5)).0, 0, "there is no such block");
        slots.put_block(0, Some(()));
        let first = slots.insert(&placed(5)).0;
        let second = slots.insert(&placed(5)).0;
        assert_eq!((first == second, second), (false, 1));
        let place = number(6);
        let other = slots.insert(&EventSpec { place, ..SPEC }).0;
        assert_eq!(other, 2, "another event's place");
        assert_eq!(slots.iter().count(), 4);
    }

    #[test]
    fn the_keys_of_a_block_are_not_those_of_the_next_one_with_its_number() {
        let mut slots = slots();
        slots.put_block(0, Some(()));
        let index = slots.insert(&placed(0)).0;
        let old = slots.key(index);
        slots.remove(index);
        slots.put_block(0, None);
        assert_eq!(slots.index(old), None);
        slots.put_block(0, Some(()));
        assert_eq!(slots.insert(&placed(0)).0, index);
        assert_eq!(slots.index(old), None);
    }
}
