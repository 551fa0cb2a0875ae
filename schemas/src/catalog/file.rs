//! The TOML shape of a catalog file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Durability, EffectRules, Follow, HeaderStyle, IdempotencyKey, Limits, Ordering, Retry, Tracking, UnknownFields};
use crate::constraints::Rules;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamFile {
    pub(super) title: String,
    pub(super) partitions: i32,
    #[serde(default = "default_buckets")]
    pub(super) buckets: i32,
    #[serde(default)]
    pub(super) headers: HeaderStyle,
    #[serde(default)]
    pub(super) native: bool,
    #[serde(default)]
    pub(super) retention: RetentionFile,
    #[serde(default, rename = "event")]
    pub(super) events: Vec<EventFile>,
    #[serde(default, rename = "result")]
    pub(super) results: Vec<ResultFile>,
    #[serde(default, rename = "row")]
    pub(super) rows: Vec<RowFile>,
    #[serde(default, rename = "view")]
    pub(super) views: Vec<ViewFile>,
    #[serde(default, rename = "follow")]
    pub(super) follows: Vec<Follow>,
    #[serde(default)]
    pub(super) sends: Vec<String>,
    #[serde(default, rename = "effect")]
    pub(super) effects: Vec<EffectRules>,
    #[serde(default)]
    pub(super) shard_rows: bool,
    #[serde(default, rename = "kind")]
    pub(super) kinds: Vec<KindFile>,
}

fn default_buckets() -> i32 {
    16
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionFile {
    pub(super) events_days: u32,
    pub(super) results_days: u32,
    pub(super) dead_days: u32,
    pub(super) log_bytes: u64,
}

impl Default for RetentionFile {
    fn default() -> Self {
        Self { events_days: 7, results_days: 7, dead_days: 30, log_bytes: 1 << 30 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventFile {
    #[serde(rename = "type")]
    pub(super) ce_type: String,
    #[serde(default)]
    pub(super) title: String,
    pub(super) schema: String,
    pub(super) route: Option<String>,
    /// Left out of internal events: whoever sends one names the subject.
    pub(super) subject: Option<SubjectFile>,
    pub(super) id: Option<IdFile>,
    #[serde(default)]
    pub(super) idempotency_key: IdempotencyKey,
    #[serde(default)]
    pub(super) unknown_fields: UnknownFields,
    #[serde(default)]
    pub(super) batch: bool,
    #[serde(default)]
    pub(super) internal: bool,
    pub(super) answers: Option<String>,
    pub(super) answer: Option<AnswerFile>,
    pub(super) location: Option<String>,
    #[serde(default)]
    pub(super) ordering: Ordering,
    #[serde(default)]
    pub(super) retry: Retry,
    #[serde(default)]
    pub(super) tracking: Tracking,
    pub(super) settles: Option<SettlesFile>,
    #[serde(default)]
    pub(super) durability: Durability,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Rules>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) example: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnswerFile {
    Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SettlesFile {
    Effects,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdFile {
    pub(super) pointer: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SubjectFile {
    pub(super) generated: bool,
    pub(super) attribute: bool,
    pub(super) pointer: Option<String>,
    pub(super) path: Option<String>,
    pub(super) header: Option<String>,
    pub(super) prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultFile {
    #[serde(rename = "type")]
    pub(super) ce_type: String,
    pub(super) schema: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowFile {
    pub(super) schema: String,
    #[serde(default)]
    pub(super) view: bool,
    #[serde(default)]
    pub(super) private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ViewFile {
    pub(super) route: String,
    pub(super) subject: String,
    #[serde(default)]
    pub(super) sort: String,
    pub(super) etag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KindFile {
    pub(super) name: String,
    pub(super) route: String,
    pub(super) schema: String,
    #[serde(default)]
    pub(super) require_version: bool,
    #[serde(default)]
    pub(super) unique: Vec<String>,
    #[serde(default)]
    pub(super) list: Vec<String>,
    #[serde(default)]
    pub(super) fields: BTreeMap<String, Rules>,
    pub(super) example: Option<String>,
}
