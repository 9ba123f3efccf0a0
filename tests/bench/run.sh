#!/usr/bin/env bash
# Measure jobgate on this machine. Usage: tests/bench/run.sh [bench|scale|memory|where] [options; --help]
#   bench    (the default) beside what people would use instead
#   scale    whether its cost grows faster than its work
#   memory   of idle connections, waiting requests and a long run
#   where    where the time of one request goes
# Installs the peers from Debian's packages and builds jobgate, unless JOBGATE_BUILD names a build; loopback only.
set -eu

ROOT=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
cd "$ROOT"
. deploy/packages.sh

WHAT=bench
case ${1-} in
bench | scale | memory | where) WHAT=$1; shift ;;
esac

# shellcheck disable=SC2086
packages_ensure $BUILD_PACKAGES $TEST_PACKAGES $BENCH_PACKAGES
if [ -z "${JOBGATE_BUILD-}" ]; then
	cmake -S . -B build-bench -DJOBGATE_LTO=ON >/dev/null
	cmake --build build-bench -j "$(nproc)" >/dev/null
	export JOBGATE_BUILD="$ROOT/build-bench"
fi
export PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "tests/bench/$WHAT.py" "$@"
