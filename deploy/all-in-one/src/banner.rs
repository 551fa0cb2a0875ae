//! What a person sees when everything runs.

use std::net::SocketAddr;

/// Prints the addresses and one thing to try.
pub(crate) fn print(public: SocketAddr, admin: SocketAddr, sample: u32) {
    println!(
        r#"
  Forebay runs.

    console    http://{public}/
    API        http://{public}/docs      (OpenAPI: /openapi.json, AsyncAPI: /asyncapi.json)
    health     http://{admin}/health/ready   metrics: http://{admin}/metrics

  Try it:

    curl -s http://{public}/v1/flights -H 'content-type: application/json' \
      -d '{{"departed_at":"2001-01-01T00:47:00Z","delay_minutes":66,"distance_miles":1750,"origin":"DTW","destination":"LAS"}}'
"#
    );
    if sample > 0 {
        println!("  {sample} real US departures a second are being replayed through the same API. Ctrl-C stops everything.\n");
    } else {
        println!("  Ctrl-C stops everything.\n");
    }
}
