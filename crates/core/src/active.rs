//! What is to run in this pass: one FIFO queue per priority, with removal from the middle in O(1).
//!
//! What is removed leaves a gap, which is skipped when its turn comes: queueing something and taking it out again is then
//! no more than writing and reading it.

use std::collections::VecDeque;

/// Names a queued item among those of its priority until it is popped or removed.
pub(crate) type NodeId = u32;

/// No item.
pub(crate) const NO_NODE: NodeId = u32::MAX;

/// Ids go round in so many.
const ID_MASK: NodeId = u32::MAX >> 1;

/// With fewer gaps it is not worth closing them.
const MANY_GAPS: usize = 8;

/// Queues for the priorities `0..priorities`; 0 runs first.
#[derive(Debug)]
pub(crate) struct ActiveQueues<T> {
    queues: Vec<Queue<T>>,
    len: usize,
}

#[derive(Debug)]
struct Queue<T> {
    /// The first one is not a gap.
    items: VecDeque<Option<T>>,
    /// The id of the first one; each has the next id after the one before it.
    first: NodeId,
    gaps: usize,
}

impl<T: Copy> ActiveQueues<T> {
    pub(crate) fn new(priorities: usize) -> Self {
        let mut queues = Vec::new();
        queues.resize_with(priorities.max(1), Queue::new);
        Self { queues, len: 0 }
    }

    /// How many items are queued, over all priorities.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn priorities(&self) -> usize {
        self.queues.len()
    }

    /// Only while nothing is queued.
    pub(crate) fn set_priorities(&mut self, priorities: usize) {
        debug_assert_eq!(self.len, 0);
        *self = Self::new(priorities);
    }

    /// The highest priority that has something to run.
    pub(crate) fn first_priority(&self) -> Option<usize> {
        self.queues.iter().position(|queue| !queue.items.is_empty())
    }

    /// A priority that does not exist counts as the lowest.
    #[inline]
    fn queue(&mut self, priority: u8) -> &mut Queue<T> {
        let lowest = self.queues.len() - 1;
        &mut self.queues[usize::from(priority).min(lowest)]
    }

    /// Whether [`push`](Self::push) only writes.
    #[inline(always)]
    pub(crate) fn has_room(&self, priority: u8) -> bool {
        self.queues
            .get(usize::from(priority))
            .is_some_and(|queue| queue.items.len() < queue.items.capacity())
    }

    /// Appends.
    #[inline]
    pub(crate) fn push(&mut self, priority: u8, item: T) -> NodeId {
        self.len += 1;
        let queue = self.queue(priority);
        let id = queue.first.wrapping_add(queue.items.len() as NodeId) & ID_MASK;
        queue.items.push_back(Some(item));
        id
    }

    /// The item that was pushed with this priority and got this id, if it is still queued.
    pub(crate) fn item(&mut self, priority: u8, id: NodeId) -> Option<T> {
        let queue = self.queue(priority);
        let index = queue.index(id);
        *queue.items.get(index)?
    }

    #[inline]
    pub(crate) fn pop(&mut self, priority: usize) -> Option<T> {
        self.pop_if(priority, |item| Some(*item))
    }

    /// Pops the first item, if `wanted` makes something of it.
    #[inline]
    pub(crate) fn pop_if<R>(
        &mut self,
        priority: usize,
        wanted: impl FnOnce(&T) -> Option<R>,
    ) -> Option<R> {
        let queue = self.queues.get_mut(priority)?;
        let item = queue.items.pop_front()?;
        let Some(result) = item.as_ref().and_then(wanted) else {
            queue.items.push_front(item);
            return None;
        };
        queue.first = queue.first.wrapping_add(1) & ID_MASK;
        if queue.gaps > 0 {
            queue.skip_gaps();
        }
        self.len -= 1;
        Some(result)
    }

    /// Takes out the item that was pushed with this priority and got this id. Returns whether most of what is left are gaps, which
    /// are to be [closed](Self::close_gaps) then.
    #[must_use]
    pub(crate) fn remove(&mut self, priority: u8, id: NodeId) -> bool {
        let queue = self.queue(priority);
        let index = queue.index(id);
        let removed = queue.items.get_mut(index).and_then(Option::take);
        debug_assert!(removed.is_some(), "it is queued");
        if removed.is_none() {
            return false;
        }
        queue.gaps += 1;
        if index == 0 {
            queue.skip_gaps();
        }
        let crowded = queue.gaps >= MANY_GAPS && queue.gaps > queue.items.len() / 2;
        self.len -= 1;
        crowded
    }

    /// Closes the gaps of a priority: `moved` is told the new id of each item.
    #[cold]
    pub(crate) fn close_gaps(&mut self, priority: u8, mut moved: impl FnMut(&T, NodeId)) {
        let queue = self.queue(priority);
        queue.items.retain(Option::is_some);
        queue.gaps = 0;
        let mut id = queue.first;
        for item in queue.items.iter().flatten() {
            moved(item, id);
            id = id.wrapping_add(1) & ID_MASK;
        }
    }
}

impl<T> Queue<T> {
    fn new() -> Self {
        Self {
            items: VecDeque::new(),
            first: 0,
            gaps: 0,
        }
    }

    #[inline]
    fn index(&self, id: NodeId) -> usize {
        (id.wrapping_sub(self.first) & ID_MASK) as usize
    }

    #[cold]
    fn skip_gaps(&mut self) {
        while let Some(None) = self.items.front() {
            self.items.pop_front();
            self.first = self.first.wrapping_add(1) & ID_MASK;
            self.gaps -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fifo_within_a_priority_and_removal_from_the_middle() {
        let mut queues = ActiveQueues::new(2);
        queues.push(1, 'x');
        queues.push(0, 'a');
        let b = queues.push(0, 'b');
        queues.push(0, 'c');
        assert_eq!(queues.first_priority(), Some(0));
        assert!(!queues.remove(0, b));
        assert_eq!(queues.item(0, b), None);
        assert_eq!(queues.pop(0), Some('a'));
        queues.push(0, 'd');
        assert_eq!(queues.pop(0), Some('c'));
        assert_eq!(queues.pop(0), Some('d'));
        assert_eq!(queues.pop(0), None);
        assert_eq!(queues.first_priority(), Some(1));
        assert_eq!(queues.len(), 1);
    }

    #[test]
    fn a_priority_out_of_range_is_the_lowest() {
        let mut queues = ActiveQueues::new(2);
        let id = queues.push(9, 'x');
        assert_eq!(queues.item(9, id), Some('x'));
        assert_eq!(queues.pop(1), Some('x'));
    }

    #[test]
    fn gaps_behind_something_that_waits_do_not_pile_up() {
        let mut queues = ActiveQueues::new(1);
        queues.push(0, 0);
        let mut last = queues.push(0, 1);
        for n in 2..100_000_u32 {
            let next = queues.push(0, n);
            if queues.remove(0, last) {
                let mut moved = Vec::new();
                queues.close_gaps(0, |&item, id| moved.push((item, id)));
                assert_eq!(
                    moved.iter().map(|&(item, _)| item).collect::<Vec<_>>(),
                    [0, n]
                );
                last = moved[1].1;
            } else {
                last = next;
            }
            assert_eq!(queues.item(0, last), Some(n));
        }
        assert!(queues.queues[0].items.capacity() <= 4 * MANY_GAPS);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(u8),
        Pop(usize),
        Remove(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0u8..4).prop_map(Op::Push),
            1 => (0usize..3).prop_map(Op::Pop),
            3 => any::<usize>().prop_map(Op::Remove),
        ]
    }

    proptest! {
        /// Against plain lists. The ids begin just before they go round.
        #[test]
        fn agrees_with_lists(ops in prop::collection::vec(op(), 1..1200), before in 0u32..20) {
            let mut queues = ActiveQueues::new(3);
            for queue in &mut queues.queues {
                queue.first = ID_MASK - before;
            }
            // The items of each priority, with their ids.
            let mut model: [Vec<(usize, NodeId)>; 3] = Default::default();
            for (item, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Push(priority) => {
                        let id = queues.push(priority, item);
                        model[usize::from(priority).min(2)].push((item, id));
                    }
                    Op::Pop(priority) => {
                        let list = &mut model[priority];
                        let first = (!list.is_empty()).then(|| list.remove(0).0);
                        prop_assert_eq!(queues.pop(priority), first);
                    }
                    Op::Remove(which) => {
                        let priority = which % 3;
                        let list = &mut model[priority];
                        if list.is_empty() {
                            continue;
                        }
                        let (_, id) = list.remove(which / 3 % list.len());
                        if queues.remove(priority as u8, id) {
                            let mut closed = Vec::new();
                            queues.close_gaps(priority as u8, |&item, id| closed.push((item, id)));
                            let items = |list: &[(usize, _)]| -> Vec<usize> {
                                list.iter().map(|&(item, _)| item).collect()
                            };
                            prop_assert_eq!(items(&closed), items(list));
                            *list = closed;
                        }
                    }
                }
                for (priority, list) in model.iter().enumerate() {
                    for &(item, id) in list {
                        prop_assert_eq!(queues.item(priority as u8, id), Some(item));
                    }
                }
                let first = model.iter().position(|list| !list.is_empty());
                prop_assert_eq!(queues.first_priority(), first);
                prop_assert_eq!(queues.len(), model.iter().map(Vec::len).sum::<usize>());
            }
        }
    }
}
