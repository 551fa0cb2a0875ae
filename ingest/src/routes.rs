//! The router: fixed routes and those of the catalog.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Path, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on, post};
use serde_json::{Value, json};

use chassis::auth::Action;
use chassis::problem::{Name, Problem};

use crate::answer;
use crate::edge::Edge;
use crate::openapi;
use crate::stream::{Kind, Stream};
use crate::write::{Target, write};

/// All routes of the write side. It has no fallback, so that a process can merge it with other rooms' routers.
pub(crate) fn router(edge: &Arc<Edge>) -> Router {
    let mut router = Router::new()
        .route("/v1/streams", get(streams))
        .route("/v1/streams/{stream}", get(stream))
        .route("/v1/streams/{stream}/events", post(events))
        .route("/v1/streams/{stream}/events:validate", post(validate))
        .route("/openapi.json", get(document))
        .route("/docs", get(docs));
    let mut catalog: HashMap<&str, MethodRouter<Arc<Edge>>> = HashMap::new();
    for stream in &edge.streams {
        for (index, kind) in stream.kinds.iter().enumerate() {
            let Some(route) = &kind.route else { continue };
            let Some(filter) = filter(&route.method) else { continue };
            let added = catalog_route(stream, index, &format!("{} {}", route.method, route.path), filter);
            let methods = catalog.remove(route.path.as_str()).unwrap_or_default();
            catalog.insert(&route.path, methods.merge(added));
        }
    }
    for (path, methods) in catalog {
        router = router.route(path, methods);
    }
    router.method_not_allowed_fallback(method_not_allowed).with_state(Arc::clone(edge))
}

fn filter(method: &str) -> Option<MethodFilter> {
    MethodFilter::try_from(Method::from_bytes(method.as_bytes()).ok()?).ok()
}

fn catalog_route(stream: &Arc<Stream>, index: usize, route: &str, filter: MethodFilter) -> MethodRouter<Arc<Edge>> {
    let (stream, route): (_, Arc<str>) = (Arc::clone(stream), route.into());
    let handler = move |State(edge): State<Arc<Edge>>, parameters: RawPathParams, request: Request| {
        let parameters = parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (stream, route) = (Arc::clone(&stream), Arc::clone(&route));
        write(edge, Target { stream, kind: Some(index), parameters, route, dry: false }, request)
    };
    on(filter, handler)
}

async fn events(State(edge): State<Arc<Edge>>, Path(stream): Path<String>, request: Request) -> Response {
    generic(edge, &stream, false, request).await
}

async fn validate(State(edge): State<Arc<Edge>>, Path(stream): Path<String>, request: Request) -> Response {
    generic(edge, &stream, true, request).await
}

async fn generic(edge: Arc<Edge>, name: &str, dry: bool, request: Request) -> Response {
    let Some(stream) = edge.stream(name).cloned() else {
        return unknown_stream(&edge, request.headers(), peer(&request), name);
    };
    let route = format!("POST /v1/streams/{name}/events").into();
    write(edge, Target { stream, kind: None, parameters: Vec::new(), route, dry }, request).await
}

/// Whoever may not use a stream of that name does not learn whether it exists.
fn unknown_stream(edge: &Edge, headers: &HeaderMap, peer: Option<SocketAddr>, name: &str) -> Response {
    match allowed(edge, headers, peer, name) {
        Err(problem) => answer::refuse(*problem),
        Ok(()) => answer::refuse(Problem::new(Name::NotFound, "there is no stream of this name; GET /v1/streams lists them")),
    }
}

fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// May the caller write to the stream or see its views?
fn allowed(edge: &Edge, headers: &HeaderMap, peer: Option<SocketAddr>, stream: &str) -> Result<(), Box<Problem>> {
    let peer = peer.ok_or_else(|| Problem::new(Name::Internal, "the listener gave no peer address"))?;
    let principal = edge.access.authenticate(headers, peer)?;
    if principal.may_some(Action::Write, stream) || principal.may_some(Action::View, stream) {
        return Ok(());
    }
    Err(Box::new(Problem::new(Name::Forbidden, "you may neither write to this stream nor read its views")))
}

async fn streams(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let (headers, peer) = (request.headers(), peer(&request));
    let mut shown = Vec::new();
    let mut refusal = None;
    for stream in &edge.streams {
        match allowed(&edge, headers, peer, &stream.name) {
            Ok(()) => shown.push(json!({
                "stream": stream.name,
                "partitions": stream.partitions,
                "types": stream.kinds.iter().map(|kind| summary(&edge, kind)).collect::<Vec<_>>(),
            })),
            Err(problem) => refusal = Some(problem),
        }
    }
    match refusal.filter(|_| shown.is_empty()) {
        Some(problem) => answer::refuse(*problem),
        None => answer::json(StatusCode::OK, &json!({"streams": shown})),
    }
}

async fn stream(State(edge): State<Arc<Edge>>, Path(name): Path<String>, request: Request) -> Response {
    let Some(stream) = edge.stream(&name) else {
        return unknown_stream(&edge, request.headers(), peer(&request), &name);
    };
    if let Err(problem) = allowed(&edge, request.headers(), peer(&request), &name) {
        return answer::refuse(*problem);
    }
    let types = stream.kinds.iter().map(|kind| {
        let mut shown = summary(&edge, kind);
        shown["schema"] = json!({"id": kind.schema_id, "name": kind.schema.full_name});
        shown["avro"] = serde_json::from_str(&kind.schema.json).unwrap_or_default();
        shown["json_schema"] = openapi::data_schema(kind);
        shown
    });
    let body = json!({"stream": stream.name, "partitions": stream.partitions, "types": types.collect::<Vec<_>>()});
    answer::json(StatusCode::OK, &body)
}

fn summary(edge: &Edge, kind: &Kind) -> Value {
    let limits = &edge.options.limits;
    json!({
        "type": kind.ce_type,
        "title": kind.title,
        "route": kind.route.as_ref().map(|route| format!("{} {}", route.method, route.path)),
        "subject": kind.subject.describe(&kind.subject_prefix),
        "limits": {
            "body": kind.limits.body.unwrap_or(limits.body).min(limits.body_wire),
            "event": kind.limits.event.unwrap_or(limits.event),
            "batch": if kind.batch || kind.route.is_none() { kind.limits.batch.unwrap_or(limits.batch) } else { 1 },
        },
    })
}

async fn document(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let asked = request.headers().get(header::IF_NONE_MATCH).map(HeaderValue::as_bytes);
    if asked == Some(edge.openapi.tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, edge.openapi.tag.clone())]).into_response();
    }
    let headers = [(header::CONTENT_TYPE, "application/json".to_owned()), (header::ETAG, edge.openapi.tag.clone())];
    (headers, edge.openapi.text.clone()).into_response()
}

async fn docs(State(edge): State<Arc<Edge>>) -> Response {
    axum::response::Html(edge.openapi.page.clone()).into_response()
}

/// The answer to a method that a path does not have; axum adds `Allow`.
async fn method_not_allowed(method: Method) -> Response {
    Problem::new(Name::MethodNotAllowed, format!("{method} is not possible here; Allow lists what is")).into_response()
}

/// The answer to paths that do not exist.
pub(crate) async fn not_found() -> Response {
    Problem::new(Name::NotFound, "there is no such route; GET /docs lists them").into_response()
}
