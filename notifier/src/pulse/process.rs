//! What other rooms of this process count: their numbers are read from the process's own metrics, so no room has to know another.
//! In a process of its own the notifier finds none, and the console shows "–".

use std::collections::HashMap;

/// Counters and gauges by name and stream.
#[derive(Debug, Default)]
pub(super) struct Counters(HashMap<(&'static str, String), f64>);

/// Name in `/v1/pulse`, name in the metrics.
const WANTED: &[(&str, &str)] = &[
    ("inputs_total", "forebay_runtime_inputs_total"),
    ("duplicates_total", "forebay_runtime_duplicates_total"),
    ("dead_letters_total", "forebay_runtime_dead_letters_total"),
    ("lag_records", "forebay_runtime_lag_records"),
    ("shards_owned", "forebay_runtime_shards_owned"),
    ("accepted_total", "forebay_ingest_events_total"),
];

/// The numbers of this process now.
pub(super) fn counters() -> Counters {
    read(&chassis::telemetry::prometheus().render())
}

impl Counters {
    /// All that is known of `stream`.
    pub(super) fn of(&self, stream: &str) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().filter(move |((_, of), _)| of == stream).map(|((name, _), value)| (*name, *value))
    }
}

/// Sums the wanted samples of a Prometheus text over all labels but the stream.
fn read(text: &str) -> Counters {
    let mut counters = Counters::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((name, labels)) = series.split_once('{') else { continue };
        let Some((told, _)) = WANTED.iter().find(|(_, wanted)| *wanted == name) else { continue };
        let stream = labels.split("stream=\"").nth(1).and_then(|rest| rest.split('"').next());
        if let (Some(stream), Ok(value)) = (stream, value.parse::<f64>()) {
            *counters.0.entry((told, stream.to_owned())).or_default() += value;
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_other_labels() {
        let text = "# TYPE forebay_runtime_inputs_total counter\n\
                    forebay_runtime_inputs_total{stream=\"flights\",kind=\"event\"} 40\n\
                    forebay_runtime_inputs_total{kind=\"timer\",stream=\"flights\"} 2\n\
                    forebay_runtime_inputs_total{stream=\"orders\",kind=\"event\"} 7\n\
                    forebay_other{stream=\"flights\"} 9\n";
        let told: Vec<_> = read(text).of("flights").collect();
        assert_eq!(told, [("inputs_total", 42.0)]);
    }
}
