//! Capabilities: actions on patterns over channels.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::pattern::{InvalidPattern, Pattern};

/// What a capability may allow. The list is closed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Send events.
    Write,
    /// Read and re-drive dead letters.
    DeadLetters,
    /// Administer the write side.
    Admin,
    /// Read views.
    View,
    /// Subscribe to results.
    Subscribe,
    /// Read the lifecycle of events.
    Status,
    /// Make browser tokens.
    Token,
    /// See what the console shows.
    Console,
}

impl Action {
    /// All actions.
    pub const ALL: &[Self] =
        &[Self::Write, Self::DeadLetters, Self::Admin, Self::View, Self::Subscribe, Self::Status, Self::Token, Self::Console];

    /// The name in capabilities.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::DeadLetters => "dead-letters",
            Self::Admin => "admin",
            Self::View => "view",
            Self::Subscribe => "subscribe",
            Self::Status => "status",
            Self::Token => "token",
            Self::Console => "console",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Some actions on some channels. The short form is `write:orders/acme/**`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// What it allows.
    pub actions: Vec<Action>,
    /// On which channels.
    pub on: Vec<Pattern>,
    /// Events of which sources may be written; empty: any.
    #[serde(default)]
    pub sources: Vec<Pattern>,
}

impl Capability {
    /// Whether it has the action, on whatever channel.
    pub fn allows(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }
}

/// Why a text is no capability.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCapability {
    /// There is no colon.
    #[error("{0:?} is not a capability: write it as action:pattern, e.g. write:orders/acme/**")]
    Form(String),
    /// The action does not exist.
    #[error("{0:?} is not an action: use one of write, dead-letters, admin, view, subscribe, status, token, console")]
    Action(String),
    /// The pattern is none.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

impl FromStr for Capability {
    type Err = InvalidCapability;

    fn from_str(text: &str) -> Result<Self, InvalidCapability> {
        let (action, pattern) = text.split_once(':').ok_or_else(|| InvalidCapability::Form(text.to_owned()))?;
        let known = Action::ALL.iter().find(|known| known.as_str() == action);
        let action = known.ok_or_else(|| InvalidCapability::Action(action.to_owned()))?;
        Ok(Self { actions: vec![*action], on: vec![pattern.parse()?], sources: Vec::new() })
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_form_say_the_same() {
        let short: Capability = "dead-letters:orders/**".parse().unwrap();
        let long: Capability = serde_json::from_str(r#"{"actions":["dead-letters"],"on":["orders/**"]}"#).unwrap();
        assert_eq!(short, long);
        assert!(short.allows(Action::DeadLetters) && !short.allows(Action::Write));
    }

    #[test]
    fn an_unknown_action_is_refused_with_the_list() {
        let error = "wirte:orders".parse::<Capability>().unwrap_err().to_string();
        assert!(error.contains("wirte") && error.contains("dead-letters"), "{error}");
    }
}
