//! Decimals: text to two's complement and back, of any length.

use super::binary::write_length;
use super::number::{Digits, LITERAL_MAX, Refusal};
use crate::json::Reader;

/// Digits taken at once: the largest power of ten below 2^32.
const CHUNK_DIGITS: usize = 9;
const CHUNK: u64 = 1_000_000_000;

/// Appends the decimal that `text` (written like a JSON number) is; `fixed` bytes wide, or as short as can be and with its length.
pub(super) fn write(text: &str, precision: usize, scale: usize, fixed: Option<usize>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if text.len() > LITERAL_MAX || Reader::new(text).number() != Ok(text) {
        return Err(Refusal::format("expected a number in decimal digits"));
    }
    let digits = Digits::of(text);
    let start = out.len();
    if digits.count() > 0 {
        let zeros = digits.exponent.saturating_add(i64::try_from(scale).unwrap_or(i64::MAX));
        let zeros = usize::try_from(zeros).map_err(|_| Refusal::precision("more digits behind the point than the type keeps"))?;
        if usize::try_from(digits.count()).unwrap_or(usize::MAX).saturating_add(zeros) > precision {
            return Err(Refusal { message: "more digits than the type has", ..Refusal::RANGE });
        }
        append_magnitude(digits.iter().chain(std::iter::repeat_n(0, zeros)), out);
    }
    let fits = complement(digits.negative && digits.count() > 0, fixed, start, out);
    if !fits {
        out.truncate(start);
        return Err(Refusal::RANGE);
    }
    out[start..].reverse();
    if fixed.is_none() {
        let end = out.len();
        write_length(end - start, out);
        let width = out.len() - end;
        out[start..].rotate_right(width);
    }
    Ok(())
}

/// Appends the number's bytes, least first.
fn append_magnitude(digits: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let start = out.len();
    let (mut value, mut scale) = (0, 1);
    for digit in digits {
        value = value * 10 + u64::from(digit);
        scale *= 10;
        if scale == CHUNK {
            multiply_add(start, scale, value, out);
            (value, scale) = (0, 1);
        }
    }
    multiply_add(start, scale, value, out);
}

fn multiply_add(start: usize, factor: u64, addend: u64, out: &mut Vec<u8>) {
    let mut carry = addend;
    for byte in &mut out[start..] {
        carry += u64::from(*byte) * factor;
        *byte = low_byte(carry);
        carry >>= 8;
    }
    while carry > 0 {
        out.push(low_byte(carry));
        carry >>= 8;
    }
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Turns a magnitude (least byte first) into two's complement of the width needed; false if it does not fit.
fn complement(negative: bool, fixed: Option<usize>, start: usize, out: &mut Vec<u8>) -> bool {
    let mut carry = true;
    for byte in out[start..].iter_mut().filter(|_| negative) {
        (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
    }
    let sign = if negative { 0xFF } else { 0 };
    let has_sign = out[start..].last().is_some_and(|top| (*top >= 0x80) == negative);
    if !has_sign {
        out.push(sign);
    }
    let Some(width) = fixed else { return true };
    if out.len() - start > width {
        return false;
    }
    out.resize(start + width, sign);
    true
}

/// Whether the number has at most `precision` digits; cheap for all lengths, so that it can stand before [`render`].
pub(super) fn fits(bytes: &[u8], precision: usize) -> bool {
    let significant = significant(bytes);
    // 10^precision needs less than 0.416 bytes per digit, and one for the sign
    if significant.len() > precision / 2 + 2 {
        return false;
    }
    let mut digits = String::new();
    append_digits(significant, &mut digits);
    digits.trim_start_matches('-').trim_start_matches('0').len() <= precision
}

/// The bytes without repetitions of the sign in front; at least one unless there are none.
fn significant(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest
        && let [second, ..] = tail
        && (*first == 0 && *second < 0x80 || *first == 0xFF && *second >= 0x80)
    {
        rest = tail;
    }
    rest
}

/// Appends the decimal in its canonical text: `scale` digits behind the point.
pub(super) fn render(bytes: &[u8], scale: usize, out: &mut String) {
    let mut digits = String::new();
    append_digits(significant(bytes), &mut digits);
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    out.push_str(sign);
    let whole = digits.len().saturating_sub(scale);
    out.push_str(if whole == 0 { "0" } else { &digits[..whole] });
    if scale > 0 {
        out.push('.');
        out.extend(std::iter::repeat_n('0', scale.saturating_sub(digits.len())));
        out.push_str(&digits[whole..]);
    }
}

/// Appends the digits of a two's complement number, most significant byte first.
fn append_digits(bytes: &[u8], out: &mut String) {
    let negative = bytes.first().is_some_and(|top| *top >= 0x80);
    let mut magnitude = bytes.to_vec();
    if negative {
        out.push('-');
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut chunks = Vec::new();
    while let Some(first) = magnitude.iter().position(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in &mut magnitude[first..] {
            rest = rest << 8 | u64::from(*byte);
            *byte = low_byte(rest / CHUNK);
            rest %= CHUNK;
        }
        chunks.push(rest);
    }
    out.push_str(&chunks.pop().unwrap_or_default().to_string());
    for chunk in chunks.iter().rev() {
        out.push_str(&format!("{chunk:0CHUNK_DIGITS$}"));
    }
}
