//! What a resolver's state machine asks for: sockets, time, and telling who waits.

use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ferrevent_dns::{Action, Protocol, SocketKey, Transmit};

use super::Resolver;
use crate::base::Base;
use crate::bufferevent::{BufferEvent, Callbacks, Condition};
use crate::event::Event;
use crate::{Dirs, What};

/// The most that a datagram can hold.
const LONGEST: usize = 65_535;

/// Datagrams that are taken at a time.
const BATCH: usize = 8;

/// A socket of a question.
pub(super) enum Socket {
    Datagrams {
        socket: UdpSocket,
        readable: Event,
    },
    Stream(BufferEvent),
    /// Could not be opened, or has ended.
    Broken,
}

impl Socket {
    fn readable(&self) -> Option<Event> {
        match self {
            Self::Datagrams { readable, .. } => Some(*readable),
            _ => None,
        }
    }

    pub(super) fn close(self, base: &mut Base) {
        match self {
            Self::Datagrams { readable, socket } => {
                readable.free(base);
                drop(socket);
            }
            Self::Stream(bev) => {
                bev.free(base);
            }
            Self::Broken => {}
        }
    }
}

impl Resolver {
    /// Does what the state machine asks for, and sees to it that the loop goes on with it as long as anybody waits.
    pub(super) fn drive(self, base: &mut Base) {
        while let Some(slot) = base.resolvers.get_mut(self) {
            match slot.machine.poll_action() {
                Some(Action::Send(transmit)) => self.send(base, transmit),
                Some(Action::Close(key)) => {
                    if let Some(socket) = slot.sockets.remove(&key) {
                        socket.close(base);
                    }
                }
                None => break,
            }
        }
        let Some(slot) = base.resolvers.get_mut(self) else {
            return;
        };
        while let Some(finished) = slot.machine.poll_finished() {
            slot.finished.push_back(finished);
        }
        if !slot.finished.is_empty() && !slot.telling {
            slot.telling = true;
            base.defer(move |base| self.tell(base));
        }
        self.set_timer(base);
    }

    /// Who has nothing to wait for does not keep the loop running; questions of the resolver's own wait until somebody
    /// asks again.
    fn set_timer(self, base: &mut Base) {
        let now = base.driver.now();
        let Some(slot) = base.resolvers.get_mut(self) else {
            return;
        };
        let timer = slot.timer;
        let idle = !slot.machine.is_busy();
        let next = slot.machine.next_timeout().filter(|_| !idle);
        if std::mem::replace(&mut slot.idle, idle) != idle {
            let sockets = slot.sockets.values();
            let readable: Vec<Event> = sockets.filter_map(Socket::readable).collect();
            for readable in readable {
                if idle {
                    readable.del(base);
                } else {
                    // It was added before. If the kernel refuses now, time will tell.
                    let _ = readable.add(base, None);
                }
            }
        }
        match next {
            Some(next) => {
                let delay = Duration::from_nanos(next.saturating_sub(now));
                // A timer cannot be refused.
                let _ = timer.add(base, Some(delay));
            }
            None => {
                timer.del(base);
            }
        }
    }

    pub(super) fn time_has_passed(self, base: &mut Base) {
        let now = base.driver.now();
        if let Some(slot) = base.resolvers.get_mut(self) {
            slot.machine.handle_timeout(now);
            self.drive(base);
        }
    }

    /// Tells those whose look-ups have ended. Each of them may do anything, free the resolver too.
    fn tell(self, base: &mut Base) {
        if let Some(slot) = base.resolvers.get_mut(self) {
            slot.telling = false;
        }
        while let Some(slot) = base.resolvers.get_mut(self) {
            let Some(finished) = slot.finished.pop_front() else {
                break;
            };
            // Not there if it was cancelled meanwhile.
            if let Some(told) = slot.waiting.remove(&finished.key) {
                told(base, Some(finished.result));
            }
        }
    }

    fn send(self, base: &mut Base, transmit: Transmit) {
        let key = transmit.socket;
        let sent = match transmit.protocol {
            Protocol::Udp => self.send_datagram(base, transmit).map_err(Into::into),
            Protocol::Tcp => self.send_stream(base, transmit),
        };
        if sent.is_err() {
            self.failed(base, key);
        }
    }

    fn failed(self, base: &mut Base, key: SocketKey) {
        let now = base.driver.now();
        if let Some(slot) = base.resolvers.get_mut(self) {
            slot.sockets.entry(key).or_insert(Socket::Broken);
            slot.machine.handle_failure(key, now);
        }
    }

    fn send_datagram(self, base: &mut Base, transmit: Transmit) -> io::Result<()> {
        let Some(slot) = base.resolvers.get_mut(self) else {
            return Ok(());
        };
        if let Entry::Vacant(_) = slot.sockets.entry(transmit.socket) {
            let socket = open(&transmit)?;
            let key = transmit.socket;
            let what = What::READ | What::PERSIST;
            let readable = Event::new(base, &socket, what, move |base, _, _| {
                self.receive(base, key);
            });
            let added = readable.add(base, None);
            let socket = Socket::Datagrams { socket, readable };
            if let Some(slot) = base.resolvers.get_mut(self) {
                slot.sockets.insert(key, socket);
            }
            added?;
        }
        match base.resolvers[self].sockets.get(&transmit.socket) {
            Some(Socket::Datagrams { socket, .. }) => match socket.send(&transmit.bytes) {
                // As if it had been lost on the way.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                sent => sent.map(|_| ()),
            },
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn receive(self, base: &mut Base, key: SocketKey) {
        let mut bytes = vec![0; LONGEST];
        for _ in 0..BATCH {
            let now = base.driver.now();
            let Some(slot) = base.resolvers.get_mut(self) else {
                return;
            };
            let Some(Socket::Datagrams { socket, .. }) = slot.sockets.get(&key) else {
                return;
            };
            match socket.recv_from(&mut bytes) {
                Ok((len, from)) => slot.machine.handle_datagram(key, from, &bytes[..len], now),
                Err(error) => {
                    match error.kind() {
                        io::ErrorKind::WouldBlock => {}
                        io::ErrorKind::Interrupted => continue,
                        // The server's port is closed, or there is no way to it.
                        _ => slot.machine.handle_failure(key, now),
                    }
                    break;
                }
            }
        }
        self.drive(base);
    }

    fn send_stream(self, base: &mut Base, transmit: Transmit) -> crate::Result<()> {
        let Some(slot) = base.resolvers.get_mut(self) else {
            return Ok(());
        };
        let key = transmit.socket;
        let known = slot.sockets.get(&key).map(|socket| match socket {
            Socket::Stream(bev) => Some(*bev),
            _ => None,
        });
        let bev = match known {
            Some(Some(bev)) => bev,
            Some(None) => return Err(io::Error::from(io::ErrorKind::NotConnected).into()),
            None => {
                let bev = BufferEvent::unconnected(base);
                if let Some(slot) = base.resolvers.get_mut(self) {
                    slot.sockets.insert(key, Socket::Stream(bev));
                }
                let calls = Callbacks::new()
                    .read(move |base, bev| self.receive_stream(base, key, bev))
                    .event(move |base, bev, condition| {
                        if !matches!(condition, Condition::Connected) {
                            self.receive_stream(base, key, bev);
                            self.failed(base, key);
                            self.drive(base);
                        }
                    });
                bev.set_handler(base, calls);
                bev.enable(base, Dirs::READ)?;
                bev.connect(base, transmit.server)?;
                bev
            }
        };
        bev.write(base, transmit.bytes)
    }

    fn receive_stream(self, base: &mut Base, key: SocketKey, bev: BufferEvent) {
        let mut bytes = vec![0; bev.input(base).map_or(0, |input| input.len())];
        let len = bev.read(base, &mut bytes);
        let now = base.driver.now();
        if let Some(slot) = base.resolvers.get_mut(self) {
            slot.machine.handle_stream(key, &bytes[..len], now);
            self.drive(base);
        }
    }
}

/// A socket of its own for a question, on a port that the system chooses.
fn open(transmit: &Transmit) -> io::Result<UdpSocket> {
    let any: IpAddr = match transmit.server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = transmit.local.map_or(any, |local| local.ip());
    let socket = UdpSocket::bind((local, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(transmit.server)?;
    Ok(socket)
}
