//! The life of a resource: created, updated and deleted, at once or when its claims are granted.

use bytes::Bytes;
use runtime::{Context, Decision, Refusal, Rejection};
use schemas::catalog::Kind;
use schemas::entities::{Answer, Entity, EntityState, Held, Row, Waiting};
use schemas::plan::FieldErrors;

use crate::{Command, Entities, Told, claims, damaged, lists};

/// How long a deleted resource answers `gone`, µs: 7 days.
pub const MARKER_LIFE_US: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// Sort of the row with what a resource has beside itself.
pub(crate) const HELD: &str = "held";

pub(crate) fn create(command: Command, before: Option<&Entity>, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    keeps_rules(&command)?;
    let version = match before {
        Some(entity) if entity.state == EntityState::Deleted => entity.version + 1,
        Some(entity) => {
            let detail = "a resource with this id exists".to_owned();
            let actual = Some(entity.version.to_string());
            return Err(refused(Refusal { code: "exists", detail, actual, ..Refusal::default() }));
        }
        None => 1,
    };
    let by = by(ctx);
    let pending = Entity {
        version,
        state: EntityState::Pending,
        data: Bytes::new(),
        schema: command.kind.schema.fingerprint.clone(),
        created_at: ctx.now,
        created_by: by.clone(),
        updated_at: ctx.now,
        updated_by: by,
        next: Some(Bytes::from(command.data)),
    };
    change(&command.kind, pending, &none(), ctx)
}

pub(crate) fn update(command: Command, (before, held): (&Entity, &Held), ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    keeps_rules(&command)?;
    is_version(&command, before)?;
    if changed(&command.kind, before, &command.data)?.is_empty() {
        return Ok(Decision::unchanged());
    }
    let changing =
        Entity { state: EntityState::Changing, next: Some(Bytes::from(command.data)), updated_by: by(ctx), ..before.clone() };
    change(&command.kind, changing, held, ctx)
}

/// Drops the data; what stays for a while lets a late update answer `gone`.
pub(crate) fn delete(
    command: &Command,
    (before, held): (&Entity, &Held),
    ctx: &Context,
) -> Result<Decision<Entities>, Rejection> {
    is_version(command, before)?;
    let marker = Entity { version: before.version + 1, updated_at: ctx.now, updated_by: by(ctx), ..before.clone() };
    let told = Told::deleted(&command.kind, marker.version);
    let decision = gone(Decision::new(), marker, ctx).delete(HELD).emit(told);
    let decision = lists::hide(decision, &command.kind.name, &held.sorts, ctx);
    Ok(claims::give_back(decision, held.claims.values(), ctx))
}

/// Makes a change at once when it needs no claim beyond those held, else asks for them first.
fn change(kind: &Kind, entity: Entity, held: &Held, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    let mut wanted = claims::of(kind, entity.next.as_deref().unwrap_or_default(), ctx)?;
    wanted.retain(|field, subject| held.claims.get(field) != Some(subject));
    if wanted.is_empty() {
        return done(kind, &entity, held, ctx);
    }
    Ok(claims::ask(Decision::new().put("", Row::Entity(entity)), &kind.name, wanted, ctx))
}

/// A claim was answered. With the last answer the change is made, or undone when one was refused.
pub(crate) fn answered(
    kind: &Kind,
    field: &str,
    answer: Answer,
    (entity, held, waiting): (&Entity, &Held, &Waiting),
    ctx: &Context,
) -> Result<Decision<Entities>, Rejection> {
    let mut waiting = waiting.clone();
    for claim in waiting.claims.iter_mut().filter(|claim| claim.field == field) {
        claim.answer = answer;
    }
    if waiting.claims.iter().any(|claim| claim.answer == Answer::Open) {
        return Ok(Decision::new().put(claims::WAITING, Row::Waiting(waiting)));
    }
    let lost = waiting.claims.iter().find(|claim| claim.answer == Answer::Refused);
    let Some(lost) = lost.cloned() else {
        return Ok(done(kind, entity, held, ctx)?.delete(claims::WAITING).settle(waiting.ticket, Ok(())));
    };
    let taken = Refusal {
        code: "taken",
        detail: format!("another {} has this {}", kind.name, lost.field),
        pointer: Some(format!("/{}", lost.field)),
        ..Refusal::default()
    };
    let granted = waiting.claims.iter().filter(|claim| claim.answer == Answer::Granted);
    let decision = claims::give_back(undone(entity, ctx), granted.map(|claim| &claim.subject), ctx);
    Ok(decision.delete(claims::WAITING).settle(waiting.ticket, Err(taken)))
}

/// The change that `entity` was waiting to make, with what follows from it in results, lists and claims.
fn done(kind: &Kind, entity: &Entity, held: &Held, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    let data = entity.next.clone().unwrap_or_default();
    let created = entity.state == EntityState::Pending;
    let live = Entity {
        version: if created { entity.version } else { entity.version + 1 },
        state: EntityState::Live,
        data: data.clone(),
        schema: kind.schema.fingerprint.clone(),
        updated_at: ctx.now,
        next: None,
        ..entity.clone()
    };
    let told = if created {
        Told::created(kind, live.version, &data)
    } else {
        Told::updated(kind, live.version, &changed(kind, entity, &data)?, &data)
    };
    let shown = (live.version, &*data);
    let decision = Decision::new().put("", Row::Entity(live)).emit(told);
    let (decision, sorts) = lists::show(decision, kind, shown, &held.sorts, ctx)?;
    let claims = claims::of(kind, &data, ctx)?;
    let left = held.claims.iter().filter(|(field, subject)| claims.get(*field) != Some(subject));
    let decision = claims::give_back(decision, left.map(|(_, subject)| subject), ctx);
    let held = Held { claims, sorts };
    Ok(if held == none() { decision } else { decision.put(HELD, Row::Held(held)) })
}

/// The resource as it was before the change that it was waiting to make.
fn undone(entity: &Entity, ctx: &Context) -> Decision<Entities> {
    let before = Entity { next: None, ..entity.clone() };
    match (entity.state, entity.version) {
        (EntityState::Pending, 1) => Decision::new().delete(""),
        (EntityState::Pending, version) => gone(Decision::new(), Entity { version: version - 1, ..before }, ctx),
        _ => Decision::new().put("", Row::Entity(Entity { state: EntityState::Live, ..before })),
    }
}

fn gone(decision: Decision<Entities>, entity: Entity, ctx: &Context) -> Decision<Entities> {
    let marker = Entity { state: EntityState::Deleted, data: Bytes::new(), ..entity };
    decision.put_until("", Row::Entity(marker), ctx.now + MARKER_LIFE_US)
}

/// The resource, if there is one to change.
pub(crate) fn live(before: Option<&Entity>) -> Result<&Entity, Rejection> {
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
    checked.map_err(damaged)?;
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
    let fields = |datum| plan.fields(datum).map_err(damaged);
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

/// Nothing beside the resource.
pub(crate) fn none() -> Held {
    Held { claims: claims::Claims::new(), sorts: Vec::new() }
}
