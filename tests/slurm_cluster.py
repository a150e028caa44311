"""A real Slurm on this machine, for tests: one controller, one node, its own munge, all in a temporary folder."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
WAIT_S = 180
CONF = """
ClusterName=made
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=1
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
MinJobAge=300
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1024 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Say why there can be no Slurm here; empty where there can."""
    lacking = [name for name in PROGRAMS if find(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (Debian: slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "starting Slurm's daemons needs root"


def find(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def wait_until(condition, what, seconds=WAIT_S, give_up=pytest.fail):
    """Poll until a condition holds and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.2)
    return give_up(f"{what}: not within {seconds} s")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Slurm:
    """A running Slurm; `env` makes commands use it."""

    def __init__(self, folder):
        self.folder = folder
        self.env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        for name in [name for name in self.env if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF"]:
            del self.env[name]

    def call(self, *words):
        return subprocess.run([find(words[0]), *map(str, words[1:])], env=self.env, capture_output=True, text=True, check=False)

    def jobs(self, *states):
        """Return the ids of jobs in some states."""
        found = self.call("squeue", "--noheader", "--format=%A", f"--states={','.join(states) or 'all'}")
        return found.stdout.split()

    def ready(self):
        return "idle" in self.call("sinfo", "--noheader", "--format=%T").stdout


@contextlib.contextmanager
def running_slurm(folder: Path):
    """Start munged, slurmctld and slurmd; stop them and all jobs at the end."""
    if reason := missing():
        pytest.skip(reason)
    slurm = Slurm(folder)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_munge(folder / "munge"))
        host = socket.gethostname().split(".")[0]
        (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=host, controller_port=free_port(), node_port=free_port()))
        stack.enter_context(_daemon("slurmctld", "-D", "-i", env=slurm.env))
        stack.enter_context(_daemon("slurmd", "-D", "-N", host, env=slurm.env))
        stack.callback(_cancel_all, slurm)
        wait_until(slurm.ready, "a node of Slurm that is idle", give_up=lambda text: pytest.skip(f"{text}; {_last_words(folder)}"))
        yield slurm


def _last_words(folder):
    """What the daemons wrote last."""
    logs = (folder / f"{name}.log" for name in ("slurmctld", "slurmd"))
    return "; ".join(path.read_text().strip().rpartition("\n")[2] for path in logs if path.is_file())


def _cancel_all(slurm):
    slurm.call("scancel", "--user", getpass.getuser())
    wait_until(lambda: not slurm.jobs("running", "completing", "pending"), "the end of all jobs", 60)


@contextlib.contextmanager
def _munge(folder):
    """Munge runs as its own user, who must own its folder; all folders above must be closed to strangers' writing."""
    for parent in folder.resolve().parents:
        if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o055)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    shutil.chown(folder, "munge", "munge")
    shutil.chown(key, "munge", "munge")
    folder.chmod(0o755)
    files = [f"--{name}={folder}/munge.{end}" for name, end in (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"))]
    words = ["--foreground", "--force", "--num-threads=2", f"--seed-file={folder}/munge.seed", *files]
    with _daemon("runuser", "-u", "munge", "--", find("munged"), *words, env=os.environ):
        wait_until((folder / "munge.socket").exists, "munge's socket")
        yield


@contextlib.contextmanager
def _daemon(name, *words, env):
    process = subprocess.Popen([find(name), *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
