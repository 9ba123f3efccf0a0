# Debian 12 packages that jobgate needs, and a function that installs what is missing. Sourced, not run.
# shellcheck shell=bash

BUILD_PACKAGES="build-essential cmake pkg-config libevent-dev libssl-dev libjansson-dev libhiredis-dev libcjose-dev libpq-dev openssl ca-certificates"
RUN_PACKAGES="openssl curl ca-certificates"
# libnss-myhostname: a bare root has no /etc/hosts, and tests of names need localhost (RFC 6761).
TEST_PACKAGES="libnss-myhostname libcmocka-dev redis-server redis-sentinel python3 python3-pytest python3-pytest-xdist python3-pytest-timeout
  python3-jsonschema universal-ctags binutils openssl curl prometheus postgresql strace"
# What the experiments of tests/run.sh --long need beyond these: clocks that are wrong, networks that drop, clients.
LONG_PACKAGES="libfaketime iproute2 iptables util-linux curl python3-requests"
# The peers and the load of tests/bench/run.sh.
BENCH_PACKAGES="nginx libnginx-mod-http-lua lua-nginx-redis lua-cjson haproxy wrk nghttp2-client redis-server"

# libevent 2.1.12-stable-8 has eight CVEs that only the security suite's version mends.
LIBEVENT_MENDED="2.1.12-stable-8+deb12u1"

# Run a command as root, directly or through sudo.
packages_as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		echo "packages: this needs root, or sudo, to run: $*" >&2
		return 1
	fi
}

# Print those of the named packages that are not installed.
packages_missing() {
	local name
	for name in "$@"; do
		dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
	done
}

# Whether an installed libevent is older than the mended one.
packages_libevent_is_old() {
	local have
	have=$(dpkg-query -W -f '${Version}' libevent-dev 2>/dev/null) || return 1
	[ -n "$have" ] && dpkg --compare-versions "$have" lt "$LIBEVENT_MENDED"
}

# Where apt would take an old libevent, add the security suite of the mirror that this machine uses already.
packages_add_security() {
	local policy candidate mirror suite list=/etc/apt/sources.list.d/jobgate-security.list
	policy=$(apt-cache policy libevent-dev)
	candidate=$(sed -n 's/^ *Candidate: //p' <<<"$policy")
	[ "$candidate" != "(none)" ] || return 0
	dpkg --compare-versions "$candidate" lt "$LIBEVENT_MENDED" || return 0
	suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	mirror=$(sed -nE "s#^ *[0-9]+ (https?://[^ ]+) $suite/main .*#\1#p" <<<"$policy" | head -1)
	[ -n "$mirror" ] || return 0
	echo "packages: adding $suite-security to apt's sources ($list), for libevent $LIBEVENT_MENDED"
	echo "deb ${mirror%/}-security $suite-security main" | packages_as_root tee "$list" >/dev/null
	if ! packages_as_root apt-get -q update; then
		packages_as_root rm -f "$list"
		echo "packages: the mirror has no $suite-security; libevent stays at $candidate" >&2
		packages_as_root apt-get -q update
	fi
}

# Install what is missing of the named packages; says nothing and needs no root where nothing is.
packages_ensure() {
	local missing
	missing=$(packages_missing "$@" | sort -u)
	if [ -z "$missing" ] && ! packages_libevent_is_old; then
		return 0
	fi
	echo "packages: installing" $missing
	packages_as_root apt-get -q update
	packages_add_security
	if packages_libevent_is_old; then
		missing="$missing libevent-dev"
	fi
	# shellcheck disable=SC2086
	packages_as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $missing
}
