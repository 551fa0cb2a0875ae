//! Several workers of one process share the shards of a stream.

use testkit::checkers;

use crate::deployment::Deployment;

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_of_one_process_share_the_shards_and_give_some_up_to_a_third() {
    let deployment = Deployment::new("several").await;
    let airports = ["ATL", "DTW", "LAS", "SFO", "JFK", "SEA", "BOS", "MIA", "ORD", "PHX"];
    let depart = async |round: &str| {
        for n in 0..60 {
            deployment.depart(airports[n % airports.len()], 5, &format!("{round}-{n}")).await;
        }
    };
    let pair = deployment.start_as("pair", |options| options.workers = 2).await;
    Deployment::says(&pair, "pair-0: 8 shards run, 0 are halted; pair-1: 8 shards run").await;
    depart("two").await;
    let third = deployment.start("third").await;
    Deployment::says(&third, "5 shards run").await;
    depart("three").await;
    Deployment::stop(third).await;
    Deployment::says(&pair, "pair-0: 8 shards run, 0 are halted; pair-1: 8 shards run").await;
    depart("two again").await;
    let results = deployment.await_records(&deployment.topics.results("flights"), 180).await;
    checkers::results(&results).exactly_once(180, 1);
    Deployment::stop(pair).await;
}
