//! Against a real registry.

use apache_avro::Schema;

use schemas::catalog::Catalog;
use schemas::registry::{Error, Registry, subject};
use schemas::{SchemaIds, Topics};

const ENTITY: &str = include_str!("../../avro/entities/entity.avsc");
const STREAM: &str =
    "title = \"T\"\npartitions = 1\n[[event]]\ntype = \"a.b\"\nschema = \"t/t.avsc\"\nsubject = { generated = true }\n";

fn catalog(fields: &str) -> Catalog {
    let schema = format!(r#"{{"type":"record","name":"T","namespace":"t","fields":[{fields}]}}"#);
    Catalog::parse(&[("things", STREAM)], &[("t/t.avsc", &schema)]).unwrap()
}

async fn registry() -> Registry {
    Registry::new(&testkit::engines().await.registry, None).unwrap()
}

fn topics() -> Topics {
    Topics::new(&format!("{}-", testkit::unique("reg")))
}

#[tokio::test]
async fn the_whole_catalog_gets_ids_and_keeps_them() {
    let (registry, topics) = (registry().await, topics());
    let catalog = Catalog::embedded().unwrap();
    let refused = registry.resolve(&topics, &catalog, false).await.unwrap_err();
    assert!(matches!(refused, Error::NotRegistered { .. }), "{refused}");
    let ids = registry.resolve(&topics, &catalog, true).await.unwrap();
    let again = registry.resolve(&topics, &catalog, false).await.unwrap();
    let names = [
        "forebay.flights.FlightDeparted",
        "forebay.entities.StudentUpdated",
        "forebay.entities.Entity",
        "forebay.engine.LogData",
    ];
    for name in names {
        let id = ids.id_of(name).unwrap();
        assert_eq!((ids.name_of(id), again.id_of(name)), (Some(name), Some(id)));
    }
    // one that has never seen them asks by id
    let id = ids.id_of("forebay.entities.Entity").unwrap();
    let other = self::registry().await.schema_by_id(id).await.unwrap();
    assert_eq!(other.schema, Schema::parse_str(ENTITY).unwrap());
    assert_eq!(other.full_name, "forebay.entities.Entity");
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_in_the_registrys_words() {
    let (registry, topics) = (registry().await, topics());
    registry.resolve(&topics, &catalog(r#"{"name":"id","type":"string"}"#), true).await.unwrap();
    let wider = catalog(r#"{"name":"id","type":"string"},{"name":"note","type":["null","string"],"default":null}"#);
    registry.resolve(&topics, &wider, true).await.unwrap();
    let broken = registry.resolve(&topics, &catalog(r#"{"name":"id","type":"long"}"#), true).await.unwrap_err();
    let Error::Incompatible { subject: found, message } = &broken else { panic!("{broken}") };
    assert_eq!(*found, subject(&topics.events("things"), "t.T"));
    assert!(!message.is_empty());
}

#[tokio::test]
async fn an_unknown_id_is_not_found_and_no_answer_is_unavailable() {
    let known = registry().await;
    assert!(matches!(known.schema_by_id(i32::MAX).await, Err(Error::NotFound(i32::MAX))));
    // port 9 of the loopback has nobody
    let nobody = Registry::new("http://127.0.0.1:9", None).unwrap();
    let error = nobody.schema_by_id(1).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }));
    assert!(error.to_string().contains("http://127.0.0.1:9 does not answer"), "{error}");
}

#[tokio::test]
async fn a_start_without_the_registry_takes_the_disk_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (topics, catalog) = (topics(), catalog(r#"{"name":"id","type":"string"}"#));
    let url = &testkit::engines().await.registry;
    let nobody = "http://127.0.0.1:9";
    let none = Registry::new(nobody, Some(folder.path().to_owned())).unwrap().resolve(&topics, &catalog, true).await;
    assert!(matches!(none, Err(Error::Unavailable { .. })), "nothing is cached yet");
    let first = Registry::new(url, Some(folder.path().to_owned())).unwrap().resolve(&topics, &catalog, true).await.unwrap();
    // the cache belongs to one address: the folder of the real one is given to the dead one
    let folders: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let dead = folder.path().join(&blake3::hash(nobody.as_bytes()).to_hex()[..16]);
    assert_eq!(folders.len(), 1);
    std::fs::rename(&folders[0], dead).unwrap();
    let cold = Registry::new(nobody, Some(folder.path().to_owned())).unwrap();
    let ids: SchemaIds = cold.resolve(&topics, &catalog, false).await.unwrap();
    let id = first.id_of("t.T").unwrap();
    assert_eq!(ids.id_of("t.T"), Some(id));
    assert_eq!(cold.schema_by_id(id).await.unwrap().full_name, "t.T");
}
