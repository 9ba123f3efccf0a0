#!/usr/bin/env bash
# Set up what is missing, build, and run the main job once: jobgate in front of fabricsim, a simulator of Fabric.
# Usage: deploy/quickstart.sh [stop]
# Both servers run on in the background; `deploy/quickstart.sh stop` ends them. Works from any folder, as root or through sudo.
set -eu

ROOT=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
cd "$ROOT"
. deploy/packages.sh

BUILD=$ROOT/build
STATE=$BUILD/quickstart
WORKSPACE=4b218778-e7a5-4d73-8187-f10824047715
ITEM=431e8d7b-4a95-4c02-8ccd-6faef5ba1bd7
JOBS=/v1/workspaces/$WORKSPACE/items/$ITEM/jobs

fail() {
	echo "quickstart: $*" >&2
	exit 1
}

# Whether the process that a pid file names still runs, and is the program it was.
is_running() {
	local name=$1 pid
	pid=$(cat "$STATE/$name.pid" 2>/dev/null) || return 1
	[ "$(readlink "/proc/$pid/exe" 2>/dev/null | sed 's/ (deleted)$//')" = "$BUILD/$name" ]
}

# End what an earlier run left running, and wait until it has ended.
stop() {
	local name pid
	for name in jobgate fabricsim; do
		if is_running "$name"; then
			pid=$(cat "$STATE/$name.pid")
			kill "$pid"
			timeout 60 tail --pid="$pid" -f /dev/null || fail "$name (pid $pid) does not end"
			echo "stopped $name (pid $pid)"
		fi
		rm -f "$STATE/$name.pid"
	done
}

# Print PORT, or another one that is free where somebody listens on it.
free_port() {
	local port=$1
	while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
		port=$((port + 10))
	done
	echo "$port"
}

# Wait until FILE has a line with TEXT, as long as the process NAME lives.
wait_line() {
	local name=$1 file=$2 text=$3 deadline=$((SECONDS + 60))
	until grep -q "$text" "$file" 2>/dev/null; do
		if ! is_running "$name" || [ "$SECONDS" -gt "$deadline" ]; then
			cat "$STATE/$name.log" >&2
			fail "$name did not start"
		fi
		sleep 0.05
	done
}

# A certificate authority of our own and the simulator's certificate, under the upstream's name.
make_certificates() {
	(
		cd "$STATE"
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=jobgate quickstart" \
			-addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.pem
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=api.fabric.microsoft.com" \
			-keyout upstream.key -out upstream.csr
		printf 'subjectAltName=DNS:api.fabric.microsoft.com\nextendedKeyUsage=serverAuth\n' >upstream.ext
		openssl x509 -req -in upstream.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile upstream.ext \
			-out upstream.pem
	) >"$STATE/openssl.log" 2>&1 || { cat "$STATE/openssl.log" >&2; fail "cannot make certificates"; }
}

write_configuration() {
	cat >"$STATE/jobgate.json" <<EOT
{
  "public_url": "$GATE",
  "listen":   [{"address": "127.0.0.1:$PORT"}],
  "admin":    {"address": "127.0.0.1:$ADMIN"},
  "upstream": {"url": "https://127.0.0.1:$UPSTREAM", "server_name": "api.fabric.microsoft.com", "ca_file": "ca.pem",
               "quota": {"requests": 200, "window": "60s"}},
  "callers":  [$CALLER],
  "audit":    {"directory": "audit"},
  "polls":    {"comment": "The simulator's jobs last seconds.", "refresh": "1s", "min_refresh": "1s"}
}
EOT
}

# Start NAME in the background, detached from this terminal.
start() {
	local name=$1
	shift
	setsid "$BUILD/$name" "$@" >"$STATE/$name.out" 2>"$STATE/$name.log" </dev/null &
	echo $! >"$STATE/$name.pid"
	# The pid file is only worth something once the program has replaced the shell.
	until is_running "$name" || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
}

# Submit one job and show the answer's head; prints its Location.
submit() {
	local answer
	answer=$(curl -sS -i -X POST -H "X-API-Key: $KEY" "$@") || fail "no answer"
	echo "$answer" | sed 's/^/  /' >&2
	grep -q '^HTTP/1.1 202 ' <<<"$answer" || fail "not accepted"
	sed -n 's/^Location: \(.*\)\r$/\1/p' <<<"$answer"
}

# Ask for a job's state until it has ended.
poll() {
	local body deadline=$((SECONDS + 60))
	until body=$(curl -sS -H "X-API-Key: $KEY" "$1") && grep -q '"status": *"Completed"' <<<"$body"; do
		[ "$SECONDS" -le "$deadline" ] || fail "the job did not end: $body"
		sleep 1
	done
	echo "  $body"
}

case ${1:-} in
stop) stop; exit 0 ;;
"") ;;
*) echo "usage: deploy/quickstart.sh [stop]" >&2; exit 2 ;;
esac

# shellcheck disable=SC2086
packages_ensure $BUILD_PACKAGES $RUN_PACKAGES
stop
echo "Building in $BUILD ..."
mkdir -p "$STATE"
{ cmake -S . -B "$BUILD" && cmake --build "$BUILD" -j "$(nproc)"; } >"$STATE/build.log" 2>&1 ||
	{ tail -40 "$STATE/build.log" >&2; fail "the build failed: $STATE/build.log"; }

PORT=$(free_port 8080)
ADMIN=$(free_port 8081)
GATE=http://127.0.0.1:$PORT
umask 077
make_certificates
made=$("$BUILD/jobgate" key new quickstart 2>/dev/null)
KEY=$(head -1 <<<"$made")
CALLER=$(tail -1 <<<"$made")

start fabricsim --listen 127.0.0.1:0 --cert "$STATE/upstream.pem" --key "$STATE/upstream.key" --ledger "$STATE/ledger.jsonl"
wait_line fabricsim "$STATE/fabricsim.out" "listening on"
UPSTREAM=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$STATE/fabricsim.out")
write_configuration
start jobgate serve --config "$STATE/jobgate.json"
wait_line jobgate "$STATE/jobgate.log" '"jobgate ready"'
echo "jobgate runs on $GATE (pid $(cat "$STATE/jobgate.pid")), health and metrics on http://127.0.0.1:$ADMIN;"
echo "fabricsim in the place of Fabric on https://127.0.0.1:$UPSTREAM (pid $(cat "$STATE/fabricsim.pid"))."

printf '\nA job by the URL of today:\n'
BODY='{"executionData":{"tableName":"Table1","optimizeSettings":{"vOrder":true}}}'
submit -H "Content-Type: application/json" -d "$BODY" "$GATE$JOBS/DefaultJob/instances" >"$STATE/location"
printf '\nThe same by the legacy URL, without a body:\n'
LOCATION=$(submit "$GATE$JOBS/instances?jobType=DefaultJob")
printf '\nThey run a few seconds; at their end:\n'
poll "$(cat "$STATE/location")"
poll "$LOCATION"
printf '\nThe record of each is in %s:\n' "$STATE/audit"
"$BUILD/jobgate" audit verify "$STATE/audit" 2>&1 | sed 's/^/  /'

cat <<EOT

Submit a job, then poll it:

curl -i -X POST -H 'X-API-Key: $KEY' '$GATE$JOBS/instances?jobType=DefaultJob'

curl -i -H 'X-API-Key: $KEY' '$LOCATION'

Both servers run on; to end them: $ROOT/deploy/quickstart.sh stop
EOT
