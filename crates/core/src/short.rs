//! Short ways: what programs ask of an event most often, where it has a place and nothing stands against it.
//!
//! With many events, each call waits for the memory of its own. How many of these waits overlap depends on how many calls the
//! processor has under way at once, and that on their length: so these look at the event once, at nothing that the usual case has
//! no use for, and call nothing. Each returns whether it was that case. If not, nothing has happened, and the way in `event.rs`, which is
//! for all cases, does the same.

use crate::active::NO_NODE;
use crate::arena::parts;
use crate::base::{Core, EventKey, Host, Item};
use crate::event::EventSpec;
use crate::flags::What;
use crate::slots::{Slot, Standing};
use crate::timer::Clock;

impl<H: Host> Core<H> {
    /// Deletes an event that has nothing but a timeout, which runs ([`del_event_of`](Self::del_event_of)).
    #[inline(always)]
    pub fn del_timed(&mut self, key: EventKey, cookie: H::Event) -> bool {
        let (slots, timers) = (&mut self.events.places, &mut self.timers);
        let Some((_, slot, clock)) = own::<H>(slots, &mut timers.places, key, cookie) else {
            return false;
        };
        let only_timed = slot.state - Standing::REPEATS == Standing::TIMED;
        if !only_timed || slot.node != NO_NODE || !timers.schedule.has_several() {
            return false;
        }
        slot.leave();
        timers.schedule.stop(clock);
        self.timed_only -= 1;
        if self.run.running == Some(key) {
            self.run.running = None;
        }
        true
    }

    /// Moves the deadline of an event whose timeout runs, and for which nothing else is to be done
    /// ([`move_timeout`](Self::move_timeout)).
    #[inline(always)]
    pub fn move_timed(&mut self, key: EventKey, cookie: H::Event, timeout: u64) -> bool {
        let (slots, timers) = (&mut self.events.places, &mut self.timers);
        let Some((number, slot, clock)) = own::<H>(slots, &mut timers.places, key, cookie) else {
            return false;
        };
        let deadline = self.now.saturating_add(timeout);
        let schedule = &mut timers.schedule;
        if !slot.only_moves() || !schedule.postpone_at_once(clock, number, timeout, deadline) {
            return false;
        }
        slot.repeat(clock, timeout);
        true
    }

    /// Adds an event that has nothing but a timeout, and is neither pending nor active ([`add_event`](Self::add_event)). Returns
    /// its key.
    #[inline(always)]
    pub fn add_timed(&mut self, spec: EventSpec<H::Event>, timeout: u64) -> Option<EventKey> {
        let (slots, timers) = (&mut self.events.places, &mut self.timers);
        let (slot, clock) = free::<H>(slots, &mut timers.places, &spec)?;
        let waits = spec.what.intersects(What::IO | What::SIGNAL);
        let deadline = self.now.saturating_add(timeout);
        let schedule = &mut timers.schedule;
        if waits || !schedule.start_at_once(clock, spec.place, timeout, deadline) {
            return None;
        }
        slot.take(&spec);
        slot.state = Standing::TIMED;
        slot.repeat(clock, timeout);
        let key = slot.key(spec.place);
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
        let (slots, timers) = (&mut self.events.places, &mut self.timers);
        let (slot, _) = free::<H>(slots, &mut timers.places, &spec)?;
        if !self.active.has_room(spec.priority) {
            return None;
        }
        let item = Item::Event(spec.place, spec.what.calls(calls));
        let node = self.active.push(spec.priority, item);
        slot.take(&spec);
        slot.set_happened(happened);
        slot.node = node;
        let key = slot.key(spec.place);
        self.run.yield_to(spec.priority);
        self.note_peak();
        Some(key)
    }

    /// As [`is_event_waiting`](Self::is_event_waiting).
    #[inline(always)]
    pub fn waits(&mut self, key: EventKey, cookie: H::Event) -> bool {
        let (slots, timers) = (&mut self.events.places, &mut self.timers);
        let own = own::<H>(slots, &mut timers.places, key, cookie);
        own.is_some_and(|(_, slot, _)| slot.state.contains(Standing::INSERTED))
    }
}

/// What is in the place of an event that is pending or active, if it has this cookie; with its number.
#[inline(always)]
fn own<'a, H: Host>(
    slots: &'a mut H::Slots,
    clocks: &'a mut H::Clocks,
    key: EventKey,
    cookie: H::Event,
) -> Option<(u32, &'a mut Slot, &'a mut Clock)> {
    let (index, version) = parts(key);
    let number = index as u32;
    let (slot, clock) = H::parts_of(slots, clocks, number, cookie)?;
    slot.has_version(version).then_some((number, slot, clock))
}

/// What is in the place of an event that is neither pending nor active.
#[inline(always)]
fn free<'a, H: Host>(
    slots: &'a mut H::Slots,
    clocks: &'a mut H::Clocks,
    spec: &EventSpec<H::Event>,
) -> Option<(&'a mut Slot, &'a mut Clock)> {
    let (slot, clock) = H::parts_of(slots, clocks, spec.place, spec.cookie)?;
    slot.is_free().then_some((slot, clock))
}

impl Slot {
    /// Notes how long the timeout is that begins, where it is to begin again each time.
    #[inline(always)]
    fn repeat(&mut self, clock: &mut Clock, timeout: u64) {
        if self.what().contains(What::PERSIST) {
            self.state.set(Standing::REPEATS, timeout > 0);
            clock.set_interval(timeout);
        }
    }
}
