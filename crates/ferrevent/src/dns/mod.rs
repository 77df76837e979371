//! Host names: a resolver that lives in the loop and blocks nobody (libevent's evdns).
//!
//! ```
//! use ferrevent::Base;
//! use ferrevent::dns::Resolver;
//!
//! # fn main() -> ferrevent::Result<()> {
//! let mut base = Base::new()?;
//! let resolver = Resolver::builder().hosts("192.0.2.1 www.example\n").build(&mut base)?;
//! resolver.addresses(&mut base, "www.example", 80, |_, found| match found {
//!     Ok(list) => println!("{:?}", list.addresses),
//!     Err(error) => println!("{error}"),
//! })?;
//! base.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Base::resolver`] is the one that the system's files describe; [`BufferEvent::connect_host`] uses it. The
//! [guide](crate::guide::names) says what it does and how it can be told otherwise.
//!
//! [`BufferEvent::connect_host`]: crate::BufferEvent::connect_host

mod builder;
mod exchange;
mod files;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

pub use ferrevent_dns::{
    AddressError, AddressList, AddressQuery, BadName, Config, Failure, Family, Name,
};
use ferrevent_dns::{Answer, Finished, LookupKey, LookupResult, Question, Records, SocketKey};
use slotmap::new_key_type;

pub use self::builder::ResolverBuilder;
use self::exchange::Socket;
use self::files::Files;
use crate::base::Base;
use crate::error::{Error, Result};
use crate::event::Event;

new_key_type! {
    /// Names a resolver of a [`Base`] (libevent's `struct evdns_base`).
    ///
    /// It asks name servers by UDP, each question from a fresh port, and by TCP what does not fit; keeps answers as long
    /// as they may be kept; goes to another server when one is silent; and ends every look-up, after ten seconds at the
    /// latest unless its [`Config`] says otherwise. While no look-up is under way it keeps no loop from ending.
    pub struct Resolver;
}

/// A look-up that is under way, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    resolver: Resolver,
    key: LookupKey,
}

/// Records that were found; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// What they say.
    pub records: Vec<T>,
    /// For how long they may be kept.
    pub ttl: Duration,
    /// The name that they belong to: the last of the chain of aliases, or the name that was asked for.
    pub canonical: Name,
}

pub(crate) struct ResolverSlot {
    machine: ferrevent_dns::Resolver,
    sockets: HashMap<SocketKey, Socket>,
    timer: Event,
    waiting: HashMap<LookupKey, Told>,
    finished: VecDeque<Finished>,
    /// A task that tells what has finished is queued.
    telling: bool,
    /// Nobody waits for anything.
    idle: bool,
    files: Option<Files>,
}

/// Is told the result; `None`: the resolver was shut down.
type Told = Box<dyn FnOnce(&mut Base, Option<LookupResult>)>;

/// Looking up. Whoever asks is told from the loop, never inside the call, also when the answer is known already.
impl Resolver {
    /// The IPv4 addresses of a name, type A (`evdns_base_resolve_ipv4`). The search list is used unless the name ends
    /// with a dot; the table of hosts is not: that is for [`addresses`](Self::addresses).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Name`].
    pub fn ipv4(
        self,
        base: &mut Base,
        name: impl AsRef<[u8]>,
        told: impl FnOnce(&mut Base, Result<Found<Ipv4Addr>, Failure>) + 'static,
    ) -> Result<Lookup> {
        self.ask(base, Question::ipv4(name)?, told, |records| match records {
            Records::Ipv4(found) => Some(found),
            _ => None,
        })
    }

    /// The IPv6 addresses of a name, type AAAA (`evdns_base_resolve_ipv6`); otherwise as [`ipv4`](Self::ipv4).
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Name`].
    pub fn ipv6(
        self,
        base: &mut Base,
        name: impl AsRef<[u8]>,
        told: impl FnOnce(&mut Base, Result<Found<Ipv6Addr>, Failure>) + 'static,
    ) -> Result<Lookup> {
        self.ask(base, Question::ipv6(name)?, told, |records| match records {
            Records::Ipv6(found) => Some(found),
            _ => None,
        })
    }

    /// The names of an address, type PTR (`evdns_base_resolve_reverse` and `_reverse_ipv6`).
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn names(
        self,
        base: &mut Base,
        address: IpAddr,
        told: impl FnOnce(&mut Base, Result<Found<Name>, Failure>) + 'static,
    ) -> Result<Lookup> {
        self.ask(
            base,
            Question::reverse(address),
            told,
            |records| match records {
                Records::Names(found) => Some(found),
                _ => None,
            },
        )
    }

    /// Addresses of a host to connect to, of both families (`evdns_getaddrinfo`): of itself if it is an address, from
    /// the table of hosts, or from the name servers.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn addresses(
        self,
        base: &mut Base,
        host: impl AsRef<[u8]>,
        port: u16,
        told: impl FnOnce(&mut Base, Result<AddressList, AddressError>) + 'static,
    ) -> Result<Lookup> {
        let query = AddressQuery {
            host: Some(host.as_ref().to_vec()),
            port,
            ..AddressQuery::default()
        };
        self.addresses_for(base, query, told)
    }

    /// As [`addresses`](Self::addresses), with all that can be said about what is wanted.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn addresses_for(
        self,
        base: &mut Base,
        query: AddressQuery,
        told: impl FnOnce(&mut Base, Result<AddressList, AddressError>) + 'static,
    ) -> Result<Lookup> {
        let told = move |base: &mut Base, result| match result {
            Some(LookupResult::Addresses(found)) => told(base, found),
            _ => told(base, Err(AddressError::Failed(Failure::Shutdown))),
        };
        self.start(base, Box::new(told), |machine, now| {
            machine.get_address_info(query, now)
        })
    }

    fn ask<T: 'static>(
        self,
        base: &mut Base,
        question: Question,
        told: impl FnOnce(&mut Base, Result<Found<T>, Failure>) + 'static,
        pick: fn(Records) -> Option<Vec<T>>,
    ) -> Result<Lookup> {
        let told = move |base: &mut Base, result| match result {
            Some(LookupResult::Records(answer)) => {
                told(base, answer.and_then(|answer| found(answer, pick)));
            }
            _ => told(base, Err(Failure::Shutdown)),
        };
        self.start(base, Box::new(told), |machine, now| {
            machine.look_up(question, now)
        })
    }

    fn start(
        self,
        base: &mut Base,
        told: Told,
        begin: impl FnOnce(&mut ferrevent_dns::Resolver, u64) -> LookupKey,
    ) -> Result<Lookup> {
        let now = base.driver.now();
        let slot = base.resolvers.get_mut(self).ok_or(Error::Stale)?;
        if let Some(files) = &mut slot.files {
            files.read_if_changed(&mut slot.machine, now);
        }
        // Its timer stands still while nobody asks.
        slot.machine.handle_timeout(now);
        let key = begin(&mut slot.machine, now);
        slot.waiting.insert(key, told);
        self.drive(base);
        Ok(Lookup {
            resolver: self,
            key,
        })
    }
}

impl Lookup {
    /// Forgets it: nobody is told (`evdns_cancel_request`, which tells). Returns whether it had not ended yet.
    pub fn cancel(self, base: &mut Base) -> bool {
        let now = base.driver.now();
        let Some(slot) = base.resolvers.get_mut(self.resolver) else {
            return false;
        };
        let Some(told) = slot.waiting.remove(&self.key) else {
            return false;
        };
        slot.machine.cancel(self.key, now);
        self.resolver.drive(base);
        drop(told);
        true
    }
}

/// Servers, settings, the end.
impl Resolver {
    /// The resolver that the system's files describe, `/etc/resolv.conf` and `/etc/hosts` (`evdns_base_new` with
    /// `EVDNS_BASE_INITIALIZE_NAMESERVERS`). They are read again when they have changed.
    ///
    /// # Errors
    /// [`Error::NotOnSystem`].
    pub fn new(base: &mut Base) -> Result<Self> {
        Self::builder().system_files().build(base)
    }

    /// Starts to describe a resolver.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::default()
    }

    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.resolvers.contains_key(self)
    }

    /// The name servers, in the order in which they are asked (`evdns_base_get_nameserver_addr`).
    pub fn servers(self, base: &Base) -> Option<Vec<SocketAddr>> {
        Some(base.resolvers.get(self)?.machine.servers().collect())
    }

    /// Adds a name server (`evdns_base_nameserver_sockaddr_add`). Returns whether it is new.
    pub fn add_server(self, base: &mut Base, server: SocketAddr) -> bool {
        self.change(base, |machine, now| machine.add_server(server, now))
            .unwrap_or(false)
    }

    /// Removes all name servers and holds everything that was asked, until [`resume`](Self::resume)
    /// (`evdns_base_clear_nameservers_and_suspend`). Returns whether the resolver exists.
    pub fn clear_servers_and_suspend(self, base: &mut Base) -> bool {
        self.change(base, |machine, _| machine.clear_servers_and_suspend())
            .is_some()
    }

    /// Goes on with what was held (`evdns_base_resume`). Returns whether the resolver exists.
    pub fn resume(self, base: &mut Base) -> bool {
        self.change(base, ferrevent_dns::Resolver::resume).is_some()
    }

    /// Its settings.
    pub fn config(self, base: &Base) -> Option<&Config> {
        Some(base.resolvers.get(self)?.machine.config())
    }

    /// Changes its settings (`evdns_base_set_option`); questions that are under way keep theirs. Returns whether the
    /// resolver exists.
    pub fn set_config(self, base: &mut Base, config: Config) -> bool {
        self.change(base, |machine, now| machine.set_config(config, now))
            .is_some()
    }

    /// Forgets the answers that it has kept. Returns whether the resolver exists.
    pub fn clear_cache(self, base: &mut Base) -> bool {
        self.change(base, |machine, _| machine.clear_cache())
            .is_some()
    }

    /// Frees it; nobody who waits is told (`evdns_base_free`). Returns whether it existed.
    pub fn free(self, base: &mut Base) -> bool {
        let Some(slot) = base.resolvers.remove(self) else {
            return false;
        };
        slot.timer.free(base);
        for socket in slot.sockets.into_values() {
            socket.close(base);
        }
        true
    }

    /// Frees it; whoever waits is told of [`Failure::Shutdown`], from the loop (`evdns_base_free` with `fail_requests`).
    /// Returns whether it existed.
    pub fn shut_down(self, base: &mut Base) -> bool {
        let Some(slot) = base.resolvers.get_mut(self) else {
            return false;
        };
        let mut waiting: Vec<_> = slot.waiting.drain().collect();
        waiting.sort_by_key(|(key, _)| *key);
        self.free(base);
        for (_, told) in waiting {
            base.defer(|base| told(base, None));
        }
        true
    }

    fn change<R>(
        self,
        base: &mut Base,
        change: impl FnOnce(&mut ferrevent_dns::Resolver, u64) -> R,
    ) -> Option<R> {
        let now = base.driver.now();
        let result = change(&mut base.resolvers.get_mut(self)?.machine, now);
        self.drive(base);
        Some(result)
    }
}

impl Base {
    /// The resolver that the system's files describe, made when it is first asked for; see [`Resolver::new`].
    ///
    /// # Errors
    /// [`Error::NotOnSystem`].
    pub fn resolver(&mut self) -> Result<Resolver> {
        if let Some(resolver) = self.default_resolver.filter(|one| one.exists(self)) {
            return Ok(resolver);
        }
        let resolver = Resolver::new(self)?;
        self.default_resolver = Some(resolver);
        Ok(resolver)
    }
}

fn found<T>(answer: Answer, pick: fn(Records) -> Option<Vec<T>>) -> Result<Found<T>, Failure> {
    Ok(Found {
        // The resolver gives the kind of records that was asked for.
        records: pick(answer.records).ok_or(Failure::Unknown)?,
        ttl: Duration::from_secs(answer.ttl.into()),
        canonical: answer.canonical,
    })
}
