//! Unique values: whoever comes first has them, until they are given back.

use entities::Arrival;
use runtime::Rejection;
use schemas::datum::Union;
use schemas::entities::EntityState;

use crate::world::{World, ada, with};

fn student(n: usize) -> String {
    format!("main/student/s{n}")
}

#[test]
fn one_email_one_student_under_1000_parallel_creates() {
    let mut world = World::new();
    for n in 0..1_000 {
        world.begin(&student(n), "student.create", &ada());
    }
    world.deliver();
    let live = (0..1_000).filter_map(|n| world.entity(&student(n))).collect::<Vec<_>>();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].state, EntityState::Live);
    assert_eq!(world.told.len(), 1);
    let refused: Vec<_> = world.settled.iter().filter_map(|settled| settled.as_ref().err()).collect();
    assert_eq!((world.settled.len(), refused.len()), (1_000, 999));
    assert!(refused.iter().all(|refusal| refusal.code == "taken" && refusal.pointer.as_deref() == Some("/email")));
}

#[test]
fn nothing_is_told_of_a_student_before_the_address_is_its_own() {
    let mut world = World::new();
    world.begin(&student(1), "student.create", &ada());
    assert!(world.told.is_empty());
    let entity = world.entity(&student(1)).unwrap();
    assert_eq!((entity.state, entity.data.len()), (EntityState::Pending, 0));
    assert!(matches!(world.decide(&student(1), "student.update", &ada()), Err(Rejection::Retry(_))), "the next one waits");
    world.deliver();
    assert_eq!(world.told.len(), 1);
    assert_eq!(world.settled, [Ok(())]);
}

#[test]
fn spellings_of_one_address_are_one_address() {
    let mut world = World::new();
    world.tell(&student(1), "student.create", &ada());
    let refusal = world.refusal(&student(2), "student.create", &with(ada(), "email", "Ada@Example.ORG"));
    assert_eq!((refusal.code, refusal.pointer.as_deref()), ("taken", Some("/email")));
    assert!(world.entity(&student(2)).is_none(), "nothing is left of it");
    // its own address in another spelling asks nobody
    world.begin(&student(1), "student.update", &with(ada(), "email", "ADA@example.org"));
    assert_eq!(world.entity(&student(1)).unwrap().version, 2);
}

#[test]
fn an_address_is_free_again_after_a_change_or_a_delete() {
    let mut world = World::new();
    world.tell(&student(1), "student.create", &ada());
    let told = world.tell(&student(1), "student.update", &with(ada(), "email", "byron@example.org"));
    assert_eq!((&*told[0].0, &told[0].1["version"]), ("student.updated", &2.into()));
    assert_eq!(world.subjects("claim").len(), 1, "the old one is given back");
    world.tell(&student(2), "student.create", &ada());
    world.tell(&student(1), "student.delete", &serde_json::json!({}));
    world.tell(&student(3), "student.create", &with(ada(), "email", "byron@example.org"));
    assert_eq!(world.told.len(), 5);
    assert!(world.settled.iter().all(Result::is_ok));
    assert_eq!(world.subjects("claim").len(), 2);
}

#[test]
fn a_refused_change_leaves_everything_as_it_was() {
    let mut world = World::new();
    world.tell(&student(1), "student.create", &ada());
    let eve = with(ada(), "email", "eve@example.org");
    world.tell(&student(2), "student.create", &eve);
    let before = world.rows.clone();
    assert_eq!(world.refusal(&student(2), "student.update", &with(eve.clone(), "email", "ada@example.org")).code, "taken");
    let by_now = world.rows.clone();
    let same = |rows: &std::collections::BTreeMap<String, _>| rows.keys().cloned().collect::<Vec<_>>();
    assert_eq!(same(&by_now), same(&before));
    assert_eq!(world.entity(&student(2)).unwrap().version, 1);
    world.tell(&student(1), "student.delete", &serde_json::json!({}));
    // a deleted student whose rebirth is refused stays deleted, and its versions go on
    world.tell(&student(2), "student.update", &with(eve, "email", "ada@example.org"));
    assert_eq!(world.refusal(&student(1), "student.create", &ada()).code, "taken");
    assert_eq!((world.entity(&student(1)).unwrap().state, world.entity(&student(1)).unwrap().version), (EntityState::Deleted, 2));
    let told = world.tell(&student(1), "student.create", &with(ada(), "email", "new@example.org"));
    assert_eq!(told[0].1["version"], 3);
}

#[test]
fn an_answer_that_comes_twice_changes_nothing() {
    let mut world = World::new();
    world.begin(&student(1), "student.create", &ada());
    let asked = world.sent.clone();
    world.deliver();
    let before = world.rows.clone();
    world.sent = asked;
    world.deliver();
    assert_eq!(world.rows, before);
    assert_eq!(world.told.len(), 1);
}

#[test]
fn what_subjects_say_to_each_other_reads_back() {
    let mut world = World::new();
    world.begin(&student(1), "student.create", &ada());
    let (_, take) = world.sent.pop_front().unwrap();
    let mut datum = Vec::new();
    take.encode(&mut datum);
    let arrival = Arrival::decode("claim.take", &datum).unwrap();
    let mut again = Vec::new();
    arrival.encode(&mut again);
    assert_eq!((arrival.name(), again), ("claim.take", datum));
}
