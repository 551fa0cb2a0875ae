//! Made events that carry a number, beside those of the sample.

pub use sample::Flight;

/// A made flight that carries `number` as its delay, so that its result can be told from all others.
///
/// `airport` picks one of 1,296 origins `Q00`…`QZZ`, which the sample does not know; `run` is the destination and tells runs apart.
#[must_use]
pub fn numbered(number: i32, airport: u32, run: &str) -> Flight {
    Flight {
        departed_at: "2001-01-01T00:00:00Z".to_owned(),
        delay_minutes: number,
        distance_miles: 100,
        origin: airport_code('Q', airport),
        destination: run.to_owned(),
    }
}

/// The code of made airport number `n` (modulo 1,296) below `letter`.
#[must_use]
pub fn airport_code(letter: char, n: u32) -> String {
    const SIGNS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let sign = |digit: u32| char::from(SIGNS[(digit % 36) as usize]);
    [letter, sign(n / 36), sign(n)].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_airports_are_distinct_codes_of_three_signs() {
        let codes: std::collections::BTreeSet<_> = (0..1296).map(|n| airport_code('Q', n)).collect();
        assert_eq!(codes.len(), 1296);
        assert!(
            codes
                .iter()
                .all(|code| code.len() == 3 && code.bytes().all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit()))
        );
    }
}
