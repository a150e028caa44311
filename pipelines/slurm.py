"""Workers as jobs of Slurm: a short file says what to ask for."""

import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from audiodata.doctor import LEAST_GB
from audiodata.errors import CatalogError, EnvironmentFault
from audiodata.settings import Settings, validated
from pipelines.dask_settings import IN_SHELL

LONGEST_GRACE_S = 300.0
SHORTEST_WALLTIME_S = 120
DEATH_TIMEOUT_S = 120  # a job whose driver can't be reached ends after that
TARGET_DURATION = "200ms"  # few tasks are with the scheduler at a time, so what it sees is worth more workers than it would think
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([MGT])(i?)B")
WALLTIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):(\d{2}):(\d{2})")


class Jobs(Settings):
    """How many jobs there are at a time.

    Attributes
    ----------
    min, max : int
        Jobs are asked for while there is work, and given back when there is none, between these bounds.
    """

    min: int = Field(0, ge=0)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> "Jobs":
        if self.min > self.max:
            raise ValueError(f"min = {self.min} is more than max = {self.max}")
        return self


class SlurmSettings(Settings):
    """What a Slurm file says.

    Attributes
    ----------
    memory : str
        Of a job, e.g. ``"8GB"``.
    jobs : int or Jobs
        ``4``, or ``{ min = 1, max = 20 }``; a number stands for the most, with none while there is no work.
    partition, account : str, optional
        ``sbatch --partition``, ``--account``.
    cores : int
        Of a job; each has a worker process of its own.
    walltime : str
        Of a job, ``HH:MM:SS`` or ``D-HH:MM:SS``. Its workers end on their own account before that, not all at the same time, and the
        work goes on in new jobs.
    prologue : tuple of str
        Lines of shell before the worker starts: ``module load``, ``source .../activate``.
    logs : str
        Folder for the jobs' output, made if it is not there; below the folder of the command unless absolute.
    directives : tuple of str
        Further options of ``sbatch``, e.g. ``"--qos=long"``.
    interface : str, optional
        Network interface over which driver and workers talk, e.g. ``"ib0"``.
    python : str, optional
        Python of the workers; default: the driver's own.
    scratch : str
        Folder on the worker's own disk for shards in the making; may hold variables of the job (``"$TMPDIR"``).
    name : str
        Of the jobs.
    """

    memory: str
    jobs: Jobs
    partition: str | None = None
    account: str | None = None
    cores: int = Field(1, ge=1)
    walltime: str = "01:00:00"
    prologue: tuple[str, ...] = ()
    logs: str = "slurm-logs"
    directives: tuple[str, ...] = ()
    interface: str | None = None
    python: str | None = None
    scratch: str = ""
    name: str = "audiodata"

    @field_validator("jobs", mode="before")
    @classmethod
    def _at_most(cls, value: Any) -> Any:
        return {"max": value} if isinstance(value, int) else value

    @field_validator("memory")
    @classmethod
    def _is_size(cls, value: str) -> str:
        if SIZE.fullmatch(value) is None:
            raise ValueError('expected a size with its unit, like "8GB" or "500MB"')
        return value

    @field_validator("walltime")
    @classmethod
    def _is_time(cls, value: str) -> str:
        if WALLTIME.fullmatch(value) is None or _seconds(value) < SHORTEST_WALLTIME_S:
            raise ValueError(f"expected HH:MM:SS or D-HH:MM:SS, and {SHORTEST_WALLTIME_S} s at least")
        return value

    @model_validator(mode="after")
    def _room_for_python(self) -> "SlurmSettings":
        if _gigabytes(self.memory) < LEAST_GB * self.cores:
            raise ValueError(f"memory = {self.memory!r} is too little for {self.cores} cores: {LEAST_GB} GB a core at least, or workers pause")
        return self

    @property
    def walltime_s(self) -> int:
        """The walltime in seconds."""
        return _seconds(self.walltime)


def _seconds(walltime: str) -> int:
    days, hours, minutes, seconds = (int(part or 0) for part in WALLTIME.fullmatch(walltime).groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _gigabytes(size: str) -> float:
    number, power, binary = SIZE.fullmatch(size).groups()
    return float(number) * (1.024 if binary else 1.0) ** (3 + "GT".find(power)) * 1000.0 ** "MGT".find(power) / 1000


def load_slurm(path: Path) -> SlurmSettings:
    """Read a Slurm file.

    Raises
    ------
    CatalogError
        Not there, not TOML, or a key or value that can't be used.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"--slurm {path}: can't be read ({getattr(error, 'strerror', None) or error})") from error
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"--slurm {path}: not TOML: {error}") from error
    return validated(SlurmSettings, values, f"--slurm {path}")


def lifetime_s(walltime_s: float) -> tuple[int, int]:
    """Return a worker's lifetime and by how much that varies, so that workers end before their jobs are killed, and not all at once.

    Examples
    --------
    >>> lifetime_s(3600)
    (3060, 240)
    """
    grace_s = min(max(walltime_s / 12, 30.0), LONGEST_GRACE_S)  # to start, and to hand over
    stagger_s = min(walltime_s / 15, LONGEST_GRACE_S)
    return int(walltime_s - grace_s - stagger_s), int(stagger_s)


@contextmanager
def slurm_cluster(settings: SlurmSettings, distributed: Any) -> Iterator[Any]:
    """Run a scheduler in this process whose workers are jobs, as many as the work needs between the stated bounds.

    Parameters
    ----------
    settings : SlurmSettings
    distributed : module
        As the caller has set it up.

    Yields
    ------
    dask_jobqueue.SLURMCluster
        Its ``most_threads`` says how many threads it will have at most.

    Raises
    ------
    EnvironmentFault
        dask-jobqueue or Slurm's commands are missing, or Slurm refuses the jobs.
    """
    jobqueue = _import_jobqueue()
    if shutil.which("sbatch") is None:
        raise EnvironmentFault("--slurm: there is no `sbatch` on this machine; run on a login node of the cluster, or in a job")
    cluster = _start(jobqueue, settings)
    with cluster:
        _check_accepted(cluster.job_script())
        cluster.most_threads = settings.jobs.max * settings.cores
        cluster.adapt(minimum_jobs=settings.jobs.min, maximum_jobs=settings.jobs.max, target_duration=TARGET_DURATION, wait_count=10)
        yield cluster


def _import_jobqueue() -> Any:
    try:
        import dask_jobqueue
    except ImportError as error:
        raise EnvironmentFault("--slurm needs dask-jobqueue; run: pip install 'audiodata[cluster]'") from error
    return dask_jobqueue


def cluster_arguments(settings: SlurmSettings) -> dict[str, Any]:
    """Say the settings in the words of `dask_jobqueue.SLURMCluster`."""
    lifetime, stagger = lifetime_s(settings.walltime_s)
    scratch = {"local_directory": settings.scratch} if settings.scratch else {}
    return {
        "queue": settings.partition,
        "account": settings.account,
        "cores": settings.cores,
        "processes": settings.cores,
        "memory": settings.memory,
        "walltime": settings.walltime,
        "job_script_prologue": ["export OMP_NUM_THREADS=1", *IN_SHELL, *settings.prologue],
        "log_directory": str(Path(settings.logs).absolute()),
        "job_extra_directives": list(settings.directives),
        "interface": settings.interface,
        "python": settings.python,
        "job_name": settings.name,
        "death_timeout": str(DEATH_TIMEOUT_S),
        "worker_extra_args": ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{stagger}s"],
        "scheduler_options": {"dashboard_address": ":0"} | ({"interface": settings.interface} if settings.interface else {}),
    } | scratch


def _start(jobqueue: Any, settings: SlurmSettings) -> Any:
    try:
        return jobqueue.SLURMCluster(**cluster_arguments(settings))
    except (OSError, ValueError, RuntimeError) as error:
        raise EnvironmentFault(f"--slurm: no scheduler could be started ({' '.join(str(error).split())}); check `interface` and `logs`") from error


def _check_accepted(script: str) -> None:
    """Ask Slurm whether it would take such a job; otherwise a wrong partition would show in a log alone, and nothing would ever start."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(["sbatch", "--test-only", file.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise EnvironmentFault(f"--slurm: Slurm would not take such a job: {lines[-1].removeprefix('allocation failure: ')}")
