//! State that callbacks share.

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::base::Base;
use crate::shared::Shared;

/// State that callbacks share, one value per type, for all handles of the same base: what a C file has in its static
/// variables.
///
/// Unlike in the crate `ferrevent`, what is lent is a guard and not a reference: C code that runs meanwhile may call Rust
/// anew, on the same base, and must not get the same value once more.
impl Base {
    /// Keeps `value` with the base, and gives back the one of the same type that was there, unless that is lent.
    pub fn insert_state<T: 'static>(&mut self, value: T) -> Option<T> {
        let old = self
            .shared()
            .state
            .borrow_mut()
            .insert(TypeId::of::<T>(), Rc::new(value));
        Rc::into_inner(old?.downcast().ok()?)
    }

    /// The value of this type, if there is one that is not lent to be changed.
    pub fn state<T: 'static>(&self) -> Option<State<'_, T>> {
        let value = self
            .shared()
            .state
            .borrow()
            .get(&TypeId::of::<T>())?
            .clone();
        Some(State {
            value: value.downcast().ok()?,
            _base: PhantomData,
        })
    }

    /// As [`state`](Self::state), to be changed. Until it is given back the base has no such value.
    pub fn state_mut<T: 'static>(&mut self) -> Option<StateMut<'_, T>> {
        let value = self.remove_state::<T>()?;
        Some(StateMut {
            value: Some(value),
            cleared: self.shared().cleared.get(),
            shared: self.shared().clone(),
            _base: PhantomData,
        })
    }

    /// Takes the value of this type out, unless it is lent.
    pub fn remove_state<T: 'static>(&mut self) -> Option<T> {
        let mut state = self.shared().state.borrow_mut();
        let value: Rc<T> = state.remove(&TypeId::of::<T>())?.downcast().ok()?;
        match Rc::try_unwrap(value) {
            Ok(value) => Some(value),
            Err(lent) => {
                state.insert(TypeId::of::<T>(), lent);
                None
            }
        }
    }

    /// Lends both the base and the value of this type to `use_it`, during which the base has no such value. `None` if
    /// there is none. Afterwards it is put back, unless `use_it` has put another one in its place, or panics: then it is
    /// dropped.
    pub fn with_state<T: 'static, R>(
        &mut self,
        use_it: impl FnOnce(&mut Self, &mut T) -> R,
    ) -> Option<R> {
        let mut value = self.remove_state::<T>()?;
        // A callback may exchange its handle for another base's.
        let shared = self.shared().clone();
        let cleared = shared.cleared.get();
        let result = use_it(self, &mut value);
        put_back(&shared, cleared, value);
        Some(result)
    }
}

/// Puts what was lent in its place, unless there is another one by now, or everything was freed meanwhile.
fn put_back<T: 'static>(shared: &Shared, cleared: u64, value: T) {
    if shared.cleared.get() != cleared {
        return;
    }
    let mut state = shared.state.borrow_mut();
    let value: Rc<dyn Any> = Rc::new(value);
    let surplus = match state.entry(TypeId::of::<T>()) {
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(value);
            None
        }
        std::collections::hash_map::Entry::Occupied(_) => Some(value),
    };
    // What it does when it is dropped may need the state.
    drop(state);
    drop(surplus);
}

/// A value of the base's [state](Base::state), lent.
pub struct State<'a, T> {
    value: Rc<T>,
    _base: PhantomData<&'a Base>,
}

/// A value of the base's state, lent to be [changed](Base::state_mut).
pub struct StateMut<'a, T: 'static> {
    /// There until it is dropped.
    value: Option<T>,
    cleared: u64,
    shared: Rc<Shared>,
    _base: PhantomData<&'a mut Base>,
}

impl<T> Deref for State<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for StateMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
            .as_ref()
            .expect("it is there until it is dropped")
    }
}

impl<T> DerefMut for StateMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
            .as_mut()
            .expect("it is there until it is dropped")
    }
}

impl<T: 'static> Drop for StateMut<'_, T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            put_back(&self.shared, self.cleared, value);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for State<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for StateMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
