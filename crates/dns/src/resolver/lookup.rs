//! What a user asks for, and the names that are tried for it.

use super::exchange::{Outcome, Owner};
use super::{ExchangeKey, LookupKey, Question, Resolver, Timer, after};
use crate::message::RecordType;
use crate::{Failure, Finished, LookupResult, Name};

pub(super) struct Lookup {
    /// The types of records that are asked for.
    parts: Vec<Part>,
    /// The names to try, and which one it is now. All parts ask for the same one.
    names: Vec<Name>,
    step: usize,
    /// When its timer stands.
    deadline: Option<u64>,
}

struct Part {
    rtype: RecordType,
    state: PartState,
}

enum PartState {
    Asking(ExchangeKey),
    Ended(Outcome),
}

impl Resolver {
    pub(super) fn start_records(&mut self, question: Question, now: u64) -> LookupKey {
        let names = self.candidates(&question.name, question.search);
        self.start(names, &[question.rtype], now)
    }

    fn start(&mut self, names: Vec<Name>, types: &[RecordType], now: u64) -> LookupKey {
        let deadline = self.config.deadline.map(|time| after(now, time));
        let key = self.lookups.insert(Lookup {
            parts: types
                .iter()
                .map(|&rtype| Part {
                    rtype,
                    state: PartState::Ended(Err((Failure::NotExist, 0))),
                })
                .collect(),
            names,
            step: 0,
            deadline,
        });
        if let Some(at) = deadline {
            self.arm(Timer::Lookup(key), at);
        }
        self.ask(key, now);
        key
    }

    /// The names to try for a name: itself first if it has dots enough, otherwise last.
    fn candidates(&self, name: &Name, search: bool) -> Vec<Name> {
        if !search {
            return vec![name.clone()];
        }
        let mut names: Vec<Name> = self
            .search
            .iter()
            .filter_map(|domain| name.join(domain).ok())
            .collect();
        if name.dots() >= self.config.ndots {
            names.insert(0, name.clone());
        } else {
            names.push(name.clone());
        }
        names
    }

    /// Asks for all parts of the present name.
    fn ask(&mut self, key: LookupKey, now: u64) {
        let Some(lookup) = self.lookups.get(key) else {
            return;
        };
        let Some(name) = lookup.names.get(lookup.step).cloned() else {
            return;
        };
        let types: Vec<_> = lookup.parts.iter().map(|part| part.rtype).collect();
        let mut exchanges = Vec::new();
        for (index, rtype) in types.into_iter().enumerate() {
            let exchange = self.new_exchange(Owner::Lookup(key, index), name.clone(), rtype);
            self.lookups[key].parts[index].state = PartState::Asking(exchange);
            exchanges.push(exchange);
        }
        for exchange in exchanges {
            self.enqueue(exchange, now);
        }
    }

    /// One part has an answer, or will have none.
    pub(super) fn part_ended(&mut self, key: LookupKey, part: usize, outcome: Outcome, now: u64) {
        let Some(lookup) = self.lookups.get_mut(key) else {
            return;
        };
        lookup.parts[part].state = PartState::Ended(outcome);
        let mut outcomes = Vec::new();
        for part in &lookup.parts {
            match &part.state {
                PartState::Asking(_) => return,
                PartState::Ended(outcome) => outcomes.push(outcome),
            }
        }
        let may_go_on = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err((Failure::NotExist, _))));
        if may_go_on && lookup.step + 1 < lookup.names.len() {
            lookup.step += 1;
            return self.ask(key, now);
        }
        self.finish(key);
    }

    /// The look-up as a whole has taken too long.
    pub(super) fn lookup_timed_out(&mut self, key: LookupKey, _now: u64) {
        let Some(lookup) = self.lookups.get_mut(key) else {
            return;
        };
        let mut open = Vec::new();
        for part in &mut lookup.parts {
            if let PartState::Asking(exchange) = part.state {
                open.push(exchange);
                part.state = PartState::Ended(Err((Failure::Timeout, 0)));
            }
        }
        for exchange in open {
            self.drop_exchange(exchange);
        }
        self.finish(key);
    }

    fn finish(&mut self, key: LookupKey) {
        let Some(lookup) = self.lookups.remove(key) else {
            return;
        };
        self.disarm(Timer::Lookup(key), lookup.deadline);
        let outcome = lookup.parts.into_iter().find_map(|part| match part.state {
            PartState::Ended(outcome) => Some(outcome),
            PartState::Asking(_) => None,
        });
        let Some(outcome) = outcome else { return };
        self.finished.push_back(Finished {
            key,
            result: LookupResult::Records(outcome.map_err(|(failure, _)| failure)),
        });
    }

    pub(super) fn drop_lookup(&mut self, key: LookupKey) -> bool {
        let Some(lookup) = self.lookups.remove(key) else {
            return false;
        };
        self.disarm(Timer::Lookup(key), lookup.deadline);
        for part in lookup.parts {
            if let PartState::Asking(exchange) = part.state {
                self.drop_exchange(exchange);
            }
        }
        true
    }
}
