//! A store that compacts all the time and forgets its tombstones soon: what others do in ten days happens in a test's time.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

/// The rows of a keyspace, made forgetful.
pub struct Forgetful {
    session: Session,
    keyspace: String,
}

impl Forgetful {
    /// Makes the table `rows` of `keyspace` flush each second, compact two files at a time and keep tombstones for `grace`
    /// (whole seconds).
    ///
    /// # Panics
    /// When the node cannot be reached, or there is no such table.
    pub async fn of(node: &str, keyspace: &str, grace: Duration) -> Self {
        let session = SessionBuilder::new().known_node(node).build().await.unwrap_or_else(|error| panic!("{node}: {error}"));
        let alter = format!(
            "ALTER TABLE {keyspace}.rows WITH gc_grace_seconds = {} AND memtable_flush_period_in_ms = 1000 AND compaction = \
             {{'class': 'SizeTieredCompactionStrategy', 'min_threshold': 2, 'unchecked_tombstone_compaction': true}}",
            grace.as_secs()
        );
        session.query_unpaged(alter, ()).await.unwrap_or_else(|error| panic!("{keyspace}.rows: {error}"));
        Self { session, keyspace: keyspace.to_owned() }
    }

    /// Compactions of the rows so far.
    ///
    /// # Panics
    /// When the node does not tell.
    pub async fn compactions(&self) -> usize {
        let query = "SELECT keyspace_name, columnfamily_name FROM system.compaction_history";
        let told = self.session.query_unpaged(query, ()).await.ok().and_then(|told| told.into_rows_result().ok());
        let told = told.expect("the node tells its compactions");
        let all = told.rows::<(Option<String>, Option<String>)>().expect("two columns of text");
        let ours = all
            .filter_map(Result::ok)
            .filter(|(keyspace, table)| keyspace.as_deref() == Some(&self.keyspace) && table.as_deref() == Some("rows"));
        ours.count()
    }
}
