//! The processor of the shows, in a process of its own: this test binary, started again for one test.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use runtime::effects::{self, Effects, Policy};
use runtime::engine::settings::Limits;
use runtime::http::Request;
use runtime::{Context, Decision, Options, Outcome, Parts, Processor, Reads, Rejection, Rows, Timer, logic};
use schemas::catalog::Catalog;
use schemas::flights::{Airport, FlightDeparted, FlightRecorded, Input, ResultEvent, Row, SendEvent};
use schemas::names::Topics;
use schemas::registry::Registry;
use testkit::Process;

use crate::deployment::{Deployment, PATIENCE};

/// What an event of the shows asks for: `delay_minutes` of a departure.
#[derive(Clone, Copy)]
pub(super) enum Ask {
    /// Set `distance_miles` timers, the first at `departed_at` (ms), the others as many ms apart as `destination` says.
    Timers = 1,
    /// Set the timer `destination` at `departed_at`, in the place of one that is set.
    Set,
    /// Clear the timer `destination`.
    Clear,
    /// Start an effect.
    Effect,
    /// Set a timer that counts like an effect's outcome.
    Alarm,
    /// Wait until as many outcomes and alarms have come as `distance_miles` says.
    Wait,
}

/// What results tell: `destination` of a record.
pub(super) const FIRED: &str = "fired";
pub(super) const CLEARED: &str = "cleared";
pub(super) const REPLACED: &str = "replaced";
pub(super) const COUNTED: &str = "counted";
pub(super) const PASSED: &str = "passed";

struct Machine {
    target: String,
}

fn told(ctx: &Context, what: &str, id: i64, due: i64, count: i64) -> ResultEvent {
    ResultEvent::FlightRecorded(FlightRecorded {
        origin: ctx.subject.to_string(),
        destination: what.to_owned(),
        delay_minutes: count as i32,
        flights: id,
        delay_minutes_sum: due,
    })
}

fn airport(flights: i64) -> Row {
    let none = Airport {
        flights: 0,
        delay_minutes_sum: 0,
        delay_minutes_max: 0,
        delayed_15: 0,
        distance_miles_sum: 0,
        last_departed_at: 0,
    };
    Row::Airport(Airport { flights, ..none })
}

fn number(rows: &Rows<Row>, sort: &str) -> Option<i64> {
    rows.get(sort).map(|row| if let Row::Airport(airport) = row { airport.flights } else { 0 })
}

impl Machine {
    /// An outcome or an alarm has come.
    fn count(rows: &Rows<Row>, ctx: &Context, id: i64, attempts: i32) -> Decision<Self> {
        let count = number(rows, "").unwrap_or(0) + 1;
        Decision::new().put("", airport(count)).emit(told(ctx, COUNTED, id, i64::from(attempts), count))
    }
}

impl Processor for Machine {
    const NAME: &'static str = "flights";
    type Input = Input;
    type Row = Row;
    type ResultEvent = ResultEvent;
    type SendEvent = SendEvent;

    fn reads(&self, input: &Input) -> Reads {
        let Input::FlightDeparted(asked) = input;
        match asked.delay_minutes {
            asks if asks == Ask::Timers as i32 => Reads::none(),
            asks if asks == Ask::Wait as i32 => Reads::root(),
            _ => Reads::none().row(&asked.destination),
        }
    }

    fn decide(&self, input: Input, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let Input::FlightDeparted(FlightDeparted { departed_at, delay_minutes: asks, distance_miles, destination, .. }) = input;
        let (due, id) = (departed_at * 1_000, i64::from(distance_miles));
        let payload = id.to_be_bytes().to_vec();
        if asks == Ask::Timers as i32 {
            let (step, first) = destination.split_once('/').unwrap();
            let (step, first) = (step.parse::<i64>().unwrap() * 1_000, first.parse::<i64>().unwrap());
            let set = |decision: Decision<Self>, n: i64| {
                decision.set_timer(&format!("n{n}"), due + n * step, (first + n).to_be_bytes().to_vec())
            };
            return Ok((0..id).fold(Decision::new(), set));
        }
        if asks == Ask::Set as i32 || asks == Ask::Clear as i32 {
            let before = number(rows, &destination);
            let what = if asks == Ask::Set as i32 { REPLACED } else { CLEARED };
            let decision = before.map_or(Decision::new(), |before| Decision::new().emit(told(ctx, what, before, 0, 0)));
            return Ok(match asks == Ask::Set as i32 {
                true => decision.put(&destination, airport(id)).set_timer(&destination, due, payload),
                false => decision.delete(&destination).clear_timer(&destination),
            });
        }
        if asks == Ask::Effect as i32 {
            return Ok(Decision::new().effect_for("ask", &ctx.subject, payload));
        }
        if asks == Ask::Alarm as i32 {
            return Ok(Decision::new().set_timer("alarm", ctx.now + 300_000, payload));
        }
        match number(rows, "").unwrap_or(0) {
            count if count < id => Err(Rejection::Retry(format!("{count} of {id}"))),
            count => Ok(Decision::new().emit(told(ctx, PASSED, id, 0, count))),
        }
    }

    fn timer_reads(&self, timer: &Timer) -> Reads {
        match &*timer.name {
            "alarm" => Reads::root(),
            name if name.starts_with('n') => Reads::none(),
            name => Reads::none().row(name),
        }
    }

    fn timer(&self, timer: Timer, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let id = i64::from_be_bytes(timer.payload[..].try_into().unwrap());
        if timer.name == "alarm" {
            return Ok(Self::count(rows, ctx, id, 0));
        }
        let decision = Decision::new().emit(told(ctx, FIRED, id, timer.due, 0));
        if timer.name.starts_with('n') {
            return Ok(decision);
        }
        assert_eq!(number(rows, &timer.name), Some(id), "the timer that was set last");
        Ok(decision.delete(&timer.name))
    }

    fn effects(&self) -> Effects {
        let target = self.target.clone();
        let run = move |call: effects::Call| {
            let target = target.clone();
            async move {
                let id = i64::from_be_bytes(call.argument[..].try_into().unwrap_or_default());
                let mut request = Request::post_json(&format!("{target}/{id}/{}", call.attempt), "{}");
                request.timeout = Duration::from_secs(1);
                call.send(request).await.map(|_| call.argument)
            }
        };
        // the catalog of the shows says how
        Effects::default().with("ask", Policy::default(), run)
    }

    fn outcome(&self, outcome: Outcome, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let brought = outcome.result.map_err(Rejection::Terminal)?;
        let id = i64::from_be_bytes(brought[..].try_into().unwrap());
        Ok(Self::count(rows, ctx, id, outcome.attempts))
    }
}

/// The catalog of the shows: flights that are tried again soon and often, and an effect.
pub(super) fn catalog() -> Arc<Catalog> {
    macro_rules! avro {
        ($($path:literal),*) => { [$(($path, include_str!(concat!("../../../../../schemas/avro/", $path)))),*] };
    }
    let flights = include_str!("../../../../../schemas/catalog/flights.toml");
    let retry = "title = \"A flight has left its airport\"\nretry = { base_ms = 100, cap_ms = 2000, attempts = 1000 }";
    let flights = flights.replace("title = \"A flight has left its airport\"", retry);
    let effect = "[[effect]]\nname = \"ask\"\ntarget = \"http\"\nconcurrency = 16\nper_key = 2\nlease_s = 7\n\
                  retry = { base_ms = 200, cap_ms = 5000, attempts = 1000 }\n";
    let avro = avro![
        "engine/log_claim.avsc",
        "engine/log_data.avsc",
        "engine/log_trailer.avsc",
        "flights/airport.avsc",
        "flights/airport_delayed.avsc",
        "flights/airport_recovered.avsc",
        "flights/flight_departed.avsc",
        "flights/flight_recorded.avsc",
        "flights/recent.avsc"
    ];
    Arc::new(Catalog::parse(&[("flights", &format!("{flights}\n{effect}"))], &avro).unwrap())
}

/// Where a show keeps its state.
#[derive(Clone)]
pub(super) enum Store {
    /// A folder, for one process.
    Folder(String),
    /// A keyspace of the CQL node.
    Keyspace(String),
}

impl Store {
    pub(super) async fn open(&self, node: &str) -> Arc<dyn state::StateStore> {
        let mut config = state::Config::default();
        match self {
            Self::Folder(path) => config.path = path.into(),
            Self::Keyspace(keyspace) => {
                config.kind = state::Kind::Cql;
                (config.cql.nodes, config.cql.keyspace) = (vec![node.to_owned()], keyspace.clone());
                config.cql.replication = 1;
            }
        }
        state::open(&config).await.unwrap()
    }
}

/// How many items an index has, as a metric.
const INDEX: &str = "forebay_runtime_agenda_index_entries";

/// Processes of a show.
pub(super) struct Fleet {
    processes: Vec<Process>,
    variables: Vec<(&'static str, String)>,
    pub(super) kills: usize,
    /// Most memory that any process ever used, KiB.
    pub(super) peak_kib: u64,
}

impl Fleet {
    /// Starts `count` processes of a deployment.
    pub(super) async fn start(deployment: &Deployment, store: &Store, target: &str, count: usize) -> Self {
        Self::start_with(deployment, store, target, count, Limits::default().agenda_index).await
    }

    /// The same with at most so many due items known ahead per shard.
    pub(super) async fn start_with(deployment: &Deployment, store: &Store, target: &str, count: usize, index: usize) -> Self {
        let engines = testkit::engines().await;
        let (folder, keyspace) = match store {
            Store::Folder(path) => (path.clone(), String::new()),
            Store::Keyspace(keyspace) => (String::new(), keyspace.clone()),
        };
        let variables = vec![
            ("FOREBAY_TEST_KAFKA", engines.kafka.clone()),
            ("FOREBAY_TEST_REGISTRY", engines.registry.clone()),
            ("FOREBAY_TEST_CQL", engines.cql.clone().unwrap_or_default()),
            ("FOREBAY_SHOW_PREFIX", deployment.prefix().to_owned()),
            ("FOREBAY_SHOW_FOLDER", folder),
            ("FOREBAY_SHOW_KEYSPACE", keyspace),
            ("FOREBAY_SHOW_TARGET", target.to_owned()),
            ("FOREBAY_SHOW_INDEX", index.to_string()),
        ];
        let mut fleet = Self { processes: Vec::new(), variables, kills: 0, peak_kib: 0 };
        for slot in 0..count {
            let process = fleet.spawn(slot);
            fleet.processes.push(process);
            // one after another: the first makes the tables
            fleet.processes[slot].line(PATIENCE, "shards run").await;
        }
        fleet
    }

    fn spawn(&self, slot: usize) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "shows::machine::a_process_of_a_show_runs_until_it_is_ended", "--nocapture"]);
        command.envs(self.variables.iter().cloned()).env("FOREBAY_SHOW_SLOT", format!("slot-{slot}"));
        Process::start(command)
    }

    /// SIGKILL for the next process in turn, and a new one in its slot.
    pub(super) fn kill(&mut self) {
        self.measure();
        let slot = self.kills % self.processes.len();
        self.processes[slot].kill();
        self.processes[slot] = self.spawn(slot);
        self.kills += 1;
    }

    /// Looks how much memory the processes have used.
    pub(super) fn measure(&mut self) {
        for process in &self.processes {
            let status = std::fs::read_to_string(Path::new("/proc").join(process.pid().to_string()).join("status"));
            let peak = status.unwrap_or_default().lines().find_map(|line| {
                let kib = line.strip_prefix("VmHWM:")?;
                kib.trim().strip_suffix(" kB")?.parse().ok()
            });
            self.peak_kib = self.peak_kib.max(peak.unwrap_or(0));
        }
    }

    /// Most items that an index was seen to have, of the lines that processes still show.
    pub(super) fn index_peak(&self) -> usize {
        let lines = self.processes.iter().flat_map(Process::lines).filter(|line| line.starts_with(INDEX));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).max().unwrap_or(0)
    }

    /// SIGTERM for all, in order.
    pub(super) async fn stop(&mut self) {
        self.measure();
        for process in &mut self.processes {
            process.terminate(PATIENCE).await;
        }
    }
}

/// Not a test of anything when nobody asks for it: the process that the shows start and kill.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_a_show_runs_until_it_is_ended() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let prefix = variable("FOREBAY_SHOW_PREFIX");
    if prefix.is_empty() {
        return;
    }
    let store = match variable("FOREBAY_SHOW_FOLDER") {
        folder if folder.is_empty() => Store::Keyspace(variable("FOREBAY_SHOW_KEYSPACE")),
        folder => Store::Folder(folder),
    };
    let catalog = catalog();
    let registry = Arc::new(Registry::new(&variable("FOREBAY_TEST_REGISTRY"), None).unwrap());
    let parts = Parts {
        logic: logic::of(Machine { target: variable("FOREBAY_SHOW_TARGET") }),
        ids: registry.resolve(&Topics::new(&prefix), &catalog, false).await.unwrap(),
        catalog,
        registry,
        store: store.open(&variable("FOREBAY_TEST_CQL")).await,
    };
    let mut kafka = chassis::kafka::Settings::new(variable("FOREBAY_TEST_KAFKA"), "show");
    kafka.client.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    kafka.client.insert("transaction.timeout.ms".to_owned(), "5000".to_owned());
    let lifecycle = chassis::lifecycle::Lifecycle::new();
    let mut options = Options::new(kafka, &prefix, &variable("FOREBAY_SHOW_SLOT"));
    options.limits.agenda_index = variable("FOREBAY_SHOW_INDEX").parse().unwrap();
    let metrics = chassis::telemetry::prometheus();
    runtime::start(options, parts, &lifecycle).await.unwrap();
    let said = lifecycle.clone();
    lifecycle.spawn_request("says", async move {
        loop {
            let detail: String = said.components().into_iter().map(|component| component.detail).collect();
            println!("{detail}");
            metrics.render().lines().filter(|line| line.starts_with(INDEX)).for_each(|line| println!("{line}"));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    lifecycle.run_until_signal(Duration::from_secs(15)).await;
}
