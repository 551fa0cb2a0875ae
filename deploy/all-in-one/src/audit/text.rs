//! A report for people.

use std::fmt::Write;

use runtime::audit::{Check, Finding, Report};

/// The report as text, ending in a newline.
pub(crate) fn of(report: &Report) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = write(report, &mut out);
    out
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let store = report.store.as_deref().map_or("without store".to_owned(), |kind| format!("{kind} store"));
    writeln!(
        out,
        "\nAudit of {} ({}, {store}): {} shards in {:.1} s",
        report.stream,
        report.mode,
        report.shards.len(),
        report.seconds
    )?;
    let mut shard = None;
    for finding in by_shard(report) {
        if shard != Some(finding.shard) {
            writeln!(out, "\n  shard {}", finding.shard)?;
            shard = Some(finding.shard);
        }
        writeln!(out, "    {:?}  {}", finding.check, finding.what)?;
        let place = place(finding);
        if !place.is_empty() {
            writeln!(out, "        {place}")?;
        }
    }
    writeln!(out, "\n  check                              findings")?;
    for check in Check::ALL {
        let count = report.found.get(&check).copied().unwrap_or(0);
        let shown = report.findings.iter().filter(|finding| finding.check == check).count() as u64;
        let more = if count > shown { format!(" ({shown} shown)") } else { String::new() };
        writeln!(out, "  {check:?}  {:<30} {count:>8}{more}", check.title())?;
    }
    let total = report.total();
    writeln!(
        out,
        "\n  looked at: {} frames, {} events ({} duplicates, {} waiting), {} results, {} dead letters,\n             \
         {} rows, {} agenda items, {} status entries, {} keys of the dedupe window, {} receipts",
        total.frames,
        total.events,
        total.duplicates,
        total.lag,
        total.results,
        total.dead,
        total.rows,
        total.items,
        total.status,
        total.window,
        total.receipts
    )?;
    writeln!(out, "  memory: {} keys held at most, {} pass(es) over the topics", report.keys_held, report.passes)?;
    if total.moved > 0 {
        writeln!(out, "  {} were changed meanwhile or are not covered by the mark, and were passed over", total.moved)?;
    }
    for skipped in &report.skipped {
        writeln!(out, "  not looked at: {skipped}")?;
    }
    let findings: u64 = report.found.values().sum();
    match findings {
        0 => writeln!(out, "\n  clean\n"),
        1 => writeln!(out, "\n  1 finding: docs/operating.md says what to do\n"),
        _ => writeln!(out, "\n  {findings} findings: docs/operating.md says what to do\n"),
    }
}

fn by_shard(report: &Report) -> Vec<&Finding> {
    let mut findings: Vec<_> = report.findings.iter().collect();
    findings.sort_by_key(|finding| (finding.shard, finding.check));
    findings
}

fn place(finding: &Finding) -> String {
    let mut parts = Vec::new();
    if let (Some(topic), Some(offset)) = (&finding.topic, finding.offset) {
        parts.push(format!("{topic}/{} offset {offset}", finding.shard));
    }
    parts.extend(finding.subject.as_ref().map(|subject| format!("subject {subject:?}")));
    parts.extend(finding.ts.map(|ts| format!("frame of {} (ts {ts})", runtime::time::rfc3339(ts))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_every_finding_with_its_place() {
        let finding = Finding::new(Check::C4, 3, "row \"\" is missing in the store");
        let finding = finding.at("flights.log", 17).of("ATL").frame(1_000_000);
        let report = Report {
            stream: "flights".into(),
            mode: "stopped".into(),
            store: Some("embedded".into()),
            shards: [(3, runtime::audit::Counts::default())].into(),
            findings: vec![finding],
            found: [(Check::C4, 2)].into(),
            skipped: Vec::new(),
            sample: 1,
            passes: 1,
            keys_held: 0,
            seconds: 0.5,
        };
        let text = of(&report);
        assert!(text.contains("shard 3\n    C4  row \"\" is missing in the store\n"), "{text}");
        assert!(text.contains("flights.log/3 offset 17, subject \"ATL\", frame of 1970-01-01T00:00:01Z (ts 1000000)"), "{text}");
        assert!(text.contains("C4  store equals log                      2 (1 shown)"), "{text}");
        assert!(text.contains("2 findings"), "{text}");
    }
}
