//! The console page at `/`: files made by `npm run build` in `console/`, embedded so that building this crate needs no Node.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// No script, style or picture from anywhere but this server, and none inside the page.
const POLICY: &str = "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

struct File {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($path:literal, $name:literal, $media_type:literal) => {
        File { path: $path, media_type: $media_type, bytes: include_bytes!(concat!("../console/dist/", $name)) }
    };
}

const FILES: &[File] = &[
    file!("/", "index.html", "text/html; charset=utf-8"),
    file!("/console/console.css", "console.css", "text/css; charset=utf-8"),
    file!("/console/icon.svg", "icon.svg", "image/svg+xml"),
    file!("/console/main.js", "main.js", "text/javascript; charset=utf-8"),
    file!("/console/live.js", "live.js", "text/javascript; charset=utf-8"),
    file!("/console/airports.js", "airports.js", "text/javascript; charset=utf-8"),
    file!("/console/places.js", "places.js", "text/javascript; charset=utf-8"),
    file!("/console/outline.js", "outline.js", "text/javascript; charset=utf-8"),
    file!("/console/map.js", "map.js", "text/javascript; charset=utf-8"),
    file!("/console/table.js", "table.js", "text/javascript; charset=utf-8"),
    file!("/console/feed.js", "feed.js", "text/javascript; charset=utf-8"),
    file!("/console/event.js", "event.js", "text/javascript; charset=utf-8"),
    file!("/console/lives.js", "lives.js", "text/javascript; charset=utf-8"),
    file!("/console/pulse.js", "pulse.js", "text/javascript; charset=utf-8"),
    file!("/console/dom.js", "dom.js", "text/javascript; charset=utf-8"),
];

/// One route per file.
pub(crate) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(move |headers: HeaderMap| async move { answer(file, &headers) }))
    })
}

fn answer(file: &'static File, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}-{:x}\"", env!("CARGO_PKG_VERSION"), checksum(file.bytes));
    let shared = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin".to_owned()),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, shared).into_response();
    }
    (shared, [(header::CONTENT_TYPE, file.media_type)], file.bytes).into_response()
}

/// FNV-1a, enough to tell two builds apart.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
