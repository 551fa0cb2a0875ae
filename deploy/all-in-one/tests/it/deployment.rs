//! The files that put a deployment together name what is there: ports, settings, programs, versions.

use std::collections::BTreeMap;
use std::fs;

use cargo_metadata::MetadataCommand;
use local_engines::kind::Kind;
use toml::{Table, Value};

use crate::tidy::root;

/// A service of `docker-compose.yml` and the folder of the crate whose binary it runs.
const SERVICES: [(&str, &str); 3] = [("processor", "processors/host"), ("ingest", "ingest"), ("notifier", "notifier")];

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn defaults(folder: &str) -> Table {
    text(&format!("{folder}/default.toml")).parse().unwrap()
}

/// The setting under a dotted key.
fn setting<'a>(defaults: &'a Table, key: &str) -> Option<&'a Value> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let found = defaults.get(first)?;
    rest.map_or(Some(found), |rest| setting(found.as_table()?, rest))
}

fn port(defaults: &Table, key: &str) -> Option<String> {
    let address = setting(defaults, key)?.as_str()?;
    Some(address.rsplit_once(':')?.1.to_owned())
}

/// The lines of each service of `docker-compose.yml`.
fn services() -> BTreeMap<String, Vec<String>> {
    let compose = text("docker-compose.yml");
    let (_, rest) = compose.split_once("\nservices:\n").unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in rest.lines().take_while(|line| line.is_empty() || line.starts_with(' ')) {
        match line.strip_prefix("  ").filter(|rest| !rest.starts_with([' ', '#'])).and_then(|rest| rest.strip_suffix(':')) {
            Some(name) => name.clone_into(&mut current),
            None => found.entry(current.clone()).or_default().push(line.trim().to_owned()),
        }
    }
    found
}

#[test]
fn containers_are_told_settings_that_exist_and_asked_for_health_where_it_is_served() {
    let services = services();
    let mut told = 0;
    for (service, folder) in SERVICES {
        let defaults = defaults(folder);
        for line in &services[service] {
            if let Some((variable, _)) = line.strip_prefix("FOREBAY__").and_then(|rest| rest.split_once(':')) {
                let key = variable.to_lowercase().replace("__", ".");
                assert!(setting(&defaults, &key).is_some(), "{service}: {folder} has no setting {key}");
                told += 1;
            }
        }
        let admin = port(&defaults, "admin.addr").unwrap();
        let health = services[service].iter().find(|line| line.starts_with("healthcheck:")).unwrap();
        assert!(health.contains(&format!("\"healthy\", \"{admin}\"")), "{service}: its admin port is {admin}: {health}");
    }
    assert!(told >= SERVICES.len(), "the settings were not found in docker-compose.yml");
}

#[test]
fn a_service_waits_only_for_services_that_exist_and_tell_their_health() {
    let services = services();
    let mut waits = 0;
    for (service, lines) in &services {
        for line in lines.iter().filter(|line| line.contains("condition: service_healthy")) {
            let (awaited, _) = line.split_once(':').unwrap();
            let found = services.get(awaited).unwrap_or_else(|| panic!("{service} waits for {awaited}, which is no service"));
            assert!(found.iter().any(|line| line.starts_with("healthcheck:")), "{service} waits for the health of {awaited}");
            waits += 1;
        }
    }
    assert!(waits >= SERVICES.len(), "the conditions were not found in docker-compose.yml");
}

#[test]
fn containers_and_local_engines_are_of_one_version() {
    let compose = text("docker-compose.yml");
    for (image, kind) in [("apache/kafka:${KAFKA_VERSION", Kind::Kafka), ("apicurio-registry:${APICURIO_VERSION", Kind::Registry)]
    {
        assert!(compose.contains(&format!("{image}:-{}}}", kind.version())), "{image} is not {}", kind.version());
    }
}

#[test]
fn the_image_holds_programs_that_are_built() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let packages = metadata.workspace_packages();
    let image = text("deploy/images/Dockerfile");
    let (_, build) = image.split_once("cargo build ").unwrap();
    let (build, _) = build.split_once("\n\nFROM").unwrap();
    let built: Vec<_> = build.split("-p ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
    for copied in build.split("target/release/").skip(1).filter_map(|rest| rest.split_whitespace().next()) {
        let owner = packages.iter().find(|package| package.targets.iter().any(|target| target.is_bin() && target.name == copied));
        let owner = owner.unwrap_or_else(|| panic!("no package has a binary {copied}"));
        assert!(built.contains(&owner.name.as_str()), "{copied} is copied, but {} is not built", owner.name);
    }
}

#[test]
fn the_documented_ports_are_the_defaults() {
    let (architecture, deploying) = (text("docs/architecture.md"), text("docs/deploying.md"));
    let image = text("deploy/images/Dockerfile");
    let exposed: Vec<_> = image.lines().filter_map(|line| line.strip_prefix("EXPOSE ")).flat_map(str::split_whitespace).collect();
    for (service, folder) in SERVICES {
        let defaults = defaults(folder);
        let admin = port(&defaults, "admin.addr").unwrap();
        let public = port(&defaults, "http.addr");
        let row = format!("| `forebay-{service}` | {} | {admin} |", public.as_deref().unwrap_or("–"));
        assert!(architecture.contains(&row), "docs/architecture.md does not say {row}");
        assert!(deploying.contains(&format!("{admin} {service}")), "docs/deploying.md does not say {admin} {service}");
        for port in [Some(admin), public].into_iter().flatten() {
            assert!(exposed.contains(&port.as_str()), "the image does not expose {port} of {service}");
        }
    }
}
