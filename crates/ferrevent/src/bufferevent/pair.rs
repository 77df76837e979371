//! Bufferevents that are each other's transport.

use ferrevent_core::StreamKey;

use super::{BufferEvent, BufferEventBuilder};
use crate::base::Base;

impl BufferEvent {
    /// Two bufferevents that are each other's transport (`bufferevent_pair_new`): what is written to one is read from the
    /// other, in memory. A way to connect two parts of a program that each expect a connection, to test one without a
    /// socket, or to put a [`Stage`](crate::Stage) before something that knows of none.
    ///
    /// Bytes move while the one's writing and the other's reading are enabled, up to the high mark of the other's input;
    /// the rest stays in the output. [`flush`](Self::flush) with [`Mode::Finished`](crate::Mode::Finished) moves
    /// everything, and tells the other end the end of the stream. Freeing one end tells the other nothing: what is
    /// written there stays in its output from then on. Callbacks are deferred; there is one priority for them.
    ///
    /// ```
    /// use ferrevent::{Base, BufferEvent, Callbacks, Dirs};
    ///
    /// # fn main() -> ferrevent::Result<()> {
    /// let mut base = Base::new()?;
    /// let [one, other] = BufferEvent::pair(&mut base);
    /// other.set_handler(&mut base, Callbacks::new().read(|base, bev| {
    ///     assert_eq!(bev.input_len(base), Some(5));
    ///     bev.free(base);
    /// }));
    /// other.enable(&mut base, Dirs::READ)?;
    /// one.write(&mut base, "hello")?;
    /// base.run()?;
    /// # assert!(!other.exists(&base));
    /// # Ok(())
    /// # }
    /// ```
    pub fn pair(base: &mut Base) -> [Self; 2] {
        Self::builder().pair(base)
    }

    /// The other end of a pair, if there is one and it has not been freed (`bufferevent_pair_get_partner`).
    pub fn partner(self, base: &Base) -> Option<Self> {
        let key = base.slot(self)?.key;
        Some(base.core.partner(key)?.1)
    }
}

impl BufferEventBuilder {
    /// Makes a pair, as [`BufferEvent::pair`] does, with these settings for both ends. The priority has no meaning
    /// there.
    pub fn pair(self, base: &mut Base) -> [BufferEvent; 2] {
        let ends = [(); 2].map(|()| base.streams.insert(super::builder::slot_without_socket()));
        // Only UNLOCK_CALLBACKS, which is not ours, can be refused; keys of nothing are as good as freed ones.
        let keys = base.core.new_pair(ends, self.options()).unwrap_or_default();
        for (bev, key) in ends.into_iter().zip(keys) {
            base.streams[bev].key = key;
            self.clone().set_up(base, bev);
        }
        ends
    }
}

impl Base {
    /// Moves bytes from the output of one end to the input of the other.
    pub(super) fn move_bytes(&mut self, bev: BufferEvent, key: StreamKey, limit: usize) {
        let target = self.core.move_target(key);
        let ends = target.and_then(|(_, target)| self.streams.get_disjoint_mut([bev, target]));
        let Some([from, to]) = ends else { return };
        let moved = to.input.transfer_from(&mut from.output, limit);
        from.output.forget_change();
        to.input.forget_change();
        let (output, input) = (from.output.len(), to.input.len());
        self.core.handle_moved(key, moved, output, input);
    }
}
