//! The stream as the engine sees it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use runtime::engine::settings::{EngineIds, EventSpec, Limits, Settings};
use schemas::catalog::{Catalog, HeaderStyle, Ordering, Retry, Tracking};

use super::{SHARDS, WINDOW};
use crate::simulation::plan::{Plan, stream};

/// The stream's settings, without rules that a plan takes away.
pub(in crate::simulation) fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        // any record will do: the processor reads its bytes as text
        let reader = Catalog::embedded().unwrap().event("flight.departed").unwrap().1.schema.clone();
        let record = reader.full_name.clone();
        let event = EventSpec {
            name: "chain.do".into(),
            reader,
            tracking: Tracking::All,
            ordering: Ordering::Strict,
            retry: Retry { base_ms: 500, cap_ms: 4_000, attempts: 1_000, ..Retry::default() },
        };
        let pass = EventSpec { name: "chain.pass".into(), ordering: Ordering::Relaxed, ..event.clone() };
        let brief = EventSpec { name: "chain.brief".into(), retry: Retry { attempts: 3, ..event.retry }, ..event.clone() };
        let event_types = [event, pass, brief].map(|event| (event.name.to_string(), event));
        let limits = Limits {
            batch_inputs: 6,
            backlog_frames: 4,
            cache_bytes: 600,
            effects: 3,
            dedupe_window: WINDOW,
            ..Limits::default()
        };
        Settings {
            stream: stream(),
            events: "chains.events".into(),
            partitions: SHARDS,
            headers: HeaderStyle::CloudEvents,
            shard_rows: false,
            event_types: event_types.into(),
            event_names: [(1, record.as_str().into())].into(),
            by_record: [(record, "chain.do".into())].into(),
            follows: Vec::new(),
            results: [("test.chain".to_owned(), 3), ("chain.rejected".to_owned(), 4)].into(),
            rows: [("test.chain".to_owned(), 2)].into(),
            targets: Vec::new(),
            sends: HashMap::new(),
            effects: Vec::new(),
            row_readers: HashMap::new(),
            row_names: [(2, "test.chain".into())].into(),
            engine: EngineIds { data: 10, trailer: 11, claim: 12 },
            limits,
            rules: runtime::engine::rules::Rules::all(),
        }
    })
}

/// The settings of one run.
pub(in crate::simulation) fn settings_of(plan: &Plan) -> Arc<Settings> {
    Arc::new(Settings { rules: plan.rules, ..settings().clone() })
}
