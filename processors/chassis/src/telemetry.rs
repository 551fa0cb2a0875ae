//! Logs, traces and metrics of a process. Set up once by `main`; the [`Guard`] flushes on drop.

use std::collections::HashMap;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::Deserialize;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer};

/// Bounds of histograms whose name ends in `_seconds`: 100 µs to 60 s.
const SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0,
    30.0, 60.0,
];
/// Bounds of histograms whose name ends in `_bytes`: 64 B to 64 MiB.
const BYTES: &[f64] =
    &[64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];
/// Bounds of all other histograms, which count things.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    #[default]
    Pretty,
}

/// What a process tells about itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Look of log lines.
    pub format: Format,
    /// Filter in the syntax of `RUST_LOG`, e.g. `info,chassis=debug`.
    pub level: String,
    /// Base address of an OTLP/HTTP collector, e.g. `http://127.0.0.1:4318`. None or empty: no traces leave the process.
    pub otlp_endpoint: Option<String>,
    /// Name in traces.
    pub service_name: String,
    /// Share of traces started here that are sampled, 0 to 1. Traces started elsewhere keep their caller's choice.
    pub sample_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::default(),
            level: "info".to_owned(),
            otlp_endpoint: None,
            service_name: "forebay".to_owned(),
            sample_ratio: 0.01,
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is not a filter.
    #[error("telemetry.level {level:?} is not a log filter: {source}")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The collector's address cannot be used.
    #[error("the trace exporter for {endpoint} cannot start: {source}; correct or empty telemetry.otlp_endpoint")]
    Exporter {
        /// The configured address.
        endpoint: String,
        /// What is wrong.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Logging was set up before.
    #[error("logging is set up twice")]
    Twice(#[from] TryInitError),
}

/// Keeps telemetry alive; flushes the last spans when dropped.
#[derive(Debug)]
#[must_use = "traces stop when the guard is dropped"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take()
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Starts logs, traces and metrics. Call it once, before anything logs.
///
/// # Errors
/// A level that does not parse, a collector address that cannot be used, a second call.
pub fn init(config: &Config) -> Result<Guard, Error> {
    let filter = EnvFilter::try_new(&config.level).map_err(|source| Error::Level { level: config.level.clone(), source })?;
    let lines = match config.format {
        Format::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
        Format::Pretty => tracing_subscriber::fmt::layer().with_writer(std::io::stderr).boxed(),
    };
    let provider = provider(config)?;
    let traces = provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("forebay")));
    // the level is about log lines: traces stay whole when it is raised
    let traces = traces.map(|traces| traces.with_filter(LevelFilter::INFO));
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces).try_init()?;
    prometheus();
    Ok(Guard { provider })
}

fn provider(config: &Config) -> Result<Option<SdkTracerProvider>, Error> {
    let Some(endpoint) = config.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(None);
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|source| Error::Exporter { endpoint: endpoint.to_owned(), source })?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample_ratio)));
    let resource = opentelemetry_sdk::Resource::builder().with_service_name(config.service_name.clone()).build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_sampler(sampler).with_resource(resource).build();
    Ok(Some(provider))
}

/// The `traceparent` of the current span, if its trace is sampled; what is not sampled is not worth a record header.
pub fn current_traceparent() -> Option<String> {
    let context = tracing::Span::current().context();
    if !context.span().span_context().is_sampled() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove("traceparent")
}

/// Makes `span` a child of the trace named by a W3C `traceparent`; an invalid one is ignored.
pub fn follow(span: &tracing::Span, traceparent: &str) {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if context.span().span_context().is_valid() {
        // fails only where no trace layer is installed, and then there is nothing to follow
        let _ = span.set_parent(context);
    }
}

/// Whether a W3C `traceparent` says that its trace is sampled.
pub fn is_sampled(traceparent: &str) -> bool {
    let flags = traceparent.get(53..55).and_then(|flags| u8::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

/// Links `span` to the trace named by a W3C `traceparent`; an invalid one is ignored.
pub fn link(span: &tracing::Span, traceparent: &str) {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier).span().span_context().clone();
    if context.is_valid() {
        span.add_link(context);
    }
}

/// The process's metrics.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl Handle {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds histograms; to be called now and then when nobody scrapes.
    pub(crate) fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// The process's recorder; the first call installs it for the `metrics` crate.
pub fn prometheus() -> Handle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let recorder = builder().unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed; /metrics stays empty");
        }
        crate::metrics::describe();
        handle
    });
    Handle(handle.clone())
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)?
        .set_buckets(COUNTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_trace_goes_on_in_the_records_of_its_span() {
        let provider = SdkTracerProvider::builder().build();
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(traces);
        tracing::subscriber::with_default(subscriber, || {
            for (flag, sampled) in [("01", true), ("00", false)] {
                let span = tracing::info_span!("request");
                follow(&span, &format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flag}"));
                let out = span.in_scope(current_traceparent);
                assert_eq!(out.is_some(), sampled);
                assert!(out.as_deref().is_none_or(is_sampled));
                assert!(out.is_none_or(|out| out.starts_with("00-0af7651916cd43dd8448eb211c80319c-")));
            }
        });
    }

    #[test]
    fn outside_a_trace_there_is_no_traceparent() {
        assert_eq!(current_traceparent(), None);
    }

    #[test]
    fn buckets_are_accepted() {
        assert!(builder().is_ok());
    }
}
