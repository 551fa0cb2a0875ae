#!/bin/sh
# Puts three million departures into target/flights-3m.csv of the repository (or into $1), once. Needs npm and Rust.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-$here/../../target}
file=$target/flights-3m.csv
[ -f "$file" ] && echo "$file is there" && exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && npm pack --silent vega-datasets@3.2.1)
tar xzf "$folder/vega-datasets-3.2.1.tgz" -C "$folder" package/data/flights-3m.parquet
mkdir -p "$target"
CARGO_TARGET_DIR=$target/flights-3m cargo run --release --locked --manifest-path "$here/Cargo.toml" -- \
    "$folder/package/data/flights-3m.parquet" "$file"
