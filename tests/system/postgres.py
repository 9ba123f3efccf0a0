"""A private PostgreSQL in a temporary folder, jobgate-collect, and a way between them that can be cut."""

import contextlib
import csv
import glob
import io
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from harness import ROOT, Gateway, Process, binary, wait_for

COLLECTOR, PASSWORD = "jobgate_collect", "db-secret-7f3a9c"


def server_binary(name):
    """A program of the newest server that is installed."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda p: int(re.search(r"/(\d+)/", p)[1]))
    assert found, f"{name} is missing: install postgresql"
    return found[-1]


class Postgres:
    """A cluster on a Unix socket, run by a user other than root; as root all may log in, COLLECTOR needs its password."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="jobgate-pg-")
        self.data, self.process, self.count = os.path.join(self.folder, "data"), None, 0
        self.as_user = []
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        os.chmod(self.folder, 0o755)
        subprocess.run([*self.as_user, server_binary("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                        "--locale=C", "-N"], check=True, capture_output=True, cwd=self.folder)
        hba = f"local all {COLLECTOR} scram-sha-256\nlocal all all trust\n"
        subprocess.run([*self.as_user, "tee", os.path.join(self.data, "pg_hba.conf")], input=hba, text=True, check=True,
                       capture_output=True)
        self.start()
        self.sql(f"CREATE ROLE {COLLECTOR} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE auditors LOGIN", "postgres")

    def start(self):
        # fsync stays on: that what is acknowledged survives a kill is looked at. Its log is a file: nobody reads a pipe.
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [*self.as_user, server_binary("postgres"), "-D", self.data, "-k", self.folder, "-c", "listen_addresses=",
                 "-c", "max_wal_size=2GB"], cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self.answers, what="postgres")

    def answers(self):
        return subprocess.run(["psql", *self.where("postgres"), "-c", "SELECT 1"], capture_output=True, check=False).returncode == 0

    def stop(self, number=signal.SIGINT):
        """End it fast, or as a crash would (SIGQUIT)."""
        self.process.send_signal(number)
        self.process.wait(60)

    def remove(self):
        self.stop(signal.SIGQUIT)       # nobody needs what is in it
        shutil.rmtree(self.folder)

    def where(self, name):
        return ["-X", "-q", "-h", self.folder, "-U", "postgres", "-d", name, "-v", "ON_ERROR_STOP=1"]

    def psql(self, name, *arguments, stdin=None, user=None):
        where = self.where(name)
        if user:
            where[where.index("postgres")] = user
        done = subprocess.run(["psql", *where, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, text, name, user=None):
        """The rows of a query as lists of strings."""
        return list(csv.reader(io.StringIO(self.psql(name, "--csv", "-t", stdin=text, user=user))))

    def database(self, schema=True):
        """A new database, with deploy/collect.sql run."""
        self.count += 1
        name = f"audit{self.count}"
        self.sql(f"CREATE DATABASE {name}", "postgres")
        if schema:
            self.prepare(name)
        return name

    def prepare(self, name):
        self.psql(name, "-v", f"collector={COLLECTOR}", "-v", "reader=auditors", "-f", os.path.join(ROOT, "deploy", "collect.sql"))

    def environment(self, name):
        """What a collector needs to come to the database."""
        file = os.path.join(self.folder, "passfile")
        if not os.path.exists(file):
            with open(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as out:
                out.write(f"*:*:*:{COLLECTOR}:{PASSWORD}\n")
        return {"PGHOST": self.folder, "PGDATABASE": name, "PGUSER": COLLECTOR, "PGPASSFILE": file}


def ask(server, name, **variables):
    """deploy/questions.sql with these variables: a list of dicts."""
    arguments = [word for pair in variables.items() for word in ("-v", "=".join(pair))]
    text = server.psql(name, "--csv", *arguments, "-f", os.path.join(ROOT, "deploy", "questions.sql"), user="auditors")
    return list(csv.DictReader(io.StringIO(text)))


# What of a trigger both jobgate audit search and deploy/questions.sql print as it stands in the record: all but the time's form.
SAME = ("caller", "operation", "job_type", "result", "status", "workspace", "item", "instance_id", "request_id", "client_request_id",
        "identity", "key", "peer", "instance", "journal", "seq", "outcome_seq", "error_code", "answered")


def same(row):
    """A trigger of either, to be compared: null is empty."""
    return tuple("" if row[name] is None else str(row[name]) for name in SAME)


class Collector(Process):
    """jobgate-collect of some directories into a database."""

    events, wait_event = Gateway.events, Gateway.wait_event

    def __init__(self, folder, environment, *directories, options=()):
        super().__init__([binary("jobgate-collect"), *map(str, options), "--directory", *map(str, directories)], str(folder), environment)

    def check_sanitizers(self):
        super().check_sanitizers()
        assert not any(PASSWORD in line for line in [*self.lines, *self.out]), "the password is in the log"


class Way:
    """A TCP port of loopback that leads to the server's socket, and can be cut, at a word too, or stalled."""

    def __init__(self, server):
        self.target = os.path.join(server.folder, ".s.PGSQL.5432")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open, self.cuts, self.stalled, self.word = [], 0, threading.Event(), None
        self.after = self.swallowed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, word, after, times):
        """Cut the connections that say WORD, before it goes on or AFTER the server has answered; so many times."""
        self.word, self.after, self.cuts = word, after, times

    def close(self):
        self.listener.close()
        self.cut()

    def cut(self):
        for one in self.open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self.target)
                except OSError:
                    client.close()
                    continue
                self.open += [client, server]
                state = {"cut": False}
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=(*pair, state), daemon=True).start()

    def _pass(self, source, target, from_client, state):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if from_client and self.cuts > 0 and self.word in data:
                    self.cuts -= 1
                    state["cut"] = True
                    if not self.after:
                        break
                elif not from_client and state["cut"]:
                    break
                if self.stalled.is_set():
                    self.swallowed = True
                    continue
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
