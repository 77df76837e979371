//! A user of bufferevents who does anything at any time, and compares what comes of it with the models.

use std::time::Duration;

use ferrevent_core::driver::{Fd, Ready};
use ferrevent_core::{Dirs, EventSpec, Fired, LoopFlags, Options, StreamEvent, Trigger, What};
use ferrevent_sim::{Dial, Random, World};

use crate::due::Due;
use crate::model::{Connecting, Model};
use crate::remote::{self, Shared};
use crate::shell::{Call, Did, Outcome, Shell, User};
use crate::{any_dirs, any_mark};

/// A bufferevent, its model, and the far end of its connection.
pub(crate) struct Stream {
    pub(crate) model: Model,
    pub(crate) remote: Option<Shared>,
    /// Its descriptor belongs to a connection that was told to fail, or never was one.
    pub(crate) dead: bool,
    pub(crate) written: usize,
    pub(crate) sent: usize,
}

pub(crate) struct Tester {
    pub(crate) random: Random,
    pub(crate) streams: Vec<Stream>,
    pub(crate) remotes: Vec<Shared>,
    /// How much callbacks may still do before the next loop: they must not keep each other busy for ever.
    pub(crate) budget: u32,
    /// The user does nothing but read what there is.
    pub(crate) calm: bool,
    fired: bool,
}

impl Tester {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            streams: Vec::new(),
            remotes: Vec::new(),
            budget: 0,
            calm: false,
            fired: false,
        }
    }

    /// Makes a bufferevent, connected or without a descriptor.
    pub(crate) fn add(&mut self, shell: &mut Shell) {
        let mut options = Options::empty();
        options.set(Options::CLOSE_ON_FREE, self.random.chance(50));
        options.set(Options::DEFER_CALLBACKS, self.random.chance(40));
        let fd = match self.random.below(4) {
            0 => -1,
            _ => self.connection(shell, self.streams.len()),
        };
        let id = shell.new_stream(fd, options);
        let remote = (fd >= 0).then(|| self.remotes[self.remotes.len() - 1].clone());
        self.streams.push(Stream {
            model: Model::new(options),
            remote,
            dead: false,
            written: 0,
            sent: 0,
        });
        let dirs = any_dirs(&mut self.random);
        self.enable(shell, id, dirs);
    }

    /// Does anything to any bufferevent.
    pub(crate) fn act(&mut self, shell: &mut Shell) {
        shell.tick();
        let id = self.random.below(self.streams.len() as u64) as usize;
        if self.streams[id].model.freed {
            if self.streams[id].model.references > 0 && self.random.chance(50) {
                self.streams[id].model.references -= 1;
                shell.core.release(shell.key(id));
            } else if self.streams.len() < 6 {
                self.add(shell);
            }
            return;
        }
        let now = shell.core.now();
        let dirs = any_dirs(&mut self.random);
        let key = shell.key(id);
        let model = &mut self.streams[id].model;
        match self.random.below(44) {
            0..8 => {
                let count = self.random.below(12_000) as usize;
                self.write(shell, id, count);
            }
            8..14 => {
                let count = self.random.below(8000) as usize;
                self.take(shell, id, count);
            }
            14..19 => self.enable(shell, id, dirs),
            19..22 => {
                model.disable(dirs);
                shell.core.disable(key, dirs);
            }
            22..26 => {
                let mark = any_mark(&mut self.random);
                model.set_watermark(dirs, mark, now);
                shell.core.set_watermark(key, dirs, mark);
            }
            26..29 => {
                let mut any = || match self.random.below(3) {
                    0 => None,
                    _ => Some(1_000_000 + self.random.below(40_000_000)),
                };
                let (read, write) = (any(), any());
                model.set_timeouts(read, write, now);
                shell.core.set_timeouts(key, read, write);
            }
            29 => {
                let listens = [90; 3].map(|odds| self.random.chance(odds));
                model.set_listening(listens);
                shell.set_listening(id, listens);
            }
            30..32 => self.trigger(shell, id, dirs),
            32 => {
                let max =
                    Some(1 + self.random.below(5000) as usize).filter(|_| self.random.chance(60));
                model.set_max_single(dirs, max);
                shell.core.set_max_single(key, dirs, max);
            }
            33 => {
                let priority = self.random.below(3) as u8;
                shell.core.set_stream_priority(key, priority);
            }
            34 => {
                model.references += 1;
                shell.core.retain(key);
            }
            35 if model.references > 1 => {
                model.references -= 1;
                shell.core.release(key);
            }
            36 if model.connecting == Connecting::No => {
                let looking_up = !model.looking_up;
                model.set_looking_up(looking_up, now);
                shell.core.set_looking_up(key, looking_up);
            }
            37 => self.set_fd(shell, id),
            38 | 39 if !model.looking_up => self.connect(shell, id),
            40 if self.random.chance(50) => self.free(shell, id),
            41 if self.random.chance(20) => shell.core.loop_break(),
            41 => shell.core.loop_continue(),
            _ => {
                if let Some(remote) = &self.streams[id].remote {
                    remote.lock().act(&mut self.random);
                }
            }
        }
        self.compare(shell);
    }

    /// Has the far ends do something during the next loop.
    pub(crate) fn plan(&mut self, world: &World) {
        for _ in 0..self.random.below(8) {
            let Some(index) = self
                .random
                .below(1 + self.remotes.len() as u64)
                .checked_sub(1)
            else {
                continue;
            };
            let remote = self.remotes[index as usize].clone();
            let mut random = Random::new(self.random.bits());
            let delay = Duration::from_nanos(self.random.below(50_000_000));
            world.after(delay, move |_| remote.lock().act(&mut random));
        }
    }

    /// Runs the loop for so long.
    pub(crate) fn run_until(&mut self, shell: &mut Shell, within: u64) {
        shell.tick();
        shell.core.loop_exit(within);
        let began = shell.core.now();
        shell
            .run(self, LoopFlags::empty())
            .expect("it ends in time");
        if shell.core.got_exit() {
            // What happens in a wait may come a little late, and each wait takes a microsecond.
            assert!(
                shell.world.now() <= began + within + 1_000_000,
                "it ends in time"
            );
        }
    }

    /// Waits for anything, a timer at the latest.
    pub(crate) fn run_once(&mut self, shell: &mut Shell, within: u64) {
        shell.tick();
        let began = shell.core.now();
        let timer = EventSpec {
            cookie: 0,
            fd: -1,
            what: What::TIMEOUT,
            priority: 0,
            place: 0,
        };
        let key = shell.core.add_event(None, timer, Some(within), None);
        let key = key
            .expect("a timer cannot fail")
            .key
            .expect("it is pending");
        self.fired = false;
        shell.run(self, LoopFlags::ONCE).expect("it ends in time");
        assert!(
            shell.world.now() <= began + within + 1_000_000,
            "it ends in time"
        );
        if !self.fired {
            shell.core.del_event(key);
        }
    }

    pub(crate) fn enable(&mut self, shell: &mut Shell, id: usize, dirs: Dirs) {
        shell.tick();
        self.streams[id].model.enable(dirs, shell.core.now());
        let key = shell.key(id);
        let enabled = shell.core.enable(key, dirs, Some(&mut *shell.driver));
        enabled.expect("the descriptor can be watched");
    }

    fn write(&mut self, shell: &mut Shell, id: usize, count: usize) {
        shell.tick();
        let stream = &mut self.streams[id];
        let bytes = remote::bytes(written_sequence(id), stream.written, count);
        stream.written += count;
        stream.model.add_output(count, shell.core.now());
        shell.write(id, &bytes);
    }

    pub(crate) fn take(&mut self, shell: &mut Shell, id: usize, count: usize) {
        shell.tick();
        let model = &mut self.streams[id].model;
        let count = count.min(model.input.len());
        let expected = model.take_input(count, shell.core.now());
        assert!(
            shell.take(id, count) == expected,
            "what was read is what was sent"
        );
    }

    fn trigger(&mut self, shell: &mut Shell, id: usize, dirs: Dirs) {
        let mut how = Trigger::empty();
        how.set(Trigger::DEFER, self.random.chance(50));
        how.set(Trigger::IGNORE_WATERMARKS, self.random.chance(50));
        let key = shell.key(id);
        let model = &mut self.streams[id].model;
        let outer = model.nest();
        let callbacks = if self.random.chance(70) {
            model.trigger(dirs, how);
            shell.core.trigger(key, dirs, how)
        } else {
            model.trigger_event(StreamEvent::ERROR, 5, how);
            shell.core.trigger_event(key, StreamEvent::ERROR, 5, how)
        };
        shell.call(self, id, callbacks);
        self.streams[id].model.returned(outer);
    }

    pub(crate) fn free(&mut self, shell: &mut Shell, id: usize) {
        self.streams[id].model.free();
        shell.free(id);
        if !shell.slots[id].options.contains(Options::CLOSE_ON_FREE) {
            // The program closes it at once, and the number is free for another.
            self.close(shell, shell.slots[id].fd);
        }
    }

    fn close(&mut self, shell: &mut Shell, fd: Fd) {
        if fd >= 0 {
            shell.close(fd);
        }
    }

    /// Gives it another descriptor, or none. The old one is closed before or after, so that its number may come again.
    fn set_fd(&mut self, shell: &mut Shell, id: usize) {
        let old = shell.slots[id].fd;
        let first = self.random.chance(50);
        if first {
            self.close(shell, old);
        }
        let fd = match self.random.below(3) {
            0 => -1,
            _ => self.connection(shell, id),
        };
        let stream = &mut self.streams[id];
        stream.remote = (fd >= 0).then(|| self.remotes[self.remotes.len() - 1].clone());
        stream.dead = false;
        stream.model.set_fd(fd >= 0, shell.core.now());
        shell.slots[id].fd = fd;
        let (key, kind) = (shell.key(id), shell.kind(fd));
        let set = shell.core.set_fd(key, fd, kind, Some(&mut *shell.driver));
        set.expect("the descriptor can be watched");
        if !first {
            self.close(shell, old);
        }
    }

    fn connect(&mut self, shell: &mut Shell, id: usize) {
        let old = shell.slots[id].fd;
        let fd = shell.world.socket();
        let dial = match self.random.below(5) {
            0 => Dial::Now,
            1 => Dial::After(Duration::from_nanos(self.random.below(30_000_000))),
            2 => Dial::RefusedNow,
            3 => Dial::RefusedAfter(Duration::from_nanos(self.random.below(30_000_000))),
            _ => Dial::Any,
        };
        let begun = shell.world.connect(fd, dial).expect("a fresh socket");
        let peer = shell.world.peer(fd);
        let remote = peer.map(|peer| self.add_remote(peer, id));
        let stream = &mut self.streams[id];
        stream.remote = remote;
        // Whether the attempt will fail is only known later.
        stream.dead = stream.remote.is_none();
        stream.model.start_connect(begun, shell.core.now());
        shell.slots[id].fd = fd;
        let (key, kind) = (shell.key(id), shell.kind(fd));
        let started = shell
            .core
            .start_connect(key, fd, kind, begun, Some(&mut *shell.driver));
        started.expect("the descriptor can be watched");
        self.close(shell, old);
    }

    /// A new connection for a bufferevent.
    fn connection(&mut self, shell: &mut Shell, id: usize) -> Fd {
        let (fd, peer) = shell.world.pair();
        self.add_remote(peer, id);
        fd
    }

    fn add_remote(&mut self, peer: ferrevent_sim::Peer, id: usize) -> Shared {
        let sent = self.streams.get(id).map_or(0, |stream| stream.sent);
        let sequence = self.remotes.len() as u64;
        let remote = Shared::new(peer, sequence, (written_sequence(id), sent));
        self.remotes.push(remote.clone());
        remote
    }

    /// The core's state is the model's.
    pub(crate) fn compare(&self, shell: &Shell) {
        for (id, stream) in self.streams.iter().enumerate() {
            let Some(core) = shell.core.stream(shell.key(id)) else {
                assert_eq!(stream.model.references, 0, "it is gone before its time");
                continue;
            };
            let model = &stream.model;
            assert!(model.references > 0, "it lives on after its time");
            assert_eq!(core.enabled(), model.enabled, "what is enabled");
            let armed = [Dirs::READ, Dirs::WRITE].map(|dir| core.is_armed(dir));
            assert_eq!(armed, model.armed, "what is pending");
            assert_eq!(shell.slots[id].input.len(), model.input.len());
            assert_eq!(shell.slots[id].output.len(), model.output);
        }
    }

    /// Takes note of what was moved.
    fn account(&mut self, id: usize, did: Did, input: &[u8]) {
        let stream = &mut self.streams[id];
        let Some(remote) = &stream.remote else { return };
        match did {
            Did::Read {
                outcome: Outcome::Bytes(count),
                ..
            } if count > 0 => {
                let expected = remote.lock().next_read(count);
                assert!(input == expected, "what is read is what was sent");
            }
            Did::Write {
                outcome: Outcome::Bytes(count),
                ..
            } => stream.sent += count,
            Did::FinishConnect {
                outcome: Outcome::Failed(_),
            } => stream.dead = true,
            _ => {}
        }
    }
}

impl User for Tester {
    fn waiting(&mut self, shell: &mut Shell, until: Option<u64>) {
        let idle = shell.core.active_len() == 0;
        for stream in &mut self.streams {
            stream.model.waiting(until, shell.core.now(), idle);
        }
        self.compare(shell);
    }

    fn waited(&mut self, shell: &mut Shell, _ready: &[Ready]) {
        let now = shell.driver.now();
        for stream in &mut self.streams {
            stream.model.waited(now);
        }
    }

    fn did(&mut self, shell: &mut Shell, id: usize, did: Did) {
        let input = &shell.slots[id].input;
        let count = match did {
            Did::Read {
                outcome: Outcome::Bytes(count),
                ..
            } => count,
            _ => 0,
        };
        let mut bytes = vec![0; count];
        input.copy_out(input.len() - count, &mut bytes);
        self.account(id, did, &bytes);
        let core = shell.core.stream(shell.key(id));
        let enabled = core.map_or(Dirs::empty(), |core| core.enabled());
        let model = &mut self.streams[id].model;
        model.did(did, &bytes, shell.core.now(), enabled);
    }

    fn called(&mut self, shell: &mut Shell, id: usize, call: Call) {
        self.compare(shell);
        let before = self.streams[id].model.input.len();
        self.streams[id].model.called(call);
        let busy = !self.calm && self.budget > 0;
        if call == Call::Read {
            let count = match self.random.below(4) {
                0 if !self.calm => 0,
                1 if !self.calm => self.random.below(3000) as usize,
                _ => usize::MAX,
            };
            self.take(shell, id, count);
        }
        if busy {
            for _ in 0..self.random.below(3) {
                self.budget = self.budget.saturating_sub(1);
                self.act(shell);
            }
        }
        match call {
            Call::Read => self.streams[id].model.read_returned(before),
            Call::Event(event, _) if event.contains(StreamEvent::CONNECTED) => {
                self.streams[id].model.connected_returned();
            }
            _ => {}
        }
    }

    fn returned(&mut self, shell: &mut Shell, id: usize) {
        self.streams[id].model.returned(Due::NONE);
        self.streams[id].model.connects = false;
        self.compare(shell);
    }

    fn fired(&mut self, _shell: &mut Shell, _fired: Fired<usize>) {
        self.fired = true;
    }

    fn finalized(&mut self, _shell: &mut Shell, id: usize) {
        let model = &self.streams[id].model;
        assert!(
            model.freed && model.references == 0,
            "finalized before its time"
        );
    }
}

fn written_sequence(id: usize) -> u64 {
    1000 + id as u64
}
