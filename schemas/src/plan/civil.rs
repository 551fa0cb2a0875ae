//! Dates and times of day, between their text (RFC 3339) and the counts Avro stores.
//!
//! The calendar is the proleptic Gregorian one; days are counted by Howard Hinnant's algorithms
//! (<https://howardhinnant.github.io/date_algorithms.html>).

use std::fmt::Write as _;

use super::node::Unit;
use super::number::Refusal;

const SECONDS_PER_DAY: i64 = 86_400;
const YEAR_MAX: i64 = 9_999;
const BAD_DATE: Refusal = Refusal::format("expected a date such as 2026-03-01");
const BAD_TIME: Refusal = Refusal::format("expected a time of day such as 10:15:30.250");
const BAD_TIMESTAMP: Refusal = Refusal::format("expected a time such as 2026-03-01T10:15:30.250Z, with its offset");
const BAD_LOCAL: Refusal = Refusal::format("expected a time such as 2026-03-01T10:15:30.250, without an offset");

/// Days since 1970-01-01 of a date.
pub(super) fn parse_date(text: &str) -> Result<i64, Refusal> {
    let mut scan = Scan(text);
    let days = scan.date().ok_or(BAD_DATE)?;
    if scan.0.is_empty() { Ok(days) } else { Err(BAD_DATE) }
}

/// Units since midnight of a time of day.
pub(super) fn parse_time(text: &str, unit: Unit) -> Result<i64, Refusal> {
    let mut scan = Scan(text);
    let seconds = scan.time().ok_or(BAD_TIME)?;
    let fraction = scan.fraction(unit, BAD_TIME)?;
    if !scan.0.is_empty() {
        return Err(BAD_TIME);
    }
    Ok(seconds * per_second(unit) + fraction)
}

/// Units since the epoch of an instant, or of a local date and time.
pub(super) fn parse_timestamp(text: &str, unit: Unit, local: bool) -> Result<i64, Refusal> {
    let bad = if local { BAD_LOCAL } else { BAD_TIMESTAMP };
    let mut scan = Scan(text);
    let days = scan.date().ok_or(bad)?;
    scan.one_of("Tt").ok_or(bad)?;
    let seconds = scan.time().ok_or(bad)?;
    let fraction = scan.fraction(unit, bad)?;
    let offset = if local { 0 } else { scan.offset().ok_or(bad)? };
    if !scan.0.is_empty() {
        return Err(bad);
    }
    let units = i128::from(days * SECONDS_PER_DAY + seconds - offset) * i128::from(per_second(unit)) + i128::from(fraction);
    i64::try_from(units).map_err(|_| Refusal { message: "the time does not fit the type", ..Refusal::RANGE })
}

/// Appends a date; nothing, and false, outside the years 0 to 9999.
pub(super) fn write_date(days: i64, out: &mut String) -> bool {
    let (year, month, day) = civil_from_days(days);
    let writable = (0..=YEAR_MAX).contains(&year);
    if writable {
        let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    }
    writable
}

/// Appends a time of day; nothing, and false, if it is none.
pub(super) fn write_time(units: i64, unit: Unit, out: &mut String) -> bool {
    let second = units.div_euclid(per_second(unit));
    let writable = (0..SECONDS_PER_DAY).contains(&second);
    if writable {
        let _ = write!(out, "{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let fraction = units.rem_euclid(per_second(unit));
        if fraction != 0 {
            let _ = write!(out, ".{fraction:0digits$}", digits = unit.digits());
        }
    }
    writable
}

/// Appends an instant (`Z`) or a local date and time; nothing, and false, outside the years 0 to 9999.
pub(super) fn write_timestamp(units: i64, unit: Unit, local: bool, out: &mut String) -> bool {
    let per_day = SECONDS_PER_DAY * per_second(unit);
    if !write_date(units.div_euclid(per_day), out) {
        return false;
    }
    out.push('T');
    write_time(units.rem_euclid(per_day), unit, out);
    if !local {
        out.push('Z');
    }
    true
}

fn per_second(unit: Unit) -> i64 {
    match unit {
        Unit::Millis => 1_000,
        Unit::Micros => 1_000_000,
        Unit::Nanos => 1_000_000_000,
    }
}

/// Text read from its front.
struct Scan<'a>(&'a str);

impl Scan<'_> {
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        number.parse().ok()
    }

    fn one_of(&mut self, wanted: &str) -> Option<char> {
        let found = self.0.chars().next().filter(|c| wanted.contains(*c))?;
        self.0 = &self.0[found.len_utf8()..];
        Some(found)
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        self.one_of("-")?;
        let month = self.number(2)?;
        self.one_of("-")?;
        let day = self.number(2)?;
        ((1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day)).then(|| days_from_civil(year, month, day))
    }

    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.one_of(":")?;
        let minute = self.number(2)?;
        self.one_of(":")?;
        let second = self.number(2)?;
        // leap seconds cannot be stored
        (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
    }

    /// The fraction of a second in units; digits beyond the unit must be zero.
    fn fraction(&mut self, unit: Unit, bad: Refusal) -> Result<i64, Refusal> {
        if self.one_of(".").is_none() {
            return Ok(0);
        }
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(count);
        if digits.is_empty() {
            return Err(bad);
        }
        self.0 = rest;
        let kept = &digits[..count.min(unit.digits())];
        if digits[kept.len()..].bytes().any(|digit| digit != b'0') {
            return Err(Refusal::precision("finer digits than the type keeps"));
        }
        let padding = std::iter::repeat_n(b'0', unit.digits() - kept.len());
        Ok(kept.bytes().chain(padding).fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.one_of("Zz+-")? {
            '+' => 1,
            '-' => -1,
            _ => return Some(0),
        };
        let hour = self.number(2)?;
        self.one_of(":")?;
        let minute = self.number(2)?;
        (hour < 24 && minute < 60).then_some(sign * (hour * 3600 + minute * 60))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}
