//! What a client may say, read strictly: every refusal names the field, and the answer carries the request's `id` if it had one.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::channel::{self, PATTERNS_MAX, Pattern};
use crate::protocol::code::Code;

/// Deepest nesting of a request.
const DEPTH_MAX: usize = 16;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The request's `id`, if one could be read.
    pub id: Option<u32>,
    /// Why.
    pub code: Code,
    /// What is wrong and where.
    pub text: String,
}

impl Refusal {
    /// A refusal that answers request `id`.
    pub fn new(id: Option<u32>, code: Code, text: impl Into<String>) -> Self {
        Self { id, code, text: text.into() }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// The first message of a connection.
    Hello {
        /// Bearer credential; absent when the upgrade carried one.
        auth: Option<String>,
        /// Seconds between beacons of an idle connection, 1–60.
        heartbeat_s: u32,
    },
    /// Opens a subscription.
    Sub(Subscribe),
    /// Ends one.
    Unsub {
        /// Which.
        id: u32,
    },
    /// Asks for a channel's results again, because the client saw a hole.
    Repair {
        /// In which subscription.
        id: u32,
        /// An exact channel.
        channel: Pattern,
        /// The last seq the client has.
        last: i64,
    },
    /// A new credential of the same account.
    Auth {
        /// Bearer credential.
        auth: String,
    },
}

/// What a subscription asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    /// Client-chosen, 1…2³¹−1 (0 for the one subscription of an SSE response).
    pub id: u32,
    /// 1–16 patterns, an OR; sorted, without duplicates.
    pub patterns: Vec<Pattern>,
    /// Where to start.
    pub since: Since,
    /// What to do with a client that does not read fast enough.
    pub policy: Policy,
    /// What to do after a loss; `None`: a snapshot if the views may be read, else live.
    pub on_gap: Option<OnGap>,
}

/// Start of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// From this moment.
    Now,
    /// The oldest the broker holds.
    Earliest,
    /// Rows first, then what follows.
    Snapshot,
    /// Behind what the token says was received.
    Token(String),
    /// Results with a timestamp from this one on (milliseconds since the Unix epoch).
    Time(i64),
}

/// What happens to a subscriber that is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The connection is closed.
    Cut,
    /// It reads on from the ring when it has room again.
    Catchup,
}

/// What happens after a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// A snapshot is sent.
    Snapshot,
    /// Results go on from now.
    Live,
    /// The subscription ends.
    Stop,
}

/// Reads one text message.
///
/// # Errors
/// [`Refusal`] with `bad_json`, `bad_op`, `bad_field`, `channel_…`, `since_syntax` or `filter_syntax`.
pub fn parse(text: &str) -> Result<Request, Refusal> {
    let Strict(value) = serde_json::from_str(text)
        .map_err(|error| Refusal::new(None, Code::BadJson, format!("not readable as JSON: {error}")))?;
    let Value::Object(object) = value else {
        return Err(Refusal::new(None, Code::BadJson, "a message is one JSON object"));
    };
    let fields = Fields::new(&object);
    match fields.text("op")? {
        Some("hello") => Ok(Request::Hello { auth: fields.text("auth")?.map(str::to_owned), heartbeat_s: heartbeat(&fields)? }),
        Some("sub") => subscribe(&fields).map(Request::Sub),
        Some("unsub") => Ok(Request::Unsub { id: fields.id()? }),
        Some("repair") => repair(&fields),
        Some("auth") => Ok(Request::Auth { auth: fields.required_text("auth")?.to_owned() }),
        Some(_) => Err(fields.refuse(Code::BadOp, "op is one of hello, sub, unsub, repair, auth")),
        None => Err(fields.refuse(Code::BadField, "op is missing")),
    }
}

/// Patterns of a subscription, sorted and without duplicates.
///
/// # Errors
/// [`Refusal`] with `channel_syntax` or `channel_reserved`.
pub fn patterns<'a>(id: Option<u32>, texts: impl ExactSizeIterator<Item = &'a str>) -> Result<Vec<Pattern>, Refusal> {
    if !(1..=PATTERNS_MAX).contains(&texts.len()) {
        return Err(Refusal::new(id, Code::ChannelSyntax, "ch has 1 to 16 patterns"));
    }
    let mut patterns = texts.map(|text| pattern(id, text)).collect::<Result<Vec<_>, _>>()?;
    patterns.sort();
    patterns.dedup();
    Ok(patterns)
}

/// Reads `since` given as text (the query form of SSE): `now`, `earliest`, `snapshot` or an RFC 3339 time.
///
/// # Errors
/// [`Refusal`] with `since_syntax`.
pub fn since_text(id: Option<u32>, text: &str) -> Result<Since, Refusal> {
    match text {
        "now" => Ok(Since::Now),
        "earliest" => Ok(Since::Earliest),
        "snapshot" => Ok(Since::Snapshot),
        time => since_time(id, time),
    }
}

/// Reads `policy`.
///
/// # Errors
/// [`Refusal`] with `bad_field`.
pub fn policy(id: Option<u32>, text: Option<&str>) -> Result<Policy, Refusal> {
    match text {
        None | Some("catchup") => Ok(Policy::Catchup),
        Some("cut") => Ok(Policy::Cut),
        Some("conflate") => Err(Refusal::new(id, Code::BadField, "policy: this server does not conflate; use catchup or cut")),
        Some(_) => Err(Refusal::new(id, Code::BadField, "policy is one of cut, catchup")),
    }
}

/// Reads `on_gap`.
///
/// # Errors
/// [`Refusal`] with `bad_field`.
pub fn on_gap(id: Option<u32>, text: Option<&str>) -> Result<Option<OnGap>, Refusal> {
    match text {
        None => Ok(None),
        Some("snapshot") => Ok(Some(OnGap::Snapshot)),
        Some("live") => Ok(Some(OnGap::Live)),
        Some("stop") => Ok(Some(OnGap::Stop)),
        Some(_) => Err(Refusal::new(id, Code::BadField, "on_gap is one of snapshot, live, stop")),
    }
}

/// Refuses what this server does not do yet, in words, rather than ignore it.
///
/// # Errors
/// [`Refusal`] with `filter_syntax` or `bad_field`.
pub fn refuse_unserved(id: Option<u32>, filter: Option<&str>, mode: Option<&str>) -> Result<(), Refusal> {
    if filter.is_some() {
        return Err(Refusal::new(id, Code::FilterSyntax, "this server does not filter; leave filter out"));
    }
    match mode {
        None | Some("log") => Ok(()),
        Some("conflate") => Err(Refusal::new(id, Code::BadField, "mode: this server does not conflate; use log")),
        Some(_) => Err(Refusal::new(id, Code::BadField, "mode is log")),
    }
}

fn subscribe(fields: &Fields<'_>) -> Result<Subscribe, Refusal> {
    let id = fields.id()?;
    let Some(Value::Array(channels)) = fields.object.get("ch") else {
        return Err(fields.refuse(Code::BadField, "ch is an array of patterns"));
    };
    let texts = channels
        .iter()
        .map(|value| value.as_str().ok_or_else(|| fields.refuse(Code::BadField, "ch is an array of texts")))
        .collect::<Result<Vec<_>, _>>()?;
    refuse_unserved(Some(id), fields.text("filter")?, fields.text("mode")?)?;
    Ok(Subscribe {
        id,
        patterns: patterns(Some(id), texts.into_iter())?,
        since: since(fields, id)?,
        policy: policy(Some(id), fields.text("policy")?)?,
        on_gap: on_gap(Some(id), fields.text("on_gap")?)?,
    })
}

fn since(fields: &Fields<'_>, id: u32) -> Result<Since, Refusal> {
    match fields.object.get("since") {
        None | Some(Value::Null) => Ok(Since::Now),
        Some(Value::String(text)) if !matches!(text.as_bytes().first(), Some(b'0'..=b'9')) => since_text(Some(id), text),
        Some(Value::Object(form)) => match (form.get("token"), form.get("time")) {
            (Some(Value::String(token)), None) => Ok(Since::Token(token.clone())),
            (None, Some(Value::String(time))) => since_time(Some(id), time),
            _ => Err(since_refusal(Some(id))),
        },
        Some(_) => Err(since_refusal(Some(id))),
    }
}

fn since_time(id: Option<u32>, text: &str) -> Result<Since, Refusal> {
    let time: jiff::Timestamp = text.parse().map_err(|_| since_refusal(id))?;
    Ok(Since::Time(time.as_millisecond()))
}

fn since_refusal(id: Option<u32>) -> Refusal {
    Refusal::new(id, Code::SinceSyntax, r#"since is "now", "earliest", "snapshot", {"token":…} or {"time":<RFC 3339>}"#)
}

fn repair(fields: &Fields<'_>) -> Result<Request, Refusal> {
    let id = fields.id()?;
    let channel = channel::parse_exact(fields.required_text("ch")?).map_err(|error| channel_refusal(Some(id), &error))?;
    let last = fields.object.get("last").and_then(Value::as_i64).filter(|last| *last >= 0);
    let last = last.ok_or_else(|| fields.refuse(Code::BadField, "last is a whole number from 0"))?;
    Ok(Request::Repair { id, channel, last })
}

fn heartbeat(fields: &Fields<'_>) -> Result<u32, Refusal> {
    match fields.object.get("heartbeat_s") {
        None => Ok(25),
        Some(value) => value
            .as_u64()
            .and_then(|seconds| u32::try_from(seconds).ok())
            .filter(|seconds| (1..=60).contains(seconds))
            .ok_or_else(|| fields.refuse(Code::BadField, "heartbeat_s is 1 to 60")),
    }
}

fn pattern(id: Option<u32>, text: &str) -> Result<Pattern, Refusal> {
    Pattern::parse(text).map_err(|error| channel_refusal(id, &error))
}

fn channel_refusal(id: Option<u32>, error: &channel::Error) -> Refusal {
    let code = match error {
        channel::Error::Syntax(_) => Code::ChannelSyntax,
        channel::Error::Reserved => Code::ChannelReserved,
    };
    Refusal::new(id, code, error.to_string())
}

/// Fields of a request, with its `id` for answers.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    id: Option<u32>,
}

impl<'a> Fields<'a> {
    fn new(object: &'a Map<String, Value>) -> Self {
        let id = object.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        Self { object, id: id.filter(|id| (1..=i32::MAX.unsigned_abs()).contains(id)) }
    }

    fn refuse(&self, code: Code, text: impl Into<String>) -> Refusal {
        Refusal::new(self.id, code, text)
    }

    fn id(&self) -> Result<u32, Refusal> {
        self.id.ok_or_else(|| self.refuse(Code::BadField, "id is a whole number from 1 to 2147483647"))
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(Code::BadField, format!("{name} is a text"))),
        }
    }

    fn required_text(&self, name: &str) -> Result<&'a str, Refusal> {
        self.text(name)?.ok_or_else(|| self.refuse(Code::BadField, format!("{name} is missing")))
    }
}

/// A JSON value without duplicate keys and not too deep: `serde_json` alone keeps the last of two equal keys, so what was checked
/// by one reader might not be what another uses.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor { depth: 0 }).map(Self)
    }
}

#[derive(Clone, Copy)]
struct StrictVisitor {
    depth: usize,
}

impl StrictVisitor {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX { Err(E::custom("nested too deeply")) } else { Ok(Self { depth: self.depth + 1 }) }
    }
}

impl<'de> de::DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if object.insert(key, value).is_some() {
                return Err(de::Error::custom("a key is given twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
