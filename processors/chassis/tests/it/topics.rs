use chassis::kafka::Settings;
use chassis::kafka::topics::{self, Error};

use crate::kit::{DEADLINE, settings, spec, topic, unique};

#[tokio::test]
async fn another_partition_count_is_refused_naming_both() {
    let name = topic("fixed", 3).await;
    let missing = unique("beside");
    let error = topics::ensure(&settings(), &[spec(&missing, 1), spec(&name, 4)], 1).await.unwrap_err();
    assert!(error.to_string().contains(&format!("topic {name} has 3 partitions and the catalog says 4")), "{error}");
    let found = topics::describe(&settings(), DEADLINE).await.unwrap();
    assert!(found.partitions(&missing).is_err(), "nothing is made when something is wrong");
}

#[tokio::test]
async fn missing_topics_are_made_once_and_keep_their_settings() {
    let mut new = spec(&unique("made"), 2);
    new.config.push(("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()));
    let specs = [new];
    assert!(matches!(topics::check(&settings(), &specs).await, Err(Error::Missing(names)) if names == [specs[0].name.clone()]));
    assert_eq!(topics::ensure(&settings(), &specs, 1).await.unwrap(), [specs[0].name.clone()]);
    assert!(topics::ensure(&settings(), &specs, 1).await.unwrap().is_empty());
    topics::check(&settings(), &specs).await.unwrap();
}

#[tokio::test]
async fn a_topic_whose_settings_would_break_a_promise_is_refused_with_the_command_that_mends_it() {
    let mut made = spec(&unique("promise"), 1);
    made.config.push(("message.timestamp.type".to_owned(), "CreateTime".to_owned()));
    made.config.push(("retention.ms".to_owned(), "86400000".to_owned()));
    topics::ensure(&settings(), std::slice::from_ref(&made), 1).await.unwrap();
    let mut wanted = made.clone();
    wanted.config[0].1 = "LogAppendTime".to_owned();
    let (name, wanted) = (made.name.clone(), [wanted]);
    for error in [
        topics::check(&settings(), &wanted).await.unwrap_err(),
        topics::ensure(&settings(), &wanted, 1).await.map(|_| ()).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains(&format!("topic {name} has message.timestamp.type=CreateTime")), "{error}");
        assert!(error.contains("--add-config message.timestamp.type=LogAppendTime"), "{error}");
    }
    // how long records are kept is the operator's business
    let mut shorter = made;
    shorter.config[1].1 = "3600000".to_owned();
    topics::check(&settings(), &[shorter]).await.unwrap();
}

#[tokio::test]
async fn a_setting_the_broker_refuses_is_told_with_its_topic() {
    let mut bad = spec(&unique("bad"), 1);
    bad.config.push(("cleanup.policy".to_owned(), "burn".to_owned()));
    let error = topics::ensure(&settings(), std::slice::from_ref(&bad), 1).await.unwrap_err();
    assert!(matches!(&error, Error::Create { name, .. } if *name == bad.name), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_with_what_to_do() {
    let nowhere = Settings::new("127.0.0.1:1", "test");
    let error = topics::wait_ready(&nowhere, std::time::Duration::from_secs(1)).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("FOREBAY__KAFKA__BOOTSTRAP"), "{error}");
}

#[tokio::test]
async fn a_broker_that_answers_is_ready() {
    topics::wait_ready(&settings(), DEADLINE).await.unwrap();
}

#[tokio::test]
async fn topics_have_ids_and_those_that_do_not_exist_have_none() {
    let (first, second) = (topic("id", 1).await, topic("id", 1).await);
    let ids = topics::ids(&settings(), &[first.clone(), unique("nothing"), second.clone()], DEADLINE).await.unwrap();
    assert_eq!(ids.len(), 2);
    assert!(ids[&first] != ids[&second] && ids[&first] != [0; 16]);
    assert_eq!(topics::ids(&settings(), std::slice::from_ref(&first), DEADLINE).await.unwrap()[&first], ids[&first]);
    let nowhere = Settings::new("127.0.0.1:1", "test");
    assert!(topics::ids(&nowhere, &[first], std::time::Duration::from_secs(1)).await.is_err());
}
