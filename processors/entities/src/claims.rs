//! Unique values: one subject per value decides who has it. Taking it twice is granted twice; who lost an answer to a
//! crash asks again by being redone.

use std::collections::BTreeMap;

use runtime::{Context, Decision, Rejection, Rows};
use schemas::catalog::Kind;
use schemas::entities::{Answer, Claim, ClaimGranted, ClaimRefused, ClaimRelease, ClaimTake, Row, SendEvent, Waiting, Wanted};

use crate::{Entities, damaged};

/// Sort of the row with the claims a change waits for.
pub(crate) const WAITING: &str = "waiting";

/// Subjects of claims by field.
pub(crate) type Claims = BTreeMap<String, String>;

/// A claim is asked for: granted to the first and to its holder.
pub(crate) fn take(take: &ClaimTake, rows: &Rows<Row>, ctx: &Context) -> Decision<Entities> {
    let space = take.space.clone();
    let holder = take.holder.clone();
    match rows.get("") {
        Some(Row::Claim(claim)) if claim.holder != holder => {
            Decision::new().send(&holder, SendEvent::ClaimRefused(ClaimRefused { space }))
        }
        Some(_) => Decision::new().send(&holder, SendEvent::ClaimGranted(ClaimGranted { space })),
        None => Decision::new()
            .put("", Row::Claim(Claim { holder: holder.clone(), since: ctx.now }))
            .send(&holder, SendEvent::ClaimGranted(ClaimGranted { space })),
    }
}

/// A holder gives its value back.
pub(crate) fn release(release: &ClaimRelease, rows: &Rows<Row>) -> Decision<Entities> {
    match rows.get("") {
        Some(Row::Claim(claim)) if claim.holder == release.holder => Decision::new().delete(""),
        _ => Decision::unchanged(),
    }
}

/// The claims that `data` needs: subject by field, for each unique field that is not null.
pub(crate) fn of(kind: &Kind, data: &[u8], ctx: &Context) -> Result<Claims, Rejection> {
    let account = ctx.subject.split('/').next().unwrap_or_default();
    let mut claims = Claims::new();
    for field in &kind.unique {
        if let Some(value) = field.read(&kind.schema.plan, data).map_err(damaged)? {
            // two spellings of one value are one claim; the hash keeps the subject short and the value to itself
            let value = blake3::hash(value.trim().to_lowercase().as_bytes());
            claims.insert(field.name.clone(), format!("{account}/claim/{}.{}.{value}", kind.name, field.name));
        }
    }
    Ok(claims)
}

/// Asks for claims on behalf of the input's subject; its event stays open until all are answered.
pub(crate) fn ask(decision: Decision<Entities>, kind: &str, claims: Claims, ctx: &Context) -> Decision<Entities> {
    let mut decision = decision.left_open();
    let mut wanted = Vec::with_capacity(claims.len());
    for (field, subject) in claims {
        let take = ClaimTake { space: format!("{kind}.{field}"), holder: ctx.subject.to_string() };
        decision = decision.send(&subject, SendEvent::ClaimTake(take));
        wanted.push(Wanted { field, subject, answer: Answer::Open });
    }
    decision.put(WAITING, Row::Waiting(Waiting { ticket: ctx.ticket(), claims: wanted }))
}

/// Gives claims back.
pub(crate) fn give_back<'a>(
    decision: Decision<Entities>,
    claims: impl IntoIterator<Item = &'a String>,
    ctx: &Context,
) -> Decision<Entities> {
    let release = || SendEvent::ClaimRelease(ClaimRelease { holder: ctx.subject.to_string() });
    claims.into_iter().fold(decision, |decision, subject| decision.send(subject, release()))
}
