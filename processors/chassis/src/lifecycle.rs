//! The life of a process: named tasks and threads, readiness, and one orderly stop. Every process owns one [`Lifecycle`]; nothing runs
//! outside it, so nothing can die unseen.
//!
//! The stop has two steps. First the *edge*: listeners and the work of single requests. When all of it has ended, the *core*: what the edge
//! leans on, such as producers, feeds and engines. A handle belongs to one of the two; [`Lifecycle::core`] gives a handle of the second.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::watch;

use crate::metrics::{TASK_PANICS, TASKS};

use ended::signal;
use stop::{Phase, Step};

pub use ended::Ended;
pub use stop::Stop;

mod ended;
mod stop;

/// How long a process keeps serving after readiness went red, unless set otherwise: load balancers need it to look elsewhere.
const DRAIN_LEAD: Duration = Duration::ZERO;

/// What a task may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a thread could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the thread {name} cannot be started: {source}; raise the limit of threads")]
pub struct Error {
    name: &'static str,
    source: std::io::Error,
}

/// One part of the process as `/health/ready` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Component {
    /// The name it was registered with.
    pub name: &'static str,
    /// Whether it can do its work.
    pub ready: bool,
    /// One phrase for people.
    pub detail: String,
}

#[derive(Default)]
struct Inner {
    /// Running tasks by name, edge and core apart.
    edge: BTreeMap<&'static str, usize>,
    core: BTreeMap<&'static str, usize>,
    components: BTreeMap<&'static str, (bool, String)>,
    /// The first reason wins: later failures are mostly its consequences.
    reason: Option<(String, bool)>,
    drain_lead: Option<Duration>,
}

struct Shared {
    inner: Mutex<Inner>,
    phase: watch::Sender<Phase>,
    /// Changed whenever a task ends or a reason appears.
    changed: watch::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // no code below panics while it holds the lock, so a poisoned one is still whole
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle to the life of the process; cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    shared: Arc<Shared>,
    step: Step,
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").field("step", &self.step).finish_non_exhaustive()
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A process that runs and has no tasks yet. The handle belongs to the edge.
    pub fn new() -> Self {
        let shared =
            Shared { inner: Mutex::default(), phase: watch::Sender::new(Phase::Running), changed: watch::Sender::new(()) };
        Self { shared: Arc::new(shared), step: Step::Edge }
    }

    /// A handle whose tasks stop only after all tasks of the edge have ended.
    #[must_use]
    pub fn core(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), step: Step::Core }
    }

    /// How long to keep serving, not ready, between the signal and the stop. Failures do not wait.
    pub fn set_drain_lead(&self, lead: Duration) {
        self.shared.lock().drain_lead = Some(lead);
    }

    /// Runs a task that may end when its work is done. A panic or an error stops the process in order.
    pub fn spawn<F, E>(&self, name: &'static str, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send,
    {
        self.start(name, future, |lifecycle, name, result| match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => lifecycle.fail(name, &describe(error.into().as_ref())),
            Err(panic) => lifecycle.fail(name, &format!("it panicked: {}", panic_text(panic.as_ref()))),
        });
    }

    /// As [`Lifecycle::spawn`], for a task that must run until the stop is requested: an early end is a failure too.
    pub fn spawn_critical<F, E>(&self, name: &'static str, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send,
    {
        let (stop, lifecycle) = (self.stop(), self.clone());
        self.spawn(name, async move {
            let result = future.await;
            if result.is_ok() && !stop.requested() {
                lifecycle.fail(name, "it ended too early");
            }
            result
        });
    }

    /// Runs the work of one request or connection: its panic is logged and counted, but harms nobody else.
    pub fn spawn_request<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(name, future, |_, name, result| {
            if let Err(panic) = result {
                metrics::counter!(TASK_PANICS, "task" => name).increment(1);
                tracing::error!(task = name, panic = panic_text(panic.as_ref()), "a request's task panicked");
            }
        });
    }

    /// Runs `work` on an OS thread of that name. It must look at its [`Stop`]; a panic or an error stops the process in order.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn thread<W, E>(&self, name: &'static str, work: W) -> Result<(), Error>
    where
        W: FnOnce(Stop) -> Result<(), E> + Send + 'static,
        E: Into<BoxError>,
    {
        let running = Running::new(self, name);
        let stop = self.stop();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            match std::panic::catch_unwind(AssertUnwindSafe(|| work(stop))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => running.lifecycle.fail(name, &describe(error.into().as_ref())),
                Err(panic) => running.lifecycle.fail(name, &format!("it panicked: {}", panic_text(panic.as_ref()))),
            }
        });
        thread.map(drop).map_err(|source| Error { name, source })
    }

    /// The token this handle's tasks watch.
    pub fn stop(&self) -> Stop {
        Stop { phase: self.shared.phase.subscribe(), step: self.step }
    }

    /// Asks for an orderly stop. The first reason is the one that is told.
    pub fn request_stop(&self, reason: impl Into<String>) {
        self.set_reason(reason.into(), false);
    }

    /// Says whether a part can do its work; the process is ready when all its parts are.
    pub fn set_ready(&self, component: &'static str, ready: bool, detail: impl Into<String>) {
        self.shared.lock().components.insert(component, (ready, detail.into()));
    }

    /// Every part said it is ready, at least one did, and no stop is under way.
    pub fn is_ready(&self) -> bool {
        let inner = self.shared.lock();
        *self.shared.phase.borrow() == Phase::Running
            && inner.reason.is_none()
            && !inner.components.is_empty()
            && inner.components.values().all(|(ready, _)| *ready)
    }

    /// The process is on its way out: new work should be refused as `shutting-down`.
    pub fn is_draining(&self) -> bool {
        *self.shared.phase.borrow() > Phase::Running || self.shared.lock().reason.is_some()
    }

    /// All parts, by name.
    pub fn components(&self) -> Vec<Component> {
        let inner = self.shared.lock();
        inner.components.iter().map(|(name, (ready, detail))| Component { name, ready: *ready, detail: detail.clone() }).collect()
    }

    /// Waits for SIGINT, SIGTERM, [`Lifecycle::request_stop`] or a failed task, then stops edge and core within `budget` together.
    /// A second signal ends the waiting at once.
    pub async fn run_until_signal(self, budget: Duration) -> Ended {
        tokio::select! {
            () = self.reason_given() => {}
            name = signal() => self.request_stop(format!("asked by {name}")),
        }
        let begun = Instant::now();
        let again = async {
            signal().await;
            tracing::warn!("asked again: not waiting any longer");
        };
        tokio::select! {
            () = self.stop_in_order(budget) => {}
            () = again => {}
        }
        self.shared.phase.send_replace(Phase::CoreStops);
        let inner = self.shared.lock();
        let (reason, failed) = inner.reason.clone().unwrap_or_default();
        let left = inner.edge.iter().chain(&inner.core).map(|(name, count)| (*name, *count)).collect();
        Ended { reason, failed, left, took: begun.elapsed() }
    }

    async fn stop_in_order(&self, budget: Duration) {
        let (lead, failed) = {
            let inner = self.shared.lock();
            (inner.drain_lead.unwrap_or(DRAIN_LEAD), inner.reason.as_ref().is_some_and(|(_, failed)| *failed))
        };
        self.shared.phase.send_replace(Phase::Draining);
        if !failed {
            tokio::time::sleep(lead).await;
        }
        let begun = Instant::now();
        self.shared.phase.send_replace(Phase::EdgeStops);
        // the core keeps a quarter of the budget, whatever the edge does
        let edge = tokio::time::timeout(budget * 3 / 4, self.gone(Step::Edge)).await;
        if edge.is_err() {
            tracing::warn!("the edge did not end in time; stopping the core under it");
        }
        self.shared.phase.send_replace(Phase::CoreStops);
        let rest = budget.saturating_sub(begun.elapsed());
        let both = async {
            self.gone(Step::Edge).await;
            self.gone(Step::Core).await;
        };
        // who is left is told by `Ended`
        let _ = tokio::time::timeout(rest, both).await;
    }

    async fn gone(&self, step: Step) {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.tasks(&self.shared.lock(), step) == 0 {
                return;
            }
            // the sender lives in `self`
            let _ = changed.changed().await;
        }
    }

    fn tasks(&self, inner: &Inner, step: Step) -> usize {
        match step {
            Step::Edge => inner.edge.values().sum(),
            Step::Core => inner.core.values().sum(),
        }
    }

    async fn reason_given(&self) {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if self.shared.lock().reason.is_some() {
                return;
            }
            let _ = changed.changed().await;
        }
    }

    fn start<F, D>(&self, name: &'static str, future: F, done: D)
    where
        F: Future + Send + 'static,
        D: FnOnce(&Self, &'static str, std::thread::Result<F::Output>) + Send + 'static,
    {
        let running = Running::new(self, name);
        #[expect(clippy::disallowed_methods, reason = "the one place where tasks are born")]
        tokio::spawn(async move {
            let result = AssertUnwindSafe(future).catch_unwind().await;
            done(&running.lifecycle, name, result);
        });
    }

    fn fail(&self, name: &'static str, text: &str) {
        tracing::error!(task = name, error = text, "a task failed; stopping the process");
        self.set_reason(format!("{name} failed: {text}"), true);
    }

    fn set_reason(&self, reason: String, failed: bool) {
        let mut inner = self.shared.lock();
        match &mut inner.reason {
            None => inner.reason = Some((reason, failed)),
            Some((_, was_failed)) => *was_failed |= failed,
        }
        drop(inner);
        self.shared.changed.send_replace(());
    }
}

/// A task in the books for as long as this value lives.
struct Running {
    lifecycle: Lifecycle,
    name: &'static str,
}

impl Running {
    fn new(lifecycle: &Lifecycle, name: &'static str) -> Self {
        let running = Self { lifecycle: lifecycle.clone(), name };
        running.count(|count| count + 1);
        running
    }

    fn count(&self, change: impl Fn(usize) -> usize) {
        let mut inner = self.lifecycle.shared.lock();
        let books = match self.lifecycle.step {
            Step::Edge => &mut inner.edge,
            Step::Core => &mut inner.core,
        };
        let count = change(books.get(self.name).copied().unwrap_or_default());
        if count == 0 {
            books.remove(self.name);
        } else {
            books.insert(self.name, count);
        }
        drop(inner);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!(TASKS, "task" => self.name).set(count as f64);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count(|count| count.saturating_sub(1));
        self.lifecycle.shared.changed.send_replace(());
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
