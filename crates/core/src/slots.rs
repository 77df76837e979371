//! The slots of the events that are pending or active.
//!
//! By hand, and small: there may be 10^6 of them, and each operation on an event touches its slot. What only a timeout
//! needs is with the timers, under the slot's number.

use crate::active::{NO_NODE, NodeId};
use crate::arena::{key_of, parts, push_slowly_growing};
use crate::base::EventKey;
use crate::driver::Fd;
use crate::event::EventSpec;
use crate::flags::What;

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
pub(crate) struct EventSlots<E> {
    slots: Vec<EventSlot<E>>,
    /// Slots that have been given back.
    free: Vec<u32>,
    /// How many slots have been in use since there was no event at all. Then they are used in their order again, which
    /// is the cheapest to go through.
    used: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EventSlot<E> {
    pub(crate) cookie: E,
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

impl<E: Copy> EventSlots<E> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            used: 0,
        }
    }

    /// The slot of an event, unless that is neither pending nor active any more.
    #[inline]
    pub(crate) fn index(&self, key: EventKey) -> Option<u32> {
        let (index, version) = parts(key);
        let slot = self.slots.get(index)?;
        (slot.version == version).then_some(index as u32)
    }

    #[inline]
    pub(crate) fn get(&self, key: EventKey) -> Option<&EventSlot<E>> {
        self.index(key).map(|index| self.at(index))
    }

    /// The slot of an event that is pending or active.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> &EventSlot<E> {
        &self.slots[index as usize]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut EventSlot<E> {
        &mut self.slots[index as usize]
    }

    #[inline]
    pub(crate) fn at_mut_with_key(&mut self, index: u32) -> (&mut EventSlot<E>, EventKey) {
        let slot = self.at_mut(index);
        let key = key_of(index, slot.version);
        (slot, key)
    }

    #[inline]
    pub(crate) fn key(&self, index: u32) -> EventKey {
        key_of(index, self.at(index).version)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EventKey, E)> {
        let used = self.slots.iter().enumerate();
        used.filter(|(_, slot)| slot.version & 1 == 1)
            .map(|(index, slot)| (key_of(index as u32, slot.version), slot.cookie))
    }

    #[inline]
    pub(crate) fn insert(&mut self, spec: &EventSpec<E>) -> u32 {
        let index = self.free.pop().unwrap_or(self.used);
        let mut slot = EventSlot {
            cookie: spec.cookie,
            version: 1,
            fd: spec.fd,
            node: NO_NODE,
            what: spec.what.bits() as u8,
            happened: 0,
            priority: spec.priority,
            state: Standing::empty(),
        };
        if let Some(former) = self.slots.get_mut(index as usize) {
            slot.version = former.version.wrapping_add(1);
            *former = slot;
        } else {
            push_slowly_growing(&mut self.slots, slot);
        }
        self.used = self.used.max(index + 1);
        index
    }

    /// Makes slots until there are so many; nobody looks at the cookie of a vacant one.
    pub(crate) fn make_room(&mut self, slots: usize, cookie: E) {
        let Some(missing) = slots.checked_sub(self.slots.len()) else {
            return;
        };
        let vacant = EventSlot {
            cookie,
            version: 0,
            fd: -1,
            node: NO_NODE,
            what: 0,
            happened: 0,
            priority: 0,
            state: Standing::empty(),
        };
        self.slots.reserve_exact(missing);
        self.slots.resize(slots, vacant);
    }

    /// Gives a slot back that has been taken out of everything.
    #[inline(always)]
    pub(crate) fn remove(&mut self, index: u32) {
        let slot = self.at_mut(index);
        slot.version = slot.version.wrapping_add(1);
        if self.free.len() + 1 == self.used as usize {
            self.free.clear();
            self.used = 0;
        } else {
            self.free.push(index);
        }
    }
}

impl<E> EventSlot<E> {
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
        let waits = self.state.contains(Standing::INSERTED)
            || !self.what().intersects(What::IO | What::SIGNAL);
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

    const SPEC: EventSpec<u64> = EventSpec {
        cookie: 0,
        fd: -1,
        what: What::all(),
        priority: 0,
    };

    #[test]
    fn a_slot_is_small() {
        assert_eq!(size_of::<EventSlot<u64>>(), 24);
    }

    #[test]
    fn a_key_is_of_one_event_only() {
        let mut slots = EventSlots::new();
        let first = slots.insert(&SPEC);
        let other = slots.insert(&SPEC);
        let (old, stays) = (slots.key(first), slots.key(other));
        slots.remove(first);
        assert_eq!(slots.index(old), None);
        let again = slots.insert(&EventSpec { cookie: 7, ..SPEC });
        assert_eq!(again, first, "slots are used again");
        assert_eq!(slots.index(old), None);
        assert_eq!(slots.index(stays), Some(other));
        assert_eq!(slots.at(again).what(), What::all());
        let all: Vec<_> = slots.iter().collect();
        assert_eq!(all, [(slots.key(again), 7), (stays, 0)]);
    }

    #[test]
    fn room_is_used_in_order_and_holds_no_event() {
        let mut slots = EventSlots::new();
        let first = slots.insert(&SPEC);
        slots.make_room(4, 0);
        slots.make_room(2, 0);
        assert_eq!(slots.slots.len(), 4);
        assert_eq!(slots.iter().count(), 1);
        for index in 1..6 {
            assert_eq!(slots.index(key_of(index, 1)), None);
            assert_eq!(slots.insert(&SPEC), index);
            assert_eq!(slots.index(slots.key(index)), Some(index));
        }
        slots.remove(first);
        assert_eq!(slots.iter().count(), 5);
    }

    #[test]
    fn from_nothing_slots_are_used_in_their_order() {
        let mut slots = EventSlots::new();
        for _ in 0..8 {
            slots.insert(&SPEC);
        }
        let keys: Vec<_> = (0..8).map(|index| slots.key(index)).collect();
        for index in [3, 0, 7, 1, 6, 2, 5, 4] {
            slots.remove(index);
        }
        assert_eq!(slots.iter().count(), 0);
        for index in 0..8 {
            assert_eq!(slots.insert(&SPEC), index);
        }
        assert!(keys.iter().all(|&key| slots.index(key).is_none()));
    }
}
