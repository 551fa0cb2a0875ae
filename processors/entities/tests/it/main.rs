//! Data in, data out: no Kafka, no store. Commands and results are written as their JSON.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics, in its helpers too")]

use std::sync::Arc;

use serde_json::{Value, json};

use runtime::{Context, Decision, Principal, Processor, Refusal, Rejection, Rows};
use schemas::Catalog;
use schemas::catalog::Stream;
use schemas::datum::{DecodeError, Union};
use schemas::entities::{Entity, EntityState, Row};
use schemas::plan::{Captures, EncodeOptions, FieldErrors};

use entities::{Command, Entities, MARKER_LIFE_US};

const COURSES: &str = r#"
title = "Courses"
partitions = 4
[[row]]
schema = "entities/entity.avsc"
[[kind]]
name = "course"
route = "/v1/courses"
schema = "entities/course.avsc"
require_version = true
[kind.fields]
seats = { min = 1 }
"#;
const COURSE: &str = r#"{"type":"record","name":"Course","namespace":"forebay.entities","fields":[
    {"name":"title","type":"string"},{"name":"seats","type":"int"}]}"#;

/// One resource and what was told of it.
struct Resource {
    catalog: Arc<Catalog>,
    stream: &'static str,
    now: i64,
    entity: Option<Entity>,
}

impl Resource {
    fn new() -> Self {
        Self { catalog: Catalog::embedded().unwrap(), stream: "entities", now: 1_000, entity: None }
    }

    fn stream(&self) -> &Stream {
        self.catalog.stream(self.stream).unwrap()
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

    fn decide(&mut self, event_type: &str, data: &Value) -> Result<Decision<Entities>, Rejection> {
        self.now += 1;
        let ctx = Context {
            subject: "main/student/s1".into(),
            event_type: event_type.into(),
            principal: Some(Principal { account: "main".into(), id: "ada".into(), admin: false }),
            event_time: self.now,
            append_time: self.now,
            now: self.now,
            cause: [0; 16],
            offset: 0,
        };
        let rows = Rows::new(self.entity.clone().map(|entity| ("".into(), Row::Entity(entity))));
        Entities.decide(self.command(event_type, data), &rows, &ctx)
    }

    /// Does it, and gives the results as type and JSON.
    fn tell(&mut self, event_type: &str, data: &Value) -> Vec<(String, Value)> {
        let decision = self.decide(event_type, data).unwrap_or_else(|rejection| panic!("{rejection:?}"));
        for (sort, row, _) in decision.rows {
            assert_eq!(sort, "");
            self.entity = row.map(|Row::Entity(entity)| entity);
        }
        let render = |told: &entities::Told| {
            let (mut datum, mut text) = (Vec::new(), String::new());
            told.encode(&mut datum);
            self.stream().result(told.name()).unwrap().schema.plan.render(&datum, &mut text).unwrap();
            (told.name().to_owned(), serde_json::from_str(&text).unwrap())
        };
        decision.results.iter().map(render).collect()
    }

    fn refusal(&mut self, event_type: &str, data: &Value) -> Refusal {
        match self.decide(event_type, data) {
            Err(Rejection::Refused(refusal)) => refusal,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{event_type} was not refused"),
        }
    }
}

fn ada() -> Value {
    json!({ "first_name": "Ada", "last_name": "Byron", "email": "ada@example.org", "born_on": null, "notes": null })
}

fn with(mut value: Value, name: &str, to: Value) -> Value {
    value[name] = to;
    value
}

#[test]
fn a_student_is_created_updated_and_deleted() {
    let mut student = Resource::new();
    assert_eq!(student.tell("student.create", &ada()), [("student.created".into(), json!({ "version": 1, "student": ada() }))]);
    let entity = student.entity.clone().unwrap();
    assert_eq!((entity.version, entity.state, entity.created_by.as_deref()), (1, EntityState::Live, Some("ada")));

    let noted = with(ada(), "notes", json!("likes engines"));
    let told = student.tell("student.update", &with(noted.clone(), "expected_version", json!(1)));
    assert_eq!(told, [("student.updated".into(), json!({ "version": 2, "changed": ["notes"], "student": noted }))]);
    let entity = student.entity.clone().unwrap();
    assert_eq!((entity.created_at, entity.updated_at), (1_001, 1_002));

    let told = student.tell("student.delete", &json!({ "expected_version": 2 }));
    assert_eq!(told, [("student.deleted".into(), json!({ "version": 3 }))]);
    let entity = student.entity.clone().unwrap();
    assert_eq!((entity.state, entity.data.len()), (EntityState::Deleted, 0), "no data is left");

    let told = student.tell("student.create", &ada());
    assert_eq!(told[0].1["version"], 4, "a reborn resource goes on counting");
}

#[test]
fn a_stale_version_is_refused() {
    let mut student = Resource::new();
    student.tell("student.create", &ada());
    let update = with(with(ada(), "notes", json!("x")), "expected_version", json!(1));
    student.tell("student.update", &update);
    for (event_type, data) in [("student.update", update), ("student.delete", json!({ "expected_version": 1 }))] {
        let refusal = student.refusal(event_type, &data);
        assert_eq!((refusal.code, refusal.actual.as_deref()), ("version_conflict", Some("2")));
        assert_eq!(refusal.pointer.as_deref(), Some("/expected_version"));
    }
}

#[test]
fn what_is_there_or_not_there_decides_the_code() {
    let mut student = Resource::new();
    assert_eq!(student.refusal("student.update", &ada()).code, "not_found");
    assert_eq!(student.refusal("student.delete", &json!({})).code, "not_found");
    student.tell("student.create", &ada());
    assert_eq!(student.refusal("student.create", &ada()).code, "exists");
    student.tell("student.delete", &json!({}));
    assert_eq!(student.refusal("student.update", &ada()).code, "gone");
    assert_eq!(student.refusal("student.delete", &json!({})).code, "gone");
}

#[test]
fn a_delete_leaves_a_marker_for_seven_days() {
    let mut student = Resource::new();
    student.tell("student.create", &ada());
    let decision = student.decide("student.delete", &json!({})).unwrap_or_default();
    assert_eq!(decision.rows[0].2, Some(student.now + MARKER_LIFE_US));
}

#[test]
fn equal_data_changes_nothing() {
    let mut student = Resource::new();
    student.tell("student.create", &ada());
    let decision = student.decide("student.update", &ada()).unwrap_or_default();
    assert!(decision.unchanged && decision.rows.is_empty() && decision.results.is_empty());
}

#[test]
fn a_broken_rule_is_refused_with_its_pointer() {
    let mut student = Resource::new();
    let refusal = student.refusal("student.create", &with(ada(), "email", json!("ada at example")));
    let expected = ("invalid", Some("/email"), Some("email"), Some("ada at example"));
    let found = (refusal.code, refusal.pointer.as_deref(), refusal.expected.as_deref(), refusal.actual.as_deref());
    assert_eq!(found, expected);
    student.tell("student.create", &ada());
    assert_eq!(student.refusal("student.update", &with(ada(), "first_name", json!(""))).pointer.as_deref(), Some("/first_name"));
}

#[test]
fn a_resource_that_waits_for_its_claims_is_tried_again_later() {
    let mut student = Resource::new();
    student.tell("student.create", &ada());
    for state in [EntityState::Pending, EntityState::Changing] {
        student.entity.as_mut().unwrap().state = state;
        assert!(matches!(student.decide("student.delete", &json!({})), Err(Rejection::Retry(_))));
    }
}

#[test]
fn a_new_kind_needs_no_rust() {
    let entity = include_str!("../../../../schemas/avro/entities/entity.avsc");
    let rejected = include_str!("../../../../schemas/avro/engine/rejected.avsc");
    let avro = [("entities/entity.avsc", entity), ("engine/rejected.avsc", rejected), ("entities/course.avsc", COURSE)];
    let catalog = Catalog::parse(&[("courses", COURSES)], &avro).unwrap();
    let mut course = Resource { catalog: Arc::new(catalog), stream: "courses", ..Resource::new() };
    let engines = json!({ "title": "Analytical engines", "seats": 12 });
    assert_eq!(course.refusal("course.create", &with(engines.clone(), "seats", json!(0))).pointer.as_deref(), Some("/seats"));
    let told = course.tell("course.create", &engines);
    assert_eq!(told, [("course.created".into(), json!({ "version": 1, "course": engines }))]);
    let refusal = course.refusal("course.update", &with(engines, "seats", json!(13)));
    assert_eq!((refusal.code, refusal.pointer.as_deref()), ("invalid", Some("/expected_version")), "it requires the version");
}

#[test]
fn unknown_types_and_broken_bytes_are_not_commands() {
    assert!(matches!(Command::decode("student.patch", b""), Err(DecodeError::UnknownType(_))));
    assert!(matches!(Command::decode("flight.departed", b""), Err(DecodeError::UnknownType(_))));
    assert!(Command::decode("student.delete", b"\x02").is_err());
    assert!(Command::decode("student.delete", b"\0\0").is_err());
    assert_eq!(Command::decode("student.delete", b"\x02\x06").unwrap().expected_version, Some(3));
}
