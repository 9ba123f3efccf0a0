#!/usr/bin/env bash
# Set up, build, and run all tests. Usage: tests/run.sh [--long]
#   --long   also runs tests/experiments/experiment_*.py at full size, which takes long; their tables and drawings are
#            left in build-test/experiments
# Works from any folder, as root or through sudo, on a fresh Debian 12 and again on a used one.
# The last line is "N passed, N failed"; the exit code is 0 only where nothing failed.
set -u

ROOT=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
cd "$ROOT" || exit 1
. deploy/packages.sh

LONG=no
for argument in "$@"; do
	case $argument in
	--long) LONG=yes ;;
	*) echo "usage: tests/run.sh [--long]" >&2; exit 2 ;;
	esac
done

JOBS=$(nproc)
# Debian's own: another python3 may come first in PATH, without the Debian packages.
PYTHON=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=exitcode=99:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=exitcode=99
# Threads that share something: these run under ThreadSanitizer too, where present.
TSAN_TESTS="test_loop test_journal test_journal_anchors test_journal_fault test_journal_recover test_audit test_stats test_limiter test_resolver
  test_log test_polls test_polls_fleet"
PASSED=0
FAILED=0
STARTED=$SECONDS

say() {
	printf '\n== %s (after %d s)\n' "$1" $((SECONDS - STARTED))
}

# Count one check; what it wrote is shown where it failed, and where it is wanted.
check() {
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		PASSED=$((PASSED + 1))
		echo "ok      $name"
	else
		FAILED=$((FAILED + 1))
		echo "FAILED  $name"
		printf '%s\n' "$output" | tail -60
	fi
}

finish() {
	printf '\n%d s\n' $((SECONDS - STARTED))
	echo "$PASSED passed, $FAILED failed"
	[ "$FAILED" -eq 0 ]
	exit
}

# Configure and build FOLDER with CMake's OPTIONS; TARGETS (may be empty) instead of everything.
build() {
	local folder=$1 targets=$2 log
	shift 2
	log=$(mktemp)
	if ! { cmake -S . -B "$folder" "$@" && cmake --build "$folder" -j "$JOBS" ${targets:+--target $targets}; } >"$log" 2>&1; then
		echo "FAILED  building $folder"
		grep -nE 'error|warning|Error' "$log" | head -40
		tail -20 "$log"
		rm -f "$log"
		FAILED=$((FAILED + 1))
		return 1
	fi
	rm -f "$log"
	echo "ok      built $folder"
}

# Run ctest in FOLDER on the tests that match PATTERN, and take its count over. The long ones wait most of the time.
unit() {
	local folder=$1 pattern=$2 output total failed
	output=$(ctest --test-dir "$folder" -j $((JOBS * 2)) --timeout 180 --output-on-failure -R "$pattern" 2>&1)
	total=$(sed -nE 's/.* tests failed out of ([0-9]+)$/\1/p' <<<"$output")
	failed=$(sed -nE 's/.*, ([0-9]+) tests failed out of [0-9]+$/\1/p' <<<"$output")
	if [ -z "$total" ]; then
		FAILED=$((FAILED + 1))
		echo "FAILED  ctest in $folder"
		printf '%s\n' "$output" | tail -40
		return
	fi
	[ "$failed" -eq 0 ] || printf '%s\n' "$output" | tail -150
	PASSED=$((PASSED + total - failed))
	FAILED=$((FAILED + failed))
	echo "ok      $((total - failed)) of $total unit test programs in $folder"
}

# Replay each fuzz corpus through its parser, under the sanitizers.
fuzz() {
	local source name program
	for source in tests/fuzz/fuzz_*.c; do
		[ -e "$source" ] || { echo "skipped fuzz corpora: there are none"; return; }
		name=$(basename "$source" .c)
		program=build-asan/$name
		check "build $name" gcc -std=gnu11 -D_GNU_SOURCE -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
			-I gateway -I tests/fuzz "$source" tests/fuzz/replay.c -o "$program" \
			build-asan/libjobgate_rules.a build-asan/libjobgate_base.a -ljansson -lm -lpthread
		[ ! -x "$program" ] || check "replay $name" "$program" "tests/fuzz/corpus/${name#fuzz_}"
	done
}

# Run the system tests on the sanitized build, and take pytest's count over.
system() {
	local report=build-asan/system.xml counts
	rm -f "$report"
	# Most of them wait most of the time: half as many again keep the cores busy.
	JOBGATE_BUILD="$ROOT/build-asan" "$PYTHON" -m pytest -q -p no:cacheprovider -n $((JOBS + (JOBS + 1) / 2)) --timeout 180 -rs \
		--junitxml="$report" tests/system 2>&1 | tail -400
	counts=$("$PYTHON" - "$report" <<'EOT'
import sys, xml.etree.ElementTree as tree
try:
    suites = tree.parse(sys.argv[1]).getroot().iter("testsuite")
except OSError:
    print(0, 1)
    sys.exit()
tests = bad = skipped = 0
for suite in suites:
    tests += int(suite.get("tests"))
    bad += int(suite.get("failures")) + int(suite.get("errors"))
    skipped += int(suite.get("skipped"))
print(max(tests - bad - skipped, 0), bad)
EOT
	)
	PASSED=$((PASSED + ${counts% *}))
	FAILED=$((FAILED + ${counts#* }))
}

# Run one experiment at full size; its whole table is kept, what it shows is printed, and all of it where it failed.
experiment() {
	local script=$1 out=build-test/experiments name
	name=$(basename "$script" .py)
	mkdir -p "$out"
	if JOBGATE_BUILD="$ROOT/build-test" "$PYTHON" "$script" --out "$out" >"$out/$name.txt" 2>&1; then
		PASSED=$((PASSED + 1))
		echo "ok      $name"
		sed -n '/^-- what it shows/,$p' "$out/$name.txt"
	else
		FAILED=$((FAILED + 1))
		echo "FAILED  $name"
		cat "$out/$name.txt"
	fi
}

say "packages"
# shellcheck disable=SC2086
packages_ensure $BUILD_PACKAGES $TEST_PACKAGES || { echo "FAILED  installing packages"; FAILED=1; finish; }

say "builds"
built=yes
build build-test "" -DJOBGATE_WERROR=ON -DJOBGATE_TESTS=ON || built=no
build build-asan "" -DJOBGATE_ASAN=ON -DJOBGATE_TESTS=ON || built=no
tsan=""
for name in $TSAN_TESTS; do
	[ ! -e "tests/unit/$name.c" ] || tsan="$tsan $name"
done
[ -z "$tsan" ] || build build-tsan "$tsan" -DJOBGATE_TSAN=ON -DJOBGATE_TESTS=ON || built=no
[ "$built" = yes ] || finish

say "unit tests"
unit build-test .
unit build-asan .
[ -z "$tsan" ] || unit build-tsan "^($(echo $tsan | tr ' ' '|'))\$"

say "lint"
for script in tests/lint/[a-z]*.py; do
	check "$(basename "$script")" "$PYTHON" "$script"
done
"$PYTHON" tests/lint/sizes.py | tail -4

say "fuzz corpora"
fuzz

say "system tests"
system

if [ "$LONG" = yes ]; then
	say "experiments"
	# shellcheck disable=SC2086
	packages_ensure $LONG_PACKAGES || { echo "FAILED  installing packages"; FAILED=$((FAILED + 1)); finish; }
	begun=$SECONDS
	for script in tests/experiments/experiment_*.py; do
		[ -e "$script" ] || { echo "skipped experiments: there are none"; break; }
		experiment "$script"
	done
	echo "experiments: $((SECONDS - begun)) s"
fi
finish
