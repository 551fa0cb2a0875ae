//! What every handler of the room may use.

use std::sync::Arc;

use chassis::auth::{Access, Action, Pattern as Granted, Principal};
use chassis::lifecycle::Lifecycle;
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::receipt::ReceiptKeys;
use schemas::registry::Registry;
use state::StateReader;

use crate::channel::Pattern;
use crate::config::Options;
use crate::feed::Streams;
use crate::hub::Hub;
use crate::protocol::client::Refusal;
use crate::protocol::code::Code;
use crate::pulse::Pulse;

/// Shared by all handlers.
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) topics: Topics,
    pub(crate) reader: Arc<StateReader>,
    pub(crate) access: Arc<Access>,
    pub(crate) receipts: ReceiptKeys,
    pub(crate) streams: Arc<Streams>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) lifecycle: Lifecycle,
}

impl App {
    /// Whether `principal` may subscribe to all of `patterns`, and whether there is such a stream.
    pub(crate) fn authorise(&self, principal: &Principal, id: Option<u32>, patterns: &[Pattern]) -> Result<(), Refusal> {
        for pattern in patterns {
            let granted: Granted =
                pattern.as_str().parse().map_err(|error| Refusal::new(id, Code::ChannelSyntax, format!("{pattern}: {error}")))?;
            if !principal.may_all(Action::Subscribe, &granted) {
                return Err(Refusal::new(id, Code::Forbidden, format!("{pattern} is not covered by one capability")));
            }
            let known =
                pattern.stream().is_none_or(|name| self.catalog.stream(name).is_some() || self.streams.get(name).is_some());
            if !known {
                let text = format!("there is no stream {}", pattern.stream().unwrap_or_default());
                return Err(Refusal::new(id, Code::StreamUnknown, text));
            }
        }
        Ok(())
    }
}
