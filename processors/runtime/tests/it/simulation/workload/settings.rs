//! The stream as the engine sees it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use runtime::engine::settings::{EngineIds, EventSpec, FollowSpec, Limits, SendSpec, Settings, Target};
use schemas::catalog::{Catalog, FollowStart, HeaderStyle, Ordering, Retry, Tracking};

use super::chains::MAIL;
use super::{SHARDS, WINDOW};
use crate::simulation::plan::{Plan, stream};

/// Shards of the stream that mail is sent to.
pub(in crate::simulation) const MAIL_SHARDS: i32 = 3;
/// Rows of what a shard was told that are looked at.
pub(in crate::simulation) const HEARD_MAX: usize = 6;

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
            settles_with_effects: true,
        };
        let pass =
            EventSpec { name: "chain.pass".into(), tracking: Tracking::Failures, ordering: Ordering::Relaxed, ..event.clone() };
        let brief = EventSpec { name: "chain.brief".into(), retry: Retry { attempts: 3, ..event.retry }, ..event.clone() };
        let sent = EventSpec { name: "test.chain".into(), ..event.clone() };
        let told =
            EventSpec { name: "other.told".into(), tracking: Tracking::None, ordering: Ordering::Relaxed, ..event.clone() };
        let follow = FollowSpec {
            stream: "others".into(),
            topic: "others.results".into(),
            start: FollowStart::Earliest,
            event_types: [("other.told".to_owned(), told)].into(),
            by_record: HashMap::new(),
            all: false,
        };
        let target = Target { stream: stream(), partitions: SHARDS, headers: HeaderStyle::CloudEvents, shard_rows: true };
        let mail = Target { stream: "mail".into(), partitions: MAIL_SHARDS, headers: HeaderStyle::Compact, shard_rows: false };
        let event_types = [event, pass, brief, sent].map(|event| (event.name.to_string(), event));
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
            shard_rows: true,
            event_types: event_types.into(),
            event_names: [(1, record.as_str().into())].into(),
            by_record: [(record, "chain.do".into())].into(),
            follows: vec![follow],
            results: [("test.chain".to_owned(), 3), ("chain.rejected".to_owned(), 4)].into(),
            rows: [("test.chain".to_owned(), 2)].into(),
            targets: vec![target, mail],
            sends: [("test.chain", 0), (MAIL, 1)].map(|(name, target)| (name.to_owned(), SendSpec { target, schema: 1 })).into(),
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
