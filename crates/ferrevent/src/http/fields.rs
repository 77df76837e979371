//! Header fields that a program sets.

/// Names and values, in their order, in one piece of memory.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldList {
    text: Vec<u8>,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl FieldList {
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.text.extend_from_slice(name);
        let name_end = self.text.len();
        self.text.extend_from_slice(value);
        self.ends.push((name_end, self.text.len()));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, end)| {
            let name = &self.text[start..name_end];
            start = end;
            (name, &self.text[name_end..end])
        })
    }
}
