//! Which partition owns a subject: murmur2 as the Java client computes it, so that producers of any language agree.

/// Subjects of shard rows: `~shard/<n>` belongs to partition n.
pub const SHARD_PREFIX: &str = "~shard/";

/// The partition of `subject` among `partitions` (at least 1).
#[must_use]
pub fn partition_of(subject: &str, partitions: i32) -> i32 {
    if let Some(shard) = shard_of(subject)
        && shard < partitions
    {
        return shard;
    }
    let positive = (murmur2(subject.as_bytes()) & 0x7fff_ffff).cast_signed();
    positive % partitions.max(1)
}

/// The subject of the rows that every input of shard `shard` may read and write.
#[must_use]
pub fn shard_subject(shard: i32) -> String {
    format!("{SHARD_PREFIX}{shard}")
}

/// The shard that a reserved subject names, if it is one.
#[must_use]
pub fn shard_of(subject: &str) -> Option<i32> {
    let digits = subject.strip_prefix(SHARD_PREFIX)?;
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// MurmurHash2 with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    // Java's length is an int: longer keys than that do not exist
    let mut hash = SEED ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MIX);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MIX) ^ k.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_gives_what_the_java_client_gives() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in vectors {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn a_shard_subject_belongs_to_its_shard() {
        assert_eq!(partition_of("~shard/7", 16), 7);
        assert_eq!(partition_of(&shard_subject(0), 16), 0);
        let not_shards = ["~shard/16", "~shard/07", "~shard/+7", "~shard/", "~shard/x"];
        for subject in not_shards {
            assert_eq!(partition_of(subject, 16), (murmur2(subject.as_bytes()) & 0x7fff_ffff) as i32 % 16, "{subject}");
        }
    }
}
