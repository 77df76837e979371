//! Settings by name, as in `evdns_base_set_option` and on the `options` lines of `resolv.conf`.

use std::time::Duration;

use thiserror::Error;

use crate::resolv_conf::server_address;
use crate::{ConfParts, Config};

/// More than this is never waited.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// A value that does not fit its option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the value does not fit the option")]
pub struct BadOption;

impl Config {
    /// Changes one setting, if it belongs to `parts`. The name may end with a colon. Unknown names are ignored, as in
    /// libevent, so that files written for others do no harm.
    ///
    /// # Errors
    /// If the value does not fit. Nothing has changed then.
    pub fn set_option(
        &mut self,
        name: &str,
        value: &str,
        parts: ConfParts,
    ) -> Result<(), BadOption> {
        let name = name.strip_suffix(':').unwrap_or(name);
        let part = match name {
            "ndots" => ConfParts::SEARCH,
            "bind-to" => ConfParts::SERVERS,
            _ => ConfParts::MISC,
        };
        if !parts.contains(part) {
            return Ok(());
        }
        match name {
            "ndots" => self.ndots = number(value)?,
            "timeout" => self.timeout = time(value)?,
            "max-timeouts" => self.max_timeouts = number(value)?.clamp(1, 255) as u32,
            "max-inflight" => self.max_inflight = number(value)?.clamp(1, 65000),
            "attempts" => self.attempts = number(value)?.clamp(1, 255) as u32,
            "randomize-case" => self.randomize_case = number(value)? != 0,
            "initial-probe-timeout" => {
                self.initial_probe = time(value)?.min(Duration::from_secs(3600));
            }
            "getaddrinfo-allow-skew" => self.allow_skew = time(value)?,
            "so-rcvbuf" => self.receive_buffer = Some(number(value)?),
            "so-sndbuf" => self.send_buffer = Some(number(value)?),
            "bind-to" => self.bind_to = Some(server_address(value.as_bytes()).ok_or(BadOption)?),
            // libevent 2.1 does not know this one, so that any value of it has to pass.
            "edns-udp-size" => {
                if let Ok(size) = number(value) {
                    self.edns_udp_size = size.clamp(512, 65535) as u16;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A number that is not negative, as C reads it: with blanks and a sign before it; nothing is 0.
fn number(text: &str) -> Result<usize, BadOption> {
    if text.is_empty() {
        return Ok(0);
    }
    let text = without_blanks(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadOption);
    }
    // More digits than fit are as good as the largest number.
    let number = digits.parse().unwrap_or(usize::MAX);
    if text.starts_with('-') && number != 0 {
        return Err(BadOption);
    }
    Ok(number)
}

/// Seconds, with a fraction; a millisecond at least.
fn time(text: &str) -> Result<Duration, BadOption> {
    let seconds: f64 = without_blanks(text).parse().map_err(|_| BadOption)?;
    if seconds.is_nan() || seconds < 0.001 {
        return Err(BadOption);
    }
    Ok(Duration::try_from_secs_f64(seconds).map_or(LONGEST, |time| time.min(LONGEST)))
}

/// Without those before it, which C's functions skip.
fn without_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
}
