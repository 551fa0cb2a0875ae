//! Lists agree with their resources.

use crate::world::{World, ada, with};

/// Sorts of all buckets.
fn shown(world: &World) -> Vec<String> {
    let mut shown: Vec<_> = world.subjects("list").into_iter().flat_map(|(_, sorts)| sorts).map(str::to_owned).collect();
    shown.sort();
    shown
}

#[test]
fn a_list_shows_what_there_is_by_name() {
    let mut world = World::new();
    let named = |name: &str, n: usize| with(with(ada(), "last_name", name), "email", format!("{n}@example.org"));
    for (n, name) in ["Byron", "Abel", "Curie"].into_iter().enumerate() {
        world.tell(&format!("main/student/s{n}"), "student.create", &named(name, n));
    }
    assert_eq!(shown(&world), ["last_name:abel/s1", "last_name:byron/s0", "last_name:curie/s2"]);
    world.tell("main/student/s0", "student.update", &named("Lovelace", 0));
    world.tell("main/student/s2", "student.delete", &serde_json::json!({}));
    assert_eq!(shown(&world), ["last_name:abel/s1", "last_name:lovelace/s0"]);
}

#[test]
fn a_resource_stays_in_its_bucket_and_its_account() {
    let mut world = World::new();
    world.tell("acme/student/s1", "student.create", &ada());
    let before = world.subjects("list").first().map(|(subject, _)| (*subject).to_owned());
    assert!(before.as_deref().is_some_and(|subject| subject.starts_with("acme/list/student.")), "{before:?}");
    world.tell("acme/student/s1", "student.update", &with(ada(), "last_name", "Lovelace"));
    assert_eq!(world.subjects("list").first().map(|(subject, _)| (*subject).to_owned()), before);
    // the same address in another account is another address
    world.tell("main/student/s1", "student.create", &ada());
    assert_eq!(world.told.len(), 3);
}
