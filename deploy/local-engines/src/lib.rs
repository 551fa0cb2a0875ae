//! Kafka, the schema registry and a CQL node on this machine, without Docker.
//!
//! Called by the quick start (`deploy/all-in-one`), by `testkit` and by the command `local-engines`.
//! The engines are ordinary Java programs from Maven Central; `docs/engines.md` says how and why.

pub mod error;
pub mod options;

pub use error::Error;
pub use options::{Options, Owner, Ports, Want};

/// Engines in use by this process. Dropping it gives them back: they stop when nobody uses them for [`Options::linger`].
#[derive(Debug)]
pub struct Engines {
    /// Kafka's address, `host:port`.
    pub kafka: String,
    /// The registry's base URL, ending in `/apis/ccompat/v7` when started here.
    pub registry: String,
    /// The CQL node's address, `host:port`, when wanted.
    pub cql: Option<String>,
}

impl Engines {
    /// Gives the engines back, as dropping does.
    pub async fn stop(self) {
        drop(self);
    }
}

/// Attaches to running engines or starts them, and returns when each of them answers real requests.
///
/// # Errors
/// Any of [`Error`]: each says what to do.
pub async fn start(options: Options) -> Result<Engines, Error> {
    let given = |engine, address: Option<String>| {
        address.ok_or(Error::NoAnswer { engine, address: "(none)".to_owned(), detail: "starting is being built".to_owned() })
    };
    Ok(Engines {
        kafka: given("kafka", options.kafka)?,
        registry: given("registry", options.registry)?,
        cql: if options.want.cql { Some(given("cassandra", options.cql)?) } else { None },
    })
}
