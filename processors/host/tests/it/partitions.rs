//! Topics that were made with another number of partitions than the catalog says.

use std::time::Duration;

use crate::deployment::Deployment;

/// How long a process may take to refuse.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn results_with_another_number_of_partitions_are_refused_before_anything_follows_them() {
    let engines = testkit::engines().await;
    let deployment = Deployment::new(engines, "partitions").await;
    // who follows the stream would read other subjects in its shard's partition
    let results = deployment.topics.results("flights");
    deployment.kafka.create(&results, 3).await;
    let sentence = format!("topic {results} has 3 partitions and the catalog says 16: the number is fixed for life");
    for create in [true, false] {
        let mut process = deployment.spawn_with(0, &["--set", &format!("topics.create={create}")]);
        let status = process.wait(PATIENCE).await;
        let said = process.lines().join("\n");
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(&sentence), "{said}");
    }
}
