//! Why a call failed.

use std::io;

use ferrevent_core::AddError;
use ferrevent_core::buffer::BufferError;

/// Why a call failed. Unless a method says otherwise, a call that fails has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The event, bufferevent or listener has been freed.
    #[error("it has been freed")]
    Stale,
    /// The loop runs already: a callback cannot run it once more.
    #[error("the loop runs already")]
    Running,
    /// The base, or the thread that it was on, is gone.
    #[error("the base is gone")]
    BaseGone,
    /// The operating system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The buffer refuses.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// The host has no address.
    #[error("cannot look up {host}: {source}")]
    Lookup {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// What was to be looked up is no name.
    #[error(transparent)]
    Name(#[from] ferrevent_dns::BadName),
    /// The head of an HTTP message cannot be written, or not now.
    #[error(transparent)]
    Head(#[from] ferrevent_http::BadHead),
    /// It is no URL of a server: another scheme than `http` and `https`, no host, or no port that there can be.
    #[error("it is no URL of an HTTP server")]
    Url,
    /// One event wants changes, another one levels, on the same descriptor.
    #[error("edge-triggered and level-triggered events on the same descriptor")]
    MixedTriggers,
    /// No such signal, or one that cannot be caught.
    #[error("signal {0} cannot be waited for")]
    Signal(i32),
    /// There are not so many priorities.
    #[error("there is no priority {0}")]
    Priority(u8),
    /// The bufferevent below carries a stage already, or too many stand on each other.
    #[error("the bufferevent below cannot carry another one")]
    Layered,
    /// An HTTP server has the bufferevent already.
    #[error("an HTTP server serves it already")]
    Served,
    /// A rate of nothing, a burst below the rate, or a tick below a millisecond.
    #[error("no rate limit")]
    RateLimit,
    /// TLS refuses: the peer's certificate, what it sent, or the configuration.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// A base with a driver of one's own has no sockets and signals of the operating system.
    #[error("the base does not run on the operating system")]
    NotOnSystem,
    /// A base on the operating system takes descriptors that somebody owns, not numbers.
    #[error("the base runs on the operating system and takes no bare descriptor numbers")]
    OnSystem,
}

impl From<AddError> for Error {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Driver(error) => Self::Io(error),
            AddError::MixedTriggers => Self::MixedTriggers,
            AddError::Signal(signal) => Self::Signal(signal),
        }
    }
}

/// So that a function that returns [`io::Result`] can use `?` on what this crate returns.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Buffer(error) => error.into(),
            Error::Lookup { ref source, .. } => Self::new(source.kind(), error),
            Error::Stale => Self::new(io::ErrorKind::NotFound, error),
            Error::NotOnSystem | Error::OnSystem => Self::new(io::ErrorKind::Unsupported, error),
            other => Self::new(io::ErrorKind::InvalidInput, other),
        }
    }
}

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
