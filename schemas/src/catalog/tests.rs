use super::*;

#[test]
fn the_embedded_catalog_keeps_its_rules() {
    let catalog = Catalog::embedded().unwrap();
    let (stream, event) = catalog.event("flight.departed").unwrap();
    assert_eq!((stream.name.as_str(), event.schema.full_name.as_str()), ("flights", "forebay.flights.FlightDeparted"));
    assert_eq!(event.route, Some(Route { method: "POST".into(), path: "/v1/flights".into() }));
}
