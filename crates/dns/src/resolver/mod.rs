//! The resolver: what is public, and who reports to whom.
//!
//! * this file: the interface, and the timers;
//! * `lookup`: what a user asks for, with the names that it makes us try;
//! * `exchange`: one name and type asked until there is an answer;
//! * `servers`: which server is asked, and which are down.

mod exchange;
mod lookup;
mod servers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use slotmap::{SlotMap, new_key_type};

use crate::cache::Cache;
use crate::message::RecordType;
use crate::{AddressQuery, BadName, Config, Finished, Hosts, Name, Random};
use exchange::Exchange;
pub(crate) use exchange::Outcome;
use lookup::Lookup;
use servers::{Server, ServerId};

new_key_type! {
    /// A look-up that has not ended yet.
    pub struct LookupKey;
    struct ExchangeKey;
}

/// A socket that the shell opens and closes for the resolver. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey(u64);

/// How a socket carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One message is one datagram.
    Udp,
    /// A stream, in which the length stands before each message.
    Tcp,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send something.
    Send(Transmit),
    /// Close this socket, if it was ever opened.
    Close(SocketKey),
}

/// Bytes to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From this socket. One that has not been named before is to be opened now: on a port that the system chooses
    /// freshly, and connected to `server`.
    pub socket: SocketKey,
    /// What kind of socket it is. A TCP connection is opened with the first transmission, whose bytes go out when it
    /// stands.
    pub protocol: Protocol,
    /// Where it goes.
    pub server: SocketAddr,
    /// Where a new socket is to be bound; the port is not used.
    pub local: Option<SocketAddr>,
    /// The bytes, with everything that the protocol needs.
    pub bytes: Vec<u8>,
}

/// What [`Resolver::look_up`] asks for: a name, and the type of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    name: Name,
    rtype: RecordType,
    search: bool,
}

impl Question {
    /// The IPv4 addresses of a name (type A). The search list is used unless the name ends with a dot.
    ///
    /// # Errors
    /// If the text is no name.
    pub fn ipv4(name: impl AsRef<[u8]>) -> Result<Self, BadName> {
        Self::host(name.as_ref(), RecordType::A)
    }

    /// The IPv6 addresses of a name (type AAAA). The search list is used unless the name ends with a dot.
    ///
    /// # Errors
    /// If the text is no name.
    pub fn ipv6(name: impl AsRef<[u8]>) -> Result<Self, BadName> {
        Self::host(name.as_ref(), RecordType::Aaaa)
    }

    /// The names of an address (type PTR).
    pub fn reverse(address: IpAddr) -> Self {
        Self {
            name: Name::reverse(address),
            rtype: RecordType::Ptr,
            search: false,
        }
    }

    /// The same without the search list (`DNS_QUERY_NO_SEARCH`).
    #[must_use]
    pub fn without_search(self) -> Self {
        Self {
            search: false,
            ..self
        }
    }

    fn host(name: &[u8], rtype: RecordType) -> Result<Self, BadName> {
        Ok(Self {
            name: Name::parse(name)?,
            rtype,
            search: !name.ends_with(b"."),
        })
    }
}

/// Looks names up. See the [crate's documentation](crate) for how a shell drives it.
pub struct Resolver {
    config: Config,
    random: Box<dyn Random>,
    servers: Vec<Server>,
    /// Whose turn it is.
    next_server: usize,
    next_server_id: u64,
    suspended: bool,
    search: VecDeque<Name>,
    hosts: Hosts,
    interfaces: (bool, bool),
    cache: Cache,
    lookups: SlotMap<LookupKey, Lookup>,
    exchanges: SlotMap<ExchangeKey, Exchange>,
    /// Exchanges that wait for room, or for a server.
    waiting: VecDeque<ExchangeKey>,
    in_flight: usize,
    sockets: BTreeMap<SocketKey, ExchangeKey>,
    next_socket: u64,
    timers: BTreeSet<(u64, Timer)>,
    actions: VecDeque<Action>,
    finished: VecDeque<Finished>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Exchange(ExchangeKey),
    Lookup(LookupKey),
    Skew(LookupKey),
    Probe(ServerId),
}

/// # Looking up
impl Resolver {
    /// A resolver without servers.
    pub fn new(config: Config, random: impl Random + 'static) -> Self {
        Self {
            config,
            random: Box::new(random),
            servers: Vec::new(),
            next_server: 0,
            next_server_id: 0,
            suspended: false,
            search: VecDeque::new(),
            hosts: Hosts::default(),
            interfaces: (true, true),
            cache: Cache::default(),
            lookups: SlotMap::with_key(),
            exchanges: SlotMap::with_key(),
            waiting: VecDeque::new(),
            in_flight: 0,
            sockets: BTreeMap::new(),
            next_socket: 0,
            timers: BTreeSet::new(),
            actions: VecDeque::new(),
            finished: VecDeque::new(),
        }
    }

    /// Asks the servers for records. The result comes from [`poll_finished`](Self::poll_finished), at once if it is
    /// known already.
    pub fn look_up(&mut self, question: Question, now: u64) -> LookupKey {
        self.start_records(question, now)
    }

    /// Looks for addresses to connect to, as `getaddrinfo` does: of the host itself if it is an address, from the
    /// [`hosts`](Self::hosts_mut), or from the servers. Both families are asked for the same name of the search list.
    pub fn get_address_info(&mut self, query: AddressQuery, now: u64) -> LookupKey {
        self.start_addresses(query, now)
    }

    /// Forgets a look-up: no result will come of it. False if it has ended already.
    pub fn cancel(&mut self, key: LookupKey, now: u64) -> bool {
        let dropped = self.drop_lookup(key);
        // Its place is free for another.
        self.pump(now);
        dropped
    }

    /// The next look-up that has ended.
    pub fn poll_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// Whether any look-up has not ended yet.
    pub fn is_busy(&self) -> bool {
        !self.lookups.is_empty()
    }
}

/// # What the shell does for it
impl Resolver {
    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some(&(at, timer)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Exchange(key) => self.exchange_timed_out(key, now),
                Timer::Lookup(key) => self.end_lookup(key),
                Timer::Skew(key) => self.end_lookup(key),
                Timer::Probe(id) => self.probe(id, now),
            }
        }
        self.pump(now);
    }

    /// A datagram has come to one of the resolver's sockets. Anything that is not an answer to what was sent from there
    /// is ignored.
    pub fn handle_datagram(&mut self, socket: SocketKey, from: SocketAddr, bytes: &[u8], now: u64) {
        if let Some(&key) = self.sockets.get(&socket) {
            self.exchange_received(key, socket, Some(from), bytes, now);
        }
    }

    /// Bytes have come on one of the resolver's TCP connections.
    pub fn handle_stream(&mut self, socket: SocketKey, bytes: &[u8], now: u64) {
        let Some(&key) = self.sockets.get(&socket) else {
            return;
        };
        if let Some(message) = self.take_frame(key, socket, bytes) {
            self.exchange_received(key, socket, None, &message, now);
        }
    }

    /// A socket could not be opened, sending has failed, or the connection has ended. The shell closes it when it is
    /// told to.
    pub fn handle_failure(&mut self, socket: SocketKey, now: u64) {
        if let Some(&key) = self.sockets.get(&socket) {
            self.exchange_failed(key, socket, now);
        }
    }
}

/// # Settings
impl Resolver {
    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Changes the settings; questions that are on their way keep theirs.
    pub fn set_config(&mut self, config: Config, now: u64) {
        self.config = config;
        self.pump(now);
    }

    /// The domains that are appended to names, in the order in which they are tried.
    pub fn search_list(&self) -> impl Iterator<Item = &Name> {
        self.search.iter()
    }

    /// Adds a domain to the search list: behind the others, or in front of them, as libevent does.
    pub fn add_search_domain(&mut self, domain: Name, in_front: bool) {
        if in_front {
            self.search.push_front(domain);
        } else {
            self.search.push_back(domain);
        }
    }

    /// The table of hosts, which [`get_address_info`](Self::get_address_info) looks into first.
    pub fn hosts_mut(&mut self) -> &mut Hosts {
        &mut self.hosts
    }

    /// Whether this machine has addresses of each family, for [`AddressQuery::configured`].
    pub fn set_interfaces(&mut self, ipv4: bool, ipv6: bool) {
        self.interfaces = (ipv4, ipv6);
    }

    /// Forgets the answers that were kept.
    pub fn clear_cache(&mut self) {
        self.cache.clear();
    }

    /// Empties the search list.
    pub fn clear_search_list(&mut self) {
        self.search.clear();
    }
}

impl Resolver {
    fn arm(&mut self, timer: Timer, at: u64) {
        self.timers.insert((at, timer));
    }

    fn disarm(&mut self, timer: Timer, at: Option<u64>) {
        if let Some(at) = at {
            self.timers.remove(&(at, timer));
        }
    }

    fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }
}

/// `now` and so much more, in nanoseconds.
fn after(now: u64, time: std::time::Duration) -> u64 {
    now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
