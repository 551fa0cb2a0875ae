//! What the server says. A frame is made once and shared by everybody who gets it.

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;

use crate::protocol::code::{Bye, Code};

/// One message with its `op` (the `event:` of Server-Sent Events). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The op.
    pub op: &'static str,
    /// The JSON object.
    pub text: Utf8Bytes,
}

/// All messages but `result`, which is put together from an entry's shared rendering ([`result`]).
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Push<'a> {
    /// Answers `hello` and `auth`.
    Welcome {
        /// Names the connection in logs.
        conn: &'a str,
        /// The principal's account.
        account: &'a str,
        /// The server's clock.
        time: &'a str,
        /// End of the credential, if it has one.
        expires: Option<&'a str>,
        /// What was agreed.
        heartbeat_s: u32,
        /// Without any message for this long the client may take the socket for dead.
        silence_s: u32,
        /// Limits of the connection.
        limits: Limits,
    },
    /// Always the first message of a subscription.
    Ready {
        /// The request it answers.
        id: u32,
        /// The group number of all later messages.
        g: u64,
        /// How the asked position was met.
        status: Status,
        /// Where what was missed comes from.
        source: &'a str,
        /// Resume token; null when there is none.
        token: Option<&'a str>,
        /// How far behind the position is.
        behind_ms: i64,
        /// The loss, when `status` is `gap`.
        #[serde(skip_serializing_if = "Option::is_none")]
        gap: Option<Gap<'a>>,
    },
    /// Everything of this subscription before this position has been sent.
    Pos {
        /// Group.
        g: u64,
        /// Resume token; null when there is none.
        token: Option<&'a str>,
        /// Complete up to this time; null before the first position is known.
        asof: Option<&'a str>,
    },
    /// The subscription is not live.
    Lag {
        /// Group.
        g: u64,
        /// `catching_up` or `live`.
        state: &'a str,
        /// How far behind.
        behind_ms: i64,
    },
    /// A loss in a running subscription.
    Gap {
        /// Group.
        g: u64,
        /// The loss.
        #[serde(flatten)]
        gap: Gap<'a>,
    },
    /// A hole that the client reported is closed.
    Repaired {
        /// Group.
        g: u64,
        /// Channel.
        ch: &'a str,
        /// Up to this seq.
        through: i64,
    },
    /// The subscription is over.
    End {
        /// The subscription.
        id: u32,
        /// Its group.
        g: u64,
        /// Why.
        code: &'a str,
        /// Whether the same request may succeed later.
        retry: bool,
    },
    /// A bad request.
    Err {
        /// Which one, if known.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// Why.
        code: &'a str,
        /// In words.
        text: &'a str,
        /// Whether the same request may succeed later.
        retry: bool,
        /// After how long.
        after_ms: u32,
    },
    /// Heartbeat of a connection without subscriptions.
    Hb {
        /// The server's clock.
        time: &'a str,
    },
    /// The last message.
    Bye {
        /// Why.
        code: &'a str,
        /// Whether to come back.
        reconnect: bool,
        /// At a random time not before this.
        min_ms: u32,
        /// And not after this.
        max_ms: u32,
    },
}

/// Limits told in `welcome`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Limits {
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Bytes of one inbound message.
    pub message_bytes: usize,
}

/// How a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// From now.
    Live,
    /// Everything since the asked position follows.
    Resumed,
    /// Something before now is lost.
    Gap,
}

/// A loss and what comes next.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Gap<'a> {
    /// `retention`, `budget`, `token`, `epoch`, …
    pub reason: &'a str,
    /// Start of the loss, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'a str>,
    /// Its end, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<&'a str>,
    /// `live` or `stop`.
    pub next: &'a str,
}

impl Push<'_> {
    /// The message, ready to send.
    #[must_use]
    pub fn frame(&self) -> Frame {
        // these types hold nothing that JSON cannot say
        Frame { op: self.op(), text: serde_json::to_string(self).unwrap_or_default().into() }
    }

    fn op(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "welcome",
            Self::Ready { .. } => "ready",
            Self::Pos { .. } => "pos",
            Self::Lag { .. } => "lag",
            Self::Gap { .. } => "gap",
            Self::Repaired { .. } => "repaired",
            Self::End { .. } => "end",
            Self::Err { .. } => "err",
            Self::Hb { .. } => "hb",
            Self::Bye { .. } => "bye",
        }
    }
}

/// Answers a bad request.
#[must_use]
pub fn err(id: Option<u32>, code: Code, text: &str) -> Frame {
    let after = code.retry_after_ms();
    Push::Err { id, code: code.as_str(), text, retry: after.is_some(), after_ms: after.unwrap_or(0) }.frame()
}

/// The last message of a connection.
#[must_use]
pub fn bye(code: Bye) -> Frame {
    let (min_ms, max_ms) = if code == Bye::Slow { (500, 5_000) } else { (0, 2_000) };
    Push::Bye { code: code.as_str(), reconnect: code.reconnect(), min_ms, max_ms }.frame()
}

/// A `result` for group `g` from the rendering all groups share (everything behind the group number).
#[must_use]
pub fn result(g: u64, body: &str) -> Utf8Bytes {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(body.len() + 40);
    // writing into a String cannot fail
    let _ = write!(text, r#"{{"op":"result","g":{g}{body}"#);
    text.into()
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_as_published() {
        let ready = Push::Ready { id: 1, g: 17, status: Status::Live, source: "none", token: None, behind_ms: 0, gap: None };
        assert_eq!(
            ready.frame().text.as_str(),
            r#"{"op":"ready","id":1,"g":17,"status":"live","source":"none","token":null,"behind_ms":0}"#
        );
        let gap = Gap { reason: "token", from: None, to: None, next: "live" };
        assert_eq!(Push::Gap { g: 3, gap }.frame().text.as_str(), r#"{"op":"gap","g":3,"reason":"token","next":"live"}"#);
        assert_eq!(
            err(Some(1), Code::Warming, "soon").text.as_str(),
            r#"{"op":"err","id":1,"code":"warming","text":"soon","retry":true,"after_ms":1000}"#
        );
        assert_eq!(bye(Bye::Drain).text.as_str(), r#"{"op":"bye","code":"drain","reconnect":true,"min_ms":0,"max_ms":2000}"#);
        assert_eq!(result(5, r#","ch":"a/b"}"#).as_str(), r#"{"op":"result","g":5,"ch":"a/b"}"#);
        assert_eq!(time(1_500), "1970-01-01T00:00:01.500Z");
    }
}
