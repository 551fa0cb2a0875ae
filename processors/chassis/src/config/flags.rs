//! The flags that every process has.

use std::path::PathBuf;

use clap::Args;
use serde::de::DeserializeOwned;

use super::{Error, dump, load};

/// Where settings come from; flattened into the command line of each binary.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// A TOML file over the compiled-in defaults.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// One setting, e.g. --set http.addr=127.0.0.1:8081; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, global = true)]
    pub settings: Vec<(String, String)>,
    /// Prints the settings in force and ends.
    #[arg(long, global = true)]
    pub dump_config: bool,
}

impl Flags {
    /// The settings in force; `named` are those that have flags of their own, over which `--set` wins. `None` when they were only to be
    /// printed, which is done then.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load<T: DeserializeOwned>(&self, default_toml: &str, named: &[(&str, Option<String>)]) -> Result<Option<T>, Error> {
        let named = named.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
        let all: Vec<_> = named.chain(self.settings.iter().cloned()).collect();
        if self.dump_config {
            print!("{}", dump(default_toml, self.config.as_deref(), &all)?);
            return Ok(None);
        }
        load(default_toml, self.config.as_deref(), &all).map(Some)
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "write it as key=value".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }
    #[derive(Deserialize)]
    struct Settings {
        http: Http,
    }
    #[derive(Deserialize)]
    struct Http {
        addr: String,
        name: String,
    }

    #[test]
    fn a_setting_without_a_value_is_refused() {
        let error = Line::try_parse_from(["x", "--set", "http.addr"]).unwrap_err().to_string();
        assert!(error.contains("write it as key=value"), "{error}");
    }

    #[test]
    fn set_wins_over_named_flags_and_those_over_the_defaults() {
        let line = Line::try_parse_from(["x", "--set", "http.addr=set"]).unwrap();
        let defaults = "[http]\naddr = \"default\"\nname = \"default\"\n";
        let named = Some("named".to_owned());
        let settings: Settings =
            line.flags.load(defaults, &[("http.addr", named.clone()), ("http.name", named)]).unwrap().unwrap();
        assert_eq!((settings.http.addr.as_str(), settings.http.name.as_str()), ("set", "named"));
    }
}
