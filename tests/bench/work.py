"""What every proxy of the comparison is asked to do, and the upstream that it does it against."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "system"))

from harness import BASE, UPSTREAM, free_port, key_of  # noqa: E402

LEGACY = f"{BASE}/instances?jobType=RunNotebook"
PATH = f"{BASE}/RunNotebook/instances"
CALLER = "etl"
KEY = key_of(CALLER)
# The machine is shared by two sides: the proxy has the first core, load, upstream and Redis the other.
PROXY_CORE, OTHER_CORE = 0, 1


def body_of(size):
    """A well-formed run of about SIZE bytes."""
    head, tail = '{"executionData":{"parameters":{"table":{"value":"', '","type":"string"}}}}'
    return head + "x" * max(0, size - len(head) - len(tail)) + tail


def on_core(core, *args):
    return ["taskset", "-c", str(core), *map(str, args)]


class Daemon:
    """A process of the comparison, pinned to a core, ended by its own id; its children are counted with it."""

    def __init__(self, folder, core, args, env=None):
        self.log = open(os.path.join(folder, "output"), "wb")
        self.process = subprocess.Popen(on_core(core, *args), cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def said(self):
        with open(self.log.name, errors="replace", encoding="utf-8") as file:
            return file.read()[-2000:]


def wait_open(port, daemon, timeout=20):
    """Wait until somebody listens on PORT."""
    import socket
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if daemon.process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens on {port}: {daemon.said()}")


NGINX_HEAD = """
%(modules)s
worker_processes %(workers)d;
daemon off;
pid %(folder)s/pid;
error_log %(folder)s/error.log warn;
events { worker_connections 20000; %(events)s }
http {
  client_body_temp_path %(folder)s/body; proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/f; uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
  keepalive_requests 100000000; keepalive_timeout 3600s; tcp_nodelay on; client_body_buffer_size 512k; client_max_body_size 1m;
"""


def start_nginx(folder, core, http, modules="", workers=1, events=""):
    """nginx with HTTP as the rest of its http block."""
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w", encoding="utf-8") as out:
        out.write(NGINX_HEAD % {"folder": folder, "modules": modules, "workers": workers, "events": events} + http + "}\n")
    return Daemon(folder, core, ["nginx", "-p", folder, "-c", path, "-e", os.path.join(folder, "error.log")])


class Upstream:
    """nginx that answers every run with 202 over TLS, so that no simulator is the bottleneck; counts connections and requests."""

    def __init__(self, folder, certificates):
        self.port, self.status_port = free_port(), free_port()
        cert, key = certificates.pair("upstream")
        job = "f2d65699-dd22-4889-980c-15226deb0e1b"
        self.daemon = start_nginx(folder, OTHER_CORE, f"""
  access_log off;
  server {{
    listen 127.0.0.1:{self.port} ssl; http2 off;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
    location / {{
      add_header Location https://{UPSTREAM}{BASE}/instances/{job} always;
      add_header Retry-After 60 always; add_header x-ms-job-id {job} always; add_header RequestId {job} always;
      return 202;
    }}
  }}
  server {{ listen 127.0.0.1:{self.status_port}; location / {{ stub_status; }} }}
""".replace(" http2 off;", ""))
        wait_open(self.port, self.daemon)
        wait_open(self.status_port, self.daemon)

    def counts(self):
        """Connections accepted and requests served so far, those of the status page itself not counted."""
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=10)
        connection.request("GET", "/")
        accepts, _, requests = connection.getresponse().read().decode().split("\n")[2].split()
        connection.close()
        self.asked = getattr(self, "asked", 0) + 1
        return int(accepts) - self.asked - 2, int(requests) - self.asked

    def stop(self):
        self.daemon.stop()


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1)
        out.write("\n")
