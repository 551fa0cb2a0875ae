//! `forebay dead-letters`: events that could not be processed, and making events of them again.

mod print;
mod time;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use chassis::kafka::Settings;
use chassis::kafka::produce::{self, Acks, Outcome, Producer};
use chassis::lifecycle::Lifecycle;
use clap::{Args, Subcommand};
use local_engines::{Engines, Want};
use runtime::dead_letter::desk::{Desk, Filter, Letter, Redriven};
use schemas::catalog::Catalog;
use schemas::registry::Registry;

use crate::config::Config;
use crate::engines;

const EXAMPLES: &str = "Examples:
  forebay dead-letters list --stream orders --reason panic --since 2h
  forebay dead-letters show --stream orders 3/17
  forebay dead-letters redrive --stream orders --reason panic           says what it would do
  forebay dead-letters redrive --stream orders --reason panic --yes     does it
  forebay dead-letters redrive --stream orders 3/17 --yes               one letter

A re-driven event takes effect once, however often it is re-driven. Letters stay in the topic until retention removes them.";

/// Letters and what to do with them.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Lists letters: where, why, which event.
    List {
        #[command(flatten)]
        which: Which,
        /// Letters listed at the most.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        limit: usize,
    },
    /// Shows letters whole: headers, bytes in hex, and as JSON where their schema is known.
    Show {
        #[command(flatten)]
        which: Which,
        /// Letters shown at the most.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Sends the events of letters again, each at most once.
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Do it; without it only what would be done is said.
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters.
#[derive(Args, Clone, Debug)]
struct Which {
    /// The stream.
    #[arg(long, value_name = "STREAM")]
    stream: String,
    /// Only these, named `<partition>/<offset>` or `<stream>.dead/<partition>/<offset>`.
    #[arg(value_name = "LETTER")]
    letters: Vec<String>,
    /// Only with this reason, e.g. undecodable, terminal, panic.
    #[arg(long)]
    reason: Option<String>,
    /// Only written since then: RFC 3339, or an age such as 90s, 30m, 2h, 7d.
    #[arg(long, value_parser = time::millis)]
    since: Option<i64>,
    /// Only written before then, likewise.
    #[arg(long, value_parser = time::millis)]
    until: Option<i64>,
    /// Only of this event type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only of this subject; with * at its end, of all that begin so.
    #[arg(long)]
    subject: Option<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            reason: self.reason.clone(),
            since_ms: self.since,
            until_ms: self.until,
            event_type: self.event_type.clone(),
            subject: self.subject.clone(),
        }
    }

    /// The named letters as partition and offset.
    fn places(&self) -> Result<Vec<(i32, i64)>> {
        let place = |text: &String| {
            let mut parts = text.rsplit('/');
            let offset = parts.next()?.parse().ok()?;
            Some((parts.next()?.parse().ok()?, offset))
        };
        let wrong = |text: &String| anyhow!("{text:?} names no letter: write <partition>/<offset>, as `list` does");
        self.letters.iter().map(|text| place(text).ok_or_else(|| wrong(text))).collect()
    }
}

/// Lists, shows or re-drives.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> Result<ExitCode> {
    let (which, registry) = match &arguments.action {
        Action::Show { which, .. } => (which, true),
        Action::List { which, .. } | Action::Redrive { which, .. } => (which, false),
    };
    let engines = engines::some(config, Want { kafka: true, registry, cql: false }).await?;
    let task = Task::open(config, &engines, which.clone())?;
    let code = match &arguments.action {
        Action::List { limit, .. } => task.list(*limit).await,
        Action::Show { limit, .. } => {
            let schemas = Some(config.data_dir.join("schemas")).filter(|folder| folder.is_dir());
            task.show(*limit, &Registry::new(&engines.registry, schemas)?).await
        }
        Action::Redrive { yes, .. } => task.redrive(*yes).await,
    };
    engines.stop().await;
    code
}

/// One command under way.
struct Task {
    desk: Arc<Desk>,
    kafka: Settings,
    which: Which,
}

impl Task {
    fn open(config: &Config, engines: &Engines, which: Which) -> Result<Self> {
        let catalog = Catalog::embedded()?;
        let stream = catalog.stream(&which.stream).with_context(|| format!("no stream {} in the catalog", which.stream))?;
        let kafka = Settings::new(&engines.kafka, "forebay-dead-letters");
        let desk = Arc::new(Desk::open(&kafka, &config.kafka.topic_prefix, stream)?);
        Ok(Self { desk, kafka, which })
    }

    /// Hands every wanted letter to `take`, page by page, until it says that it has enough.
    async fn pages(&self, mut take: impl AsyncFnMut(Vec<Letter>) -> Result<bool>) -> Result<()> {
        let places = self.which.places()?;
        for (partition, offset) in &places {
            let (desk, partition, offset) = (self.desk.clone(), *partition, *offset);
            let letter = tokio::task::spawn_blocking(move || desk.letter(partition, offset)).await??;
            let letter = letter.with_context(|| format!("there is no letter {partition}/{offset}"))?;
            if !take(vec![letter]).await? {
                return Ok(());
            }
        }
        for partition in (0..self.desk.partitions()).filter(|_| places.is_empty()) {
            let mut next = Some(0);
            while let Some(from) = next {
                let (desk, filter) = (self.desk.clone(), self.which.filter());
                let page = tokio::task::spawn_blocking(move || desk.page(partition, from, &filter)).await??;
                next = page.next;
                if !page.letters.is_empty() && !take(page.letters).await? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn list(&self, limit: usize) -> Result<ExitCode> {
        let mut count = 0;
        self.pages(async |letters| {
            for letter in letters.iter().take(limit - count) {
                println!("{}", print::line(letter, &self.which.stream, self.which.json)?);
                count += 1;
            }
            Ok(count < limit)
        })
        .await?;
        match count {
            0 => eprintln!("no dead letters"),
            count if count == limit => eprintln!("{count} dead letters; there may be more: --limit"),
            count => eprintln!("{count} dead letters"),
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, limit: usize, registry: &Registry) -> Result<ExitCode> {
        let mut count = 0;
        self.pages(async |letters| {
            for letter in letters.iter().take(limit - count) {
                let json = print::decoded(letter, registry).await;
                println!("{}", print::whole(letter, &self.which.stream, json, self.which.json)?);
                count += 1;
            }
            Ok(count < limit)
        })
        .await?;
        Ok(ExitCode::SUCCESS)
    }

    /// Sends page after page; ends at the first event that was not acknowledged.
    async fn redrive(&self, yes: bool) -> Result<ExitCode> {
        let lifecycle = Lifecycle::new();
        let options = produce::Options { record_bytes: chassis::kafka::DEAD_LETTER_BYTES_MAX, ..produce::Options::default() };
        let producer = Producer::start(&self.kafka, &options, &lifecycle)?;
        let mut sent_before: HashMap<i32, HashSet<String>> = HashMap::new();
        let (mut sent, mut left) = (0, 0);
        self.pages(async |letters| {
            let mut events = Vec::new();
            for letter in &letters {
                match self.prepare(letter, &mut sent_before).await? {
                    Ok(event) => events.push((letter.position(&self.which.stream), event)),
                    Err(why) => {
                        left += 1;
                        println!("left    {}  {why}", letter.position(&self.which.stream));
                    }
                }
            }
            if yes {
                self.send(&producer, &events).await?;
            }
            for (position, event) in &events {
                let subject = String::from_utf8_lossy(&event.key);
                println!(
                    "{}  {position}  to {}/{} subject {subject:?}",
                    if yes { "sent  " } else { "would send" },
                    self.desk.events(),
                    event.partition
                );
            }
            sent += events.len();
            Ok(true)
        })
        .await?;
        lifecycle.request_stop("all letters are sent");
        if yes {
            println!("{sent} events sent again, {left} letters left");
        } else {
            println!("{sent} events would be sent again, {left} letters left; nothing was sent: say --yes");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The event of a letter, or why it stays.
    async fn prepare(&self, letter: &Letter, before: &mut HashMap<i32, HashSet<String>>) -> Result<Result<Redriven, String>> {
        let event = match letter.redrive(&self.which.stream, self.desk.partitions()) {
            Ok(event) => event,
            Err(unfit) => return Ok(Err(unfit.to_string())),
        };
        let (partition, since) = (event.partition, self.which.since.unwrap_or(0));
        let known = match before.entry(partition) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let desk = self.desk.clone();
                place.insert(tokio::task::spawn_blocking(move || desk.redriven(partition, since)).await??)
            }
        };
        let position = letter.position(&self.which.stream);
        let again = !known.insert(position);
        Ok(if again { Err("was sent again before".to_owned()) } else { Ok(event) })
    }

    async fn send(&self, producer: &Producer, events: &[(String, Redriven)]) -> Result<()> {
        let topic = self.desk.events();
        let acks = Acks::new(events.len());
        for (index, (_, event)) in events.iter().enumerate() {
            let headers: Vec<(&str, &[u8])> = event.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
            let record = produce::Record {
                topic: &topic,
                partition: event.partition,
                key: &event.key,
                value: &event.value,
                headers: &headers,
            };
            producer.send(record, &acks, index);
        }
        acks.wait().await;
        for (index, (position, _)) in events.iter().enumerate() {
            match acks.outcome(index) {
                Outcome::Acked { .. } => {}
                Outcome::NotPersisted(cause) => bail!("{position} was not sent: {cause}; run the command again"),
                Outcome::PossiblyPersisted(cause) => {
                    bail!("{position} may have been sent: {cause}; run the command again, it sends each event once")
                }
                Outcome::TooLarge => bail!("{position} is larger than the topic allows"),
                Outcome::Pending => bail!("{position} has no acknowledgement; run the command again"),
            }
        }
        Ok(())
    }
}
