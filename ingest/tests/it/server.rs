//! An edge that serves on a port of its own, with topics of its own.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;

use chassis::auth::{Access, Mode};
use chassis::kafka::Settings;
use chassis::kafka::topics::{self, Spec};
use chassis::lifecycle::Lifecycle;
use chassis::listener;
use ingest::{Config, DEFAULTS, Needs, Options, Service};
use schemas::catalog::Catalog;
use schemas::names::{CANARY_PARTITIONS, Topics};
use schemas::registry::Registry;
use state::{StateReader, StateStore};

use crate::catalog::catalog;

/// A running edge. It lives as long as the runtime it was started in.
pub(crate) struct Server {
    /// `http://127.0.0.1:…`
    pub(crate) base: String,
    pub(crate) address: SocketAddr,
    pub(crate) topics: Topics,
    pub(crate) kafka: Settings,
    pub(crate) lifecycle: Lifecycle,
    /// Reads receipts of this edge.
    pub(crate) data: TempDir,
    /// What lifecycles are read from.
    pub(crate) store: Arc<dyn StateStore>,
}

/// The edge that most tests share; it runs on a thread of its own, because a test's runtime ends with the test.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                tell.send(start(|_| {}).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        told.recv().unwrap()
    })
}

/// Options with the defaults of the binary.
pub(crate) fn options() -> Options {
    let config: Config = chassis::config::load(DEFAULTS, None, &[]).unwrap();
    config.options()
}

/// What a service needs, with topics made and schemas registered under a prefix of its own.
pub(crate) async fn needs(change: impl FnOnce(&mut Options)) -> (Needs, Server) {
    needs_for(catalog(), change).await
}

/// The same for other streams than the tests' own.
pub(crate) async fn needs_for(catalog: Arc<Catalog>, change: impl FnOnce(&mut Options)) -> (Needs, Server) {
    let engines = testkit::engines().await;
    let topics = Topics::new(&format!("{}.", testkit::unique("ingest")));
    let kafka = Settings::new(&engines.kafka, "ingest-test");
    topics::ensure(&kafka, &specs(&catalog, &topics), 1).await.unwrap();
    let ids = Registry::new(&engines.registry, None).unwrap().resolve(&topics, &catalog, true).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut options = options();
    options.topic_prefix = topics.prefix.clone();
    options.data_dir = data.path().to_owned();
    change(&mut options);
    let store: Arc<dyn StateStore> = Arc::new(state::memory::Memory::new());
    let (lifecycle, address) = (Lifecycle::new(), SocketAddr::from(([127, 0, 0, 1], 0)));
    let needs = Needs {
        options,
        catalog,
        ids,
        kafka: kafka.clone(),
        reader: Some(StateReader::new(Arc::clone(&store))),
        access: Access::new(Mode::Open, address, &[]).unwrap(),
        lifecycle: lifecycle.clone(),
    };
    (needs, Server { base: String::new(), address, topics, kafka, lifecycle, data, store })
}

/// Every topic of the write side.
pub(crate) fn specs(catalog: &Catalog, topics: &Topics) -> Vec<Spec> {
    let log_append = vec![("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())];
    let events = catalog.streams().iter().map(|stream| Spec {
        name: topics.events(&stream.name),
        partitions: stream.partitions,
        config: log_append.clone(),
    });
    let canary = Spec { name: topics.canary(), partitions: CANARY_PARTITIONS, config: Vec::new() };
    events.chain([canary]).collect()
}

/// Starts an edge and waits until it is warm.
pub(crate) async fn start(change: impl FnOnce(&mut Options)) -> Server {
    let (needs, server) = needs(change).await;
    serve(needs, server, true).await
}

/// Serves what was prepared.
pub(crate) async fn serve(needs: Needs, mut server: Server, warm: bool) -> Server {
    let service = Service::build(needs).unwrap();
    let bound = listener::bind(&listener::Options::new("public", server.address, "--addr")).await.unwrap();
    server.address = bound.local_addr();
    server.base = format!("http://{}", server.address);
    bound.serve(service.whole_router(), &server.lifecycle);
    if warm {
        service.warm_up().await.unwrap();
    }
    server
}
