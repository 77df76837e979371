//! What comes: answers.

use ferrevent_core::Dirs;
use ferrevent_http::Step;
use ferrevent_http::client::Error as Broken;
use ferrevent_http::server::Next;

use super::{Client, Exchange, Phase};
use crate::base::Base;
use crate::bufferevent::{BufferEvent, lend};
use crate::http::{BadMessage, Failure};

/// How much of a body may wait to be taken before no more is read.
pub(super) const MOST_UNTAKEN: usize = 64 << 10;

impl Client {
    /// Works on what has come.
    pub(super) fn advance(self, base: &mut Base) {
        base.tick();
        match base.asking.clients.get(self).map(|slot| slot.phase) {
            Some(Phase::Asked) => {}
            Some(Phase::Idle) => return self.refuse_unasked(base),
            _ => return,
        }
        while self.take_step(base) {}
        self.pace(base);
    }

    /// What comes while nothing is asked is no answer.
    fn refuse_unasked(self, base: &mut Base) {
        let bev = base.asking.clients.get(self).and_then(|slot| slot.bev);
        if bev.and_then(|bev| bev.input_len(base)) != Some(0) {
            self.disconnect(base);
        }
    }

    /// Does one thing. Whether there may be more to do.
    fn take_step(self, base: &mut Base) -> bool {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return false;
        };
        let (Phase::Asked, Some(bev)) = (slot.phase, slot.bev) else {
            return false;
        };
        let input = lend(&mut base.streams, &mut base.core, bev, Dirs::READ);
        let (Some(mut input), Some(asked)) = (input, slot.queue.front_mut()) else {
            return false;
        };
        slot.heard |= !input.is_empty();
        let exchange = Exchange {
            client: self,
            number: asked.number,
        };
        let held = slot.machine.holds_body();
        let holds = !asked.collects && asked.body.len() >= MOST_UNTAKEN;
        let step = match holds {
            true => Ok(Step::Wait),
            false => slot.machine.read(&mut *input),
        };
        if let Ok(Step::Body(n)) = step {
            // The chunks move; no byte is copied.
            let moved = asked.body.append_from(&mut input, n);
            debug_assert_eq!(moved.ok(), Some(n));
            slot.untold = true;
        }
        drop(input);
        let ended = slot.ended;
        let refuses_body = step == Ok(Step::Head) && slot.machine.refuses_body();
        if slot.untold && matches!(step, Ok(Step::Wait | Step::Complete)) {
            slot.untold = false;
            exchange.with_handler(base, |handler, base| handler.body(base, exchange));
            if matches!(step, Ok(Step::Wait)) {
                // It may have been taken.
                return true;
            }
        }
        match step {
            Ok(Step::Wait) if ended && !holds => self.closed(base),
            Ok(Step::Wait | Step::Continue) => return false,
            Ok(Step::Head) => {
                if refuses_body {
                    self.stop_body(base);
                }
                exchange.with_handler(base, |handler, base| handler.head(base, exchange));
            }
            Ok(Step::Interim) => {
                exchange.with_handler(base, |handler, base| handler.interim(base, exchange));
                if held {
                    self.send_held_body(base, exchange);
                }
            }
            Ok(Step::Body(_) | Step::Discard(_)) => {}
            Ok(Step::Complete) if exchange.exists(base) => self.answered(base),
            Ok(Step::Complete) => return false,
            Err(broken) => self.fail(base, failure_of(broken)),
        }
        true
    }

    /// The server may want the body now.
    fn send_held_body(self, base: &mut Base, exchange: Exchange) {
        if !exchange.exists(base) {
            return;
        }
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        if slot.machine.holds_body() {
            return;
        }
        let timeout = slot.settings.timeout;
        if let (Some(bev), Some(asked)) = (slot.bev, slot.queue.front_mut()) {
            let output = lend(&mut base.streams, &mut base.core, bev, Dirs::WRITE);
            let sent = output.map(|mut output| output.append_buffer(&mut asked.ask.body));
            debug_assert!(sent.is_none_or(|sent| sent.is_ok()));
            // Until it has got that, it need not say more.
            bev.set_timeouts(base, None, timeout);
            if bev.output_len(base) == Some(0) {
                // There is nothing that could be reported as sent.
                bev.trigger(base, Dirs::WRITE, true);
            }
        }
    }

    /// All of the request is with the system, or all parts of its body that were given.
    pub(super) fn written(self, base: &mut Base, bev: BufferEvent) {
        let Some(slot) = base.asking.clients.get(self) else {
            return;
        };
        let (Phase::Asked, Some(asked)) = (slot.phase, slot.queue.front()) else {
            return;
        };
        if bev.output_len(base) != Some(0) {
            return;
        }
        let is_open = asked.sending.is_some_and(|sending| sending.is_open());
        let exchange = Exchange {
            client: self,
            number: asked.number,
        };
        let timeout = slot.settings.timeout;
        if !is_open || slot.machine.holds_body() {
            bev.set_timeouts(base, timeout, timeout);
            return;
        }
        // It is the program's time.
        bev.set_timeouts(base, None, timeout);
        exchange.with_handler(base, |handler, base| handler.drained(base, exchange));
    }

    /// The server has ended its direction.
    pub(super) fn server_ended(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        slot.ended = true;
        match slot.phase {
            Phase::Asked => self.advance(base),
            Phase::Connecting => self.connecting_failed(base, Failure::Eof),
            _ => self.disconnect(base),
        }
    }

    /// The connection has ended, and all that has come is read.
    fn closed(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        match slot.machine.closed() {
            Ok(Step::Complete) => self.answered(base),
            Ok(_) => self.disconnect(base),
            Err(broken) => self.fail(base, failure_of(broken)),
        }
    }

    /// The answer is complete.
    fn answered(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        let (Some(bev), Some(asked)) = (slot.bev, slot.queue.front()) else {
            return;
        };
        let exchange = Exchange {
            client: self,
            number: asked.number,
        };
        slot.phase = Phase::Ending;
        slot.used = true;
        let all_given = asked.sending.is_none_or(|sending| sending.is_whole());
        exchange.tell_end(base, Ok(()));
        let sent = all_given && bev.output_len(base) == Some(0);
        let Some(slot) = base.asking.clients.get_mut(self) else {
            return;
        };
        // It may have been taken out, or freed.
        if slot.phase != Phase::Ending {
            return;
        }
        let input = lend(&mut base.streams, &mut base.core, bev, Dirs::READ);
        let next = input.map(|input| slot.machine.finish(&*input, sent));
        let can_ask = !slot.ended && !slot.machine.is_tunnel();
        match next {
            Some(Next::Request) if can_ask => slot.phase = Phase::Idle,
            _ => self.disconnect(base),
        }
        self.go_on(base);
    }

    /// Reads no more than is taken.
    fn pace(self, base: &mut Base) {
        let Some(slot) = base.asking.clients.get(self) else {
            return;
        };
        let (Phase::Asked, Some(bev), Some(asked)) = (slot.phase, slot.bev, slot.queue.front())
        else {
            return;
        };
        let holds = !asked.collects && asked.body.len() >= MOST_UNTAKEN;
        let ended = slot.ended;
        if holds {
            bev.disable(base, Dirs::READ);
        } else if !ended && bev.enable(base, Dirs::READ).is_err() {
            self.fail(base, Failure::Eof);
        }
    }
}

impl Exchange {
    /// Tells its handler, and forgets it.
    pub(super) fn tell_end(self, base: &mut Base, outcome: Result<(), Failure>) {
        if let Some(asked) = self.asked_mut(base) {
            asked.over = true;
        }
        self.with_handler(base, |handler, base| handler.end(base, self, outcome));
        let Some(slot) = base.asking.clients.get_mut(self.client) else {
            return;
        };
        let place = slot
            .queue
            .iter()
            .position(|asked| asked.number == self.number);
        let ended = place.and_then(|place| slot.queue.remove(place));
        // The handler, of the program's code.
        drop(ended);
    }
}

fn failure_of(broken: Broken) -> Failure {
    match broken {
        Broken::Eof => Failure::Eof,
        Broken::Invalid(reason) => Failure::Message(reason),
        Broken::TooLong => Failure::Message(BadMessage::BodyTooLong),
    }
}
