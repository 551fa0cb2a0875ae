//! What a walk leaves beside the bytes, and the buffers it works in.

/// Captured values of the event last walked. Keep one and hand it to every walk: its buffers make walks free of allocation.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    /// Each with whether it was captured; the buffers stay.
    pub(super) texts: Vec<(bool, String)>,
    pub(super) unknown_fields: usize,
    pub(super) scratch: Scratch,
}

impl Captures {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Captures::default()
    }

    /// What pointer number `index` of [`super::Plan::with_captures`] led to: strings and symbols as they are, uuids in lower case,
    /// numbers in decimal. `None` for a null, and when nothing was captured.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        self.texts.get(index).filter(|(there, _)| *there).map(|(_, text)| text.as_str())
    }

    /// How many members were passed over as unknown.
    #[must_use]
    pub fn unknown_fields(&self) -> usize {
        self.unknown_fields
    }
}

impl Captures {
    /// Forgets the last event, keeps the buffers.
    pub(super) fn clear(&mut self) {
        for (there, _) in &mut self.texts {
            *there = false;
        }
        self.unknown_fields = 0;
        self.scratch.path.clear();
        self.scratch.slots.clear();
        self.scratch.spill.clear();
        self.scratch.keys.clear();
    }
}

/// Stacks shared by all open containers of one walk; each container uses the part above where it found them.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// Decoded strings.
    pub(super) text: String,
    /// Where the walk stands.
    pub(super) path: Vec<Segment>,
    /// For each open record, what became of its fields.
    pub(super) slots: Vec<Slot>,
    /// Bytes of fields that came before their place in the schema.
    pub(super) spill: Vec<u8>,
    /// For each open map, where its keys stand in the output, from the map's start.
    pub(super) keys: Vec<(usize, usize)>,
}

/// One step of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    /// A member: where its key stands in the JSON text, between its quotes.
    Key { start: usize, end: usize, escaped: bool },
    /// An array item.
    Index(usize),
}

/// What became of one field of an open record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Not seen yet.
    Absent,
    /// Its bytes stand in the output.
    Written,
    /// Its bytes wait in the spill: start and end.
    Spilled(usize, usize),
}
