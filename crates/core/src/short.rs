//! Short ways: what programs ask of an event most often, where nothing stands against it.
//!
//! With many events, each call waits for the memory of its own. How many of these waits overlap depends on how many calls the
//! processor has under way at once, and that on their length: so these look at the event once, at nothing that the usual case has
//! no use for, and call nothing. Each returns whether it was that case. If not, nothing has happened, and the way in `event.rs`, which is
//! for all cases, does the same.

use crate::active::NO_NODE;
use crate::arena::{index_of, parts};
use crate::base::{Core, EventKey, Host, Item};
use crate::event::EventSpec;
use crate::flags::What;
use crate::schedule::{Clock, Schedule};
use crate::slots::{EventSlots, Slot, Standing};
use crate::timer::Clocks;

impl<H: Host> Core<H> {
    /// Deletes an event that has nothing but a timeout, which runs ([`del_event_of`](Self::del_event_of)).
    #[inline(always)]
    pub fn del_timed(&mut self, key: EventKey, cookie: H::Event) -> bool {
        let number = index_of(key);
        let (places, timers) = (&mut self.events.places, &mut self.timers);
        let clocks = &mut timers.clocks.places;
        let deleted = match H::parts_of(places, clocks, number, cookie) {
            Some((slot, clock)) => {
                !slot.is_free() && slot.leave_at_once(clock, &mut timers.schedule)
            }
            None => self.del_timed_in_table(key, cookie),
        };
        if !deleted {
            return false;
        }
        self.timed_only -= 1;
        if self.run.running.map(index_of) == Some(number) {
            self.run.running = None;
        }
        true
    }

    #[inline(always)]
    fn del_timed_in_table(&mut self, key: EventKey, cookie: H::Event) -> bool {
        if !self.events.can_recycle() {
            return false;
        }
        let timers = &mut self.timers;
        let Some((index, slot, clock)) = own(&mut self.events, &mut timers.clocks, key, cookie)
        else {
            return false;
        };
        let deleted = slot.leave_at_once(clock, &mut timers.schedule);
        if deleted {
            self.events.recycle_at_once(index);
        }
        deleted
    }

    /// Whether there are timeouts that many events [share](Self::share_timeout). What does not hang on it needs fewer registers: who
    /// asks first can have two functions.
    #[inline(always)]
    pub fn shares_timeouts(&self) -> bool {
        self.timers.schedule.agenda.shares()
    }

    /// Moves the deadline of an event whose timeout runs, and for which nothing else is to be done
    /// ([`move_timeout`](Self::move_timeout)).
    #[inline(always)]
    pub fn move_timed(&mut self, key: EventKey, cookie: H::Event, timeout: u64) -> bool {
        let deadline = self.now.saturating_add(timeout);
        let timers = &mut self.timers;
        match own(&mut self.events, &mut timers.clocks, key, cookie) {
            Some((number, slot, clock)) => {
                slot.move_at_once(clock, &mut timers.schedule, number, timeout, deadline)
            }
            None => false,
        }
    }

    /// As [`move_timed`](Self::move_timed), if the event has a [`Place`](crate::Place).
    #[inline(always)]
    pub fn move_placed(&mut self, key: EventKey, cookie: H::Event, timeout: u64) -> bool {
        let (number, timers) = (index_of(key), &mut self.timers);
        let (places, clocks) = (&mut self.events.places, &mut timers.clocks.places);
        let deadline = self.now.saturating_add(timeout);
        match H::parts_of(places, clocks, number, cookie) {
            Some((slot, clock)) if !slot.is_free() => {
                slot.move_at_once(clock, &mut timers.schedule, number, timeout, deadline)
            }
            _ => false,
        }
    }

    /// Adds an event that has nothing but a timeout, and is neither pending nor active ([`add_event`](Self::add_event)). Returns
    /// its key.
    #[inline(always)]
    pub fn add_timed(&mut self, spec: EventSpec<H::Event>, timeout: u64) -> Option<EventKey> {
        if spec.what.intersects(What::IO | What::SIGNAL) {
            return None;
        }
        let timers = &mut self.timers;
        let (number, slot, clock) = free(&mut self.events, &mut timers.clocks, &spec)?;
        let deadline = self.now.saturating_add(timeout);
        let schedule = &mut timers.schedule;
        if !schedule.start_at_once(clock, number, timeout, deadline) {
            return None;
        }
        slot.take(&spec);
        slot.state = Standing::TIMED;
        slot.repeat(clock, timeout);
        let key = slot.key(number);
        self.events.note_taken(number);
        self.timed_only += 1;
        self.note_peak();
        Some(key)
    }

    /// Makes an event run that is neither pending nor active ([`activate_event`](Self::activate_event)). Returns its key.
    #[inline(always)]
    pub fn activate_idle(
        &mut self,
        spec: EventSpec<H::Event>,
        happened: What,
        calls: u16,
    ) -> Option<EventKey> {
        let (number, slot) = self.events.free_at_once(&spec)?;
        if !self.active.has_room(spec.priority) {
            return None;
        }
        let item = Item::Event(number, spec.what.calls(calls));
        let node = self.active.push(spec.priority, item);
        slot.take(&spec);
        slot.set_happened(happened);
        slot.node = node;
        let key = slot.key(number);
        self.events.note_taken(number);
        self.run.yield_to(spec.priority);
        self.note_peak();
        Some(key)
    }

    /// As [`is_event_waiting`](Self::is_event_waiting).
    #[inline(always)]
    pub fn waits(&mut self, key: EventKey, cookie: H::Event) -> bool {
        let own = self.events.find_own(key, cookie);
        own.is_some_and(|(_, slot)| slot.state.contains(Standing::INSERTED))
    }
}

/// The slot and the clock of an event that is pending or active, if it has this cookie; with its number.
#[inline(always)]
fn own<'a, H: Host>(
    events: &'a mut EventSlots<H>,
    clocks: &'a mut Clocks<H::Clocks>,
    key: EventKey,
    cookie: H::Event,
) -> Option<(u32, &'a mut Slot, &'a mut Clock)> {
    let (index, version) = parts(key);
    let number = index as u32;
    match H::parts_of(&mut events.places, &mut clocks.places, number, cookie) {
        Some((slot, clock)) => (!slot.is_free()).then_some((number, slot, clock)),
        None => {
            let known = events.table.get_mut(index)?;
            let clock = clocks.events.get_mut(index)?;
            let own = known.cookie == cookie && known.slot.has_version(version);
            own.then_some((number, &mut known.slot, clock))
        }
    }
}

/// A slot and a clock for an event that is neither pending nor active; with their number.
#[inline(always)]
fn free<'a, H: Host>(
    events: &'a mut EventSlots<H>,
    clocks: &'a mut Clocks<H::Clocks>,
    spec: &EventSpec<H::Event>,
) -> Option<(u32, &'a mut Slot, &'a mut Clock)> {
    let (place, cookie) = (spec.place, spec.cookie);
    if H::event_in(&events.places, place) == Some(cookie) {
        let (slot, clock) = H::parts_of(&mut events.places, &mut clocks.places, place, cookie)?;
        return slot.is_free().then_some((place, slot, clock));
    }
    let (number, slot) = events.free_in_table(cookie)?;
    Some((number, slot, clocks.events.get_mut(number as usize)?))
}

impl Slot {
    /// Leaves and stops the clock, if there is nothing else to do.
    #[inline(always)]
    fn leave_at_once(&mut self, clock: &mut Clock, schedule: &mut Schedule) -> bool {
        let only_timed = self.state - Standing::REPEATS == Standing::TIMED;
        if !only_timed || self.node != NO_NODE || !schedule.has_several() {
            return false;
        }
        self.leave();
        schedule.stop(clock);
        true
    }

    /// Moves the clock, if there is nothing else to do.
    #[inline(always)]
    fn move_at_once(
        &mut self,
        clock: &mut Clock,
        schedule: &mut Schedule,
        number: u32,
        timeout: u64,
        deadline: u64,
    ) -> bool {
        if !self.only_moves() || !schedule.postpone_at_once(clock, number, timeout, deadline) {
            return false;
        }
        self.repeat(clock, timeout);
        true
    }

    /// Notes how long the timeout is that begins, where it is to begin again each time.
    #[inline(always)]
    fn repeat(&mut self, clock: &mut Clock, timeout: u64) {
        if self.what().contains(What::PERSIST) {
            self.state.set(Standing::REPEATS, timeout > 0);
            clock.set_interval(timeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Features;
    use crate::places::memory::{Keeper, Memory};
    use crate::places::{Place, Places};

    fn spec(cookie: u64) -> EventSpec<u64> {
        EventSpec {
            cookie,
            fd: -1,
            what: What::empty(),
            priority: 0,
            place: 0,
        }
    }

    /// With some timers that run, and one slot of the table that is free.
    fn core() -> Core<Keeper> {
        let mut core = Core::new(Features::empty());
        core.put_block(0, Some(()), true);
        let mut last = None;
        for cookie in 0..5 {
            let added = core.add_event(None, spec(cookie), Some(1000), None);
            last = added.expect("a timer").key;
        }
        assert!(core.del_event(last.expect("it runs")));
        core
    }

    #[test]
    fn slots_of_the_table_are_used_again() {
        let mut core = core();
        let used = core.events.table.len();
        let mut short = 0;
        for round in 0..1000 {
            // Now and then entries that stand for nothing are looked for, and the way is not short.
            let Some(key) = core.add_timed(spec(9), round) else {
                let added = core.add_event(None, spec(9), Some(round), None);
                core.del_event(added.expect("a timer").key.expect("it runs"));
                continue;
            };
            short += 1;
            core.move_timed(key, 9, round + 1);
            assert!(core.del_timed(key, 9));
            assert!(!core.del_timed(key, 9), "it is gone");
        }
        assert!(short > 900, "{short}");
        assert_eq!(core.events.table.len(), used);
        assert_eq!(core.timers.len(), 4);
    }

    #[test]
    fn an_event_with_another_cookie_is_another() {
        let mut core = core();
        let key = core.add_timed(spec(9), 7).expect("there is room");
        assert!(!core.move_timed(key, 8, 7) && !core.del_timed(key, 8));
        assert!(core.del_timed(key, 9));
    }

    /// The shell's memory may be written to while an event is idle: with a copy of one that is not, for instance.
    #[test]
    fn a_place_that_was_written_to_can_be_idle_again() {
        let mut core = core();
        let [place, other] = [3, 4].map(|position| Place::new(0, position).expect("it is one"));
        let [placed, copied] = [place, other].map(|place| EventSpec {
            place: place.number(),
            ..spec(Memory::<Slot>::COOKIES + u64::from(place.position()))
        });
        let key = core.add_timed(copied, 7).expect("there is room");
        let timers = core.timers.len();
        for number in [place.number(), other.number()] {
            let slot = *core.events.places.get(other.number()).expect("it is there");
            *core.events.places.get_mut(number).expect("it is there") = slot;
            let clocks = &mut core.timers.clocks.places;
            let clock = *clocks.get(other.number()).expect("it is there");
            *clocks.get_mut(number).expect("it is there") = clock;
        }
        assert!(core.key_in(place).is_some());
        core.reset_place(place);
        assert_eq!(core.key_in(place), None);
        assert_eq!(core.timers.len(), timers);
        let again = core.add_timed(placed, 7).expect("the place is free");
        assert!(core.del_timed(again, placed.cookie) && core.del_timed(key, copied.cookie));
        assert_eq!(core.timers.len(), timers - 1);
    }

    #[test]
    fn a_place_that_is_taken_is_not_taken_twice() {
        let mut core = core();
        let placed = EventSpec {
            place: Place::new(0, 3).expect("it is one").number(),
            ..spec(Memory::<Slot>::COOKIES + 3)
        };
        let key = core.add_timed(placed, 7).expect("there is room");
        assert_eq!(core.add_timed(placed, 7), None);
        assert_eq!(core.activate_idle(placed, What::READ, 1), None);
        assert!(core.del_timed(key, placed.cookie));
    }
}
