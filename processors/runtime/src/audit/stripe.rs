//! Parts of a stream's keys: an audit that cannot hold all of them looks at one part after the other, or at one alone.

use schemas::key::EventKey;

/// Part `index` of `of` equal parts of all subjects and of all event keys. A subject's part says nothing of the parts
/// of its events' keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stripe {
    index: u32,
    of: u32,
}

impl Stripe {
    pub(crate) fn new(index: u32, of: u32) -> Self {
        Self { index, of: of.max(1) }
    }

    pub(crate) fn takes_subject(self, subject: &str) -> bool {
        self.of == 1 || self.takes(first_word(blake3::hash(subject.as_bytes()).as_bytes()))
    }

    pub(crate) fn takes_key(self, key: &EventKey) -> bool {
        self.of == 1 || self.takes(first_word(&key.0))
    }

    fn takes(self, word: u32) -> bool {
        word % self.of == self.index
    }
}

fn first_word(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |word| u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_cover_everything_once() {
        for n in 0..1_000 {
            let (subject, key) = (format!("s/{n}"), EventKey::of("source", &n.to_string(), None));
            let parts = || (0..7).map(|index| Stripe::new(index, 7));
            assert_eq!(parts().filter(|stripe| stripe.takes_subject(&subject)).count(), 1);
            assert_eq!(parts().filter(|stripe| stripe.takes_key(&key)).count(), 1);
            assert!(Stripe::new(0, 1).takes_subject(&subject) && Stripe::new(0, 1).takes_key(&key));
        }
    }
}
