//! Requests whose bodies are sent in parts.

use ferrevent_core::Dirs;
use ferrevent_core::buffer::{Buffer, BufferError};
use ferrevent_http::BadHead;
use ferrevent_http::client::{Connection, Part, Sending};

use super::{Ask, Client, ClientSlot, Exchange, Phase, ResponseHandler};
use crate::base::Base;
use crate::bufferevent::lend;
use crate::error::{Error, Result};

impl Client {
    /// As [`request_with`](Self::request_with), but begins a body in parts, of which the body that `ask` has is the first:
    /// the counterpart of [`Request::start`](crate::http::Request::start), which libevent does not have. With a
    /// `Content-Length` among the fields of `ask` the body is that long, otherwise it is sent in chunks.
    ///
    /// Then come [`Exchange::part`] and [`Exchange::end`], at once or later, also before it is the request's turn: what is
    /// given until then is kept, and so is what a server has to be asked for (`Expect: 100-continue`). To keep little, wait
    /// for [`ResponseHandler::drained`]. There is no limit of time for the next part, and the server's time begins with the
    /// end of the body.
    ///
    /// A server may answer before the body has ended, and both may go on side by side. If the answer is an error (a status
    /// from 400 on), the rest of the body is thrown away, and [`drained`](ResponseHandler::drained) is not called any more.
    /// If the answer is complete before the body is, the request has come to its end, and its connection is not used again.
    /// A request in parts is never asked twice.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use ferrevent::{Base, Buffer};
    /// use ferrevent::http::{Ask, Client, Exchange, Failure, Method, ResponseHandler};
    ///
    /// /// Sends a file, no faster than the server takes it.
    /// struct Upload(File);
    ///
    /// impl ResponseHandler for Upload {
    ///     fn drained(&mut self, base: &mut Base, exchange: Exchange) {
    ///         let mut piece = Buffer::new();
    ///         let given = match piece.read_from(&mut self.0, 64 << 10) {
    ///             Ok(0) => exchange.end(base),
    ///             Ok(_) => exchange.part_buffer(base, &mut piece),
    ///             Err(error) => Err(error.into()),
    ///         };
    ///         if let Err(error) = given {
    ///             eprintln!("{error}");
    ///             // Without its end, no server takes it for a whole one. `end` is not called.
    ///             exchange.cancel(base);
    ///         }
    ///     }
    ///
    ///     fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
    ///         let code = exchange.head(base).map(|head| head.code());
    ///         println!("{code:?} {outcome:?}");
    ///     }
    /// }
    ///
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = Base::new()?;
    /// let client = Client::new(&mut base, "http://example.org")?;
    /// let file = File::open("report.pdf")?;
    /// client.start(&mut base, Ask::new(Method::Put, "/report.pdf"), Upload(file))?;
    /// client.free_when_done(&mut base);
    /// base.run()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`request`](Self::request); [`BadHead::Length`] in HTTP/1.0, which has no chunks, without a length.
    pub fn start(
        self,
        base: &mut Base,
        mut ask: Ask,
        handler: impl ResponseHandler,
    ) -> Result<Exchange> {
        let slot = base.asking.clients.get(self).ok_or(Error::Stale)?;
        let mut out = Vec::new();
        let request = ask.head(&slot.origin);
        let mut sending = Connection::new().start(&request, ask.fields.iter(), &mut out)?;
        let mut first = std::mem::take(&mut ask.body);
        out.clear();
        let part = sending.part(first.len() as u64, &mut out);
        append(&mut ask.body, &out, &mut first, part)?;
        self.queue(base, ask, Box::new(handler), false, Some(sending))
    }
}

/// The body of a request that was [started](Client::start). None of these calls anybody; what is sent leaves when the loop
/// goes on.
impl Exchange {
    /// Sends a copy of `data` as a part of the body. What is beyond a `Content-Length` that was given is thrown away, and so
    /// is what the server [does not want](Client::start) any more. To send no more than the server takes, wait for
    /// [`ResponseHandler::drained`] or look at [`unsent`](Self::unsent).
    ///
    /// # Errors
    /// [`Error::Stale`] if the request has ended; [`Error::Head`] if it has no body in parts, or that has ended.
    pub fn part(self, base: &mut Base, data: impl AsRef<[u8]>) -> Result<()> {
        self.part_buffer(base, &mut data.as_ref().into())
    }

    /// As [`part`](Self::part), without a copy: takes everything out of `data`.
    ///
    /// # Errors
    /// Those of [`part`](Self::part).
    pub fn part_buffer(self, base: &mut Base, data: &mut Buffer) -> Result<()> {
        let len = data.len() as u64;
        self.send(base, |sending, out| Ok(sending.part(len, out)), data)?;
        // What is beyond the promised length, or not wanted.
        data.drain(usize::MAX)?;
        Ok(())
    }

    /// There are no more parts.
    ///
    /// # Errors
    /// Those of [`part`](Self::part); [`BadHead::Length`] if there were fewer bytes than a `Content-Length` has promised.
    /// Then the rest can still be given, or the request [cancelled](Self::cancel).
    pub fn end(self, base: &mut Base) -> Result<()> {
        let nothing = Part {
            send: 0,
            after: b"",
        };
        let end = |sending: &mut Sending, out: &mut Vec<u8>| sending.end(out).map(|()| nothing);
        self.send(base, end, &mut Buffer::new())
    }

    /// How many bytes of the request are not with the system yet, as far as they were given: of its body, and, once it is
    /// under way, of its head. `None` if it has ended.
    pub fn unsent(self, base: &Base) -> Option<usize> {
        let slot = base.asking.clients.get(self.client)?;
        let kept = self.asked(base)?.ask.body.len();
        let bev = slot.bev.filter(|_| slot.is_under_way(self));
        Some(kept + bev.and_then(|bev| bev.output_len(base)).unwrap_or(0))
    }

    /// Puts what `make` says, with so much of `data` as it says, behind what is to be sent.
    fn send(
        self,
        base: &mut Base,
        make: impl FnOnce(&mut Sending, &mut Vec<u8>) -> Result<Part, BadHead>,
        data: &mut Buffer,
    ) -> Result<()> {
        base.tick();
        let slot = base
            .asking
            .clients
            .get_mut(self.client)
            .ok_or(Error::Stale)?;
        let is_under_way = slot.is_under_way(self);
        let mut queue = slot.queue.iter_mut();
        let asked = queue
            .find(|asked| asked.number == self.number)
            .ok_or(Error::Stale)?;
        let sending = asked.sending.as_mut();
        let sending = sending.filter(|sending| !sending.is_ended() && !asked.over);
        slot.out.clear();
        let part = make(sending.ok_or(BadHead::NotNow)?, &mut slot.out)?;
        let bev = slot
            .bev
            .filter(|_| is_under_way && !slot.machine.holds_body());
        let Some(bev) = bev else {
            append(&mut asked.ask.body, &slot.out, data, part)?;
            return Ok(());
        };
        let output = lend(&mut base.streams, &mut base.core, bev, Dirs::WRITE);
        append(&mut *output.ok_or(Error::Stale)?, &slot.out, data, part)?;
        if bev.output_len(base) == Some(0) {
            // It was nothing that could be reported as sent.
            bev.trigger(base, Dirs::WRITE, true);
        }
        Ok(())
    }
}

impl Client {
    /// The answer has begun, or nothing can be sent any more: if the body is not wanted, its rest is thrown away.
    pub(super) fn stop_body(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        let (Some(bev), Some(asked)) = (slot.bev, slot.queue.front_mut()) else {
            return;
        };
        let Some(sending) = asked.sending.as_mut().filter(|sending| sending.is_open()) else {
            return;
        };
        sending.stop();
        if bev.output_len(base) == Some(0) {
            // From now on it is the server's time.
            bev.trigger(base, Dirs::WRITE, true);
        }
    }
}

impl ClientSlot {
    /// Whether what is sent now belongs to this request.
    fn is_under_way(&self, exchange: Exchange) -> bool {
        self.phase == Phase::Asked && self.current == exchange.number
    }
}

/// Moves so much of `data` as the part says, with what goes around it.
fn append(
    target: &mut Buffer,
    before: &[u8],
    data: &mut Buffer,
    part: Part,
) -> Result<(), BufferError> {
    target.append(before)?;
    target.append_from(data, usize::try_from(part.send).unwrap_or(usize::MAX))?;
    target.append(part.after)
}
