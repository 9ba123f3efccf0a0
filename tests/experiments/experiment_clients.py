"""
Real clients, each moved by its one setting, run a job to its end through the gateway over TLS: @azure/core-lro (npm), Microsoft's
fabric-sdk-go (where Go is at hand), curl, and a Python script with requests.
"""

import json
import os
import shutil
import subprocess
import sys

from bench import Experiment
from entra_sim import Imds
from harness import BASE, ITEM, KEY, WS, field, free_port, sha256

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients")
RUN = f"{BASE}/RunNotebook/instances"
SDK = "github.com/microsoft/fabric-sdk-go@v0.14.0"
REQUESTS = """
import os, sys, time, requests
base, ca = os.environ["BASE_URL"], os.environ["CA"]
headers = {"X-API-Key": os.environ["API_KEY"], "Authorization": "Bearer own"}
started = requests.post(base + os.environ["TARGET"], headers=headers, json={"executionData": {}}, verify=ca, timeout=30)
started.raise_for_status()
while True:
    job = requests.get(started.headers["Location"], headers=headers, verify=ca, timeout=30)
    job.raise_for_status()
    if job.json()["status"] not in ("NotStarted", "InProgress"):
        print(job.json()["status"])
        break
    time.sleep(0.2)
"""
CURL = """
set -eu
headers=$(curl -sS --fail --cacert "$CA" -D - -o /dev/null -X POST -H "X-API-Key: $API_KEY" -H "Authorization: Bearer own" "$BASE_URL$TARGET")
location=$(printf '%s' "$headers" | tr -d '\\r' | sed -n 's/^Location: //p')
status=InProgress
while [ "$status" = NotStarted ] || [ "$status" = InProgress ]; do
  sleep 0.2
  body=$(curl -sS --fail --cacert "$CA" -H "X-API-Key: $API_KEY" -H "Authorization: Bearer own" "$location")
  status=$(printf '%s' "$body" | sed -E 's/.*"status": *"([A-Za-z]+)".*/\\1/')
done
echo "$status"
"""


class Door:
    """A gateway over TLS with a public URL, before a simulator whose jobs take a second."""

    def __init__(self, e, **changes):
        self.sim = e.fleet.simulator("--job-seconds", 1, "--retry-after", 1, "--require-authorization")
        cert, key = e.fleet.certificates.pair("front")
        port = free_port()
        self.url = f"https://localhost:{port}"
        self.gateway = e.fleet.gateway(self.sim, public_url=self.url, polls={"refresh": "15s"}, listen=[
            {"address": f"127.0.0.1:{port}", "tls": {"cert_file": cert, "key_file": key}}], **changes)

    def environment(self, e, **more):
        ca = e.fleet.certificates.path("ca.pem")
        return {**os.environ, "BASE_URL": self.url, "CA": ca, "NODE_EXTRA_CA_CERTS": ca, "SSL_CERT_FILE": ca, "TARGET": RUN,
                "WORKSPACE": WS, "ITEM": ITEM, **more}


def show_run(e, door, command, folder, **more):
    """Run a client; its job has to end, started once, and every request of it has come through the gateway."""
    done = subprocess.run(command, cwd=folder, env=door.environment(e, **more), capture_output=True, text=True, check=False,
                          timeout=120)
    if done.returncode:
        e.say(f"      {(done.stderr or done.stdout).strip()[-400:]}")
    e.figure("exit code", done.returncode, exactly=0)
    ledger = door.sim.ledger()
    posts = [entry for entry in ledger if entry["method"] == "POST"]
    e.shows("job status it saw last", int("Completed" in done.stdout), exactly=1)
    e.shows("jobs started", len(posts), exactly=1)
    e.figure("polls through the gateway", len(ledger) - len(posts), at_least=1)
    e.figure("requests upstream that carry the gateway's key", sum(1 for entry in ledger if field(entry, "X-API-Key")), exactly=0)
    return ledger


def key_door(e):
    """Callers with a key of the gateway's beside their own token for the service."""
    return Door(e, callers=[{"name": "etl", "keys": [{"sha256": sha256(KEY)}], "location": "rewrite"}])


def own_door(e, imds):
    """A caller that can set nothing but its token shows its key in the token's place; the gateway calls as itself."""
    return Door(e, callers=[{"name": "etl", "keys": [{"sha256": sha256(KEY)}], "location": "rewrite", "allow": [{}]}],
                identities=[{"name": "default", "credential": {"managed_identity": {"endpoint": imds.url}}}])


def run_curl(e):
    door = key_door(e)
    show_run(e, door, ["sh", "-c", CURL], e.fleet.folder, API_KEY=KEY)


def run_requests(e):
    door = key_door(e)
    show_run(e, door, ["/usr/bin/python3", "-c", REQUESTS], e.fleet.folder, API_KEY=KEY)


def run_core_lro(e):
    if not shutil.which("npm"):
        e.say("      npm is not at hand: not run")
        return
    folder = e.fleet.folder / "core-lro"
    folder.mkdir()
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "@azure/core-lro@3"], cwd=folder, check=True,
                   capture_output=True, timeout=300)
    shutil.copy(os.path.join(CLIENTS, "core_lro.mjs"), folder)
    # Its Locations stay the service's: baseUrl alone leads the polls through the gateway.
    door = Door(e, callers=[{"name": "etl", "keys": [{"sha256": sha256(KEY)}], "location": "preserve"}])
    show_run(e, door, ["node", "core_lro.mjs"], folder, API_KEY=KEY)


def run_fabric_sdk(e):
    if not shutil.which("go"):
        e.say("      Go is not at hand: not run")
        return
    folder = e.fleet.folder / "fabric-sdk"
    folder.mkdir()
    shutil.copy(os.path.join(CLIENTS, "fabric_sdk.go"), folder / "main.go")
    for command in (["go", "mod", "init", "client"], ["go", "get", SDK], ["go", "mod", "tidy"], ["go", "build", "-o", "client"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    imds = Imds()
    try:
        door = own_door(e, imds)
        ledger = show_run(e, door, ["./client"], folder, TOKEN=KEY)
        e.figure("requests upstream with the gateway's own token",
                 sum(field(entry, "Authorization") == [f"Bearer {imds.tokens[0]}"] for entry in ledger), exactly=len(ledger))
    finally:
        imds.stop()


def main():
    cases = {"curl": run_curl, "requests": run_requests, "core-lro": run_core_lro, "fabric-sdk": run_fabric_sdk}
    with Experiment("clients: real ones, each moved by its one setting", cases) as e:
        e.run_cases()
    sys.exit(e.finish())


main()
