//! The methods of requests.

/// What a request asks for.
///
/// Stands for libevent's `enum evhttp_cmd_type`, whose numbers [`bit`](Self::bit) gives. A method that has no number
/// there is [`Other`](Self::Other); its name is in the request ([`RequestHead::method_name`]).
///
/// [`RequestHead::method_name`]: crate::RequestHead::method_name
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `HEAD`: as `GET`, with an answer that has no body.
    Head,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `CONNECT`: its target is a host and a port; what follows a success is no HTTP any more.
    Connect,
    /// `PATCH`
    Patch,
    /// Any other one.
    Other,
}

impl Method {
    /// Those that have a name of their own, in the order of their bits.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Post,
        Self::Head,
        Self::Put,
        Self::Delete,
        Self::Options,
        Self::Trace,
        Self::Connect,
        Self::Patch,
    ];

    /// What a server takes unless it is told otherwise (`evhttp_set_allowed_methods`): `GET`, `POST`, `HEAD`, `PUT` and
    /// `DELETE`.
    pub const USUAL: u16 = 0x1f;

    /// Of this name. The case of letters counts.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// The one with this bit; `None` for several, or for none.
    pub fn from_bit(bit: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.bit() == bit)
    }

    /// Whether asking for it changes nothing at the server (RFC 9110, section 9.2.1), so that it can be asked for once more
    /// if the answer is lost.
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Its bit in a set of methods (`EVHTTP_REQ_GET`, ...); 0 for [`Other`](Self::Other).
    pub fn bit(self) -> u16 {
        match self {
            Self::Other => 0,
            method => 1 << method as u16,
        }
    }

    /// Its name. Empty for [`Other`](Self::Other).
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Patch => "PATCH",
            Self::Other => "",
        }
    }
}
