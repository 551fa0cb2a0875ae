//! Spans of sampled inputs: from the poll to the commit, in the trace of whoever sent the event.
//!
//! What an input causes carries the span's own `traceparent`, so one trace goes from the POST over this batch to the
//! socket.

use std::sync::Arc;

use chassis::telemetry;
use schemas::names::HEADER_TRACEPARENT;
use tracing::Span;

use crate::engine::headers::HeaderList;
use crate::engine::input::{Arrived, Inlet};

/// Inputs that are traced at once; a batch that holds more sampled ones traces the first.
const TRACED_MAX: usize = 8;

struct Traced {
    inlet: Inlet,
    offset: i64,
    traceparent: String,
    span: Span,
}

/// Open spans of one session.
pub(super) struct Traces {
    stream: Arc<str>,
    open: Vec<Traced>,
    batch: Option<Span>,
}

impl Traces {
    pub(super) fn new(stream: Arc<str>) -> Self {
        Self { stream, open: Vec::new(), batch: None }
    }

    /// Begins the span of an input, if its trace is sampled.
    pub(super) fn arrived(&mut self, input: &mut Arrived) {
        if self.open.len() >= TRACED_MAX {
            return;
        }
        let parent = input.headers.iter().find(|(name, _)| *name == HEADER_TRACEPARENT);
        let Some(parent) = parent.and_then(|(_, value)| std::str::from_utf8(value).ok()) else { return };
        let span = tracing::info_span!(
            parent: None, "process", otel.kind = "consumer", stream = %self.stream, shard = input.shard, offset = input.offset
        );
        telemetry::follow(&span, parent);
        if let Some(traceparent) = span.in_scope(telemetry::current_traceparent) {
            input.headers = with_traceparent(&input.headers, &traceparent);
            let inlet = Inlet { feed: input.feed, shard: input.shard };
            self.open.push(Traced { inlet, offset: input.offset, traceparent, span });
        }
    }

    /// Begins the span of a transaction, when a traced input is in memory: below the first one, linked to the others.
    pub(super) fn transaction_begins(&mut self) {
        let Some((first, others)) = self.open.split_first() else { return };
        let span = tracing::info_span!(parent: &first.span, "transaction", stream = %self.stream, inputs = tracing::field::Empty);
        for other in others {
            telemetry::link(&span, &other.traceparent);
        }
        self.batch = Some(span);
    }

    /// Tells the span of the transaction how large it is.
    pub(super) fn produced(&self, inputs: usize) {
        if let Some(span) = &self.batch {
            span.record("inputs", inputs);
        }
    }

    /// Ends the transaction's span, and those of inputs below these positions.
    pub(super) fn committed(&mut self, positions: &[(Inlet, i64)]) {
        self.batch = None;
        let consumed = |traced: &Traced| positions.iter().any(|(inlet, next)| traced.inlet == *inlet && traced.offset < *next);
        self.open.retain(|traced| !consumed(traced));
    }

    /// Ends all spans: their inputs are somebody else's now.
    pub(super) fn drop_all(&mut self) {
        self.batch = None;
        self.open.clear();
    }
}

fn with_traceparent(headers: &HeaderList, traceparent: &str) -> HeaderList {
    let mut list = HeaderList::builder(headers.size());
    for (name, value) in headers.iter() {
        list.push(name, if name == HEADER_TRACEPARENT { traceparent.as_bytes() } else { value });
    }
    list.finish()
}
