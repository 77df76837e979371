//! Objects that the program may free in a callback, while a call on them goes on: their memory stays until the last such
//! call is over.

use std::ops::Deref;
use std::ptr::NonNull;

/// In an object: how many calls need its memory, and whether it has been freed.
#[derive(Debug, Default)]
pub(crate) struct Held {
    holds: u32,
    gone: bool,
}

impl Held {
    /// Whether the object has been freed, and only its memory is still there.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The object is freed. Returns whether its memory may go at once.
    pub(crate) fn leave(&mut self) -> bool {
        self.gone = true;
        self.holds == 0
    }
}

/// An object whose memory a [`Hold`] keeps.
///
/// # Safety
/// [`held`](Self::held) is in the object, and always the same. Where it is gone, whoever frees the object gives its memory
/// back only if nobody holds it, and leaves it to the last hold otherwise.
pub(crate) unsafe trait Holdable {
    /// # Safety
    /// The memory of `this` is there.
    unsafe fn held(this: *mut Self) -> *mut Held;

    /// Gives the memory back.
    ///
    /// # Safety
    /// `this` is gone, and nobody holds it any more.
    unsafe fn give_back(this: *mut Self);
}

/// Keeps the memory of an object over a call.
pub(crate) struct Hold<T: Holdable>(NonNull<T>);

impl<T: Holdable> Hold<T> {
    /// # Safety
    /// `object` is live.
    pub(crate) unsafe fn new(object: *mut T) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            (*T::held(object)).holds += 1;
            Self(NonNull::new_unchecked(object))
        }
    }
}

impl<T: Holdable> Deref for Hold<T> {
    type Target = Held;

    fn deref(&self) -> &Held {
        // SAFETY: the hold keeps the memory. It is written to only where this reference is not used any more: each call
        // of the program's comes between two looks at it.
        unsafe { &*T::held(self.0.as_ptr()) }
    }
}

impl<T: Holdable> Drop for Hold<T> {
    fn drop(&mut self) {
        let object = self.0.as_ptr();
        // SAFETY: the hold has kept the memory until here; without another one nobody uses what is gone.
        unsafe {
            let held = T::held(object);
            (*held).holds -= 1;
            if (*held).gone && (*held).holds == 0 {
                T::give_back(object);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Object<'a> {
        held: Held,
        freed: &'a Cell<u32>,
    }

    // SAFETY: `held` is in it; `free` leaves the memory to the last hold.
    unsafe impl Holdable for Object<'_> {
        unsafe fn held(this: *mut Self) -> *mut Held {
            // SAFETY: by this function's contract.
            unsafe { &raw mut (*this).held }
        }

        unsafe fn give_back(this: *mut Self) {
            // SAFETY: `object` has made it with a box.
            let object = unsafe { Box::from_raw(this) };
            object.freed.set(object.freed.get() + 1);
        }
    }

    fn object(freed: &Cell<u32>) -> *mut Object<'_> {
        let held = Held::default();
        Box::into_raw(Box::new(Object { held, freed }))
    }

    unsafe fn free(object: *mut Object<'_>) {
        // SAFETY: the caller's is live.
        unsafe {
            if (*object).held.leave() {
                Object::give_back(object);
            }
        }
    }

    #[test]
    fn the_last_hold_takes_what_is_gone_with_it() {
        let freed = Cell::new(0);
        let object = object(&freed);
        // SAFETY: it is live until `free`, and its memory is there until both holds are dropped.
        unsafe {
            let (outer, inner) = (Hold::new(object), Hold::new(object));
            assert!(!inner.is_gone());
            free(object);
            assert!(outer.is_gone() && inner.is_gone());
            drop(inner);
            assert_eq!(freed.get(), 0);
            drop(outer);
        }
        assert_eq!(freed.get(), 1);
    }

    #[test]
    fn what_is_not_gone_stays() {
        let freed = Cell::new(0);
        let object = object(&freed);
        // SAFETY: it is live until `free`.
        unsafe {
            drop(Hold::new(object));
            assert_eq!(freed.get(), 0);
            free(object);
        }
        assert_eq!(freed.get(), 1, "nobody holds it");
    }
}
