//! What is to run in this pass: one FIFO queue per priority, with removal from the middle in O(1).

/// Names a queued item until it is popped or removed.
pub(crate) type NodeId = u32;

/// No node.
pub(crate) const NO_NODE: NodeId = u32::MAX;

/// Queues for the priorities `0..priorities`; 0 runs first.
#[derive(Debug)]
pub(crate) struct ActiveQueues<T> {
    queues: Vec<Queue>,
    nodes: Vec<Node<T>>,
    free: NodeId,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    head: NodeId,
    tail: NodeId,
}

#[derive(Debug)]
struct Node<T> {
    item: T,
    priority: u8,
    prev: NodeId,
    next: NodeId,
}

const EMPTY: Queue = Queue {
    head: NO_NODE,
    tail: NO_NODE,
};

impl<T: Copy> ActiveQueues<T> {
    pub(crate) fn new(priorities: usize) -> Self {
        let queues = vec![EMPTY; priorities.max(1)];
        Self {
            queues,
            nodes: Vec::new(),
            free: NO_NODE,
            len: 0,
        }
    }

    /// How many items are queued, over all priorities.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn priorities(&self) -> usize {
        self.queues.len()
    }

    /// Only while nothing is queued.
    pub(crate) fn set_priorities(&mut self, priorities: usize) {
        debug_assert_eq!(self.len, 0);
        self.queues = vec![EMPTY; priorities.max(1)];
    }

    /// The highest priority that has something to run.
    pub(crate) fn first_priority(&self) -> Option<usize> {
        self.queues.iter().position(|queue| queue.head != NO_NODE)
    }

    /// Appends; a priority that does not exist counts as the lowest.
    #[inline]
    pub(crate) fn push(&mut self, priority: u8, item: T) -> NodeId {
        let priority = priority.min((self.queues.len() - 1) as u8);
        let queue = &mut self.queues[usize::from(priority)];
        // `NO_NODE` is beyond the end of the table.
        let node = Node {
            item,
            priority,
            prev: queue.tail,
            next: NO_NODE,
        };
        let id = if let Some(free) = self.nodes.get_mut(self.free as usize) {
            let id = self.free;
            self.free = free.next;
            *free = node;
            id
        } else {
            self.nodes.push(node);
            (self.nodes.len() - 1) as NodeId
        };
        match self.nodes.get_mut(queue.tail as usize) {
            Some(tail) => tail.next = id,
            None => queue.head = id,
        }
        queue.tail = id;
        self.len += 1;
        id
    }

    /// A queued item; `id` must be queued.
    pub(crate) fn item(&self, id: NodeId) -> &T {
        &self.nodes[id as usize].item
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
        let id = queue.head;
        let node = self.nodes.get_mut(id as usize)?;
        let result = wanted(&node.item)?;
        let next = node.next;
        node.next = self.free;
        self.free = id;
        queue.head = next;
        match self.nodes.get_mut(next as usize) {
            Some(next) => next.prev = NO_NODE,
            None => queue.tail = NO_NODE,
        }
        self.len -= 1;
        Some(result)
    }

    /// Takes a queued item out; `id` must be queued.
    pub(crate) fn remove(&mut self, id: NodeId) {
        let Node {
            priority,
            prev,
            next,
            ..
        } = self.nodes[id as usize];
        let queue = &mut self.queues[usize::from(priority)];
        if prev == NO_NODE {
            queue.head = next;
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next == NO_NODE {
            queue.tail = prev;
        } else {
            self.nodes[next as usize].prev = prev;
        }
        self.nodes[id as usize].next = self.free;
        self.free = id;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifo_within_a_priority_and_removal_from_the_middle() {
        let mut queues = ActiveQueues::new(2);
        queues.push(1, 'x');
        let a = queues.push(0, 'a');
        let b = queues.push(0, 'b');
        queues.push(0, 'c');
        assert_eq!(queues.first_priority(), Some(0));
        queues.remove(b);
        assert_eq!(queues.pop(0), Some('a'));
        let d = queues.push(0, 'd');
        assert!(d == a || d == b, "nodes are reused");
        assert_eq!(queues.pop(0), Some('c'));
        assert_eq!(queues.pop(0), Some('d'));
        assert_eq!(queues.pop(0), None);
        assert_eq!(queues.first_priority(), Some(1));
        assert_eq!(queues.len(), 1);
    }

    #[test]
    fn a_priority_out_of_range_is_the_lowest() {
        let mut queues = ActiveQueues::new(2);
        queues.push(9, 'x');
        assert_eq!(queues.pop(1), Some('x'));
    }
}
