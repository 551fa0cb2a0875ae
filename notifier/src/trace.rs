//! Spans of sampled results: their fan-out on a lane and their writes to sockets, below the `traceparent` of the record. Results that are
//! not sampled cost a look at their header.

use tracing::Span;

use chassis::telemetry;

use crate::hub::Piece;
use crate::pulse::Transport;
use crate::ring::Entry;

/// Sampled results of one chunk whose writes are traced.
pub(crate) const PER_CHUNK_MAX: usize = 8;

/// The span in which a result is decoded and framed.
pub(crate) fn fan_out(entry: &Entry) -> Option<Span> {
    let parent = entry.sampled()?;
    let span = tracing::info_span!(parent: None, "fan-out", stream = entry.stream(), seq = entry.origin.seq);
    telemetry::follow(&span, parent);
    Some(span)
}

/// The spans of a write of `pieces`; they end when they are dropped.
pub(crate) fn writes(transport: Transport, pieces: &[Piece]) -> Vec<Span> {
    let chunks = pieces.iter().filter_map(|piece| match piece {
        Piece::Results(chunk) => Some(chunk),
        Piece::Own(_) => None,
    });
    let traces = chunks.filter(|chunk| chunk.trace_this()).flat_map(|chunk| chunk.traces.iter().map(AsRef::as_ref));
    let span = |parent: &str| {
        let span = tracing::info_span!(parent: None, "write", "otel.kind" = "producer", transport = transport.as_str());
        telemetry::follow(&span, parent);
        span
    };
    traces.take(PER_CHUNK_MAX).map(span).collect()
}
