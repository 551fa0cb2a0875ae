//! `forebay up`: engines, rooms, listener, sample; then until Ctrl-C.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use chassis::lifecycle::Lifecycle;
use chassis::{admin, listener};

use crate::config::Config;
use crate::rooms::Rooms;
use crate::{banner, engines, feed};

/// What is still running when the process stops gets this long.
const STOP_BUDGET: Duration = Duration::from_secs(20);

/// The banner waits this long for the parts to be ready.
const READY: Duration = Duration::from_secs(30);
/// Between two looks.
const READY_POLL: Duration = Duration::from_millis(50);

/// Engines, rooms, listener, sample; then until Ctrl-C.
pub(crate) async fn run(config: &Config) -> Result<ExitCode> {
    let lifecycle = Lifecycle::new();
    // parts say that they are ready one by one: the first may do so before the last is there
    lifecycle.set_ready("start", false, "parts are being started");
    let public = listener::bind(&listener::Options::new("public", config.http.addr, "--http")).await?;
    let admin = admin::serve(config.admin.addr, "--admin", &lifecycle).await?;
    eprintln!("forebay: starting the engines");
    let engines = engines::start(config).await?;
    eprintln!("forebay: starting the rooms");
    let rooms = Rooms::build(config, &engines, &lifecycle).await?;
    let address = public.local_addr();
    public.serve(rooms.router.clone(), &lifecycle);
    rooms.warm_up().await?;
    lifecycle.set_ready("start", true, "all parts are started");
    ready(&lifecycle).await;
    banner::print(address, admin, config.sample.events_per_second);
    feed::start(address, config.sample.events_per_second, &lifecycle);
    let ended = lifecycle.run_until_signal(STOP_BUDGET).await;
    eprintln!("forebay: {ended}; stopping the engines");
    engines.stop().await;
    Ok(ended.exit_code())
}

/// Waits until every part can do its work; what takes long is shown by `/health/ready`.
async fn ready(lifecycle: &Lifecycle) {
    let all = async {
        while !lifecycle.is_ready() && !lifecycle.is_draining() {
            tokio::time::sleep(READY_POLL).await;
        }
    };
    if tokio::time::timeout(READY, all).await.is_err() {
        eprintln!("forebay: not all parts are ready yet; /health/ready on the admin port says which");
    }
}
