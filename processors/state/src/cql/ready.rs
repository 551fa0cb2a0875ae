//! Does a node answer?

use std::time::Duration;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::unprepared::Statement;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{CONNECT_TIME, failed};
use crate::store::Error;

const RETRY: Duration = Duration::from_millis(100);

/// Waits until the node at `address` (`host:port`) answers one real query.
///
/// # Errors
/// [`Error::Unavailable`] when it does not before `deadline`.
pub async fn wait_ready(address: &str, deadline: Instant) -> Result<(), Error> {
    let answered = timeout_at(deadline, async {
        loop {
            // the bare connection comes first: each failed session would log errors of its own
            if TcpStream::connect(address).await.is_ok() && answers(address).await {
                return;
            }
            sleep(RETRY).await;
        }
    });
    answered.await.map_err(|_| Error::Unavailable(format!("no CQL node answered at {address} in time")))
}

async fn answers(address: &str) -> bool {
    match SessionBuilder::new().known_node(address).connection_timeout(CONNECT_TIME).build().await {
        Ok(session) => ping(&session, CONNECT_TIME).await.is_ok(),
        Err(_) => false,
    }
}

/// One real query.
pub(super) async fn ping(session: &Session, within: Duration) -> Result<(), Error> {
    let query = session.query_unpaged(Statement::new("SELECT key FROM system.local"), ());
    match timeout(within, query).await {
        Ok(answer) => answer.map(drop).map_err(failed),
        Err(_) => Err(Error::Unavailable(format!("the CQL node did not answer in {within:?}"))),
    }
}
