//! Clients.
//!
//! * here — the key of a client, and the queue of what it asks;
//! * `builder` — how one is described;
//! * `ask` — what is asked and answered;
//! * `handler` — whom it calls;
//! * `exchange` — the key of a request, and what can be asked of it;
//! * `parts` — bodies that are sent in parts;
//! * `connect` — connecting, trying again, and the end of a connection;
//! * `read` — what comes.

mod ask;
mod builder;
mod connect;
mod exchange;
mod handler;
mod parts;
mod read;

use std::collections::VecDeque;
use std::sync::Arc;

use ferrevent_core::Dirs;
use ferrevent_core::buffer::Buffer;
use ferrevent_http::client::{Connection, Sending};
use ferrevent_http::{Method, Uri};
use slotmap::{SlotMap, new_key_type};

pub use self::ask::{Ask, Response};
pub use self::builder::ClientBuilder;
use self::builder::{Origin, Settings};
pub use self::exchange::Exchange;
use self::handler::Collect;
pub use self::handler::ResponseHandler;
use crate::base::Base;
use crate::bufferevent::{BufferEvent, lend};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::http::Failure;
use crate::seat::Seat;

new_key_type! {
    /// Names an HTTP client of a [`Base`] (libevent's `struct evhttp_connection`): a connection to one server, which is
    /// made when something is asked and kept for what is asked next, and a queue. One request is under way at a time; for
    /// more, make more clients.
    ///
    /// ```no_run
    /// use ferrevent::Base;
    /// use ferrevent::http::{Ask, Client};
    ///
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = Base::new()?;
    /// let client = Client::new(&mut base, "http://example.org")?;
    /// for target in ["/", "/more"] {
    ///     client.request(&mut base, Ask::get(target), move |_, answer| match answer {
    ///         Ok(answer) => println!("{target}: {}, {} bytes", answer.code(), answer.body.len()),
    ///         Err(failure) => println!("{target}: {failure}"),
    ///     })?;
    /// }
    /// client.free_when_done(&mut base);
    /// base.run()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A server may close a connection that is kept just when something is asked on it. What is [safe] to ask again, and has
    /// no body, is asked once more then, on a new connection; anything else ends with [`Failure::Eof`].
    ///
    /// [safe]: https://www.rfc-editor.org/rfc/rfc9110#name-safe-methods
    pub struct Client;
}

/// The clients of a base.
#[derive(Default)]
pub(crate) struct Asking {
    clients: SlotMap<Client, ClientSlot>,
}

struct ClientSlot {
    settings: Settings,
    origin: Origin,
    phase: Phase,
    bev: Option<BufferEvent>,
    machine: Connection,
    /// The first one is under way, or connected for.
    queue: VecDeque<Asked>,
    /// How many requests there were.
    asked: u64,
    /// The one that the machine was asked last, whose answer it has.
    current: u64,
    /// How often connecting has been tried again.
    retried: u32,
    /// The server will send nothing more.
    ended: bool,
    /// The connection has brought an answer already.
    used: bool,
    /// Something of the answer has come.
    heard: bool,
    /// Something of the body has come that was not told.
    untold: bool,
    /// It is freed when nothing is left to be asked.
    ends: bool,
    /// Memory for heads.
    out: Vec<u8>,
    timer: Event,
}

struct Asked {
    number: u64,
    ask: Ask,
    handler: Seat<dyn ResponseHandler>,
    collects: bool,
    /// Of the answer.
    body: Buffer,
    has_body: bool,
    /// Of a body in parts, of which `ask` has what is not to be sent yet.
    sending: Option<Sending>,
    /// Its handler is being told the end.
    over: bool,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Apart,
    /// Connecting has failed; it is tried again when the timer comes.
    Waiting,
    Connecting,
    /// Connected, with nothing to be done.
    Idle,
    /// The first request is sent, or answered.
    Asked,
    /// The first request is over, and its handler is being told.
    Ending,
}

/// Asking.
impl Client {
    /// A client of the server that `url` begins with, with the usual [settings](ClientBuilder)
    /// (`evhttp_connection_base_new`).
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(base: &mut Base, url: impl AsRef<[u8]>) -> Result<Self> {
        Self::builder().build(base, url)
    }

    /// Starts to describe a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Asks, after all that was asked before, and collects the answer (`evhttp_make_request`). `told` is called from the
    /// loop, unless the request is [cancelled](Exchange::cancel) or the client freed.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::Head`] of a method, a target or a field that there cannot be.
    pub fn request(
        self,
        base: &mut Base,
        ask: Ask,
        told: impl FnOnce(&mut Base, Result<Response, Failure>) + 'static,
    ) -> Result<Exchange> {
        let handler = Box::new(Collect(Some(told)));
        self.ask(base, ask, handler, true)
    }

    /// As [`request`](Self::request), but tells `handler` of the answer as it comes.
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub fn request_with(
        self,
        base: &mut Base,
        ask: Ask,
        handler: impl ResponseHandler,
    ) -> Result<Exchange> {
        self.ask(base, ask, Box::new(handler), false)
    }

    fn ask(
        self,
        base: &mut Base,
        ask: Ask,
        handler: Box<dyn ResponseHandler>,
        collects: bool,
    ) -> Result<Exchange> {
        let slot = base.asking.clients.get(self).ok_or(Error::Stale)?;
        // What cannot be asked is refused now, and not when its turn comes.
        let request = ask.head(&slot.origin);
        Connection::new().request(&request, ask.fields.iter(), &mut Vec::new())?;
        self.queue(base, ask, handler, collects, None)
    }

    /// Asks what can be asked.
    fn queue(
        self,
        base: &mut Base,
        ask: Ask,
        handler: Box<dyn ResponseHandler>,
        collects: bool,
        sending: Option<Sending>,
    ) -> Result<Exchange> {
        let slot = base.asking.clients.get_mut(self).ok_or(Error::Stale)?;
        slot.asked += 1;
        let number = slot.asked;
        slot.queue.push_back(Asked {
            number,
            has_body: sending.is_some() || !ask.body.is_empty(),
            sending,
            ask,
            handler: Seat::Taken(handler),
            collects,
            body: Buffer::new(),
            over: false,
        });
        if matches!(slot.phase, Phase::Apart | Phase::Idle) {
            self.proceed(base);
        }
        Ok(Exchange {
            client: self,
            number,
        })
    }
}

/// How it stands, and its end.
impl Client {
    /// Whether it has not been freed.
    pub fn exists(self, base: &Base) -> bool {
        base.asking.clients.contains_key(self)
    }

    /// How many requests are not answered yet. One whose handler is just being told its end counts.
    pub fn pending_len(self, base: &Base) -> Option<usize> {
        Some(base.asking.clients.get(self)?.queue.len())
    }

    /// Whether there is a connection.
    pub fn is_connected(self, base: &Base) -> bool {
        let phase = base.asking.clients.get(self).map(|slot| slot.phase);
        matches!(phase, Some(Phase::Idle | Phase::Asked | Phase::Ending))
    }

    /// Frees it once nothing is left to be asked (`evhttp_connection_free_on_completion`). Returns whether it exists.
    pub fn free_when_done(self, base: &mut Base) -> bool {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return false;
        };
        slot.ends = true;
        if slot.queue.is_empty() && slot.phase != Phase::Ending {
            self.free(base);
        }
        true
    }

    /// Frees it, closes its connection, and drops all requests; nobody is called (`evhttp_connection_free`). Returns whether
    /// it existed.
    pub fn free(self, base: &mut Base) -> bool {
        let Some(slot) = base.asking.clients.remove(self) else {
            return false;
        };
        slot.timer.free(base);
        if let Some(bev) = slot.bev {
            bev.free(base);
        }
        // The handlers, of the program's code, at last.
        drop(slot.queue);
        true
    }
}

/// Asks for one URL on a connection of its own, and collects the answer; a short way for `GET` by a [`Client`].
///
/// ```no_run
/// use ferrevent::{Base, http};
///
/// # fn main() -> ferrevent::Result<()> {
/// let mut base = Base::new()?;
/// http::get(&mut base, "http://example.org/", |_, answer| println!("{answer:?}"))?;
/// base.run()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Url`]; [`Error::Head`].
pub fn get(
    base: &mut Base,
    url: impl AsRef<[u8]>,
    told: impl FnOnce(&mut Base, Result<Response, Failure>) + 'static,
) -> Result<Exchange> {
    let uri = Uri::parse(url.as_ref()).map_err(|_| Error::Url)?;
    let client = Client::new(base, url)?;
    let ask = Ask::of(Method::Get, &uri).field("Connection", "close");
    let asked = client.request(base, ask, told);
    client.free_when_done(base);
    asked
}

impl Client {
    /// Does what is next, unless something is under way.
    fn proceed(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        match (slot.phase, slot.queue.is_empty()) {
            (Phase::Apart | Phase::Waiting, false) => self.connect(base),
            (Phase::Waiting, true) => slot.phase = Phase::Apart,
            (Phase::Idle, false) => self.send(base),
            (Phase::Idle, true) => self.rest(base),
            _ => {}
        }
    }

    /// Sends the first request.
    fn send(self, base: &mut Base) {
        base.tick();
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        let (Some(bev), Some(asked)) = (slot.bev, slot.queue.front_mut()) else {
            return;
        };
        slot.machine
            .set_limits(slot.settings.limits(asked.collects));
        slot.machine.set_max_interim(slot.settings.max_interim);
        slot.out.clear();
        slot.current = asked.number;
        slot.heard = false;
        let (request, fields) = (asked.ask.head(&slot.origin), asked.ask.fields.iter());
        let out = &mut slot.out;
        let written = match asked.sending {
            None => slot.machine.request(&request, fields, out),
            // The parts that were given already have been made ready.
            Some(_) => slot.machine.start(&request, fields, out).map(drop),
        };
        let output = lend(&mut base.streams, &mut base.core, bev, Dirs::WRITE);
        slot.phase = Phase::Asked;
        let number = asked.number;
        let (Some(mut output), Ok(())) = (output, written) else {
            // Somebody has freed the bufferevent.
            return self.fail_later(base, number, Failure::Eof);
        };
        let mut sent = output.append(&slot.out);
        if !slot.machine.holds_body() && sent.is_ok() {
            sent = output.append_buffer(&mut asked.ask.body);
        }
        drop(output);
        let timeout = slot.settings.timeout;
        if let Err(error) = sent {
            let failure = Failure::Connection(Arc::new(error.into()));
            return self.fail_later(base, number, failure);
        }
        // The server's time begins when it has got everything.
        bev.set_timeouts(base, None, timeout);
    }

    /// The first request cannot be sent, which is told from the loop.
    fn fail_later(self, base: &mut Base, number: u64, failure: Failure) {
        base.defer(move |base| {
            let slot = base.asking.clients.get(self);
            let is_it = slot.is_some_and(|slot| {
                slot.phase == Phase::Asked
                    && slot
                        .queue
                        .front()
                        .is_some_and(|asked| asked.number == number)
            });
            if is_it {
                self.fail(base, failure);
            }
        });
    }
}
