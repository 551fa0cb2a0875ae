use super::*;

#[derive(Debug, thiserror::Error)]
#[error("broken")]
struct Broken;

const BUDGET: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_panicking_task_stops_the_process() {
    let lifecycle = Lifecycle::new();
    let (stop, core_stop) = (lifecycle.stop(), lifecycle.core().stop());
    let (seen, order) = std::sync::mpsc::channel();
    let edge_seen = seen.clone();
    lifecycle.spawn("edge", async move {
        stop.wait().await;
        edge_seen.send("edge").map_err(|_| Broken)
    });
    lifecycle.core().spawn("core", async move {
        core_stop.wait().await;
        seen.send("core").map_err(|_| Broken)
    });
    lifecycle.spawn("bad", async {
        if std::hint::black_box(true) {
            panic!("no luck");
        }
        Ok::<(), Broken>(())
    });
    let ended = lifecycle.run_until_signal(BUDGET).await;
    assert_eq!(ended.reason, "bad failed: it panicked: no luck");
    assert!(ended.failed && ended.left.is_empty(), "{ended}");
    assert_eq!(order.iter().collect::<Vec<_>>(), ["edge", "core"]);
}

#[tokio::test]
async fn an_error_of_a_thread_stops_the_process() {
    let lifecycle = Lifecycle::new();
    lifecycle.thread("worker", |_| Err(Broken)).unwrap();
    let ended = lifecycle.run_until_signal(BUDGET).await;
    assert_eq!(ended.reason, "worker failed: broken");
}

#[tokio::test]
async fn a_critical_task_may_not_end_early() {
    let lifecycle = Lifecycle::new();
    lifecycle.spawn_critical("loop", async { Ok::<(), Broken>(()) });
    let ended = lifecycle.run_until_signal(BUDGET).await;
    assert_eq!(ended.reason, "loop failed: it ended too early");
}

#[tokio::test]
async fn a_panic_of_one_request_harms_nobody_else() {
    let lifecycle = Lifecycle::new();
    let after = lifecycle.clone();
    lifecycle.spawn_request("request", async { panic!("one of many") });
    lifecycle.spawn("asker", async move {
        after.request_stop("enough");
        Ok::<(), Broken>(())
    });
    let ended = lifecycle.run_until_signal(BUDGET).await;
    assert_eq!((ended.reason.as_str(), ended.failed), ("enough", false));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_end_in_time_is_named() {
    let lifecycle = Lifecycle::new();
    lifecycle.spawn("stubborn", std::future::pending::<Result<(), Broken>>());
    lifecycle.request_stop("test");
    let ended = lifecycle.run_until_signal(BUDGET).await;
    assert_eq!(ended.left, [("stubborn", 1)]);
    assert!(ended.to_string().contains("cut off: stubborn"), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_serves_on_for_its_lead_and_is_not_ready() {
    let lifecycle = Lifecycle::new();
    lifecycle.set_drain_lead(Duration::from_secs(5));
    lifecycle.set_ready("all", true, "");
    assert!(lifecycle.is_ready());
    let (watcher, stop) = (lifecycle.clone(), lifecycle.stop());
    let begun = tokio::time::Instant::now();
    let (told, heard) = tokio::sync::oneshot::channel();
    lifecycle.spawn_request("watcher", async move {
        stop.wait().await;
        let _ = told.send((begun.elapsed(), watcher.is_ready(), watcher.is_draining()));
    });
    lifecycle.request_stop("test");
    lifecycle.run_until_signal(BUDGET).await;
    let (after, ready, draining) = heard.await.unwrap();
    assert!(after >= Duration::from_secs(5) && !ready && draining);
}

#[test]
fn a_process_is_ready_when_all_its_parts_are() {
    let lifecycle = Lifecycle::new();
    assert!(!lifecycle.is_ready());
    lifecycle.set_ready("a", true, "");
    lifecycle.set_ready("b", false, "warming up");
    assert!(!lifecycle.is_ready());
    lifecycle.set_ready("b", true, "");
    assert!(lifecycle.is_ready());
    let names: Vec<_> = lifecycle.components().iter().map(|component| component.name).collect();
    assert_eq!(names, ["a", "b"]);
}
