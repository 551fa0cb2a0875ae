#!/usr/bin/env bash
# All published figures of the engine in one go, about 25 minutes on a quiet machine of two cores.
# Engines: ENGINE_BENCH_KAFKA, ENGINE_BENCH_REGISTRY, ENGINE_BENCH_CQL, else those of `local-engines up --cql`.
# BENCH names a program that is built already. Nothing is asserted but that every result is right.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${BENCH:-}" ]; then
    cargo build --profile benchmark -p engine-bench
    BENCH=${CARGO_TARGET_DIR:-target}/benchmark/engine-bench
fi
echo "## Peers"; "$BENCH" compare --events "${EVENTS:-400000}" --repeat "${REPEAT:-2}"
echo; echo "## Curves"; "$BENCH" curves --events "${CURVE_EVENTS:-200000}"
echo; echo "## Recovery"; "$BENCH" recovery
echo; echo "## Size"; "$BENCH" size --keys "${KEYS:-10000,1000000}"
