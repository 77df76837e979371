//! Where a callback sits while it does not run.

/// A place for a callback. To run, it is taken out, so that nothing is borrowed meanwhile; it sits down again afterwards
/// unless its place was taken or removed.
pub(crate) enum Seat<T: ?Sized> {
    Empty,
    Taken(Box<T>),
    /// Its owner is running.
    Out,
}

impl<T: ?Sized> Seat<T> {
    /// Whether its owner is running.
    pub(crate) fn is_out(&self) -> bool {
        matches!(self, Self::Out)
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
        if !self.is_out() {
            return Some(owner);
        }
        *self = Self::Taken(owner);
        None
    }
}
