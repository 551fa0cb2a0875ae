//! What only the CQL store promises.

use std::time::Duration;

use scylla::client::session_builder::SessionBuilder;
use state::cql::wait_ready;
use state::{Cql, CqlOptions, Error, Mark, Shard, StateStore};
use tokio::time::Instant;

use crate::stores::{cql_address, cql_options, run};

fn shard(stream: &str) -> Shard {
    Shard { stream: stream.into(), number: 0 }
}

fn mark() -> Mark {
    Mark { applied: 700, n: 7, ts: 70, positions: [("s.events".to_owned(), 3)].into(), horizon: 60, agenda_floor: 1 }
}

#[test]
fn many_processes_may_create_the_schema_at_once() {
    run(async {
        let options = cql_options("race").await;
        // each with a session of its own, like processes that are rolled out together
        let open = async || {
            let store = Cql::connect(&options).await?;
            store.open_stream("s", 2, 4).await?;
            Ok::<_, Error>(store)
        };
        for store in futures::future::join_all((0..8).map(|_| open())).await {
            store.unwrap().set_marks(&[(shard("s"), mark())]).await.unwrap();
        }
        let closed = CqlOptions { create_schema: false, ..options };
        Cql::connect(&closed).await.unwrap().open_stream("s", 2, 4).await.unwrap();
    });
}

#[test]
fn a_schema_that_was_left_half_made_is_completed_and_what_it_holds_stays() {
    run(async {
        let options = cql_options("half").await;
        let keyspace = format!("{}{}", options.prefix, options.keyspace);
        let session = SessionBuilder::new().known_node(cql_address().await).build().await.unwrap();
        let execute = async |text: &str| session.query_unpaged(text.replace("{ks}", &keyspace), ()).await.unwrap();
        execute(
            "CREATE KEYSPACE {ks} WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': 1} \
             AND durable_writes = true",
        )
        .await;
        execute("CREATE TABLE {ks}.shards (stream text, shard int, val blob, PRIMARY KEY ((stream, shard)))").await;
        let before = Cql::connect(&options).await.unwrap();
        before.set_marks(&[(shard("s"), mark())]).await.unwrap();
        // a process of the version that knew no versions leaves tables without one
        execute("DROP TABLE {ks}.schema_version").await;
        let refused = Cql::connect(&CqlOptions { create_schema: false, ..options.clone() }).await;
        assert!(matches!(&refused, Err(Error::Refused(text)) if text.contains("version 0")), "{:?}", refused.err());
        for store in futures::future::join_all((0..4).map(|_| Cql::connect(&options))).await {
            assert_eq!(store.unwrap().mark(&shard("s")).await.unwrap(), Some(mark()));
        }
        Cql::connect(&CqlOptions { create_schema: false, ..options }).await.unwrap();
    });
}

#[test]
fn a_schema_or_a_layout_of_another_version_is_refused_and_left_as_it_is() {
    run(async {
        let options = cql_options("newer").await;
        let keyspace = format!("{}{}", options.prefix, options.keyspace);
        let store = Cql::connect(&options).await.unwrap();
        let session = SessionBuilder::new().known_node(cql_address().await).build().await.unwrap();
        let execute = async |text: &str| session.query_unpaged(text.replace("{ks}", &keyspace), ()).await.unwrap();
        execute("INSERT INTO {ks}.streams (stream, partitions, buckets, layout) VALUES ('old', 2, 4, 0)").await;
        let refused = store.open_stream("old", 2, 4).await;
        assert!(matches!(&refused, Err(Error::Refused(_))), "{refused:?}");
        execute("INSERT INTO {ks}.schema_version (component, version) VALUES ('state', 99) USING TIMESTAMP 99").await;
        for refused in futures::future::join_all((0..2).map(|_| Cql::connect(&options))).await {
            assert!(matches!(&refused, Err(Error::Refused(text)) if text.contains("newer program")), "{:?}", refused.err());
        }
        let version = execute("SELECT version FROM {ks}.schema_version").await.into_rows_result().unwrap();
        assert_eq!(version.first_row::<(i32,)>().unwrap().0, 99);
    });
}

#[test]
fn a_missing_schema_is_refused_when_it_may_not_be_created() {
    run(async {
        let refused = Cql::connect(&CqlOptions { create_schema: false, ..cql_options("absent").await }).await;
        assert!(matches!(&refused, Err(Error::Refused(text)) if text.contains("create_schema")), "{:?}", refused.err());
    });
}

#[test]
fn a_node_that_is_not_there_is_told_in_a_sentence() {
    run(async {
        let nowhere = CqlOptions { nodes: vec!["127.0.0.1:1".to_owned()], ..CqlOptions::default() };
        let failed = Cql::connect(&nowhere).await;
        assert!(matches!(&failed, Err(Error::Unavailable(text)) if text.contains("127.0.0.1:1")), "{:?}", failed.err());
        assert!(wait_ready("127.0.0.1:1", Instant::now() + Duration::from_millis(300)).await.is_err());
        wait_ready(&cql_address().await, Instant::now() + Duration::from_secs(20)).await.unwrap();
    });
}

#[test]
fn a_keyspace_name_a_node_would_not_take_is_refused() {
    run(async {
        for keyspace in ["Upper", "1st", "a-b", &"x".repeat(60)] {
            let options = CqlOptions { keyspace: keyspace.to_owned(), prefix: String::new(), ..cql_options("").await };
            assert!(matches!(Cql::connect(&options).await, Err(Error::Refused(_))));
        }
    });
}

/// The check at connect reads these two; a node that did not show them would pass with a warning only.
#[test]
fn a_cassandra_node_shows_that_it_syncs_before_it_acknowledges() {
    run(async {
        let session = SessionBuilder::new().known_node(cql_address().await).build().await.unwrap();
        for (name, wanted) in [("commitlog_sync", "batch"), ("commitlog_disk_access_mode", "legacy")] {
            let query = format!("SELECT value FROM system_views.settings WHERE name = '{name}'");
            let answer = session.query_unpaged(query, ()).await.unwrap().into_rows_result().unwrap();
            assert_eq!(answer.first_row::<(String,)>().unwrap().0, wanted, "{name}");
        }
    });
}
