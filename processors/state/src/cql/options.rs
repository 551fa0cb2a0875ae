//! Options of the CQL store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scylla::statement::Consistency;
use serde::Deserialize;

use crate::store::Error;

/// Longest keyspace name a CQL node takes.
const KEYSPACE_LENGTH_MAX: usize = 48;

/// How to reach and use a CQL cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CqlOptions {
    /// Addresses to begin with, `host:port`: a list, or one text separated by commas.
    #[serde(deserialize_with = "addresses")]
    pub nodes: Vec<String>,
    /// Keyspace, behind `prefix`.
    pub keyspace: String,
    /// Goes before the keyspace's name: several deployments on one cluster.
    pub prefix: String,
    /// Copies of each row when the keyspace is created, unless `datacenters` names them.
    pub replication: u32,
    /// Copies per datacenter when the keyspace is created.
    pub datacenters: BTreeMap<String, u32>,
    /// Datacenter of this process: reads and writes go to its nodes at LOCAL_QUORUM. Without it QUORUM.
    pub datacenter: Option<String>,
    /// Login name, with `password_file`.
    pub user: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Longest time of one request, ms.
    pub request_time_ms: u64,
    /// Create and migrate keyspace and tables at start. Without it they must be there.
    pub create_schema: bool,
    /// Accept nodes that acknowledge writes before they are synced. For throughput runs: a crash may lose state.
    pub allow_unsynced: bool,
}

impl Default for CqlOptions {
    fn default() -> Self {
        Self {
            nodes: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "forebay".to_owned(),
            prefix: String::new(),
            replication: 3,
            datacenters: BTreeMap::new(),
            datacenter: None,
            user: None,
            password_file: None,
            request_time_ms: 5_000,
            create_schema: true,
            allow_unsynced: false,
        }
    }
}

impl CqlOptions {
    /// The keyspace's full name.
    pub(super) fn keyspace(&self) -> Result<String, Error> {
        let name = format!("{}{}", self.prefix, self.keyspace);
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.len() > KEYSPACE_LENGTH_MAX
            || !name.starts_with(|first: char| first.is_ascii_lowercase())
            || !name.bytes().all(fits)
        {
            return Err(Error::Refused(format!(
                "{name:?} is no keyspace name: prefix and keyspace together take at most {KEYSPACE_LENGTH_MAX} of a-z, 0-9 \
                 and _, beginning with a letter"
            )));
        }
        Ok(name)
    }

    pub(super) fn consistency(&self) -> Consistency {
        if self.datacenter.is_some() { Consistency::LocalQuorum } else { Consistency::Quorum }
    }

    /// The replication map of CREATE KEYSPACE.
    pub(super) fn replication_map(&self) -> Result<String, Error> {
        let bad = |name: &&String| name.contains(['\'', '\\']);
        if let Some(name) = self.datacenters.keys().find(bad) {
            return Err(Error::Refused(format!("{name:?} is no name of a datacenter")));
        }
        let mut entries: Vec<String> = self.datacenters.iter().map(|(name, copies)| format!("'{name}': {copies}")).collect();
        if entries.is_empty() {
            entries.push(format!("'replication_factor': {}", self.replication));
        }
        Ok(format!("{{'class': 'NetworkTopologyStrategy', {}}}", entries.join(", ")))
    }

    pub(super) fn credentials(&self) -> Result<Option<(String, String)>, Error> {
        match (&self.user, &self.password_file) {
            (None, None) => Ok(None),
            (Some(user), Some(file)) => {
                let unreadable = |error| Error::Refused(format!("the password file {} cannot be read: {error}", file.display()));
                let password = std::fs::read_to_string(file).map_err(unreadable)?;
                Ok(Some((user.clone(), password.trim_end().to_owned())))
            }
            _ => Err(Error::Refused("a CQL login needs both `user` and `password_file`".to_owned())),
        }
    }
}

/// A list, or one text separated by commas, as flags and the environment give it.
fn addresses<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Addresses {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Addresses::deserialize(deserializer)? {
        Addresses::Text(text) => text.split(',').map(|address| address.trim().to_owned()).collect(),
        Addresses::List(list) => list,
    })
}
