//! Topics that the catalog asks for, and those of the deployment beside them.

use chassis::kafka::topics::Spec;
use schemas::catalog::Catalog;
use schemas::names::{CANARY_PARTITIONS, Topics};

/// Every topic of the deployment.
#[must_use]
pub fn specs(catalog: &Catalog, topics: &Topics) -> Vec<Spec> {
    let mut specs: Vec<_> = catalog.streams().iter().flat_map(|stream| runtime::topics::of_stream(stream, topics)).collect();
    let compacted = ("cleanup.policy", "compact");
    specs.push(spec(topics.keys(), 1, compacted));
    specs.push(spec(topics.revocations(), 1, compacted));
    specs.push(spec(topics.canary(), CANARY_PARTITIONS, ("retention.ms", "3600000")));
    specs
}

fn spec(name: String, partitions: i32, (key, value): (&str, &str)) -> Spec {
    Spec { name, partitions, config: vec![(key.to_owned(), value.to_owned())] }
}
