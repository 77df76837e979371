//! Rate limits.

use std::time::Duration;

use ferrevent_core::{Dirs, GroupKey, RateLimit as Limit};

use super::BufferEvent;
use crate::base::Base;
use crate::error::{Error, Result};

/// How fast bytes may move (`struct ev_token_bucket_cfg`): so many each tick, by direction.
///
/// What is not used in one tick may be used later, up to the burst. A limit begins with what one tick brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(Limit);

impl RateLimit {
    /// So many bytes of each direction in each tick, and no bursts.
    ///
    /// # Errors
    /// [`Error::RateLimit`] for a rate of 0, and a tick below a millisecond.
    pub fn new(read: usize, write: usize, tick: Duration) -> Result<Self> {
        Self::with_bursts([read, write], [read, write], tick)
    }

    /// As [`new`](Self::new) with the rates of reading and writing, and how many bytes of each may move at once.
    ///
    /// # Errors
    /// Also for a burst that is below its rate.
    pub fn with_bursts(rates: [usize; 2], bursts: [usize; 2], tick: Duration) -> Result<Self> {
        let limit = Limit::new(rates, bursts, crate::nanos(tick));
        limit.map(Self).ok_or(Error::RateLimit)
    }
}

/// Names a group of bufferevents that share a rate limit (`struct bufferevent_rate_limit_group`).
///
/// Each member gets an equal share of what there is, but at least a minimum, so that many members do not each move
/// single bytes; those who come too late wait for the next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateGroup(GroupKey);

impl RateGroup {
    /// Makes a group without members, with a minimum share of 64 bytes (`bufferevent_rate_limit_group_new`).
    pub fn new(base: &mut Base, limit: RateLimit) -> Self {
        base.tick();
        Self(base.core.new_rate_group(limit.0))
    }

    /// Ends the group (`bufferevent_rate_limit_group_free`): its members are not limited by it any more.
    pub fn free(self, base: &mut Base) {
        base.tick();
        base.core.free_rate_group(self.0);
    }

    /// Puts a bufferevent into the group, and out of the one that it was in (`bufferevent_add_to_rate_limit_group`).
    /// Returns whether both exist.
    pub fn add(self, base: &mut Base, bev: BufferEvent) -> bool {
        base.tick();
        let key = base.live_key(bev);
        key.is_some_and(|key| base.core.join_rate_group(key, self.0))
    }

    /// Sets another limit (`bufferevent_rate_limit_group_set_cfg`). Returns whether the group exists.
    pub fn set_limit(self, base: &mut Base, limit: RateLimit) -> bool {
        base.tick();
        base.core.set_group_limit(self.0, limit.0)
    }

    /// Sets the least that a member gets at a time, in bytes; never more than what a tick brings
    /// (`bufferevent_rate_limit_group_set_min_share`). Returns whether the group exists.
    pub fn set_min_share(self, base: &mut Base, share: usize) -> bool {
        base.tick();
        base.core.set_group_min_share(self.0, share)
    }

    /// How many bytes its members may move now, all together; below nothing if they have moved more than they should
    /// (`bufferevent_rate_limit_group_get_read_limit` and `_write_limit`). `None` if it was freed.
    pub fn level(self, base: &mut Base, dir: Dirs) -> Option<i64> {
        base.tick();
        base.core.group_level(self.0, dir)
    }

    /// Counts bytes that were moved by other means, or gives some back if it is a negative number
    /// (`bufferevent_rate_limit_group_decrement_read` and `_write`). Returns whether the group exists.
    pub fn spend(self, base: &mut Base, dir: Dirs, bytes: i64) -> bool {
        base.tick();
        base.core.decrement_group(self.0, dir, bytes)
    }

    /// How many bytes its members have read and written (`bufferevent_rate_limit_group_get_totals`). `None` if it was
    /// freed.
    pub fn totals(self, base: &Base) -> Option<[u64; 2]> {
        base.core.group_totals(self.0)
    }

    /// Begins to count anew (`bufferevent_rate_limit_group_reset_totals`).
    pub fn reset_totals(self, base: &mut Base) {
        base.core.reset_group_totals(self.0);
    }
}

/// Rate limits. They count what is read from and written to a socket.
impl BufferEvent {
    /// Limits how fast it reads and writes, or lifts that (`bufferevent_set_rate_limit`). A limit in the place of another
    /// keeps what that has left. It takes the place of [`set_max_single`](Self::set_max_single). Returns whether the
    /// bufferevent exists.
    ///
    /// Of one that stands over another, limit the lowest: that is where the bytes are counted.
    pub fn set_rate_limit(self, base: &mut Base, limit: Option<RateLimit>) -> bool {
        base.tick();
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.core.set_rate_limit(key, limit.map(|limit| limit.0));
        true
    }

    /// Its own limit, if it has one (`bufferevent_get_token_bucket_cfg`).
    pub fn rate_limit(self, base: &Base) -> Option<RateLimit> {
        base.core.rate_limit(base.live_key(self)?).map(RateLimit)
    }

    /// Takes it out of its [`RateGroup`] (`bufferevent_remove_from_rate_limit_group`). Returns whether it exists.
    pub fn leave_rate_group(self, base: &mut Base) -> bool {
        base.tick();
        let Some(key) = base.live_key(self) else {
            return false;
        };
        base.core.leave_rate_group(key);
        true
    }

    /// How many bytes its own limit lets move now; below nothing if more moved than should
    /// (`bufferevent_get_read_limit` and `_write_limit`). `None` if it has none.
    pub fn rate_level(self, base: &mut Base, dir: Dirs) -> Option<i64> {
        base.tick();
        let key = base.live_key(self)?;
        base.core.rate_level(key, dir)
    }

    /// Counts bytes that were moved by other means, or gives some back if it is a negative number
    /// (`bufferevent_decrement_read_limit` and `_write_limit`). Returns whether it has a limit of its own.
    pub fn spend(self, base: &mut Base, dir: Dirs, bytes: i64) -> bool {
        base.tick();
        let key = base.live_key(self);
        key.is_some_and(|key| base.core.decrement_rate(key, dir, bytes))
    }

    /// How much one transfer may move now, by all limits (`bufferevent_get_max_to_read` and `_write`).
    pub fn allowance(self, base: &mut Base, dir: Dirs) -> Option<usize> {
        base.tick();
        let key = base.live_key(self)?;
        Some(base.core.allowance(key, dir))
    }
}
