//! The registry does not answer for a schema nobody has seen yet.

use chassis::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpStream};

use crate::deployment::Deployment;

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_stops_only_the_shard_that_needs_it() {
    let mut deployment = Deployment::new("registry").await;
    let port = testkit::free_port();
    let real = testkit::engines().await.registry.clone();
    deployment.use_registry(&real.replace(host_of(&real), &format!("127.0.0.1:{port}")));
    assert_ne!(deployment.partition("ATL"), deployment.partition("DTW"));
    let worker = deployment.start("slot").await;

    // a registered schema, but none that a producer of flights should use
    let mut foreign = Vec::new();
    schemas::frame::begin(deployment.ids.id_of("forebay.engine.LogClaim").unwrap(), &mut foreign);
    deployment.send("ATL", &foreign, "foreign").await;
    deployment.depart("ATL", 5, "behind it").await;
    for n in 0..5 {
        deployment.depart("DTW", 5, &format!("beside it {n}")).await;
    }
    let results = deployment.await_records(&deployment.topics.results("flights"), 5).await;
    assert!(results.iter().all(|record| record.subject() == "DTW"), "what stands behind an unknown record waits");
    assert!(deployment.kafka.read(&deployment.topics.dead("flights")).await.is_empty());

    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let forwarding = forward(listener, host_of(&real));
    let arriving = async {
        let dead = deployment.await_records(&deployment.topics.dead("flights"), 1).await;
        assert_eq!(dead[0].header("dead_reason"), Some("unknown_schema"));
        let results = deployment.await_records(&deployment.topics.results("flights"), 6).await;
        assert!(results.iter().any(|record| record.subject() == "ATL"));
    };
    tokio::select! { () = forwarding => {}, () = arriving => {} }
    Deployment::stop(worker).await;
}

fn host_of(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

/// Hands every connection on.
async fn forward(listener: TcpListener, to: &str) {
    let connections = Lifecycle::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        connections.spawn_request("forward", async move {
            // either side may hang up
            let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}
