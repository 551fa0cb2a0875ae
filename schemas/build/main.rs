//! Finds the catalog's files, embeds them, and writes plain Rust types with direct Avro encoding for every stream.
//! Adding a stream touches no Rust of this crate.

mod avro;
mod files;
mod rust;
mod streams;

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    if let Err(problem) = run() {
        println!("cargo::error={problem}");
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=catalog");
    println!("cargo::rerun-if-changed=avro");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(|error| error.to_string())?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|error| error.to_string())?);

    let catalog = files::find(&root.join("catalog"), "toml")?;
    let schemas = files::find(&root.join("avro"), "avsc")?;
    let embedded = files::embed("CATALOG", &catalog, true) + &files::embed("AVRO", &schemas, false);
    write(&out, "embedded.rs", &embedded)?;
    write(&out, "streams.rs", &streams::generate(&catalog, &schemas)?)
}

fn write(out: &std::path::Path, name: &str, text: &str) -> Result<(), String> {
    fs::write(out.join(name), text).map_err(|error| format!("cannot write {name}: {error}"))
}
