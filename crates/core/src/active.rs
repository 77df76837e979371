//! What is to run in this pass: one FIFO queue per priority, with removal from the middle in O(1).
//!
//! What is removed leaves a gap, which is skipped when its turn comes: queueing something and taking it out again is then
//! no more than writing and reading it.

/// Names a queued item among those of its priority until it is popped or removed.
pub(crate) type NodeId = u32;

/// No item.
pub(crate) const NO_NODE: NodeId = u32::MAX;

/// Ids go round in so many.
const ID_MASK: NodeId = u32::MAX >> 1;

/// With fewer gaps it is not worth closing them.
const MANY_GAPS: u32 = 8;

/// Room that a queue has as soon as something was in it. A power of two.
const FEWEST: usize = 4;

/// Queues for the priorities `0..priorities`; 0 runs first.
#[derive(Debug)]
pub(crate) struct ActiveQueues<T> {
    queues: Vec<Queue<T>>,
    len: usize,
}

/// A ring by hand: an item's id says where it is, so that queueing one and taking it out again are some ten instructions each
/// less than with a `VecDeque`. Both happen for each event that runs.
#[derive(Debug)]
struct Queue<T> {
    /// As many as a power of two, or none. `None` is a gap; what is not [queued](Self::len) is of no meaning.
    slots: Box<[Option<T>]>,
    /// The id of the first one, which is not a gap; each has the next id after the one before it.
    first: NodeId,
    /// How many are queued, gaps among them.
    len: u32,
    gaps: u32,
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
        self.queues.iter().position(|queue| queue.len > 0)
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
            .is_some_and(Queue::has_room)
    }

    /// Appends.
    #[inline]
    pub(crate) fn push(&mut self, priority: u8, item: T) -> NodeId {
        self.len += 1;
        self.queue(priority).push(item)
    }

    /// The item that was pushed with this priority and got this id, if it is still queued.
    pub(crate) fn item(&mut self, priority: u8, id: NodeId) -> Option<T> {
        *self.queue(priority).slot(id)?
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
        let result = queue.front().and_then(wanted)?;
        queue.leave_first();
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
        let removed = queue.slot(id).and_then(Option::take);
        debug_assert!(removed.is_some(), "it is queued");
        if removed.is_none() {
            return false;
        }
        queue.gaps += 1;
        if id == queue.first {
            queue.skip_gaps();
        }
        let crowded = queue.gaps >= MANY_GAPS && queue.gaps > queue.len / 2;
        self.len -= 1;
        crowded
    }

    /// Closes the gaps of a priority: `moved` is told the new id of each item.
    #[cold]
    pub(crate) fn close_gaps(&mut self, priority: u8, mut moved: impl FnMut(&T, NodeId)) {
        let queue = self.queue(priority);
        let (from, len) = (queue.first, queue.len);
        queue.len = 0;
        queue.gaps = 0;
        for n in 0..len {
            // What is moved goes to where it is, or to where something before it was.
            let id = from.wrapping_add(n) & ID_MASK;
            let Some(item) = queue.slots[queue.place(id)] else {
                continue;
            };
            moved(&item, queue.push(item));
        }
    }
}

impl<T: Copy> Queue<T> {
    fn new() -> Self {
        Self {
            slots: Box::default(),
            first: 0,
            len: 0,
            gaps: 0,
        }
    }

    #[inline]
    fn has_room(&self) -> bool {
        (self.len as usize) < self.slots.len()
    }

    /// Where in the ring, if there is one, an id belongs.
    #[inline]
    fn place(&self, id: NodeId) -> usize {
        id as usize & self.slots.len().wrapping_sub(1)
    }

    /// The slot of an id that is queued.
    #[inline]
    fn slot(&mut self, id: NodeId) -> Option<&mut Option<T>> {
        let queued = id.wrapping_sub(self.first) & ID_MASK < self.len;
        let place = self.place(id);
        self.slots.get_mut(place).filter(|_| queued)
    }

    #[inline]
    fn front(&self) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        self.slots.get(self.place(self.first))?.as_ref()
    }

    #[inline]
    fn leave_first(&mut self) {
        self.first = self.first.wrapping_add(1) & ID_MASK;
        self.len -= 1;
    }

    #[inline]
    fn push(&mut self, item: T) -> NodeId {
        if !self.has_room() {
            self.grow();
        }
        let id = self.first.wrapping_add(self.len) & ID_MASK;
        let place = self.place(id);
        self.slots[place] = Some(item);
        self.len += 1;
        id
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let longer = vec![None; (2 * self.slots.len()).max(FEWEST)].into_boxed_slice();
        let shorter = std::mem::replace(&mut self.slots, longer);
        for n in 0..self.len {
            let id = self.first.wrapping_add(n) & ID_MASK;
            let place = self.place(id);
            self.slots[place] = shorter[id as usize & (shorter.len() - 1)];
        }
    }

    #[cold]
    fn skip_gaps(&mut self) {
        while self.len > 0 && self.front().is_none() {
            self.leave_first();
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
        assert!(queues.queues[0].slots.len() <= 4 * MANY_GAPS as usize);
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
