//! Runs processors by name: the one place that knows them all.

pub mod config;
pub mod topics;

use std::sync::Arc;

use runtime::Logic;

/// Every processor there is, one line each.
#[must_use]
pub fn processors() -> Vec<Arc<dyn Logic>> {
    vec![
        runtime::logic::of(entities::Entities), //
        runtime::logic::of(flights::Flights),
    ]
}

/// The processors of these names; none named = all.
///
/// # Errors
/// A sentence that lists the names there are.
pub fn named(names: &[String]) -> Result<Vec<Arc<dyn Logic>>, String> {
    let all = processors();
    let known: Vec<_> = all.iter().map(|logic| logic.name()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no processor {unknown}; there are: {}", known.join(", ")));
    }
    Ok(all.into_iter().filter(|logic| names.is_empty() || names.iter().any(|name| name == logic.name())).collect())
}
