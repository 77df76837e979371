//! Sorting of many entries that are due at once.
//!
//! Their deadlines are mostly spread over the time that the loop has waited. So they are dealt out to buckets first, each
//! of which is a part of that time; what is in a bucket is then sorted in a few steps, or in none. Sorting them by
//! comparisons alone takes four times the instructions for a thousand, and most of the time of the whole expiry for a
//! million.

use crate::heap::Entry;

/// So few are sorted by comparisons.
const FEW: usize = 32;

/// With more, what is dealt out would not be in the cache.
const MOST_BUCKETS: usize = 4096;

/// Puts the earliest last: in this order they are popped from the end.
pub(crate) fn sort(mut entries: Vec<Entry>) -> Vec<Entry> {
    if entries.len() > FEW {
        return sorted(entries.into_iter());
    }
    let origin = entries.first().map_or(0, |entry| entry.order);
    sort_part(&mut entries, origin);
    entries
}

/// As [`sort`].
pub(crate) fn sorted(entries: impl Iterator<Item = Entry> + Clone) -> Vec<Entry> {
    // The orders count from one that is as good as any: those of the living are close together.
    let origin = entries.clone().next().map_or(0, |entry| entry.order);
    let (mut len, mut first, mut last) = (0, u64::MAX, 0);
    for entry in entries.clone() {
        len += 1;
        first = first.min(entry.deadline);
        last = last.max(entry.deadline);
    }
    if len <= FEW {
        let mut all: Vec<Entry> = entries.collect();
        sort_part(&mut all, origin);
        return all;
    }
    let buckets = len.next_power_of_two().min(MOST_BUCKETS);
    let shift = (u64::BITS - (last - first).leading_zeros()).saturating_sub(buckets.ilog2());
    // The latest come first.
    let bucket = |entry: &Entry| ((last - entry.deadline) >> shift) as usize;

    // How many are in a bucket, then where the next one of it goes.
    let mut places = vec![0_u32; buckets];
    for entry in entries.clone() {
        places[bucket(&entry)] += 1;
    }
    let mut begin = 0;
    for place in &mut places {
        begin += std::mem::replace(place, begin);
    }
    let mut dealt = vec![Entry::default(); len];
    for entry in entries {
        let place = &mut places[bucket(&entry)];
        dealt[*place as usize] = entry;
        *place += 1;
    }
    // Now they say where a bucket ends.
    let mut begin = 0;
    for end in places {
        let end = end as usize;
        if end - begin > 1 {
            sort_part(&mut dealt[begin..end], origin);
        }
        begin = end;
    }
    dealt
}

fn sort_part(entries: &mut [Entry], origin: u32) {
    entries.sort_unstable_by_key(|entry| {
        let order = entry.order.wrapping_sub(origin) ^ 1 << 31;
        !(u128::from(entry.deadline) << 32 | u128::from(order))
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_earliest_is_last_and_of_equals_the_first_armed(
            deadlines in prop::collection::vec(
                prop_oneof![0u64..40, 0u64..1_000_000, any::<u64>(), Just(u64::MAX), Just(7)],
                0..300,
            ),
            first_order in any::<u32>(),
            times in 1usize..20,
        ) {
            let deadlines = deadlines.iter().cycle().take(deadlines.len() * times);
            let mut entries: Vec<Entry> = deadlines
                .enumerate()
                .map(|(n, &deadline)| Entry {
                    deadline,
                    order: first_order.wrapping_add(n as u32),
                    id: n as u32,
                })
                .collect();
            let mut expected: Vec<_> = entries.iter().map(|e| (e.deadline, e.id)).collect();
            expected.sort_unstable_by(|a, b| b.cmp(a));
            let half = entries.len() / 2;
            entries.rotate_left(half);
            let sorted: Vec<_> = sort(entries).iter().map(|e| (e.deadline, e.id)).collect();
            prop_assert_eq!(sorted, expected);
        }
    }
}
