//! What a user asks for, and the names that are tried for it.

use std::net::{IpAddr, SocketAddr};

use super::exchange::{Outcome, Owner};
use super::{ExchangeKey, LookupKey, Question, Resolver, Timer, after};
use crate::message::RecordType;
use crate::{
    AddressError, AddressList, AddressQuery, Answer, BadName, Failure, Family, Finished,
    LookupResult, Name, Records,
};

pub(super) struct Lookup {
    purpose: Purpose,
    /// The types of records that are asked for.
    parts: Vec<Part>,
    /// The names to try, and which one it is now. All parts ask for the same one.
    names: Vec<Name>,
    step: usize,
    /// When it ends, whatever has come.
    deadline: Option<u64>,
    /// When it ends with what one part has found.
    skew: Option<u64>,
}

enum Purpose {
    Records,
    Addresses(AddressQuery),
}

struct Part {
    rtype: RecordType,
    state: PartState,
}

enum PartState {
    Idle,
    Asking(ExchangeKey),
    Ended(Outcome),
}

impl Part {
    fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            PartState::Ended(outcome) => Some(outcome),
            PartState::Idle | PartState::Asking(_) => None,
        }
    }

    fn found(&self) -> Option<&Answer> {
        self.outcome()?.as_ref().ok()
    }
}

impl Resolver {
    pub(super) fn start_records(&mut self, question: Question, now: u64) -> LookupKey {
        let names = self.candidates(&question.name, question.search);
        self.start(Purpose::Records, names, &[question.rtype], now)
    }

    pub(super) fn start_addresses(&mut self, query: AddressQuery, now: u64) -> LookupKey {
        let family = if query.configured {
            query.family.among(self.interfaces)
        } else {
            query.family
        };
        let name = match self.known_addresses(&query, family) {
            Ok(name) => name,
            Err(result) => {
                let key = self.insert(Purpose::Addresses(query), Vec::new(), &[], None);
                self.lookups.remove(key);
                self.finished.push_back(Finished {
                    key,
                    result: LookupResult::Addresses(result),
                    ttl: 0,
                });
                return key;
            }
        };
        let is_absolute = query.host.as_ref().is_some_and(|host| host.ends_with(b"."));
        let names = self.candidates(&name, !is_absolute);
        let types: &[_] = match family {
            Family::Ipv4 => &[RecordType::A],
            Family::Ipv6 => &[RecordType::Aaaa],
            Family::Any => &[RecordType::A, RecordType::Aaaa],
        };
        self.start(Purpose::Addresses(query), names, types, now)
    }

    /// The name to ask for; or the result, if it is known without asking.
    fn known_addresses(
        &self,
        query: &AddressQuery,
        family: Family,
    ) -> Result<Name, Result<AddressList, AddressError>> {
        if let Some(answer) = query.answer(family) {
            return Err(answer);
        }
        let host = query.host.as_deref().unwrap_or_default();
        let name = Name::parse(host).map_err(|bad| {
            Err(match bad {
                BadName::LongLabel | BadName::Long => AddressError::TooLong,
                BadName::Empty | BadName::EmptyLabel => AddressError::NoName,
            })
        })?;
        let known = self.hosts.addresses(&name).iter().copied();
        match query.list(family, known) {
            Ok(list) => Err(Ok(list)),
            Err(_) => Ok(name),
        }
    }

    fn start(
        &mut self,
        purpose: Purpose,
        names: Vec<Name>,
        types: &[RecordType],
        now: u64,
    ) -> LookupKey {
        let deadline = self.config.deadline.map(|time| after(now, time));
        let key = self.insert(purpose, names, types, deadline);
        if let Some(at) = deadline {
            self.arm(Timer::Lookup(key), at);
        }
        self.ask(key, now);
        self.advance(key, now);
        key
    }

    fn insert(
        &mut self,
        purpose: Purpose,
        names: Vec<Name>,
        types: &[RecordType],
        deadline: Option<u64>,
    ) -> LookupKey {
        let part = |&rtype| Part {
            rtype,
            state: PartState::Idle,
        };
        self.lookups.insert(Lookup {
            purpose,
            parts: types.iter().map(part).collect(),
            names,
            step: 0,
            deadline,
            skew: None,
        })
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

    /// Asks for all parts of the present name; what is known need not be asked.
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
            let state = match self.cache.find(&name, rtype, now) {
                Some(outcome) => PartState::Ended(outcome),
                None => {
                    let owner = Owner::Lookup(key, index);
                    let exchange = self.new_exchange(owner, name.clone(), rtype);
                    exchanges.push(exchange);
                    PartState::Asking(exchange)
                }
            };
            self.lookups[key].parts[index].state = state;
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
        self.advance(key, now);
    }

    /// Ends the look-up if all is known, or goes on to the next name.
    fn advance(&mut self, key: LookupKey, now: u64) {
        while let Some(lookup) = self.lookups.get_mut(key) {
            let found = lookup.parts.iter().any(|part| part.found().is_some());
            if lookup.parts.iter().any(|part| part.outcome().is_none()) {
                if found && lookup.skew.is_none() {
                    let at = after(now, self.config.allow_skew);
                    lookup.skew = Some(at);
                    self.arm(Timer::Skew(key), at);
                }
                return;
            }
            let in_time = |part: &Part| !matches!(part.outcome(), Some(Err((Failure::Timeout, _))));
            let is_last = lookup.step + 1 >= lookup.names.len();
            if found || is_last || !lookup.parts.iter().all(in_time) {
                return self.end_lookup(key);
            }
            lookup.step += 1;
            self.ask(key, now);
        }
    }

    /// Ends a look-up with what is there.
    pub(super) fn end_lookup(&mut self, key: LookupKey) {
        let Some(mut lookup) = self.take_lookup(key) else {
            return;
        };
        for part in &mut lookup.parts {
            if let PartState::Asking(exchange) = part.state {
                self.drop_exchange(exchange);
                part.state = PartState::Ended(Err((Failure::Timeout, 0)));
            }
        }
        let ttl = lookup.ttl();
        self.finished.push_back(Finished {
            key,
            result: lookup.result(),
            ttl,
        });
    }

    pub(super) fn drop_lookup(&mut self, key: LookupKey) -> bool {
        let Some(lookup) = self.take_lookup(key) else {
            let before = self.finished.len();
            self.finished.retain(|finished| finished.key != key);
            return self.finished.len() != before;
        };
        for part in lookup.parts {
            if let PartState::Asking(exchange) = part.state {
                self.drop_exchange(exchange);
            }
        }
        true
    }

    fn take_lookup(&mut self, key: LookupKey) -> Option<Lookup> {
        let lookup = self.lookups.remove(key)?;
        self.disarm(Timer::Lookup(key), lookup.deadline);
        self.disarm(Timer::Skew(key), lookup.skew);
        Some(lookup)
    }
}

impl Lookup {
    fn ttl(&self) -> u32 {
        let outcomes = self.parts.iter().filter_map(Part::outcome);
        let ttls = outcomes.map(|outcome| match outcome {
            Ok(answer) => answer.ttl,
            Err((_, ttl)) => *ttl,
        });
        ttls.min().unwrap_or(0)
    }

    fn result(self) -> LookupResult {
        match self.purpose {
            Purpose::Records => {
                let outcome = self.parts.first().and_then(Part::outcome).cloned();
                let outcome = outcome.unwrap_or(Err((Failure::Timeout, 0)));
                LookupResult::Records(outcome.map_err(|(failure, _)| failure))
            }
            Purpose::Addresses(query) => {
                let asked = self.names.get(self.step);
                LookupResult::Addresses(join(&query, asked, &self.parts))
            }
        }
    }
}

/// The addresses of all parts, or why there are none.
fn join(
    query: &AddressQuery,
    asked: Option<&Name>,
    parts: &[Part],
) -> Result<AddressList, AddressError> {
    let found: Vec<&Answer> = parts.iter().filter_map(Part::found).collect();
    let Some(first) = found.first() else {
        let failures = parts.iter().filter_map(|part| match part.outcome() {
            Some(Err((failure, _))) => Some(*failure),
            _ => None,
        });
        let failure = failures.reduce(|a, b| if b == Failure::NotExist { b } else { a });
        return Err(match failure {
            Some(Failure::NotExist) | None => AddressError::NoName,
            Some(other) => AddressError::Failed(other),
        });
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for answer in &found {
        let ips: Vec<IpAddr> = match &answer.records {
            Records::Ipv4(list) => list.iter().map(|ip| (*ip).into()).collect(),
            Records::Ipv6(list) => list.iter().map(|ip| (*ip).into()).collect(),
            Records::Names(_) => Vec::new(),
        };
        addresses.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, query.port)));
    }
    Ok(AddressList {
        addresses,
        canonical: (asked != Some(&first.canonical)).then(|| first.canonical.clone()),
    })
}
