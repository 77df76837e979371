//! Name servers: which one is asked, and which are down.
//!
//! A server that has been silent several times in a row is down. It gets no questions while another is up, and is asked
//! something harmless now and then; any answer brings it back. If all are down they are asked all the same: the network
//! may have come back.

use std::net::SocketAddr;
use std::time::Duration;

use super::exchange::Owner;
use super::{Resolver, Timer, after};
use crate::message::RecordType;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerId(u64);

pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) address: SocketAddr,
    /// How many questions it has left without an answer since its last one.
    silent: u32,
    /// Set while it is down.
    down: Option<Down>,
    /// It does not understand EDNS.
    pub(super) plain: bool,
}

struct Down {
    /// How long to wait for the next probe.
    wait: Duration,
    /// When that is; none while one is on its way.
    probe_at: Option<u64>,
}

const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// # Name servers
impl Resolver {
    /// Adds a name server. False if it is there already.
    pub fn add_server(&mut self, address: SocketAddr, now: u64) -> bool {
        if self.servers.iter().any(|server| server.address == address) {
            return false;
        }
        let server = self.new_server(address);
        let place = match self.config.newest_server_second {
            true => self.servers.len().min(1),
            false => self.servers.len(),
        };
        // Whose turn it was keeps it.
        if !self.servers.is_empty() && place <= self.next_server {
            self.next_server += 1;
        }
        self.servers.insert(place, server);
        self.pump(now);
        true
    }

    /// Makes these the name servers, in this order. What is known of those that stay is kept, and what is on its way
    /// goes on. Does nothing while there are none because of [`clear_servers_and_suspend`](Self::clear_servers_and_suspend).
    pub fn set_servers(&mut self, addresses: &[SocketAddr], now: u64) {
        if self.suspended {
            return;
        }
        let mut old = std::mem::take(&mut self.servers);
        for &address in addresses {
            if self.servers.iter().any(|server| server.address == address) {
                continue;
            }
            let server = match old.iter().position(|server| server.address == address) {
                Some(index) => old.swap_remove(index),
                None => self.new_server(address),
            };
            self.servers.push(server);
        }
        for gone in old {
            let at = gone.down.and_then(|down| down.probe_at);
            self.disarm(Timer::Probe(gone.id), at);
        }
        self.next_server = 0;
        self.pump(now);
    }

    fn new_server(&mut self, address: SocketAddr) -> Server {
        self.next_server_id += 1;
        Server {
            id: ServerId(self.next_server_id),
            address,
            silent: 0,
            down: None,
            plain: false,
        }
    }

    /// The name servers, in the order in which they are asked.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = SocketAddr> {
        self.servers.iter().map(|server| server.address)
    }

    /// Removes all name servers; what was asked before waits until [`resume`](Self::resume).
    pub fn clear_servers_and_suspend(&mut self) {
        for server in std::mem::take(&mut self.servers) {
            let at = server.down.and_then(|down| down.probe_at);
            self.disarm(Timer::Probe(server.id), at);
        }
        self.suspended = true;
        self.next_server = 0;
        self.cache.clear();
        self.suspend_exchanges();
    }

    /// Goes on with what waits.
    pub fn resume(&mut self, now: u64) {
        self.suspended = false;
        self.pump(now);
    }

    /// Whether a question can be asked now. Only those that wait already are held up by a suspension.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.config.max_inflight.max(1) && !self.servers.is_empty()
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// The server to ask: one that is up, that has not given a useless answer, that has been silent least often since its
    /// last answer, and whose turn it is. What is wished for last goes first if there is none.
    pub(super) fn pick_server(&mut self, useless: &[ServerId]) -> Option<ServerId> {
        let count = self.servers.len();
        let turn = |index: usize| (index + count - self.next_server) % count;
        let (index, _) = self
            .servers
            .iter()
            .enumerate()
            .min_by_key(|(index, server)| {
                let times = useless.iter().filter(|id| **id == server.id).count();
                (server.down.is_some(), times, server.silent, turn(*index))
            })?;
        self.next_server = (index + 1) % count;
        Some(self.servers[index].id)
    }

    pub(super) fn server(&mut self, id: ServerId) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.id == id)
    }

    /// Whether a server is up that is not in `tried`.
    pub(super) fn has_another(&self, tried: &[ServerId]) -> bool {
        self.servers
            .iter()
            .any(|server| server.down.is_none() && !tried.contains(&server.id))
    }

    /// The server has answered.
    pub(super) fn server_answered(&mut self, id: ServerId) {
        let Some(server) = self.server(id) else {
            return;
        };
        server.silent = 0;
        let at = server.down.take().and_then(|down| down.probe_at);
        self.disarm(Timer::Probe(id), at);
    }

    /// The server has let a question go by.
    pub(super) fn server_was_silent(&mut self, id: ServerId, now: u64) {
        let max = self.config.max_timeouts;
        let Some(server) = self.server(id) else {
            return;
        };
        server.silent = server.silent.saturating_add(1);
        if server.silent >= max {
            self.server_is_down(id, now);
        }
    }

    pub(super) fn server_is_down(&mut self, id: ServerId, now: u64) {
        let wait = self.config.initial_probe;
        let Some(server) = self.server(id) else {
            return;
        };
        if server.down.is_some() {
            return;
        }
        let at = after(now, wait);
        server.down = Some(Down {
            wait,
            probe_at: Some(at),
        });
        self.arm(Timer::Probe(id), at);
    }

    /// It is time to ask a server that is down.
    pub(super) fn probe(&mut self, id: ServerId, now: u64) {
        let name = self.config.probe_name.clone();
        let Some(down) = self.server(id).and_then(|server| server.down.as_mut()) else {
            return;
        };
        down.probe_at = None;
        let key = self.new_exchange(Owner::Probe(id), name, RecordType::A);
        self.launch(key, now);
    }

    /// The probe was not answered.
    pub(super) fn probe_failed(&mut self, id: ServerId, now: u64) {
        let Some(down) = self.server(id).and_then(|server| server.down.as_mut()) else {
            return;
        };
        down.wait = (down.wait * 2).min(LONGEST_WAIT);
        let at = after(now, down.wait);
        down.probe_at = Some(at);
        self.arm(Timer::Probe(id), at);
    }
}
