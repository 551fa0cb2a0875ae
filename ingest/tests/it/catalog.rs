//! The streams that the tests write to: every rule for subjects, ids and routes occurs once.

use std::sync::Arc;

use schemas::catalog::Catalog;

/// Streams `orders` and `beacons`.
pub(crate) fn catalog() -> Arc<Catalog> {
    let files = [("orders", include_str!("catalog/orders.toml")), ("beacons", include_str!("catalog/beacons.toml"))];
    let avro = [
        ("orders/order_place.avsc", include_str!("catalog/order_place.avsc")),
        ("orders/order_note.avsc", include_str!("catalog/order_note.avsc")),
        ("orders/order_pay.avsc", include_str!("catalog/order_pay.avsc")),
        ("orders/order_pack.avsc", include_str!("catalog/order_pack.avsc")),
        ("orders/order_expire.avsc", include_str!("catalog/order_expire.avsc")),
        ("orders/rejected.avsc", include_str!("catalog/rejected.avsc")),
        ("beacons/beacon_seen.avsc", include_str!("catalog/beacon_seen.avsc")),
    ];
    Arc::new(Catalog::parse(&files, &avro).unwrap())
}
