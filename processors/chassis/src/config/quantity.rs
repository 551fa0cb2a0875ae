//! Times and sizes as people write them in a configuration: `"10s"`, `"250ms"`, `"8MiB"`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// Reads a duration: a whole number and `ms`, `s`, `min` or `h`.
///
/// # Errors
/// Any other form.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let scale = |unit: &str| match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis =
        scaled(&text, scale).ok_or_else(|| D::Error::custom(format!("\"{text}\" is no time like \"10s\" or \"250ms\"")))?;
    Ok(Duration::from_millis(millis))
}

/// Reads a number of bytes: a whole number, alone or with `KiB`, `MiB` or `GiB`.
///
/// # Errors
/// Any other form.
pub fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let text = String::deserialize(deserializer)?;
    let scale = |unit: &str| match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let size = scaled(&text, scale).and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| D::Error::custom(format!("\"{text}\" is no size like \"8MiB\" or \"65536\"")))
}

fn scaled(text: &str, scale: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    number.parse::<u64>().ok()?.checked_mul(scale(unit.trim())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Both {
        #[serde(deserialize_with = "duration")]
        time: Duration,
        #[serde(deserialize_with = "bytes")]
        size: usize,
    }

    #[test]
    fn numbers_carry_their_unit() {
        let both: Both = serde_json::from_str(r#"{"time":"2min","size":"8 MiB"}"#).unwrap();
        assert_eq!((both.time, both.size), (Duration::from_secs(120), 8 << 20));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for (time, size) in [("10", "1"), ("-1s", "1"), ("1d", "1"), ("1s", "8MB"), ("1s", "x"), ("99999999999999999999s", "1")] {
            let text = format!(r#"{{"time":"{time}","size":"{size}"}}"#);
            let error = serde_json::from_str::<Both>(&text).err().unwrap().to_string();
            assert!(error.contains("like"), "{error}");
        }
    }
}
