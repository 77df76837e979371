//! The smallest shell that runs a core on a simulated world: it owns the buffers, does what the steps say, and tells a
//! [`User`] everything, so that a model can follow.
// Each test file uses its own part of it.
#![allow(dead_code)]

use std::io;
use std::time::Duration;

use ferrevent_core::buffer::Buffer;
use ferrevent_core::driver::{Driver, Fd, Features, Interest, Kind, Ready, Token, Transport};
use ferrevent_core::{
    BLOCK, Callbacks, Clock, Core, Fired, Host, Io, LoopEnd, LoopFlags, Options, Place, Places,
    Step, StreamEvent, StreamKey, timeout_until,
};
use ferrevent_sim::{SimDriver, SimTransport, World};

/// Numbers for everything.
#[derive(Debug)]
pub(crate) struct Ids;

impl Host for Ids {
    type Event = usize;
    type Stream = usize;
    type Task = usize;
    type Block = ();
    type Slots = Memory<ferrevent_core::Slot>;
    type Clocks = Memory<Clock>;

    fn event_in(slots: &Memory<ferrevent_core::Slot>, event: u32) -> Option<usize> {
        slots.position(event)
    }
}

/// Memory for events, which are known by their numbers in it.
#[derive(Debug)]
pub(crate) struct Memory<T>(Vec<T>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Memory<T> {
    fn position(&self, event: u32) -> Option<usize> {
        let place = Place::from_number(event)?;
        let position = (place.block() * BLOCK + place.position()) as usize;
        (position < self.0.len()).then_some(position)
    }
}

impl<T: Default + std::fmt::Debug> Places<T> for Memory<T> {
    type Block = ();

    fn put(&mut self, number: u32, block: Option<()>) {
        assert!(block.is_some() && number == self.blocks(), "it only grows");
        let len = self.0.len() + BLOCK as usize;
        self.0.resize_with(len, T::default);
    }

    fn get(&self, event: u32) -> Option<&T> {
        self.position(event).map(|position| &self.0[position])
    }

    fn get_mut(&mut self, event: u32) -> Option<&mut T> {
        self.position(event).map(|position| &mut self.0[position])
    }

    fn blocks(&self) -> u32 {
        self.0.len() as u32 / BLOCK
    }
}

/// What a transfer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many bytes; 0 is the end of the stream.
    Bytes(usize),
    /// It would block, or was interrupted.
    Nothing,
    /// An error, with the system's number.
    Failed(i32),
}

impl Outcome {
    fn of(result: io::Result<usize>) -> Self {
        match result {
            Ok(bytes) => Self::Bytes(bytes),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Self::Nothing,
                _ => Self::Failed(error.raw_os_error().unwrap_or(-1)),
            },
        }
    }
}

/// What the shell has done for a bufferevent, before the core is told of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Read {
        limit: usize,
        outcome: Outcome,
    },
    Write {
        limit: usize,
        outcome: Outcome,
    },
    FinishConnect {
        outcome: Outcome,
    },
    /// Nothing but what the core says.
    Call,
    CallDeferred,
}

/// A callback of a bufferevent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Event(StreamEvent, i32),
}

/// The callbacks, and what only a test wants to know.
pub(crate) trait User {
    /// The loop is about to wait, until then at most.
    fn waiting(&mut self, _shell: &mut Shell, _until: Option<u64>) {}
    /// The wait is over.
    fn waited(&mut self, _shell: &mut Shell, _ready: &[Ready]) {}
    fn did(&mut self, _shell: &mut Shell, _stream: usize, _did: Did) {}
    fn called(&mut self, _shell: &mut Shell, _stream: usize, _call: Call) {}
    /// All callbacks of one piece of work have returned.
    fn returned(&mut self, _shell: &mut Shell, _stream: usize) {}
    fn fired(&mut self, _shell: &mut Shell, _fired: Fired<usize>) {}
    fn task(&mut self, _shell: &mut Shell, _task: usize) {}
    fn finalized(&mut self, _shell: &mut Shell, _stream: usize) {}
    /// A registration failed.
    fn refused(&mut self, _shell: &mut Shell, fd: Fd, error: io::Error) {
        panic!("descriptor {fd} cannot be watched: {error}");
    }
}

pub(crate) struct Slot {
    pub(crate) key: StreamKey,
    pub(crate) fd: Fd,
    pub(crate) options: Options,
    pub(crate) input: Buffer,
    pub(crate) output: Buffer,
    /// Which callbacks are set: read, write, event.
    pub(crate) listens: [bool; 3],
    pub(crate) finalized: bool,
}

pub(crate) struct Shell {
    pub(crate) world: World,
    pub(crate) core: Core<Ids>,
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) transport: SimTransport,
    pub(crate) slots: Vec<Slot>,
    /// Steps that one loop may take: each test knows what is too many.
    pub(crate) patience: usize,
}

impl Shell {
    /// `edge`: the driver has edge-triggered registrations.
    pub(crate) fn new(world: &World, edge: bool) -> Self {
        let driver: Box<dyn Driver> = if edge {
            Box::new(world.driver())
        } else {
            Box::new(Levels(world.driver()))
        };
        Self {
            world: world.clone(),
            core: Core::new(driver.features()),
            driver,
            transport: world.transport(),
            slots: Vec::new(),
            patience: 200_000,
        }
    }

    /// Has the core know the time, as a shell does before calls from outside the loop.
    pub(crate) fn tick(&mut self) {
        if !self.core.has_pass_time() {
            self.core.set_now(self.driver.now());
        }
    }

    /// Makes a bufferevent with all callbacks set.
    pub(crate) fn new_stream(&mut self, fd: Fd, options: Options) -> usize {
        let id = self.slots.len();
        let kind = self.transport.kind(fd);
        let key = self.core.new_stream(id, fd, kind, options);
        let key = key.expect("these options go together");
        self.core.set_listening(key, true, true, true);
        self.slots.push(Slot {
            key,
            fd,
            options,
            input: Buffer::new(),
            output: Buffer::new(),
            listens: [true; 3],
            finalized: false,
        });
        id
    }

    pub(crate) fn key(&self, stream: usize) -> StreamKey {
        self.slots[stream].key
    }

    pub(crate) fn kind(&self, fd: Fd) -> Kind {
        self.transport.kind(fd)
    }

    /// Closes a descriptor as a program does that has nothing to do with the shell.
    pub(crate) fn close(&mut self, fd: Fd) {
        self.transport.close(fd);
    }

    pub(crate) fn set_listening(&mut self, stream: usize, listens: [bool; 3]) {
        let slot = &mut self.slots[stream];
        slot.listens = listens;
        let [read, write, event] = listens;
        self.core.set_listening(slot.key, read, write, event);
    }

    /// Appends to the output.
    pub(crate) fn write(&mut self, stream: usize, bytes: &[u8]) {
        self.tick();
        let slot = &mut self.slots[stream];
        slot.output.append(bytes).expect("there is memory");
        let len = slot.output.len();
        self.core.output_changed(slot.key, len, bytes.len());
    }

    /// Takes from the input.
    pub(crate) fn take(&mut self, stream: usize, count: usize) -> Vec<u8> {
        self.tick();
        let slot = &mut self.slots[stream];
        let mut bytes = vec![0; count.min(slot.input.len())];
        slot.input.remove(&mut bytes).expect("nothing is frozen");
        let len = slot.input.len();
        self.core.input_changed(slot.key, len);
        bytes
    }

    /// Frees a bufferevent.
    pub(crate) fn free(&mut self, stream: usize) {
        let slot = &mut self.slots[stream];
        slot.listens = [false; 3];
        self.core.free_stream(slot.key);
    }

    /// Runs the loop to its end.
    pub(crate) fn run(&mut self, user: &mut dyn User, flags: LoopFlags) -> io::Result<LoopEnd> {
        self.tick();
        assert!(self.core.begin_loop(flags), "one loop at a time");
        for _ in 0..self.patience {
            match self.core.step() {
                Step::Wait { until } => {
                    if let Err(error) = self.wait(user, until) {
                        self.core.abort_loop();
                        return Err(error);
                    }
                }
                Step::Event(fired) => user.fired(self, fired),
                Step::Stream(work) => {
                    let stream = work.cookie;
                    assert_eq!(work.key, self.key(stream), "key and cookie belong together");
                    self.work(user, stream, work.io);
                    user.returned(self, stream);
                }
                Step::Task(task) => user.task(self, task),
                Step::Finalize(stream) => self.finalize(user, stream),
                Step::Done(end) => return Ok(end),
            }
        }
        panic!("the loop does not come to an end");
    }

    /// Runs callbacks, as far as they are set when their turn comes.
    pub(crate) fn call(&mut self, user: &mut dyn User, stream: usize, callbacks: Callbacks) {
        let key = self.key(stream);
        if callbacks.read && self.slots[stream].listens[0] {
            let before = self.slots[stream].input.len();
            user.called(self, stream, Call::Read);
            self.core.read_callback_done(key, before);
        }
        if callbacks.write && self.slots[stream].listens[1] {
            user.called(self, stream, Call::Write);
        }
        if !callbacks.event.is_empty() && self.slots[stream].listens[2] {
            user.called(self, stream, Call::Event(callbacks.event, callbacks.error));
            if callbacks.event.contains(StreamEvent::CONNECTED) {
                self.core.connected_callback_done(key);
            }
        }
    }

    fn wait(&mut self, user: &mut dyn User, until: Option<u64>) -> io::Result<()> {
        user.waiting(self, until);
        let mut failed = Vec::new();
        self.core
            .sync(&mut *self.driver, |error| failed.push(error));
        for error in failed {
            user.refused(self, error.fd, error.error);
        }
        let mut ready = Vec::new();
        let timeout = timeout_until(until, || self.driver.now());
        self.driver.wait(timeout, &mut ready)?;
        self.core.handle_ready(&ready);
        user.waited(self, &ready);
        let now = self.driver.now();
        self.core.wait_done(Some(now));
        Ok(())
    }

    fn work(&mut self, user: &mut dyn User, stream: usize, io: Io) {
        let key = self.key(stream);
        let slot = &mut self.slots[stream];
        let callbacks = match io {
            Io::Read { fd, kind, limit } => {
                let result = self.transport.read(fd, kind, &mut slot.input, limit);
                let outcome = Outcome::of(as_count(&result, |received| received.bytes));
                user.did(self, stream, Did::Read { limit, outcome });
                let len = self.slots[stream].input.len();
                self.core.handle_read(key, result, len)
            }
            Io::Write { fd, kind, limit } => {
                let result = self.transport.write(fd, kind, &mut slot.output, limit);
                let outcome = Outcome::of(as_count(&result, |sent| sent.bytes));
                user.did(self, stream, Did::Write { limit, outcome });
                let len = self.slots[stream].output.len();
                self.core.handle_written(key, result, len)
            }
            Io::FinishConnect { fd } => {
                let result = self.transport.take_error(fd);
                let outcome = Outcome::of(as_count(&result, |()| 0));
                user.did(self, stream, Did::FinishConnect { outcome });
                self.core.handle_connected(key, result)
            }
            Io::Process { .. }
            | Io::Below { .. }
            | Io::Announce(_)
            | Io::Move { .. }
            | Io::Shutdown { .. }
            | Io::Pipe => {
                panic!("nobody makes stages and pairs here")
            }
            Io::Dial | Io::FinishAttempt { .. } => unreachable!("nothing dials here"),
            Io::Handshake { .. } | Io::EndSession { .. } => {
                unreachable!("nothing is secured")
            }
            Io::Call(callbacks) => {
                user.did(self, stream, Did::Call);
                callbacks
            }
            Io::CallDeferred => {
                user.did(self, stream, Did::CallDeferred);
                while let Some(callbacks) = self.core.next_deferred(key) {
                    let [read, write, event] = self.slots[stream].listens;
                    let heard = (read || !callbacks.read)
                        && (write || !callbacks.write)
                        && (event || callbacks.event.is_empty());
                    assert!(heard, "deferred for a callback that is not set");
                    self.call(user, stream, callbacks);
                }
                return;
            }
        };
        self.call(user, stream, callbacks);
    }

    fn finalize(&mut self, user: &mut dyn User, stream: usize) {
        let slot = &mut self.slots[stream];
        assert!(!slot.finalized, "finalized once");
        slot.finalized = true;
        let fd = slot.fd;
        if fd >= 0 && slot.options.contains(Options::CLOSE_ON_FREE) {
            self.core.closing_fd(fd, Some(&mut *self.driver));
            self.transport.close(fd);
        }
        user.finalized(self, stream);
    }
}

/// A copy of a result, with the system's number of its error.
fn as_count<T>(result: &io::Result<T>, count: impl FnOnce(&T) -> usize) -> io::Result<usize> {
    match result {
        Ok(value) => Ok(count(value)),
        Err(error) => Err(match error.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => error.kind().into(),
        }),
    }
}

/// A driver that knows nothing of edges, as poll does.
#[derive(Debug)]
pub(crate) struct Levels(SimDriver);

impl Driver for Levels {
    fn name(&self) -> &'static str {
        "levels"
    }

    fn features(&self) -> Features {
        self.0.features() - Features::EDGE
    }

    fn now(&self) -> u64 {
        self.0.now()
    }

    fn register(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.0.register(token, interest - Interest::EDGE)
    }

    fn reregister(&mut self, token: Token, interest: Interest) -> io::Result<()> {
        self.0.reregister(token, interest - Interest::EDGE)
    }

    fn deregister(&mut self, fd: Fd) -> io::Result<()> {
        self.0.deregister(fd)
    }

    fn closing(&mut self, fd: Fd) {
        self.0.closing(fd);
    }

    fn reset(&mut self) -> io::Result<()> {
        self.0.reset()
    }

    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.0.wait(timeout, ready)
    }
}

/// How many seeds to run: `FERREVENT_SEEDS`, or `default`.
pub(crate) fn seeds(default: u64) -> u64 {
    match std::env::var("FERREVENT_SEEDS") {
        Ok(value) => value.parse().expect("FERREVENT_SEEDS is a number"),
        Err(_) => default,
    }
}

/// Runs `one` for each seed on all processors; a failure names its seed.
pub(crate) fn for_each_seed(seeds: u64, one: impl Fn(u64) + Sync) {
    use std::sync::atomic::{AtomicU64, Ordering};
    if let Ok(seed) = std::env::var("FERREVENT_SEED") {
        one(seed.parse().expect("FERREVENT_SEED is a number"));
        return;
    }
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let blame = Blame(seed);
                    one(seed);
                    std::mem::forget(blame);
                }
            });
        }
    });
}

/// Names the seed if it is dropped, which only a panic does.
struct Blame(u64);

impl Drop for Blame {
    fn drop(&mut self) {
        eprintln!("the failed seed: FERREVENT_SEED={}", self.0);
    }
}

/// Prints what happened if the test fails, when it runs a single seed.
pub(crate) struct Confession<'a>(pub(crate) &'a World);

impl Drop for Confession<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("FERREVENT_SEED").is_some() {
            for line in self.0.trace() {
                eprintln!("{line}");
            }
        }
    }
}
