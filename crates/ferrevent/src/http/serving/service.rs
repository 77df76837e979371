//! Whom a server calls.

use std::any::Any;
use std::fmt;

use super::Request;
use crate::base::Base;
use crate::http::Failure;

/// Whom a [`Server`](super::Server) calls with what it is asked (libevent's `evhttp_set_gencb`). For the simple cases a
/// closure does.
///
/// A callback may do anything with the base, but run the loop: answer this request, or another one, or none yet; free the
/// server. Callbacks never nest.
///
/// ```
/// use ferrevent::Base;
/// use ferrevent::http::{Body, Method, Reply, Request, Service};
///
/// /// Takes what is put, if it is not too much.
/// struct Store {
///     puts: u32,
/// }
///
/// impl Service for Store {
///     fn head(&mut self, base: &mut Base, request: Request) -> Body {
///         if request.method(base) != Some(Method::Put) {
///             // Whoever waits to be told that the body may come is not told.
///             let _ = request.reply(base, Reply::new(403));
///         }
///         Body::Collect
///     }
///
///     fn request(&mut self, base: &mut Base, request: Request) {
///         self.puts += 1;
///         let len = request.body(base).map_or(0, |body| body.len());
///         let _ = request.reply(base, Reply::new(200).body(format!("{len} bytes\n")));
///     }
/// }
/// ```
pub trait Service: Any {
    /// The head of a request has come, and nothing of its body was read yet: says what is to become of that.
    ///
    /// To answer here is to refuse the body: a client that [expects `100-continue`] is not told to send it, what comes of it
    /// is thrown away, and the connection ends after the answer. (If there is no body, it is an answer as any other.) A
    /// request that is answered here does not come to [`request`](Self::request).
    ///
    /// [expects `100-continue`]: https://www.rfc-editor.org/rfc/rfc9110#name-expect
    fn head(&mut self, base: &mut Base, request: Request) -> Body {
        let _ = (base, request);
        Body::Collect
    }

    /// There is a request, to be answered now or later: with all of its body, or, if [`head`](Self::head) said
    /// [`Body::Stream`], before its body comes.
    ///
    /// Nothing else happens on its connection before it is answered. There is no limit of time for it.
    fn request(&mut self, base: &mut Base, request: Request);
}

/// What becomes of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// It is collected; [`Service::request`] is called once it is complete. More than
    /// [`max_body`](super::ServerBuilder::max_body) is refused with 413.
    #[default]
    Collect,
    /// [`Service::request`] is called at once, and sets a [`RequestHandler`] that is told of the body as it comes.
    Stream,
}

/// A [`Service`] that is a closure.
pub(super) struct Closure<F>(pub(super) F);

impl<F: FnMut(&mut Base, Request) + 'static> Service for Closure<F> {
    fn request(&mut self, base: &mut Base, request: Request) {
        (self.0)(base, request);
    }
}

/// Whom one request calls back, once it has been [set](Request::set_handler): for bodies that are streamed, in either
/// direction, and to know how it ends.
pub trait RequestHandler: Any {
    /// More of the body has come, if it is [streamed](Body::Stream): [take](Request::take_body) it. While 64 KiB of it or
    /// more are not taken, the connection is not read.
    fn body(&mut self, base: &mut Base, request: Request) {
        let _ = (base, request);
    }

    /// All of a streamed body has come.
    fn complete(&mut self, base: &mut Base, request: Request) {
        let _ = (base, request);
    }

    /// The parts of the answer that were given are all with the system: time for the next one (the callback of
    /// `evhttp_send_reply_chunk_with_cb`). An answer that can have no body, such as one to `HEAD`, ends with its head
    /// instead, or with the body of its request.
    fn drained(&mut self, base: &mut Base, request: Request) {
        let _ = (base, request);
    }

    /// The client has ended its direction. Mostly it has gone; it may also only have nothing more to ask. An answer can
    /// still be given.
    fn client_ended(&mut self, base: &mut Base, request: Request) {
        let _ = (base, request);
    }

    /// This is the end of the request, and the last call: all of the answer is with the system
    /// (`evhttp_request_set_on_complete_cb`), or it never will be. The request can still be looked at, but not answered.
    ///
    /// It is not called if the program itself ends the request, by freeing the server or by
    /// [`abort`](Request::abort).
    fn end(&mut self, base: &mut Base, request: Request, outcome: Result<(), Failure>) {
        let _ = (base, request, outcome);
    }
}

/// A [`RequestHandler`] made of closures, for the simple cases.
///
/// ```
/// use ferrevent::http::RequestCallbacks;
///
/// let log = RequestCallbacks::new().end(|base, request, outcome| {
///     println!("{:?}: {outcome:?}", request.target(base));
/// });
/// # drop(log);
/// ```
#[derive(Default)]
pub struct RequestCallbacks {
    body: Option<Callback>,
    complete: Option<Callback>,
    drained: Option<Callback>,
    client_ended: Option<Callback>,
    end: Option<EndCallback>,
}

type Callback = Box<dyn FnMut(&mut Base, Request)>;
type EndCallback = Box<dyn FnMut(&mut Base, Request, Result<(), Failure>)>;

impl RequestCallbacks {
    /// No callback at all yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what [`RequestHandler::body`] does.
    #[must_use]
    pub fn body(mut self, call: impl FnMut(&mut Base, Request) + 'static) -> Self {
        self.body = Some(Box::new(call));
        self
    }

    /// Sets what [`RequestHandler::complete`] does.
    #[must_use]
    pub fn complete(mut self, call: impl FnMut(&mut Base, Request) + 'static) -> Self {
        self.complete = Some(Box::new(call));
        self
    }

    /// Sets what [`RequestHandler::drained`] does.
    #[must_use]
    pub fn drained(mut self, call: impl FnMut(&mut Base, Request) + 'static) -> Self {
        self.drained = Some(Box::new(call));
        self
    }

    /// Sets what [`RequestHandler::client_ended`] does.
    #[must_use]
    pub fn client_ended(mut self, call: impl FnMut(&mut Base, Request) + 'static) -> Self {
        self.client_ended = Some(Box::new(call));
        self
    }

    /// Sets what [`RequestHandler::end`] does.
    #[must_use]
    pub fn end(
        mut self,
        call: impl FnMut(&mut Base, Request, Result<(), Failure>) + 'static,
    ) -> Self {
        self.end = Some(Box::new(call));
        self
    }
}

impl RequestHandler for RequestCallbacks {
    fn body(&mut self, base: &mut Base, request: Request) {
        if let Some(call) = &mut self.body {
            call(base, request);
        }
    }

    fn complete(&mut self, base: &mut Base, request: Request) {
        if let Some(call) = &mut self.complete {
            call(base, request);
        }
    }

    fn drained(&mut self, base: &mut Base, request: Request) {
        if let Some(call) = &mut self.drained {
            call(base, request);
        }
    }

    fn client_ended(&mut self, base: &mut Base, request: Request) {
        if let Some(call) = &mut self.client_ended {
            call(base, request);
        }
    }

    fn end(&mut self, base: &mut Base, request: Request, outcome: Result<(), Failure>) {
        if let Some(call) = &mut self.end {
            call(base, request, outcome);
        }
    }
}

impl fmt::Debug for RequestCallbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCallbacks").finish_non_exhaustive()
    }
}
