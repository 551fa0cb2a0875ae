//! From a schema to its plan.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, InnerDecimalSchema, Name, RecordSchema, UnionSchema, UuidSchema};

use super::node::{Branch, EnumType, Field, Names, Node, Record, Union, Unit, UuidForm};
use super::{Error, Plan, defaults};

/// Compiles `schema`, defaults included.
pub(super) fn compile(schema: &Schema) -> Result<Plan, Error> {
    let mut compiler = Compiler::default();
    let root = compiler.node(schema, None)?;
    let mut plan = Plan {
        name: branch_name(schema, None),
        nodes: compiler.nodes,
        records: compiler.records,
        unions: compiler.unions,
        enums: compiler.enums,
        root,
        captures: Vec::new(),
    };
    defaults::fill(&mut plan, &compiler.defaults)?;
    Ok(plan)
}

/// Defaults as the schema writes them: by record, by field.
pub(super) type Defaults = Vec<Vec<Option<serde_json::Value>>>;

#[derive(Default)]
struct Compiler {
    nodes: Vec<Node>,
    records: Vec<Record>,
    unions: Vec<Union>,
    enums: Vec<EnumType>,
    defaults: Defaults,
    named: HashMap<String, Node>,
}

impl Compiler {
    fn node(&mut self, schema: &Schema, namespace: Option<&str>) -> Result<Node, Error> {
        Ok(match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes | Schema::BigDecimal => Node::Bytes,
            Schema::String => Node::String,
            Schema::Array(array) => {
                let items = self.node(&array.items, namespace)?;
                Node::Array(self.store(items))
            }
            Schema::Map(map) => {
                let values = self.node(&map.types, namespace)?;
                Node::Map(self.store(values))
            }
            Schema::Union(union) => self.union(union, namespace)?,
            Schema::Record(record) => self.record(record, namespace)?,
            Schema::Enum(symbols) => self.enumeration(symbols, namespace),
            Schema::Fixed(fixed) => self.name(&fixed.name, namespace, Node::Fixed(fixed.size)),
            Schema::Decimal(decimal) => {
                let (precision, scale) = (decimal.precision, decimal.scale);
                match &decimal.inner {
                    InnerDecimalSchema::Bytes => Node::Decimal { precision, scale, fixed: None },
                    InnerDecimalSchema::Fixed(fixed) => {
                        self.name(&fixed.name, namespace, Node::Decimal { precision, scale, fixed: Some(fixed.size) })
                    }
                }
            }
            Schema::Uuid(UuidSchema::String) => Node::Uuid(UuidForm::String),
            Schema::Uuid(UuidSchema::Bytes) => Node::Uuid(UuidForm::Bytes),
            Schema::Uuid(UuidSchema::Fixed(fixed)) => self.name(&fixed.name, namespace, Node::Uuid(UuidForm::Fixed)),
            Schema::Date => Node::Date,
            Schema::TimeMillis => Node::TimeMillis,
            Schema::TimeMicros => Node::TimeMicros,
            Schema::TimestampMillis => Node::Timestamp { unit: Unit::Millis, local: false },
            Schema::TimestampMicros => Node::Timestamp { unit: Unit::Micros, local: false },
            Schema::TimestampNanos => Node::Timestamp { unit: Unit::Nanos, local: false },
            Schema::LocalTimestampMillis => Node::Timestamp { unit: Unit::Millis, local: true },
            Schema::LocalTimestampMicros => Node::Timestamp { unit: Unit::Micros, local: true },
            Schema::LocalTimestampNanos => Node::Timestamp { unit: Unit::Nanos, local: true },
            Schema::Duration(fixed) => self.duration(&fixed.name, namespace),
            Schema::Ref { name } => {
                let full = name.fullname(namespace);
                self.named.get(&full).copied().ok_or(Error::UndefinedName(full))?
            }
        })
    }

    fn store(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn name(&mut self, name: &Name, namespace: Option<&str>, node: Node) -> Node {
        self.named.insert(name.fullname(namespace), node);
        node
    }

    fn record(&mut self, schema: &RecordSchema, namespace: Option<&str>) -> Result<Node, Error> {
        let name = schema.name.fullname(namespace);
        if let Some(known) = self.named.get(&name) {
            return Ok(*known);
        }
        let index = self.records.len();
        // known before its fields are read, since they may name it
        self.named.insert(name.clone(), Node::Record(index));
        let lookup = Names::new(schema.fields.iter().map(|field| field.name.as_str()));
        self.records.push(Record { name, fields: Vec::new(), lookup });
        self.defaults.push(schema.fields.iter().map(|field| field.default.clone()).collect());
        let namespace = schema.name.namespace().or(namespace);
        for field in &schema.fields {
            let node = self.node(&field.schema, namespace)?;
            self.records[index].fields.push(Field { name: field.name.clone(), node, default: None });
        }
        Ok(Node::Record(index))
    }

    fn duration(&mut self, name: &Name, namespace: Option<&str>) -> Node {
        let part = |name: &str| Field { name: name.to_owned(), node: Node::Unsigned, default: None };
        let fields = ["months", "days", "millis"].map(part);
        let lookup = Names::new(fields.iter().map(|field| field.name.as_str()));
        self.defaults.push(vec![None; fields.len()]);
        self.records.push(Record { name: name.fullname(namespace), fields: fields.into(), lookup });
        self.name(name, namespace, Node::Record(self.records.len() - 1))
    }

    fn enumeration(&mut self, schema: &EnumSchema, namespace: Option<&str>) -> Node {
        self.enums.push(EnumType {
            name: schema.name.fullname(namespace),
            symbols: schema.symbols.clone(),
            lookup: Names::new(schema.symbols.iter().map(String::as_str)),
        });
        self.name(&schema.name, namespace, Node::Enum(self.enums.len() - 1))
    }

    fn union(&mut self, schema: &UnionSchema, namespace: Option<&str>) -> Result<Node, Error> {
        let mut union = Union::default();
        for (position, variant) in schema.variants().iter().enumerate() {
            let node = self.node(variant, namespace)?;
            union.branches.push(Branch { name: branch_name(variant, namespace), node });
            sort_in(&mut union, position, node);
        }
        self.unions.push(union);
        Ok(Node::Union(self.unions.len() - 1))
    }
}

/// Notes which kinds of JSON values are read as branch `position`.
fn sort_in(union: &mut Union, position: usize, node: Node) {
    match node {
        Node::Null => union.null = Some(position),
        Node::Boolean => union.boolean = Some(position),
        Node::Array(_) => union.array = Some(position),
        Node::Map(_) | Node::Record(_) => union.objects.push(position),
        Node::Int => union.numbers.push(position),
        Node::Long | Node::Float | Node::Double => {
            union.numbers.push(position);
            union.number_strings.push(position);
        }
        Node::Decimal { .. } | Node::Date | Node::TimeMillis | Node::TimeMicros | Node::Timestamp { .. } => {
            union.numbers.push(position);
            union.strings.push(position);
        }
        Node::Bytes | Node::String | Node::Fixed(_) | Node::Enum(_) | Node::Uuid(_) => union.strings.push(position),
        // a union holds no union, and parts of durations stand in durations alone
        Node::Union(_) | Node::Unsigned => {}
    }
}

/// What a tag says for this branch: the full name of a named type, else the name of the type that carries it.
fn branch_name(schema: &Schema, namespace: Option<&str>) -> String {
    let unnamed = match schema {
        Schema::Null => "null",
        Schema::Boolean => "boolean",
        Schema::Int | Schema::Date | Schema::TimeMillis => "int",
        Schema::Long
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => "long",
        Schema::Float => "float",
        Schema::Double => "double",
        Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => "bytes",
        Schema::String | Schema::Uuid(UuidSchema::String) => "string",
        Schema::Array(_) => "array",
        Schema::Map(_) => "map",
        Schema::Union(_) => "union",
        Schema::Decimal(decimal) => match &decimal.inner {
            InnerDecimalSchema::Bytes => "bytes",
            InnerDecimalSchema::Fixed(fixed) => return fixed.name.fullname(namespace),
        },
        Schema::Record(RecordSchema { name, .. }) | Schema::Enum(EnumSchema { name, .. }) | Schema::Ref { name } => {
            return name.fullname(namespace);
        }
        Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
            return fixed.name.fullname(namespace);
        }
    };
    unnamed.to_owned()
}
