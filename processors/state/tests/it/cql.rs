//! What only the CQL store promises.

use std::time::Duration;

use scylla::client::session_builder::SessionBuilder;
use state::cql::wait_ready;
use state::{Cql, CqlOptions, Error, StateStore};
use tokio::time::Instant;

use crate::stores::{cql_address, cql_options, run};

#[test]
fn many_processes_may_create_the_schema_at_once() {
    run(async {
        let options = cql_options("race").await;
        let all = futures::future::join_all((0..3).map(|_| Cql::connect(&options))).await;
        for store in all {
            store.unwrap().open_stream("s", 2, 4).await.unwrap();
        }
        let closed = CqlOptions { create_schema: false, ..options };
        Cql::connect(&closed).await.unwrap().open_stream("s", 2, 4).await.unwrap();
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
