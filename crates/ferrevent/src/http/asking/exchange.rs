//! The key of a request, and what can be asked of it.

use ferrevent_core::Dirs;
use ferrevent_core::buffer::Buffer;
use ferrevent_http::ResponseHead;

use super::read::MOST_UNTAKEN;
use super::{Asked, Client, Phase, ResponseHandler};
use crate::base::Base;
use crate::bufferevent::BufferEvent;

/// Names a request of a [`Client`]'s, until its answer is complete or it has failed: until
/// [`ResponseHandler::end`] returns, or what was given to [`Client::request`]. It never dangles: afterwards everything that
/// is asked of it is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    pub(super) client: Client,
    pub(super) number: u64,
}

impl Exchange {
    /// Whether it has not ended.
    pub fn exists(self, base: &Base) -> bool {
        self.asked(base).is_some()
    }

    /// Its client.
    pub fn client(self) -> Client {
        self.client
    }

    /// The head of its answer, once it has come.
    pub fn head(self, base: &Base) -> Option<ResponseHead<'_>> {
        let slot = base.asking.clients.get(self.client)?;
        let is_answered = slot.queue.front()?.number == self.number && slot.current == self.number;
        let has_head = matches!(slot.phase, Phase::Asked | Phase::Ending);
        slot.machine
            .response()
            .filter(|_| is_answered && has_head && slot.heard)
    }

    /// What has come of the answer's body and was not [taken](Self::take_body).
    pub fn body(self, base: &Base) -> Option<&Buffer> {
        Some(&self.asked(base)?.body)
    }

    /// Takes what has come of the answer's body.
    pub fn take_body(self, base: &mut Base) -> Option<Buffer> {
        let slot = base.asking.clients.get_mut(self.client)?;
        let asked = slot
            .queue
            .iter_mut()
            .find(|asked| asked.number == self.number)?;
        let body = std::mem::take(&mut asked.body);
        if body.len() >= MOST_UNTAKEN
            && !asked.collects
            && let Some(bev) = slot.bev
        {
            // It was not read any more.
            bev.trigger(base, Dirs::READ, true);
        }
        Some(body)
    }

    /// Forgets it: nobody is told (`evhttp_cancel_request`, which tells). If it is under way, its connection is closed, and
    /// what is asked next goes to a new one. Returns whether it had not ended yet.
    ///
    /// In a callback of its own it is the last one; what the answer has brought is gone when the call returns. When its
    /// [`end`](ResponseHandler::end) is being told, it is over: then this changes nothing, and returns false.
    pub fn cancel(self, base: &mut Base) -> bool {
        let Some(slot) = base.asking.clients.get_mut(self.client) else {
            return false;
        };
        let Some(place) = slot
            .queue
            .iter()
            .position(|asked| asked.number == self.number)
        else {
            return false;
        };
        if slot.queue[place].over {
            return false;
        }
        let cancelled = slot.queue.remove(place);
        let is_under_way = place == 0 && slot.phase == Phase::Asked;
        let stops =
            slot.queue.is_empty() && matches!(slot.phase, Phase::Connecting | Phase::Waiting);
        if is_under_way || stops {
            self.client.disconnect(base);
        }
        // Nothing is connected to, or told, inside the call.
        let client = self.client;
        base.defer(move |base| client.go_on(base));
        drop(cancelled);
        true
    }

    /// Ends HTTP on its connection, and gives that out, once the answer was a 101, or a 2xx to `CONNECT`: from
    /// [`ResponseHandler::head`] on. The bufferevent has no handler and no timeouts; what the server has sent behind its
    /// answer is in the input. The request is dropped without a call. `None` if the answer is another one, or a body [in
    /// parts](Client::start) has not ended.
    pub fn upgrade(self, base: &mut Base) -> Option<BufferEvent> {
        self.head(base)?;
        let slot = base.asking.clients.get_mut(self.client)?;
        let sending = slot.queue.front()?.sending;
        if !slot.machine.is_tunnel() || sending.is_some_and(|sending| !sending.is_whole()) {
            return None;
        }
        let bev = slot.bev.take()?;
        let ended = slot.queue.pop_front();
        self.client.disconnect(base);
        bev.clear_handler(base);
        bev.set_timeouts(base, None, None);
        let client = self.client;
        base.defer(move |base| client.go_on(base));
        drop(ended);
        Some(bev)
    }

    pub(super) fn asked(self, base: &Base) -> Option<&Asked> {
        let slot = base.asking.clients.get(self.client)?;
        slot.queue.iter().find(|asked| asked.number == self.number)
    }

    pub(super) fn asked_mut(self, base: &mut Base) -> Option<&mut Asked> {
        let slot = base.asking.clients.get_mut(self.client)?;
        slot.queue
            .iter_mut()
            .find(|asked| asked.number == self.number)
    }

    /// Runs its handler, which is taken out for that time.
    pub(super) fn with_handler(
        self,
        base: &mut Base,
        run: impl FnOnce(&mut dyn ResponseHandler, &mut Base),
    ) {
        let asked = self.asked_mut(base);
        let Some(mut handler) = asked.and_then(|asked| asked.handler.take()) else {
            return;
        };
        run(&mut *handler, base);
        if let Some(asked) = self.asked_mut(base) {
            let unseated = asked.handler.put_back(handler);
            drop(unseated);
        }
    }
}
