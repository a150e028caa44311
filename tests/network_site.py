"""A Dask that is already there, for tests: a scheduler and workers on hosts of a network, each with the wheel alone, and drivers beside them."""

import contextlib
import json
import os
import subprocess
from typing import NamedTuple

from cluster_wheel import ROOT, build_wheel, make_environment
from network_hosts import network, own_disk, seen_at
from slurm_cluster import wait_until

PORT = 8786
# Seconds and not minutes until somebody silent counts as gone; below 11 s Dask does not go for connections.
PATIENCE = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}
ROSTER = '''
import json
import os
from pathlib import Path

from distributed.diagnostics.plugin import SchedulerPlugin


class Roster(SchedulerPlugin):
    """Write down who is there, whenever that changes."""

    name = "roster"

    def __init__(self):
        self.workers, self.drivers, self.path = {}, set(), Path(os.environ["ROSTER"])
        self.write()

    def add_worker(self, scheduler, worker, **rest):
        self.workers[worker] = scheduler.workers[worker].name
        self.write()

    def remove_worker(self, scheduler, worker, **rest):
        self.workers.pop(worker, None)
        self.write()

    def add_client(self, scheduler, client, **rest):
        self.drivers.add(client)
        self.write()

    def remove_client(self, scheduler, client, **rest):
        self.drivers.discard(client)
        self.write()

    def write(self):
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps({"workers": sorted(self.workers.values()), "drivers": len(self.drivers)}))
        draft.replace(self.path)


def dask_setup(scheduler):
    scheduler.add_plugin(Roster())
'''
# Loaded by every Python of the environment: the host's clock may be wrong, and its disk may hold a build up in the middle.
ODDITIES = '''
import os
import stat
import time
from pathlib import Path

if "CLOCK_OFF_S" in os.environ:
    off_s, true_time, true_time_ns = int(os.environ["CLOCK_OFF_S"]), time.time, time.time_ns
    time.time = lambda: true_time() + off_s
    time.time_ns = lambda: true_time_ns() + off_s * 10**9

if "HOLD" in os.environ:
    hold, fsync = Path(os.environ["HOLD"]), os.fsync

    def is_held():
        """Whether the build of the cache that is named there is to stop after its first shard."""
        try:
            return any((hold.parent / hold.read_text()).glob("*.h5"))
        except FileNotFoundError:
            return False

    def fsync_of_slow_disk(descriptor):
        while stat.S_ISREG(os.fstat(descriptor).st_mode) and is_held():
            time.sleep(0.05)
        fsync(descriptor)

    os.fsync = fsync_of_slow_disk
'''


class Kind(NamedTuple):
    """What is special about a worker: shell that mounts its scratch, and environment variables."""

    scratch: str = ""
    environment: tuple[tuple[str, str], ...] = ()


class Site:
    """Hosts, what they share, and what runs there.

    The data root is ``shared/data``, and caches are below it; workers see ``shared`` at another place.
    """

    def __init__(self, folder, hosts):
        self.folder, self.hosts, self.running = folder, hosts, {}
        self.shared, self.elsewhere, self.scratch = (folder / name for name in ("shared", "elsewhere", "scratch"))
        for path in (self.shared, self.elsewhere, self.scratch):
            path.mkdir()
        self.data, self.hold_file = self.shared / "data", self.shared / "hold"
        self.python, packages = make_environment(folder / "environment", build_wheel(folder))
        (packages / "site_oddities.py").write_text(ODDITIES)
        (packages / "oddities.pth").write_text("import site_oddities\n")
        (folder / "roster.py").write_text(ROSTER)
        self._logs = 0

    @property
    def address(self):
        return f"tcp://{self.hosts['scheduler'].address}:{PORT}"

    def start(self, host, words, setup="", **environment):
        """Start something on a host, with its messages in a file."""
        self._logs += 1
        log = self.folder / f"{self._logs:02d}-{host}.log"
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "DASK", "AUDIODATA"))}
        settings = inherited | PATIENCE | {"OMP_NUM_THREADS": "1", "ROSTER": str(self.folder / "roster.json")} | environment
        with log.open("w") as file:
            command = self.hosts[host].command(*words, setup=setup)
            process = subprocess.Popen(command, cwd=self.folder, env=settings, stdout=file, stderr=file, start_new_session=True)
        process.log = log
        return process

    def ready(self, **workers):
        """Make sure that a scheduler is there and workers on these hosts, each with its own `Kind`, and nobody else."""
        self._stop_all_but({"scheduler": None} | workers)
        if "scheduler" not in self.running:
            self._stop_all_but({})
            self.start_scheduler()
        for host, kind in workers.items():
            if host not in self.running:
                self.start_worker(host, kind)
        wait_until(lambda: self._check_running() and self.roster() == sorted(workers), f"workers on {', '.join(workers)}")

    def _check_running(self):
        for host, (process, _) in self.running.items():
            assert process.poll() is None, f"{host}: {process.log.read_text()}"
        return True

    def _stop_all_but(self, wanted):
        there = self.roster()
        for host, (process, kind) in list(self.running.items()):
            is_there = process.poll() is None and (host == "scheduler" or host in there)
            if not is_there or host not in wanted or wanted[host] != kind:
                self.kill(host)

    def start_scheduler(self):
        (self.folder / "roster.json").unlink(missing_ok=True)
        words = ["--host", self.hosts["scheduler"].address, "--port", PORT, "--no-dashboard", "--preload", self.folder / "roster.py"]
        self.running["scheduler"] = self.start("scheduler", [self.python, "-m", "distributed.cli.dask_scheduler", *words]), None

    def start_worker(self, host, kind):
        words = ["--host", self.hosts[host].address, "--name", host, "--nthreads", 1, "--no-nanny", "--no-dashboard"]
        words += ["--local-directory", self.folder / "dask" / host, self.address]
        mounts = f"{seen_at(self.shared, self.elsewhere)}; {kind.scratch or own_disk(self.scratch, '64m')}"
        environment = dict(kind.environment) | {"HOLD": str(self.elsewhere / "hold")}
        self.running[host] = self.start(host, [self.python, "-m", "distributed.cli.dask_worker", *words], mounts, **environment), kind

    def roster(self):
        """Names of the workers that the scheduler has."""
        return self._roster().get("workers", [])

    def drivers(self):
        """How many drivers it has."""
        return self._roster().get("drivers", 0)

    def _roster(self):
        try:
            return json.loads((self.folder / "roster.json").read_text())
        except FileNotFoundError:
            return {}

    def kill(self, host):
        """End what runs on a host, without a word of warning."""
        process, _ = self.running.pop(host)
        process.kill()
        process.wait()

    def build(self, out, *words, host="driver", **environment):
        """Start the command that builds a cache through the scheduler; environment variables may be added."""
        options = ["--data", self.data, "--out", out, "--scheduler", self.address, "--worker-root", self.elsewhere / "data", *words]
        command = [self.python, "-m", "pipelines", "build", self.shared / "small.toml", *options]
        return self.start(host, command, PYTHONPATH=str(ROOT), **environment)

    @contextlib.contextmanager
    def held(self, out):
        """Hold the workers up after the first shard of a cache, each in the middle of another, while the block runs."""
        self.hold_file.write_text(out.relative_to(self.shared).as_posix())
        try:
            yield
        finally:
            self.hold_file.unlink(missing_ok=True)



@contextlib.contextmanager
def running_site(folder, *hosts):
    """Give a site on a network of its own, with a scheduler's host and a driver's; all that runs there ends with it."""
    with network("scheduler", "driver", *hosts) as one:
        site = Site(folder, one.hosts)
        try:
            yield site
        finally:
            for host in list(site.running):
                site.kill(host)


def finish(process):
    """Wait for a command that builds, and return its exit code and what it said."""
    wait_until(lambda: process.poll() is not None, "the end of the command", 600)
    return process.returncode, process.log.read_text()
