"""Keeps config/jobgate.schema.json, config/jobgate.json and the parser (jobgate check) true to each other.

The parser lists all errors at once with their paths, so one run tells about every place of a configuration.
FULL below holds every key of the schema once; each test changes it and compares what both say about the same places.

Needs Debian's python3-pytest and python3-jsonschema. The binary: environment variable JOBGATE, else build/jobgate.
"""

import copy
import json
import os
import pathlib
import re
import subprocess

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JOBGATE = os.environ.get("JOBGATE", str(ROOT / "build" / "jobgate"))
SCHEMA = json.loads((ROOT / "config" / "jobgate.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
RULES = ROOT / "gateway" / "rules"

LEAST = {
    "listen": [{"address": "127.0.0.1:8080"}],
    "admin": {"address": "127.0.0.1:8081"},
    "upstream": {"url": "https://127.0.0.1:9443", "server_name": "api.fabric.microsoft.com", "ca_file": "ca.pem",
                 "quota": {"requests": 200, "window": "60s"}},
    "callers": [{"name": "etl", "keys": [{"sha256": "ab" * 32}]}],
    "audit": {"directory": "audit"},
}

QUOTA = {"requests": 100, "window": "1m", "burst": 20, "jitter": "100ms", "outside": 3}
TENANT = "11111111-2222-3333-4444-555555555555"
ISSUER = f"https://sts.windows.net/{TENANT}/"
RATE = {"requests": 60, "window": "1m", "burst": 10}
FULL = {
    "$schema": "./jobgate.schema.json",
    "instance": "gate-1",
    "workers": 2, "spread": "all",
    "public_url": "https://gate.example/fabric",
    "listen": [{"address": "127.0.0.1:8443", "tls": {"cert_file": "c.pem", "key_file": "k.pem", "client_ca_file": "ca.pem"}, "plain": False,
                "trusted_proxies": ["10.0.0.0/8"], "proxy_protocol": True}],
    "admin": {"address": "[::1]:8081", "token": {"file": "token"}},
    "upstream": {"url": "https://api.example", "server_name": "api.example", "ca_file": "ca.pem", "timeout": "20s",
                 "idle_timeout": "5s", "replay_429": False, "quota": dict(QUOTA), "proxy": "http://user@proxy.example:3128",
                 "proxy_password": {"env": "P"}, "no_proxy": ["corp.example"], "private_link": False},
    "identities": [
        {"name": "sp", "quota": dict(QUOTA), "per_token": False, "credential": {"scope": "api://x/.default", "client_secret": {
            "tenant": "t.example", "client_id": "c", "secret": {"env": "S"}, "authority": "https://login.example", "ca_file": "ca.pem"}}},
        {"name": "sp2", "quota": dict(QUOTA), "per_token": False, "credential": {"scope": "s", "certificate": {
            "tenant": "t", "client_id": "c", "cert_file": "c.pem", "key_file": "k.pem", "authority": "https://login.example/x/",
            "ca_file": "ca.pem"}}},
        {"name": "sp3", "quota": dict(QUOTA), "per_token": False, "credential": {"scope": "s", "managed_identity": {
            "client_id": "c", "endpoint": "http://127.0.0.1:8000"}}},
        {"name": "sp4", "quota": dict(QUOTA), "per_token": False, "credential": {"scope": "s", "workload_identity": {
            "tenant": "t", "client_id": "c", "token_file": "t", "authority": "https://login.example", "ca_file": "ca.pem"}}},
    ],
    "issuers": [{"issuer": ISSUER, "audiences": ["https://api.fabric.microsoft.com"], "algorithms": ["RS256", "ES256"],
                 "jwks": {"url": "https://login.example/keys"}, "ca_file": "ca.pem"}],
    "callers": [{
        "name": "etl", "keys": [{"id": "k1", "sha256": "ab" * 32, "expires": "2099-01-31T00:00:00Z", "networks": ["10.0.0.0/8"]}],
        "identity": "sp", "location": "rewrite",
        "weight": 3, "rate": dict(RATE), "validate": "report", "scopes": "off", "other_routes": "read", "wait": {"max": "30s", "queue": 5},
        "tokens": [{"id": "t1", "issuer": ISSUER, "tenant": TENANT, "object": "5b218778-e7a5-4d73-8187-f10824047715"}],
        "certificates": [{"id": "c1", "san": "DNS:etl.example"}, {"id": "c2", "spki_sha256": "cd" * 32}],
        "allow": [{"workspace": "cfafbeb1-8037-4d0c-896e-a46fb27ff229", "operations": ["run"],
                   "items": ["5b218778-e7a5-4d73-8187-f10824047715"], "job_types": ["RunNotebook"]}],
    }],
    "rules": [{"name": "notebooks", "identity": "sp", "rate": dict(RATE), "workspace": "cfafbeb1-8037-4d0c-896e-a46fb27ff229",
               "items": ["5b218778-e7a5-4d73-8187-f10824047715"], "job_types": ["RunNotebook"], "operations": ["run"]}],
    "store": {"redis": "rediss://localhost:6379/0", "ca_file": "ca.pem", "username": "u", "password": {"file": "secret"}, "prefix": "p",
              "timeout": "50ms", "on_failure": "closed"},
    "wait": {"max": "1s", "queue": 10},
    "limits": {"connections": 100, "head_bytes": 8192, "body_bytes": 65536, "head_timeout": "1s", "body_timeout": "1s",
               "idle_timeout": "1m"},
    "audit": {"directory": "audit", "refusals": 5, "digest_key": {"file": "digest-key"},
              "retention": {"age": "400d", "size": "10GB", "collected": "collected.json"}, "anchors": "30s", "warn_free": "2GB"},
    "resolve": {"match": "activity", "delay": "20s", "tries": 2, "window": "1m"},
    "polls": {"refresh": "30s", "min_refresh": "2s", "keep": "1h", "grant": "5m", "max_bytes": "64MB",
              "redis": "rediss://localhost:6380/1", "ca_file": "ca.pem", "username": "u", "password": {"env": "PP"}},
    "idempotency": {"keys": "1h", "max_bytes": "64MB", "undelivered": "1m"},
    "drain": {"delay": "1s", "timeout": "10s"},
    "log": {"level": "debug"},
}


def check(tmp_path, config):
    """The parser's errors as (path without names, sentence), none where it accepts."""
    file = tmp_path / "c.json"
    file.write_text(config if isinstance(config, str) else json.dumps(config))
    run = subprocess.run([JOBGATE, "check", "--config", str(file)], capture_output=True, text=True, timeout=20)
    assert run.returncode in (0, 1, 2), run.stderr
    if run.returncode != 2:     # 1: right, but the files it names are not there
        return []
    errors = []
    for line in run.stderr.splitlines():
        text = re.sub(r' \("[^"]*"\)', "", line.removeprefix(f"{file}: "))
        path, _, sentence = text.partition(": ")
        errors.append((path, sentence))
    assert errors
    return errors


def path_text(steps):
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).removeprefix(".")


def schema_errors(config):
    return [(path_text(e.absolute_path), e.message) for e in VALIDATOR.iter_errors(config)]


def resolve(node):
    """NODE with its $ref's target mixed in; annotations beside the $ref win."""
    while "$ref" in node:
        target = SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    return node


def walk(value, node, steps=()):
    """Every place of VALUE as (steps, value, schema)."""
    node = resolve(node)
    for choice in node.get("anyOf", []):
        if isinstance(value, list) and choice.get("type") == "array":
            node = {**node, **choice}
    yield steps, value, node
    if isinstance(value, dict):
        for key, member in value.items():
            yield from walk(member, node["properties"][key], steps + (key,))
    elif isinstance(value, list):
        for i, element in enumerate(value):
            yield from walk(element, node["items"], steps + (i,))


def changed(steps, value):
    """FULL with VALUE at STEPS; the Ellipsis takes the member away."""
    config = copy.deepcopy(FULL)
    at = config
    for step in steps[:-1]:
        at = at[step]
    if value is ...:
        del at[steps[-1]]
    else:
        at[steps[-1]] = value
    return config


PLACES = list(walk(FULL, SCHEMA))
LEAVES = [(s, v, n) for s, v, n in PLACES if not isinstance(v, (dict, list))]
OBJECTS = [(s, v, n) for s, v, n in PLACES if isinstance(v, dict)]


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("config", [LEAST, FULL], ids=["least", "full"])
def test_both_accept(tmp_path, config):
    assert schema_errors(config) == []
    assert check(tmp_path, config) == []


def test_example_is_right(tmp_path):
    text = (ROOT / "config" / "jobgate.json").read_text()
    assert schema_errors(json.loads(text)) == []
    assert check(tmp_path, text) == []


def test_full_has_every_key_of_the_schema():
    seen_objects = set()
    for steps, value, node in OBJECTS:
        missing = set(node["properties"]) - set(value) - {"comment"}
        if "oneOf" in node:     # of these one at a time
            missing -= {name for choice in node["oneOf"] for name in choice["required"]}
        if path_text(steps) == "callers[0].tokens[0]":
            missing -= {"application", "subject"}
        if steps[:1] == ("callers",) and "certificates" in steps:       # the other stands in the one beside it
            missing -= {"san", "spki_sha256"}
        assert not missing, f"{path_text(steps)}: add {missing} to FULL"
        assert node["additionalProperties"] is False and "comment" in node["properties"]
        seen_objects.add(json.dumps(node["properties"], sort_keys=True))
    assert len(seen_objects) == len(re.findall(r'"additionalProperties": false', json.dumps(SCHEMA)))


def test_every_key_is_described():
    for steps, _, node in PLACES:
        if steps and isinstance(steps[-1], str):
            assert len(node.get("description", "")) > 4, path_text(steps)


def parser_vocabulary():
    """Every name in the parser's tables, wherever it belongs."""
    names = set()
    for source in RULES.glob("config*.[ch]"):
        names |= set(re.findall(r'(?:CONFIG_[A-Z]+\(|\{ STR_INIT\()"([$a-z0-9_]+)"', source.read_text()))
    assert len(names) > 50
    return names


def test_parser_knows_no_key_that_the_schema_lacks(tmp_path):
    """Each object gets every name of the parser's vocabulary; what the schema lacks there the parser must refuse by name."""
    vocabulary = parser_vocabulary() | {"zzz"}
    config = copy.deepcopy(FULL)
    expected = {}
    for steps, _, node in OBJECTS:
        at = config
        for step in steps:
            at = at[step]
        for name in vocabulary - set(node["properties"]):
            at[name] = 1
            expected[path_text(steps + (name,))] = "unknown key"
    got = {path: sentence.partition("; did you")[0] for path, sentence in check(tmp_path, config)}
    assert {p: got.get(p) for p in expected} == expected


def test_schema_refuses_what_is_unknown():
    for steps, _, _ in OBJECTS:
        assert [p for p, _ in schema_errors(changed(steps + ("zzz",), {}))] == [path_text(steps)]


def test_comment_is_allowed_in_every_object(tmp_path):
    config = copy.deepcopy(FULL)
    for steps, _, _ in OBJECTS:
        at = config
        for step in steps:
            at = at[step]
        at["comment"] = ["anything", {"at": 1}, None]
    assert schema_errors(config) == []
    assert check(tmp_path, config) == []


def refused(errors, leaf):
    return any(leaf == path or leaf.startswith((path + ".", path + "[")) for path, _ in errors if path)


@pytest.mark.parametrize("junk", [None, True, False, 0, -1, 1, 2.5, 10**15, "", "a", "x y", "*", "1s", "\u00e9", "9" * 4096, [], {}],
                         ids=lambda j: repr(j)[:12])
def test_both_judge_every_value_alike(tmp_path, junk):
    """JUNK stands in every leaf at once: the places that the two refuse are the same."""
    config = copy.deepcopy(FULL)
    for steps, _, _ in LEAVES:
        at = config
        for step in steps[:-1]:
            at = at[step]
        at[steps[-1]] = copy.deepcopy(junk)
    parser, schema = check(tmp_path, config), schema_errors(config)
    different = []
    for steps, _, node in LEAVES:
        leaf = path_text(steps)
        parser_says, schema_says = refused(parser, leaf), refused(schema, leaf)
        if "durationMinimum" in node and junk == "1s":
            continue            # the bounds of durations have a test of their own
        if leaf in ("callers[0].identity", "rules[0].identity") and isinstance(junk, str) and not schema_says:
            continue            # the identity of that name is not there
        if re.fullmatch(r"identities\[[1-9]\]\.name", leaf) and isinstance(junk, str) and not schema_says:
            continue            # the first one has that name
        if leaf == "callers[0].tokens[0].id" and isinstance(junk, str) and not schema_says:
            continue            # the key has that id
        if "certificates" in steps and steps[-1] == "id" and isinstance(junk, str) and not schema_says:
            continue            # the one beside it has it too
        if steps[-1] == "per_token" and junk is True:
            continue            # not with the credential beside it
        if parser_says != schema_says:
            different.append((leaf, f"parser refuses: {parser_says}, schema refuses: {schema_says}"))
    assert different == []


CONTAINERS = [(s, v) for s, v, _ in PLACES if s and isinstance(v, (dict, list))]


@pytest.mark.parametrize("steps", [s for s, _ in CONTAINERS], ids=path_text)
def test_both_judge_containers_alike(tmp_path, steps):
    value = next(v for s, v in CONTAINERS if s == steps)
    for junk in (None, 7, "x", "*", {} if isinstance(value, list) else []):
        config = changed(steps, junk)
        assert bool(schema_errors(config)) == bool(check(tmp_path, config)), junk


MEMBERS = [(s, n) for s, _, n in PLACES if s and isinstance(s[-1], str)]


@pytest.mark.parametrize("steps", [s for s, _ in MEMBERS], ids=path_text)
def test_both_require_the_same_members(tmp_path, steps):
    config = changed(steps, ...)
    if steps == ("public_url",):        # which "rewrite" needs
        del config["callers"][0]["location"]
    if steps == ("identities",):        # the one of that name goes with them
        del config["callers"][0]["identity"], config["rules"][0]["identity"]
    if steps == ("callers", 0, "allow"):    # which callers of an identity with a credential need
        del config["identities"][0]["credential"]
    if steps == ("upstream", "proxy"):      # whose password goes with it
        del config["upstream"]["proxy_password"]
    if steps == ("issuers",):           # the one that made them goes with them
        del config["callers"][0]["tokens"]
    if steps == ("callers", 0, "identity"):
        config["identities"][0]["name"] = config["rules"][0]["identity"] = "default"
    assert bool(schema_errors(config)) == bool(check(tmp_path, config))


def edges():
    for steps, _, node in LEAVES:
        if "minimum" in node:
            yield steps, node["minimum"], node["minimum"] - 1
            if steps[-2:] == ("quota", "burst"):    # whose bound is requests - outside (test_config)
                yield steps, node["minimum"], node["maximum"] + 1
            elif steps[-1] != "outside":    # whose bound is requests - 2 (test_config)
                yield steps, node["maximum"], node["maximum"] + 1
        if "durationMinimum" in node:
            yield steps, node["durationMinimum"], step_of(node["durationMinimum"], -1)
            yield steps, node["durationMaximum"], step_of(node["durationMaximum"], +1)


MS = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000}


def step_of(duration, ms):
    number, unit = re.fullmatch(r"(\d+)(\D+)", duration).groups()
    return f"{int(number) * MS[unit] + ms}ms"


def test_bounds_are_the_same(tmp_path):
    """Each bound is accepted by both, the next value refused: numbers by both, durations by the parser (the schema refuses -1ms)."""
    inside, outside = [], []
    for steps, good, bad in edges():
        leaf = path_text(steps)
        if steps[-2:] == ("quota", "requests"):
            config = changed(steps, good)
            at = config["upstream"] if steps[0] == "upstream" else config["identities"][steps[1]]
            at["quota"]["outside"] = 0
            at["quota"].pop("burst", None)
        else:
            config = changed(steps, good)
        assert schema_errors(config) == [] and check(tmp_path, config) == [], (leaf, good)
        inside.append(leaf)
        config = changed(steps, bad)
        assert refused(check(tmp_path, config), leaf), (leaf, bad)
        assert bool(schema_errors(config)) == (isinstance(bad, int) or bad.startswith("-")), (leaf, bad)
        outside.append(leaf)
    assert len(inside) > 40


def test_longest_lists_are_the_same(tmp_path):
    def listeners(n):
        return [{"address": f"127.0.0.1:{20000 + i}"} for i in range(n)]

    def identities(n):
        return [{"name": "sp" if i == 0 else f"i{i}"} for i in range(n)]

    def rules(n):
        return [{"name": f"r{i}", "rate": RATE} for i in range(n)]

    for key, make in (("listen", listeners), ("identities", identities), ("rules", rules)):
        most = SCHEMA["properties"][key]["maxItems"]
        for n in (most, most + 1):
            config = changed((key,), make(n))
            assert (schema_errors(config) == []) == (check(tmp_path, config) == []) == (n == most)


def test_defaults_are_accepted(tmp_path):
    config = copy.deepcopy(FULL)
    for steps, _, node in LEAVES:
        if "default" in node and steps[-1] != "identity":
            at = config
            for step in steps[:-1]:
                at = at[step]
            at[steps[-1]] = node["default"]
    assert schema_errors(config) == []
    assert check(tmp_path, config) == []


GOOD_AND_BAD = [
    (("upstream", "url"), ["https://h", "https://h:1/", "https://[::1]:9443"], ["http://h", "https://h/x", "https://u@h", "h", "https://"]),
    (("public_url",), ["http://h", "https://h/a/b/", "https://[::1]:1/x"], ["https://h?x", "https://h#x", "https://h//a", "ftp://h", "https://u:p@h", "https://h/a%20b"]),
    (("listen", 0, "address"), ["127.0.0.1:1", "[::1]:65535"], ["127.0.0.1", ":80", "localhost:80", "127.0.0.1:0", "::1:80"]),
    (("store", "redis"), ["rediss://h", "rediss://u@h:1", "rediss://[::1]:1/3"], ["h:1", "redis://", "rediss://", "rediss://h/x", "http://h", "rediss://a,b"]),
    (("store", "redis"), ["redis://h", "redis://[::1]:1/3", "redis+sentinel://h/s", "redis+sentinel://u@h:1,[::1]:2/s/3"],
     ["redis+sentinel://h", "redis+sentinel://h,/s", "redis+sentinel:///s", "redis+sentinel://h/s/x", "redis+sentinel://h/ /"]),
    (("callers", 0, "name"), ["a", "A/b_c.d-e:f@g", "x" * 64], ["", "x" * 65, "a b", "unknown", "other", "{a}"]),
    (("callers", 0, "allow"), [[], [{}], [{"workspace": "*", "items": "*", "job_types": "*", "operations": "*"}]], [{}, [{"items": []}], [{"job_types": ["*"]}], [[]]]),
    (("rules", 0, "workspace"), ["*", "CFAFBEB1-8037-4d0c-896e-a46fb27ff229"], ["", "x", ["*"]]),
    (("rules", 0, "job_types"), ["*", ["A", "b"]], [[], ["*"], "A"]),
    (("issuers", 0, "jwks"), [{"url": "https://[::1]:1/a/b?appid=1&x=%20"}, {"url": "https://h/"}],
     [{}, {"url": "https://h"}, {"url": "http://h/k"}, {"url": "https://u@h/k"}, {"url": "https://h/k#x"}, {"url": "https://h/a b"},
      {"url": "https:///k"}, {"url": "https://h/k", "file": "k"}, {"file": "with a ca_file"}, "https://h/k"]),
    (("issuers", 0, "audiences"), [["a"], ["https://api.fabric.microsoft.com/", "b"], ["x"] * 16], [[], "a", [""], ["a b"], ["x"] * 17]),
    (("issuers", 0, "algorithms"), [["RS256"], ["ES256", "PS256"]], [[], ["none"], ["HS256"], ["rs256"], "RS256"]),
    (("callers", 0, "tokens"),
     [[{"tenant": TENANT, "application": TENANT}], [{"tenant": TENANT.upper(), "object": TENANT.upper()}]],
     [[], {}, [{}], [{"tenant": TENANT}], [{"object": TENANT}], [{"tenant": TENANT, "object": TENANT, "application": TENANT}],
      [{"tenant": TENANT, "subject": "x", "issuer": ISSUER}], [{"subject": "x"}], [{"tenant": "contoso.com", "object": TENANT}]]),
    (("callers", 0, "keys", 0, "sha256"), ["AB" * 32], ["ab" * 31, "ab" * 33, "zz" * 32]),
    (("callers", 0, "keys", 0, "expires"), ["2027-01-31T00:00:00Z", "2027-01-31t12:00:00.5+05:30", "1999-12-31T23:59:59-00:00"],
     ["2027-01-31", "2027-01-31 00:00:00Z", "2027-01-31T00:00:00", "2027-1-31T00:00:00Z", "2027-01-31T00:00:00.Z", "tomorrow"]),
    (("callers", 0, "keys", 0, "networks"), [["10.0.0.0/8", "::1"], ["2001:db8::/32"], ["0.0.0.0/0", "::/0"], ["192.0.2.7"]],
     [[], ["10.0.0.0/33"], ["x"], ["10.0.0"], ["::/129"], ["10.0.0.0/"], ["10.0.0.0/08"], [""], "10.0.0.0/8"]),
    (("callers", 0, "certificates", 0), [{"san": "DNS:A.example"}, {"san": "URI:spiffe://a/b"}, {"san": "email:a@b.example"},
                                         {"spki_sha256": "AB" * 32}],
     [{}, {"id": "a"}, {"san": "a.example"}, {"san": "DNS:*.example"}, {"san": "DNS:"}, {"san": "URI:"}, {"san": "URI:a b"},
      {"san": "email:a"}, {"san": "IP:10.0.0.1"}, {"san": "dns:a"}, {"spki_sha256": "ab"}, {"san": "DNS:a", "spki_sha256": "ab" * 32}]),
    (("store", "password"), [{"env": "P_1"}, {"file": "/x"}], [{}, {"env": "1"}, {"env": "A", "file": "b"}, "hunter2"]),
    (("upstream", "server_name"), ["a", "a.b-c.d", "10.0.0.1"], ["a..b", "-a", "a-", "*.a", "a b", "x" * 64]),
    (("store", "on_failure"), ["closed", "share"], ["open", "Share"]),
    (("resolve", "match"), ["activity"], ["Activity", "both", "", None]),
    (("log", "level"), ["error", "warn"], ["WARN", "trace"]),
]


@pytest.mark.parametrize("steps,good,bad", GOOD_AND_BAD, ids=lambda x: path_text(x) if isinstance(x, tuple) else "")
def test_forms(tmp_path, steps, good, bad):
    for value, right in [(v, True) for v in good] + [(v, False) for v in bad]:
        config = changed(steps, value)
        if steps == ("store", "redis") and "u@" in value:
            del config["store"]["username"]
        if steps == ("store", "redis") and not value.startswith("rediss"):
            del config["store"]["ca_file"]
        assert (schema_errors(config) == []) == right, f"schema: {value}"
        assert (check(tmp_path, config) == []) == right, f"parser: {value}"
