//! Routes as the catalog writes them: `POST /v1/students/{id}`.

use super::Route;

/// First segments after `/v1/` that belong to the engine.
const RESERVED: [&str; 12] =
    ["streams", "events", "views", "ws", "sse", "dead-letters", "tokens", "pulse", "connections", "search", "lineage", "graphql"];
/// Methods of events.
const WRITES: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

impl Route {
    /// Names of the path's parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Method and path with nameless parameters: what two routes must not share.
    pub(super) fn shape(&self) -> String {
        let segments = self.path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
        format!("{} {}", self.method, segments.collect::<Vec<_>>().join("/"))
    }
}

/// A route of an event.
pub(super) fn write(text: &str) -> Result<Route, String> {
    let route = parse(text)?;
    if !WRITES.contains(&route.method.as_str()) {
        return Err(format!("route {text:?}: an event takes POST, PUT, PATCH or DELETE; GET routes are views"));
    }
    Ok(route)
}

/// A route of a view.
pub(super) fn read(text: &str) -> Result<Route, String> {
    let route = parse(text)?;
    if route.method != "GET" {
        return Err(format!("route {text:?}: a view takes GET"));
    }
    Ok(route)
}

fn parse(text: &str) -> Result<Route, String> {
    let (method, path) =
        text.split_once(' ').ok_or_else(|| format!("route {text:?} is not a method and a path, like \"POST /v1/orders\""))?;
    let rest = path.strip_prefix("/v1/").ok_or_else(|| format!("route {text:?} does not start with /v1/"))?;
    for segment in rest.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(segment);
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(format!("route {text:?}: the segment {segment:?} is neither a word of [a-z0-9_-] nor one {{parameter}}"));
        }
    }
    let first = rest.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) || first.starts_with('{') {
        return Err(format!("route {text:?}: /v1/{first} belongs to the engine, choose another first segment"));
    }
    Ok(Route { method: method.to_owned(), path: path.to_owned() })
}
