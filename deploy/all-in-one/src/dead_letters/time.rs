//! Points in time as operators write them.

use std::time::{SystemTime, UNIX_EPOCH};

/// `text` as ms since the Unix epoch: RFC 3339, or an age (`90s`, `30m`, `2h`, `7d`) before now.
pub(super) fn millis(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    parse(text, now).ok_or_else(|| "write a time like 2026-01-31T08:00:00Z, or an age like 90s, 30m, 2h, 7d".to_owned())
}

fn parse(text: &str, now: i64) -> Option<i64> {
    let seconds = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
    };
    let age: i64 = text[..text.len() - 1].parse().ok()?;
    Some(now - age.checked_mul(seconds * 1_000)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_read() {
        assert_eq!(parse("1970-01-01T00:00:01Z", 0), Some(1_000));
        assert_eq!(parse("2h", 10_000_000), Some(2_800_000));
        assert_eq!(parse("90s", 90_000), Some(0));
        assert_eq!([parse("", 0), parse("h", 0), parse("tomorrow", 0), parse("5 d", 0)], [None; 4]);
    }
}
