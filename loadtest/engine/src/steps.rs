//! Times of the engine's steps, taken from the metrics it writes anyway.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use metrics::{Counter, Gauge, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::reader::histogram;

/// The engine's metric for steps; its label `step` names them.
const STEP: &str = "forebay_runtime_transaction_seconds";

/// Histogram of one step, µs.
#[derive(Clone)]
pub(crate) struct Step(Arc<Mutex<Histogram<u64>>>);

impl HistogramFn for Step {
    fn record(&self, seconds: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record((seconds * 1e6) as u64);
    }
}

/// A recorder that keeps these histograms and nothing else.
#[derive(Clone)]
pub(crate) struct Steps(Vec<(&'static str, Step)>);

impl Steps {
    /// Becomes the process's recorder.
    pub(crate) fn install() -> Result<Self> {
        let step = |name| Ok((name, Step(Arc::new(Mutex::new(histogram()?)))));
        let names = ["fetch", "begin", "produce", "send_offsets", "commit"];
        let steps = Self(names.into_iter().map(step).collect::<Result<_>>()?);
        metrics::set_global_recorder(steps.clone()).map_err(|_| anyhow!("there is a recorder already"))?;
        Ok(steps)
    }

    /// How often the step ran, and its quantiles 0.5 and 0.99, ms.
    pub(crate) fn of(&self, step: &str) -> (u64, f64, f64) {
        let Some((_, found)) = self.0.iter().find(|(name, _)| *name == step) else { return (0, 0.0, 0.0) };
        let histogram = found.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        (histogram.len(), ms(0.5), ms(0.99))
    }

    /// All of them on one line: p50/p99 in ms.
    pub(crate) fn line(&self) -> String {
        let one = |(name, _): &(&str, Step)| {
            let (_, p50, p99) = self.of(name);
            format!("{name} {p50:.1}/{p99:.1}")
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl Recorder for Steps {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let label = key.labels().find(|label| label.key() == "step").filter(|_| key.name() == STEP);
        let step = label.and_then(|label| self.0.iter().find(|(name, _)| *name == label.value()));
        step.map_or_else(metrics::Histogram::noop, |(_, step)| metrics::Histogram::from_arc(Arc::new(step.clone())))
    }
}
