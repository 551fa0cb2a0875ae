//! Data in, data out: no Kafka, no store. Commands and results are written as their JSON.

#[cfg(test)]
mod claims;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod world;

use std::sync::Arc;

use entities::{Command, MARKER_LIFE_US};
use runtime::Rejection;
use schemas::Catalog;
use schemas::datum::{DecodeError, Union};
use schemas::entities::{EntityState, Row};
use serde_json::json;

use crate::world::{World, ada, with};

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
/// Subject of most tests.
const S1: &str = "main/student/s1";
const COURSE: &str = r#"{"type":"record","name":"Course","namespace":"forebay.entities","fields":[
    {"name":"title","type":"string"},{"name":"seats","type":"int"}]}"#;

#[test]
fn a_student_is_created_updated_and_deleted() {
    let mut student = World::new();
    assert_eq!(
        student.tell(S1, "student.create", &ada()),
        [("student.created".into(), json!({ "version": 1, "student": ada() }))]
    );
    let entity = student.entity(S1).cloned().unwrap();
    assert_eq!((entity.version, entity.state, entity.created_by.as_deref()), (1, EntityState::Live, Some("ada")));

    let noted = with(ada(), "notes", "likes engines");
    let told = student.tell(S1, "student.update", &with(noted.clone(), "expected_version", 1));
    assert_eq!(told, [("student.updated".into(), json!({ "version": 2, "changed": ["notes"], "student": noted }))]);
    let entity = student.entity(S1).cloned().unwrap();
    assert!(entity.created_at == 1_001 && entity.updated_at > 1_001);

    let told = student.tell(S1, "student.delete", &json!({ "expected_version": 2 }));
    assert_eq!(told, [("student.deleted".into(), json!({ "version": 3 }))]);
    let entity = student.entity(S1).cloned().unwrap();
    assert_eq!((entity.state, entity.data.len()), (EntityState::Deleted, 0), "no data is left");

    let told = student.tell(S1, "student.create", &ada());
    assert_eq!(told[0].1["version"], 4, "a reborn resource goes on counting");
}

#[test]
fn a_stale_version_is_refused() {
    let mut student = World::new();
    student.tell(S1, "student.create", &ada());
    let update = with(with(ada(), "notes", "x"), "expected_version", 1);
    student.tell(S1, "student.update", &update);
    for (event_type, data) in [("student.update", update), ("student.delete", json!({ "expected_version": 1 }))] {
        let refusal = student.refusal(S1, event_type, &data);
        assert_eq!((refusal.code, refusal.actual.as_deref()), ("version_conflict", Some("2")));
        assert_eq!(refusal.pointer.as_deref(), Some("/expected_version"));
    }
}

#[test]
fn what_is_there_or_not_there_decides_the_code() {
    let mut student = World::new();
    assert_eq!(student.refusal(S1, "student.update", &ada()).code, "not_found");
    assert_eq!(student.refusal(S1, "student.delete", &json!({})).code, "not_found");
    student.tell(S1, "student.create", &ada());
    assert_eq!(student.refusal(S1, "student.create", &ada()).code, "exists");
    student.tell(S1, "student.delete", &json!({}));
    assert_eq!(student.refusal(S1, "student.update", &ada()).code, "gone");
    assert_eq!(student.refusal(S1, "student.delete", &json!({})).code, "gone");
}

#[test]
fn a_delete_leaves_a_marker_for_seven_days() {
    let mut student = World::new();
    student.tell(S1, "student.create", &ada());
    let decision = student.decide(S1, "student.delete", &json!({})).unwrap_or_default();
    assert_eq!(decision.rows[0].2, Some(student.now + MARKER_LIFE_US));
}

#[test]
fn equal_data_changes_nothing() {
    let mut student = World::new();
    student.tell(S1, "student.create", &ada());
    let decision = student.decide(S1, "student.update", &ada()).unwrap_or_default();
    assert!(decision.unchanged && decision.rows.is_empty() && decision.results.is_empty());
}

#[test]
fn a_broken_rule_is_refused_with_its_pointer() {
    let mut student = World::new();
    let refusal = student.refusal(S1, "student.create", &with(ada(), "email", "ada at example"));
    let expected = ("invalid", Some("/email"), Some("email"), Some("ada at example"));
    let found = (refusal.code, refusal.pointer.as_deref(), refusal.expected.as_deref(), refusal.actual.as_deref());
    assert_eq!(found, expected);
    student.tell(S1, "student.create", &ada());
    assert_eq!(student.refusal(S1, "student.update", &with(ada(), "first_name", "")).pointer.as_deref(), Some("/first_name"));
}

#[test]
fn a_resource_that_waits_for_its_claims_is_tried_again_later() {
    let mut student = World::new();
    student.tell(S1, "student.create", &ada());
    for state in [EntityState::Pending, EntityState::Changing] {
        let entity = student.entity(S1).cloned().unwrap();
        let root = Row::Entity(schemas::entities::Entity { state, ..entity });
        student.rows.get_mut(S1).unwrap().insert(String::new(), root);
        assert!(matches!(student.decide(S1, "student.delete", &json!({})), Err(Rejection::Retry(_))));
    }
}

#[test]
fn a_new_kind_needs_no_rust() {
    let entity = include_str!("../../../../schemas/avro/entities/entity.avsc");
    let rejected = include_str!("../../../../schemas/avro/engine/rejected.avsc");
    let avro = [("entities/entity.avsc", entity), ("engine/rejected.avsc", rejected), ("entities/course.avsc", COURSE)];
    let catalog = Catalog::parse(&[("courses", COURSES)], &avro).unwrap();
    let mut course = World { catalog: Arc::new(catalog), stream: "courses", ..World::new() };
    let engines = json!({ "title": "Analytical engines", "seats": 12 });
    assert_eq!(course.refusal(S1, "course.create", &with(engines.clone(), "seats", 0)).pointer.as_deref(), Some("/seats"));
    let told = course.tell(S1, "course.create", &engines);
    assert_eq!(told, [("course.created".into(), json!({ "version": 1, "course": engines }))]);
    let refusal = course.refusal(S1, "course.update", &with(engines, "seats", 13));
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
