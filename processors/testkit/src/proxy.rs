//! A TCP proxy that breaks what goes through it: before Kafka by kind of request, before anything by connection.
//!
//! Brokers tell clients their own address; the proxy replaces it by its own in the answers that carry it, so that every
//! connection of a client comes through here.

mod kafka;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chassis::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Kinds of Kafka requests, by the protocol's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Api {
    /// Records to a partition.
    Produce = 0,
    /// A transactional id's new epoch.
    InitProducerId = 22,
    /// A partition joins a transaction.
    AddPartitionsToTxn = 24,
    /// Commit or abort.
    EndTxn = 26,
    /// The end of a transaction on its way from the coordinator to partitions. Seen by a proxy that brokers reach each
    /// other through.
    WriteTxnMarkers = 27,
    /// Positions inside a transaction.
    TxnOffsetCommit = 28,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The broker gets it this much later, and everything behind it on the connection.
    Delay(Duration),
    /// The connection breaks before the broker gets it.
    CutBefore,
    /// The broker gets it; the connection breaks before its answer comes back.
    CutAfter,
    /// The connection breaks, and the broker gets the request this much later all the same: the client has long sent
    /// it again, and a copy may meet the next transaction.
    LateCopy(Duration),
}

/// A running proxy; connections break when it is dropped.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the thing behind listens, and where we do.
    target: String,
    port: u16,
    is_kafka: bool,
    state: Mutex<State>,
    /// Rises whenever all connections are to break.
    cuts: watch::Sender<u64>,
    lifecycle: Lifecycle,
}

#[derive(Default)]
struct State {
    faults: VecDeque<(i16, Fault)>,
    fired: usize,
    /// Kinds of requests that are held back, and until when.
    held: HashMap<i16, Instant>,
    seen: HashMap<i16, usize>,
    unfenced: Vec<String>,
    gone: bool,
    slow: Duration,
    /// Of answers.
    late: Duration,
    /// Of so many requests one has its answer cut off; 0 = none.
    lose_every: usize,
    passed: usize,
    lost: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request; the fault that is planned for its kind, once.
    fn fault(&self, api: i16) -> Option<Fault> {
        let mut state = self.state();
        *state.seen.entry(api).or_default() += 1;
        let at = state.faults.iter().position(|(planned, _)| *planned == api)?;
        let (_, fault) = state.faults.remove(at)?;
        state.fired += 1;
        Some(fault)
    }

    /// Until when a request of this kind has to wait, if it has to; counted as a fault.
    fn held(&self, api: i16) -> Option<Instant> {
        let mut state = self.state();
        let until = state.held.get(&api).copied().filter(|until| *until > Instant::now())?;
        state.fired += 1;
        Some(until)
    }

    fn slow(&self) -> Duration {
        self.state().slow
    }

    /// Counts what clients sent; true when nobody is to hear the answer.
    fn loses_answer(&self) -> bool {
        let mut state = self.state();
        state.passed += 1;
        let loses = state.lose_every > 0 && state.passed.is_multiple_of(state.lose_every);
        state.lost += usize::from(loses);
        loses
    }
}

impl Proxy {
    /// A proxy before a Kafka broker (`host:port`).
    ///
    /// # Panics
    /// When no port is free.
    pub async fn kafka(broker: &str) -> Self {
        Self::start(broker, true).await
    }

    /// A proxy before anything else, e.g. a CQL node.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn plain(target: &str) -> Self {
        Self::start(target, false).await
    }

    async fn start(target: &str, is_kafka: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            port,
            is_kafka,
            state: Mutex::default(),
            cuts: watch::Sender::new(0),
            lifecycle: Lifecycle::new(),
        });
        let accepting = Arc::clone(&shared);
        shared.lifecycle.spawn_request("proxy", async move {
            let stop = accepting.lifecycle.stop();
            tokio::select! { () = stop.wait() => {}, () = accept(&listener, &accepting) => {} }
        });
        Self { address: format!("127.0.0.1:{port}"), shared }
    }

    /// Where clients connect, `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Plans a fault for the next request of this kind that has none.
    pub fn plan(&self, api: Api, fault: Fault) {
        self.shared.state().faults.push_back((api as i16, fault));
    }

    /// Holds back every request of this kind, and what is behind it on its connection, until this moment.
    pub fn hold(&self, api: Api, until: Instant) {
        self.shared.state().held.insert(api as i16, until);
    }

    /// How many planned faults have happened, and how many requests were held back.
    pub fn fired(&self) -> usize {
        self.shared.state().fired
    }

    /// How many requests of this kind came through.
    pub fn seen(&self, api: Api) -> usize {
        self.shared.state().seen.get(&(api as i16)).copied().unwrap_or(0)
    }

    /// Requests with positions of a transaction that named no generation or no member, in words: nothing fences such.
    pub fn unfenced(&self) -> Vec<String> {
        self.shared.state().unfenced.clone()
    }

    /// Breaks every connection; new ones are served.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Breaks every connection and refuses new ones, until [`Proxy::come_back`].
    pub fn go_away(&self) {
        self.shared.state().gone = true;
        self.cut();
    }

    /// Serves connections again.
    pub fn come_back(&self) {
        self.shared.state().gone = false;
    }

    /// Holds back everything that clients send by this much.
    pub fn slow_down(&self, by: Duration) {
        self.shared.state().slow = by;
    }

    /// Holds back every answer by this much. Not before Kafka, where a fault has its kind of request.
    pub fn slow_answers(&self, by: Duration) {
        self.shared.state().late = by;
    }

    /// Of so many pieces that clients send one arrives, and the connection breaks before anything comes back; 0 = none.
    /// Not before Kafka.
    pub fn lose_answer_every(&self, pieces: usize) {
        self.shared.state().lose_every = pieces;
    }

    /// How many answers were lost so.
    pub fn lost_answers(&self) -> usize {
        self.shared.state().lost
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lifecycle.request_stop("the test is done with it");
        self.go_away();
    }
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if shared.state().gone {
            continue;
        }
        let serving = Arc::clone(shared);
        shared.lifecycle.spawn_request("proxied", async move {
            let mut cuts = serving.cuts.subscribe();
            let Ok(far) = TcpStream::connect(&serving.target).await else { return };
            // small requests must not wait for each other
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            tokio::select! {
                _ = cuts.changed() => {}
                () = serve(near, far, &serving) => {}
            }
        });
    }
}

async fn serve(near: TcpStream, far: TcpStream, shared: &Arc<Shared>) {
    if shared.is_kafka {
        kafka::serve(near, far, shared).await;
    } else {
        plain(near, far, shared).await;
    }
}

/// Hands bytes on in both directions until one side hangs up.
async fn plain(mut near: TcpStream, mut far: TcpStream, shared: &Shared) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
    let there = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_near.read(&mut buffer).await {
            let slow = shared.slow();
            if !slow.is_zero() {
                tokio::time::sleep(slow).await;
            }
            if to_far.write_all(&buffer[..read]).await.is_err() || shared.loses_answer() {
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_far.read(&mut buffer).await {
            let late = shared.state().late;
            if !late.is_zero() {
                tokio::time::sleep(late).await;
            }
            if to_near.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}
