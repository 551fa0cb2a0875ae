//! A stream in memory: rows by subject, and sends that arrive one after another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use entities::{Arrival, Command, Entities, Told};
use runtime::{Context, Decision, Principal, Processor, Refusal, Rejection, Rows};
use schemas::Catalog;
use schemas::catalog::Stream;
use schemas::datum::Union;
use schemas::entities::{Entity, Row, SendEvent};
use schemas::plan::{Captures, EncodeOptions, FieldErrors};

/// Type and data of a result.
pub(crate) type Outcome = (String, Value);

/// All subjects of a stream of kinds.
pub(crate) struct World {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) stream: &'static str,
    pub(crate) now: i64,
    pub(crate) rows: BTreeMap<String, BTreeMap<String, Row>>,
    /// Sends on their way.
    pub(crate) sent: VecDeque<(String, SendEvent)>,
    /// What was told, in order.
    pub(crate) told: Vec<Outcome>,
    /// Events settled after they were left open, and how.
    pub(crate) settled: Vec<Result<(), Refusal>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            catalog: Catalog::embedded().unwrap(),
            stream: "entities",
            now: 1_000,
            rows: BTreeMap::new(),
            sent: VecDeque::new(),
            told: Vec::new(),
            settled: Vec::new(),
        }
    }

    fn stream(&self) -> &Stream {
        self.catalog.stream(self.stream).unwrap()
    }

    pub(crate) fn entity(&self, subject: &str) -> Option<&Entity> {
        match self.rows.get(subject)?.get("")? {
            Row::Entity(entity) => Some(entity),
            other => panic!("{other:?}"),
        }
    }

    /// Subjects of the kind `claim` or `list` that have rows, with their sorts.
    pub(crate) fn subjects(&self, noun: &str) -> Vec<(&str, Vec<&str>)> {
        let of_noun = self.rows.iter().filter(|(subject, rows)| subject.split('/').nth(1) == Some(noun) && !rows.is_empty());
        of_noun.map(|(subject, rows)| (&**subject, rows.keys().map(String::as_str).collect())).collect()
    }

    fn command(&self, event_type: &str, data: &Value) -> Command {
        let (_, event) = self.catalog.event(event_type).unwrap();
        let (mut datum, mut errors) = (Vec::new(), FieldErrors::new());
        let plan = &event.schema.plan;
        plan.encode(&data.to_string(), &EncodeOptions::default(), &mut datum, &mut Captures::default(), &mut errors).unwrap();
        assert!(errors.is_empty(), "{:?}", errors.kept());
        let command = Command::of(self.stream(), event_type, &datum).unwrap();
        let mut again = Vec::new();
        command.encode(&mut again);
        assert_eq!(again, datum, "a command writes what it was read from");
        command
    }

    pub(crate) fn decide(&mut self, subject: &str, event_type: &str, data: &Value) -> Result<Decision<Entities>, Rejection> {
        let command = self.command(event_type, data);
        self.decide_input(subject, Arrival::Command(Box::new(command)))
    }

    fn decide_input(&mut self, subject: &str, input: Arrival) -> Result<Decision<Entities>, Rejection> {
        self.now += 1;
        let ctx = Context {
            subject: subject.into(),
            event_type: input.name().into(),
            principal: Some(Principal { account: "main".into(), id: "ada".into(), admin: false }),
            event_time: self.now,
            append_time: self.now,
            now: self.now,
            cause: [0; 16],
            offset: 0,
        };
        let wanted = Entities.reads(&input).rows;
        let rows = self.rows.get(subject).into_iter().flatten().filter(|(sort, _)| wanted.contains(sort));
        let rows = Rows::new(rows.map(|(sort, row)| (sort.as_str().into(), row.clone())).collect::<Vec<_>>());
        Entities.decide(input, &rows, &ctx)
    }

    fn accept(&mut self, subject: &str, decision: Decision<Entities>) {
        let rows = self.rows.entry(subject.to_owned()).or_default();
        for (sort, row, _) in decision.rows {
            match row {
                Some(row) => rows.insert(sort, row),
                None => rows.remove(&sort),
            };
        }
        self.sent.extend(decision.sends);
        self.settled.extend(decision.settles.map(|(_, outcome)| outcome));
        let told: Vec<_> = decision.results.iter().map(|told| self.render(told)).collect();
        self.told.extend(told);
    }

    fn render(&self, told: &Told) -> Outcome {
        let (mut datum, mut text) = (Vec::new(), String::new());
        told.encode(&mut datum);
        self.stream().result(told.name()).unwrap().schema.plan.render(&datum, &mut text).unwrap();
        (told.name().to_owned(), serde_json::from_str(&text).unwrap())
    }

    /// Does it; what it sends stays on its way.
    pub(crate) fn begin(&mut self, subject: &str, event_type: &str, data: &Value) {
        let decision = self.decide(subject, event_type, data).unwrap_or_else(|rejection| panic!("{rejection:?}"));
        self.accept(subject, decision);
    }

    /// Lets everything that is on its way arrive.
    pub(crate) fn deliver(&mut self) {
        while let Some((subject, event)) = self.sent.pop_front() {
            let mut datum = Vec::new();
            event.encode(&mut datum);
            let input = Arrival::decode(event.name(), &datum).unwrap();
            let decision = self.decide_input(&subject, input).unwrap_or_else(|rejection| panic!("{rejection:?}"));
            self.accept(&subject, decision);
        }
    }

    /// Does it with everything that follows, and gives the results.
    pub(crate) fn tell(&mut self, subject: &str, event_type: &str, data: &Value) -> Vec<Outcome> {
        let before = self.told.len();
        self.begin(subject, event_type, data);
        self.deliver();
        self.told[before..].to_vec()
    }

    /// The refusal it ends with, at once or when its claims are answered.
    pub(crate) fn refusal(&mut self, subject: &str, event_type: &str, data: &Value) -> Refusal {
        match self.decide(subject, event_type, data) {
            Err(Rejection::Refused(refusal)) => return refusal,
            Err(other) => panic!("{other:?}"),
            Ok(decision) => self.accept(subject, decision),
        }
        let settled = self.settled.len();
        self.deliver();
        match self.settled.get(settled) {
            Some(Err(refusal)) => refusal.clone(),
            other => panic!("{event_type} was not refused: {other:?}"),
        }
    }
}

pub(crate) fn ada() -> Value {
    json!({ "first_name": "Ada", "last_name": "Byron", "email": "ada@example.org", "born_on": null, "notes": null })
}

pub(crate) fn with(mut value: Value, name: &str, to: impl Into<Value>) -> Value {
    value[name] = to.into();
    value
}
