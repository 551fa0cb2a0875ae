//! Configuration of a process: compiled-in defaults ← file ← environment ← flags. Called once, by `main`.

use std::collections::HashMap;
use std::path::Path;

use ::config::{Config, Environment, File, FileFormat, Map};
use serde::de::DeserializeOwned;

pub use flags::Flags;
pub use sections::{Kafka, Listener, Registry};

mod flags;
pub mod quantity;
mod sections;

/// Environment variables that start with this prefix, then `__SECTION__KEY`, override the file.
pub const ENVIRONMENT_PREFIX: &str = "FOREBAY";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer cannot be read or parsed, or a value has the wrong type.
    #[error("the configuration cannot be read: {0}")]
    Read(#[from] ::config::ConfigError),
    /// A key that no setting has.
    #[error("unknown configuration key{} {keys}: remove or correct it; --dump-config lists every key", if .keys.contains(',') { "s" } else { "" })]
    UnknownKey {
        /// The dotted paths, separated by commas.
        keys: String,
    },
    /// The effective configuration cannot be written as TOML.
    #[error("the configuration cannot be printed: {0}")]
    Print(#[from] toml::ser::Error),
}

/// Reads the effective configuration into `T`.
///
/// `default_toml` is the binary's commented `default.toml`; `file` the one given with `--config`; `flags` are dotted keys with their values,
/// which win over everything. Values from the environment and from flags are strings and are turned into the type the field asks for.
///
/// # Errors
/// A layer that does not parse, a value of the wrong type, or a key that `T` does not know, whatever layer it comes from.
pub fn load<T: DeserializeOwned>(default_toml: &str, file: Option<&Path>, flags: &[(String, String)]) -> Result<T, Error> {
    read(merge(default_toml, file, flags, None)?)
}

/// The effective configuration as TOML, for `--dump-config`. Comments of the defaults are not kept.
///
/// # Errors
/// As [`load`], except that unknown keys are printed instead of refused.
pub fn dump(default_toml: &str, file: Option<&Path>, flags: &[(String, String)]) -> Result<String, Error> {
    let table: toml::Table = merge(default_toml, file, flags, None)?.try_deserialize()?;
    Ok(toml::to_string_pretty(&table)?)
}

/// `environment` replaces the process's own variables in tests.
fn merge(
    default_toml: &str,
    file: Option<&Path>,
    flags: &[(String, String)],
    environment: Option<HashMap<String, String>>,
) -> Result<Config, Error> {
    let variables = Environment::with_prefix(ENVIRONMENT_PREFIX)
        .prefix_separator("__")
        .separator("__")
        .source(environment.map(|variables| variables.into_iter().collect::<Map<_, _>>()));
    let mut builder = Config::builder().add_source(File::from_str(default_toml, FileFormat::Toml));
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    builder = builder.add_source(variables);
    for (key, value) in flags {
        builder = builder.set_override(key, value.as_str())?;
    }
    Ok(builder.build()?)
}

fn read<T: DeserializeOwned>(config: Config) -> Result<T, Error> {
    let mut unknown = Vec::new();
    let value = serde_ignored::deserialize(config, |path| unknown.push(path.to_string()))?;
    if unknown.is_empty() {
        return Ok(value);
    }
    unknown.sort();
    Err(Error::UnknownKey { keys: unknown.join(", ") })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const DEFAULTS: &str = "[http]\nport = 8080\nname = \"edge\"\n[limits]\nbody = 10\ncut = false\n";

    #[derive(Debug, Deserialize)]
    struct Settings {
        http: Http,
        limits: Limits,
    }
    #[derive(Debug, Deserialize)]
    struct Http {
        port: u16,
        name: String,
    }
    #[derive(Debug, Deserialize)]
    struct Limits {
        body: usize,
        cut: bool,
    }

    fn effective(file: Option<&Path>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, Error> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let flags: Vec<_> = flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        read(merge(DEFAULTS, file, &flags, Some(environment))?)
    }

    #[test]
    fn each_layer_wins_over_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("forebay.toml");
        std::fs::write(&path, "[http]\nport = 1\nname = \"file\"\n[limits]\nbody = 11\n").unwrap();
        let settings = effective(
            Some(&path),
            &[("FOREBAY__HTTP__PORT", "2"), ("FOREBAY__LIMITS__CUT", "true"), ("FOREBAY_TEST_KAFKA", "x")],
            &[("http.port", "3")],
        );
        let settings = settings.unwrap();
        assert_eq!((settings.http.port, settings.http.name.as_str()), (3, "file"));
        assert_eq!((settings.limits.body, settings.limits.cut), (11, true));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_path() {
        let error = effective(None, &[("FOREBAY__HTTP__PROT", "2")], &[]).unwrap_err();
        assert_eq!(error.to_string(), "unknown configuration key http.prot: remove or correct it; --dump-config lists every key");
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_key() {
        let error = effective(None, &[("FOREBAY__HTTP__PORT", "many")], &[]).unwrap_err().to_string();
        assert!(error.contains("http.port") && error.contains("many"), "{error}");
    }

    #[test]
    fn the_dump_shows_what_is_in_force() {
        let text = dump(DEFAULTS, None, &[("limits.body".to_owned(), "12".to_owned())]).unwrap();
        assert!(text.contains("[limits]") && text.contains("12"), "{text}");
    }
}
