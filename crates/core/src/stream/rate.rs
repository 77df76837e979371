//! Rate limits: token buckets of bufferevents and of groups of them.
//!
//! A bucket holds the bytes that may move. Each tick adds the rate to it, up to the burst; a transfer takes out what it
//! has moved. While a bucket holds nothing, the direction is suspended, until the tick that changes that. A bucket may
//! be overdrawn (by what must not be cut up, or by its user), and then takes so many ticks longer.
//!
//! Ticks are counted from the beginning of time, not from the last transfer, so that what is moved in the long run is
//! what the rate says, and a bucket is put right when it is looked at.

use slotmap::new_key_type;

use super::layer::Extra;
use super::{Side, Suspend};
use crate::base::{Core, Host, StreamKey, TimerOwner};
use crate::flags::Dirs;
use crate::timer::TimerId;

new_key_type! {
    /// Names a group of bufferevents that share a rate limit.
    pub struct GroupKey;
}

/// The least that a member of a group gets at a time unless the user says otherwise, in bytes.
const MIN_SHARE: usize = 64;

/// What a transfer moves at most where nothing else is set, as libevent reports it.
const DEFAULT_SINGLE: usize = 16384;

/// How fast bytes may move (`struct ev_token_bucket_cfg`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    rates: [i64; 2],
    bursts: [i64; 2],
    /// Nanoseconds.
    tick: u64,
    tag: usize,
}

impl RateLimit {
    /// So many bytes per tick are added for each direction, up to so many; a tick lasts `tick` nanoseconds.
    ///
    /// `None` for a rate of nothing, a burst below the rate, more bytes than half of all numbers, and a tick below a
    /// millisecond.
    pub fn new(
        [read_rate, write_rate]: [usize; 2],
        [read_burst, write_burst]: [usize; 2],
        tick: u64,
    ) -> Option<Self> {
        const MILLISECOND: u64 = 1_000_000;
        let rates = [bytes(read_rate)?, bytes(write_rate)?];
        let bursts = [bytes(read_burst)?, bytes(write_burst)?];
        let sound = (0..2).all(|i| rates[i] > 0 && bursts[i] >= rates[i]);
        (sound && tick >= MILLISECOND).then_some(Self {
            rates,
            bursts,
            tick,
            tag: 0,
        })
    }

    /// The same, with a number by which a shell finds what it was made from.
    #[must_use]
    pub fn tagged(self, tag: usize) -> Self {
        Self { tag, ..self }
    }

    /// What [`tagged`](Self::tagged) has set.
    pub fn tag(&self) -> usize {
        self.tag
    }
}

fn bytes(count: usize) -> Option<i64> {
    i64::try_from(count).ok()
}

/// What a bufferevent has that is limited, by itself or in a group.
#[derive(Debug, Default)]
pub(super) struct Rate {
    bucket: Option<Bucket>,
    group: Option<GroupKey>,
    timer: Option<TimerId>,
}

#[derive(Debug)]
struct Bucket {
    limit: RateLimit,
    /// Bytes that may move, by direction; below nothing if overdrawn.
    levels: [i64; 2],
    /// The tick that the levels belong to.
    tick: u64,
}

/// Bufferevents that share a rate limit.
#[derive(Debug)]
pub(crate) struct Group {
    bucket: Bucket,
    members: Vec<StreamKey>,
    wanted_share: usize,
    suspended: [bool; 2],
    totals: [u64; 2],
    timer: Option<TimerId>,
    /// Whose turn it is to be let go first.
    turn: usize,
}

impl Bucket {
    fn new(limit: RateLimit, now: u64) -> Self {
        Self {
            limit,
            levels: limit.rates,
            tick: now / limit.tick,
        }
    }

    /// Other limits; what is in the bucket stays, as far as there is room.
    fn set_limit(&mut self, limit: RateLimit, now: u64) {
        self.refill(now);
        self.limit = limit;
        self.tick = now / limit.tick;
        for (level, burst) in self.levels.iter_mut().zip(limit.bursts) {
            *level = (*level).min(burst);
        }
    }

    /// Adds what the ticks since the last look have brought.
    fn refill(&mut self, now: u64) {
        let tick = now / self.limit.tick;
        let passed = i64::try_from(tick.saturating_sub(self.tick)).unwrap_or(i64::MAX);
        self.tick = tick.max(self.tick);
        if passed == 0 {
            return;
        }
        for i in 0..2 {
            let added = self.limit.rates[i].saturating_mul(passed);
            let level = self.levels[i].saturating_add(added);
            // One that was filled by its user beyond the burst keeps that.
            self.levels[i] = level.min(self.limit.bursts[i]).max(self.levels[i]);
        }
    }

    /// When a level will have come to `wanted`.
    fn time_of(&self, side: Side, wanted: i64) -> u64 {
        let missing = wanted.saturating_sub(self.levels[side as usize]).max(1);
        let rate = self.limit.rates[side as usize];
        let ticks = (missing - 1) / rate + 1;
        let tick = self.tick.saturating_add(ticks.unsigned_abs());
        tick.saturating_mul(self.limit.tick)
    }
}

impl Group {
    /// What a member gets at least: never more than a tick brings, or the group would wait for ever.
    fn min_share(&self, side: Side) -> i64 {
        let wanted = bytes(self.wanted_share).unwrap_or(i64::MAX);
        let rates = self.bucket.limit.rates;
        wanted.min(rates[side as usize])
    }

    fn share(&self, side: Side) -> i64 {
        if self.suspended[side as usize] {
            return 0;
        }
        let members = i64::try_from(self.members.len().max(1)).unwrap_or(i64::MAX);
        let share = self.bucket.levels[side as usize] / members;
        share.max(self.min_share(side))
    }
}

/// Rate limits of bufferevents.
impl<H: Host> Core<H> {
    /// Limits a bufferevent, or lifts its limit (`bufferevent_set_rate_limit`). A new bucket holds what one tick
    /// brings; one that is there already keeps what it holds.
    pub fn set_rate_limit(&mut self, key: StreamKey, limit: Option<RateLimit>) {
        let now = self.now;
        let Some(rate) = self.rate_mut(key, limit.is_some()) else {
            return;
        };
        match (&mut rate.bucket, limit) {
            (Some(bucket), Some(limit)) => bucket.set_limit(limit, now),
            (bucket, limit) => *bucket = limit.map(|limit| Bucket::new(limit, now)),
        }
        self.weigh_rate(key);
        // As in libevent, what may move is enabled once more, with what comes of that: a write callback.
        for side in Side::BOTH {
            let stream = &self.streams[key];
            let moves = stream.enabled.contains(side.dirs()) && stream.is_usable();
            if moves && !stream.freed && stream.side(side).suspended.is_empty() {
                self.arm(key, side);
            }
        }
        self.note_fd(key);
    }

    /// What [`set_rate_limit`](Self::set_rate_limit) has set.
    pub fn rate_limit(&self, key: StreamKey) -> Option<RateLimit> {
        let rate = self.streams.get(key)?.extra.as_ref()?.rate.as_ref()?;
        Some(rate.bucket.as_ref()?.limit)
    }

    /// What a bufferevent's own bucket holds; `None`: it has none (`bufferevent_get_read_limit` and `_write_limit`).
    pub fn rate_level(&mut self, key: StreamKey, dir: Dirs) -> Option<i64> {
        let now = self.now;
        let bucket = self.rate_mut(key, false)?.bucket.as_mut()?;
        bucket.refill(now);
        Some(bucket.levels[side(dir) as usize])
    }

    /// Takes bytes out of a bufferevent's own bucket, or puts some in if it is a negative number
    /// (`bufferevent_decrement_read_limit` and `_write_limit`). Returns whether there is a bucket.
    pub fn decrement_rate(&mut self, key: StreamKey, dir: Dirs, bytes: i64) -> bool {
        let now = self.now;
        let rate = self.rate_mut(key, false);
        let Some(bucket) = rate.and_then(|rate| rate.bucket.as_mut()) else {
            return false;
        };
        bucket.refill(now);
        let level = &mut bucket.levels[side(dir) as usize];
        *level = level.saturating_sub(bytes);
        self.weigh_rate(key);
        true
    }

    /// How much one transfer may move now (`bufferevent_get_max_to_read` and `_write`).
    pub fn allowance(&mut self, key: StreamKey, dir: Dirs) -> usize {
        let single = self.streams.get(key).and_then(|s| s.max_single(dir));
        self.rate_allowance(key, side(dir), single.unwrap_or(DEFAULT_SINGLE))
    }

    /// How much of `limit` a transfer may move now.
    pub(super) fn rate_allowance(&mut self, key: StreamKey, side: Side, limit: usize) -> usize {
        let now = self.now;
        let Some(rate) = self.rate_mut(key, false) else {
            return limit;
        };
        let mut allowed = bytes(limit).unwrap_or(i64::MAX);
        if let Some(bucket) = &mut rate.bucket {
            bucket.refill(now);
            // As in libevent, this takes the place of the limit of a single transfer.
            allowed = bucket.levels[side as usize];
        }
        let group = rate.group;
        if let Some(group) = group.and_then(|group| self.groups.get_mut(group)) {
            group.bucket.refill(now);
            allowed = allowed.min(group.share(side));
        }
        usize::try_from(allowed).unwrap_or(0)
    }

    /// A transfer has moved so many bytes.
    pub(super) fn spend(&mut self, key: StreamKey, side: Side, moved: usize) {
        let now = self.now;
        let Some(rate) = self.rate_mut(key, false) else {
            return;
        };
        let moved = bytes(moved).unwrap_or(i64::MAX);
        let group = rate.group;
        if let Some(bucket) = &mut rate.bucket {
            bucket.refill(now);
            let level = &mut bucket.levels[side as usize];
            *level = level.saturating_sub(moved);
            self.weigh_rate(key);
        }
        if let Some(key) = group
            && let Some(group) = self.groups.get_mut(key)
        {
            group.totals[side as usize] += moved.unsigned_abs();
            let level = &mut group.bucket.levels[side as usize];
            *level = level.saturating_sub(moved);
            self.weigh_group(key);
        }
    }

    /// The tick has come that a bufferevent waited for.
    pub(crate) fn refill_stream(&mut self, key: StreamKey) {
        self.timed_only -= 1;
        if let Some(rate) = self.rate_mut(key, false) {
            rate.timer = None;
        }
        self.weigh_rate(key);
    }

    /// It is freed: its bucket goes, and its place in a group.
    pub(super) fn forget_rate(&mut self, key: StreamKey) {
        self.leave_rate_group(key);
        let timer = self.rate_mut(key, false).and_then(|rate| rate.timer.take());
        self.stop_refill(timer);
        let rate = self.streams.get_mut(key).and_then(|stream| {
            let extra: &mut Extra = stream.extra.as_mut()?;
            extra.rate.take()
        });
        if rate.is_some() {
            self.rated -= 1;
        }
    }

    /// Suspends what has nothing left, and lets go what has again.
    fn weigh_rate(&mut self, key: StreamKey) {
        let now = self.now;
        let Some(rate) = self.rate_mut(key, false) else {
            return;
        };
        let mut empty = [false; 2];
        let mut next = u64::MAX;
        if let Some(bucket) = &mut rate.bucket {
            bucket.refill(now);
            for side in Side::BOTH {
                if bucket.levels[side as usize] <= 0 {
                    empty[side as usize] = true;
                    next = next.min(bucket.time_of(side, 1));
                }
            }
        }
        let timer = rate.timer;
        let owner = TimerOwner::Refill(key);
        let timer = self.set_refill(timer, (next < u64::MAX).then_some(next), owner);
        if let Some(rate) = self.rate_mut(key, false) {
            rate.timer = timer;
        }
        for side in Side::BOTH {
            self.set_suspended(key, side, Suspend::RATE, empty[side as usize]);
        }
    }

    fn rate_mut(&mut self, key: StreamKey, make: bool) -> Option<&mut Rate> {
        let stream = self.streams.get_mut(key)?;
        if make && !stream.freed {
            let rate = &mut stream.extra().rate;
            if rate.is_none() {
                self.rated += 1;
            }
            return Some(rate.get_or_insert_default());
        }
        stream.extra.as_mut()?.rate.as_deref_mut()
    }
}

/// Groups.
impl<H: Host> Core<H> {
    /// Makes a group (`bufferevent_rate_limit_group_new`).
    pub fn new_rate_group(&mut self, limit: RateLimit) -> GroupKey {
        let bucket = Bucket::new(limit, self.now);
        self.groups.insert(Group {
            bucket,
            members: Vec::new(),
            wanted_share: MIN_SHARE,
            suspended: [false; 2],
            totals: [0; 2],
            timer: None,
            turn: 0,
        })
    }

    /// Ends a group; its members are not limited by it any more (`bufferevent_rate_limit_group_free`).
    pub fn free_rate_group(&mut self, group: GroupKey) {
        while let Some(&member) = self.groups.get(group).and_then(|g| g.members.last()) {
            self.leave_rate_group(member);
        }
        if let Some(group) = self.groups.remove(group) {
            self.stop_refill(group.timer);
        }
    }

    /// Sets a group's limit (`bufferevent_rate_limit_group_set_cfg`). Returns whether it exists.
    pub fn set_group_limit(&mut self, key: GroupKey, limit: RateLimit) -> bool {
        let now = self.now;
        let Some(group) = self.groups.get_mut(key) else {
            return false;
        };
        group.bucket.set_limit(limit, now);
        self.weigh_group(key);
        true
    }

    /// Sets the least that a member gets at a time, in bytes, never more than the rates
    /// (`bufferevent_rate_limit_group_set_min_share`). Returns whether the group exists.
    pub fn set_group_min_share(&mut self, key: GroupKey, share: usize) -> bool {
        let Some(group) = self.groups.get_mut(key) else {
            return false;
        };
        group.wanted_share = share;
        self.weigh_group(key);
        true
    }

    /// Puts a bufferevent into a group, and out of the one that it was in (`bufferevent_add_to_rate_limit_group`).
    /// Returns whether both exist.
    pub fn join_rate_group(&mut self, key: StreamKey, group: GroupKey) -> bool {
        let exists = self.streams.get(key).is_some_and(|stream| !stream.freed);
        if !exists || !self.groups.contains_key(group) {
            return false;
        }
        let former = self.rate_mut(key, true).and_then(|rate| rate.group);
        if former == Some(group) {
            return true;
        }
        self.leave_rate_group(key);
        if let Some(rate) = self.rate_mut(key, true) {
            rate.group = Some(group);
        }
        self.groups[group].members.push(key);
        self.weigh_group(group);
        for side in Side::BOTH {
            let suspended = self.groups[group].suspended[side as usize];
            self.set_suspended(key, side, Suspend::GROUP, suspended);
        }
        true
    }

    /// Takes a bufferevent out of its group (`bufferevent_remove_from_rate_limit_group`).
    pub fn leave_rate_group(&mut self, key: StreamKey) {
        let rate = self.rate_mut(key, false);
        let Some(group) = rate.and_then(|rate| rate.group.take()) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(group) {
            group.members.retain(|&member| member != key);
        }
        for side in Side::BOTH {
            self.set_suspended(key, side, Suspend::GROUP, false);
        }
    }

    /// What a group's bucket holds (`bufferevent_rate_limit_group_get_read_limit` and `_write_limit`).
    pub fn group_level(&mut self, group: GroupKey, dir: Dirs) -> Option<i64> {
        let now = self.now;
        let bucket = &mut self.groups.get_mut(group)?.bucket;
        bucket.refill(now);
        Some(bucket.levels[side(dir) as usize])
    }

    /// Takes bytes out of a group's bucket, or puts some in if it is a negative number
    /// (`bufferevent_rate_limit_group_decrement_read` and `_write`). Returns whether it exists.
    pub fn decrement_group(&mut self, key: GroupKey, dir: Dirs, bytes: i64) -> bool {
        let now = self.now;
        let Some(group) = self.groups.get_mut(key) else {
            return false;
        };
        group.bucket.refill(now);
        let level = &mut group.bucket.levels[side(dir) as usize];
        *level = level.saturating_sub(bytes);
        self.weigh_group(key);
        true
    }

    /// How many bytes a group's members have read and written (`bufferevent_rate_limit_group_get_totals`).
    pub fn group_totals(&self, group: GroupKey) -> Option<[u64; 2]> {
        Some(self.groups.get(group)?.totals)
    }

    /// Counts anew (`bufferevent_rate_limit_group_reset_totals`).
    pub fn reset_group_totals(&mut self, group: GroupKey) {
        if let Some(group) = self.groups.get_mut(group) {
            group.totals = [0; 2];
        }
    }

    /// The tick has come that a group waited for.
    pub(crate) fn refill_group(&mut self, key: GroupKey) {
        self.timed_only -= 1;
        if let Some(group) = self.groups.get_mut(key) {
            group.timer = None;
        }
        self.weigh_group(key);
    }

    /// Suspends all members if nothing is left, and lets them go when there is enough for one at least.
    fn weigh_group(&mut self, key: GroupKey) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(key) else {
            return;
        };
        group.bucket.refill(now);
        let mut changed = [None; 2];
        let mut next = u64::MAX;
        for side in Side::BOTH {
            let (index, share) = (side as usize, group.min_share(side));
            let level = group.bucket.levels[index];
            let suspended = match group.suspended[index] {
                true => level < share,
                false => level <= 0,
            };
            if suspended != group.suspended[index] {
                changed[index] = Some(suspended);
                group.suspended[index] = suspended;
            }
            if suspended {
                next = next.min(group.bucket.time_of(side, share));
            }
        }
        // Whoever was let go last is first the next time.
        let turn = match group.members.len() {
            0 => 0,
            len => group.turn % len,
        };
        let members = if changed == [None; 2] {
            Vec::new()
        } else {
            group.turn = turn + 1;
            let (before, from) = group.members.split_at(turn);
            [from, before].concat()
        };
        let timer = group.timer;
        let owner = TimerOwner::GroupRefill(key);
        let timer = self.set_refill(timer, (next < u64::MAX).then_some(next), owner);
        if let Some(group) = self.groups.get_mut(key) {
            group.timer = timer;
        }
        for member in members {
            for side in Side::BOTH {
                if let Some(suspended) = changed[side as usize] {
                    self.set_suspended(member, side, Suspend::GROUP, suspended);
                }
            }
        }
    }

    /// Starts, moves or stops a timer that waits for a tick. It keeps the loop going.
    fn set_refill(
        &mut self,
        timer: Option<TimerId>,
        deadline: Option<u64>,
        owner: TimerOwner,
    ) -> Option<TimerId> {
        match (timer, deadline) {
            (None, Some(deadline)) => {
                self.timed_only += 1;
                Some(self.timers.insert(deadline, owner))
            }
            (Some(timer), Some(deadline)) => {
                self.timers.set(timer, deadline);
                Some(timer)
            }
            (timer, None) => {
                self.stop_refill(timer);
                None
            }
        }
    }

    fn stop_refill(&mut self, timer: Option<TimerId>) {
        if let Some(timer) = timer {
            self.timers.remove(timer);
            self.timed_only -= 1;
        }
    }
}

fn side(dir: Dirs) -> Side {
    if dir == Dirs::WRITE {
        Side::Write
    } else {
        Side::Read
    }
}
