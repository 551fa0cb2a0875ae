use bytes::Bytes;

use super::*;

const LIMITS: Limits = Limits { age_ms: 1_000, partition_bytes: 100_000, total_bytes: 1_000_000, keep: 4 };

fn entry(offset: i64, timestamp_ms: i64, bytes: usize) -> Entry {
    Entry::new(offset, timestamp_ms, "s/x".into(), Origin::default(), None, Bytes::from(vec![0; bytes]))
}

fn ring(limits: Limits) -> Partition {
    let ring = Partition::new(limits, Arc::default());
    ring.advance(0, 0);
    ring
}

fn offsets(ring: &Partition, from: i64, most: usize) -> (Vec<i64>, Read) {
    let mut out = Vec::new();
    let read = ring.read(from, most, &mut out);
    (out.iter().map(|entry| entry.offset).collect(), read)
}

#[test]
fn a_reader_gets_everything_once_and_goes_on_where_it_was() {
    let ring = ring(LIMITS);
    for offset in [0, 1, 5, 6] {
        ring.append(entry(offset, offset, 10));
    }
    assert_eq!(offsets(&ring, 0, 3), (vec![0, 1, 5], Read::Upto { next: 6 }));
    assert_eq!(offsets(&ring, 6, 3), (vec![6], Read::Upto { next: 7 }));
    ring.advance(20, 50);
    assert_eq!(offsets(&ring, 7, 3), (vec![], Read::Upto { next: 20 }), "the cursor follows over holes");
    assert_eq!((ring.position(), ring.as_of_ms()), (20, 50));
    assert_eq!(offsets(&ring, 30, 3), (vec![], Read::Upto { next: 30 }), "a position ahead waits");
}

#[test]
fn old_entries_go_but_the_newest_stay() {
    let ring = ring(LIMITS);
    for offset in 0..10 {
        ring.append(entry(offset, offset, 10));
    }
    ring.advance(10, 1_000_000);
    assert_eq!(offsets(&ring, 6, 10).0, [6, 7, 8, 9]);
    assert_eq!(offsets(&ring, 5, 10), (vec![], Read::Below { start: 6 }));
}

#[test]
fn bytes_are_bounded_per_partition_and_in_total() {
    let total = Arc::new(Total::default());
    let limits = Limits { partition_bytes: 10_000, total_bytes: 15_000, ..LIMITS };
    let (a, b) = (Partition::new(limits, Arc::clone(&total)), Partition::new(limits, Arc::clone(&total)));
    for offset in 0..100 {
        a.append(entry(offset, 0, 500));
        assert!(a.extent().0 <= 10_000);
    }
    for offset in 0..100 {
        b.append(entry(offset, 0, 500));
        assert!(total.bytes() <= 15_000 + 2_000, "{}", total.bytes());
    }
    drop(a);
    assert_eq!(total.bytes(), b.extent().0);
}

#[test]
fn a_time_is_found_only_while_everything_since_it_is_held() {
    let young = ring(LIMITS);
    assert_eq!(young.offset_at(5), Some(0), "from offset 0 on nothing is missing");
    let ring = Partition::new(LIMITS, Arc::default());
    assert_eq!(ring.offset_at(5), None);
    for (offset, time) in [(1, 10), (3, 20), (4, 30)] {
        ring.append(entry(offset, time, 10));
    }
    assert_eq!(ring.offset_at(10), None, "an older one of the same time may be gone");
    assert_eq!(ring.offset_at(11), Some(3));
    assert_eq!(ring.offset_at(31), Some(5));
}

#[test]
fn a_restart_forgets_and_tells_by_its_epoch() {
    let ring = ring(LIMITS);
    ring.append(entry(9, 10, 10));
    let before = ring.epoch();
    ring.restart(3);
    assert_ne!(ring.epoch(), before);
    assert_eq!((ring.position(), offsets(&ring, 3, 9)), (3, (vec![], Read::Upto { next: 3 })));
}
