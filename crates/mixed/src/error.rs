//! Why a call failed.

use std::io;

use ferrevent_core::buffer::BufferError;

/// Why a call failed: the errors of the crate `ferrevent`, as far as libevent's functions tell. Unless a method says
/// otherwise, a call that fails has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The event, bufferevent or listener has been freed, or C has taken it over.
    #[error("it has been freed")]
    Stale,
    /// The loop runs already: a callback cannot run it once more.
    #[error("the loop runs already")]
    Running,
    /// The base, or the thread that it was on, is gone.
    #[error("the base is gone")]
    BaseGone,
    /// The operating system refuses, or libevent does: that gives no reason but `errno`.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The buffer refuses.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// No such signal, or one that cannot be caught.
    #[error("signal {0} cannot be waited for")]
    Signal(i32),
    /// There are not so many priorities.
    #[error("there is no priority {0}")]
    Priority(u8),
}

impl Error {
    /// Of a function of libevent that gave -1 or NULL.
    pub(crate) fn last() -> Self {
        Self::Io(io::Error::last_os_error())
    }
}

/// So that a function that returns [`io::Result`] can use `?` on what this crate returns.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Buffer(error) => error.into(),
            Error::Stale => Self::new(io::ErrorKind::NotFound, error),
            other => Self::new(io::ErrorKind::InvalidInput, other),
        }
    }
}

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
