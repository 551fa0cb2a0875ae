//! Numbers from their raw text, never through a float.

use super::errors::code;

/// Longest number literal looked at, in bytes.
pub(super) const LITERAL_MAX: usize = 1_024;

/// Why a value does not fit a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: &'static str,
}

impl Refusal {
    pub(super) const WRONG_TYPE: Refusal = Refusal { code: code::WRONG_TYPE, message: "a JSON value of another kind is needed" };
    pub(super) const RANGE: Refusal = Refusal { code: code::OUT_OF_RANGE, message: "the number does not fit the type" };

    pub(super) const fn format(message: &'static str) -> Refusal {
        Refusal { code: code::BAD_FORMAT, message }
    }

    pub(super) const fn precision(message: &'static str) -> Refusal {
        Refusal { code: code::PRECISION, message }
    }
}

/// A JSON number as digits and a power of ten; neither leading nor trailing zeros, no digits for zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digits<'a> {
    pub(super) negative: bool,
    /// The digits stand in one or both of these, in this order.
    whole: &'a str,
    fraction: &'a str,
    /// The power of ten behind the last digit.
    pub(super) exponent: i64,
}

impl<'a> Digits<'a> {
    /// Takes apart `raw`, which has the grammar of a JSON number.
    pub(super) fn of(raw: &'a str) -> Self {
        let (mantissa, power) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
        // a power with 19 digits and more is as good as endless
        let endless = if power.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
        let power = power.parse::<i64>().map_or(endless, |power| power.clamp(i64::MIN / 4, i64::MAX / 4));
        let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut exponent = power - length(fraction);
        let (mut whole, mut fraction) = (whole.trim_start_matches('0'), fraction);
        if whole.is_empty() {
            fraction = fraction.trim_start_matches('0');
        }
        let trimmed = fraction.trim_end_matches('0');
        exponent += length(fraction) - length(trimmed);
        fraction = trimmed;
        if fraction.is_empty() {
            let trimmed = whole.trim_end_matches('0');
            exponent += length(whole) - length(trimmed);
            whole = trimmed;
        }
        Digits { negative, whole, fraction, exponent }
    }

    /// How many digits.
    pub(super) fn count(&self) -> i64 {
        length(self.whole) + length(self.fraction)
    }

    /// The digits, as numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.whole.bytes().chain(self.fraction.bytes()).map(|digit| digit - b'0')
    }
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX / 4)
}

/// The whole number that `raw` is, however it is written (`3`, `3.0`, `3e2`).
pub(super) fn integer(raw: &str) -> Result<i64, Refusal> {
    if raw.len() <= 18 && raw.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(raw.bytes().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')));
    }
    let digits = Digits::of(raw);
    if digits.count() == 0 {
        return Ok(0);
    }
    if digits.exponent < 0 {
        return Err(Refusal::precision("the number is not whole"));
    }
    if digits.count() + digits.exponent > 19 {
        return Err(Refusal::RANGE);
    }
    let zeros = std::iter::repeat_n(0, usize::try_from(digits.exponent).unwrap_or_default());
    let magnitude = digits.iter().chain(zeros).fold(0_i128, |number, digit| number * 10 + i128::from(digit));
    i64::try_from(if digits.negative { -magnitude } else { magnitude }).map_err(|_| Refusal::RANGE)
}

/// The whole number that a string holds: an optional minus and digits.
pub(super) fn integer_in_string(text: &str) -> Result<i64, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits == "0" || !digits.starts_with('0');
    if digits.is_empty() || !canonical || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::format("expected a whole number in decimal digits"));
    }
    text.parse().map_err(|_| Refusal::RANGE)
}
