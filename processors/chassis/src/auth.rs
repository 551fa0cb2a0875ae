//! Who asks, and what they may do. Every route of the write and read side goes through [`Access::authenticate`] and [`Principal::may`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use serde::Deserialize;

use crate::problem::{Name, Problem};

pub use capability::{Action, Capability, InvalidCapability};
pub use pattern::{InvalidPattern, Pattern};

mod capability;
mod pattern;

/// Account of the local principal in open mode.
pub const OPEN_ACCOUNT: &str = "main";
/// Id of the local principal in open mode.
pub const OPEN_ID: &str = "local";

/// Who asks: an API key, a token, a certificate, or the local principal of open mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// Unique inside the account, e.g. a token's `sub` or `key:<id>`.
    pub id: String,
    /// The account it belongs to; quotas and ownership count by account.
    pub account: String,
    /// What it may do. Nothing granted = nothing allowed.
    pub capabilities: Vec<Capability>,
}

impl Principal {
    /// Whether it may do `action` on the channel `<stream>/<subject>`; `subject` may be empty, which is the stream itself.
    pub fn may(&self, action: Action, stream: &str, subject: &str) -> bool {
        self.capabilities
            .iter()
            .any(|capability| capability.allows(action) && capability.on.iter().any(|on| on.matches(stream, subject)))
    }

    /// Whether it may do `action` on anything of `stream`: to be asked before a body is read.
    pub fn may_some(&self, action: Action, stream: &str) -> bool {
        self.capabilities.iter().any(|capability| capability.allows(action) && capability.on.iter().any(|on| on.reaches(stream)))
    }

    /// Whether one capability covers everything `pattern` can match.
    pub fn may_all(&self, action: Action, pattern: &Pattern) -> bool {
        self.capabilities.iter().any(|capability| capability.allows(action) && capability.on.iter().any(|on| on.covers(pattern)))
    }

    /// Whether it may write events of this `source` on the channel. A capability without sources allows every source.
    pub fn may_write_as(&self, stream: &str, subject: &str, source: &str) -> bool {
        self.capabilities.iter().any(|capability| {
            capability.allows(Action::Write)
                && capability.on.iter().any(|on| on.matches(stream, subject))
                && (capability.sources.is_empty() || capability.sources.iter().any(|allowed| allowed.matches_source(source)))
        })
    }

    /// `<account>/<id>`, as it stands in the header `ce_principal`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.account, self.id)
    }
}

/// How principals are found.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One local principal with all rights; only for processes that listen on loopback.
    #[default]
    Open,
}

/// `[access]`: who may do what.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// How principals are found.
    pub mode: Mode,
    /// Web origins whose pages may call, besides the host itself.
    pub origins: Vec<String>,
}

/// Why the configured access cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Open mode would let the network in.
    #[error(
        "access.mode = \"open\" gives all rights to whoever connects, and {0} is not a loopback address: listen on 127.0.0.1 or [::1]"
    )]
    OpenToTheNetwork(SocketAddr),
}

/// The access rules of a process.
#[derive(Clone, Debug)]
pub struct Access {
    local: Arc<Principal>,
    origins: Arc<[String]>,
}

impl Access {
    /// The rules of a listener bound to `address`, as configured.
    ///
    /// # Errors
    /// As [`Access::new`].
    pub fn of(config: &Config, address: SocketAddr) -> Result<Self, Error> {
        Self::new(config.mode, address, &config.origins)
    }

    /// The rules for a listener bound to `address`; `origins` are the web origins allowed besides the host itself, such as
    /// `https://app.example`.
    ///
    /// # Errors
    /// Open mode on an address that is not loopback.
    pub fn new(mode: Mode, address: SocketAddr, origins: &[String]) -> Result<Self, Error> {
        match mode {
            Mode::Open if !address.ip().is_loopback() => Err(Error::OpenToTheNetwork(address)),
            Mode::Open => Ok(Self { local: Arc::new(local()), origins: origins.into() }),
        }
    }

    /// The principal of a request from its headers and the peer's address.
    ///
    /// A page of another site can reach a loopback port, by a name of its own or by its origin; so in open mode the host must be a loopback
    /// name, and an origin, if there is one, must be that host or be allowed.
    ///
    /// # Errors
    /// The answer to give: `forbidden`.
    pub fn authenticate(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Arc<Principal>, Problem> {
        if !peer.ip().to_canonical().is_loopback() {
            return Err(refused("access is open for this machine only"));
        }
        let host = text(headers, &header::HOST).unwrap_or_default();
        if !is_loopback_name(host) {
            return Err(refused("the host must be a loopback name such as 127.0.0.1 or localhost"));
        }
        self.check_origin(headers)?;
        Ok(Arc::clone(&self.local))
    }

    /// Refuses requests of web pages from origins that are neither the host itself nor allowed.
    ///
    /// # Errors
    /// The answer to give: `forbidden`.
    pub fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !headers.contains_key(header::ORIGIN) {
            return Ok(());
        }
        let origin = text(headers, &header::ORIGIN).unwrap_or_default();
        let host = text(headers, &header::HOST).unwrap_or_default();
        let same = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host)));
        if same || self.origins.iter().any(|allowed| origin_allowed(allowed, origin)) {
            return Ok(());
        }
        Err(refused("pages of this origin are not allowed here; access.origins lists those that are"))
    }
}

fn local() -> Principal {
    Principal {
        id: OPEN_ID.to_owned(),
        account: OPEN_ACCOUNT.to_owned(),
        capabilities: vec![Capability { actions: Action::ALL.to_vec(), on: vec![Pattern::everything()], sources: Vec::new() }],
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(Name::Forbidden, detail)
}

/// The header's text; None if it is absent, repeated or not ASCII.
fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// Exact, or `https://*.example.com` for every name below example.com.
fn origin_allowed(allowed: &str, origin: &str) -> bool {
    match allowed.split_once("*.") {
        None => allowed.eq_ignore_ascii_case(origin),
        Some((scheme, domain)) => origin
            .strip_prefix(scheme)
            .and_then(|host| host.strip_suffix(domain))
            .is_some_and(|name| name.len() > 1 && name.ends_with('.')),
    }
}

/// Whether a `Host` header names this machine: `localhost`, `127.x.y.z` or `[::1]`, with or without a port.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

    fn answer(host: &'static str, origin: Option<&'static str>) -> bool {
        let access = Access::new(Mode::Open, HERE, &["https://*.example.com".to_owned()]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        access.authenticate(&headers, HERE).is_ok()
    }

    #[test]
    fn open_mode_is_refused_on_the_network() {
        let error = Access::new(Mode::Open, "0.0.0.0:8080".parse().unwrap(), &[]).unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:8080") && error.contains("127.0.0.1"), "{error}");
    }

    #[test]
    fn open_mode_serves_loopback_hosts_only() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080"] {
            assert!(answer(host, None), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", "10.0.0.1", "[::2]"] {
            assert!(!answer(host, None), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        for origin in ["http://127.0.0.1:8080", "https://app.example.com"] {
            assert!(answer("127.0.0.1:8080", Some(origin)), "{origin}");
        }
        for origin in ["http://127.0.0.1:9999", "https://evil.example", "null", "https://.example.com", "https://evilexample.com"]
        {
            assert!(!answer("127.0.0.1:8080", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_peer_from_elsewhere_is_refused() {
        let access = Access::new(Mode::Open, HERE, &[]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        assert!(access.authenticate(&headers, "10.1.2.3:4".parse().unwrap()).is_err());
    }

    #[test]
    fn rights_are_only_what_was_granted() {
        let principal = Principal {
            id: "key:1".into(),
            account: "acme".into(),
            capabilities: vec![
                "write:orders/acme/**".parse().unwrap(),
                Capability { sources: vec!["/acme/*".parse().unwrap()], .."write:flights/*".parse().unwrap() },
            ],
        };
        assert!(principal.may(Action::Write, "orders", "acme/order/42") && principal.may(Action::Write, "orders", "acme"));
        assert!(!principal.may(Action::Write, "orders", "other/order/42") && !principal.may(Action::View, "orders", "acme"));
        assert!(principal.may_some(Action::Write, "orders") && !principal.may_some(Action::Write, "results"));
        assert!(principal.may_all(Action::Write, &"orders/acme/*".parse().unwrap()));
        assert!(!principal.may_all(Action::Write, &"orders/**".parse().unwrap()));
        assert!(principal.may_write_as("flights", "AB1", "/acme/x") && !principal.may_write_as("flights", "AB1", "/else/x"));
        assert!(principal.may_write_as("orders", "acme/1", "anything"));
    }
}
