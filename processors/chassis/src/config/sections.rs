//! Sections that several processes have in their settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::kafka::Settings;

/// `[http]` and `[admin]`: an address to listen on.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub addr: SocketAddr,
}

/// `[kafka]`: the broker.
#[derive(Clone, Debug, Deserialize)]
pub struct Kafka {
    /// Addresses to begin with, `host:port`, separated by commas.
    pub bootstrap: String,
    /// Name in the broker's logs and quotas.
    pub client_id: String,
    /// Put before every topic name, group and transactional id.
    pub topic_prefix: String,
    /// Further settings of librdkafka for every client; they win over ours.
    #[serde(default)]
    pub client: BTreeMap<String, String>,
}

impl Kafka {
    /// What clients need to know.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings { bootstrap: self.bootstrap.clone(), client_id: self.client_id.clone(), client: self.client.clone() }
    }
}

/// `[registry]`: the schema registry, for processes that may register.
#[derive(Clone, Debug, Deserialize)]
pub struct Registry {
    /// Base address of its Confluent-compatible API.
    pub url: String,
    /// Whether missing schemas are registered at start.
    pub register: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[derive(Deserialize)]
    struct Process {
        kafka: Kafka,
    }

    #[test]
    fn settings_of_the_client_keep_their_dots() {
        let defaults = "[kafka]\nbootstrap = \"b:1\"\nclient_id = \"x\"\ntopic_prefix = \"\"\nclient = { \"socket.keepalive.enable\" = \"true\" }\n";
        let process: Process = load(defaults, None, &[]).unwrap();
        assert_eq!(process.kafka.settings().log_reader().get("socket.keepalive.enable"), Some("true"));
    }
}
