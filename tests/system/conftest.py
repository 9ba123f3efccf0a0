"""Fixtures: each test has a folder of its own and whatever processes it asks for, all ended and checked afterwards."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from certificates import Certificates  # noqa: E402
from harness import BUILD, Gateway, Redis, Simulator, make_config  # noqa: E402

# Tests of commands alone look for the binary here.
os.environ.setdefault("JOBGATE", os.path.join(BUILD, "jobgate"))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Fleet:
    """Starts processes in one folder and ends them, checking each."""

    def __init__(self, folder, certificates):
        self.folder, self.certificates = folder, certificates
        self.processes = []
        self.count = 0

    def _folder(self):
        self.count += 1
        folder = self.folder / f"p{self.count}"
        folder.mkdir()
        return folder

    def _keep(self, process):
        self.processes.append(process)
        return process

    def simulator(self, *options, **more):
        return self._keep(Simulator(self._folder(), self.certificates, *options, **more))

    def redis(self, kind=Redis, **more):
        return self._keep(kind(self._folder(), **more))

    def config(self, upstream_port, /, **changes):
        return make_config(self.certificates, upstream_port, **changes)

    def gateway(self, behind, /, folder=None, ready=True, env=None, config=None, prefix=(), **changes):
        """A gateway; BEHIND it is a Simulator or a port. CHANGES as for make_config."""
        port = behind if isinstance(behind, int) else behind.port
        folder = folder or self._folder()
        gateway = Gateway.__new__(Gateway)
        self.processes.append(gateway)
        gateway.__init__(folder, config or self.config(port, **changes), ready, env, prefix)
        return gateway

    def stop(self):
        """End all, gateways before their upstreams; the first complaint is raised after the last has ended."""
        complaint = None
        for process in sorted(self.processes, key=lambda p: not isinstance(p, Gateway)):
            if not hasattr(process, "process"):
                continue
            try:
                if process.is_alive():
                    process.stop()
                else:
                    process.wait()
                    process.check_sanitizers()
            except AssertionError as error:
                complaint = complaint or error
        if complaint:
            raise complaint


@pytest.fixture
def fleet(tmp_path, certificates):
    fleet = Fleet(tmp_path, certificates)
    yield fleet
    fleet.stop()


@pytest.fixture(scope="module")
def module_fleet(tmp_path_factory, certificates):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), certificates)
    yield fleet
    fleet.stop()
