//! Names of topics and record headers. Every room takes them from here.

/// Topic names of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// Stands before every name; empty unless several deployments share a cluster.
    pub prefix: String,
}

impl Topics {
    /// Names with this prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// `<stream>.events`: what producers send.
    #[must_use]
    pub fn events(&self, stream: &str) -> String {
        format!("{}{stream}.events", self.prefix)
    }

    /// `<stream>.results`: what the processor tells.
    #[must_use]
    pub fn results(&self, stream: &str) -> String {
        format!("{}{stream}.results", self.prefix)
    }

    /// `<stream>.log`: the truth of the state.
    #[must_use]
    pub fn log(&self, stream: &str) -> String {
        format!("{}{stream}.log", self.prefix)
    }

    /// `<stream>.dead`: dead letters.
    #[must_use]
    pub fn dead(&self, stream: &str) -> String {
        format!("{}{stream}.dead", self.prefix)
    }

    /// API keys; compacted, one partition.
    #[must_use]
    pub fn keys(&self) -> String {
        format!("{}forebay.keys", self.prefix)
    }

    /// Revoked keys and tokens; compacted, one partition.
    #[must_use]
    pub fn revocations(&self) -> String {
        format!("{}forebay.revocations", self.prefix)
    }

    /// The edge's probe; [`CANARY_PARTITIONS`] partitions, kept for an hour.
    #[must_use]
    pub fn canary(&self) -> String {
        format!("{}forebay.canary", self.prefix)
    }
}

/// Partitions of [`Topics::canary`].
pub const CANARY_PARTITIONS: i32 = 12;

/// Sources of processors start with this; nobody else may use it.
pub const ENGINE_SOURCE: &str = "forebay/";

/// `ce_source` of a stream's results and sends.
#[must_use]
pub fn stream_source(stream: &str) -> String {
    format!("{ENGINE_SOURCE}{stream}")
}

/// CloudEvents `id`.
pub const HEADER_CE_ID: &str = "ce_id";
/// CloudEvents `source`.
pub const HEADER_CE_SOURCE: &str = "ce_source";
/// CloudEvents `type`.
pub const HEADER_CE_TYPE: &str = "ce_type";
/// CloudEvents `specversion`, always `1.0`.
pub const HEADER_CE_SPECVERSION: &str = "ce_specversion";
/// CloudEvents `time`, RFC 3339.
pub const HEADER_CE_TIME: &str = "ce_time";
/// `<account>/<id>` of the sender, written by the edge, inherited by sends.
pub const HEADER_CE_PRINCIPAL: &str = "ce_principal";
/// Present when the sender holds `admin` on the subject.
pub const HEADER_CE_ADMIN: &str = "ce_admin";
/// How many sends lie between the first event and this one.
pub const HEADER_CE_HOPS: &str = "ce_hops";
/// Position of the dead letter this event re-drives.
pub const HEADER_CE_REDRIVEOF: &str = "ce_redriveof";
/// W3C trace context.
pub const HEADER_TRACEPARENT: &str = "traceparent";
/// Dense number of a result in its subject, from 1.
pub const HEADER_SEQ: &str = "seq";
/// Event key (hex) of the input a result comes from.
pub const HEADER_CAUSE: &str = "cause";
/// Append time of that input, RFC 3339.
pub const HEADER_CAUSED_AT: &str = "caused_at";
/// Kind of a log record: `T` trailer, `C` claim.
pub const HEADER_KIND: &str = "kind";
/// Version of a log record's schema.
pub const HEADER_V: &str = "v";
/// Why an event is a dead letter.
pub const HEADER_DEAD_REASON: &str = "dead_reason";
/// The reason in words.
pub const HEADER_DEAD_DETAIL: &str = "dead_detail";
/// When it became one, RFC 3339.
pub const HEADER_DEAD_AT: &str = "dead_at";
/// `<topic>/<partition>/<offset>` of the original.
pub const HEADER_DEAD_ORIGIN: &str = "dead_origin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_carries_the_prefix() {
        let topics = Topics::new("t1-");
        assert_eq!(topics.events("flights"), "t1-flights.events");
        assert_eq!(topics.canary(), "t1-forebay.canary");
        assert_eq!(Topics::default().log("flights"), "flights.log");
    }
}
