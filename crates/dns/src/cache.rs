//! Answers that are still good.

use std::collections::BTreeMap;

use crate::message::RecordType;
use crate::resolver::Outcome;
use crate::{Failure, Name};

/// Nothing is kept longer than this, in seconds: a day, and an hour for what does not exist.
const LONGEST: u32 = 86_400;
const LONGEST_ABSENCE: u32 = 3600;

const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
pub(crate) struct Cache(BTreeMap<(Name, RecordType), Kept>);

struct Kept {
    outcome: Outcome,
    until: u64,
}

impl Cache {
    /// What is known, with the time that it has left.
    pub(crate) fn find(&self, name: &Name, rtype: RecordType, now: u64) -> Option<Outcome> {
        let kept = self.0.get(&(name.clone(), rtype))?;
        let left = u32::try_from(kept.until.checked_sub(now)? / SECOND).ok()?;
        if left == 0 {
            return None;
        }
        let mut outcome = kept.outcome.clone();
        match &mut outcome {
            Ok(answer) => answer.ttl = left,
            Err((_, ttl)) => *ttl = left,
        }
        Some(outcome)
    }

    /// Keeps what has been learned, if it may be; the oldest goes if there are more than `size`.
    pub(crate) fn keep(
        &mut self,
        name: &Name,
        rtype: RecordType,
        outcome: &Outcome,
        size: usize,
        now: u64,
    ) {
        let ttl = match outcome {
            Ok(answer) => answer.ttl.min(LONGEST),
            Err((Failure::NotExist | Failure::NoData, ttl)) => (*ttl).min(LONGEST_ABSENCE),
            Err(_) => 0,
        };
        if ttl == 0 || size == 0 {
            return;
        }
        let key = (name.clone(), rtype);
        if self.0.len() >= size && !self.0.contains_key(&key) {
            self.0.retain(|_, kept| kept.until > now);
        }
        while self.0.len() >= size && !self.0.contains_key(&key) {
            let first = self.0.iter().min_by_key(|(_, kept)| kept.until);
            let Some(first) = first.map(|(key, _)| key.clone()) else {
                break;
            };
            self.0.remove(&first);
        }
        let until = now.saturating_add(u64::from(ttl) * SECOND);
        let outcome = outcome.clone();
        self.0.insert(key, Kept { outcome, until });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
