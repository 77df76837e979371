//! One name and type, asked until there is an answer or time is up.

use std::net::SocketAddr;

use super::servers::ServerId;
use super::{
    Action, ExchangeKey, LookupKey, Protocol, Resolver, SocketKey, Timer, Transmit, after,
};
use crate::message::{self, RecordType, Reply};
use crate::{Answer, Failure, Frames, Name};

/// Who wants to know.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    /// This part of a look-up.
    Lookup(LookupKey, usize),
    /// Nobody: it shows whether a server is up.
    Probe(ServerId),
}

pub(super) struct Exchange {
    owner: Owner,
    name: Name,
    rtype: RecordType,
    /// Whom it was sent to. Late answers of earlier ones are welcome.
    tries: Vec<Try>,
    /// Whom it was sent to last.
    last: Option<ServerId>,
    /// Servers that have given a useless answer.
    useless: Vec<ServerId>,
    /// How often it has been sent.
    sent: u32,
    /// What it ends with if nobody says anything better.
    failure: Option<Failure>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waiting,
    /// On its way since `begun`; the timer stands at `next`.
    InFlight {
        begun: u64,
        next: u64,
    },
}

struct Try {
    server: ServerId,
    address: SocketAddr,
    socket: SocketKey,
    protocol: Protocol,
    id: u16,
    /// The name, in the case in which it was sent.
    asked: Name,
    edns: bool,
    /// What has come by TCP.
    received: Frames,
}

/// What an exchange ends with; a failure comes with the seconds for which it may be kept.
pub(crate) type Outcome = Result<Answer, (Failure, u32)>;

impl Resolver {
    pub(super) fn new_exchange(
        &mut self,
        owner: Owner,
        name: Name,
        rtype: RecordType,
    ) -> ExchangeKey {
        self.exchanges.insert(Exchange {
            owner,
            name,
            rtype,
            tries: Vec::new(),
            last: None,
            useless: Vec::new(),
            sent: 0,
            failure: None,
            state: State::Waiting,
        })
    }

    /// Sends an exchange if there is room, or puts it into the queue.
    pub(super) fn enqueue(&mut self, key: ExchangeKey, now: u64) {
        let is_its_turn = self.waiting.is_empty() || self.is_suspended();
        if is_its_turn && self.has_room() {
            return self.launch(key, now);
        }
        self.waiting.push_back(key);
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn pump(&mut self, now: u64) {
        while !self.is_suspended() && self.has_room() {
            let Some(key) = self.waiting.pop_front() else {
                return;
            };
            self.launch(key, now);
        }
    }

    pub(super) fn launch(&mut self, key: ExchangeKey, now: u64) {
        let next = now;
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return;
        };
        exchange.state = State::InFlight { begun: now, next };
        self.in_flight += 1;
        self.transmit_and_wait(key, now);
    }

    /// Takes everything back that is on its way: there are no servers any more.
    pub(super) fn suspend_exchanges(&mut self) {
        for key in self.exchanges.keys().collect::<Vec<_>>() {
            let Some(exchange) = self.exchanges.get(key) else {
                continue;
            };
            if exchange.state == State::Waiting {
                continue;
            }
            if let Owner::Probe(_) = exchange.owner {
                self.drop_exchange(key);
                continue;
            }
            self.retire(key);
            self.waiting.push_back(key);
        }
    }

    /// Ends what is on its way of an exchange: sockets, timer, its place.
    fn retire(&mut self, key: ExchangeKey) {
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return;
        };
        let tries = std::mem::take(&mut exchange.tries);
        let state = std::mem::replace(&mut exchange.state, State::Waiting);
        exchange.sent = 0;
        exchange.useless.clear();
        for gone in tries {
            self.close(gone.socket);
        }
        if let State::InFlight { next, .. } = state {
            self.disarm(Timer::Exchange(key), Some(next));
            self.in_flight -= 1;
        }
    }

    pub(super) fn drop_exchange(&mut self, key: ExchangeKey) {
        let exchange = self.exchanges.get(key);
        if exchange.is_some_and(|exchange| exchange.state == State::Waiting) {
            self.waiting.retain(|waiting| *waiting != key);
        }
        self.retire(key);
        self.exchanges.remove(key);
    }

    fn close(&mut self, socket: SocketKey) {
        if self.sockets.remove(&socket).is_some() {
            self.actions.push_back(Action::Close(socket));
        }
    }

    /// Sends to the server whose turn it is, and sets the timer.
    fn transmit_and_wait(&mut self, key: ExchangeKey, now: u64) {
        let server = match self.exchanges.get(key) {
            None => return,
            Some(Exchange {
                owner: Owner::Probe(id),
                ..
            }) => Some(*id),
            Some(exchange) => {
                let useless = exchange.useless.clone();
                self.pick_server(&useless)
            }
        };
        if let Some(server) = server {
            self.transmit(key, server, Protocol::Udp);
        }
        self.wait(key, now);
    }

    /// Sets the timer for the next attempt, or for the end.
    fn wait(&mut self, key: ExchangeKey, now: u64) {
        let interval = self
            .config
            .resend
            .unwrap_or(self.config.timeout)
            .min(self.config.timeout);
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return;
        };
        let State::InFlight { begun, next } = &mut exchange.state else {
            return;
        };
        let attempts = match exchange.owner {
            Owner::Lookup(..) => self.config.attempts.max(1),
            Owner::Probe(_) => 1,
        };
        let end = after(*begun, self.config.timeout.saturating_mul(attempts));
        let old = std::mem::replace(next, after(now, interval).min(end));
        let new = *next;
        self.disarm(Timer::Exchange(key), Some(old));
        self.arm(Timer::Exchange(key), new);
    }

    /// Sends the question. A server that has been asked before is asked the same again, so that a late answer counts.
    fn transmit(&mut self, key: ExchangeKey, server: ServerId, protocol: Protocol) {
        let size = self.config.edns_udp_size;
        let Some((address, plain)) = self.server(server).map(|s| (s.address, s.plain)) else {
            return;
        };
        let edns = (size > 512 && !plain).then_some(size);
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return;
        };
        exchange.sent += 1;
        exchange.last = Some(server);
        let (rtype, name) = (exchange.rtype, exchange.name.clone());
        let same =
            |one: &&Try| (one.server, one.protocol, one.edns) == (server, protocol, edns.is_some());
        let (socket, id, asked) = match exchange.tries.iter().find(same) {
            Some(one) => (one.socket, one.id, one.asked.clone()),
            None => {
                self.next_socket += 1;
                let socket = SocketKey(self.next_socket);
                let id = u16::from_ne_bytes(self.random_bytes());
                let asked = if self.config.randomize_case {
                    name.with_random_case(&self.random_bytes::<32>())
                } else {
                    name
                };
                self.sockets.insert(socket, key);
                self.exchanges[key].tries.push(Try {
                    server,
                    address,
                    socket,
                    protocol,
                    id,
                    asked: asked.clone(),
                    edns: edns.is_some(),
                    received: Frames::default(),
                });
                (socket, id, asked)
            }
        };
        let mut bytes = message::query(id, &asked, rtype, edns);
        if protocol == Protocol::Tcp {
            // A query is far shorter than 64 KiB.
            let len = bytes.len() as u16;
            bytes.splice(..0, len.to_be_bytes());
        }
        self.actions.push_back(Action::Send(Transmit {
            socket,
            protocol,
            server: address,
            local: self.config.bind_to,
            bytes,
        }));
    }

    /// Nobody has answered for a while.
    pub(super) fn exchange_timed_out(&mut self, key: ExchangeKey, now: u64) {
        let Some(exchange) = self.exchanges.get(key) else {
            return;
        };
        let State::InFlight { begun, .. } = exchange.state else {
            return;
        };
        let (owner, sent, failure) = (exchange.owner, exchange.sent, exchange.failure);
        let asked_last = exchange.last;
        if let (Owner::Lookup(..), Some(server)) = (owner, asked_last) {
            self.server_was_silent(server, now);
        }
        let attempts = self.config.attempts.max(1);
        let is_over = now >= after(begun, self.config.timeout.saturating_mul(attempts));
        if matches!(owner, Owner::Lookup(..)) && !is_over {
            if failure == Some(Failure::Truncated) {
                // The connection that asks for the whole answer has time until the end.
                return self.wait(key, now);
            }
            if self.config.resend.is_some() || sent < attempts {
                return self.transmit_and_wait(key, now);
            }
        }
        let failure = failure.unwrap_or(Failure::Timeout);
        self.exchange_ended(key, Err((failure, 0)), now);
    }

    /// The socket is of no use.
    pub(super) fn exchange_failed(&mut self, key: ExchangeKey, socket: SocketKey, now: u64) {
        self.close(socket);
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return;
        };
        let Some(index) = exchange.tries.iter().position(|one| one.socket == socket) else {
            return;
        };
        let gone = exchange.tries.remove(index);
        let owner = exchange.owner;
        if gone.protocol == Protocol::Tcp {
            return self.exchange_ended(key, Err((Failure::Truncated, 0)), now);
        }
        exchange.useless.push(gone.server);
        let useless = exchange.useless.clone();
        match owner {
            // The next probe comes in time.
            Owner::Probe(_) => {}
            Owner::Lookup(..) => {
                self.server_is_down(gone.server, now);
                if self.has_another(&useless) {
                    self.transmit_and_wait(key, now);
                }
            }
        }
    }

    /// Adds to what has come by TCP; gives the message when it is whole.
    pub(super) fn take_frame(
        &mut self,
        key: ExchangeKey,
        socket: SocketKey,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let exchange = self.exchanges.get_mut(key)?;
        let one = exchange.tries.iter_mut().find(|one| one.socket == socket)?;
        // One message is all that is waited for.
        let room = (2 + message::MAX_MESSAGE).saturating_sub(one.received.len());
        one.received.push(&bytes[..bytes.len().min(room)]);
        one.received.pop()
    }

    /// A message has come. It counts if it answers what was asked there.
    pub(super) fn exchange_received(
        &mut self,
        key: ExchangeKey,
        socket: SocketKey,
        from: Option<SocketAddr>,
        bytes: &[u8],
        now: u64,
    ) {
        let exact = self.config.randomize_case;
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return;
        };
        let rtype = exchange.rtype;
        let Some(one) = exchange.tries.iter().find(|one| one.socket == socket) else {
            return;
        };
        if from.is_some_and(|from| !is_same_host(from, one.address)) {
            return;
        }
        let Some(reply) = Reply::parse(bytes) else {
            return;
        };
        if reply.id() != one.id || !reply.is_about(&one.asked, rtype, exact) {
            return;
        }
        let (server, protocol, edns) = (one.server, one.protocol, one.edns);
        if reply.is_failure() {
            return self.server_failed(key, socket, now);
        }
        self.server_answered(server);
        if reply.is_truncated() && protocol == Protocol::Udp {
            let exchange = &mut self.exchanges[key];
            if exchange.failure != Some(Failure::Truncated) {
                exchange.failure = Some(Failure::Truncated);
                self.transmit(key, server, Protocol::Tcp);
            }
            return;
        }
        let outcome = match reply.result(rtype) {
            // Cut off on a stream, too: nobody can say what is missing.
            Err((Failure::NoData, _)) if reply.is_truncated() => Err((Failure::Truncated, 0)),
            outcome => outcome,
        };
        let Err((failure, _)) = outcome else {
            return self.exchange_ended(key, outcome, now);
        };
        if failure == Failure::Format && edns {
            // An old server: it is asked again in the old way.
            if let Some(server) = self.server(server) {
                server.plain = true;
            }
            self.transmit(key, server, protocol);
            return;
        }
        let exchange = &mut self.exchanges[key];
        let refuses = matches!(failure, Failure::NotImplemented | Failure::Refused);
        if refuses && matches!(exchange.owner, Owner::Lookup(..)) {
            exchange.useless.push(server);
            exchange.failure = Some(failure);
            exchange.tries.retain(|one| one.socket != socket);
            let useless = exchange.useless.clone();
            self.close(socket);
            // Others are asked first from now on, until the server answers again.
            self.server_is_down(server, now);
            if self.has_another(&useless) {
                return self.transmit_and_wait(key, now);
            }
        }
        self.exchange_ended(key, outcome, now);
    }

    /// A server says that it has failed: another one is asked, or the same again.
    fn server_failed(&mut self, key: ExchangeKey, socket: SocketKey, now: u64) {
        let silence = self.config.failure_is_silence;
        let attempts = self.config.attempts.max(1);
        let Some(exchange) = self.exchanges.get_mut(key) else {
            return;
        };
        if let Owner::Probe(_) = exchange.owner {
            // Down it stays: what it says to the probe, it would say to others.
            return self.exchange_ended(key, Err((Failure::ServerFailed, 0)), now);
        }
        let Some(index) = exchange.tries.iter().position(|one| one.socket == socket) else {
            return;
        };
        let server = exchange.tries.remove(index).server;
        exchange.useless.push(server);
        let (sent, useless) = (exchange.sent, exchange.useless.clone());
        let failure = if silence {
            Failure::Timeout
        } else {
            Failure::ServerFailed
        };
        exchange.failure = Some(failure);
        self.close(socket);
        if silence {
            self.server_was_silent(server, now);
        }
        if (silence && sent < attempts) || (!silence && self.has_another(&useless)) {
            return self.transmit_and_wait(key, now);
        }
        self.exchange_ended(key, Err((failure, 0)), now);
    }

    fn exchange_ended(&mut self, key: ExchangeKey, outcome: Outcome, now: u64) {
        let Some(exchange) = self.exchanges.get(key) else {
            return;
        };
        let (owner, rtype) = (exchange.owner, exchange.rtype);
        let size = self.config.cache;
        self.cache.keep(&exchange.name, rtype, &outcome, size, now);
        self.drop_exchange(key);
        match owner {
            Owner::Lookup(lookup, part) => self.part_ended(lookup, part, outcome, now),
            Owner::Probe(id) => {
                // An answer has brought the server back already.
                if outcome == Err((Failure::Timeout, 0)) {
                    self.probe_failed(id, now);
                }
            }
        }
        self.pump(now);
    }
}

/// The same address and port; the scope and flow of IPv6 are the kernel's.
fn is_same_host(a: SocketAddr, b: SocketAddr) -> bool {
    (a.ip(), a.port()) == (b.ip(), b.port())
}
