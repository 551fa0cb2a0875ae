//! Resources by schema: create, update and delete with validation, versions, unique fields and lists, for every
//! `[[kind]]` of the catalog. A new kind needs no Rust: what is known of it comes from its record and its table.

use runtime::{Context, Decision, Processor, Reads, Rejection, Rows};
use schemas::Catalog;
use schemas::catalog::Kind;
use schemas::datum::DecodeError;
use schemas::entities::{Answer, Entity, EntityState, Held, Input, Row, SendEvent};

pub use arrival::Arrival;
pub use change::MARKER_LIFE_US;
pub use command::{Command, Verb};
pub use told::Told;

mod arrival;
mod change;
mod claims;
mod command;
mod lists;
mod told;

/// The processor of the stream `entities`. Its subjects are `<account>/<kind>/<id>`, and beside them `<account>/claim/…`
/// and `<account>/list/…`.
#[derive(Debug)]
pub struct Entities;

impl Processor for Entities {
    const NAME: &'static str = "entities";
    type Input = Arrival;
    type Row = Row;
    type ResultEvent = Told;
    type SendEvent = SendEvent;

    fn reads(&self, input: &Arrival) -> Reads {
        match input {
            Arrival::Command(_) => Reads::root().row(change::HELD),
            Arrival::Internal(Input::ClaimTake(_) | Input::ClaimRelease(_)) => Reads::root(),
            Arrival::Internal(Input::ClaimGranted(_) | Input::ClaimRefused(_)) => {
                Reads::root().row(change::HELD).row(claims::WAITING)
            }
            Arrival::Internal(Input::ListPut(_) | Input::ListDrop(_)) => Reads::none(),
        }
    }

    fn decide(&self, input: Arrival, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        match input {
            Arrival::Command(input) => command(*input, rows, ctx),
            Arrival::Internal(Input::ClaimTake(take)) => Ok(claims::take(&take, rows, ctx)),
            Arrival::Internal(Input::ClaimRelease(release)) => Ok(claims::release(&release, rows)),
            Arrival::Internal(Input::ClaimGranted(granted)) => answered(&granted.space, Answer::Granted, rows, ctx),
            Arrival::Internal(Input::ClaimRefused(refused)) => answered(&refused.space, Answer::Refused, rows, ctx),
            Arrival::Internal(Input::ListPut(put)) => Ok(lists::put(put)),
            Arrival::Internal(Input::ListDrop(drop)) => Ok(lists::drop(&drop)),
        }
    }
}

fn command(command: Command, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    let (before, held) = (entity(rows), held(rows));
    if before.is_some_and(|entity| matches!(entity.state, EntityState::Pending | EntityState::Changing)) {
        return Err(Rejection::Retry("the resource waits for its claims".to_owned()));
    }
    match command.verb {
        Verb::Create => change::create(command, before, ctx),
        Verb::Update => change::update(command, (change::live(before)?, &held), ctx),
        Verb::Delete => change::delete(&command, (change::live(before)?, &held), ctx),
    }
}

/// An answer to a claim of this resource; `space` is `<kind>.<field>`.
fn answered(space: &str, answer: Answer, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Entities>, Rejection> {
    let (Some(entity), Some(Row::Waiting(waiting))) = (entity(rows), rows.get(claims::WAITING)) else {
        return Ok(Decision::unchanged());
    };
    let (kind, field) = space.split_once('.').unwrap_or_default();
    let kind = kind_of(kind).ok_or_else(|| Rejection::Terminal(format!("a claim in {space}, which is no field of a kind")))?;
    change::answered(&kind, field, answer, (entity, &held(rows), waiting), ctx)
}

fn kind_of(name: &str) -> Option<Kind> {
    let catalog = Catalog::embedded().ok()?;
    catalog.stream(Entities::NAME)?.kinds.iter().find(|kind| kind.name == name).cloned()
}

fn entity(rows: &Rows<Row>) -> Option<&Entity> {
    match rows.get("") {
        Some(Row::Entity(entity)) => Some(entity),
        _ => None,
    }
}

fn held(rows: &Rows<Row>) -> Held {
    match rows.get(change::HELD) {
        Some(Row::Held(held)) => held.clone(),
        _ => change::none(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn damaged(error: DecodeError) -> Rejection {
    Rejection::Terminal(error.to_string())
}
