//! How long a client may take.

use std::time::Duration;

use super::ConnectionKey;
use super::builder::Settings;
use super::connection::Phase;
use crate::base::Base;
use crate::http::Failure;

/// What a client may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing: it is the program's turn, or the bufferevent's.
    Nothing,
    /// The next request.
    Next,
    /// The rest of a head, since its beginning.
    Head,
    /// More of a body.
    Body,
    /// That the client takes what ends its connection.
    Sent,
    /// The client's end, after the answer.
    End,
}

/// How long the rest of an answer may take once its connection is to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long the end of a client is waited for that was told ours.
const LINGER: Duration = Duration::from_secs(2);

impl Waits {
    fn limit(self, settings: &Settings) -> Option<Duration> {
        match self {
            Self::Nothing => None,
            Self::Next => settings.idle_timeout,
            Self::Head => settings.head_timeout,
            Self::Body => settings.body_timeout,
            Self::Sent => Some(PATIENCE),
            Self::End => Some(LINGER),
        }
    }
}

impl ConnectionKey {
    /// From now on. That the deadline moves later is only noted; the timer sees it when it comes.
    pub(super) fn set_deadline(self, base: &mut Base, waits: Waits) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        // A head and the end have one deadline from beginning to end.
        let is_absolute = matches!(waits, Waits::Head | Waits::Sent | Waits::End);
        if is_absolute && connection.deadline.is_some_and(|(_, now)| now == waits) {
            return;
        }
        let Some(limit) = waits.limit(&connection.settings) else {
            connection.deadline = None;
            return;
        };
        let timer = connection.timer;
        let now = base.core.now();
        let at = now.saturating_add(crate::nanos(limit));
        connection.deadline = Some((at, waits));
        if connection.armed.is_none_or(|armed| at < armed) {
            connection.armed = Some(at);
            // A timer is always taken.
            let _ = timer.add(base, Some(limit));
        }
    }

    /// The timer of a connection has come.
    pub(super) fn deadline_may_be_over(self, base: &mut Base) {
        let Some(connection) = base.serving.connections.get_mut(self) else {
            return;
        };
        connection.armed = None;
        let Some((at, _)) = connection.deadline else {
            return;
        };
        let left = at.saturating_sub(base.core.now());
        if left > 0 {
            connection.armed = Some(at);
            let timer = connection.timer;
            let _ = timer.add(base, Some(Duration::from_nanos(left)));
            return;
        }
        match connection.phase {
            Phase::Reading if !connection.has_request => self.close(base),
            Phase::Closing | Phase::Lingering => self.discard(base),
            // It was for the body, of which no more is needed.
            Phase::Replied => connection.deadline = None,
            _ => self.fail(base, Failure::Timeout),
        }
    }
}
