//! What a compiled schema is made of.

/// One type. Small and copied; what does not fit stands in the plan's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// Number of bytes.
    Fixed(usize),
    /// Index into the plan's enums.
    Enum(usize),
    /// Index of the items' node.
    Array(usize),
    /// Index of the values' node.
    Map(usize),
    /// Index into the plan's records.
    Record(usize),
    /// Index into the plan's unions.
    Union(usize),
    /// Digits, digits behind the point, and the number of bytes unless it is as many as needed.
    Decimal {
        precision: usize,
        scale: usize,
        fixed: Option<usize>,
    },
    Uuid(UuidForm),
    Date,
    TimeMillis,
    TimeMicros,
    Timestamp {
        unit: Unit,
        local: bool,
    },
    /// Four bytes, little endian: a part of a duration. A duration itself is a record of three.
    Unsigned,
}

/// What errors call a type that needs no more words.
pub(super) fn simple_label(node: Node) -> &'static str {
    match node {
        Node::Null => "null",
        Node::Boolean => "boolean",
        Node::Int => "int",
        Node::Long => "long",
        Node::Float => "float",
        Node::Double => "double",
        Node::Bytes => "bytes",
        Node::String => "string",
        Node::Array(_) => "array",
        Node::Map(_) => "map",
        Node::Uuid(_) => "uuid",
        Node::Date => "date",
        Node::TimeMillis => "time-millis",
        Node::TimeMicros => "time-micros",
        Node::Unsigned => "unsigned 32-bit int",
        Node::Fixed(_) => "fixed",
        Node::Enum(_) => "enum",
        Node::Record(_) => "record",
        Node::Union(_) => "union",
        Node::Decimal { .. } => "decimal",
        Node::Timestamp { .. } => "timestamp",
    }
}

/// How a uuid is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UuidForm {
    String,
    Bytes,
    Fixed,
}

/// The unit a time is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// Decimal digits of a second that the unit keeps.
    pub(super) fn digits(self) -> usize {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::Millis => "millis",
            Unit::Micros => "micros",
            Unit::Nanos => "nanos",
        }
    }
}

/// A record type.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    pub(super) lookup: Names,
}

/// A field of a record.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) node: Node,
    /// Bytes of its default.
    pub(super) default: Option<Vec<u8>>,
}

impl Record {
    /// Whether it stands for a fixed of 12 bytes with the logical type `duration`.
    pub(super) fn is_duration(&self) -> bool {
        self.fields.first().is_some_and(|field| field.node == Node::Unsigned)
    }

    /// The position of field `name`; `guess` is looked at first, since clients mostly keep the schema's order.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        match self.fields.get(guess) {
            Some(field) if field.name == name => Some(guess),
            _ => self.lookup.find(name),
        }
    }
}

/// An enum type.
#[derive(Debug, Clone)]
pub(super) struct EnumType {
    pub(super) name: String,
    pub(super) symbols: Vec<String>,
    pub(super) lookup: Names,
}

/// A union, with its branches sorted by the kind of JSON value that is read as them.
#[derive(Debug, Clone, Default)]
pub(super) struct Union {
    pub(super) branches: Vec<Branch>,
    pub(super) null: Option<usize>,
    pub(super) boolean: Option<usize>,
    pub(super) array: Option<usize>,
    /// In schema order; the first that fits takes the number.
    pub(super) numbers: Vec<usize>,
    /// Written as strings; two of them are ambiguous.
    pub(super) strings: Vec<usize>,
    /// Numbers that may be written as strings, asked when `strings` is empty.
    pub(super) number_strings: Vec<usize>,
    pub(super) objects: Vec<usize>,
}

/// A branch of a union.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    /// What a tag says: full name, or the name of the primitive.
    pub(super) name: String,
    pub(super) node: Node,
}

/// Names in order, to find their positions.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Vec<(String, usize)>);

impl Names {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut sorted: Vec<_> = names.enumerate().map(|(position, name)| (name.to_owned(), position)).collect();
        sorted.sort();
        Names(sorted)
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let at = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(self.0[at].1)
    }
}

impl Union {
    /// The branches' names.
    pub(super) fn label(&self) -> String {
        let names: Vec<_> = self.branches.iter().map(|branch| branch.name.as_str()).collect();
        names.join(", ")
    }
}
