//! The resolver's settings.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Name;

/// How a [`Resolver`](crate::Resolver) works.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How long one attempt may take (`timeout`).
    pub timeout: Duration,
    /// A query that has not been answered for so long is sent again, to another server if there is one; `None` waits
    /// for the whole `timeout` first, as libevent does.
    pub resend: Option<Duration>,
    /// How many attempts a question has (`attempts`): it fails after as many times `timeout`.
    pub attempts: u32,
    /// Whether a server's report that it has failed counts as silence, as in libevent: the question is repeated until
    /// its attempts are used up, and fails for lack of time. Otherwise every server is asked once.
    pub failure_is_silence: bool,
    /// A new server comes after the first one, in front of those that were added before, as in libevent.
    pub newest_server_second: bool,
    /// No look-up takes longer than this, however many names its search list makes it try.
    pub deadline: Option<Duration>,
    /// A server that has been silent so many times in a row is down (`max-timeouts`).
    pub max_timeouts: u32,
    /// How many questions are on their way at the same time; further ones wait (`max-inflight`).
    pub max_inflight: usize,
    /// A server that is down is asked again after this; then after twice as long, up to an hour
    /// (`initial-probe-timeout`).
    pub initial_probe: Duration,
    /// The name that such a server is asked for.
    pub probe_name: Name,
    /// Whether letters in queries get random case, which the answer has to repeat (`randomize-case`).
    pub randomize_case: bool,
    /// A name with at least so many dots is tried as it is before the search list (`ndots`).
    pub ndots: usize,
    /// Where sockets are bound (`bind-to`); its port is not used.
    pub bind_to: Option<SocketAddr>,
    /// How large a datagram servers may answer with; up to 512 bytes EDNS is not used (`edns-udp-size`).
    pub edns_udp_size: u16,
    /// When one of the two families of an address look-up has been found, the other is waited for so long
    /// (`getaddrinfo-allow-skew`).
    pub allow_skew: Duration,
    /// Size of the sockets' receive buffers; `None` leaves it to the system (`so-rcvbuf`).
    pub receive_buffer: Option<usize>,
    /// Size of the sockets' send buffers (`so-sndbuf`).
    pub send_buffer: Option<usize>,
    /// How many answers are kept until their time is over; 0 keeps none.
    pub cache: usize,
}

impl Default for Config {
    /// What the Rust API begins with: quick repeats, EDNS, a cache, and an end after ten seconds.
    fn default() -> Self {
        Self {
            resend: Some(Duration::from_millis(400)),
            deadline: Some(Duration::from_secs(10)),
            failure_is_silence: false,
            newest_server_second: false,
            edns_udp_size: 1232,
            cache: 1000,
            probe_name: Name::root(),
            ..Self::libevent()
        }
    }
}

impl Config {
    /// What libevent 2.1 begins with.
    pub fn libevent() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            resend: None,
            attempts: 3,
            failure_is_silence: true,
            newest_server_second: true,
            deadline: None,
            max_timeouts: 3,
            max_inflight: 64,
            initial_probe: Duration::from_secs(10),
            // What libevent has always asked for.
            probe_name: Name::parse("google.com").unwrap_or_else(|_| Name::root()),
            randomize_case: true,
            ndots: 1,
            bind_to: None,
            edns_udp_size: 512,
            allow_skew: Duration::from_secs(3),
            receive_buffer: None,
            send_buffer: None,
            cache: 0,
        }
    }
}
