//! Letters as text and as JSON.

use std::fmt::Write;

use anyhow::Result;
use runtime::dead_letter::desk::Letter;
use schemas::registry::Registry;
use schemas::{frame, names};
use serde_json::{Value, json};

/// Bytes shown in hex; the rest is counted.
const HEX_BYTES: usize = 4_096;
/// Bytes of a row of hex.
const HEX_ROW: usize = 32;

/// One letter on one line.
pub(super) fn line(letter: &Letter, stream: &str, as_json: bool) -> Result<String> {
    if as_json {
        return Ok(serde_json::to_string(&summary(letter, stream))?);
    }
    let text = |name: &str| letter.header(name).to_owned();
    let mut line = format!(
        "{:<24} {:<26} {:<17} {:<20} {:<24}",
        letter.position(stream),
        text(names::HEADER_DEAD_AT),
        text(names::HEADER_DEAD_REASON),
        text(names::HEADER_CE_TYPE),
        format!("{:?}", letter.record.subject()),
    );
    let detail = text(names::HEADER_DEAD_DETAIL);
    write!(line, " {}", detail.lines().next().unwrap_or_default())?;
    Ok(line)
}

/// One letter with everything it has.
pub(super) fn whole(letter: &Letter, stream: &str, decoded: Result<String, String>, as_json: bool) -> Result<String> {
    let data = decoded.as_deref().ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if as_json {
        let mut all = summary(letter, stream);
        all["headers"] =
            letter.record.headers.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect();
        all["hex"] = hex(&letter.record.value).into();
        all["data"] = data.unwrap_or_default();
        return Ok(serde_json::to_string(&all)?);
    }
    let mut out = format!("{}\n", letter.position(stream));
    writeln!(out, "  subject   {:?}", String::from_utf8_lossy(letter.record.key.as_deref().unwrap_or_default()))?;
    for (name, value) in letter.record.headers.iter() {
        writeln!(out, "  {name:<16} {}", String::from_utf8_lossy(value))?;
    }
    match decoded {
        Ok(text) => writeln!(out, "  as JSON\n    {text}")?,
        Err(why) => writeln!(out, "  not shown as JSON: {why}")?,
    }
    let value = &letter.record.value;
    writeln!(out, "  {} bytes", value.len())?;
    for row in value[..value.len().min(HEX_BYTES)].chunks(HEX_ROW) {
        writeln!(out, "    {}", hex(row))?;
    }
    if value.len() > HEX_BYTES {
        writeln!(out, "    … and {} more; --json has all", value.len() - HEX_BYTES)?;
    }
    Ok(out)
}

/// The original bytes as JSON, by the schema they name.
pub(super) async fn decoded(letter: &Letter, registry: &Registry) -> Result<String, String> {
    let (id, datum) = frame::split(&letter.record.value).map_err(|error| error.to_string())?;
    let schema = registry.schema_by_id(id).await.map_err(|error| error.to_string())?;
    let mut text = String::new();
    schema.plan.render(datum, &mut text).map_err(|error| format!("{}: {error}", schema.full_name))?;
    Ok(text)
}

fn summary(letter: &Letter, stream: &str) -> Value {
    let text = |name: &str| Some(letter.header(name)).filter(|value| !value.is_empty());
    json!({
        "letter": letter.position(stream),
        "at": text(names::HEADER_DEAD_AT),
        "reason": text(names::HEADER_DEAD_REASON),
        "detail": text(names::HEADER_DEAD_DETAIL),
        "origin": text(names::HEADER_DEAD_ORIGIN),
        "subject": letter.record.subject(),
        "type": text(names::HEADER_CE_TYPE),
        "source": text(names::HEADER_CE_SOURCE),
        "id": text(names::HEADER_CE_ID),
        "bytes": letter.record.value.len(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // writing to a String cannot fail
        let _ = write!(out, "{byte:02x}");
        out
    })
}
