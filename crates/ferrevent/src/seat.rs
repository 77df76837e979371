//! Where a callback sits while it does not run.

/// A place for a callback. To run, it is taken out, so that the base can be lent to it as a whole; it sits down again
/// afterwards unless its place was taken or removed meanwhile.
pub(crate) enum Seat<T: ?Sized> {
    Empty,
    Taken(Box<T>),
    /// Its owner is running.
    Out,
    /// Nobody will ever sit here again: what it belonged to is freed.
    Gone,
}

impl<T: ?Sized> Seat<T> {
    /// Whether what it belonged to is freed.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// The callback, if it does not run.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Taken(owner) => Some(owner),
            _ => None,
        }
    }

    /// As [`get`](Self::get).
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Taken(owner) => Some(owner),
            _ => None,
        }
    }

    /// Lets it out to run.
    pub(crate) fn take(&mut self) -> Option<Box<T>> {
        match std::mem::replace(self, Self::Out) {
            Self::Taken(owner) => Some(owner),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Lets it sit down again. Gives it back if it has lost its place.
    pub(crate) fn put_back(&mut self, owner: Box<T>) -> Option<Box<T>> {
        if !matches!(self, Self::Out) {
            return Some(owner);
        }
        *self = Self::Taken(owner);
        None
    }
}
