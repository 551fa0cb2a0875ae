//! Resources by schema: create, update and delete with validation and versions, for every `[[kind]]` of the catalog.
//! A new kind needs no Rust: what is known of it comes from its record and its table.

use bytes::Bytes;

use runtime::{Context, Decision, Processor, Reads, Refusal, Rejection, Rows};
use schemas::catalog::Kind;
use schemas::entities::{Entity, EntityState, Row, SendEvent};
use schemas::plan::FieldErrors;

pub use command::{Command, Verb};
pub use told::Told;

mod command;
mod told;

/// How long a deleted resource answers `gone`, µs: 7 days.
pub const MARKER_LIFE_US: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// The processor of the stream `entities`. The subject is `<account>/<kind>/<id>`.
#[derive(Debug)]
pub struct Entities;

impl Processor for Entities {
    const NAME: &'static str = "entities";
    type Input = Command;
    type Row = Row;
    type ResultEvent = Told;
    type SendEvent = SendEvent;

    fn reads(&self, _: &Command) -> Reads {
        Reads::root()
    }

    fn decide(&self, command: Command, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let before = rows.get("").map(|Row::Entity(entity)| entity);
        if before.is_some_and(|entity| matches!(entity.state, EntityState::Pending | EntityState::Changing)) {
            return Err(Rejection::Retry("the resource waits for its claims".to_owned()));
        }
        match command.verb {
            Verb::Create => create(command, before, ctx),
            Verb::Update => update(command, live(before)?, ctx),
            Verb::Delete => delete(&command, live(before)?, ctx),
        }
    }
}

fn create(command: Command, before: Option<&Entity>, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    keeps_rules(&command)?;
    let version = match before {
        Some(entity) if entity.state == EntityState::Deleted => entity.version + 1,
        Some(entity) => {
            let detail = "a resource with this id exists".to_owned();
            return Err(refused(Refusal {
                code: "exists",
                detail,
                actual: Some(entity.version.to_string()),
                ..Refusal::default()
            }));
        }
        None => 1,
    };
    let by = by(ctx);
    let entity = Entity {
        version,
        state: EntityState::Live,
        data: Bytes::from(command.data),
        schema: command.kind.schema.fingerprint.clone(),
        created_at: ctx.now,
        created_by: by.clone(),
        updated_at: ctx.now,
        updated_by: by,
        next: None,
    };
    let told = Told::created(&command.kind, version, &entity.data);
    Ok(Decision::new().put("", Row::Entity(entity)).emit(told))
}

fn update(command: Command, before: &Entity, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    keeps_rules(&command)?;
    is_version(&command, before)?;
    let changed = changed(&command.kind, before, &command.data)?;
    if changed.is_empty() {
        return Ok(Decision::unchanged());
    }
    let entity = Entity {
        version: before.version + 1,
        data: Bytes::from(command.data),
        schema: command.kind.schema.fingerprint.clone(),
        updated_at: ctx.now,
        updated_by: by(ctx),
        ..before.clone()
    };
    let told = Told::updated(&command.kind, entity.version, &changed, &entity.data);
    Ok(Decision::new().put("", Row::Entity(entity)).emit(told))
}

/// Drops the data; what stays for a while lets a late update answer `gone`.
fn delete(command: &Command, before: &Entity, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    is_version(command, before)?;
    let marker = Entity {
        version: before.version + 1,
        state: EntityState::Deleted,
        data: Bytes::new(),
        updated_at: ctx.now,
        updated_by: by(ctx),
        ..before.clone()
    };
    let told = Told::deleted(&command.kind, marker.version);
    Ok(Decision::new().put_until("", Row::Entity(marker), ctx.now + MARKER_LIFE_US).emit(told))
}

/// The resource, if there is one to change.
fn live(before: Option<&Entity>) -> Result<&Entity, Rejection> {
    let (code, detail) = match before {
        Some(entity) if entity.state == EntityState::Deleted => ("gone", "the resource was deleted"),
        Some(entity) => return Ok(entity),
        None => ("not_found", "there is no resource with this id"),
    };
    Err(refused(Refusal { code, detail: detail.to_owned(), ..Refusal::default() }))
}

/// The edge runs the same rules; this catches what came past it.
fn keeps_rules(command: &Command) -> Result<(), Rejection> {
    let mut errors = FieldErrors::new();
    let checked = command.kind.constraints.check(&command.kind.schema.plan, &command.data, "", &mut errors);
    checked.map_err(|error| Rejection::Terminal(error.to_string()))?;
    match errors.take().into_iter().next() {
        Some(error) => Err(refused(Refusal {
            code: "invalid",
            detail: error.message,
            pointer: Some(error.pointer),
            expected: error.expected,
            actual: error.actual,
        })),
        None => Ok(()),
    }
}

fn is_version(command: &Command, before: &Entity) -> Result<(), Rejection> {
    let pointer = Some("/expected_version".to_owned());
    let actual = Some(before.version.to_string());
    match command.expected_version {
        Some(expected) if expected != before.version => Err(refused(Refusal {
            code: "version_conflict",
            detail: "the resource has changed since".to_owned(),
            pointer,
            expected: Some(expected.to_string()),
            actual,
        })),
        None if command.kind.require_version => Err(refused(Refusal {
            code: "invalid",
            detail: "changes of this kind name the version they change".to_owned(),
            pointer,
            expected: Some("a version".to_owned()),
            actual: None,
        })),
        _ => Ok(()),
    }
}

/// Names of the fields that differ. Data of another schema version cannot be told apart field by field: all differ.
fn changed(kind: &Kind, before: &Entity, data: &[u8]) -> Result<Vec<String>, Rejection> {
    let plan = &kind.schema.plan;
    let fields = |datum| plan.fields(datum).map_err(|error| Rejection::Terminal(error.to_string()));
    let after = fields(data)?;
    if before.schema != kind.schema.fingerprint {
        return Ok(after.into_iter().map(|(name, _)| name.to_owned()).collect());
    }
    let pairs = fields(&before.data)?.into_iter().zip(after);
    Ok(pairs.filter(|(old, new)| old.1 != new.1).map(|(_, (name, _))| name.to_owned()).collect())
}

fn by(ctx: &Context) -> Option<String> {
    ctx.principal.as_ref().map(|principal| principal.id.clone())
}

fn refused(refusal: Refusal) -> Rejection {
    Rejection::Refused(refusal)
}
