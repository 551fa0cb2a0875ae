//! Stage *encode*: one event from JSON to the record that will be written, or to everything that is wrong with it.

use std::borrow::Cow;
use std::fmt::Write;

use uuid::Uuid;

use chassis::auth::{Action, Principal};
use schemas::frame;
use schemas::key::EventKey;
use schemas::names;
use schemas::partition::partition_of;
use schemas::plan::{Captures, EncodeError, EncodeOptions, Limits, code};

use crate::arena::{Arena, Event, Piece, Record};
use crate::envelope::{Envelope, RESERVED};
use crate::fault::{Faults, finding};
use crate::split::Part;
use crate::stream::{Kind, Stream, Subject};
use crate::subject;
use crate::verdict::{Fault, Invalid, SchemaRef};

/// Longest id, bytes.
pub(crate) const ID_BYTES_MAX: usize = 256;
/// Longest source, bytes.
const SOURCE_BYTES_MAX: usize = 512;

/// What the events of one request have in common.
pub(crate) struct Common<'a> {
    /// Where they go.
    pub(crate) stream: &'a Stream,
    /// Who sends them.
    pub(crate) principal: &'a Principal,
    /// `/accounts/<account>`.
    pub(crate) own_source: &'a str,
    /// The type that the route or `?type=` names.
    pub(crate) kind: Option<&'a str>,
    /// Whether the body is the data alone.
    pub(crate) route: bool,
    /// `Idempotency-Key`.
    pub(crate) idempotency_key: Option<&'a str>,
    /// Parameters of the route's path, and the field that `If-Match` fills.
    pub(crate) fill: &'a [(&'a str, &'a str)],
    /// Request headers, for subjects that come from one.
    pub(crate) headers: &'a axum::http::HeaderMap,
    /// Bounds of one event.
    pub(crate) limits: Limits,
    /// Whether the request is a batch.
    pub(crate) batch: bool,
}

/// Turns events into records, one after the other, into one arena.
pub(crate) struct Encoder<'a> {
    common: Common<'a>,
    captures: Captures,
    /// What was made so far.
    pub(crate) arena: Arena,
    /// Whether an event of a type that demands it has no id that a repeat would carry.
    pub(crate) key_missing: bool,
    /// Members passed over because the type says so.
    pub(crate) unknown_fields: usize,
}

/// An event on its way through the checks.
struct Draft {
    kind: Option<usize>,
    id: Option<Piece>,
    subject: Option<Piece>,
}

impl<'a> Encoder<'a> {
    /// An empty arena.
    pub(crate) fn new(common: Common<'a>) -> Self {
        Self { common, captures: Captures::new(), arena: Arena::default(), key_missing: false, unknown_fields: 0 }
    }

    /// Encodes one event. What was found so far is in `faults`; all of it becomes the event's fault.
    pub(crate) fn event(&mut self, part: Part<'_>, faults: &mut Faults) {
        let mut draft = Draft { kind: None, id: None, subject: None };
        let extensions = self.arena.extensions.len();
        let record = match part {
            Part::Broken => None,
            Part::Data(data) => {
                let envelope = Envelope { data: Some(data), ..self.route_envelope(faults) };
                self.draft(&envelope, &mut draft, faults)
            }
            Part::Event(envelope) => self.draft(&envelope, &mut draft, faults),
        };
        let kinds = &self.common.stream.kinds;
        let schema = draft.kind.and_then(|kind| kinds.get(kind));
        let schema = schema.map(|kind| SchemaRef { id: kind.schema_id, name: kind.schema.full_name.clone() });
        let record = match (faults.take(schema), record) {
            (None, Some(record)) => Ok(record),
            (fault, _) => {
                self.arena.extensions.truncate(extensions);
                let unexplained = || Box::new(Fault { reason: Invalid::Envelope, errors: Vec::new(), omitted: 0, schema: None });
                Err(fault.unwrap_or_else(unexplained))
            }
        };
        self.arena.events.push(Event { kind: draft.kind, id: draft.id, subject: draft.subject, record, verdict: None });
    }

    /// On catalog routes the attributes come in headers, percent-encoded where they are not plain.
    fn route_envelope<'e>(&self, faults: &mut Faults) -> Envelope<'e>
    where
        'a: 'e,
    {
        let headers = self.common.headers;
        for name in RESERVED.iter().filter(|name| headers.contains_key(format!("ce-{name}"))) {
            let message = "this attribute is set by the engine alone";
            faults.add(Invalid::Envelope, finding(format!("/{name}"), code::UNKNOWN_FIELD, "", "", message));
        }
        let header = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            percent_encoding::percent_decode_str(value).decode_utf8().ok()
        };
        Envelope { id: header("ce-id"), source: header("ce-source"), time: header("ce-time"), ..Envelope::default() }
    }

    fn draft(&mut self, envelope: &Envelope<'_>, draft: &mut Draft, faults: &mut Faults) -> Option<Record> {
        draft.kind = self.kind(envelope, faults);
        let kind = draft.kind.and_then(|kind| self.common.stream.kinds.get(kind));
        let value = kind.and_then(|kind| self.value(kind, envelope, faults));
        // of refused data the captures hold what could be found; without data they are another event's
        let captures = envelope.data.is_some().then_some(&self.captures);
        let (id, repeatable) = self.id(kind, envelope, captures, faults);
        let id = id.map(Cow::into_owned);
        self.key_missing |= kind.is_some_and(|kind| kind.key_required) && !repeatable;
        let source = self.source(envelope, faults);
        let key = EventKey::of(source.as_deref().unwrap_or(self.common.own_source), id.as_deref().unwrap_or_default(), None);
        let subject = match kind {
            Some(kind) if value.is_some() || self.finds_subject(kind, envelope) => self.subject(kind, envelope, key, faults),
            _ => envelope.subject.as_deref().map(str::to_owned),
        };
        draft.id = id.map(|id| self.arena.put(id.as_bytes()));
        draft.subject = subject.as_deref().map(|subject| self.arena.put(subject.as_bytes()));
        let time = self.time(envelope, faults);
        self.check_rights(subject.as_deref(), source.as_deref(), faults);
        let source = source.map(|source| self.arena.put(source.as_bytes()));
        let extensions = self.extensions(envelope);
        if !faults.is_empty() {
            return None;
        }
        let partition = partition_of(subject.as_deref()?, self.common.stream.partitions);
        Some(Record { value: value?, key, partition, source, time, extensions, repeatable })
    }

    fn kind(&self, envelope: &Envelope<'_>, faults: &mut Faults) -> Option<usize> {
        let stream = self.common.stream;
        let named = envelope.kind.as_deref().or(self.common.kind);
        let found = match named {
            Some(name) => stream.kind_named(name),
            None => stream.only_kind(),
        };
        match (found, named) {
            (None, Some(name)) => {
                let message = format!("the stream {} has no such type", stream.name);
                faults.add(Invalid::UnknownType, finding("/type", code::UNKNOWN_SYMBOL, "", name, message));
            }
            (None, None) => {
                let message = format!("the stream {} has several types: name one", stream.name);
                faults.add(Invalid::Envelope, finding("/type", code::MISSING, "string", "", message));
            }
            _ => {}
        }
        found
    }

    /// Encodes the data behind its frame.
    fn value(&mut self, kind: &Kind, envelope: &Envelope<'_>, faults: &mut Faults) -> Option<Piece> {
        let prefix = if self.common.route { "" } else { "/data" };
        let Some(data) = envelope.data else {
            faults.add(Invalid::Envelope, finding(prefix, code::MISSING, "object", "", "the event has no data"));
            return None;
        };
        let arena = &mut self.arena;
        let start = arena.bytes.len();
        let options =
            EncodeOptions { unknown_fields: kind.unknown_fields, limits: self.common.limits, fill: self.common.fill, prefix };
        frame::begin(kind.schema_id, &mut arena.bytes);
        let found = faults.errors.count();
        let encoded = kind.plan.encode(data, &options, &mut arena.bytes, &mut self.captures, &mut faults.errors);
        self.unknown_fields += self.captures.unknown_fields();
        if let Err(error) = encoded {
            let (reason, code) = match error {
                EncodeError::TooLarge { .. } => (Invalid::TooLarge, code::BAD_LENGTH),
                EncodeError::Syntax(_) => (Invalid::Syntax, code::BAD_FORMAT),
            };
            faults.add(reason, finding(prefix, code, "", "", error.to_string()));
        } else if faults.errors.count() > found {
            faults.blame(Invalid::Schema);
        } else if obeys(kind, arena.bytes.get(start + frame::HEAD..).unwrap_or_default(), prefix, faults) {
            return Some(arena.piece_from(start));
        }
        arena.bytes.truncate(start);
        None
    }

    /// Whether the subject of refused data can be told: its field may be what is wrong.
    fn finds_subject(&self, kind: &Kind, envelope: &Envelope<'_>) -> bool {
        match &kind.subject {
            Subject::Field(capture, _) => envelope.data.is_some() && self.captures.get(*capture).is_some(),
            Subject::Attribute | Subject::Path(_) | Subject::Header(_) | Subject::Generated => true,
        }
    }

    /// The id, and whether a repeat of the event would carry it too.
    fn id<'e>(
        &self,
        kind: Option<&Kind>,
        envelope: &Envelope<'e>,
        captures: Option<&Captures>,
        faults: &mut Faults,
    ) -> (Option<Cow<'e, str>>, bool) {
        let captured = || {
            let text = captures?.get(kind?.id_capture?)?;
            Some(Cow::Owned(text.to_owned()))
        };
        let given = envelope.id.clone().or_else(captured);
        if let Some(id) = given {
            if !(1..=ID_BYTES_MAX).contains(&id.len()) || id.chars().any(char::is_control) {
                let message = "an id has 1 to 256 bytes and no control characters";
                faults.add(Invalid::Id, finding("/id", code::BAD_LENGTH, "1 to 256 bytes", &id, message));
                return (None, true);
            }
            return (Some(id), true);
        }
        match self.common.idempotency_key {
            Some(key) if self.common.batch => (Some(Cow::Owned(format!("{key}/{}", self.arena.events.len()))), true),
            Some(key) => (Some(Cow::Owned(key.to_owned())), true),
            None => (Some(Cow::Owned(Uuid::now_v7().to_string())), false),
        }
    }

    /// The source, if it is not the account's own.
    fn source<'e>(&self, envelope: &Envelope<'e>, faults: &mut Faults) -> Option<Cow<'e, str>> {
        let source = envelope.source.clone()?;
        if !(1..=SOURCE_BYTES_MAX).contains(&source.len()) || source.chars().any(|c| c.is_control() || c == ' ') {
            let message = "a source is a URI reference of 1 to 512 bytes";
            faults.add(Invalid::Envelope, finding("/source", code::BAD_FORMAT, "URI reference", &source, message));
        }
        Some(source).filter(|source| source != self.common.own_source)
    }

    fn time(&mut self, envelope: &Envelope<'_>, faults: &mut Faults) -> Option<Piece> {
        let time = envelope.time.as_deref()?;
        if time.contains('[') || time.parse::<jiff::Timestamp>().is_err() {
            let message = "a time is written like 2026-03-01T10:00:00Z";
            faults.add(Invalid::Envelope, finding("/time", code::BAD_FORMAT, "RFC 3339", time, message));
            return None;
        }
        Some(self.arena.put(time.as_bytes()))
    }

    /// The whole subject by the type's rule, checked.
    fn subject(&self, kind: &Kind, envelope: &Envelope<'_>, key: EventKey, faults: &mut Faults) -> Option<String> {
        let prefix = kind.subject_prefix.replace("{account}", &self.common.principal.account);
        let given = envelope.subject.as_deref();
        let (ruled, place) = self.ruled(kind, given, &prefix, key);
        let Some(ruled) = ruled else {
            let message = "the event has no subject";
            faults.add(Invalid::Subject, finding(place, code::MISSING, "string", "", message));
            return given.map(str::to_owned);
        };
        let mut subject = prefix;
        subject.push_str(&ruled);
        if let Some(text) = subject::fault(&subject) {
            faults.add(Invalid::Subject, finding(place, code::BAD_FORMAT, "", &subject, text));
            return None;
        }
        if let Some(given) = given.filter(|given| *given != subject && kind.subject != Subject::Attribute) {
            let message = "the subject differs from the one this event belongs to";
            faults.add(Invalid::Subject, finding("/subject", code::BAD_FORMAT, &*subject, given, message));
        }
        Some(subject)
    }

    /// What the rule gives, without prefix, and the place to blame.
    fn ruled(&self, kind: &Kind, given: Option<&str>, prefix: &str, key: EventKey) -> (Option<String>, String) {
        let from_data = |pointer: &str| if self.common.route { pointer.to_owned() } else { format!("/data{pointer}") };
        match &kind.subject {
            Subject::Attribute => (given.map(str::to_owned), "/subject".into()),
            Subject::Field(capture, pointer) => (self.captures.get(*capture).map(str::to_owned), from_data(pointer)),
            Subject::Path(name) => {
                let value =
                    self.common.fill.iter().find(|(parameter, _)| parameter == name).map(|(_, value)| (*value).to_owned());
                // without the route the whole subject must be given
                let below = || given.and_then(|given| given.strip_prefix(prefix)).map(str::to_owned);
                (value.or_else(below), "/subject".into())
            }
            Subject::Header(name) => {
                let value = self.common.headers.get(name).and_then(|value| value.to_str().ok());
                (value.map(str::to_owned), "/subject".into())
            }
            Subject::Generated => {
                let below = given.and_then(|given| given.strip_prefix(prefix)).map(str::to_owned);
                (Some(below.unwrap_or_else(|| Uuid::new_v8(key.0).to_string())), "/subject".into())
            }
        }
    }

    fn check_rights(&self, subject: Option<&str>, source: Option<&str>, faults: &mut Faults) {
        let Common { stream, principal, own_source, .. } = &self.common;
        if source.is_some_and(|source| source.starts_with(names::ENGINE_SOURCE)) {
            let message = "sources that start with forebay/ are the processors'";
            faults.add(Invalid::Forbidden, finding("/source", code::BAD_FORMAT, "", source.unwrap_or_default(), message));
        }
        let Some(subject) = subject.filter(|_| faults.is_empty()) else { return };
        if !principal.may(Action::Write, &stream.name, subject) {
            let message = "you may not write this subject";
            faults.add(Invalid::Forbidden, finding("/subject", code::BAD_FORMAT, "", subject, message));
        } else if !principal.may_write_as(&stream.name, subject, source.unwrap_or(own_source)) {
            let message = "you may not write events of this source";
            faults.add(Invalid::Forbidden, finding("/source", code::BAD_FORMAT, "", source.unwrap_or_default(), message));
        }
    }

    fn extensions(&mut self, envelope: &Envelope<'_>) -> (usize, usize) {
        let first = self.arena.extensions.len();
        for (name, value) in &envelope.extensions {
            let mut header = String::with_capacity(3 + name.len());
            // writing to a string cannot fail
            let _ = write!(header, "ce_{name}");
            let pieces = (self.arena.put(header.as_bytes()), self.arena.put(value.as_bytes()));
            self.arena.extensions.push(pieces);
        }
        (first, envelope.extensions.len())
    }
}

/// Whether a datum keeps the catalog's rules of its fields; those it breaks go to `faults`.
fn obeys(kind: &Kind, datum: &[u8], prefix: &str, faults: &mut Faults) -> bool {
    let found = faults.errors.count();
    if let Err(error) = kind.constraints.check(&kind.plan, datum, prefix, &mut faults.errors) {
        faults.errors.push(finding(prefix, code::BAD_FORMAT, "", "", error.to_string()));
    }
    let obeys = faults.errors.count() == found;
    if !obeys {
        faults.blame(Invalid::Schema);
    }
    obeys
}
