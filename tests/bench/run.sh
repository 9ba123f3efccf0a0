#!/usr/bin/env bash
# Compare jobgate with what people would use instead, on this machine. Usage: tests/bench/run.sh [bench.py's options; --help]
# Installs the peers from Debian's packages and builds jobgate; loopback only.
set -eu

ROOT=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
cd "$ROOT"
. deploy/packages.sh

# shellcheck disable=SC2086
packages_ensure $BUILD_PACKAGES $TEST_PACKAGES $BENCH_PACKAGES
cmake -S . -B build-bench -DCMAKE_BUILD_TYPE=Release -DJOBGATE_LTO=ON >/dev/null
cmake --build build-bench -j "$(nproc)" >/dev/null
export JOBGATE_BUILD="$ROOT/build-bench"
exec /usr/bin/python3 tests/bench/bench.py "$@"
