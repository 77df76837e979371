//! Whom a client calls.

use std::any::Any;

use super::{Exchange, Response};
use crate::base::Base;
use crate::http::Failure;

/// Whom one request of a [`Client`](super::Client)'s calls back, if its answer is not to be collected.
///
/// Each callback may do anything with the base, but run the loop: cancel this request or another one, ask again, free the
/// client. Callbacks never nest, and none is called inside a call of yours.
pub trait ResponseHandler: Any {
    /// An answer that is not the final one: 100, 103 and their like.
    fn interim(&mut self, base: &mut Base, exchange: Exchange) {
        let _ = (base, exchange);
    }

    /// The [head](Exchange::head) of the answer has come (`evhttp_request_set_header_cb`).
    fn head(&mut self, base: &mut Base, exchange: Exchange) {
        let _ = (base, exchange);
    }

    /// More of the body has come: [take](Exchange::take_body) it (`evhttp_request_set_chunked_cb`). While 64 KiB of it or
    /// more are not taken, the connection is not read.
    fn body(&mut self, base: &mut Base, exchange: Exchange) {
        let _ = (base, exchange);
    }

    /// The parts of the body that were given are all with the system: time for the [next one](Exchange::part), or the
    /// [end](Exchange::end). Only of a request that was [started](super::Client::start), from when it is under way until its
    /// body has ended, or is not wanted any more.
    fn drained(&mut self, base: &mut Base, exchange: Exchange) {
        let _ = (base, exchange);
    }

    /// The last call: the answer is complete, or there will be none. What has come of it can still be looked at, and be
    /// taken, until this returns; there is nothing left to [cancel](Exchange::cancel).
    fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>);
}

/// Collects an answer.
pub(super) struct Collect<F>(pub(super) Option<F>);

impl<F> ResponseHandler for Collect<F>
where
    F: FnOnce(&mut Base, Result<Response, Failure>) + 'static,
{
    fn end(&mut self, base: &mut Base, exchange: Exchange, outcome: Result<(), Failure>) {
        let response = outcome.and_then(|()| {
            let body = exchange.take_body(base).unwrap_or_default();
            let head = exchange.head(base).ok_or(Failure::Eof)?;
            Ok(Response::new(&head, body))
        });
        if let Some(told) = self.0.take() {
            told(base, response);
        }
    }
}
