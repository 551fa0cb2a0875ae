//! Settings of existing topics that a promise hangs on. Retention and the like are the operator's own business.

use rdkafka::admin::{AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};

use super::{ANSWER, Error, Spec, admin};
use crate::kafka::Settings;

/// What existing topics must have: the time of their records, and that records stay until retention ends them.
const HELD: [&str; 2] = ["message.timestamp.type", "cleanup.policy"];
/// Topics whose [`Spec`] names no policy.
const POLICY: (&str, &str) = ("cleanup.policy", "delete");

/// Compares the settings of existing topics with what the catalog says.
///
/// # Errors
/// The first difference. A broker that does not show settings, for lack of a right, is only warned of.
pub(super) async fn check(settings: &Settings, specs: &[&Spec]) -> Result<(), Error> {
    if specs.is_empty() {
        return Ok(());
    }
    let asked: Vec<_> = specs.iter().map(|spec| ResourceSpecifier::Topic(&spec.name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answers = match admin(settings)?.describe_configs(&asked, &options).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::warn!(%error, "settings of topics cannot be checked");
            return Ok(());
        }
    };
    for answer in answers {
        match answer {
            Ok(found) => compare(&found, specs)?,
            Err(code) => tracing::warn!(%code, "settings of a topic cannot be checked"),
        }
    }
    Ok(())
}

fn compare(found: &ConfigResource, specs: &[&Spec]) -> Result<(), Error> {
    let OwnedResourceSpecifier::Topic(name) = &found.specifier else { return Ok(()) };
    let Some(spec) = specs.iter().find(|spec| spec.name == *name) else { return Ok(()) };
    for (key, wanted) in wanted(spec) {
        let entry = found.entries.iter().find(|entry| entry.name == key);
        let Some(value) = entry.and_then(|entry| entry.value.as_deref()) else { continue };
        if value != wanted {
            let (name, key) = (name.clone(), key.to_owned());
            return Err(Error::Setting { name, key, found: value.to_owned(), wanted: wanted.to_owned() });
        }
    }
    Ok(())
}

fn wanted(spec: &Spec) -> impl Iterator<Item = (&str, &str)> {
    let told = spec.config.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let policy = (!spec.config.iter().any(|(key, _)| key == POLICY.0)).then_some(POLICY);
    told.filter(|(key, _)| HELD.contains(key)).chain(policy)
}
