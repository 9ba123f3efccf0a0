#!/usr/bin/env bash
# Measure jobgate on this machine. Usage: tests/bench/run.sh [bench|scale|memory|where|profiled] [options; --help]
#   bench    (the default) beside what people would use instead
#   scale    whether its cost grows faster than its work
#   memory   of idle connections, waiting requests and a long run
#   where    where the time of one request goes
#   profiled builds jobgate in build-profiled/, compiled for what it was seen to do under load
# Installs the peers from Debian's packages and builds jobgate, unless JOBGATE_BUILD names a build; loopback only.
set -eu

ROOT=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
cd "$ROOT"
. deploy/packages.sh

WHAT=bench
case ${1-} in
bench | scale | memory | where | profiled) WHAT=$1; shift ;;
esac

# shellcheck disable=SC2086
packages_ensure $BUILD_PACKAGES $TEST_PACKAGES $BENCH_PACKAGES
export PYTHONDONTWRITEBYTECODE=1

# Build in build-profiled/ with a profile that is to be made or used.
build_profiled() {
	cmake -S . -B build-profiled -DJOBGATE_LTO=ON -DJOBGATE_PROFILE="$1" >/dev/null
	cmake --build build-profiled -j "$(nproc)" --target jobgate >/dev/null
}

if [ "$WHAT" = profiled ]; then
	rm -rf build-profiled/profile
	build_profiled make
	JOBGATE_BUILD="$ROOT/build-profiled" /usr/bin/python3 tests/bench/training.py
	build_profiled use
	exit
fi
if [ -z "${JOBGATE_BUILD-}" ]; then
	cmake -S . -B build-bench -DJOBGATE_LTO=ON >/dev/null
	cmake --build build-bench -j "$(nproc)" >/dev/null
	export JOBGATE_BUILD="$ROOT/build-bench"
fi
exec /usr/bin/python3 "tests/bench/$WHAT.py" "$@"
