//! Values under generational keys, packed more tightly than a doubling table packs them.
//!
//! By hand, because of what an idle connection costs: `slotmap`'s tables grow to twice their size, so that up to half of
//! them is empty. Once it is large, this one grows by a sixteenth. Growing it then moves page table entries and no bytes.

use std::ops::{Index, IndexMut};

use slotmap::{Key, KeyData};

/// Values of type `T` under keys of type `K`, which are never taken for one another: the key of a value that is gone
/// finds nothing.
#[derive(Debug)]
pub struct Arena<K, T> {
    slots: Vec<Slot<T>>,
    /// Vacant slots.
    free: Vec<u32>,
    /// What the version of a new slot begins with: no key of a slot that was given back has a later one.
    fresh: u32,
    keys: std::marker::PhantomData<fn(K)>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Odd while a value is there, and never the same for two values of one slot until it wraps.
    version: u32,
    value: Option<T>,
}

impl<K, T> Default for Arena<K, T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            fresh: 0,
            keys: std::marker::PhantomData,
        }
    }
}

impl<K: Key, T> Arena<K, T> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the key's value is still there.
    pub fn contains_key(&self, key: K) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key.
    #[inline]
    pub fn get(&self, key: K) -> Option<&T> {
        let (index, version) = parts(key);
        let slot = self.slots.get(index).filter(|s| s.version == version)?;
        slot.value.as_ref()
    }

    /// The value of a key, to be changed.
    #[inline]
    pub fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let (index, version) = parts(key);
        let slot = self.slots.get_mut(index).filter(|s| s.version == version)?;
        slot.value.as_mut()
    }

    /// Two values at once, if both keys' are there and they are not the same.
    pub fn get_disjoint_mut(&mut self, keys: [K; 2]) -> Option<[&mut T; 2]> {
        if keys.iter().any(|&key| self.get(key).is_none()) {
            return None;
        }
        let both = keys.map(|key| parts(key).0);
        let [one, other] = self.slots.get_disjoint_mut(both).ok()?;
        Some([one.value.as_mut()?, other.value.as_mut()?])
    }

    /// Puts a value in, and gives its key.
    pub fn insert(&mut self, value: T) -> K {
        self.insert_with_key(|_| value)
    }

    /// As [`insert`](Self::insert), for a value that knows its own key.
    pub fn insert_with_key(&mut self, value: impl FnOnce(K) -> T) -> K {
        let index = self.free.pop().unwrap_or_else(|| {
            push_slowly_growing(
                &mut self.slots,
                Slot {
                    version: self.fresh,
                    value: None,
                },
            );
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.version = slot.version.wrapping_add(1);
        let key = key_of(index, slot.version);
        slot.value = Some(value(key));
        key
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: K) -> Option<T> {
        let (index, version) = parts(key);
        let slot = self.slots.get_mut(index).filter(|s| s.version == version)?;
        let value = slot.value.take()?;
        slot.version = slot.version.wrapping_add(1);
        self.free.push(index as u32);
        if self.free.len() == self.slots.len() {
            self.give_back();
        }
        Some(value)
    }

    /// Gives the memory of a large table back, in which nothing is.
    fn give_back(&mut self) {
        if self.slots.capacity() * size_of::<Slot<T>>() < LARGE {
            return;
        }
        let latest = self.slots.iter().map(|slot| slot.version).max();
        // A version that has gone half of the way round may soon be one again that it was before.
        if let Some(latest) = latest.filter(|latest| *latest < u32::MAX / 2) {
            self.fresh = latest;
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }

    /// The key of the value in a slot.
    #[inline]
    pub fn key_at(&self, index: u32) -> Option<K> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref()?;
        Some(key_of(index, slot.version))
    }

    /// All keys and values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((key_of(index as u32, slot.version), value))
        })
    }

    /// All values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }
}

/// # Panics
/// If the value is gone.
impl<K: Key, T> Index<K> for Arena<K, T> {
    type Output = T;

    fn index(&self, key: K) -> &T {
        self.get(key).expect("the key's value is there")
    }
}

/// # Panics
/// If the value is gone.
impl<K: Key, T> IndexMut<K> for Arena<K, T> {
    fn index_mut(&mut self, key: K) -> &mut T {
        self.get_mut(key).expect("the key's value is there")
    }
}

/// Which slot a key means.
#[inline]
pub(crate) fn index_of<K: Key>(key: K) -> u32 {
    key.data().as_ffi() as u32
}

/// The key of a slot, whose version is odd.
#[inline]
pub(crate) fn key_of<K: Key>(index: u32, version: u32) -> K {
    KeyData::from_ffi(u64::from(version) << 32 | u64::from(index)).into()
}

#[inline]
pub(crate) fn parts<K: Key>(key: K) -> (usize, u32) {
    let number = key.data().as_ffi();
    (number as u32 as usize, (number >> 32) as u32)
}

/// Appends to a table that may become large: from where on an allocator can be expected to move it without copying, it
/// grows by a sixteenth and not to the double, or by a quarter if its values are small.
#[inline]
pub(crate) fn push_slowly_growing<T>(table: &mut Vec<T>, value: T) {
    if table.len() == table.capacity() {
        grow(table);
    }
    table.push(value);
}

#[cold]
fn grow<T>(table: &mut Vec<T>) {
    if table.len() * size_of::<T>() >= LARGE {
        table.reserve_exact(table.len() / part::<T>());
    } else {
        table.reserve(1);
    }
}

/// Which part of a large table it grows by. Each time, its page table entries are moved, which small values feel: there
/// are many of them, and they are made in little time.
const fn part<T>() -> usize {
    if size_of::<T>() <= SMALL { 4 } else { 16 }
}

/// Bytes of a small value.
const SMALL: usize = 32;

/// Bytes from which on glibc maps memory for one allocation.
const LARGE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventKey;

    #[test]
    fn a_key_finds_its_value_and_no_other() {
        let mut arena = Arena::<EventKey, _>::default();
        let a = arena.insert('a');
        let b = arena.insert('b');
        assert_eq!(arena.remove(a), Some('a'));
        assert_eq!(arena.remove(a), None);
        let c = arena.insert('c');
        assert_eq!(index_of(a), index_of(c), "slots are reused");
        assert_eq!((arena.get(a), arena.get(b)), (None, Some(&'b')));
        assert_eq!(arena.key_at(index_of(c)), Some(c));
        assert_eq!(arena.get_disjoint_mut([b, c]), Some([&mut 'b', &mut 'c']));
        assert_eq!(arena.get_disjoint_mut([b, b]), None);
        assert_eq!(arena.get_disjoint_mut([b, a]), None);
        arena[c] = 'd';
        let mut all: Vec<_> = arena.iter().collect();
        all.sort_unstable();
        assert_eq!(all.len(), arena.len());
        assert!(all.contains(&(b, &'b')) && all.contains(&(c, &'d')));
        assert_eq!(arena.get(EventKey::null()), None);
    }

    #[test]
    fn an_empty_arena_gives_its_memory_back_and_knows_old_keys_as_old() {
        let mut arena = Arena::<EventKey, [u64; 8]>::default();
        let mut old = Vec::new();
        for round in 0..3 {
            let keys: Vec<_> = (0..5_000).map(|n| arena.insert([n; 8])).collect();
            assert!(arena.slots.capacity() * size_of::<Slot<[u64; 8]>>() > LARGE);
            assert!(old.iter().all(|key| !arena.contains_key(*key)));
            // Some slots are used more often than others.
            for key in &keys[..round] {
                arena.remove(*key);
                old.push(arena.insert([0; 8]));
            }
            let others: Vec<_> = arena.iter().map(|(key, _)| key).collect();
            for key in others {
                assert!(arena.remove(key).is_some());
            }
            assert_eq!((arena.slots.capacity(), arena.free.capacity()), (0, 0));
            old.extend(keys);
        }
    }

    #[test]
    fn little_of_a_large_arena_is_empty() {
        let mut arena = Arena::<EventKey, [u64; 8]>::default();
        for n in 0..20_000 {
            arena.insert([n; 8]);
            let large = arena.len() * size_of::<Slot<[u64; 8]>>() > 2 * LARGE;
            assert!(!large || arena.slots.capacity() <= arena.len() + arena.len() / 16);
        }
    }
}
